"""The verbs about runs: `runs`, `logs`, `report` and `stop`; the same for this machine and a cluster."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lockgate_proof import ProofError
from lockgate_report import say

from lockgate.commands.target import Target, find
from lockgate.errors import BadCall, UnknownName
from lockgate.records.evidence import Evidence, moment
from lockgate.records.runs import UNREACHED, RunRecord, Step
from lockgate.records.store import live_of
from lockgate.report.lines import run_word, settings_options, why_no_log
from lockgate.report.pages import write_pages


@dataclass(frozen=True)
class Listed:
    """All runs, or those of one model, the newest first.

    unread: the runs that cannot be read: name -> why.
    """

    runs: Sequence[RunRecord]
    unread: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The runs as JSON values."""
        return {"runs": [{"model": run.about.model, **run_json(run)} for run in self.runs], "unread": dict(self.unread)}

    def lines(self) -> list[str]:
        """The runs as people read them."""
        width = max((len(run.about.model) for run in self.runs), default=0)
        found = [_listed_line(run, width) for run in self.runs]
        found += [f"run {name} is left out: {message}" for name, message in self.unread.items()]
        return found or ["No run found."]


def listed(target: Target, model: str | None = None) -> Listed:
    """All runs there, or those of one model. Errors: UnknownName, BadCall, OutsideFailed."""
    found = target.found(model)
    if model is not None and not found.runs and model not in target.project.models:
        raise UnknownName("model", model, target.project.models)
    return Listed(found.runs, {name: error.message for name, error in found.unread.items()})


def run_json(run: RunRecord) -> dict[str, Any]:
    """A run as JSON values, as in schemas/status.schema.json."""
    return {
        "run": run.id,
        "workflow": run.about.workflow,
        "settings": dict(run.about.given),
        "outcome": run_word(run),
        "at": run.started,
        "seconds": run.seconds,
        "steps": [step.to_json() for step in run.steps],
    }


def _listed_line(run: RunRecord, width: int) -> str:
    refusing = [step.name for step in run.steps if step.outcome in ("refused", "inconclusive")]
    by = f" by {', '.join(refusing)}" if refusing else ""
    settings = settings_options(run.about.given)
    said = f"run {run.id}   {run.about.model:<{width}}  {run.about.workflow:<8}  {moment(run.started)}"
    return f"{said}   {run_word(run)}{by}{f'  {settings}' if settings else ''}"


@dataclass(frozen=True)
class Logs:
    """The logs of a run's steps.

    notes: why a log is missing.
    """

    record: RunRecord
    steps: Sequence[Step]
    notes: Sequence[str]


def logs(target: Target, name: str, step: str | None = None) -> Logs:
    """The logs of a run, or of one of its steps. Errors: BadCall, UnknownName, OutsideFailed."""
    record = find(target, name)
    steps = [each for each in record.steps if step in (None, each.name)]
    if not steps:
        raise UnknownName("step", step or "", [each.name for each in record.steps])
    gone = target.fetch_logs(record, [each for each in steps if each.phase not in UNREACHED])
    notes = []
    if gone:
        notes = [
            f"{', '.join(gone)}: the pod no longer exists, since pods that succeeded are deleted. "
            "To keep logs, let the controller archive them, and read them through an Argo server (--server)."
        ]
    elif step:
        notes = [why_no_log(record, each) for each in steps if not any(each.log_lines())]
    return Logs(record, steps, notes)


@dataclass(frozen=True)
class Report:
    """The pages of a run.

    pages: name -> link, the index first. missing: what the store no longer has.
    own: the names of pages that nobody signed: a step of the model wrote them. withheld: why a page is not shown.
    """

    record: RunRecord
    pages: Mapping[str, str]
    missing: Sequence[str]
    own: Sequence[str] = ()
    withheld: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """3 if a page is not the one that was signed."""
        return 3 if self.withheld else 0

    def to_json(self) -> dict[str, Any]:
        """The links as JSON values."""
        said = {"missing": list(self.missing), "own": list(self.own), "withheld": list(self.withheld)}
        return {"run": self.record.id, "pages": dict(self.pages), **said}

    def lines(self) -> list[str]:
        """The links as people read them."""
        said = {name: f"   {say('run.own')}" for name in self.own}
        return [f"  {name:<16} {link}{said.get(name, '')}" for name, link in self.pages.items()]


def report(target: Target, name: str) -> Report:
    """Write the pages of a run. Errors: BadCall if no step has written a page, UnknownName, OutsideFailed."""
    return report_of(target, find(target, name))


def report_of(target: Target, record: RunRecord) -> Report:
    """Write the pages of this run. Errors: BadCall if no step has written a page, OutsideFailed."""
    record, missing = target.fetch_evidence(record)
    environment, model = target.environment, record.about.model
    live = None
    with suppress(ProofError):  # the pages are about the run; `lockgate status` says what is wrong with the pointer
        live = live_of(environment, model) if model else None
    pages = write_pages(Evidence(record, environment.trust, live, target.options))
    links = {name: target.link(path, record) for name, path in pages.files.items()}
    return Report(record, links, missing, pages.own, pages.withheld)


def stop(target: Target, name: str) -> tuple[list[str], dict[str, Any]]:
    """Stop a run in progress: lines, and JSON values. Errors: BadCall if it is not running, UnknownName."""
    record = find(target, name)
    if not record.run.alive:
        msg = f"run {record.id} is not running: {record.phase.lower()}"
        raise BadCall(msg, fix=f"lockgate status {target.options}".rstrip() + " shows which runs are")
    target.stop(record)
    return [f"Stopping run {record.id}: its candidate is released; what is live stays live."], {"run": record.id}
