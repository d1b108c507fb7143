"""Check a run's settings against the rendered parameters."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lockgate.definition.catalog import Program
from lockgate.engine.manifest import without_tags
from lockgate.errors import BadCall, UnknownName

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_FORMS = {
    "string": re.compile(r"(?s).*"),
    "integer": re.compile(r"[+-]?\d+"),
    "number": re.compile(_NUMBER),
    "boolean": re.compile(r"(?i)true|false"),
}


def choices(parameters: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, list[str]]:
    """The allowed values of these settings, the one of the spec first; none for a setting that takes any value."""
    found = {}
    for name in names:
        if name in parameters:
            values, chosen = parameters[name].get("enum") or [], parameters[name].get("value")
            found[name] = sorted(values, key=lambda value: value != chosen)
    return found


def check_settings(
    given: Mapping[str, str], parameters: Mapping[str, Mapping[str, object]], programs: Iterable[Program]
) -> None:
    """Refuse an unknown setting, a value that the workflow does not allow, or a missing setting. Errors: BadCall."""
    kinds = {entry["name"]: entry["type"] for program in programs for entry in program.contract["parameters"]}
    for key, value in given.items():
        if key not in parameters:
            raise UnknownName("setting", key, parameters)
        without_tags(key, value)
        allowed = parameters[key].get("enum")
        if isinstance(allowed, list) and value not in allowed:
            what = f"value of {key}"
            raise UnknownName(what, value, [str(option) for option in allowed])
        kind = kinds.get(key, "string")
        if not _FORMS[kind].fullmatch(value):
            msg = f"{key}={value} is not {'an' if kind == 'integer' else 'a'} {kind}"
            raise BadCall(msg, fix=f"use a value like {parameters[key].get('value', '1')}")
    missing = [key for key, parameter in parameters.items() if "value" not in parameter and key not in given]
    if missing:
        msg = f"the workflow needs a value for {missing[0]}"
        option = f"--{missing[0]} VALUE" if missing[0] in ("data", "version") else f"--set {missing[0]}=VALUE"
        raise BadCall(msg, fix=f"pass {option}")
