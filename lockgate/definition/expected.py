"""Check expectations.json against the spec before anything runs; validate-data reads the file completely."""

import json
from collections.abc import Iterator
from typing import Any

from lockgate.definition.model import ModelSpec
from lockgate.errors import SpecError

FILE = "expectations.json"
_NAMING = ("column", "column_A", "column_B", "column_list")  # the arguments of an expectation that name columns


def check_expectations(spec: ModelSpec, text: str) -> None:
    """Refuse entries about columns that the spec does not have, e.g. those of an input that was removed.

    text: the content of the file. A file of another form is left to validate-data, which says what is wrong with it.
    Errors: SpecError that names the columns and the lines.
    """
    known = {*spec.inputs, *spec.sensitive, spec.target.name}
    absent = [name for name in dict.fromkeys(_named(text)) if name not in known]
    if not absent:
        return
    quoted = [json.dumps(name, ensure_ascii=ascii_) for name in absent for ascii_ in (True, False)]
    lines = [str(at) for at, line in enumerate(text.splitlines(), 1) if any(name in line for name in quoted)]
    columns = "a column" if len(absent) == 1 else "columns"
    msg = f"{spec.name}: {FILE} names {columns} that the spec does not have: {', '.join(absent)}"
    raise SpecError(msg, fix=f"correct the name, or remove the entry: line {', '.join(lines)} of {FILE}")


def _named(text: str) -> Iterator[str]:
    """The columns that the entries name."""
    try:
        entries: Any = json.loads(text)
    except ValueError:
        return
    for entry in entries if isinstance(entries, list) else []:
        given: Any = entry.get("kwargs") if isinstance(entry, dict) else None
        for key in _NAMING if isinstance(given, dict) else ():
            value = given.get(key)
            yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))
