"""The open graph: typed artifacts and the tasks that pass them on. Edges follow from the arguments."""

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
    """A file of one kind that a task writes, or that reaches a graph from outside; only its address, never its bytes.

    task: the task of the same graph that must succeed first; None for an input of the graph.
    """

    name: str
    task: str | None = None

    @property
    def expression(self) -> str:
        """Its address as Argo spells it."""
        return f"{{{{{f'tasks.{self.task}.outputs' if self.task else 'inputs'}.artifacts.{self.name}}}}}"


@dataclass(frozen=True)
class Setting:
    """A setting whose value is known when the workflow runs, e.g. `Setting("workflow.parameters.data")`."""

    variable: str

    @property
    def expression(self) -> str:
        """Its value as Argo spells it."""
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
        """One of the files this task writes."""
        return Artifact(name, self.name)

    @property
    def needs(self) -> list[str]:
        """The tasks that must have succeeded before this one, sorted."""
        return sorted({a.task for a in self.artifacts.values() if a.task} | set(self.after))


@dataclass
class Graph:
    """Tasks and the files that reach them from outside.

    mutex: at most one run of any workflow holds it while this graph runs.
    """

    name: str
    inputs: tuple[str, ...] = ()
    mutex: str | None = None
    tasks: list[Task] = field(default_factory=list)

    def add(self, task: Task) -> Task:
        """Put a task into the graph. Errors: SpecError when its name is taken."""
        if any(task.name == other.name for other in self.tasks):
            msg = f"the graph {self.name} has two tasks named {task.name!r}"
            raise SpecError(msg, fix=f"give the second one a name: {task.program or task.name}(..., name=...)")
        self.tasks.append(task)
        return task

    def inner(self, name: str, inputs: tuple[str, ...], mutex: str | None) -> "Graph":
        """A graph that is to become one task of this one."""
        return Graph(name, inputs, mutex)

    def programs(self) -> Iterator[Task]:
        """Every task that runs a program, this graph's and those inside it."""
        for task in self.tasks:
            if task.graph is None:
                yield task
            else:
                yield from task.graph.programs()

    def graphs(self) -> Iterator["Graph"]:
        """Itself and all inside it."""
        yield self
        for task in self.tasks:
            if task.graph is not None:
                yield from task.graph.graphs()


_open: ContextVar[Graph | None] = ContextVar("_open", default=None)


@contextmanager
def opened(new: G) -> Iterator[G]:
    """Open a graph; the typed functions of `lockgate.steps` add their tasks to it."""
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
    """Open a graph inside the open one; yields `passed` (a dataclass of artifacts) as it is seen from inside."""
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
    artifacts: Mapping[str, Artifact[Any] | None],
    settings: Mapping[str, Value],
    after: Artifact[Any] | None = None,
) -> Task:
    """Add a task that runs a program to the open graph; called by the rendered functions.

    after: something that must be there first though the program does not read it, e.g. the verdict on the data.
    """
    given = {key: artifact for key, artifact in artifacts.items() if artifact is not None}
    first = (after.task,) if after is not None and after.task else ()
    return _current(program).add(Task(name, program, None, given, settings, first))


def _current(what: str) -> Graph:
    current = _open.get()
    if current is None:
        msg = f"{what} was called outside a workflow"
        raise SpecError(msg, fix="call steps inside candidate(spec); Lockgate opens the graph")
    return current
