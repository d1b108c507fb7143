"""`lockgate run`: render, check, and execute the rendered manifest on this machine."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockgate_step import without_credentials

from lockgate.commands.machine import Machine
from lockgate.commands.preflight import check_columns, check_estimator
from lockgate.commands.result import Result
from lockgate.commands.runs import report_of
from lockgate.commands.target import find
from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Model, Project
from lockgate.definition.workflows import NAMES
from lockgate.engine import NOT_ISOLATED, Engine, ProcessRuntime, Runtime, load_manifests
from lockgate.errors import BadCall, UnknownName
from lockgate.images.containers import contained
from lockgate.images.environments import Environments, cache
from lockgate.images.installed import Installed
from lockgate.images.pins import built
from lockgate.images.places import places
from lockgate.platform import control
from lockgate.records.environment import Environment, ensure_environment, move_approver_key
from lockgate.records.leftovers import remove_older, removed, resumable
from lockgate.records.runs import About, RunRecord, additional_gates, declared_pages, program_steps
from lockgate.records.store import live_of
from lockgate.records.waivers import check_waivers
from lockgate.rendering.current import write_current
from lockgate.rendering.files import model_files, write_or_check
from lockgate.rendering.settings import check_settings, choices
from lockgate.report.lines import again
from lockgate.report.tree import LiveTree


@dataclass(frozen=True)
class Request:
    """A run to start."""

    model: str
    workflow: str
    given: Mapping[str, str]
    resume: str | None = None
    serve: bool = True
    engine: str = ""  # a container engine; without one, each step is a process
    keep: bool = False  # keep the data of the steps when the run has ended


class Session:
    """One `lockgate run`."""

    def __init__(self, project: Project, *, verbose: bool = False, quiet: bool = False) -> None:
        self.project = project
        self.verbose = verbose
        self.quiet = quiet
        self.catalog = Catalog.find()

    def run(self, request: Request) -> Result:
        """Run a workflow of a model to its end.

        Errors: a LockgateError before the first step; later failures are in the result.
        """
        with LiveTree(quiet=self.quiet, verbose=self.verbose) as tree:
            return self._run(request, tree)

    def _run(self, request: Request, tree: LiveTree) -> Result:
        model = self.project.model(request.model)
        machine = Machine.of(self.project)
        environment = ensure_environment(self.project, [gate.signer for gate in model.gates.values()])
        if request.resume:
            request = resumed(request, find(machine, request.resume), model)
        if request.workflow not in NAMES:
            raise UnknownName("workflow", request.workflow, NAMES)
        tree.doing(f"rendering workflows/{model.spec.name}")
        write_or_check(model_files(self.project, model))
        write_current(self.project, environment)
        path = self.project.workflows / model.spec.name / f"{request.workflow}.yaml"
        (manifest,) = load_manifests(path)
        parameters = {p["name"]: p for p in manifest["spec"].get("arguments", {}).get("parameters", [])}
        given = self._given(model, request, parameters)
        check_settings(given, parameters, {**self.catalog.programs, **model.own_programs}.values())
        if "data" in given:
            check_columns(model.spec, given["data"])
        estimator = given.get("estimator", model.spec.train.get("estimator"))
        if estimator is not None and self._trains(manifest):
            check_estimator(estimator, self.catalog)
        check_waivers(model, environment.trust)
        runtime = self._runtime(request.engine, model, environment, manifest, given.get("data", ""))
        if runtime.isolation == "none":
            tree.note(NOT_ISOLATED)
        if moved := move_approver_key(environment):
            tree.note(moved)
        if request.serve:
            if not control.runs(self.project):
                tree.doing("starting the local platform")
            control.start(self.project, environment)
        about = About(
            model.spec.name, request.workflow, dict(request.given), tuple(program_steps(manifest["spec"])),
            live_of(environment, model.spec.name), request.keep, declared_pages(manifest["spec"]),
            additional_gates(manifest["spec"]),
        )  # fmt: skip
        for other in machine.runs(model.spec.name):
            if other.phase not in ("Running", "Pending"):
                continue
            tree.note(
                f"run {other.id} of {model.spec.name} is in progress: the second one waits at deploy, and ends with "
                "exit 3 if the first went live"
            )
        engine = Engine(
            state=self.project.state,
            environment=environment.root,
            runtime=runtime,
            on_event=tree,
        )
        tree.expect(about.steps, begin=about.write)
        name = None if request.resume else secrets.token_hex(3)
        run = engine.run([manifest], manifest["metadata"]["name"], given, run_id=name, resume=request.resume)
        record = RunRecord.load(run.folder)
        tunable = choices(parameters, model.spec.tunable)
        live, (report, withheld) = machine.live(model.spec.name), _report(machine, record)
        notes = [*model.notes, *withheld, *_tidied(machine, record)]
        return Result(record, record.about.before, live, tunable, report=report, notes=notes)

    def _runtime(
        self, engine: str, model: Model, environment: Environment, manifest: Mapping[str, Any], data: str
    ) -> Runtime:
        if not engine:
            found = places(self.catalog, model, environment, data)
            return ProcessRuntime(Installed(self.catalog, model), Environments(cache()), found)
        images = [t["container"]["image"] for t in manifest["spec"]["templates"] if "container" in t]
        return contained(engine, images, built(self.project), model, environment, data)

    def _trains(self, manifest: Mapping[str, Any]) -> bool:
        """Whether the chain has Lockgate's own train; a model's own step may give its settings another meaning."""
        train = list(self.catalog.program("train").command)
        return any(each.get("container", {}).get("command") == train for each in manifest["spec"]["templates"])

    def _given(self, model: Model, request: Request, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The settings, with an absolute address of the data: only here the model's folder is known."""
        given = {name: without_credentials(value, f"the setting {name}") for name, value in request.given.items()}
        if "data" in parameters:
            given["data"] = absolute(
                given.get("data") or model.spec.source.uri, Path.cwd() if "data" in given else model.folder
            )
        return given


def resumed(request: Request, record: RunRecord, model: Model) -> Request:
    """The request that continues a run: its settings, replaced by those that are given now.

    Errors: BadCall if the run has succeeded, is another model's, or its data were removed.
    """
    if record.about.model not in ("", model.spec.name):
        msg = f"run {record.id} belongs to {record.about.model}, not to {model.spec.name}"
        raise BadCall(msg, fix=f"lockgate run {record.about.model} --resume {record.id}")
    if record.phase == "Succeeded":
        msg = f"run {record.id} has already succeeded; nothing is left to do"
        raise BadCall(msg, fix=f"lockgate run {model.spec.name}   starts a new one")
    if removed(record):
        msg = f"run {record.id} cannot be resumed: its data were removed, since it was refused or a later run has ended"
        raise BadCall(msg, fix=again(record))
    about = record.about
    given = {**about.given, **request.given}
    return replace(request, resume=record.id, workflow=about.workflow or request.workflow, given=given)


def absolute(uri: str, folder: Path) -> str:
    """An address of data that each process can open: `s3://…` unchanged, a path as `file:///…`. Errors: BadCall."""
    if "://" in uri:
        return uri
    path = (folder / uri).resolve()
    if not path.is_file():
        msg = f"data file {path} not found"
        raise BadCall(msg, fix="correct `data` in pipeline.py, or give --data URI")
    return path.as_uri()


def _tidied(machine: Machine, record: RunRecord) -> list[str]:
    """Remove the data of the runs of this model that have ended; return what to say about those that stay."""
    resume = resumable(record)
    remove_older(run for run in machine.runs(record.about.model) if not (resume and run.id == record.id))
    if record.about.keep:
        return [f"the data of this run stay in {record.run.folder / 'nodes'} (--keep): remove them when you are done"]
    if resume:
        return [
            f"the data of this run stay in {record.run.folder / 'nodes'}, so that it can be resumed, until the next "
            f"run of {record.about.model} has ended"
        ]
    return []


def _report(machine: Machine, record: RunRecord) -> tuple[str, list[str]]:
    """The link to a run's first page, or nothing if it has none; and which pages are not shown."""
    with suppress(BadCall):
        found = report_of(machine, record)
        return found.pages["index"], list(found.withheld)
    return "", []
