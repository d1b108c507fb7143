"""Execute a manifest on this machine and record the run. The engine knows manifests and processes, but no step."""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lockgate.engine.checks import reached_in, verify
from lockgate.engine.events import Event, Preparing
from lockgate.engine.execution import Execution, Machine
from lockgate.engine.manifest import Json, Workflow, resolve
from lockgate.engine.record import Recorder, Run
from lockgate.engine.runtime import Runtime, files
from lockgate.errors import BadCall, UnknownName

_RUN_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


class Engine:
    """Execute workflows under a state folder.

    state: where `runs/` and `mutexes/` are.
    environment: the folder with one folder per ConfigMap and Secret, and in it one file per key.
    on_event: called for each event in order, in the thread of `run`.
    parallel: how many programs may run at once.
    grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        state: Path,
        environment: Path,
        runtime: Runtime,
        on_event: Callable[[Event], None] = lambda event: None,
        *,
        parallel: int = 2,
        grace: float = 10.0,
    ) -> None:
        self._machine = Machine(state, environment, runtime, on_event, parallel, grace)

    def run(
        self,
        documents: Iterable[Json],
        entry: str,
        parameters: Mapping[str, str] | None = None,
        *,
        run_id: str | None = None,
        resume: str | None = None,
    ) -> Run:
        """Execute the document named `entry` to its end and return its record, whether it succeeded or failed.

        resume: an earlier run to continue; nodes that succeeded there with the same inputs are not executed again.

        Errors: ManifestError and UnknownName before anything starts; OutsideFailed, if an image cannot be
        prepared; RunInUse.
        """
        earlier = self._earlier(resume) if resume else None
        workflow = resolve(documents, entry, parameters or {}, earlier.parameters if earlier else {})
        verify(workflow)
        files.check_environment(workflow, self._machine.environment)
        name = resume or run_id or f"{entry[:57]}-{secrets.token_hex(3)}"
        if not _RUN_NAME.fullmatch(name):
            message = f"{name!r} is not a valid run name"
            raise BadCall(message, fix="use at most 63 lower-case letters, digits, . and -")
        self._machine.runtime.prepare(_images(workflow), lambda what: self._machine.on_event(Preparing(what)))
        folder = self._machine.state / "runs" / name
        if run_id and not resume and (folder / "run.json").exists():
            message = f"run {name} already exists"
            raise BadCall(message, fix=f"choose another name, or resume it: lockgate run MODEL --resume {name}")
        recorder = Recorder(folder)
        try:
            recorder.manifest(workflow.documents)
            return Execution(self._machine, workflow, recorder, earlier).run()
        finally:
            recorder.close()

    def _earlier(self, run_id: str) -> Run:
        folder = self._machine.state / "runs" / run_id
        if not (folder / "run.json").is_file():
            what = "run"
            known = [path.parent.name for path in self._machine.state.glob("runs/*/run.json")]
            raise UnknownName(what, run_id, known)
        return Run.load(folder)


def _images(workflow: Workflow) -> list[str]:
    """Return the images of the templates that can be reached, without duplicates."""
    templates = [workflow.templates[key] for key in sorted(reached_in(workflow))]
    found = [template.body["container"]["image"] for template in templates if template.is_pod]
    return list(dict.fromkeys(found))
