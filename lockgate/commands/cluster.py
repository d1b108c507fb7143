"""The verbs that can mean a cluster: submit and watch, status, logs, report, waive, stop."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockgate_store import Missing, Store

from lockgate.cluster.manifests.settings import Cluster
from lockgate.cluster.submit import Order, Submission
from lockgate.cluster.watch import NAME, PART_OF, Live, fetch_log, live_on, raw_input, record_of, watch
from lockgate.cluster.workflows import Argo, Where, reach
from lockgate.commands.waive import Waiving, write_waiver
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.records.account import Account, signed_file
from lockgate.records.environment import Environment
from lockgate.records.runs import UNREACHED, RunRecord, named
from lockgate.records.store import bucket_of, live_at, live_of
from lockgate.report.lines import (
    again,
    duration,
    ending_lines,
    exit_code,
    next_lines,
    outcome_lines,
    run_word,
    short,
    waived_lines,
    ways_out,
)
from lockgate.report.page import PAGES
from lockgate.report.pages import write_pages
from lockgate.report.tree import LiveTree

LAST = 5


@dataclass(frozen=True)
class Watched:
    """How a run on a cluster ended, and what it means for users there."""

    record: RunRecord
    before: Live
    live: Live
    options: str
    tunable: Mapping[str, list[str]]

    @property
    def exit_code(self) -> int:
        """As a run here would end: 0 released, 3 refused, 4 the outside failed."""
        return exit_code(self.record)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "run": self.record.id,
            "model": self.record.about.model,
            "phase": self.record.phase,
            "exit_code": self.exit_code,
            "live": self.live.pointer,
            "url": self.live.address,
            "steps": [step.to_json() for step in self.record.steps],
        }

    def lines(self) -> list[str]:
        """The result as people read it."""
        record, live = self.record, self.live
        if not live.hidden and (live.pointer or record.phase != "Succeeded"):
            lines = outcome_lines(record, live.pointer, self.before.pointer, live.address)
        elif record.phase == "Succeeded":
            waived = [line for reason in record.waived for line in waived_lines(reason)]
            lines = [f"Released: {record.about.model} has a new live version.", *waived]
        else:
            promoted = any(step.name == "promote" and step.phase == "Succeeded" for step in record.steps)
            unchanged = [] if promoted else ["Nothing changed for users: promote did not succeed."]
            lines = [*ending_lines(record), *unchanged]
        lines = ["", *lines, *next_lines(self._next())]
        return lines if self.exit_code == 0 else [*lines, f"exit {self.exit_code}"]

    def _next(self) -> list[tuple[str, str]]:
        run, model = self.record.id, self.record.about.model
        if self.exit_code == 0:
            return [(f"lockgate status {model} {self.options}", "what is live, and the last runs")]
        step = next(iter((*self.record.refused, *self.record.failed)), None)
        found = [(f"lockgate logs {run} {step.name if step else ''} {self.options}", "what it said")]
        if self.record.refused:
            found += [(f"lockgate report {run} {self.options}", "all that was measured, with the store's credentials")]
            found += [(command, "") for command in ways_out(self.record, self.tunable, self.options)]
        elif self.exit_code != 2:
            found += [(again(self.record, self.options), "tries again")]
        return found


def submit(order: Order, where: Where) -> Submission:
    """Create a workflow on a cluster, or say what has to be built first. Errors: BadCall, OutsideFailed."""
    if (refusal := order.refusal(where.namespace)) is not None:
        return refusal
    with reach(where) as argo:
        return _create(order, argo, where)


def submit_and_watch(project: Project, order: Order, where: Where, tree: LiveTree) -> Submission | Watched:
    """The same, and show the run in the tree until it has ended. Errors: BadCall, OutsideFailed."""
    if (refusal := order.refusal(where.namespace)) is not None:
        return refusal
    tree.doing(f"submitting {order.template}")
    with reach(where) as argo:
        submission = _create(order, argo, where)
        before = live_on(argo, order.model)
        try:
            record = watch(argo, submission.workflow, tree, _kept(project, argo))
        except KeyboardInterrupt:
            for line in (f"{submission.workflow} goes on, unwatched.", *submission.lines()[1:]):
                tree.note(line)
            raise
        return Watched(record, before, live_on(argo, order.model), where.options, order.tunable)


def _create(order: Order, argo: Argo, where: Where) -> Submission:
    order.check_template(argo)
    created = argo.create(order.workflow)
    command = order.command(argo.namespace)
    return Submission(order.model, argo.namespace, command, where.options, workflow=str(created["metadata"]["name"]))


def status(project: Project, where: Where, name: str | None) -> tuple[dict[str, Any], list[str]]:
    """What is live on a cluster, and the last runs there: JSON values, and lines for people.

    Errors: BadCall, OutsideFailed.
    """
    labels = {PART_OF: "lockgate", **({NAME: name} if name else {})}
    runs: dict[str, list[RunRecord]] = {}
    value: dict[str, Any] = {}
    lines: list[str] = []
    with reach(where) as argo:
        for record in _newest(argo, labels, _kept(project, argo)):
            runs.setdefault(record.about.model, []).append(record)
        for model in [name] if name else sorted({*project.models, *runs}):
            live, last = live_on(argo, model), runs.get(model, [])[:LAST]
            value[model] = {"live": live.pointer, "url": live.address, "runs": [_run_json(run) for run in last]}
            lines += [f"{model}: {_stands(live, argo.namespace)}", *[_run_line(run) for run in last]]
    return value, lines or [f"There is no run yet: lockgate submit MODEL {where.options}"]


def _newest(argo: Argo, labels: Mapping[str, str], kept: Path) -> list[RunRecord]:
    records = [record_of(workflow, kept) for workflow in argo.workflows(labels)]
    return sorted(records, key=lambda record: record.started, reverse=True)


def _stands(live: Live, namespace: str) -> str:
    if live.pointer:
        return f"{short(live.pointer['bundle'])}, generation {live.pointer['generation']}\n  users call {live.address}"
    return "what is live is hidden from you" if live.hidden else f"no version is live in {namespace} yet"


def _run_line(run: RunRecord) -> str:
    during = ", ".join(step.name for step in run.steps if step.phase == "Running")
    word = f"{run_word(run)}{f': {during}' if during and run.phase == 'Running' else ''}"
    return f"  run {run.id}   {run.about.workflow:<8} {word:<12} {duration(run.seconds)}".rstrip()


def _run_json(run: RunRecord) -> dict[str, Any]:
    about = {"run": run.id, "workflow": run.about.workflow, "outcome": run_word(run)}
    return {**about, "at": run.started, "seconds": run.seconds, "steps": [step.to_json() for step in run.steps]}


def _find(argo: Argo, name: str, kept: Path) -> RunRecord:
    """A run on a cluster by its name, the beginning of it, or `last`. Errors: BadCall, UnknownName."""
    runs = _newest(argo, {PART_OF: "lockgate"}, kept)
    if not runs:
        msg = f"there is no run in {argo.namespace} yet"
        raise BadCall(msg, fix="start one: lockgate submit MODEL")
    return named(runs, name)


def logs(project: Project, where: Where, run: str, step: str | None) -> tuple[RunRecord, list[str]]:
    """A run on a cluster with the logs of its steps, or of one, and what of them cannot be had.

    Errors: BadCall, OutsideFailed.
    """
    with reach(where) as argo:
        record = _find(argo, run, _kept(project, argo))
        wanted = [each for each in record.steps if step in (None, each.name) and each.phase not in UNREACHED]
        lost = [each for each in wanted if not fetch_log(argo, record, each)]
    gone = [each.name for each in lost if not (each.folder / "log").exists()]
    notes = [
        f"{', '.join(gone)}: the pod is gone, since those that succeeded are removed; "
        "a log outlives it where the controller archives logs and an Argo server shows them (--server)"
    ]
    return record, notes if gone else []


def report(project: Project, where: Where, run: str) -> tuple[RunRecord, dict[str, Path], list[str]]:
    """Write the pages of a run on a cluster: its record, name -> file with the index first, and what the store lacks.

    Errors: BadCall, OutsideFailed.
    """
    environment = Cluster(project).as_environment
    record, gone = _fetched(project, environment, where, run)
    model = record.about.model
    about = replace(record.about, before=live_at(environment, model, record.started))
    account = Account(replace(record, about=about), environment.trust, live_of(environment, model), where.options)
    return record, write_pages(account), gone


def waive(project: Project, where: Where, run: str, asked: Waiving) -> tuple[list[str], dict[str, Any]]:
    """Sign an exception to a verdict of a run on a cluster: lines for people, and JSON values.

    Errors: BadCall, OutsideFailed.
    """
    environment = Cluster(project).as_environment
    record, _ = _fetched(project, environment, where, run)
    return write_waiver(project, environment, record, asked, where)


def _fetched(project: Project, environment: Environment, where: Where, run: str) -> tuple[RunRecord, list[str]]:
    """A run on the project's cluster with what its steps signed and the pages they wrote, and what is gone of those.

    Errors: BadCall, OutsideFailed.
    """
    with reach(where) as argo:
        if argo.namespace != (own := Cluster(project).settings.namespace):
            msg = f"kubernetes/ has the store and the keys of the namespace {own}, not of {argo.namespace}"
            raise BadCall(msg, fix=f"give -n {own}, or do this in the project of {argo.namespace}")
        record = _find(argo, run, _kept(project, argo))
        spec = raw_input(argo.workflow(record.id), "spec")
    store, gone = bucket_of(environment), list[str]()
    nodes = {node.id: node for node in record.run.nodes}
    for step in record.steps:
        node = nodes.get(step.folder.name)
        if node:
            _keep(step.folder / "in" / "spec", spec.encode())
        written = {each["name"]: each for each in (node.outputs.get("artifacts") or ())} if node else {}
        for name in (signed_file(step.name), *PAGES):
            output, _, inside = name.partition("/")
            if key := written.get(output, {}).get("s3", {}).get("key"):
                content = _read(store, f"{key}/{inside}" if inside else key)
                if content is None:
                    gone.append(f"{output} of {step.name}")
                else:
                    _keep(step.folder / "out" / name, content)
    return replace(record), gone  # read anew, with what was fetched


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read(store: Store, key: str) -> bytes | None:
    try:
        return store.read(key).data
    except Missing:
        return None
    except ValueError as error:
        msg = f"the run names an artifact that is none: {error}"
        raise BadCall(msg, fix="nobody but Argo should have written its status: ask who may") from error


def stop(project: Project, where: Where, run: str) -> tuple[list[str], dict[str, Any]]:
    """Ask a cluster to stop a run: lines for people, and JSON values. Errors: BadCall, OutsideFailed."""
    with reach(where) as argo:
        record = _find(argo, run, _kept(project, argo))
        if not record.run.alive:
            msg = f"run {record.id} is not running: {record.phase.lower()}"
            raise BadCall(msg, fix=f"lockgate status {where.options} shows what is")
        argo.stop(record.id)
    return [f"Run {record.id} is being stopped; its candidate is released and live stays as it is."], {"run": record.id}


def _kept(project: Project, argo: Argo) -> Path:
    return project.state / "cluster" / argo.namespace
