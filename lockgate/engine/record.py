"""The record of a run: a folder that any process can read, during the run and after it.

<state>/runs/<id>/
manifest.yaml        the documents as they were executed
run.json             phase, times, parameters, nodes, in Argo's terms; replaced as a whole at each change
lock                 locked by the process that executes the run
stop                 written by `ask_to_stop`
nodes/<node>/        the program's /lockgate (in, out, termination, ...), its log (stderr) and stdout
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from lockgate_step import loads

from lockgate.engine.errors import RunInUse
from lockgate.engine.locks import hold, is_held
from lockgate.errors import BadCall, OutsideFailed

Json = dict[str, Any]
Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Error", "Skipped", "Omitted"]
Type = Literal["Pod", "DAG", "TaskGroup", "Steps", "StepGroup", "Suspend", "Retry", "Skipped"]
Strategy = Literal["Stop", "Terminate"]


@dataclass
class Node:
    """One node of a run, in Argo's terms, with what a local run needs to be resumed."""

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
    hooked: bool = False  # a hook of its parent, not an attempt or task of it
    folder: str = ""  # the folder of a pod's files, relative to the run's
    digest: str = ""  # of everything that determines what a pod does
    execution: str = ""  # identifies this execution, to distinguish its outputs from those of another
    reused: bool = False  # from an earlier attempt at the run

    @property
    def completed(self) -> bool:
        """Whether it ran and has ended."""
        return self.phase in ("Succeeded", "Failed", "Error")

    @property
    def fulfilled(self) -> bool:
        """Whether its phase is final."""
        return self.completed or self.phase in ("Skipped", "Omitted")

    @property
    def failed(self) -> bool:
        """Whether it failed or is in error."""
        return self.phase in ("Failed", "Error")

    def has_tried(self, child: "Node") -> bool:
        """Return whether a child is an attempt or item of it, not a hook; the attempts of a hook are hooked too."""
        return not child.hooked or child.name.startswith(f"{self.name}(")

    @property
    def seconds(self) -> float:
        """Its duration in seconds, or 0 before it has ended."""
        return (self.finished_at or 0) - (self.started_at or 0) if self.finished_at else 0.0

    def to_json(self) -> Json:
        """Return the node as it is in run.json."""
        values = {_camel(each.name): getattr(self, each.name) for each in dataclasses.fields(self)}
        for name in ("startedAt", "finishedAt"):
            values[name] = timestamp(values[name]) if values[name] else None
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read a node of run.json."""
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
    """Return a time as it is in run.json."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rfc3339(seconds: float) -> str:
    """Return a time as the controller writes it into a tag."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Run:
    """A run as its folder records it."""

    folder: Path
    values: Json

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a run.

        Errors: BadCall, if there is no run that can be read.
        """
        try:
            values = loads((folder / "run.json").read_bytes())
            if not isinstance(values, dict) or not {"phase", "message", "parameters", "nodes"} <= values.keys():
                raise ValueError(folder.name)
        except (OSError, ValueError) as error:
            message = f"there is no run in {folder}"
            raise BadCall(message, fix="lockgate status lists the latest runs") from error
        return cls(folder, values)

    @property
    def id(self) -> str:
        """The name of the run, and of its folder."""
        return self.folder.name

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Error; it stays Running if the process was killed: see `alive`."""
        return str(self.values["phase"])

    @property
    def message(self) -> str:
        """Why it failed, if the controller gives a reason."""
        return str(self.values["message"])

    @property
    def parameters(self) -> dict[str, str]:
        """Its parameters."""
        return dict(self.values["parameters"])

    @property
    def nodes(self) -> list[Node]:
        """Its nodes, in the order in which they were created."""
        return [Node.from_json(node) for node in self.values["nodes"].values()]

    def node(self, name: str) -> Node | None:
        """Return the node with this display name that ended last, or None."""
        found = [node for node in self.nodes if node.display_name == name]
        return max(found, key=lambda node: node.finished_at or 0, default=None)

    @property
    def alive(self) -> bool:
        """Whether a process is executing it now."""
        return is_held(self.folder / "lock")


def ask_to_stop(folder: Path, strategy: Strategy = "Stop") -> None:
    """Ask the process that executes a run to stop it; `Stop` still runs onExit, `Terminate` does not."""
    _write(folder / "stop", strategy)


class Recorder:
    """Writes a run's folder; holds its lock until it is closed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it has rows; other users read nothing below it
        (folder / "nodes").mkdir(exist_ok=True)
        self.folder = folder
        lock = hold(folder / "lock")
        if lock is None:
            raise RunInUse(folder.name, _pid(folder))
        self._lock = lock
        (folder / "stop").unlink(missing_ok=True)

    def manifest(self, documents: Iterable[Json]) -> None:
        """Save the documents that are executed."""
        _write(self.folder / "manifest.yaml", yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True))

    def save(self, values: Mapping[str, Any]) -> None:
        """Replace run.json as a whole."""
        _write(self.folder / "run.json", json.dumps({**values, "pid": os.getpid()}, ensure_ascii=False))

    def requested_stop(self) -> Strategy | None:
        """Return the stop that another process requested, or None."""
        try:
            requested = (self.folder / "stop").read_text("utf-8")
        except FileNotFoundError:
            return None
        return "Terminate" if requested == "Terminate" else "Stop"

    def close(self) -> None:
        """Release the run's lock."""
        self._lock.close()


def _write(path: Path, content: str) -> None:
    # A reader sees the old file or the new one, never a part.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(content, "utf-8")
        partial.replace(path)
    except OSError as error:
        message = f"cannot write the run's record {path}: {error.strerror}"
        raise OutsideFailed(
            message, fix=f"free disk space, then lockgate run MODEL --resume {path.parent.name}"
        ) from error


def _pid(folder: Path) -> int:
    try:
        return int(json.loads((folder / "run.json").read_text("utf-8"))["pid"])
    except (OSError, ValueError, KeyError):
        return 0


def folder_of(workflow: str, node: str) -> str:
    """Return a node's folder, relative to the run's: its name without the run's; attempts, items, groups as numbers.

    The text of an item is not part of it, since an item can contain any characters.
    """
    name = re.sub(r"\((\d+)(?::[^()]*)?\)|\[(\d+)\]", lambda found: f".{found[1] or found[2]}", node[len(workflow) :])
    return "nodes/" + (name.lstrip(".") or "main")
