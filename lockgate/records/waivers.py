"""Check the waivers of a model before a run."""

from lockgate_proof import ProofError, Trust, read_waiver

from lockgate.definition.project import Model
from lockgate.errors import BadCall, LockgateError, Refusal


def check_waivers(model: Model, trust: Trust) -> None:
    """Check that each file is a waiver, signed by a key that may waive. Errors: Refusal, BadCall."""
    for file, envelope in model.waivers.items():
        try:
            read_waiver(file, envelope, trust)
        except LockgateError as error:
            kind = Refusal if isinstance(error, ProofError) else BadCall
            msg = f"{model.spec.name}: {error.message}"
            raise kind(msg, fix=f"{error.fix}: {model.folder / file}") from error
