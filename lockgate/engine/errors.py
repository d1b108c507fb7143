"""Errors before the first step of a run. Part of the tree in `lockgate.errors`."""

from collections.abc import Iterable
from dataclasses import dataclass

from lockgate.errors import BadCall, Problems


@dataclass(frozen=True)
class Problem:
    """One thing that cannot be executed, and its place in the manifest."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" if self.place else self.what


class ManifestError(Problems):
    """A manifest that the local engine cannot execute."""

    def __init__(self, document: str, problems: Iterable[Problem], *, fix: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"{document} cannot be executed:",
            self.problems,
            fix=fix or "correct the source of the manifest, then lockgate render; nothing was started",
        )


class RunInUse(BadCall):
    """A run that another process is executing."""

    def __init__(self, run: str, pid: int) -> None:
        super().__init__(
            f"run {run} is being executed by process {pid}", fix=f"wait for it, or stop it: lockgate stop {run}"
        )
