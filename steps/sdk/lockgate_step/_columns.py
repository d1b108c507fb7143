"""The columns of a model, as in spec.json and model.json: numbers within bounds, and categories."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from lockgate_step._errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Number:
    """A column of numbers between `low` and `high`, both included.

    name: empty if the column is the value in a mapping and the key is its name.
    whole: only whole numbers. missing: may be absent. unit: for people.
    bands: the edges that a sensitive number is grouped by, e.g. (25, 40, 60).
    Errors: SpecError when `low` is above `high`, or the bands do not increase.
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
            msg = f"bands {self.bands} must increase"
            raise SpecError(msg, fix="list each edge once, smallest first")

    @property
    def band_names(self) -> tuple[str, ...]:
        """The name of each band, the lowest first; an edge belongs to the band above it. Empty without bands."""
        if not self.bands:
            return ()
        middle = (
            f"{low:g} to {high - 1:g}" if self.whole else f"{low:g} to under {high:g}"
            for low, high in pairwise(self.bands)
        )
        return (f"under {self.bands[0]:g}", *middle, f"{self.bands[-1]:g} and over")

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the column names: each band in which a value from `low` to `high` can be."""
        edges = (-math.inf, *self.bands, math.inf)
        spans = zip(self.band_names, pairwise(edges), strict=False)
        return tuple(name for name, (start, end) in spans if self.low < end and self.high >= start)

    def to_json(self) -> dict[str, Any]:
        """Return the column's entry in spec.json, without infinite bounds: JSON cannot express them."""
        bounds = {"low": self.low, "high": self.high}
        finite = {end: bound for end, bound in bounds.items() if math.isfinite(bound)}
        rest = {"whole": self.whole, "missing": self.missing, "unit": self.unit, "bands": list(self.bands)}
        return {"name": self.name, "kind": "number", **finite, **rest}


@dataclass(frozen=True, kw_only=True)
class Category:
    """A column whose values come from a closed list.

    name: empty if the column is the value in a mapping and the key is its name.
    missing: may be absent.
    Errors: SpecError when there are no values, or a value is listed twice.
    """

    name: str = ""
    values: tuple[str, ...]
    missing: bool = False

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            msg = "a category needs at least one value, each once"
            raise SpecError(msg, fix='write category("first", "second", ...)')

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the column names: each of its values."""
        return self.values

    def to_json(self) -> dict[str, Any]:
        """Return the column's entry in spec.json."""
        return {"name": self.name, "kind": "category", "values": list(self.values), "missing": self.missing}


Column = Number | Category


def read_columns(entries: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Return the columns in a list of entries of spec.json or model.json.

    Errors: SpecError; KeyError, TypeError, ValueError or AttributeError when an entry is not a column.
    """
    return tuple(_column(entry) for entry in entries)


def named(columns: Mapping[str, Column]) -> tuple[Column, ...]:
    """Return the columns of a mapping, each with its key as its name."""
    return tuple(replace(column, name=name) for name, column in columns.items())


def without_bands(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns without bands, as in a request: bands only group people for an audit."""
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
            msg = f"column {name!r} has the unknown kind {other!r}"
            raise SpecError(msg, fix="use number or category")
