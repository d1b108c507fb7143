"""Every error that Lockgate raises on purpose. Each message names the values concerned and has a next action.

LockgateError
├── BadCall                2  invalid arguments, files or settings
│   ├── UnknownName           a model, program, run or setting that does not exist
│   ├── SpecError             an invalid model spec, policy or pipeline
│   └── NotRendered           the rendered files differ from their sources
├── Refused                3  a gate refused; nothing changed for users
└── OutsideFailed          4  an external service failed (store, registry, server, installer); retry
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
    """Invalid arguments, files or settings."""

    exit_code = 2


class UnknownName(BadCall):
    """A name that does not exist; `fix` suggests similar names."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        more = ", ..." if len(names) > _SHOWN else ""
        fix = f"did you mean {', '.join(near)}?" if near else f"choose one of {', '.join(names[:_SHOWN])}{more}"
        super().__init__(f"there is no {what} {name!r}", fix=fix if names else "lockgate status shows what exists")


class SpecError(BadCall):
    """An invalid model spec, policy or pipeline."""


class NotRendered(BadCall):
    """The rendered files differ from their sources."""


class Refused(LockgateError):
    """A gate refused; nothing changed for users."""

    exit_code = 3


class OutsideFailed(LockgateError):
    """An external service failed; retry."""

    exit_code = 4
