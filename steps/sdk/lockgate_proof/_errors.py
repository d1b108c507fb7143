"""The one error of this package."""

from lockgate_step import Refusal


class ProofError(Refusal):
    """A signature, subject, verdict or waiver does not hold; nothing may be served on it."""
