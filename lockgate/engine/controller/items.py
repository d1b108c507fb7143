"""Loops: what the items of a task make of it, and what all of them gave together.

The controller keeps an item as it stands in the JSON, and takes only the quotes round a text away: what is escaped
there stays escaped. So a list that a program wrote is not parsed here either, it is cut into its parts.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lockgate.engine.expressions.evaluation import decide_when
from lockgate.engine.expressions.expressions import ExpressionError
from lockgate.engine.expressions.tags import replace
from lockgate.engine.manifest.manifest import Json, text
from lockgate.engine.record import Node

LOOPS = ("withItems", "withParam", "withSequence")
_SPACE = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')
_NUMBER = re.compile(r"[+-]?[0-9]+")
_DECODER = json.JSONDecoder()


class ItemError(ValueError):
    """Items that are none, in the controller's words."""


@dataclass(frozen=True)
class Item:
    """One item, as its JSON is written, without spaces."""

    raw: str

    @property
    def plain(self) -> str:
        """What stands in a text for the item, or for a part of one."""
        return self.raw[1:-1] if self.raw.startswith('"') else self.raw

    @property
    def values(self) -> dict[str, str]:
        """The tags it gives."""
        if not self.raw.startswith(("{", "[")):
            return {"item": self.plain}
        if self.raw.startswith("["):
            return {"item": _safe(self.raw)}
        parts = dict(_parts(self.raw))
        whole = ",".join(f"{_written(key)}:{parts[key]}" for key in sorted(parts))
        return {"item": _safe(f"{{{whole}}}"), **{f"item.{key}": Item(raw).plain for key, raw in parts.items()}}

    @property
    def label(self) -> str:
        """What stands for it in the name of its node."""
        label = self.plain if self.raw != "null" else "[]"
        if self.raw.startswith("{"):
            label = ",".join(sorted(f"{key}:{Item(raw).plain}" for key, raw in _parts(self.raw)))
        elif self.raw.startswith("["):
            label = f"[{' '.join(Item(raw).plain for _, raw in _parts(self.raw))}]"
        return label.replace("(", "").replace(")", "")


def looped(task: Json) -> bool:
    """Whether a task is done for each of some items; an empty `withItems` is none, an empty list in `withParam` is."""
    return any(task.get(field) for field in LOOPS)


def expand(task: Json) -> list[Json]:
    """What the items of a task make of it: as many tasks, each with the name its node has.

    Errors: ItemError; TagError where a tag still has no value; ExpressionError.
    """
    body = {key: value for key, value in task.items() if key not in LOOPS}
    try:
        runs = not task.get("when") or decide_when(task["when"])
    except ExpressionError:
        runs = True  # it may only have a value once the item is in it
    try:
        found = _items(task)
    except ItemError:
        if runs:
            raise
        found = []
    made = []
    for index, item in enumerate(found):
        each = replace(body, item.values, strict=("",) if runs else ())
        made.append({**each, "name": f"{task['name']}({index}:{item.label})"})
    return made


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
    """What Go says of the first character that makes a text no JSON; other places it names differently."""
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
    """A value as the API server hands it on."""
    return json.dumps(_shortened(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _shortened(value: Any) -> Any:
    """Numbers as Go writes them: a whole one without a fraction."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _compact(written: str) -> str:
    return _SPACE.sub(lambda found: found[1] or "", written)


def _parts(raw: str) -> Iterator[tuple[str, str]]:
    """The values of a list or mapping without spaces, each as it is written, with its key if it has one."""
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
    """JSON as Go writes it where it might stand in a page."""
    return written.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def gathered(prefix: str, nodes: Iterable[Node]) -> dict[str, str]:
    """What the items of a loop gave together: lists of what those gave that succeeded, in their order.

    Errors: ItemError, where a result is no JSON.
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
    """A list of texts, or of what they say where each of them is a list or a mapping."""
    try:
        said = [json.loads(value) for value in values]
    except ValueError:
        said = []
    return _written(said if said and all(isinstance(each, list | dict) for each in said) else values)
