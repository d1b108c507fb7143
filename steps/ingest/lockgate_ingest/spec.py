"""Reads the parts of a model spec that ingest needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_step import BadCall


@dataclass(frozen=True)
class Number:
    """A column of numbers; `bands` are the edges of the groups of a sensitive column."""

    name: str
    bands: tuple[float, ...]
    whole: bool


@dataclass(frozen=True)
class Category:
    """A column of strings."""

    name: str


Column = Number | Category


@dataclass(frozen=True)
class Target:
    """The column to predict, its two labels, and their other spellings in the data."""

    name: str
    positive: str
    negative: str
    spellings: Mapping[str, str]


@dataclass(frozen=True)
class Traits:
    """The format of the data, and their location relative to the model's folder."""

    uri: str
    test: str | None
    format: str
    columns: tuple[str, ...] | None
    delimiter: str
    missing: tuple[str, ...]
    comment: str | None
    encoding: str


@dataclass(frozen=True)
class Split:
    """How rows are divided if there is no official test file."""

    test_share: float
    key: tuple[str, ...]
    seed: str


@dataclass(frozen=True)
class Spec:
    """A model spec, read."""

    model: str
    traits: Traits
    target: Target
    inputs: tuple[Column, ...]
    sensitive: tuple[Column, ...]
    split: Split

    @property
    def kept(self) -> tuple[Column, ...]:
        """The columns that are kept, sorted by name, so that the snapshot does not depend on the spec's order."""
        columns = {column.name: column for column in (*self.sensitive, *self.inputs, Category(self.target.name))}
        return tuple(columns[name] for name in sorted(columns))

    @property
    def read(self) -> tuple[Column, ...]:
        """The columns that are read: those kept, and the split key's, which only decide a row's side."""
        known = {column.name for column in self.kept}
        return (*self.kept, *(Category(name) for name in self.split.key if name not in known))


def read_spec(path: Path) -> Spec:
    """Read a spec from a file. Errors: BadCall when it is not a valid spec."""
    try:
        return _spec(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"the model spec cannot be read: {type(error).__name__} at {error.args[0] if error.args else 'its start'}"
        raise BadCall(msg, fix="use the spec.json that `lockgate render` wrote") from error


def _spec(value: Mapping[str, Any]) -> Spec:
    data, target, split = value["data"], value["target"], value["split"]
    traits = Traits(
        uri=str(data["uri"]),
        test=data.get("test"),
        format=data.get("format", "csv"),
        columns=None if data.get("columns") is None else tuple(data["columns"]),
        delimiter=data.get("delimiter", ","),
        missing=tuple(data.get("missing", [""])),
        comment=data.get("comment") or None,
        encoding=data.get("encoding", "utf-8"),
    )
    if len(traits.delimiter) != 1 or traits.delimiter in '"\r\n':
        msg = f"the model spec has the invalid delimiter {traits.delimiter!r}"
        raise BadCall(msg, fix="use one character, e.g. , ; or a tab")
    spec = Spec(
        model=value["name"],
        traits=traits,
        target=Target(target["name"], target["positive"], target["negative"], target.get("spellings", {})),
        inputs=tuple(_column(entry) for entry in value["inputs"]),
        sensitive=tuple(_column(entry) for entry in value["sensitive"]),
        split=Split(float(split["test_share"]), tuple(split["key"]), str(split["seed"])),
    )
    kinds = {column.name: type(column) for column in spec.inputs}
    for column in spec.sensitive:
        if kinds.get(column.name, type(column)) is not type(column):
            msg = f"the model spec declares {column.name} as a number in one place and a category in another"
            raise BadCall(msg, fix="declare the same kind in inputs and sensitive")
    return spec


def _column(entry: Mapping[str, Any]) -> Column:
    match entry["kind"]:
        case "number":
            bands = tuple(float(edge) for edge in entry.get("bands", ()))
            return Number(entry["name"], bands, bool(entry.get("whole", False)))
        case "category":
            return Category(entry["name"])
        case other:
            raise ValueError(other)
