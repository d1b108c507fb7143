"""The local engine: a manifest in, a run record out. It knows manifests and processes, and no step."""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lockgate.engine.checks.checks import verify
from lockgate.engine.checks.scope import reached_in
from lockgate.engine.events import Event, Preparing
from lockgate.engine.execution import Execution, Machine
from lockgate.engine.manifest.manifest import Json, Workflow, resolve
from lockgate.engine.record import Recorder, Run
from lockgate.engine.runtime import files
from lockgate.engine.runtime.process import Runtime
from lockgate.errors import BadCall, UnknownName

_RUN_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


class Engine:
    """Executes workflows under a state folder.

    state: where `runs/` and `mutexes/` are.
    environment: a folder for each ConfigMap and Secret, with a file for each key.
    on_event: called in the thread of `run`, in order.
    parallel: how many programs run at once, as a cluster with that much room would have it.
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
        """Execute the document named `entry` to its end, and return its record, whatever the end.

        resume: go on with this earlier run: what succeeded there and would be the same again is not done again.

        Errors: ManifestError and UnknownName before anything starts; OutsideFailed, when an image cannot be made
        ready; RunInUse.
        """
        earlier = self._earlier(resume) if resume else None
        workflow = resolve(documents, entry, parameters or {}, earlier.parameters if earlier else {})
        verify(workflow)
        files.check_environment(workflow, self._machine.environment)
        name = resume or run_id or f"{entry[:57]}-{secrets.token_hex(3)}"
        if not _RUN_NAME.fullmatch(name):
            message = f"{name!r} is no name for a run"
            raise BadCall(message, fix="use at most 63 lower-case letters, digits and -")
        self._machine.runtime.prepare(_images(workflow), lambda what: self._machine.on_event(Preparing(what)))
        folder = self._machine.state / "runs" / name
        if run_id and not resume and (folder / "run.json").exists():
            message = f"there is a run {name} already"
            raise BadCall(message, fix=f"choose another name, or go on with it: lockgate run MODEL --resume {name}")
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
    """The images of the templates that can be reached, each once."""
    templates = [workflow.templates[key] for key in sorted(reached_in(workflow))]
    found = [template.body["container"]["image"] for template in templates if template.is_pod]
    return list(dict.fromkeys(found))
