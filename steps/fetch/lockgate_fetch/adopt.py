"""Makes a model folder from the files of a version, or refuses and says how to convert them.

Two forms are accepted: a model folder as train writes it (model.json beside an ONNX or skops file), or MLflow's `onnx`
flavour with one input per column. Everything else, above all a pickle, is refused without being read.
"""

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lockgate_model
import numpy as np
import yaml
from lockgate_model import Labels, ModelCard
from lockgate_step import BadCall, Category, Column, Number, Refusal, canonical, synthetic_rows

from lockgate_fetch.registry import CARD, MODEL, TEXT, Registered

TOLERANCE = 1e-5  # of a golden answer's score, as train writes it
GOLDEN = 20
ASKED = 500  # synthetic rows, in several arrangements
_PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill", ".pt", ".pth", ".npy", ".rds")
_CONVERT = (
    "convert it where it was trained, with skl2onnx.to_onnx (zipmap off, one input per column) or to a model folder "
    "of train with skops; then register the result"
)
_WHOLE = "register the whole model folder, as train wrote it"


@dataclass(frozen=True)
class Wanted:
    """The inputs and the labels that the spec declares, and the operators that the policy accepts."""

    inputs: tuple[Column, ...]
    labels: Labels
    accepted: frozenset[str]


def adopt(found: Registered, wanted: Wanted, scratch: Path) -> list[Path]:
    """Make the files of a model folder from the version: the model itself, model.json and golden.json.

    Errors: Refusal for a version that may not or cannot be served under this spec.
    """
    try:
        card = _own(found, wanted, scratch) if "model.json" in found.sizes else _flavour(found, wanted, scratch)
        (scratch / "model.json").write_bytes(canonical(card.to_json()))
        _check_golden(found, card, wanted, scratch)
        _check_rows(card, wanted, scratch)
    except BadCall as error:  # the fault is in the registry, not in this call: the caller cannot correct it
        msg = f"{found} cannot be served: {error.message}"
        raise Refusal(msg, fix=error.fix or _CONVERT) from error
    return [scratch / name for name in (card.file, "model.json", "golden.json")]


def _own(found: Registered, wanted: Wanted, scratch: Path) -> ModelCard:
    """Read a model folder as train writes it, with the ranges and categories of the spec for its inputs."""
    found.download("model.json", scratch)
    card = lockgate_model.read(scratch)
    for name, most in ((card.file, MODEL), ("golden.json", TEXT)):
        if name not in found.sizes:
            msg = f"{found} has no file {name}"
            raise Refusal(msg, fix=_WHOLE)
        found.download(name, scratch, most=most)
    if card.format == "skops" and not _is_skops(scratch / card.file):
        msg = f"{card.file} of {found} is not a skops file, although model.json says so"
        raise Refusal(msg, fix=_CONVERT)
    if card.labels != wanted.labels:
        msg = f"{found} answers {card.labels.positive!r} or {card.labels.negative!r}, not the labels in the spec"
        raise Refusal(msg, fix="register a model of this target, or correct the target in the spec")
    return replace(card, inputs=_matched(found, [(column.name, type(column)) for column in card.inputs], wanted))


def _flavour(found: Registered, wanted: Wanted, scratch: Path) -> ModelCard:
    """Read MLflow's onnx flavour: the graph is the original model, so its own answers become the golden answers."""
    name = _graph_name(found, scratch)
    found.download(name, scratch, most=MODEL).rename(scratch / "model.onnx")
    session = lockgate_model.open_session(scratch / "model.onnx", accepted=wanted.accepted)
    kinds = {"tensor(float)": Number, "tensor(string)": Category}
    takes = [(node.name, kinds.get(node.type, type(None))) for node in session.get_inputs()]
    card = ModelCard(
        format="onnx",
        file="model.onnx",
        inputs=_matched(found, takes, wanted),
        labels=wanted.labels,
        versions={"onnxruntime": version("onnxruntime")},
    )
    (scratch / "model.json").write_bytes(canonical(card.to_json()))
    requests = synthetic_rows({column.name: _values(column) for column in card.inputs}, GOLDEN, support=1)
    _check_label_order(found, session, card, requests)
    answers = [{"label": label, "score": score} for label, score in _answers(card, requests, wanted, scratch)]
    golden = {"tolerance": TOLERANCE, "requests": requests, "answers": answers}
    (scratch / "golden.json").write_bytes(canonical(golden))
    return card


def _graph_name(found: Registered, scratch: Path) -> str:
    """Return the file that MLmodel names as the graph; nothing else in MLmodel is trusted."""
    flavours = _flavours(found, scratch)
    pickles = sorted(name for name in found.sizes if name.endswith(_PICKLES))
    onnx = flavours.get("onnx")
    if onnx is None:
        kept = f"a pickle ({', '.join(pickles)})" if pickles else f"flavour {', '.join(sorted(flavours)) or 'unknown'}"
        why = ", and reading a pickle runs any code that it contains" if pickles else ""
        msg = f"{found} is stored as {kept}{why}"
        raise Refusal(msg, fix=_CONVERT)
    name = onnx.get("data") if isinstance(onnx, dict) else None
    if not isinstance(name, str) or name not in found.sizes or name.endswith(_PICKLES):
        msg = f"MLmodel of {found} does not name one of its files as the graph"
        raise Refusal(msg, fix=_CONVERT)
    return name


def _flavours(found: Registered, scratch: Path) -> Mapping[str, Any]:
    if "MLmodel" not in found.sizes:
        return {}
    text = found.download("MLmodel", scratch, most=CARD).read_bytes()
    try:
        flavours = yaml.safe_load(text)["flavors"]
        return {str(name): flavour for name, flavour in flavours.items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        msg = f"MLmodel of {found} cannot be read ({type(error).__name__})"
        raise Refusal(msg, fix=_CONVERT) from error


def _matched(found: Registered, takes: Sequence[tuple[str, type]], wanted: Wanted) -> tuple[Column, ...]:
    """Return the spec's columns in the order of the model's inputs."""
    columns = {column.name: column for column in wanted.inputs}
    needed = {column.name: type(column) for column in wanted.inputs}
    if dict(takes) != needed or len(takes) != len(needed):
        odd = sorted({name for name, _ in takes} ^ needed.keys()) or sorted(
            name for name, kind in takes if needed[name] is not kind
        )
        msg = f"{found} does not take the inputs of the spec: they differ in {', '.join(odd)}"
        raise Refusal(msg, fix="use one input per column: float32 [N,1] for a number, string [N,1] for a category")
    return tuple(columns[name] for name, _ in takes)


def _check_label_order(found: Registered, session: Any, card: ModelCard, requests: Sequence[Mapping[str, Any]]) -> None:
    """Check that the second probability is the positive label's, by the labels that the graph gives itself."""
    outputs = {node.name for node in session.get_outputs()}
    if not {"label", "probabilities"} <= outputs:
        msg = f"the graph of {found} has the outputs {', '.join(sorted(outputs))}, not label and probabilities"
        raise Refusal(msg, fix=_CONVERT)
    labels, probabilities = session.run(["label", "probabilities"], _feed(card, requests))
    names: dict[object, str] = {0: card.labels.negative, 1: card.labels.positive}
    for label, (negative, positive) in zip(labels.ravel().tolist(), probabilities.tolist(), strict=True):
        if abs(positive - negative) > TOLERANCE and names.get(label, label) != names[int(positive > negative)]:
            msg = f"the labels of {found} are not the spec's, or its second probability is not the positive label's"
            raise Refusal(msg, fix="fit it on 0 for the negative and 1 for the positive label, then convert it again")


def _feed(card: ModelCard, requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    feed: dict[str, Any] = {}
    for column, values in _columns(card, requests).items():
        number = isinstance(next(c for c in card.inputs if c.name == column), Number)
        filled = [(np.nan if number else "") if value is None else value for value in values]
        feed[column] = np.array(filled, dtype=np.float32 if number else object).reshape(-1, 1)
    return feed


def _check_golden(found: Registered, card: ModelCard, wanted: Wanted, scratch: Path) -> None:
    """Check that a graph gives its own golden answers; smoke-test checks a skops file once it is served."""
    try:
        golden = json.loads((scratch / "golden.json").read_bytes())
        requests, tolerance = golden["requests"], float(golden["tolerance"])
        given = [(str(answer["label"]), float(answer["score"])) for answer in golden["answers"]]
        names = {column.name for column in card.inputs}
        if len(requests) != len(given) or not given or any(row.keys() != names for row in requests):
            raise ValueError(names)
        own = _answers(card, requests, wanted, scratch) if card.format == "onnx" else given
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"golden.json of {found} does not fit the model ({type(error).__name__})"
        raise Refusal(msg, fix=_WHOLE) from error
    same = all(a == b and abs(x - y) <= tolerance for (a, x), (b, y) in zip(own, given, strict=True))
    if not same or not tolerance <= TOLERANCE:  # written so that a NaN fails
        msg = f"{found} does not give its own golden answers"
        raise Refusal(msg, fix=_WHOLE)


def _check_rows(card: ModelCard, wanted: Wanted, scratch: Path) -> None:
    """Check that a graph answers each row by itself; predict asks again, with the rows of the test set."""
    if card.format == "onnx":
        rows = synthetic_rows({column.name: _values(column) for column in card.inputs}, ASKED, support=1)
        lockgate_model.ask(lockgate_model.load(scratch, accepted=wanted.accepted), _columns(card, rows))


def _answers(
    card: ModelCard, requests: Sequence[Mapping[str, Any]], wanted: Wanted, scratch: Path
) -> list[tuple[str, float]]:
    labels, scores = lockgate_model.load(scratch, accepted=wanted.accepted).predict(_columns(card, requests))
    return list(zip(labels, scores, strict=True))


def _columns(card: ModelCard, requests: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {column.name: [row[column.name] for row in requests] for column in card.inputs}


def _values(column: Column) -> list[float | str | None]:
    """Return values that a caller could send, spread over the range or categories in the spec."""
    missing: list[float | str | None] = [None] if column.missing else []
    match column:
        case Number():
            points = np.linspace(column.low, column.high, 11)
            return [float(np.float32(round(point) if column.whole else point)) for point in points] + missing
        case Category():
            return [*column.values, *missing]


def _is_skops(path: Path) -> bool:
    """Return whether it is an archive with a schema; the model server checks which types the schema names."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "schema.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def place(files: Sequence[Path], folder: Path) -> None:
    """Copy the files of a model folder into the output folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, folder / path.name)
