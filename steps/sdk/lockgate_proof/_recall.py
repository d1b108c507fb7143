"""What `recall` brings back: a version that was live before, which then goes live without being judged again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_step import canonical, is_digest, sha256

from lockgate_proof._envelope import Statement
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust
from lockgate_proof._verdict import verify_verdict

RECALL = "recall"


@dataclass(frozen=True)
class Recalled:
    """A verdict of recall that was verified.

    base: the live pointer when the run began, as in `VerifiedBundle`: the version that is replaced.
    """

    bundle: str
    base: Mapping[str, Any]
    statement: Statement


def base_digest(bundle: str | None, generation: int) -> str:
    """Return the digest of a base: the bundle that is live, and its generation."""
    return sha256(canonical({"bundle": bundle, "generation": generation}))


def read_recalled(record: Path, trust: Trust, *, model: str, subjects: Mapping[str, str]) -> Recalled:
    """Verify that recall lets a version of this model go live again.

    subjects: name -> the digest that the verdict must have.
    Errors: ProofError.
    """
    statement = verify_verdict(
        record, trust, gate=RECALL, model=model, subjects=subjects, waivers=None, now=None, name="recall.json"
    )
    live = statement.predicate.get("measurements", {}).get("live", {})
    bundle, generation, judged = live.get("bundle"), live.get("generation"), statement.subjects
    stated = is_digest(judged.get("bundle")) and type(generation) is int
    if not stated or judged.get("base") != base_digest(bundle, generation):
        msg = "the verdict of recall is signed, but does not state which version it brings back, and in whose place"
        raise ProofError(msg, fix="start the rollback again")
    return Recalled(judged["bundle"], {"bundle": bundle, "generation": generation}, statement)
