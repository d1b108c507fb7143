"""Reads the policy that a program was given; a fault in it is an invalid call."""

from collections.abc import Sequence
from pathlib import Path

from lockgate_step import BadCall

from lockgate_policy._read import check, read
from lockgate_policy._rules import Policy, PolicyError


def read_given(path: Path, sensitive: Sequence[str] | None = None) -> Policy:
    """Read the policy that a program was given.

    sensitive: the sensitive columns, of which it must name exactly these; None if that is not checked.
    Errors: BadCall with the line and the next action.
    """
    try:
        policy = read(path)
        if sensitive is not None:
            check(policy, sensitive)
    except PolicyError as error:
        msg = f"{error.where}: {error.problem}"
        raise BadCall(msg, fix=error.fix) from error
    return policy
