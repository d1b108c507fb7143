"""What the data must be: derived from the spec, the only truth about columns, and read from expectations.json."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from lockgate_step import BadCall

TABLES = ("rows", "test", "truth", "sensitive", "train_sensitive")
FILE = "expectations.json"
Severity = Literal["critical", "warning"]
Kwargs = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One expectation of one table.

    rule: its stable name, by which a waiver cites it. words: what it expects, in words without any row's value.
    source: the entry of expectations.json, or nothing where the spec demands it.
    fraction: whether it is about what a number has after the point, and not about the number.
    """

    table: str
    type: str
    kwargs: Kwargs
    severity: Severity
    rule: str
    words: str
    source: str = ""
    why: str = ""
    fraction: bool = False

    @property
    def columns(self) -> list[str]:
        """The columns it is about; none where it is about the table as a whole."""
        named = [self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs]
        listed = self.kwargs.get("column_list", [])
        return [name for name in [*named, *(listed if isinstance(listed, list) else [])] if isinstance(name, str)]


@dataclass(frozen=True)
class _Column:
    """The checks of one column, written briefly."""

    table: str
    name: str
    made: list[Check] = field(default_factory=list)

    def expect(
        self,
        what: str,
        kind: str,
        words: str,
        severity: Severity = "critical",
        fraction: bool = False,
        **kwargs: object,
    ) -> None:
        rule = f"data:{self.table}:{self.name}:{what}"
        given = {"column": self.name, **kwargs}
        self.made.append(Check(self.table, kind, given, severity, rule, words, fraction=fraction))


def derived(spec: Mapping[str, Any], rows: Mapping[str, int]) -> list[Check]:
    """What the spec demands of each table that is there; `rows` are the row counts of the data record, by table."""
    target, inputs = spec["target"], spec["inputs"]
    goal = {"name": target["name"], "kind": "category", "values": [target["negative"], target["positive"]]}
    banded = [dict(column, kind="band") if column["kind"] == "number" else column for column in spec["sensitive"]]
    columns = {
        "rows": [*inputs, goal],
        "test": inputs,
        "truth": [goal],
        "sensitive": banded,
        "train_sensitive": banded,
    }
    checks: list[Check] = []
    for table, count in rows.items():
        checks += _shape(table, [column["name"] for column in columns[table]], count)
        for column in columns[table]:
            checks += _column(table, column)
        if table in ("rows", "truth"):
            checks += _both_classes(table, target)
    return checks


def _shape(table: str, names: Sequence[str], rows: int) -> Iterator[Check]:
    def shape(what: str, type_: str, words: str, **kwargs: object) -> Check:
        return Check(table, type_, kwargs, "critical", f"data:{table}:{what}", words)

    yield shape("some", "expect_table_row_count_to_be_between", "has at least one row", min_value=1)
    yield shape("count", "expect_table_row_count_to_equal", f"has the {rows:,} rows of the data record", value=rows)
    listed = ", ".join(names)
    yield shape(
        "columns",
        "expect_table_columns_to_match_set",
        f"has the columns {listed}, and no others",
        column_set=list(names),
        exact_match=True,
    )
    yield shape("once", "expect_table_column_count_to_equal", "has each column once", value=len(names))


def _column(table: str, column: Mapping[str, Any]) -> list[Check]:
    name = column["name"]
    made = _Column(table, name)
    if not column.get("missing", False):
        made.expect("present", "expect_column_values_to_not_be_null", f"{name} is never missing")
    empty: Severity = "critical" if table.endswith("sensitive") else "warning"
    made.expect(
        "says",
        "expect_column_unique_value_count_to_be_between",
        f"{name} is not missing everywhere",
        empty,
        min_value=1,
    )
    if column["kind"] == "number":
        made.expect("type", "expect_column_values_to_be_of_type", f"{name} is a number", type_="float64")
        made.expect(
            "range",
            "expect_column_values_to_be_between",
            f"{name} lies between {column['low']:g} and {column['high']:g}",
            min_value=column["low"],
            max_value=column["high"],
        )
        if column.get("whole", False):
            words = f"{name} is a whole number"
            made.expect("whole", "expect_column_values_to_be_in_set", words, fraction=True, value_set=[0.0])
    else:
        made.expect("type", "expect_column_values_to_be_of_type", f"{name} is text", type_="str")
    if column["kind"] == "category":
        some = ", ".join(column["values"][:4]) + (", …" if len(column["values"]) > 4 else "")
        made.expect(
            "values", "expect_column_values_to_be_in_set", f"{name} is one of {some}", value_set=list(column["values"])
        )
    return made.made


def _both_classes(table: str, target: Mapping[str, Any]) -> list[Check]:
    made = _Column(table, target["name"])
    labels = [target["negative"], target["positive"]]
    words = f"{target['name']} has rows of both {labels[0]} and {labels[1]}"
    made.expect("both", "expect_column_distinct_values_to_contain_set", words, value_set=labels)
    return made.made


def read(path: Path, tables: Mapping[str, Sequence[str]]) -> list[Check]:
    """The entries of expectations.json; `tables` are the columns of each table that is there.

    Errors: BadCall, naming the entry.
    """
    try:
        entries = json.loads(path.read_bytes())
    except ValueError as error:
        msg = f"{FILE} is not JSON: line {getattr(error, 'lineno', '?')}"
        raise BadCall(msg, fix="mend that line, or write [] for no expectation of your own") from error
    if not isinstance(entries, list):
        msg = f"{FILE} is not a list"
        raise BadCall(msg, fix='write a list of {"type": …, "kwargs": {…}, "severity": "critical"}')
    return [_entry(number, entry, tables) for number, entry in enumerate(entries, 1)]


def _entry(number: int, entry: object, tables: Mapping[str, Sequence[str]]) -> Check:
    where = f"{FILE}: entry {number}"

    def refuse(problem: str, fix: str) -> NoReturn:
        msg = f"{where} {problem}"
        raise BadCall(msg, fix=fix)

    if not isinstance(entry, dict):
        refuse("is not an object", 'write {"type": …, "kwargs": {…}, "severity": "critical"}')
    known = ("type", "kwargs", "severity", "table", "why")
    for key in entry:
        if key not in known:
            refuse(f"has an unknown key `{key}`", f"use {', '.join(known)}")
    kind, kwargs, severity = entry.get("type"), entry.get("kwargs"), entry.get("severity")
    table = entry.get("table", "rows")
    if not isinstance(kind, str) or not kind.startswith("expect_"):
        refuse("has no `type` that begins with expect_", "name an expectation of Great Expectations")
    if not isinstance(kwargs, dict) or not kwargs:
        refuse(f"({kind}) has no `kwargs`", "name its column and its bounds")
    if severity not in ("critical", "warning"):
        refuse(f"({kind}) is neither critical nor a warning", 'set "severity" to one of the two')
    if table not in TABLES:
        refuse(f"({kind}) is about an unknown table", f"set `table` to one of {', '.join(TABLES)}")
    if table not in tables:
        refuse(f"({kind}) is about `{table}`, which this model does not have", "take it out")
    shown = ", ".join(f"{key} {_brief(value)}" for key, value in kwargs.items())
    words = f"{kind.removeprefix('expect_').replace('_', ' ')}: {shown}"
    rule = f"data:{table}:{kind}:{number}"
    check = Check(table, kind, kwargs, severity, rule, words, where, str(entry.get("why", "")))
    for column in check.columns:
        if column not in tables[table]:
            refuse(f"({kind}) names the column `{column}`, which `{table}` does not have", "mend its name")
    return check


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 60 else f"{text[:59]}…"
