"""The errors a program may raise, and the exit code of each.

StepError
├── BadCall        2  the caller's arguments or files are wrong: trying again changes nothing
│   └── SpecError     a model spec that does not hold together
├── Refusal        3  a program that is no gate refuses to go on: nothing was changed
└── OutsideFailed  4  a store, registry or server failed: trying again may help
"""


class StepError(Exception):
    """A failure that the caller can act on; `fix` is the next action."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class BadCall(StepError):
    """The call itself is wrong: a setting, an input file or its content."""

    exit_code = 2


class SpecError(BadCall):
    """A model spec that does not hold together: a column, the target, the split or the serving."""


class Refusal(StepError):
    """A proof is missing or does not hold, so nothing was changed."""

    exit_code = 3


class OutsideFailed(StepError):
    """Something outside the program failed; the same call may work later."""

    exit_code = 4
