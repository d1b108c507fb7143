"""The record of a run: a folder that any process can read, while the run lasts and after.

<state>/runs/<id>/
manifest.yaml        the documents as they were executed
run.json             phase, times, parameters, nodes: Argo's words; replaced as a whole at each change
lock                 held by the process that executes the run; free means nobody does
stop                 written by `ask_to_stop`
nodes/<node>/        what a program sees as /lockgate (in out termination ...), its log (stderr) and stdout
"""

import dataclasses
import fcntl
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from lockgate.engine.errors import RunInUse
from lockgate.errors import BadCall, OutsideFailed

Json = dict[str, Any]
Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Error", "Skipped", "Omitted"]
Type = Literal["Pod", "DAG", "TaskGroup", "Steps", "StepGroup", "Suspend", "Retry", "Skipped"]
Strategy = Literal["Stop", "Terminate"]


@dataclass
class Node:
    """One node of a run, in Argo's words, and beside them what a local run needs to go on later."""

    id: str
    name: str
    display_name: str
    type: Type
    template_name: str
    phase: Phase
    boundary_id: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    inputs: Json = field(default_factory=dict)
    outputs: Json = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    at_exit: bool = False
    hooked: bool = False  # a hook of its parent, not one of its attempts or tasks
    folder: str = ""  # below the run's, where a pod's files are
    digest: str = ""  # of all that decides what a pod does
    execution: str = ""  # names this one execution, so that what it wrote is told from what another wrote
    reused: bool = False  # from an earlier attempt at the run

    @property
    def completed(self) -> bool:
        """Whether it ran to an end."""
        return self.phase in ("Succeeded", "Failed", "Error")

    @property
    def fulfilled(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.completed or self.phase in ("Skipped", "Omitted")

    @property
    def failed(self) -> bool:
        """Whether it ended badly."""
        return self.phase in ("Failed", "Error")

    def has_tried(self, child: "Node") -> bool:
        """Whether a child is one of its attempts or items and no hook on it; what a hook tries is hooked too."""
        return not child.hooked or child.name.startswith(f"{self.name}(")

    @property
    def seconds(self) -> float:
        """How long it took, or nothing while it has not ended."""
        return (self.finished_at or 0) - (self.started_at or 0) if self.finished_at else 0.0

    def to_json(self) -> Json:
        """The node as run.json holds it."""
        values = {_camel(each.name): getattr(self, each.name) for each in dataclasses.fields(self)}
        for name in ("startedAt", "finishedAt"):
            values[name] = timestamp(values[name]) if values[name] else None
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A node from run.json."""
        given = {
            each.name: values[_camel(each.name)] for each in dataclasses.fields(cls) if _camel(each.name) in values
        }
        for name in ("started_at", "finished_at"):
            given[name] = datetime.fromisoformat(given[name]).timestamp() if given[name] else None
        return cls(**given)


def _camel(name: str) -> str:
    if name == "boundary_id":
        return "boundaryID"
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def timestamp(seconds: float) -> str:
    """A time as run.json holds it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rfc3339(seconds: float) -> str:
    """A time as the controller writes it into a tag."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Run:
    """What a run's folder says."""

    folder: Path
    values: Json

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a run.

        Errors: BadCall, when there is none that can be read.
        """
        try:
            values = json.loads((folder / "run.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            message = f"there is no run in {folder}"
            raise BadCall(message, fix="lockgate status shows the last ones") from error
        return cls(folder, values)

    @property
    def id(self) -> str:
        """The name of the run, and of its folder."""
        return self.folder.name

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Error; a run whose process is gone stays Running: see `alive`."""
        return str(self.values["phase"])

    @property
    def message(self) -> str:
        """Why it failed, where the controller says so."""
        return str(self.values["message"])

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters it runs with."""
        return dict(self.values["parameters"])

    @property
    def nodes(self) -> list[Node]:
        """Its nodes, in the order they came into being."""
        return [Node.from_json(node) for node in self.values["nodes"].values()]

    def node(self, name: str) -> Node | None:
        """The node of this display name that ended last, or nothing."""
        found = [node for node in self.nodes if node.display_name == name]
        return max(found, key=lambda node: node.finished_at or 0, default=None)

    @property
    def alive(self) -> bool:
        """Whether a process is executing it now."""
        try:
            with (self.folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def ask_to_stop(folder: Path, strategy: Strategy = "Stop") -> None:
    """Ask the process that executes a run to stop it; `Stop` still runs onExit, `Terminate` does not."""
    _write(folder / "stop", strategy)


class Recorder:
    """Writes a run's folder; holds its lock from being made until it is closed."""

    def __init__(self, folder: Path) -> None:
        (folder / "nodes").mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = (folder / "lock").open("a+b")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise RunInUse(folder.name, _pid(folder)) from None
        (folder / "stop").unlink(missing_ok=True)

    def manifest(self, documents: Iterable[Json]) -> None:
        """Keep the documents that are executed."""
        _write(self.folder / "manifest.yaml", yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True))

    def save(self, values: Mapping[str, Any]) -> None:
        """Replace run.json as a whole."""
        _write(self.folder / "run.json", json.dumps({**values, "pid": os.getpid()}, ensure_ascii=False))

    def stop_asked(self) -> Strategy | None:
        """What another process asked for."""
        try:
            asked = (self.folder / "stop").read_text("utf-8")
        except FileNotFoundError:
            return None
        return "Terminate" if asked == "Terminate" else "Stop"

    def close(self) -> None:
        """Let the run go."""
        self._lock.close()


def _write(path: Path, content: str) -> None:
    # Whoever reads sees the old file or the new one, never half of one.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(content, "utf-8")
        partial.replace(path)
    except OSError as error:
        message = f"the record {path} cannot be written: {error.strerror}"
        raise OutsideFailed(
            message, fix=f"make room there, then lockgate run MODEL --resume {path.parent.name}"
        ) from error


def _pid(folder: Path) -> int:
    try:
        return int(json.loads((folder / "run.json").read_text("utf-8"))["pid"])
    except (OSError, ValueError, KeyError):
        return 0


def folder_of(workflow: str, node: str) -> str:
    """Where a node's files are, below the run's folder: its name without the run's; attempts, items, groups as numbers.

    No text of an item comes into it: that may be anything.
    """
    name = re.sub(r"\((\d+)(?::[^()]*)?\)|\[(\d+)\]", lambda found: f".{found[1] or found[2]}", node[len(workflow) :])
    return "nodes/" + (name.lstrip(".") or "main")
