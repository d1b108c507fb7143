"""The error of this package."""

from lockgate_step import Refusal


class ProofError(Refusal):
    """A signature, subject, verdict or waiver is invalid; the model must not be served."""
