"""Resolve the workflow that an entry document and its parameters define."""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lockgate.engine.errors import ManifestError, Problem
from lockgate.engine.manifest import fields
from lockgate.engine.manifest.fields import Note
from lockgate.errors import BadCall, UnknownName

Json = dict[str, Any]
TAG = "{{"
# The kinds of templates, by the field that defines each.
KINDS = ("container", "dag", "steps", "suspend")


@dataclass(frozen=True)
class Template:
    """One template, with the defaults of its workflow merged in, and its place in the manifest."""

    document: str
    name: str
    place: str
    body: Json

    @property
    def kind(self) -> str:
        """Its kind, one of `KINDS`."""
        return next(kind for kind in KINDS if kind in self.body)

    @property
    def is_pod(self) -> bool:
        """Whether it runs a program."""
        return self.kind == "container"

    @property
    def tasks(self) -> list[Json]:
        """The tasks of a dag, or the steps of every group."""
        return tasks_of(self.body)


@dataclass(frozen=True)
class Workflow:
    """A workflow to execute: its spec, its templates, and its parameters with the values of this run."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Json
    document: str
    templates: Mapping[tuple[str, str], Template]
    documents: tuple[Json, ...]
    notes: tuple[Note, ...]

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the run that have a value."""
        return {
            each["name"]: text(each["value"])
            for each in entries(self.spec, "arguments", "parameters")
            if "value" in each
        }


def entries(tree: Mapping[str, Any] | None, *path: str) -> list[Json]:
    """Return the list at a path of a tree; an empty list if there is none."""
    place: Any = tree
    for name in path:
        place = (place or {}).get(name)
    return place or []


def tasks_of(body: Mapping[str, Any]) -> list[Json]:
    """Return the tasks of a dag template, or the steps of every group of a steps template."""
    return [*entries(body, "dag", "tasks"), *(step for group in groups_of(body) for step in group)]


def groups_of(body: Mapping[str, Any]) -> list[list[Json]]:
    """Return the groups of a steps template; the steps of one group run in parallel."""
    return list(body.get("steps") or [])


def hooks_of(holder: Mapping[str, Any], arguments: Json | None = None) -> dict[str, Json]:
    """Return the hooks of a task, a step or a workflow by name; `onExit` is the older form of the hook `exit`.

    arguments: those of the workflow; an exit hook without arguments gets them.
    """
    found = dict(sorted((holder.get("hooks") or {}).items()))
    if holder.get("onExit"):
        found["exit"] = {"template": holder["onExit"]}
    if "exit" in found and not found["exit"].get("arguments"):
        found["exit"] = {**found["exit"], "arguments": arguments or {}}
    return found


def text(value: object) -> str:
    """Return a value as the controller writes it: as in JSON, a whole number without a fraction, a string as it is."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)


def name_of(document: Mapping[str, Any]) -> str:
    """Return the name of a document, or the prefix of its generated name."""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return str(metadata.get("name") or str(metadata.get("generateName") or "").removesuffix("-"))


def resolve(
    documents: Iterable[Json], entry: str, parameters: Mapping[str, str], remembered: Mapping[str, str] | None = None
) -> Workflow:
    """Return the workflow of an entry document: merged with the template it refers to, with its parameters set.

    remembered: the parameters of an earlier run; those that the manifest no longer declares are ignored.

    Errors: UnknownName; ManifestError with every refused field.
    """
    present = [_present(document) for document in documents]
    known = {name_of(document): document for document in present if document.get("kind") in fields.FIELDS}
    if entry not in known:
        what = "manifest"
        raise UnknownName(what, entry, known)
    used = [entry]
    problems: list[Problem] = []
    notes: list[Note] = []
    for name in used:  # grows while it is walked
        prefix = "" if name == entry else f"{name} "
        wrong, inert = fields.check_fields(known[name])
        problems += [replace(problem, place=prefix + problem.place) for problem in wrong]
        notes += [replace(note, place=prefix + note.place) for note in inert]
        if not wrong:
            used += [each for each in _references(known[name]) if each in known and each not in used]
    if problems:
        raise ManifestError(entry, problems)
    spec, owner = _joined(known, entry)
    _set_parameters(entry, spec, parameters, remembered or {})
    templates = {key: value for name in used for key, value in _templates(known[name], name, spec).items()}
    metadata = known[entry].get("metadata") or {}
    added = (metadata, known[entry]["spec"].get("workflowMetadata"), spec.get("workflowMetadata"))
    return Workflow(
        name=entry,
        namespace=metadata.get("namespace") or "default",
        labels=_together(added, "labels"),
        annotations=_together(added, "annotations"),
        spec=spec,
        document=owner,
        templates=templates,
        documents=tuple(known[name] for name in used),
        notes=tuple(notes),
    )


def _together(parts: Iterable[Mapping[str, Any] | None], field: str) -> dict[str, str]:
    return {name: value for part in parts for name, value in ((part or {}).get(field) or {}).items()}


def spec_of(document: Mapping[str, Any]) -> Json:
    """Return the workflow spec of a document; in a CronWorkflow it is one level deeper."""
    spec = document.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    inner = spec.get("workflowSpec") if document.get("kind") == "CronWorkflow" else spec
    return inner if isinstance(inner, dict) else {}


def _references(document: Json) -> list[str]:
    """Return the names of the documents that a document refers to."""
    spec = spec_of(document)
    holders = [spec, *(task for template in entries(spec, "templates") for task in tasks_of(template))]
    callers = [*holders, *(hook for holder in holders for hook in hooks_of(holder).values())]
    found = [(spec.get("workflowTemplateRef") or {}).get("name")]
    found += [(caller.get("templateRef") or {}).get("name") for caller in callers]
    return [str(name) for name in dict.fromkeys(found) if name]


def _present(tree: Any) -> Any:
    """Return a tree without nulls: Kubernetes treats null as absent."""
    if isinstance(tree, dict):
        return {key: _present(value) for key, value in tree.items() if value is not None}
    return [_present(item) for item in tree] if isinstance(tree, list) else tree


def _joined(known: Mapping[str, Json], entry: str) -> tuple[Json, str]:
    """Return the spec to execute and the document of its templates; the workflow's own values take precedence."""
    own = copy.deepcopy(spec_of(known[entry]))
    reference = own.pop("workflowTemplateRef", None)
    if reference is None:
        return own, entry
    name = str(reference.get("name"))
    if name not in known or known[name]["kind"] != "WorkflowTemplate":
        place = "spec.workflowTemplateRef.name"
        what = f"there is no WorkflowTemplate {name!r} in the given manifests"
        raise ManifestError(entry, [Problem(place, what)], fix="pass its file too")
    if own.get("templates"):
        what = "cannot be used together with workflowTemplateRef"
        raise ManifestError(entry, [Problem("spec.templates", what)])
    return merge(copy.deepcopy(spec_of(known[name])), own), name


_MERGE_KEYS = {"parameters": "name", "artifacts": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath"}


def merge(base: Json, over: Mapping[str, Any]) -> Json:
    """Merge as Kubernetes does (strategic merge): mappings by field, named lists by item, anything else as a whole."""
    for name, value in over.items():
        held = base.get(name)
        if isinstance(value, dict) and isinstance(held, dict):
            merge(held, value)
        elif isinstance(value, list) and isinstance(held, list) and name in _MERGE_KEYS:
            key = _MERGE_KEYS[name]
            items = {item.get(key): item for item in held}
            for item in value:
                items[item.get(key)] = merge(items.get(item.get(key), {}), item)
            base[name] = list(items.values())
        else:
            base[name] = copy.deepcopy(value)
    return base


def _templates(document: Json, name: str, spec: Json) -> dict[tuple[str, str], Template]:
    defaults = spec.get("templateDefaults") or {}
    prefix = "spec.workflowSpec" if document["kind"] == "CronWorkflow" else "spec"
    found: dict[tuple[str, str], Template] = {}
    problems: list[Problem] = []
    for index, body in enumerate(entries(spec_of(document), "templates")):
        place = f"{prefix}.templates[{index}]"
        kinds = [kind for kind in KINDS if body.get(kind) is not None]
        if not body.get("name") or (name, body["name"]) in found or len(kinds) != 1:
            problems.append(Problem(place, f"must have a unique name, and exactly one of {', '.join(KINDS)}"))
            continue
        others = set(KINDS) - set(kinds)
        applicable = {key: copy.deepcopy(value) for key, value in defaults.items() if key not in others}
        found[name, body["name"]] = Template(name, body["name"], place, merge(applicable, body))
    if problems:
        raise ManifestError(name, problems)
    return found


def without_tags(name: str, value: str) -> str:
    """Return a parameter's value. Errors: BadCall if Argo would evaluate it, also as a part of another expression."""
    if TAG in value:
        msg = f"the value of {name} contains {TAG!r}, which Argo would evaluate as an expression"
        raise BadCall(msg, fix=f"give {name} as it is to be used, without {TAG!r}")
    return value


def _set_parameters(entry: str, spec: Json, given: Mapping[str, str], remembered: Mapping[str, str]) -> None:
    listed = entries(spec, "arguments", "parameters")
    names = [each.get("name") for each in listed]
    wrong = {index: "is required" for index, name in enumerate(names) if not name}
    wrong |= {index: f"{name!r} is there twice" for index, name in enumerate(names) if name and name in names[:index]}
    problems = [Problem(f"spec.arguments.parameters[{index}].name", what) for index, what in wrong.items()]
    held = {each["name"]: each for each in listed if each.get("name")}
    for name in held:
        if name in remembered:
            held[name]["value"] = remembered[name]
    for name, value in given.items():
        if name not in held:
            what = "parameter"
            raise UnknownName(what, name, held)
        held[name]["value"] = without_tags(name, value)
    for name, parameter in held.items():
        place = f"spec.arguments.parameters.{name}"
        allowed = [text(each) for each in parameter.get("enum") or []]
        if parameter.get("value") is None:
            problems.append(Problem(place, "has no value"))
        elif allowed and text(parameter["value"]) not in allowed:
            problems.append(Problem(place, f"is {text(parameter['value'])!r}, not one of {', '.join(allowed)}"))
    if problems:
        raise ManifestError(entry, problems, fix="set each parameter to an allowed value")
