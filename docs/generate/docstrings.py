"""Turn the docstring form of this repository into the fields that Sphinx knows."""

import inspect
import re
from typing import Any

FIELD = re.compile(r"(?P<name>[a-z_][a-z0-9_]*): (?P<text>.+)")
ERRORS = re.compile(r"(?P<before>.*?)\bErrors: (?P<text>.+)")


def as_fields(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Rewrite the lines of one docstring in place: `name: text` and `Errors: text` become fields."""
    del app, name, options
    if what == "data":  # the docstring of its type, which says nothing about it
        lines.clear()
        return
    found: list[str] = []
    inside = False  # a field goes on until the next field or an empty line
    for line in lines:
        if (field := FIELD.fullmatch(line)) and _takes(thing, field["name"]):
            found += ["", f":param {field['name']}: {escaped(field['text'])}"]
            inside = True
        elif error := ERRORS.fullmatch(line):
            found += [escaped(error["before"]), "", f":Errors: {escaped(error['text'])}"]
            inside = True
        else:
            inside = inside and bool(line.strip())
            found.append(f"   {escaped(line.strip())}" if inside else escaped(line))
    lines[:] = [*found, ""]


def with_defaults(
    app: object, what: str, name: str, thing: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """The signature of a dataclass as Python code: a default that is made for each object has no literal."""
    del app, what, name, thing, options
    return signature and signature.replace("<factory>", "..."), returns


def escaped(text: str) -> str:
    """The text with what reStructuredText would take for markup escaped, inline code apart."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return text
    return "`".join(re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part) if i % 2 == 0 else part for i, part in enumerate(parts))


def _takes(thing: Any, name: str) -> bool:
    try:
        return name in inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return False
