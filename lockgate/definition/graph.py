"""Build a graph of tasks that pass typed artifacts to each other. Edges follow from the arguments."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

from lockgate_step import Kind

from lockgate.errors import SpecError

K = TypeVar("K", bound=Kind, covariant=True)
D = TypeVar("D")
G = TypeVar("G", bound="Graph")


@dataclass(frozen=True)
class Artifact(Generic[K]):
    """The address of a file of one kind: an output of a task, or an input of a graph.

    task: the task of the same graph that must succeed first; None for an input of the graph.
    """

    name: str
    task: str | None = None

    @property
    def expression(self) -> str:
        """The address as an Argo expression."""
        return f"{{{{{f'tasks.{self.task}.outputs' if self.task else 'inputs'}.artifacts.{self.name}}}}}"


@dataclass(frozen=True)
class Setting:
    """A setting whose value is known only when the workflow runs, e.g. `Setting("workflow.parameters.data")`."""

    variable: str

    @property
    def expression(self) -> str:
        """The value as an Argo expression."""
        return f"{{{{{self.variable}}}}}"


Value = str | int | float | bool | Setting


@dataclass(frozen=True)
class Task:
    """One task of a graph: a program, or a graph inside this one."""

    name: str
    program: str | None
    graph: "Graph | None"
    artifacts: Mapping[str, Artifact[Any]]
    settings: Mapping[str, Value]
    after: tuple[str, ...] = ()

    def output(self, name: str) -> Artifact[Any]:
        """One of the files that this task writes."""
        return Artifact(name, self.name)

    @property
    def needs(self) -> list[str]:
        """The tasks that must succeed before this one, sorted."""
        return sorted({a.task for a in self.artifacts.values() if a.task} | set(self.after))


@dataclass
class Graph:
    """Tasks, and the files that are passed in from outside.

    mutex: the name of a lock that the graph holds while it runs; only one run of any workflow can hold it.
    """

    name: str
    inputs: tuple[str, ...] = ()
    mutex: str | None = None
    tasks: list[Task] = field(default_factory=list)

    def add(self, task: Task) -> Task:
        """Add a task. Errors: SpecError if the graph has a task of that name."""
        if any(task.name == other.name for other in self.tasks):
            msg = f"the graph {self.name} has two tasks named {task.name!r}"
            raise SpecError(msg, fix=f"give the second one a name: {task.program or task.name}(..., name=...)")
        self.tasks.append(task)
        return task

    def inner(self, name: str, inputs: tuple[str, ...], mutex: str | None) -> "Graph":
        """Create a graph that will become one task of this graph."""
        return Graph(name, inputs, mutex)

    def programs(self) -> Iterator[Task]:
        """Every task that runs a program, including those of inner graphs."""
        for task in self.tasks:
            if task.graph is None:
                yield task
            else:
                yield from task.graph.programs()

    def graphs(self) -> Iterator["Graph"]:
        """Every graph: this one and all inner graphs."""
        yield self
        for task in self.tasks:
            if task.graph is not None:
                yield from task.graph.graphs()


_open: ContextVar[Graph | None] = ContextVar("_open", default=None)


@contextmanager
def opened(new: G) -> Iterator[G]:
    """Open a graph; the typed functions of `lockgate.steps` then add their tasks to it."""
    token = _open.set(new)
    try:
        yield new
    finally:
        _open.reset(token)


def graph(name: str) -> AbstractContextManager[Graph]:
    """Open the outermost graph."""
    return opened(Graph(name))


@contextmanager
def nested(name: str, passed: D, *, mutex: str | None = None) -> Iterator[D]:
    """Open a graph inside the open one; yields `passed` (a dataclass of artifacts) as inputs of the new graph."""
    outer = _current(name)
    outside = {f.name: getattr(passed, f.name) for f in fields(passed)}  # type: ignore[arg-type]
    inside = {key: Artifact[Any](key) for key in outside}
    inner = outer.inner(name, tuple(outside), mutex)
    with opened(inner):
        yield replace(passed, **inside)  # type: ignore[type-var]
    outer.add(Task(name, None, inner, outside, {}))


def add(
    program: str,
    name: str,
    artifacts: Mapping[str, Artifact[Any] | Mapping[str, Artifact[Any]] | None],
    settings: Mapping[str, Value],
    after: Artifact[Any] | None = None,
) -> Task:
    """Add a task that runs a program to the open graph; called by the rendered functions.

    artifacts: by input. Several artifacts by name become the files of a folder: `verdicts-a`, `verdicts-b`.
    after: an artifact that must exist first although the program does not read it, e.g. the verdict on the data.
    """
    given: dict[str, Artifact[Any]] = {}
    for key, artifact in artifacts.items():
        if isinstance(artifact, Artifact):
            given[key] = artifact
        elif artifact is not None:
            given |= {f"{key}-{name}": each for name, each in artifact.items()}
    first = (after.task,) if after is not None and after.task else ()
    return _current(program).add(Task(name, program, None, given, settings, first))


def _current(what: str) -> Graph:
    current = _open.get()
    if current is None:
        msg = f"{what} was called outside a workflow"
        raise SpecError(msg, fix="call steps only inside candidate(spec); Lockgate opens the graph there")
    return current
