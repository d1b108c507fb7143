"""The expectations of the data: derived from the spec, and read from expectations.json."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from lockgate_step import BadCall, Category, Column, Number, SpecFile, Target

TABLES = ("rows", "test", "truth", "sensitive", "train_sensitive")
FILE = "expectations.json"
Severity = Literal["critical", "warning"]
Kwargs = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation of one table.

    rule: its stable name, which a waiver refers to.
    words, fault: what it expects, and the finding if it is not met; never a row's value.
    source: the entry of expectations.json; empty if the check comes from the spec.
    fraction: whether it checks the fractional part of a number instead of the number.
    """

    table: str
    type: str
    kwargs: Kwargs
    severity: Severity
    rule: str
    words: str
    fault: str
    fix: str = ""
    source: str = ""
    why: str = ""
    fraction: bool = False

    @property
    def columns(self) -> list[str]:
        """The columns that it checks; empty if it checks the table as a whole."""
        named = [self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs]
        listed = self.kwargs.get("column_list", [])
        return [name for name in [*named, *(listed if isinstance(listed, list) else [])] if isinstance(name, str)]


def derived(spec: SpecFile, rows: Mapping[str, int]) -> list[Check]:
    """Derive the checks of each table from the spec.

    rows: the row counts of the data record, by table.
    """
    target = spec.target
    columns = {
        "rows": (*spec.inputs, target.column),
        "test": spec.inputs,
        "truth": (target.column,),
        "sensitive": spec.sensitive,
        "train_sensitive": spec.sensitive,
    }
    checks: list[Check] = []
    for table, count in rows.items():
        checks += _shape(table, [column.name for column in columns[table]], count)
        for column in columns[table]:
            checks += _column(table, column, banded=table.endswith("sensitive"))
        if table in ("rows", "truth"):
            checks.append(_both_classes(table, target))
    return checks


def _shape(table: str, names: Sequence[str], rows: int) -> Iterator[Check]:
    def shape(what: str, kind: str, words: str, fault: str, **kwargs: object) -> Check:
        rule, fix = f"data:{table}:{what}", "run ingest again with this model's spec"
        return Check(
            table=table, type=kind, kwargs=kwargs, severity="critical", rule=rule, words=words, fault=fault, fix=fix
        )

    yield shape(
        "some", "expect_table_row_count_to_be_between", "has at least one row", "there are no rows", min_value=1
    )
    yield shape(
        "count",
        "expect_table_row_count_to_equal",
        f"has the {rows:,} rows of the data record",
        f"the number of rows is not the {rows:,} of the data record",
        value=rows,
    )
    listed = ", ".join(names)
    yield shape(
        "columns",
        "expect_table_columns_to_match_set",
        f"has the columns {listed}, and no others",
        f"the columns are not {listed}",
        column_set=list(names),
        exact_match=True,
    )
    yield shape(
        "once",
        "expect_table_column_count_to_equal",
        "has each column once",
        f"the number of columns is not {len(names)}",
        value=len(names),
    )


def _column(table: str, column: Column, *, banded: bool) -> Iterator[Check]:
    """Derive the checks of one column. banded: a number is written as its band, which is text."""
    name = column.name

    def column_check(
        what: str, kind: str, words: str, fault: str, severity: Severity = "critical", **kwargs: object
    ) -> Check:
        return Check(
            table=table,
            type=kind,
            kwargs={"column": name, **kwargs},
            severity=severity,
            rule=f"data:{table}:{name}:{what}",
            words=f"{name} {words}",
            fault=f"{name} {fault}",
            fix=f"correct the data, or {name} in the model's spec",
            fraction=what == "whole",
        )

    if not column.missing:
        yield column_check(
            "present", "expect_column_values_to_not_be_null", "is never missing", "is missing in some rows"
        )
    yield column_check(
        "says",
        "expect_column_unique_value_count_to_be_between",
        "has a value in at least one row",
        "is missing in every row",
        "critical" if table.endswith("sensitive") else "warning",  # a sensitive column without values has no groups
        min_value=1,
    )
    if isinstance(column, Number) and not banded:
        low, high = column.low, column.high
        yield column_check(
            "type", "expect_column_values_to_be_of_type", "is a number", "is not a number", type_="float64"
        )
        yield column_check(
            "range",
            "expect_column_values_to_be_between",
            f"is between {low:g} and {high:g}",
            f"is outside {low:g} to {high:g} in some rows",
            min_value=low,
            max_value=high,
        )
        if column.whole:
            fault = "is not a whole number in some rows"
            yield column_check(
                "whole", "expect_column_values_to_be_in_set", "is a whole number", fault, value_set=[0.0]
            )
        return
    yield column_check("type", "expect_column_values_to_be_of_type", "is text", "is not text", type_="str")
    if isinstance(column, Category):
        values = list(column.values)
        some = ", ".join(values[:4]) + (", …" if len(values) > 4 else "")
        yield column_check(
            "values",
            "expect_column_values_to_be_in_set",
            f"is one of {some}",
            f"is not one of {some} in some rows",
            value_set=values,
        )


def _both_classes(table: str, target: Target) -> Check:
    name, labels = target.name, [target.negative, target.positive]
    return Check(
        table=table,
        type="expect_column_distinct_values_to_contain_set",
        kwargs={"column": name, "value_set": labels},
        severity="critical",
        rule=f"data:{table}:{name}:both",
        words=f"{name} has rows with both labels, {labels[0]} and {labels[1]}",
        fault=f"{name} does not have rows with both labels, {labels[0]} and {labels[1]}",
        fix="provide data with both labels, or correct their spellings in the spec",
    )


def read(path: Path, tables: Mapping[str, Sequence[str]]) -> list[Check]:
    """Read the entries of expectations.json.

    tables: the columns of each table.
    Errors: BadCall that names the entry.
    """
    try:
        entries = json.loads(path.read_bytes())
    except ValueError as error:
        msg = f"{FILE} is not JSON: line {getattr(error, 'lineno', '?')}"
        raise BadCall(msg, fix="correct that line, or write [] if you have no expectations of your own") from error
    if not isinstance(entries, list):
        msg = f"{FILE} is not a list"
        raise BadCall(msg, fix='write a list of {"type": …, "kwargs": {…}, "severity": "critical"}')
    checks = [_entry(number, entry, tables) for number, entry in enumerate(entries, 1)]
    unknown = [check for check in checks if not set(check.columns) <= set(tables[check.table])]
    if unknown:
        first, *_ = unknown
        column = next(name for name in first.columns if name not in tables[first.table])
        msg = f"{first.source} ({first.type}) names the column `{column}`, which `{first.table}` does not have"
        absent = {name: None for check in unknown for name in check.columns if name not in tables[check.table]}
        numbers = ", ".join(check.source.removeprefix(f"{FILE}: entry ") for check in unknown)
        fix = "correct the name, or remove the entries of columns that the spec no longer has"
        raise BadCall(msg, fix=f"{fix}: {', '.join(absent)} (number {numbers})")
    return checks


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
        refuse(f"({kind}) has no valid `severity`", 'set "severity" to "critical" or "warning"')
    if table not in TABLES:
        refuse(f"({kind}) names an unknown table", f"set `table` to one of {', '.join(TABLES)}")
    if table not in tables:
        refuse(f"({kind}) names the table `{table}`, which this model does not have", "remove the entry")
    shown = ", ".join(f"{key} {_brief(value)}" for key, value in kwargs.items())
    words = f"{kind.removeprefix('expect_').replace('_', ' ')}: {shown}"
    return Check(
        table=table,
        type=kind,
        kwargs=kwargs,
        severity="critical" if severity == "critical" else "warning",
        rule=f"data:{table}:{kind}:{number}",
        words=words,
        fault=f"expectation not met: {words}",
        source=where,
        why=str(entry.get("why", "")),
    )


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 60 else f"{text[:59]}…"
