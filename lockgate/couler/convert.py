"""Convert an existing Couler workflow for Argo 3.7 to 4.1, and list each change with its place.

A conversion changes a document and yields its changes; run again on the result, it changes nothing. A document that
Argo's strict decoder would still refuse, or that contains a key, is refused.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lockgate.engine import Json, Problem, load_manifests, name_of, spec_of
from lockgate.errors import BadCall, Problems
from lockgate.rendering.canonical import dump

KINDS = ("Workflow", "CronWorkflow", "WorkflowTemplate")

_EXPECTED = "pass a file as Couler or kubectl prints it"
_QUOTED_TAG = re.compile(r"""(["'])(\{\{[^{}]+\}\})\1""")
_QUOTED_VALUE = re.compile(r"'(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|True|False)'")
_QUOTED_QUERY = re.compile(r'"(.+)"')
_GLOBAL = re.compile(r"\{\{workflow\.outputs\.(parameters|artifacts)\.([^{}]+)\}\}")
_SHANGHAI = "Asia/Shanghai"

# The name of a setting that holds a key, and a value that looks like a key whatever its name.
_KEY_NAME = re.compile(
    r"(?i)(^|_)(secret|passwd|password|token|api_?key|access_?key|secret_?key|private_?key|credentials?)(_id)?$"
)
_KEY = re.compile(r"\b(?:AKIA|ASIA|LTAI)[0-9A-Za-z]{12,}\b|\bgh[pousr]_\w{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True)
class Change:
    """One change, and its place in the manifest."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True)
class Converted:
    """Documents that Argo accepts, their changes, and notes on what a person should check."""

    documents: tuple[Json, ...]
    changes: tuple[Change, ...] = ()
    notes: tuple[Change, ...] = field(default=())

    @property
    def text(self) -> str:
        """The documents as one file."""
        return "---\n".join(dump(document) for document in self.documents)

    def lines(self) -> list[str]:
        """The changes and notes as lines of text."""
        lines = [f"  {change}" for change in self.changes] or ["  nothing to change"]
        return lines + [f"  check {note}" for note in self.notes]

    def to_json(self) -> dict[str, Any]:
        """The changes, notes and documents as JSON values."""
        groups = {"changes": self.changes, "notes": self.notes}
        listed = {name: [{"place": c.place, "what": c.what} for c in found] for name, found in groups.items()}
        return {**listed, "documents": list(self.documents)}


def convert_file(
    file: Path, output: Path | None = None, timezone: str | None = None, *, template: bool = False
) -> Converted:
    """Convert the workflows of a file, and write them to `output` if it is given.

    Errors: BadCall, with the place of whatever cannot be converted; then nothing is written.
    """
    converted = convert(load_manifests(file, fix=_EXPECTED), str(file), timezone, template=template)
    if output is not None:
        try:
            output.write_text(converted.text, encoding="utf-8")
        except OSError as error:
            msg = f"{output} cannot be written: {error.strerror}"
            raise BadCall(msg, fix="name another file with --output") from error
    return converted


def convert(
    documents: Sequence[Json], source: str, timezone: str | None = None, *, template: bool = False
) -> Converted:
    """Convert workflows; the given documents stay unchanged.

    timezone: the new time zone of each schedule.
    template: turn each workflow into a WorkflowTemplate, and let each schedule refer to its own.

    Errors: BadCall, as above.
    """
    if not documents:
        msg = f"{source} contains no workflow"
        raise BadCall(msg, fix=_EXPECTED)
    try:
        return _convert(documents, source, timezone, template=template)
    except (AttributeError, KeyError, TypeError) as error:  # e.g. a mapping where a workflow has a list
        msg = f"{source} does not have the form of a workflow: a field has a value of the wrong type"
        raise BadCall(msg, fix=_EXPECTED) from error


def _convert(documents: Sequence[Json], source: str, timezone: str | None, *, template: bool) -> Converted:
    converted = copy.deepcopy(list(documents))
    _refuse(source, [problem for document in converted for problem in _unfit(document)])
    changes: list[Change] = []
    notes: list[Change] = []
    results: list[Json] = []
    for document in converted:
        before = f"{name_of(document)} " if len(converted) > 1 else ""
        found = [change for conversion in CONVERSIONS for change in conversion(document)]
        found += _moved(document, timezone)
        notes += [Change(before + note.place, note.what) for note in _doubtful(document)]
        if template:
            results += _referred_to(document)
            found += _referring(document)
        changes += [Change(before + change.place, change.what) for change in found]
        results.append(document)
    _refuse(source, [problem for document in results for problem in _undecodable(document)])
    return Converted(tuple(results), tuple(changes), tuple(notes))


def _refuse(source: str, problems: Sequence[Problem]) -> None:
    if problems:
        fix = "correct the source of the file, then convert it again; nothing was written"
        msg = f"{source} cannot be converted:"
        raise Problems(msg, problems, fix=fix)


def _entries(node: Any, place: str = "") -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield every entry of a tree: its place, its parent, its key in the parent, and its value."""
    listed = isinstance(node, list)
    for key, value in list(enumerate(node) if listed else node.items() if isinstance(node, dict) else ()):
        where = f"{place}[{key}]" if listed else f"{place}.{key}" if place else str(key)
        yield where, node, key, value
        yield from _entries(value, where)


def _texts(document: Json) -> Iterator[tuple[str, Any, Any, str]]:
    yield from (entry for entry in _entries(document) if isinstance(entry[3], str))


def _place(document: Json) -> str:
    """Return the place of the workflow's spec."""
    return "spec.workflowSpec" if document["kind"] == "CronWorkflow" else "spec"


def _templates(document: Json) -> Iterator[tuple[str, Json]]:
    for index, template in enumerate(spec_of(document).get("templates") or []):
        yield f"{_place(document)}.templates[{index}]", template


# What cannot be converted -----------------------------------------------------------------------------------------


def _unfit(document: Json) -> Iterator[Problem]:
    """Yield the problems of a document that is not a workflow, or that contains a key."""
    kind = document.get("kind")
    if kind == "Secret":
        yield Problem(
            f"Secret {name_of(document)}",
            "the file contains its keys; create it with kubectl create secret, and remove it here",
        )
        return
    if kind not in KINDS or not spec_of(document):
        yield Problem("kind", f"{kind!r} cannot be converted; use one of {', '.join(KINDS)}, with a spec")
        return
    for place, holder, key, text in _texts(document):
        name = holder["name"] if key == "value" and isinstance(holder.get("name"), str) else key
        if _KEY.search(text) or (text and "{{" not in text and _KEY_NAME.search(_snake(name))):
            yield Problem(place, "the file contains a key; put it in a Secret and refer to it (secretKeyRef)")


def _snake(name: object) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name)).replace("-", "_")


def _undecodable(document: Json) -> Iterator[Problem]:
    """Yield what Argo's decoder refuses, by Hera's models of its API: unknown fields, and values of a wrong type."""
    from hera.workflows import models  # takes a second
    from pydantic import ValidationError

    model = getattr(models, document["kind"])
    try:
        read = model.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False):
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"])
            yield Problem(place.removeprefix("."), each["msg"][0].lower() + each["msg"][1:])
        return
    yield from _unknown(document, read.model_dump(mode="json", by_alias=True, exclude_unset=True))


def _unknown(given: Any, read: Any, place: str = "") -> Iterator[Problem]:
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            inside = f"{place}.{name}" if place else str(name)
            if name not in read and value is not None:
                yield Problem(inside, "unknown field in Argo")
            else:
                yield from _unknown(value, read.get(name), inside)
    elif isinstance(given, list) and isinstance(read, list):
        for index, (value, other) in enumerate(zip(given, read, strict=True)):
            yield from _unknown(value, other, f"{place}[{index}]")


# What is converted ------------------------------------------------------------------------------------------------


def time_to_live(document: Json) -> Iterator[Change]:
    """Argo's `ttlSecondsAfterFinished` became `ttlStrategy` in 2020; a strict decoder refuses the old one."""
    spec = spec_of(document)
    if "ttlSecondsAfterFinished" in spec:
        seconds = spec.pop("ttlSecondsAfterFinished")
        spec.setdefault("ttlStrategy", {}).setdefault("secondsAfterCompletion", seconds)
        place = f"{_place(document)}.ttlSecondsAfterFinished"
        yield Change(place, "is now ttlStrategy.secondsAfterCompletion")


def schedules(document: Json) -> Iterator[Change]:
    """Argo 4 accepts only `schedules`."""
    spec = document["spec"]
    if document["kind"] == "CronWorkflow" and "schedule" in spec:
        held = spec.pop("schedule")
        spec["schedules"] = list(dict.fromkeys([*spec.get("schedules", []), held]))
        yield Change("spec.schedule", "is now the list spec.schedules")


def booleans(document: Json) -> Iterator[Change]:
    """Couler writes true and false as strings."""
    for place, holder, key, text in _texts(document):
        if key in ("suspend", "setOwnerReference") and text.strip("\"'").lower() in ("true", "false"):
            holder[key] = text.strip("\"'").lower() == "true"
            yield Change(place, f"the string {text!r} is now {str(holder[key]).lower()}")


def quotes(document: Json) -> Iterator[Change]:
    """Couler writes quotes into a value instead of around it; a shell then looks for a program of that quoted name."""
    for place, holder, key, text in _texts(document):
        match = _QUOTED_TAG.fullmatch(text)
        bare = match[2] if match else None
        if key == "value" and (match := _QUOTED_VALUE.fullmatch(text)):
            bare = match[1]
        if key in ("jsonPath", "jqFilter", "concurrencyPolicy") and (match := _QUOTED_QUERY.fullmatch(text)):
            bare = match[1]
        if bare is not None:
            holder[key] = bare
            yield Change(place, f"{text} is now {bare}")


def manifests(document: Json) -> Iterator[Change]:
    """The same quotes inside the manifest of a resource, and `input.` for `inputs.`."""
    for place, holder, key, text in _texts(document):
        if key != "manifest":
            continue
        try:
            inside = yaml.safe_load(text)
        except yaml.YAMLError:  # it is YAML only with its tags substituted
            continue
        found = []
        for where, held, name, value in _entries(inside):
            bare = _QUOTED_TAG.sub(r"\2", value) if isinstance(value, str) and _QUOTED_TAG.fullmatch(value) else value
            if isinstance(bare, str):
                bare = bare.replace("{{input.parameters.", "{{inputs.parameters.")
            if bare != value:
                held[name] = bare
                found.append(Change(f"{place}: {where}", f"{value} is now {bare}"))
        if found:
            holder[key] = dump(inside)
        yield from found


def quantities(document: Json) -> Iterator[Change]:
    """Amounts of CPU and memory are strings."""
    for place, holder, key, value in _entries(document):
        if re.search(r"\.resources\.(requests|limits)\.[^.]+$", place) and isinstance(value, int | float):
            holder[key] = str(value)
            yield Change(place, f"the number {value} is now a string")


def edges(document: Json) -> Iterator[Change]:
    """Argo accepts either `depends` or `dependencies` in one dag; Couler mixes them, and nests lists."""
    for place, template in _templates(document):
        tasks = (template.get("dag") or {}).get("tasks") or []
        mixed = any(task.get("depends") for task in tasks) and any(task.get("dependencies") for task in tasks)
        for index, task in enumerate(tasks):
            where = f"{place}.dag.tasks[{index}].dependencies"
            named = task.get("dependencies") or []
            flat = list(dict.fromkeys(name for each in named for name in (each if isinstance(each, list) else [each])))
            if mixed and flat:
                del task["dependencies"]
                parts = [f"({task['depends']})"] if task.get("depends") else []
                task["depends"] = " && ".join([*parts, *flat])
                yield Change(where, f"is now depends: {task['depends']}")
            elif flat != named:
                task["dependencies"] = flat
                yield Change(where, "a nested list, or a duplicate name, is now one flat list")


def global_outputs(document: Json) -> Iterator[Change]:
    """Couler exports an output as `global-<name>`, refers to it as `<name>`, and leaves the argument's name empty."""
    exported = {
        entry["name"]: entry["globalName"]
        for _, template in _templates(document)
        for kind in ("parameters", "artifacts")
        for entry in (template.get("outputs") or {}).get(kind) or []
        if entry.get("globalName")
    }
    for place, holder, key, text in _texts(document):
        match = _GLOBAL.fullmatch(text)
        if match is None:
            continue
        inside = next((name for name, known in exported.items() if match[2] in (name, known)), match[2])
        if match[2] in exported:
            holder[key] = f"{{{{workflow.outputs.{match[1]}.{exported[inside]}}}}}"
            yield Change(place, f"{text} is now {holder[key]}")
        if key == "from" and not holder.get("name"):
            holder["name"] = inside
            yield Change(f"{place.removesuffix('from')}name", f"was empty and is now {inside}")


CONVERSIONS: Sequence[Callable[[Json], Iterator[Change]]] = (
    time_to_live,
    schedules,
    booleans,
    quotes,
    manifests,
    quantities,
    edges,
    global_outputs,
)


def _moved(document: Json, timezone: str | None) -> Iterator[Change]:
    """Set the requested time zone."""
    spec: Mapping[str, Any] = document["spec"]
    if timezone and document["kind"] == "CronWorkflow" and spec.get("timezone") != timezone:
        yield Change("spec.timezone", f"{spec.get('timezone') or 'the controller’s time zone'} is now {timezone}")
        document["spec"]["timezone"] = timezone


def _referred_to(document: Json) -> Iterator[Json]:
    """Yield the WorkflowTemplate that a schedule will refer to."""
    if document["kind"] == "CronWorkflow" and "templates" in spec_of(document):
        metadata = {**document["metadata"], "name": name_of(document)}
        metadata.pop("generateName", None)
        yield {**document, "kind": "WorkflowTemplate", "metadata": metadata, "spec": spec_of(document)}


def _referring(document: Json) -> Iterator[Change]:
    """A controller with `templateReferencing: Secure` only runs workflows that refer to a template."""
    if "templates" not in spec_of(document) or document["kind"] == "WorkflowTemplate":
        return
    name = name_of(document)
    if document["kind"] == "CronWorkflow":
        document["spec"]["workflowSpec"] = {"workflowTemplateRef": {"name": name}}
        yield Change("spec.workflowSpec", f"is now the WorkflowTemplate {name}")
    else:
        yield Change(
            "kind", f"{document['kind']} is now a WorkflowTemplate: argo submit --from workflowtemplate/{name}"
        )
        document["kind"] = "WorkflowTemplate"
        document["metadata"]["name"] = name
        document["metadata"].pop("generateName", None)


def _doubtful(document: Json) -> Iterator[Change]:
    """Yield what is valid but may not be intended."""
    if document["kind"] == "CronWorkflow" and document["spec"].get("timezone") in (None, _SHANGHAI):
        zone = document["spec"].get("timezone")
        what = f"{zone} is Couler's default" if zone else "it is not set, so the controller's time zone applies"
        yield Change("spec.timezone", f"{what}; change it with --timezone NAME")
