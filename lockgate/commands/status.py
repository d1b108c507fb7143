"""`lockgate status`: what is live, what is being tried, and the last runs; the same for this machine and a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lockgate_step import read_time

from lockgate.commands.runs import run_json
from lockgate.commands.target import Target, start
from lockgate.errors import UnknownName
from lockgate.records.live import Live
from lockgate.records.runs import RunRecord
from lockgate.records.schedule import Schedule
from lockgate.report.figures import rollout_lines
from lockgate.report.lines import duration, run_word, short, unjudged_lines, waived_lines

LAST = 5  # runs shown of each model


@dataclass(frozen=True)
class ModelStatus:
    """What is live of one model, and its last runs, the newest first."""

    model: str
    live: Live
    runs: Sequence[RunRecord]
    schedules: Sequence[Schedule] | None = ()

    def to_json(self) -> dict[str, Any]:
        """The status as JSON values (schemas/status.schema.json)."""
        live = self.live
        return {
            "live": live.pointer,
            "hidden": live.hidden,
            "answers": live.answers,
            "problem": live.problem,
            "url": live.url,
            "candidate": live.candidate,
            "rollout": live.rollout and live.rollout.to_json(),
            "waived": live.waived,
            "alert": live.alert,
            "unjudged": live.unjudged,
            "schedules": None if self.schedules is None else [each.to_json() for each in self.schedules],
            "runs": [run_json(run) for run in self.runs],
        }

    def lines(self, target: Target) -> list[str]:
        """The status as people read it."""
        found = [f"{self.model}: {line}" if number == 0 else line for number, line in enumerate(self._live(target))]
        found += [_run_line(run) for run in self.runs]
        found += ["  you have no permission to see its schedule"] if self.schedules is None else []
        found += [f"  schedule {each.line}" for each in self.schedules or ()]
        if self.runs and self.runs[0].phase == "Interrupted":
            found.append(f"  continue it: lockgate run {self.model} --resume {self.runs[0].id}")
        return found

    def _live(self, target: Target) -> list[str]:
        live = self.live
        if live.hidden:
            return ["you have no permission to see what is live"]
        if live.alert:
            return [f"the live pointer in the store is not followed: {live.alert}", *self._served()]
        return self._served() if live.pointer else self._nothing(target)

    def _nothing(self, target: Target) -> list[str]:
        first = "" if self.runs else f"; {start(target)} {self.model} {target.options}".rstrip()
        return [f"no version is live {target.place}{first}"]

    def _served(self) -> list[str]:
        live = self.live
        if live.pointer is None:
            return ["  no version is served"]
        since = f", since {ago(live.pointer['at'])}" if "at" in live.pointer else ""
        state = "users call" if live.answers is None else "answers at"
        reached = f"  {state} {live.url}"
        if live.answers is False:
            reached = f"  does not answer: {live.problem}" if live.problem else "  is starting"
        waived = [line for reason in live.waived or () for line in waived_lines(reason)]
        named = f"{short(live.pointer['bundle'])}, generation {live.pointer['generation']}{since}"
        shown = f"  {named} is still live" if live.alert else named
        tried = rollout_lines(live.rollout) if live.rollout else []
        return [shown, reached, *tried, *waived, *unjudged_lines(live.unjudged or ())]


@dataclass(frozen=True)
class Status:
    """The status of each model there.

    broken: the pipelines that cannot be loaded: folder -> error. unread: the runs that cannot be read: name -> why.
    """

    target: Target
    models: Sequence[ModelStatus]
    broken: Mapping[str, str]
    unread: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The status as JSON values (schemas/status.schema.json)."""
        models = {each.model: each.to_json() for each in self.models}
        return {"models": models, "broken": dict(self.broken), "unread": dict(self.unread)}

    def lines(self) -> list[str]:
        """The status as people read it."""
        found = [line for each in self.models for line in each.lines(self.target)]
        found += [f"{folder}: {message}" for folder, message in self.broken.items()]
        found += [f"run {name} is left out: {message}" for name, message in self.unread.items()]
        return found or ["No model found; create one: lockgate new NAME --data FILE --target COLUMN"]


def status(target: Target, name: str | None = None) -> Status:
    """The status of one model, or of each model of the project and each that has runs there.

    Errors: UnknownName, BadCall, OutsideFailed.
    """
    project, found = target.project, target.found(name)
    recorded = found.runs
    known = {*project.models, *(run.about.model for run in recorded if run.about.model)}
    if name is not None and name not in known:
        raise UnknownName("model", name, known)
    models = []
    for model in [name] if name else sorted(known):
        runs = [run for run in recorded if run.about.model == model]
        models.append(ModelStatus(model, target.live(model), runs[:LAST], target.schedules(model)))
    broken = {} if name else {folder: error.message for folder, error in project.broken.items()}
    unread = {run: error.message for run, error in found.unread.items()}
    return Status(target, models, broken, unread)


def _run_line(run: RunRecord) -> str:
    during = ", ".join(step.name for step in run.steps if step.phase == "Running")
    word = f"{run_word(run)}: {during}" if during and run.phase == "Running" else run_word(run)
    return f"  run {run.id}   {run.about.workflow:<8} {word:<12} {duration(run.seconds)}".rstrip()


def ago(moment: str) -> str:
    """How long ago a moment was, in words."""
    seconds = (datetime.now(UTC) - read_time(moment)).total_seconds()
    for limit, size, unit in ((120, 1, "seconds"), (7200, 60, "minutes"), (172_800, 3600, "hours")):
        if seconds < limit:
            return f"{int(seconds / size)} {unit} ago"
    return f"{int(seconds / 86_400)} days ago"
