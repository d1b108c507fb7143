"""`lockgate run`: render, prepare, execute the rendered manifest, and say how it ended."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lockgate.commands.preflight import check_columns, check_estimator
from lockgate.definition.project import Model, Project
from lockgate.definition.shelf import Shelf
from lockgate.engine import Engine, ProcessRuntime, Runtime, ask_to_stop
from lockgate.errors import BadCall, UnknownName
from lockgate.images.environments import Environments, cache
from lockgate.images.installed import Installed
from lockgate.records.address import address_of
from lockgate.records.environment import Environment, ensure_environment
from lockgate.records.runs import About, RunRecord, Runs, program_steps
from lockgate.records.store import live_of
from lockgate.records.waivers import check_waivers
from lockgate.rendering.files import model_files, write_or_check
from lockgate.rendering.settings import check_settings
from lockgate.report.lines import exit_code, next_lines, outcome_lines, ways_out
from lockgate.report.pages import write_index
from lockgate.report.tree import LiveTree


@dataclass(frozen=True)
class Request:
    """What is to be run."""

    model: str
    workflow: str
    given: Mapping[str, str]
    resume: str | None = None
    serve: bool = True
    engine: str = ""  # the container engine; without one, steps are processes


@dataclass(frozen=True)
class Result:
    """How a run ended, and what it means."""

    record: RunRecord
    live: Mapping[str, Any] | None
    url: str
    report: str
    tunable: Mapping[str, list[str]]
    notes: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0 released, 2 bad call, 3 refused, 4 the outside failed."""
        return exit_code(self.record)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "run": self.record.id,
            "model": self.record.about.model,
            "phase": self.record.phase,
            "exit_code": self.exit_code,
            "live": self.live,
            "url": self.url,
            "steps": [step.to_json() for step in self.record.steps],
        }

    def lines(self, *, welcome: bool = False) -> list[str]:
        """The result as people read it."""
        lines = ["", *outcome_lines(self.record, self.live, self.record.about.before, self.url)]
        lines += [f"Note: {note}" for note in self.notes]
        lines += next_lines(self._next(welcome=welcome))
        return lines if self.exit_code == 0 else [*lines, f"exit {self.exit_code}"]

    def _next(self, *, welcome: bool) -> list[tuple[str, str]]:
        run, model = self.record.id, self.record.about.model
        if self.exit_code == 0:
            report = (f"lockgate report {run}", self.report)
            if not welcome:
                return [report, (f"lockgate verify {model}", "proves again what is live")]
            return [
                ("source .venv/bin/activate", "makes `lockgate` a command in this terminal"),
                (f"lockgate predict {model} docs/rows.csv", "CSV in, the same rows with label and score out"),
                report,
                ("lockgate new NAME --data FILE --target COLUMN", "a model of your own"),
            ]
        found = []
        for step in self.record.refused[:1]:
            shows = "every group, with intervals" if step.name == "bias-audit" else "everything that was checked"
            found = [(f"lockgate report {run}", shows)]
            found += [(command, "") for command in ways_out(self.record, self.tunable)]
            reason = next((r for r in (step.verdict or {})["reasons"] if not r["waived_by"]), None)
            found += [(f"lockgate waive {run} {reason['id']}", "signs an exception that ends")] if reason else []
        if not self.record.refused:
            failed = [step.name for step in self.record.failed[:1]]
            found = [(f"lockgate logs {run} {' '.join(failed)}".strip(), "what it said")]
            # A call that was wrong is as wrong the second time; what is corrected starts a run of its own.
            again = (
                ("", "when that is corrected")
                if self.exit_code == 2
                else ("", "compared with what is live now")
                if self.exit_code == 3
                else (f" --resume {run}", "goes on where it ended")
            )
            found += [(f"lockgate run {model}{again[0]}", again[1])]
        return found


class Session:
    """One `lockgate run`."""

    def __init__(self, project: Project, *, verbose: bool = False, quiet: bool = False) -> None:
        self.project = project
        self.verbose = verbose
        self.quiet = quiet
        self.shelf = Shelf.find()

    def run(self, request: Request) -> Result:
        """Run a workflow of a model to its end.

        Errors: every LockgateError that shows before the first step; afterwards the result says it.
        """
        with LiveTree(quiet=self.quiet, verbose=self.verbose) as tree:
            return self._run(request, tree)

    def _run(self, request: Request, tree: LiveTree) -> Result:
        runs = Runs(self.project.state / "runs")
        model = self.project.model(request.model)
        if request.resume:
            request = resumed(request, runs.find(request.resume), model)
        if request.workflow not in ("release", "review"):
            raise UnknownName("workflow", request.workflow, ["release", "review"])
        tree.doing(f"rendering workflows/{model.spec.name}")
        write_or_check(model_files(self.project, model))
        path = self.project.workflows / model.spec.name / f"{request.workflow}.yaml"
        # The safe loader, in C where PyYAML was built with it: the manifests are long.
        manifest = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        parameters = {p["name"]: p for p in manifest["spec"].get("arguments", {}).get("parameters", [])}
        given = self._given(model, request, parameters)
        check_settings(given, parameters, {**self.shelf.programs, **model.own_programs}.values())
        if "data" in given:
            check_columns(model.spec, given["data"])
        estimator = given.get("estimator", model.spec.train.get("estimator"))
        if estimator is not None and self._trains(manifest):
            check_estimator(estimator, self.shelf)
        environment = ensure_environment(self.project, self.shelf.signers)
        check_waivers(model, environment.trust)
        runtime = self._runtime(request.engine, model, environment, manifest, given.get("data", ""))
        if request.serve:
            from lockgate.platform import control as platform

            if not platform.runs(self.project):
                tree.doing("starting the local platform")
            platform.start(self.project, environment)
        about = About(
            model.spec.name, request.workflow, dict(request.given), tuple(program_steps(manifest["spec"])),
            live_of(environment, model.spec.name),
        )  # fmt: skip
        for other in runs.under_way(model.spec.name):
            tree.note(
                f"run {other.id} of {model.spec.name} is under way: whichever is second waits at deploy, and ends with "
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
        tunable = {name: list(parameters[name].get("enum") or []) for name in model.spec.tunable if name in parameters}
        return Result(
            record, live_of(environment, model.spec.name), address_of(environment, model.spec.name),
            _report(record, environment), tunable, model.notes,
        )  # fmt: skip

    def _runtime(
        self, engine: str, model: Model, environment: Environment, manifest: Mapping[str, Any], data: str
    ) -> Runtime:
        if not engine:
            return ProcessRuntime(Installed(self.shelf, model), Environments(cache()))
        from lockgate.images.contained import contained
        from lockgate.images.pins import built

        images = [t["container"]["image"] for t in manifest["spec"]["templates"] if "container" in t]
        return contained(engine, images, built(self.project), model, environment, data)

    def _trains(self, manifest: Mapping[str, Any]) -> bool:
        """Whether the chain holds the shelf's own train; a model's own step may mean something else by its settings."""
        train = list(self.shelf.program("train").command)
        return any(each.get("container", {}).get("command") == train for each in manifest["spec"]["templates"])

    def _given(self, model: Model, request: Request, parameters: Mapping[str, Any]) -> dict[str, str]:
        """What was asked, with the data's address made absolute: only here is the model's folder known."""
        given = dict(request.given)
        if "data" in parameters:
            given["data"] = absolute(
                given.get("data") or model.spec.source.uri, Path.cwd() if "data" in given else model.folder
            )
        return given


def resumed(request: Request, record: RunRecord, model: Model) -> Request:
    """The request that goes on with a run: what was asked then, but for what is asked otherwise now.

    Errors: BadCall when the run has nothing left to do, or is another model's.
    """
    if record.about.model not in ("", model.spec.name):
        msg = f"run {record.id} is of {record.about.model}, not of {model.spec.name}"
        raise BadCall(msg, fix=f"lockgate run {record.about.model} --resume {record.id}")
    if record.phase == "Succeeded":
        msg = f"run {record.id} has already succeeded: nothing is left to do"
        raise BadCall(msg, fix=f"lockgate run {model.spec.name}   starts a new one")
    about = record.about
    given = {**about.given, **request.given}
    return replace(request, resume=record.id, workflow=about.workflow or request.workflow, given=given)


def absolute(uri: str, folder: Path) -> str:
    """A data address that any process can open: `s3://…` as it is, a path as `file:///…`. Errors: BadCall."""
    if "://" in uri:
        return uri
    path = (folder / uri).resolve()
    if not path.is_file():
        msg = f"there are no data at {path}"
        raise BadCall(msg, fix="correct `data` in pipeline.py, or give --data URI")
    return path.as_uri()


def _report(record: RunRecord, environment: Environment) -> str:
    """The link to a run's pages, or nothing where it has none."""
    with suppress(BadCall):
        return write_index(record, environment)["index"]
    return ""


def stop_run(record: RunRecord) -> str:
    """Ask the process that executes a run to stop it. Errors: BadCall when nothing runs it."""
    if not record.run.alive:
        msg = f"run {record.id} is not running: {record.phase.lower()}"
        raise BadCall(msg, fix="lockgate status shows what is")
    ask_to_stop(record.run.folder)
    return f"Run {record.id} is being stopped; its candidate is released and live stays as it is."
