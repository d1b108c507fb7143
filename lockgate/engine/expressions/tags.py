"""Find and replace the `{{...}}` tags of a manifest.

The controller replaces them in the JSON of a template; here they are replaced in each string of the parsed tree.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.engine.expressions.evaluation import evaluate, expand, shown
from lockgate.engine.expressions.kinds import check
from lockgate.engine.expressions.parser import ExpressionError, Node, parse, paths

Values = Mapping[str, str | None]
ABSENT = "output is an absent optional (skipped/omitted node with no default)"
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class TagError(ValueError):
    """A tag that has no value."""


@dataclass(frozen=True)
class Tag:
    """One tag: its content, the variables it reads, and its expression if it is `{{=...}}`."""

    text: str
    reads: tuple[str, ...]
    expression: Node | None


def find_tags(tree: object) -> Iterator[Tag]:
    """Yield every tag of a tree. Errors: ExpressionError, if an expression cannot be parsed."""
    for text in texts(tree):
        for found in _TAG.finditer(text):
            yield _tag(found[1])


def texts(tree: object) -> Iterator[str]:
    """Yield every string of a tree, including field names."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from texts(key)
            yield from texts(value)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from texts(item)


def _tag(text: str) -> Tag:
    if text.startswith("="):
        node = parse(text[1:])
        return Tag(text, tuple(paths(node)), node)
    return Tag(text, (text.strip(),), None)


def replace(tree: Any, values: Values, *, strict: tuple[str, ...] = ()) -> Any:
    """Return the tree with every tag replaced that has a value; other tags stay.

    strict: prefixes of names; a tag of such a name without a value is a `TagError`.
    A value of None is the output of a skipped task without a default: reading it is always a `TagError`.
    """
    if isinstance(tree, str):
        return _replaced(tree, values, strict) if "{{" in tree else tree
    if isinstance(tree, Mapping):
        return {
            replace(key, values, strict=strict): replace(value, values, strict=strict) for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [replace(item, values, strict=strict) for item in tree]
    return tree


def _replaced(text: str, values: Values, strict: tuple[str, ...]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1].startswith("="):
            return _expression(found, values, strict)
        name = found[1].strip()
        if name in values:
            held = values[name]
            if held is None:
                message = f"unable to substitute {found[0]}: {ABSENT}"
                raise TagError(message)
            return held
        # Artifacts are resolved through `from`, where they may be optional.
        if name.startswith(strict or ("\0",)) and ".outputs.artifacts." not in name:
            message = f"failed to resolve {found[0]}"
            raise TagError(message)
        return found[0]

    return _TAG.sub(value, text)


def _expression(found: re.Match[str], values: Values, strict: tuple[str, ...]) -> str:
    try:
        node = parse(found[1][1:])
        known = expand(values)
        missing = [path for path in paths(node) if not _has(known, path)]
        if missing and not any(path.startswith(strict or ("\0",)) for path in missing):
            return found[0]
        check(node, known)
        result = evaluate(node, known)
    except ExpressionError as error:
        message = f"failed to evaluate expression: {error}"
        raise TagError(message) from error
    if result is None:
        message = f'failed to evaluate expression "{found[1][1:]}"'
        raise TagError(message)
    return shown(result)


def _has(known: Mapping[str, Any], path: str) -> bool:
    place: Any = known
    for part in path.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    return True


def reference(text: str) -> str:
    """Return the name in a string that is one plain tag and nothing else; otherwise an empty string."""
    found = _TAG.fullmatch(text.strip())
    return found[1].strip() if found and not found[1].startswith("=") and "{{" not in found[1] else ""
