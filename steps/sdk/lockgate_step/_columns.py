"""The columns of a model, as spec.json and model.json write them: numbers within bounds, and categories."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lockgate_step._errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Number:
    """A column of numbers between `low` and `high`, both included.

    name: empty where the column is the value of a mapping, whose key names it.
    whole: only whole numbers. missing: may be absent. unit: for people.
    bands: the edges a sensitive number is grouped by, e.g. (25, 40, 60).
    Errors: SpecError when the bounds or the bands do not rise.
    """

    name: str = ""
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    missing: bool = False
    unit: str = ""
    bands: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            msg = f"number({self.low}, {self.high}): the lower bound is above the upper"
            raise SpecError(msg, fix="write number(low, high)")
        if list(self.bands) != sorted(set(self.bands)):
            msg = f"bands {self.bands} must rise"
            raise SpecError(msg, fix="list each edge once, smallest first")

    def to_json(self) -> dict[str, Any]:
        """The column's entry in spec.json; an open bound is left out, since JSON has no infinity."""
        bounds = {"low": self.low, "high": self.high}
        finite = {end: bound for end, bound in bounds.items() if math.isfinite(bound)}
        rest = {"whole": self.whole, "missing": self.missing, "unit": self.unit, "bands": list(self.bands)}
        return {"name": self.name, "kind": "number", **finite, **rest}


@dataclass(frozen=True, kw_only=True)
class Category:
    """A column whose values come from a closed list.

    name: empty where the column is the value of a mapping, whose key names it.
    missing: may be absent.
    Errors: SpecError when there is no value, or one of them twice.
    """

    name: str = ""
    values: tuple[str, ...]
    missing: bool = False

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            msg = "a category needs at least one value, each once"
            raise SpecError(msg, fix='write category("first", "second", ...)')

    def to_json(self) -> dict[str, Any]:
        """The column's entry in spec.json."""
        return {"name": self.name, "kind": "category", "values": list(self.values), "missing": self.missing}


Column = Number | Category


def read_columns(entries: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns that a list of entries of spec.json or model.json describes.

    Errors: SpecError; KeyError, TypeError, ValueError or AttributeError when an entry does not have a column's form.
    """
    return tuple(_column(entry) for entry in entries)


def named(columns: Mapping[str, Column]) -> tuple[Column, ...]:
    """The columns of a mapping, each with its key as its name."""
    return tuple(replace(column, name=name) for name, column in columns.items())


def without_bands(columns: Iterable[Column]) -> tuple[Column, ...]:
    """The columns as a caller sends them: bands group people for an audit, and a request has none."""
    return tuple(replace(column, bands=()) if isinstance(column, Number) else column for column in columns)


def _column(entry: Mapping[str, Any]) -> Column:
    name, missing = str(entry["name"]), bool(entry.get("missing", False))
    match entry["kind"]:
        case "number":
            low, high = entry.get("low"), entry.get("high")
            return Number(
                name=name,
                low=-math.inf if low is None else float(low),
                high=math.inf if high is None else float(high),
                whole=bool(entry.get("whole", False)),
                missing=missing,
                unit=str(entry.get("unit") or ""),
                bands=tuple(float(edge) for edge in entry.get("bands", ())),
            )
        case "category":
            return Category(name=name, values=tuple(map(str, entry["values"])), missing=missing)
        case other:
            msg = f"column {name!r} is of the unknown kind {other!r}"
            raise SpecError(msg, fix="a column is a number or a category")
