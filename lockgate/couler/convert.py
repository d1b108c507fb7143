"""An existing workflow made by Couler, brought to Argo 3.7 to 4.1: what changes, each by its place.

A conversion changes a document and yields what it changed; on its own result it finds nothing more. What Argo's strict
decoder would still refuse, and any key that lies in the file, is refused.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lockgate.engine.errors import Problem
from lockgate.engine.manifest.manifest import Json, load_manifests, name_of, spec_of
from lockgate.errors import BadCall
from lockgate.rendering.canonical import dump

KINDS = ("Workflow", "CronWorkflow", "WorkflowTemplate")

_GIVE = "give a file as Couler or kubectl prints it"
_QUOTED_TAG = re.compile(r"""(["'])(\{\{[^{}]+\}\})\1""")
_QUOTED_VALUE = re.compile(r"'(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|True|False)'")
_QUOTED_QUERY = re.compile(r'"(.+)"')
_GLOBAL = re.compile(r"\{\{workflow\.outputs\.(parameters|artifacts)\.([^{}]+)\}\}")
_SHANGHAI = "Asia/Shanghai"

# A name that says its value is a key, and a value that looks like one whatever its name.
_KEY_NAME = re.compile(
    r"(?i)(^|_)(secret|passwd|password|token|api_?key|access_?key|secret_?key|private_?key|credentials?)(_id)?$"
)
_KEY = re.compile(r"\b(?:AKIA|ASIA|LTAI)[0-9A-Za-z]{12,}\b|\bgh[pousr]_\w{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True)
class Change:
    """One thing that was changed, and where it stands."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True)
class Converted:
    """Documents that Argo takes, what was changed in them, and what a person must look at."""

    documents: tuple[Json, ...]
    changes: tuple[Change, ...] = ()
    notes: tuple[Change, ...] = field(default=())

    @property
    def text(self) -> str:
        """The documents as one file."""
        return "---\n".join(dump(document) for document in self.documents)

    def lines(self) -> list[str]:
        """What happened, as people read it."""
        lines = [f"  {change}" for change in self.changes] or ["  nothing to change"]
        return lines + [f"  look at {note}" for note in self.notes]

    def to_json(self) -> dict[str, Any]:
        """What happened, and the documents, as JSON values."""
        told = {"changes": self.changes, "notes": self.notes}
        listed = {name: [{"place": c.place, "what": c.what} for c in found] for name, found in told.items()}
        return {**listed, "documents": list(self.documents)}


def convert_file(
    file: Path, output: Path | None = None, timezone: str | None = None, *, template: bool = False
) -> Converted:
    """Convert the workflows of a file, and write them to another where one is named.

    Errors: BadCall, naming by its place whatever cannot be converted; then nothing was written.
    """
    converted = convert(load_manifests(file, fix=_GIVE), str(file), timezone, template=template)
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
    """Convert workflows; what is given stays as it is.

    timezone: of each schedule, where it is to be another one.
    template: make each a WorkflowTemplate that is referred to.

    Errors: BadCall, as above.
    """
    if not documents:
        msg = f"{source} holds no workflow"
        raise BadCall(msg, fix=_GIVE)
    converted = copy.deepcopy(list(documents))
    _refuse(source, [problem for document in converted for problem in _unfit(document)])
    changes: list[Change] = []
    notes: list[Change] = []
    made: list[Json] = []
    for document in converted:
        before = f"{name_of(document)} " if len(converted) > 1 else ""
        found = [change for conversion in CONVERSIONS for change in conversion(document)]
        found += _moved(document, timezone)
        notes += [Change(before + note.place, note.what) for note in _doubtful(document)]
        if template:
            made += _referred_to(document)
            found += _referring(document)
        changes += [Change(before + change.place, change.what) for change in found]
        made.append(document)
    _refuse(source, [problem for document in made for problem in _undecodable(document)])
    return Converted(tuple(made), tuple(changes), tuple(notes))


def _refuse(source: str, problems: Sequence[Problem]) -> None:
    if problems:
        lines = [f"{source} cannot be converted:", *(f"  {problem}" for problem in problems)]
        raise BadCall("\n".join(lines), fix="correct what makes the file, and convert it again; nothing was written")


def _entries(node: Any, place: str = "") -> Iterator[tuple[str, Any, Any, Any]]:
    """Every entry of a tree: its place, what holds it, its key there, and its value."""
    listed = isinstance(node, list)
    for key, value in list(enumerate(node) if listed else node.items() if isinstance(node, dict) else ()):
        where = f"{place}[{key}]" if listed else f"{place}.{key}" if place else str(key)
        yield where, node, key, value
        yield from _entries(value, where)


def _texts(document: Json) -> Iterator[tuple[str, Any, Any, str]]:
    yield from (entry for entry in _entries(document) if isinstance(entry[3], str))


def _place(document: Json) -> str:
    """Where the workflow's own spec stands."""
    return "spec.workflowSpec" if document["kind"] == "CronWorkflow" else "spec"


def _templates(document: Json) -> Iterator[tuple[str, Json]]:
    for index, template in enumerate(spec_of(document).get("templates") or []):
        yield f"{_place(document)}.templates[{index}]", template


# What cannot be converted -----------------------------------------------------------------------------------------


def _unfit(document: Json) -> Iterator[Problem]:
    """No workflow, or one that carries a key."""
    kind = document.get("kind")
    if kind == "Secret":
        yield Problem(f"Secret {name_of(document)}", "its keys lie in the file: kubectl create secret, and take it out")
        return
    if kind not in KINDS or not spec_of(document):
        yield Problem("kind", f"{kind!r} is not converted; write one of {', '.join(KINDS)}, with a spec")
        return
    for place, holder, key, text in _texts(document):
        name = holder["name"] if key == "value" and isinstance(holder.get("name"), str) else key
        if _KEY.search(text) or (text and "{{" not in text and _KEY_NAME.search(_snake(name))):
            yield Problem(place, "a key lies in the file; put it in a Secret and refer to it (secretKeyRef)")


def _snake(name: object) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name)).replace("-", "_")


def _undecodable(document: Json) -> Iterator[Problem]:
    """What Argo's decoder refuses, by Hera's models of its API: an unknown field, or a value of another type."""
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
                yield Problem(inside, "Argo knows no such field")
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
    """Argo 4 takes `schedules` alone."""
    spec = document["spec"]
    if document["kind"] == "CronWorkflow" and "schedule" in spec:
        held = spec.pop("schedule")
        spec["schedules"] = list(dict.fromkeys([*spec.get("schedules", []), held]))
        yield Change("spec.schedule", "is now the list spec.schedules")


def booleans(document: Json) -> Iterator[Change]:
    """Couler writes true and false as texts."""
    for place, holder, key, text in _texts(document):
        if key in ("suspend", "setOwnerReference") and text.strip("\"'").lower() in ("true", "false"):
            holder[key] = text.strip("\"'").lower() == "true"
            yield Change(place, f"the text {text!r} is now {str(holder[key]).lower()}")


def quotes(document: Json) -> Iterator[Change]:
    """Couler writes quotes into the value where it means YAML's own, and a shell then looks for a program so named."""
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
        except yaml.YAMLError:  # it is YAML only once its tags are filled in
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
    """An amount of processors or memory is a text."""
    for place, holder, key, value in _entries(document):
        if re.search(r"\.resources\.(requests|limits)\.[^.]+$", place) and isinstance(value, int | float):
            holder[key] = str(value)
            yield Change(place, f"the number {value} is now a text")


def edges(document: Json) -> Iterator[Change]:
    """Argo takes `depends` or `dependencies` in one graph; Couler mixes them, and puts a list into the list."""
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
                yield Change(where, "a list within the list, or a name twice, is now one list")


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
    """The time zone somebody asked for."""
    spec: Mapping[str, Any] = document["spec"]
    if timezone and document["kind"] == "CronWorkflow" and spec.get("timezone") != timezone:
        yield Change("spec.timezone", f"{spec.get('timezone') or 'the controller’s own'} is now {timezone}")
        document["spec"]["timezone"] = timezone


def _referred_to(document: Json) -> Iterator[Json]:
    """The template of a schedule, which is to refer to it."""
    if document["kind"] == "CronWorkflow" and "templates" in spec_of(document):
        metadata = {**document["metadata"], "name": name_of(document)}
        metadata.pop("generateName", None)
        yield {**document, "kind": "WorkflowTemplate", "metadata": metadata, "spec": spec_of(document)}


def _referring(document: Json) -> Iterator[Change]:
    """A platform that is `Secure` runs nothing that does not refer to a template."""
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
    """What is valid, and may not be meant."""
    if document["kind"] == "CronWorkflow" and document["spec"].get("timezone") in (None, _SHANGHAI):
        said = document["spec"].get("timezone")
        what = f"{said} is what Couler writes where nobody says one" if said else "the controller's own is not yours"
        yield Change("spec.timezone", f"{what}; --timezone NAME changes it")
