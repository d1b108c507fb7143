"""What a model is: the spec its author writes, checked when it is made."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lockgate.errors import SpecError

if TYPE_CHECKING:
    from lockgate.definition.candidate import Candidate

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CPU = re.compile(r"[1-9]\d*m?")
_MEMORY = re.compile(r"[1-9]\d*[MG]i?")
Scalar = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Number:
    """A column of numbers between `low` and `high`, both included.

    whole: only whole numbers. missing: may be absent. unit: for people.
    bands: the edges a sensitive number is grouped by, e.g. (25, 40, 60).
    """

    low: float
    high: float
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

    def to_json(self, name: str) -> dict[str, Any]:
        """The column as it stands in spec.json."""
        return {
            "name": name, "kind": "number", "low": self.low, "high": self.high, "whole": self.whole,
            "missing": self.missing, "unit": self.unit, "bands": list(self.bands),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Category:
    """A column whose values come from a closed list. missing: may be absent."""

    values: tuple[str, ...]
    missing: bool = False

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            msg = "a category needs at least one value, each once"
            raise SpecError(msg, fix='write category("first", "second", ...)')

    def to_json(self, name: str) -> dict[str, Any]:
        """The column as it stands in spec.json."""
        return {"name": name, "kind": "category", "values": list(self.values), "missing": self.missing}


Column = Number | Category


def number(
    low: float,
    high: float,
    *,
    whole: bool = False,
    missing: bool = False,
    unit: str = "",
    bands: tuple[float, ...] = (),
) -> Number:
    """A column of numbers between `low` and `high`, both included."""
    return Number(low=low, high=high, whole=whole, missing=missing, unit=unit, bands=bands)


def category(*values: str, missing: bool = False) -> Category:
    """A column whose values come from this list."""
    return Category(values=values, missing=missing)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted: one of two labels. `spellings` maps other spellings in the data to the two."""

    name: str
    positive: str
    negative: str
    spellings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.positive == self.negative:
            msg = f"target {self.name!r}: both labels are {self.positive!r}"
            raise SpecError(msg, fix="name the two labels as the data spells them")
        for spelling, label in self.spellings.items():
            if label not in (self.positive, self.negative):
                msg = f"target {self.name!r}: spelling {spelling!r} leads to {label!r}, which is neither label"
                raise SpecError(msg, fix=f"map it to {self.positive!r} or {self.negative!r}")


def label(name: str, *, positive: str, negative: str, spellings: Mapping[str, str] | None = None) -> Target:
    """The column to predict, and its two labels."""
    return Target(name=name, positive=positive, negative=negative, spellings=dict(spellings or {}))


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the data are and how they are written.

    uri: `s3://bucket/key`, `file:///path`, or a path relative to the model's folder.
    test: the official test file, where there is one; otherwise the split is keyed and seeded.
    columns: the names, where the file has no header.
    """

    uri: str
    test: str | None = None
    format: Literal["csv", "parquet"] = "csv"
    columns: tuple[str, ...] | None = None
    delimiter: str = ","
    missing: tuple[str, ...] = ("",)
    comment: str | None = None
    encoding: str = "utf-8"

    @property
    def in_reach_of_pods(self) -> bool:
        """Whether a cluster's pods can read them: a file of one machine they cannot."""
        return self.uri.startswith("s3://")

    def to_json(self) -> dict[str, Any]:
        """The data as they stand in spec.json."""
        return {
            "uri": self.uri, "test": self.test, "format": self.format,
            "columns": list(self.columns) if self.columns is not None else None, "delimiter": self.delimiter,
            "missing": list(self.missing), "comment": self.comment, "encoding": self.encoding,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Split:
    """How rows are divided where there is no official test file.

    test_share: between 0 and 1. key: the columns that name a row's subject, so that all its rows fall on one side.
    """

    test_share: float = 0.25
    key: tuple[str, ...] = ()
    seed: str = "lockgate"

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            msg = f"test_share {self.test_share} is not between 0 and 1"
            raise SpecError(msg, fix="0.25 keeps a quarter of the rows for the gates")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a model is retrained: a cron expression and the timezone it is meant in."""

    cron: str = "0 3 * * 1"
    timezone: str = "UTC"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is served on Kubernetes; the names are Kubernetes' own. A laptop serves one process whatever it says.

    replicas: how many pods answer at least; with two or more none is missed while a node is emptied.
    max_replicas: how many a HorizontalPodAutoscaler may start under load; the same as `replicas` for none.
    cpu: what a pod is promised, as a quantity ("500m", "2"); it may take more where the node has it to spare.
    memory: what a pod is promised and held to, as a quantity ("512Mi", "4Gi").
    """

    replicas: int = 2
    max_replicas: int = 4
    cpu: str = "500m"
    memory: str = "1Gi"

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= self.max_replicas:
            msg = f"serving: {self.replicas} replicas, at most {self.max_replicas}: there is no such number"
            raise SpecError(
                msg, fix="write Serving(replicas=2, max_replicas=4): at least 1, and max_replicas not below"
            )
        for what, given, form, example in (
            ("cpu", self.cpu, _CPU, '"500m" or "2"'),
            ("memory", self.memory, _MEMORY, '"512Mi" or "4Gi"'),
        ):
            if not form.fullmatch(given):
                msg = f"serving: {what} {given!r} is no quantity"
                raise SpecError(msg, fix=f"write it as Kubernetes does: {example}")

    def to_json(self) -> dict[str, Any]:
        """The same as it stands in spec.json."""
        return {
            "replicas": self.replicas, "max_replicas": self.max_replicas, "cpu": self.cpu, "memory": self.memory,
        }  # fmt: skip


NOBODY = "owner@example.org"  # stands where an owner's address belongs until somebody writes one


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model to serve: its data, what a caller sends, whom it could harm, and how it is trained.

    name: lower case with hyphens, at most 30 characters; also the name it is served under.
    owner: the address of who answers for it.
    inputs: the only truth about types, ranges and categories; what a caller sends and nothing else.
    sensitive: no inputs unless listed in `also_inputs`; each has a rule in policy.toml or a stated reason for none.
    train: the settings of the train program.
    tunable: the settings of `train` that a run may vary.
    serving: how many pods answer on Kubernetes, and what each is promised.
    candidate: a function of this spec for a custom chain; by default ingest, validate-data, train.
    Errors: SpecError, naming the field.
    """

    name: str
    owner: str
    data: Data | str
    target: Target
    inputs: Mapping[str, Column]
    sensitive: Mapping[str, Column]
    train: Mapping[str, Scalar] = field(default_factory=dict)
    tunable: tuple[str, ...] = ()
    description: str = ""
    classification: str = "unclassified"
    split: Split = field(default_factory=Split)
    also_inputs: tuple[str, ...] = ()
    retrain: Schedule = field(default_factory=Schedule)
    serving: Serving = field(default_factory=Serving)
    alias: str = "candidate"
    candidate: "Callable[[ModelSpec], Candidate] | None" = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > 30:
            msg = f"model name {self.name!r} is not lower case letters, digits and single hyphens, at most 30"
            raise SpecError(msg, fix="it becomes part of workflow names and addresses; write e.g. adult-income")
        if not self.inputs:
            msg = f"{self.name} has no inputs"
            raise SpecError(msg, fix="list what a caller sends: inputs={'age': number(0, 120)}")
        if self.target.name in self.inputs or self.target.name in self.sensitive:
            msg = f"the target {self.target.name!r} of {self.name} is also a column it is predicted from or audited by"
            raise SpecError(msg, fix="take it out of inputs and sensitive")
        both = sorted(set(self.inputs) & set(self.sensitive) - set(self.also_inputs))
        if both:
            msg = f"{self.name}: sensitive column {both[0]!r} is also an input"
            raise SpecError(msg, fix=f"drop it from inputs, or say so: also_inputs=({both[0]!r},)")
        for column, traits in self.sensitive.items():
            if isinstance(traits, Number) and not traits.bands:
                msg = f"{self.name}: sensitive number {column!r} has no bands to group it by"
                raise SpecError(msg, fix=f"write number({traits.low}, {traits.high}, bands=(...))")
        unknown = sorted(set(self.tunable) - set(self.train))
        if unknown:
            msg = f"{self.name}: tunable {unknown[0]!r} is not among its train settings"
            raise SpecError(msg, fix="give it a value in train first")

    @property
    def source(self) -> Data:
        """The data with their traits."""
        return self.data if isinstance(self.data, Data) else Data(uri=self.data)

    def to_json(self) -> dict[str, Any]:
        """The spec as the programs read it (spec.json)."""
        return {
            "name": self.name,
            "owner": self.owner,
            "description": self.description,
            "classification": self.classification,
            "data": self.source.to_json(),
            "target": {
                "name": self.target.name, "positive": self.target.positive, "negative": self.target.negative,
                "spellings": dict(self.target.spellings),
            },
            "inputs": [column.to_json(name) for name, column in self.inputs.items()],
            "sensitive": [column.to_json(name) for name, column in self.sensitive.items()],
            "also_inputs": list(self.also_inputs),
            "split": {"test_share": self.split.test_share, "key": list(self.split.key), "seed": self.split.seed},
            "train": dict(self.train),
            "tunable": list(self.tunable),
            "serving": self.serving.to_json(),
        }  # fmt: skip
