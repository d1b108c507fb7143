"""The reference of ModelSpec and of what it is made of: every field with its type, default and meaning."""

import dataclasses
import inspect
import re
import tomllib
from typing import Any

import lockgate
from docs.generate.place import DOCS
from docs.generate.tables import code, explained, summary, table

PARTS = ("ModelSpec", "Data", "Limits", "label", "number", "category", "Split", "Serving", "Schedule")
# A function's class, whose docstring explains the parameters.
MADE = {"label": "Target", "number": "Number", "category": "Category"}


def text() -> str:
    """One section for each part, in the order in which an author meets them. Errors: ValueError, naming the field."""
    return "\n\n".join(_section(name) for name in PARTS)


def fields(name: str) -> list[tuple[str, str, str, str]]:
    """Name, type, default and meaning of each field. Errors: ValueError where one is explained twice or nowhere."""
    thing = getattr(lockgate, name)
    parameters = inspect.signature(thing).parameters
    documented = explained(inspect.getdoc(getattr(lockgate, MADE.get(name, name))) or "", parameters)
    more = _more().get(name, {})
    if twice := sorted(set(documented) & set(more)):
        msg = f"{name}.{twice[0]} is explained in its docstring: delete it from docs/reference/fields.toml"
        raise ValueError(msg)
    meanings = documented | more
    if unknown := sorted(set(meanings) ^ set(parameters)):
        msg = f"{name}.{unknown[0]} is explained nowhere or does not exist: see docs/reference/fields.toml"
        raise ValueError(msg)
    made = _factories(thing)
    return [(f, _type(p.annotation), made.get(f) or _default(p), meanings[f]) for f, p in parameters.items()]


def _section(name: str) -> str:
    rows = [(code(f), code(kind), default, meaning) for f, kind, default, meaning in fields(name)]
    return f"## {name}\n\n{summary(getattr(lockgate, name))}\n\n" + table(("field", "type", "default", "meaning"), rows)


def _more() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = tomllib.loads((DOCS / "reference" / "fields.toml").read_text(encoding="utf-8"))
    return found


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation).replace("'", '"')
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


def _default(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return "at least one"
    if parameter.default is parameter.empty:
        return "required"
    return code(repr(parameter.default).replace("'", '"'))


def _factories(thing: Any) -> dict[str, str]:
    """The defaults that a dataclass makes for each object."""
    of = {f.name: f.default_factory for f in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else {}
    return {
        name: code("{}" if make is dict else f"{getattr(make, '__name__', make)}()")
        for name, make in of.items()
        if make is not dataclasses.MISSING
    }
