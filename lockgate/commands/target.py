"""Where a verb works: this machine or a cluster.

`Target` is what a verb needs of either. The verbs are functions over it, so that both show the same sentences and the
same JSON.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lockgate.cluster.workflows import Where
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.records.environment import Environment
from lockgate.records.live import Live
from lockgate.records.runs import Found, RunRecord, Step, named
from lockgate.records.schedule import Schedule


class Target(Protocol):
    """What the verbs need of this machine, or of a cluster. Errors of all: BadCall, OutsideFailed."""

    @property
    def project(self) -> Project:
        """The project whose runs these are."""

    @property
    def options(self) -> str:
        """The command-line options that name it; empty for this machine."""

    @property
    def place(self) -> str:
        """Its name in a sentence: `on this machine`, `in NAMESPACE`."""

    @property
    def environment(self) -> Environment:
        """Its store, trust file and keys, as files of this machine."""

    def found(self, model: str | None = None) -> Found:
        """Its runs, or those of one model."""

    def live(self, model: str) -> Live:
        """What users of a model reach."""

    def schedules(self, model: str) -> list[Schedule] | None:
        """The schedules that start runs of a model there; None if the caller may not see them."""

    def fetch_logs(self, run: RunRecord, steps: Sequence[Step]) -> list[str]:
        """Bring the logs of these steps to the run's folder; returns the steps whose log no longer exists."""

    def fetch_evidence(self, run: RunRecord) -> tuple[RunRecord, list[str]]:
        """Bring what the steps signed, and their pages, to the run's folder.

        Returns the record as it is then, with the live pointer before the run; and what no longer exists.
        """

    def stop(self, run: RunRecord) -> None:
        """Ask for a run in progress to be stopped."""

    def link(self, page: Path, run: RunRecord) -> str:
        """A link to a page of a run that a browser can open."""

    def after_waiver(self, model: str) -> list[str]:
        """The commands that bring a new waiver of a model into effect, before the next run."""


@contextmanager
def target_of(project: Project, where: Where) -> Iterator[Target]:
    """The target that the command line names, while it is needed. Errors: BadCall."""
    if where.elsewhere:
        from lockgate.commands.cluster import OnCluster

        with OnCluster.reached(project, where) as cluster:
            yield cluster
    else:
        from lockgate.commands.machine import Machine

        yield Machine.of(project)


def find(target: Target, name: str) -> RunRecord:
    """A run by its id, its first characters, or `last`. Errors: BadCall, UnknownName."""
    found = target.found()
    if not (found.runs or found.unread):
        msg = f"no run found {target.place}"
        raise BadCall(msg, fix=f"start one: {start(target)} MODEL {target.options}".rstrip())
    return named(found, name)


def start(target: Target) -> str:
    """The command that starts a run there, without its arguments."""
    return "lockgate submit" if target.options else "lockgate run"
