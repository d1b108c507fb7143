"""The spec of a model, which its author writes. It is checked when it is created.

Its parts are defined in the SDK, because programs read them.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockgate_step import (
    ABTest,
    AllAtOnce,
    Canary,
    Category,
    Column,
    Data,
    Limits,
    Number,
    Scalar,
    Serving,
    Shadow,
    SpecFile,
    Split,
    Target,
    named,
    without_bands,
)

from lockgate.errors import SpecError

if TYPE_CHECKING:
    from lockgate.definition.candidate import Candidate

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

__all__ = [
    "NOBODY",
    "ABTest",
    "AllAtOnce",
    "Canary",
    "Category",
    "Data",
    "Limits",
    "ModelSpec",
    "Number",
    "Schedule",
    "Serving",
    "Shadow",
    "Split",
    "Target",
    "category",
    "label",
    "number",
]


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


def label(name: str, *, positive: str, negative: str, spellings: Mapping[str, str] | None = None) -> Target:
    """The column to predict, and its two labels."""
    return Target(name=name, positive=positive, negative=negative, spellings=dict(spellings or {}))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a model is retrained: a cron expression and its timezone."""

    cron: str = "0 3 * * 1"
    timezone: str = "UTC"


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
        for column, traits in [*self.inputs.items(), *self.sensitive.items()]:
            if isinstance(traits, Number) and not (math.isfinite(traits.low) and math.isfinite(traits.high)):
                msg = f"{self.name}: number {column!r} is not bounded on both sides"
                raise SpecError(msg, fix="write number(low, high) with the smallest and the largest value")
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

    def to_json(self, gates: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The spec as the programs read it (spec.json); gates: its additional gates, with their code's digests."""
        return SpecFile(
            name=self.name,
            owner=self.owner,
            description=self.description,
            classification=self.classification,
            data=self.source,
            target=self.target,
            inputs=without_bands(named(self.inputs)),
            sensitive=named(self.sensitive),
            also_inputs=self.also_inputs,
            split=self.split,
            train=self.train,
            tunable=self.tunable,
            serving=self.serving,
            gates=gates or {},
        ).to_json()
