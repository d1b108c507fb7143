"""Every error Lockgate raises on purpose; each message is made from the values at hand and ends in the next action.

LockgateError
├── BadCall                2  what was asked for cannot be done as asked
│   ├── UnknownName           a model, program, run or setting that does not exist
│   ├── SpecError             a model spec, policy or pipeline that does not hold together
│   └── NotRendered           the rendered files do not agree with their sources
├── Refused                3  a gate refused; nothing changed for users
└── OutsideFailed          4  a store, registry, server or installer failed; trying again may help
"""

import difflib
from collections.abc import Iterable

_SHOWN = 12  # names in one message


class LockgateError(Exception):
    """An error with the next action in `fix` and the exit code of the command line."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class BadCall(LockgateError):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class UnknownName(BadCall):
    """A name that does not exist, with the nearest that do."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        more = ", ..." if len(names) > _SHOWN else ""
        fix = f"did you mean {', '.join(near)}?" if near else f"choose one of {', '.join(names[:_SHOWN])}{more}"
        super().__init__(f"there is no {what} {name!r}", fix=fix if names else "lockgate status shows what there is")


class SpecError(BadCall):
    """A model spec, policy or pipeline that does not hold together."""


class NotRendered(BadCall):
    """The rendered files do not agree with their sources."""


class Refused(LockgateError):
    """A gate refused; nothing changed for users."""

    exit_code = 3


class OutsideFailed(LockgateError):
    """Something outside failed; trying again may help."""

    exit_code = 4
