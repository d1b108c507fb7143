"""The spec of a model, which its author writes. It is checked when it is created."""

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
    """The column to predict and its two labels. `spellings` maps other spellings in the data to these labels."""

    name: str
    positive: str
    negative: str
    spellings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.positive == self.negative:
            msg = f"target {self.name!r}: both labels are {self.positive!r}"
            raise SpecError(msg, fix="name the two labels as they are spelled in the data")
        for spelling, label in self.spellings.items():
            if label not in (self.positive, self.negative):
                msg = f"target {self.name!r}: spelling {spelling!r} is mapped to {label!r}, which is not a label"
                raise SpecError(msg, fix=f"map it to {self.positive!r} or {self.negative!r}")


def label(name: str, *, positive: str, negative: str, spellings: Mapping[str, str] | None = None) -> Target:
    """The column to predict, and its two labels."""
    return Target(name=name, positive=positive, negative=negative, spellings=dict(spellings or {}))


@dataclass(frozen=True, kw_only=True)
class Data:
    """The location and format of the data.

    uri: `s3://bucket/key`, `file:///path`, or a path relative to the model's folder.
    test: the official test file, if there is one; otherwise `Split` applies.
    columns: the column names, if the file has no header.
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
        """Whether pods of a cluster can read the data; they cannot read a local file."""
        return self.uri.startswith("s3://")

    def to_json(self) -> dict[str, Any]:
        """The data as in spec.json."""
        return {
            "uri": self.uri, "test": self.test, "format": self.format,
            "columns": list(self.columns) if self.columns is not None else None, "delimiter": self.delimiter,
            "missing": list(self.missing), "comment": self.comment, "encoding": self.encoding,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Split:
    """How rows are split if there is no official test file.

    test_share: between 0 and 1. key: the columns that identify a row's subject; its rows stay on the same side.
    """

    test_share: float = 0.25
    key: tuple[str, ...] = ()
    seed: str = "lockgate"

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            msg = f"test_share {self.test_share} is not between 0 and 1"
            raise SpecError(msg, fix="use e.g. 0.25, which keeps a quarter of the rows for the gates")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a model is retrained: a cron expression and its timezone."""

    cron: str = "0 3 * * 1"
    timezone: str = "UTC"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is served on Kubernetes, in Kubernetes' own terms. The local platform always serves one process.

    replicas: the minimum number of pods; with two or more, no request is lost while a node is drained.
    max_replicas: the maximum for the HorizontalPodAutoscaler; the same as `replicas` for no autoscaling.
    cpu: CPU request of a pod, as a quantity ("500m", "2"); a pod may use more if the node has spare CPU.
    memory: memory request and limit of a pod, as a quantity ("512Mi", "4Gi").
    """

    replicas: int = 2
    max_replicas: int = 4
    cpu: str = "500m"
    memory: str = "1Gi"

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= self.max_replicas:
            msg = f"serving: replicas={self.replicas} and max_replicas={self.max_replicas} are invalid"
            raise SpecError(msg, fix="use at least 1 replica and at least as many max_replicas, e.g. 2 and 4")
        for what, given, form, example in (
            ("cpu", self.cpu, _CPU, '"500m" or "2"'),
            ("memory", self.memory, _MEMORY, '"512Mi" or "4Gi"'),
        ):
            if not form.fullmatch(given):
                msg = f"serving: {what} {given!r} is not a quantity"
                raise SpecError(msg, fix=f"write it as in Kubernetes: {example}")

    def to_json(self) -> dict[str, Any]:
        """The settings as in spec.json."""
        return {
            "replicas": self.replicas, "max_replicas": self.max_replicas, "cpu": self.cpu, "memory": self.memory,
        }  # fmt: skip


NOBODY = "owner@example.org"  # the placeholder until somebody writes the owner's address


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model to serve: its data, inputs, sensitive columns, training and serving.

    name: lower case with hyphens, at most 30 characters; also the name that it is served under.
    owner: the address of the person or team responsible for the model.
    inputs: the columns that a caller sends, with their types, ranges and categories.
    sensitive: the columns to audit by; not inputs unless listed in `also_inputs`. Each needs a rule in policy.toml, or
        a reason there for none.
    train: the settings of the train program.
    tunable: the settings of `train` that a run may vary.
    serving: how many pods serve the model on Kubernetes, and their resources.
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
            msg = f"{self.name!r} is not a model name: use lower case letters, digits and single hyphens, at most 30"
            raise SpecError(msg, fix="use a name like adult-income; workflow names and addresses contain it")
        if not self.inputs:
            msg = f"{self.name} has no inputs"
            raise SpecError(msg, fix="list the columns that a caller sends: inputs={'age': number(0, 120)}")
        if self.target.name in self.inputs or self.target.name in self.sensitive:
            msg = f"the target {self.target.name!r} of {self.name} is also an input or a sensitive column"
            raise SpecError(msg, fix="remove it from inputs and sensitive")
        both = sorted(set(self.inputs) & set(self.sensitive) - set(self.also_inputs))
        if both:
            msg = f"{self.name}: sensitive column {both[0]!r} is also an input"
            raise SpecError(msg, fix=f"remove it from inputs, or allow it: also_inputs=({both[0]!r},)")
        for column, traits in self.sensitive.items():
            if isinstance(traits, Number) and not traits.bands:
                msg = f"{self.name}: sensitive number {column!r} has no bands to group it by"
                raise SpecError(msg, fix=f"write number({traits.low}, {traits.high}, bands=(...))")
        unknown = sorted(set(self.tunable) - set(self.train))
        if unknown:
            msg = f"{self.name}: tunable {unknown[0]!r} is not one of its train settings"
            raise SpecError(msg, fix="give it a value in train first")

    @property
    def source(self) -> Data:
        """The location and format of the data."""
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
