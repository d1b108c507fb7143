"""spec.json: what a model is, as its author wrote it and as every program reads it."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lockgate_step._columns import Category, Column, read_columns, without_bands
from lockgate_step._errors import BadCall, SpecError

_CPU = re.compile(r"[1-9]\d*m?")
_MEMORY = re.compile(r"[1-9]\d*[MG]i?")
Scalar = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted: one of two labels. `spellings` maps other spellings in the data to the two.

    Errors: SpecError when the labels are the same, or a spelling maps to neither.
    """

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

    @property
    def column(self) -> Category:
        """The target as a column of its two labels."""
        return Category(name=self.name, values=(self.negative, self.positive))


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the data are and how they are written.

    uri: `s3://bucket/key`, `file:///path`, or a path relative to the model's folder.
    test: the official test file, where there is one; otherwise the split is keyed and seeded.
    columns: the names, where the file has no header.
    Errors: SpecError when the delimiter is none.
    """

    uri: str
    test: str | None = None
    format: Literal["csv", "parquet"] = "csv"
    columns: tuple[str, ...] | None = None
    delimiter: str = ","
    missing: tuple[str, ...] = ("",)
    comment: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            msg = f"the model spec names the delimiter {self.delimiter!r}"
            raise SpecError(msg, fix="a delimiter is one character, e.g. , ; or a tab")

    @property
    def in_reach_of_pods(self) -> bool:
        """Whether a cluster's pods can read them: a file of one machine they cannot."""
        return self.uri.startswith("s3://")


@dataclass(frozen=True, kw_only=True)
class Split:
    """How rows are divided where there is no official test file.

    test_share: between 0 and 1. key: the columns that name a row's subject, so that all its rows fall on one side.
    Errors: SpecError when the share is not between 0 and 1.
    """

    test_share: float = 0.25
    key: tuple[str, ...] = ()
    seed: str = "lockgate"

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            msg = f"test_share {self.test_share} is not between 0 and 1"
            raise SpecError(msg, fix="0.25 keeps a quarter of the rows for the gates")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is served on Kubernetes; the names are Kubernetes' own. A laptop serves one process whatever it says.

    replicas: how many pods answer at least; with two or more none is missed while a node is emptied.
    max_replicas: how many a HorizontalPodAutoscaler may start under load; the same as `replicas` for none.
    cpu: what a pod is promised, as a quantity ("500m", "2"); it may take more where the node has it to spare.
    memory: what a pod is promised and held to, as a quantity ("512Mi", "4Gi").
    Errors: SpecError when a number or a quantity is none that Kubernetes takes.
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


@dataclass(frozen=True, kw_only=True)
class SpecFile:
    """What spec.json says.

    inputs: what a caller sends, in the order the author wrote it; without bands, which group people for an audit.
    sensitive: the columns that people are compared by.
    also_inputs: the sensitive columns that are inputs on purpose.
    train: the settings of train. tunable: those of them that a run may vary.
    serving: None in a spec that was written before there was serving.
    Errors: SpecError when a column is a number in one place and a category in another.
    """

    name: str
    classification: str
    data: Data
    target: Target
    inputs: tuple[Column, ...]
    sensitive: tuple[Column, ...]
    split: Split
    owner: str = ""
    description: str = ""
    also_inputs: tuple[str, ...] = ()
    train: Mapping[str, Scalar] = field(default_factory=dict)
    tunable: tuple[str, ...] = ()
    serving: Serving | None = None

    def __post_init__(self) -> None:
        kinds = {column.name: type(column) for column in self.inputs}
        for column in self.sensitive:
            if kinds.get(column.name, type(column)) is not type(column):
                msg = f"the model spec calls {column.name} a number in one place and a category in another"
                raise SpecError(msg, fix="give it one kind in inputs and sensitive")

    def to_json(self) -> dict[str, Any]:
        """The content of spec.json."""
        return {
            "name": self.name,
            "owner": self.owner,
            "description": self.description,
            "classification": self.classification,
            "data": _written(self.data),
            "target": _written(self.target),
            "inputs": [column.to_json() for column in self.inputs],
            "sensitive": [column.to_json() for column in self.sensitive],
            "also_inputs": list(self.also_inputs),
            "split": _written(self.split),
            "train": dict(self.train),
            "tunable": list(self.tunable),
            **({"serving": _written(self.serving)} if self.serving else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SpecFile":
        """The content of spec.json, checked.

        Errors: SpecError; KeyError, TypeError, ValueError or AttributeError when it does not have the form.
        """
        data, target, split, serving = value["data"], value["target"], value["split"], value.get("serving")
        return cls(
            name=str(value["name"]),
            owner=str(value.get("owner", "")),
            description=str(value.get("description", "")),
            classification=str(value["classification"]),
            data=Data(
                uri=str(data["uri"]),
                test=data.get("test"),
                format=data.get("format", "csv"),
                columns=None if data.get("columns") is None else tuple(data["columns"]),
                delimiter=data.get("delimiter", ","),
                missing=tuple(data.get("missing", [""])),
                comment=data.get("comment") or None,
                encoding=data.get("encoding", "utf-8"),
            ),
            target=Target(
                name=target["name"],
                positive=target["positive"],
                negative=target["negative"],
                spellings=dict(target.get("spellings", {})),
            ),
            inputs=without_bands(read_columns(value["inputs"])),
            sensitive=read_columns(value["sensitive"]),
            also_inputs=tuple(value.get("also_inputs", ())),
            split=Split(test_share=float(split["test_share"]), key=tuple(split["key"]), seed=str(split["seed"])),
            train=dict(value.get("train", {})),
            tunable=tuple(value.get("tunable", ())),
            serving=None if serving is None else Serving(**serving),
        )


def read_spec(path: str | os.PathLike[str]) -> SpecFile:
    """Read and check a spec.json.

    Errors: BadCall when it cannot be read or does not hold together.
    """
    try:
        return SpecFile.from_json(json.loads(Path(path).read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"the model spec cannot be read: {type(error).__name__} at {error.args[0] if error.args else 'its start'}"
        raise BadCall(msg, fix="give the spec.json that `lockgate render` wrote") from error


def _written(part: Target | Data | Split | Serving) -> dict[str, Any]:
    """The fields of a part as JSON values."""
    return {name: _plain(value) for name, value in vars(part).items()}


def _plain(value: object) -> object:
    match value:
        case tuple():
            return list(value)
        case Mapping():
            return dict(value)
    return value
