"""The errors that a program may raise, and the exit code of each.

LockgateError
├── BadCall        2  the caller's arguments or files are wrong; a retry does not help
│   └── SpecError     the model spec is invalid
├── Refusal        3  a program that is not a gate refuses to continue; nothing was changed
└── OutsideFailed  4  a store, registry or server failed; a retry may help
"""


class LockgateError(Exception):
    """A failure that the caller can act on; `fix` is the next action."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class BadCall(LockgateError):
    """The call is wrong: a setting, an input file or its content."""

    exit_code = 2


class SpecError(BadCall):
    """The model spec is invalid: a column, the target, the data, the split or the serving settings."""


class Refusal(LockgateError):
    """A proof is missing or invalid, so nothing was changed."""

    exit_code = 3


class OutsideFailed(LockgateError):
    """An external service failed; the same call may succeed later."""

    exit_code = 4
