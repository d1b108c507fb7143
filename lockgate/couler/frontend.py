"""Write a release in Couler: inside `couler_steps` the typed functions of `lockgate.steps` add Couler's steps.

`finish` reads Couler's workflow back into a graph, which is rendered like every other graph. Couler's own rendering
does not suffice: it can set neither a security context nor a token, renders every retry as Always (which would retry a
refused gate), puts each argument in quotes, and passes a file only by the name of its output, so that one of two
verdicts is lost.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lockgate_step import layout

from lockgate.errors import BadCall, SpecError, UnknownName

try:
    import couler.argo as couler
    from couler.core import states
except ModuleNotFoundError as error:
    if error.name == "couler":
        msg = "Couler is not installed: pip install 'lockgate[couler]'"
    elif error.name == "couler.argo":
        msg = (
            "the installed package `couler` is the empty one of PyPI; couler-scanflow contains the real one: "
            "pip uninstall couler, then pip install 'lockgate[couler]'"
        )
    else:
        raise
    raise BadCall(msg, fix=msg.split(": ", 1)[1]) from error

from lockgate.definition.catalog import Catalog, Program
from lockgate.definition.contract import RAW
from lockgate.definition.graph import Artifact, Graph, Setting, Task, Value, opened
from lockgate.definition.project import Model, Project
from lockgate.images.pins import built
from lockgate.rendering.manifest import arguments_of, image_of, manifest_bytes, workflow_template

_EDGE = re.compile(r"([\w-]+)\.Succeeded")
_FILE = re.compile(r"\{\{(?:tasks\.(?P<task>[\w-]+)\.outputs|inputs)\.artifacts\.(?P<name>[\w-]+)\}\}")
_TAG = re.compile(r"\{\{([\w.-]+)\}\}")
# The fields of Couler's output that are read; any other field is an error, since it would be lost.
_SPEC = {"entrypoint", "templates", "volumes"}
_TEMPLATE = {"name", "inputs", "outputs", "container"}
_CONTAINER = {"image", "command", "args", "volumeMounts"}
_TASK = {"name", "template", "depends", "dependencies", "arguments"}


@contextmanager
def couler_steps(model: Model) -> Iterator[None]:
    """Begin a Couler workflow of a model; inside, each typed function of `lockgate.steps` adds a step to it.

    Edges follow from the arguments; `couler.set_dependencies` and `couler.dag` add more.
    """
    states._cleanup()
    states._outputs_tmp = None  # a failed call leaves it set
    states._enable_print_yaml = False  # Couler would print its own manifest when the interpreter ends
    states.workflow.enable_dag_mode()
    with opened(_CoulerGraph("couler", _Programs.of(model), dag=states.workflow.dag_tasks)):
        yield


def finish(model: Model) -> bytes:
    """Return the manifest of Couler's workflow: its graph, with every template as Lockgate renders it.

    Errors: SpecError, with what a release cannot have: a condition, a container that is not a program, an edge that
    ignores a refusal, a field that Lockgate sets itself.
    """
    model.check()
    known = _Programs.of(model)
    document = couler.workflow_yaml()
    states._cleanup()
    whole = _read(document, known)
    template = workflow_template(model, whole, known.programs, known.images)
    return manifest_bytes(model, f"{whole.name} in Couler", template)


@dataclass(frozen=True)
class _Programs:
    """The programs that a model may call, and the images that were built."""

    programs: Mapping[str, Program]
    images: Mapping[str, str]

    @classmethod
    def of(cls, model: Model) -> "_Programs":
        return cls({**model.own_programs, **Catalog.find().programs}, built(Project.find(model.folder)))

    def container(self, task: Task) -> dict[str, Any]:
        """Return the arguments of `couler.run_container` for a task. Errors: UnknownName."""
        program = self.programs.get(task.program or "")
        if program is None:
            what = "program"
            raise UnknownName(what, str(task.program), self.programs)
        return {
            "image": image_of(program, self.images),
            "command": list(program.command),
            "args": arguments_of(program, task) or None,
            "input": [_file(layout.IN, entry["name"]) for entry in program.inputs if entry["name"] in task.artifacts],
            "output": [_file(layout.OUT, entry["name"]) for entry in program.outputs] or None,
        }

    def read(self, place: str, container: Mapping[str, Any], args: list[str]) -> tuple[Program, dict[str, Value]]:
        """Return the program and settings of a container: the inverse of `container`. Errors: SpecError."""
        for program in self.programs.values():
            begins = [image_of(program, self.images), list(program.command), list(program.args)]
            if begins == [container.get("image"), container.get("command"), args[: len(program.args)]]:
                given = args[len(program.args) :]
                names = (name.removeprefix("--").replace("-", "_") for name in given[::2])
                return program, dict(zip(names, map(_value, given[1::2]), strict=True))
        msg = f"{place} runs {container.get('image', 'no container')}, which is not the image of a program"
        raise SpecError(msg, fix="write it as your own step: one file with one function (docs/writing-a-step.md)")


def _file(folder: str, name: str) -> Any:
    artifact = couler.create_local_artifact(path=f"{layout.IO}/{folder}/{name}")
    artifact.id = name  # Couler generates one
    return artifact


class _CoulerGraph(Graph):
    """A graph whose tasks are in Couler's workflow. Couler has only one level, so each graph keeps its own tasks."""

    def __init__(
        self,
        name: str,
        known: _Programs,
        inputs: tuple[str, ...] = (),
        mutex: str | None = None,
        dag: "OrderedDict[str, Any] | None" = None,
    ) -> None:
        super().__init__(name, inputs, mutex)
        self.known = known
        self.dag: OrderedDict[str, Any] = OrderedDict() if dag is None else dag

    def inner(self, name: str, inputs: tuple[str, ...], mutex: str | None) -> Graph:
        """Return a graph that becomes one task of this one, and one template of Couler's."""
        states._upstream_dag_task = None
        return _CoulerGraph(name, self.known, inputs, mutex)

    def add(self, task: Task) -> Task:
        """Add the task as a step of Couler's. Errors: SpecError, if its name is taken."""
        if task not in self.tasks:  # couler.dag calls a step once for each of its edges
            super().add(task)
        needs = set(task.needs) | (set() if task.graph else _declared_first() - {task.name})
        with _unwired(self.dag):
            if isinstance(task.graph, _CoulerGraph):
                states.workflow.add_template(task.graph)
                states.workflow.update_dag_task(task.name, OrderedDict(name=task.name, template=task.graph.name))
                states._steps_outputs[task.name] = []
            else:
                couler.run_container(step_name=task.name, **self.known.container(task))
        if task.name not in self.dag:
            msg = f"{task.name} is called by an exit handler, which Couler cannot run after every kind of end"
            raise SpecError(msg, fix="remove it: finish adds conclude, which runs at the end of every run")
        states._upstream_dag_task = [task.name]
        held = self.dag[task.name]
        needs |= set(_EDGE.findall(held.get("depends", "")))
        if needs:
            held["depends"] = " && ".join(f"{need}.Succeeded" for need in sorted(needs))
        if task.artifacts:
            files = [{"name": name, "from": artifact.expression} for name, artifact in task.artifacts.items()]
            held.setdefault("arguments", OrderedDict())["artifacts"] = files
        return task

    def to_dict(self) -> dict[str, Any]:
        """Return the template of a nested graph for Couler."""
        template: dict[str, Any] = {"name": self.name, "dag": {"tasks": list(self.dag.values())}}
        if self.inputs:
            template["inputs"] = {"artifacts": [{"name": name} for name in self.inputs]}
        if self.mutex:
            template["synchronization"] = {"mutexes": [{"name": self.mutex}]}
        return template


def _declared_first() -> set[str]:
    """Return the tasks that couler.set_dependencies or couler.dag puts before the added one. Errors: SpecError."""
    named = set(states._upstream_dag_task or [])
    if states._outputs_tmp is None:  # not in set_dependencies
        # Without declared dependencies, Couler chains every call to the one before it.
        return named if states._dag_caller_line is not None else set()
    parts = [part.strip() for part in (states._upstream_dag_depends_logic or "").split("&&") if part.strip()]
    for part in parts:
        if not _EDGE.fullmatch(part):
            msg = f"{part!r} would let a task start after a gate refused or was skipped"
            raise SpecError(msg, fix="write TASK.Succeeded; join several with &&")
    return named | {part.removesuffix(".Succeeded") for part in parts}


@contextmanager
def _unwired(dag: "OrderedDict[str, Any]") -> Iterator[None]:
    """Let Couler add a task to this DAG without its own edges and files, which would pass on every output."""
    held = states.workflow.dag_tasks, states._outputs_tmp, states._upstream_dag_depends_logic
    states.workflow.dag_tasks, states._outputs_tmp, states._upstream_dag_depends_logic = dag, None, None
    states._upstream_dag_task = None
    try:
        yield
    finally:
        states.workflow.dag_tasks, states._outputs_tmp, states._upstream_dag_depends_logic = held


def _read(document: Mapping[str, Any], known: _Programs) -> Graph:
    """Return the graph of Couler's output. Errors: SpecError."""
    if document["kind"] != "Workflow":
        msg = "a release cannot have a schedule of Couler"
        raise SpecError(msg, fix="remove cron_config and set ModelSpec(retrain=Schedule(...))")
    spec = document["spec"]
    _only("couler.config_workflow", spec, _SPEC)
    templates = {template["name"]: template for template in spec["templates"]}
    if len(templates) != len(spec["templates"]):
        msg = f"a step and the workflow are both named {spec['entrypoint']!r}"
        raise SpecError(msg, fix="give the workflow another name: couler.config_workflow(name=...)")
    return _graph(templates[spec["entrypoint"]], templates, known)


def _graph(template: Mapping[str, Any], templates: Mapping[str, Any], known: _Programs) -> Graph:
    name = template["name"]
    inputs = tuple(entry["name"] for entry in template.get("inputs", {}).get("artifacts", []))
    mutex = next((mutex["name"] for mutex in template.get("synchronization", {}).get("mutexes", [])), None)
    graph = Graph(name, inputs, mutex)
    for held in template["dag"]["tasks"]:
        graph.add(_task(f"{name}.{held['name']}", held, templates, known))
    missing = sorted({need for task in graph.tasks for need in task.needs} - {task.name for task in graph.tasks})
    if missing:
        msg = f"{name} depends on {missing[0]}, which is not one of its tasks"
        raise SpecError(msg, fix=f"its tasks are {', '.join(task.name for task in graph.tasks)}")
    return graph


def _task(place: str, held: Mapping[str, Any], templates: Mapping[str, Any], known: _Programs) -> Task:
    _only(place, held, _TASK)
    target = templates[held["template"]]
    after = (*_EDGE.findall(held.get("depends", "")), *held.get("dependencies", ()))
    arguments = held.get("arguments", {})
    artifacts = {entry["name"]: _artifact(place, entry["from"]) for entry in arguments.get("artifacts", [])}
    if "dag" in target:
        return Task(held["name"], None, _graph(target, templates, known), artifacts, {}, after)
    container = target.get("container", {})
    given = {f"inputs.parameters.{entry['name']}": entry["value"] for entry in arguments.get("parameters", [])}
    args = [_resolved(arg, given) for arg in container.get("args", [])]
    program, settings = known.read(place, container, args)
    _only(place, target, _TEMPLATE)
    _only(place, container, _CONTAINER)
    wanted = [entry["name"] for entry in program.inputs if not entry["optional"] and entry["type"] not in RAW]
    if missing := [name for name in wanted if name not in artifacts]:
        msg = f"{place} does not get {missing[0]}, an input of {program.name}"
        raise SpecError(msg, fix="pass it the result of a typed step")
    return Task(held["name"], program.name, None, artifacts, settings, after)


def _resolved(argument: str, given: Mapping[str, str]) -> str:
    """Return an argument as its program gets it, without the quotes that Couler adds."""
    tag = _TAG.fullmatch(argument.strip('"'))
    return given.get(tag[1], argument) if tag else argument


def _value(argument: str) -> Value:
    tag = _TAG.fullmatch(argument)
    return Setting(tag[1]) if tag else argument


def _artifact(place: str, address: str) -> Artifact[Any]:
    match = _FILE.fullmatch(address)
    if match is None:
        msg = f"{place} reads {address}, which is not a file of its graph"
        raise SpecError(msg, fix="pass it the result of a typed step")
    return Artifact(match["name"], match["task"])


def _only(place: str, held: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a field that `finish` would lose. Errors: SpecError."""
    more = sorted(name for name, value in held.items() if value and name not in known)
    if more:
        msg = f"{place} sets {', '.join(more)}, which a release cannot have or Lockgate sets itself"
        raise SpecError(msg, fix="remove it; set what may vary in ModelSpec; a gate cannot have a condition")
