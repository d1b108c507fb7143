"""The content of spec.json: what the author of a model wrote, as every program reads it."""

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lockgate_step._address import without_credentials
from lockgate_step._columns import Category, Column, read_columns, without_bands
from lockgate_step._digest import is_digest, loads
from lockgate_step._errors import BadCall, SpecError
from lockgate_step._reading import Limits
from lockgate_step._rollout import AllAtOnce, Rollout, read_rollout

_CPU = re.compile(r"[1-9]\d*m?")
_MEMORY = re.compile(r"[1-9]\d*[MG]i?")
_GATE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
Scalar = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Target:
    """The column to predict and its two labels. `spellings` maps other spellings in the data to these labels.

    Errors: SpecError when the labels are the same, or a spelling is mapped to something else.
    """

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

    @property
    def column(self) -> Category:
        """The target as a column of its two labels."""
        return Category(name=self.name, values=(self.negative, self.positive))


@dataclass(frozen=True, kw_only=True)
class Data:
    """The location and format of the data.

    uri: `s3://bucket/key`, `file:///path`, or a path relative to the model's folder.
    test: the official test file, if there is one; otherwise `Split` applies. It must not be the data file.
    columns: the column names, if the file has no header.
    unlabelled: `exclude` leaves out the rows without a label; the data record counts them by group, and the data gate
        refuses data in which their share differs between groups. By default such rows are refused.
    limits: the largest file that is read.
    Errors: SpecError when the delimiter or `unlabelled` is invalid or `test` is the data file, BadCall when an address
        contains credentials.
    """

    uri: str
    test: str | None = None
    format: Literal["csv", "parquet"] = "csv"
    columns: tuple[str, ...] | None = None
    delimiter: str = ","
    missing: tuple[str, ...] = ("",)
    comment: str | None = None
    encoding: str = "utf-8"
    unlabelled: Literal["refuse", "exclude"] = "refuse"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            msg = f"the model spec has the invalid delimiter {self.delimiter!r}"
            raise SpecError(msg, fix="use one character, e.g. , ; or a tab")
        for address in filter(None, (self.uri, self.test)):
            without_credentials(address, "the data address")
        if self.test and posixpath.normpath(self.test) == posixpath.normpath(self.uri):
            msg = f"the model spec names {self.uri!r} as the data and as the test file"
            raise SpecError(
                msg, fix="name a file of other rows as test, or leave test out: ingest then splits the data"
            )
        if self.unlabelled not in ("refuse", "exclude"):
            msg = f"the model spec has the invalid unlabelled={self.unlabelled!r}"
            raise SpecError(msg, fix="use refuse or exclude")

    @property
    def in_reach_of_pods(self) -> bool:
        """Whether pods of a cluster can read the data; they cannot read a local file."""
        return self.uri.startswith("s3://")


@dataclass(frozen=True, kw_only=True)
class Split:
    """How rows are split if there is no official test file.

    test_share: between 0 and 1. key: the columns that identify a row's subject; its rows stay on the same side.
    Errors: SpecError when the share is not between 0 and 1.
    """

    test_share: float = 0.25
    key: tuple[str, ...] = ()
    seed: str = "lockgate"

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            msg = f"test_share {self.test_share} is not between 0 and 1"
            raise SpecError(msg, fix="use e.g. 0.25, which keeps a quarter of the rows for the gates")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is served on Kubernetes, in Kubernetes' own terms. The local platform always serves one process.

    replicas: the minimum number of pods; with two or more, no request is lost while a node is drained.
    max_replicas: the maximum for the HorizontalPodAutoscaler; the same as `replicas` for no autoscaling.
    cpu: CPU request of a pod, as a quantity ("500m", "2"); a pod may use more if the node has spare CPU.
    memory: memory request and limit of a pod, as a quantity ("512Mi", "4Gi").
    rollout: how users come to a new version, on every platform.
    Errors: SpecError when a number of replicas or a quantity is invalid.
    """

    replicas: int = 2
    max_replicas: int = 4
    cpu: str = "500m"
    memory: str = "1Gi"
    rollout: Rollout = field(default_factory=AllAtOnce)

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
        """Return the entry of spec.json; a rollout all at once is left out."""
        said = {name: value for name, value in vars(self).items() if name != "rollout"}
        return said if isinstance(self.rollout, AllAtOnce) else said | {"rollout": self.rollout.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Serving":
        """Read the entry of spec.json. Errors: as for `SpecFile.from_json`."""
        given = dict(value)
        rollout = read_rollout(given.pop("rollout", AllAtOnce().to_json()))
        return cls(**given, rollout=rollout)


@dataclass(frozen=True, kw_only=True)
class SpecFile:
    """A model spec, as in spec.json.

    inputs: the columns that a caller sends, in the author's order; without bands, which only group people for an audit.
    sensitive: the columns to audit by.
    also_inputs: the sensitive columns that are also inputs.
    train: the settings of the train program. tunable: the settings of `train` that a run may vary.
    serving: None in a spec that was written before this setting existed.
    gates: the additional gates, each with the digest of its code: a bundle needs the verdict of each of them too.
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
    gates: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = {column.name: type(column) for column in self.inputs}
        for column in self.sensitive:
            if kinds.get(column.name, type(column)) is not type(column):
                msg = f"the model spec declares {column.name} as a number in one place and a category in another"
                raise SpecError(msg, fix="declare the same kind in inputs and sensitive")

    def to_json(self) -> dict[str, Any]:
        """Return the content of spec.json."""
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
            **({"serving": self.serving.to_json()} if self.serving else {}),
            **({"gates": dict(self.gates)} if self.gates else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SpecFile":
        """Read and check the content of spec.json.

        Errors: SpecError; KeyError, TypeError, ValueError or AttributeError when it does not have this form.
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
                unlabelled=data.get("unlabelled", "refuse"),
                limits=Limits(**data.get("limits", {})),
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
            serving=None if serving is None else Serving.from_json(serving),
            gates=additional_gates(value),
        )


def additional_gates(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the additional gates in the content of a spec.json: name -> the digest of its code.

    Errors: SpecError when they are not names with digests.
    """
    gates = value.get("gates", {})
    if not isinstance(gates, dict) or not all(_GATE.fullmatch(name) and is_digest(gates[name]) for name in gates):
        msg = "the gates of the model spec are not names with the digests of their code"
        raise SpecError(msg, fix="use the spec.json that `lockgate render` wrote")
    return gates


def read_spec(path: str | os.PathLike[str]) -> SpecFile:
    """Read and check a spec.json.

    Errors: BadCall when it cannot be read or is not a valid spec.
    """
    try:
        return SpecFile.from_json(loads(Path(path).read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"the model spec cannot be read: {type(error).__name__} at {error.args[0] if error.args else 'its start'}"
        raise BadCall(msg, fix="use the spec.json that `lockgate render` wrote") from error


def _written(part: Target | Data | Limits | Split) -> dict[str, Any]:
    """Return the fields of a part as JSON values."""
    return {name: _plain(value) for name, value in vars(part).items()}


def _plain(value: object) -> object:
    match value:
        case tuple():
            return list(value)
        case Mapping():
            return dict(value)
        case Limits():
            return _written(value)
    return value
