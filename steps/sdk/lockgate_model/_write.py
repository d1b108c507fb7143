"""Writes a model folder: the served form, its description, and golden answers of the native model."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lockgate_step import BadCall, Category, Column, Number, canonical, log, synthetic_rows

from lockgate_model._card import BadModel, Differences, Format, Labels, ModelCard
from lockgate_model._predict import decide, load

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Form = Literal["auto", "onnx", "skops"]

TOLERANCE = 1e-5  # of a golden answer's score; the float32 error of some hundred trees is ten times smaller
_GOLDEN = 20
_SYNTHETIC = 1000
_FILES: Mapping[Format, str] = {"onnx": "model.onnx", "skops": "model.skops"}
_VERSIONS: Mapping[Format, tuple[str, ...]] = {
    "onnx": ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime"),
    "skops": ("numpy", "scipy", "scikit-learn", "skops", "pandas"),
}


def write(
    folder: str | os.PathLike[str],
    pipeline: Any,
    *,
    inputs: Sequence[Column],
    labels: Labels,
    rows: "pd.DataFrame",
    threshold: float = 0.5,
    form: Form = "auto",
    seed: int = 0,
    trained_with: Mapping[str, object] = {},
) -> ModelCard:
    """Write a fitted pipeline of classes 0 and 1 in the form that will be served, and record how that form differs.

    rows: the inputs that the pipeline was fitted on, numbers rounded to float32; golden requests are drawn column by
        column, never a row.
    form: `auto` is ONNX if the converted model gives the answers of the native model, else skops.
    trained_with: the settings of the fit, for the model card.
    Errors: BadCall if the model cannot be written in any form.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    synthetic = _synthetic(rows, inputs, seed)
    problems: list[BadModel] = []
    for candidate in _formats(form):
        card = ModelCard(
            format=candidate,
            file=_FILES[candidate],
            inputs=tuple(inputs),
            labels=labels,
            threshold=threshold,
            trusted=_trusted(pipeline, candidate),
            versions={name: version(name) for name in _VERSIONS[candidate]},
            trained_with=trained_with,
        )
        try:
            return _write_as(target, pipeline, card, rows, synthetic, exact=form == "auto")
        except BadModel as problem:
            (target / card.file).unlink(missing_ok=True)
            problems.append(problem)
            log("form refused", form=candidate, reason=problem.message)
    msg = f"{type(pipeline[-1]).__name__} cannot be served; " + "; ".join(
        f"as {candidate}: {problem.message}" for candidate, problem in zip(_formats(form), problems, strict=True)
    )
    other = "choose another estimator, such as sklearn.ensemble.HistGradientBoostingClassifier"
    raise BadCall(msg, fix=next((problem.fix for problem in problems if problem.fix), other))


def _formats(form: Form) -> tuple[Format, ...]:
    return ("onnx", "skops") if form == "auto" else (form,)


def _trusted(pipeline: Any, form: Format) -> tuple[str, ...]:
    if form == "onnx":
        return ()
    from lockgate_model._skops import family_of

    return family_of(pipeline) or ()


def _write_as(
    target: Path, pipeline: Any, card: ModelCard, rows: "pd.DataFrame", synthetic: list[dict[str, Any]], *, exact: bool
) -> ModelCard:
    import pandas as pd

    from lockgate_model._frame import frame

    _save(target / card.file, pipeline, card)
    _save_json(target / "model.json", card.to_json())
    drawn = frame({column.name: [row[column.name] for row in synthetic] for column in card.inputs}, card.inputs)
    both = pd.concat([drawn, rows[[column.name for column in card.inputs]]], ignore_index=True)
    native = _native_scores(pipeline, both)
    served = load(target).scores({column.name: both[column.name].tolist() for column in card.inputs})
    if exact:
        _agree(native, served)
    golden = _golden(synthetic, native[: len(synthetic)], served[: len(synthetic)], card)
    differing = sum(
        a != b for a, b in zip(*(decide(s, card.labels, card.threshold) for s in (native, served)), strict=True)
    )
    differences = Differences(
        rows=len(both), labels=differing, largest_score=float(f"{abs(native - served).max():.1e}")
    )
    final = ModelCard(**{**vars(card), "differences": differences})
    _save_json(target / "golden.json", golden)
    _save_json(target / "model.json", final.to_json())
    log("model written", form=card.format, differences=vars(differences))
    return final


def _save(path: Path, pipeline: Any, card: ModelCard) -> None:
    match card.format:
        case "onnx":
            path.write_bytes(_converted(pipeline, card))
        case "skops":
            from lockgate_model._skops import dump_pipeline

            if not card.trusted:
                msg = "the file of this estimator cannot be checked"
                raise BadModel(msg)
            dump_pipeline(pipeline, path)


def _converted(pipeline: Any, card: ModelCard) -> bytes:
    from lockgate_model._onnx import convert

    try:
        return convert(pipeline, card.inputs)
    except Exception as error:  # skl2onnx's errors have no common base class
        msg = f"skl2onnx cannot convert it ({type(error).__name__})"
        raise BadModel(msg) from error


def _native_scores(pipeline: Any, table: "pd.DataFrame") -> "NDArray[np.float64]":
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        scores: NDArray[np.float64] = pipeline.predict_proba(table)[:, 1]
    return scores


def _golden(
    requests: Sequence[Mapping[str, Any]], native: "NDArray[np.float64]", served: "NDArray[np.float64]", card: ModelCard
) -> dict[str, object]:
    """Return the first requests with a label that rounding cannot change, with the native answers.

    Errors: BadModel if the served form gives another answer to one of them.
    """
    clear = [i for i, score in enumerate(native) if abs(score - card.threshold) > 10 * TOLERANCE][:_GOLDEN]
    _agree(native[clear], served[clear])
    names = decide(native, card.labels, card.threshold)
    return {
        "tolerance": TOLERANCE,
        "requests": [requests[i] for i in clear],
        "answers": [{"label": names[i], "score": float(native[i])} for i in clear],
    }


def _agree(native: "NDArray[np.float64]", served: "NDArray[np.float64]") -> None:
    worst = abs(native - served).max(initial=0.0)
    if worst > TOLERANCE:
        msg = f"its scores differ from the native model's by up to {worst:.1g}, more than {TOLERANCE}"
        raise BadModel(msg, fix="fit the model on numbers rounded to float32, as it will be served")


def _synthetic(rows: "pd.DataFrame", inputs: Sequence[Column], seed: int) -> list[dict[str, Any]]:
    try:
        drawn = synthetic_rows(
            {column.name: list(_known(column, rows[column.name])) for column in inputs}, _SYNTHETIC, seed=seed
        )
    except ValueError as error:
        msg = f"too few training rows to draw synthetic golden requests: {error}"
        raise BadCall(msg, fix="train on more rows, or merge rare values of that column") from error
    whole = {column.name for column in inputs if isinstance(column, Number) and column.whole}
    return [
        {
            name: float(round(value)) if name in whole and isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in drawn
    ]


def _known(column: Column, values: "pd.Series") -> Iterator[float | str | None]:
    """Yield the values that a caller could send, as the server takes them: None if missing."""
    import numpy as np

    match column:
        case Number():
            for value in values.tolist():
                if value != value:
                    yield None
                elif column.low <= value <= column.high:
                    yield float(str(np.float32(value)))  # the shortest decimal number with the same float32 value
        case Category():
            for value in values.tolist():
                if value in column.values:
                    yield str(value)
                elif not value:
                    yield None


def _save_json(path: Path, value: object) -> None:
    path.write_bytes(canonical(json.loads(json.dumps(value))))
