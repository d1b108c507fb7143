"""Loops: expand a task into one task per item, and gather the outputs of all items.

The controller keeps an item as it is in the JSON and removes only the quotes around a string: escapes stay. So a list
that a program wrote is not parsed here either, but split into its parts.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lockgate.engine.expressions import ExpressionError, decide_when, replace
from lockgate.engine.manifest import Json, text
from lockgate.engine.record import Node

LOOPS = ("withItems", "withParam", "withSequence")
_SPACE = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')
_NUMBER = re.compile(r"[+-]?[0-9]+")
_DECODER = json.JSONDecoder()


class ItemError(ValueError):
    """Items that are not valid, with the controller's message."""


@dataclass(frozen=True)
class Item:
    """One item: its JSON as written, without spaces."""

    raw: str

    @property
    def plain(self) -> str:
        """The item, or a part of one, as it is in a string."""
        return self.raw[1:-1] if self.raw.startswith('"') else self.raw

    @property
    def values(self) -> dict[str, str]:
        """The tags that it sets."""
        if not self.raw.startswith(("{", "[")):
            return {"item": self.plain}
        if self.raw.startswith("["):
            return {"item": _safe(self.raw)}
        parts = dict(_parts(self.raw))
        whole = ",".join(f"{_written(key)}:{parts[key]}" for key in sorted(parts))
        return {"item": _safe(f"{{{whole}}}"), **{f"item.{key}": Item(raw).plain for key, raw in parts.items()}}

    @property
    def label(self) -> str:
        """The item in the name of its node."""
        label = self.plain if self.raw != "null" else "[]"
        if self.raw.startswith("{"):
            label = ",".join(sorted(f"{key}:{Item(raw).plain}" for key, raw in _parts(self.raw)))
        elif self.raw.startswith("["):
            label = f"[{' '.join(Item(raw).plain for _, raw in _parts(self.raw))}]"
        return label.replace("(", "").replace(")", "")


def looped(task: Json) -> bool:
    """Return whether a task is a loop; an empty `withItems` is not, an empty list in `withParam` is."""
    return any(task.get(field) for field in LOOPS)


def expand(task: Json) -> list[Json]:
    """Return one task for each item of a task, each with the name of its node.

    Errors: ItemError; TagError, if a tag still has no value; ExpressionError.
    """
    body = {key: value for key, value in task.items() if key not in LOOPS}
    try:
        runs = not task.get("when") or decide_when(task["when"])
    except ExpressionError:
        runs = True  # it may have a value only with the item substituted
    try:
        found = _items(task)
    except ItemError:
        if runs:
            raise
        found = []
    tasks = []
    for index, item in enumerate(found):
        each = replace(body, item.values, strict=("",) if runs else ())
        tasks.append({**each, "name": f"{task['name']}({index}:{item.label})"})
    return tasks


def _items(task: Json) -> list[Item]:
    if task.get("withItems"):
        return [Item(_written(value)) for value in task["withItems"]]
    if task.get("withParam"):
        return _listed(task["withParam"])
    return [Item(f'"{value}"') for value in _sequence(task["withSequence"])]


def _listed(param: str) -> list[Item]:
    try:
        value = json.loads(param)
    except ValueError:
        raise ItemError(_no_list(param, _syntax(param))) from None
    if value is None:
        return []
    if not isinstance(value, list):
        kind = {str: "string", bool: "bool", dict: "object"}.get(type(value), "number")
        raise ItemError(_no_list(param, f"json: cannot unmarshal {kind} into Go value of type []v1alpha1.Item"))
    return [Item(raw) for _, raw in _parts(_compact(param))]


def _no_list(param: str, why: str) -> str:
    return f"withParam value could not be parsed as a JSON list: {param.strip()}: {why}"


def _syntax(written: str) -> str:
    """Return Go's message about invalid JSON, if its first character is the invalid one."""
    first = written.strip()[:1]
    if not first:
        return "unexpected end of JSON input"
    return f"invalid character {first!r} looking for beginning of value"


def _sequence(sequence: Json) -> list[str]:
    start = _whole(sequence.get("start", 0))
    if "end" in sequence:
        end = _whole(sequence["end"])
    else:
        count = _whole(sequence["count"])
        if count == 0:
            return []
        end = start + count - 1
    form = sequence.get("format") or "%d"
    return [form % number for number in (range(start, end + 1) if start <= end else range(start, end - 1, -1))]


def _whole(value: object) -> int:
    written = text(value)
    if not _NUMBER.fullmatch(written):
        message = f"strconv.Atoi: parsing {json.dumps(written)}: invalid syntax"
        raise ItemError(message)
    return int(written)


def _written(value: Any) -> str:
    """Return a value as the API server writes it."""
    return json.dumps(_shortened(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _shortened(value: Any) -> Any:
    """Return a value with its numbers as Go writes them: a whole number without a fraction."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _compact(written: str) -> str:
    return _SPACE.sub(lambda found: found[1] or "", written)


def _parts(raw: str) -> Iterator[tuple[str, str]]:
    """Yield the values of a list or mapping without spaces, each as written, with its key if it has one."""
    at = 1
    while raw[at] not in "]}":
        key = ""
        if raw[0] == "{":
            key, at = _DECODER.raw_decode(raw, at)
            at += 1
        _, end = _DECODER.raw_decode(raw, at)
        yield key, raw[at:end]
        at = end + (raw[end] == ",")


def _safe(written: str) -> str:
    """Escape JSON for HTML, as Go does."""
    return written.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def gathered(prefix: str, nodes: Iterable[Node]) -> dict[str, str]:
    """Return the outputs of a loop: lists of the outputs of its items that succeeded, in their order.

    Errors: ItemError, if a result is not JSON.
    """
    done = [node.outputs for node in nodes if node.phase == "Succeeded" and node.outputs]
    given = [
        {each["name"]: each["value"] for each in outputs["parameters"]} for outputs in done if "parameters" in outputs
    ]
    results = [outputs["result"] for outputs in done if "result" in outputs]
    for result in results:
        try:
            json.loads(result)
        except ValueError:
            raise ItemError(_syntax(result)) from None
    values = {
        f"{prefix}.outputs.result": _safe(f"[{','.join(map(_compact, results))}]"),
        f"{prefix}.outputs.parameters": _safe(_written(given)),
    }
    for name in dict.fromkeys(name for each in given for name in each):
        values[f"{prefix}.outputs.parameters.{name}"] = _safe(_joined([each[name] for each in given if name in each]))
    return values


def _joined(values: list[str]) -> str:
    """Return a list of strings; if each of them is JSON of a list or mapping, a list of these."""
    try:
        parsed = [json.loads(value) for value in values]
    except ValueError:
        parsed = []
    return _written(parsed if parsed and all(isinstance(each, list | dict) for each in parsed) else values)
