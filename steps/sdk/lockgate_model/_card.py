"""`model.json`: the inputs, labels, threshold and format of a model."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from lockgate_step import BadCall, Column, SpecError, loads, read_columns

Format = Literal["onnx", "skops"]


class BadModel(BadCall):
    """A model folder that cannot be used, or must not be."""


class UnsafeModel(BadModel):
    """A model whose answers may depend on more than the row, or that may do more than answer."""

    exit_code = 3


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The two labels; a score is the probability of the positive one."""

    negative: str
    positive: str


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How the served form differs from the native model on `rows` rows."""

    rows: int = 0
    labels: int = 0
    largest_score: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A checked model.json."""

    format: Format
    file: str
    inputs: tuple[Column, ...]
    labels: Labels
    threshold: float = 0.5
    trusted: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    differences: Differences = Differences()
    trained_with: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [column.name for column in self.inputs]
        _require(bool(names), "it has no inputs")
        _require(len(set(names)) == len(names), "two of its inputs have the same name")
        _require(self.labels.negative != self.labels.positive, "its two labels are the same")
        _require(0 < self.threshold < 1, f"its threshold {self.threshold} is not between 0 and 1")
        plain = PurePosixPath(self.file).name == self.file and self.file not in ("", ".", "..")
        _require(plain, f"{self.file!r} is not a plain file name")

    def to_json(self) -> dict[str, object]:
        """Return the content of model.json."""
        return {
            "format": self.format,
            "file": self.file,
            "inputs": [input_entry(column) for column in self.inputs],
            "labels": vars(self.labels),
            "threshold": self.threshold,
            "trusted": list(self.trusted),
            "versions": dict(self.versions),
            "differences": vars(self.differences),
            **({"trained_with": dict(self.trained_with)} if self.trained_with else {}),
        }


def read(folder: str | os.PathLike[str]) -> ModelCard:
    """Read and check the model.json of a model folder; the model itself is not opened."""
    path = Path(folder) / "model.json"
    try:
        value = loads(path.read_bytes())
    except FileNotFoundError as error:
        msg = "the model folder has no model.json"
        raise BadModel(msg, fix="give the folder that train or fetch wrote") from error
    except (ValueError, OSError) as error:
        msg = "model.json cannot be read as JSON"
        raise BadModel(msg, fix="write the model again with train or fetch") from error
    try:
        return _card(value)
    except SpecError as error:
        msg = f"model.json cannot be used: {error.message}"
        raise BadModel(msg, fix="write the model again with train or fetch") from error
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        msg = f"model.json does not describe a model ({type(error).__name__})"
        raise BadModel(msg, fix="write the model again with train or fetch") from error


def input_entry(column: Column) -> dict[str, object]:
    """Return an input's entry in model.json and in a server's description: as in spec.json, without the bands."""
    return {key: value for key, value in column.to_json().items() if key != "bands"}


def _card(value: Mapping[str, Any]) -> ModelCard:
    form: object = value["format"]
    _require(form in ("onnx", "skops"), "its format is neither onnx nor skops")
    labels, differences = value["labels"], value.get("differences", {})
    return ModelCard(
        format="onnx" if form == "onnx" else "skops",
        file=str(value["file"]),
        inputs=read_columns(value["inputs"]),
        labels=Labels(negative=str(labels["negative"]), positive=str(labels["positive"])),
        threshold=float(value.get("threshold", 0.5)),
        trusted=tuple(map(str, value.get("trusted", ()))),
        versions={str(name): str(version) for name, version in value.get("versions", {}).items()},
        differences=Differences(
            rows=int(differences.get("rows", 0)),
            labels=int(differences.get("labels", 0)),
            largest_score=float(differences.get("largest_score", 0.0)),
        ),
        trained_with=dict(value.get("trained_with", {})),
    )


def _require(holds: bool, problem: str) -> None:
    if not holds:
        msg = f"model.json cannot be used: {problem}"
        raise BadModel(msg, fix="write the model again with train or fetch")
