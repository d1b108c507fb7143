"""Judge a model's answers by the policy's quality rules: fixed limits, and no worse than live."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from lockgate_evidence import Evidence
from lockgate_policy import AtLeast, AtMost, Interval, NoWorseThanLive, QualityRule, asked
from lockgate_step import BadCall, Inconclusive, Passed, Reason, Refusal, Refused, Target
from numpy.typing import NDArray

from lockgate_validate.measures import MEASURES, Counts, Floats, Given, Measured, TooFew, confusion, gain, measure

Standing = Literal["within", "beyond", "undecided", "too few", "no live"]


@dataclass(frozen=True)
class Judged:
    """One rule, its measurement, and its result."""

    rule: QualityRule
    measured: Measured | None
    standing: Standing


@dataclass(frozen=True)
class Quality:
    """All measurements, and every judged rule. Without base answers, `base` and `gains` are empty."""

    rows: int
    judged: tuple[Judged, ...]
    candidate: Mapping[str, Measured]
    base: Mapping[str, Measured]
    gains: Mapping[str, Measured]
    confusion: Counts


def judge(evidence: Evidence, answers: Path, truth: Path, *, seed: int) -> Quality:
    """Read the verified tables, measure, and judge every rule.

    Errors: BadCall if a table does not have one row per test row, or has an invalid label; Refusal if a score is not a
    probability: then the answers are broken.
    """
    target, rows = evidence.spec.target, evidence.rows
    true = _positive(pq.ParquetFile(truth).read()[target.name], target, rows, "truth")
    given = _given(answers / "answers.parquet", target, rows)
    base_file = answers / "base.parquet"
    base = _given(base_file, target, rows) if base_file.exists() else None
    settings = evidence.policy.settings
    candidate = {name: measure(name, true, given, settings) for name in MEASURES}
    live = {name: measure(name, true, base, settings) for name in MEASURES} if base else {}
    gains = {name: gain(name, true, given, base, settings, seed) for name in MEASURES} if base else {}
    judged = tuple(_stand(rule, candidate, gains, evidence) for rule in evidence.policy.quality)
    return Quality(rows, judged, candidate, live, gains, confusion(true, given.positive))


def judgement(quality: Quality, evidence: Evidence) -> Passed | Refused | Inconclusive:
    """Return the gate's verdict."""
    reasons = tuple(
        _reason(each, quality, evidence) for each in quality.judged if each.standing not in ("within", "no live")
    )
    constant = _constant(quality, evidence)
    reasons = (*constant, *reasons)
    none_live = any(each.standing == "no live" for each in quality.judged)
    notes = ("no live version yet: nothing to compare with",) if none_live else ()
    measurements = {
        "rows": quality.rows,
        "rules": {
            each.rule.key: {"standing": each.standing, **asked(each.rule), **figures(each.measured)}
            for each in quality.judged
        },
        "measures": {name: figures(each) for name, each in quality.candidate.items()},
        "live": {name: figures(each) for name, each in quality.base.items()},
        "gain": {name: figures(each) for name, each in quality.gains.items()},
    }
    subjects = dict(evidence.subjects)
    if constant or any(each.standing == "beyond" for each in quality.judged):
        return Refused(model=evidence.model, subjects=subjects, reasons=reasons, notes=notes, measurements=measurements)
    if reasons:
        return Inconclusive(
            model=evidence.model, subjects=subjects, reasons=reasons, notes=notes, measurements=measurements
        )
    return Passed(model=evidence.model, subjects=subjects, notes=notes, measurements=measurements)


def _constant(quality: Quality, evidence: Evidence) -> tuple[Reason, ...]:
    """The reason against a model that gives every row the same label: whatever its accuracy, it decides nothing."""
    answered = quality.confusion.sum(0)
    if quality.rows < evidence.policy.settings.minimum_support or answered.all():
        return ()
    target = evidence.spec.target
    label = target.positive if answered[1] else target.negative
    return (Reason(rule="quality:constant", message=f"every answer is {label}: the model tells no row from another"),)


def figures(measured: Measured | None) -> dict[str, float | None]:
    """Return a measured value as the verdict stores it."""
    if not isinstance(measured, Interval):
        return {"value": None, "low": None, "high": None}
    return {"value": round(measured.value, 4), "low": round(measured.low, 4), "high": round(measured.high, 4)}


def _stand(
    rule: QualityRule, candidate: Mapping[str, Measured], gains: Mapping[str, Measured], evidence: Evidence
) -> Judged:
    if isinstance(rule.limit, NoWorseThanLive):
        if not evidence.live:
            return Judged(rule, None, "no live")
        measured = gains.get(rule.measure)
    else:
        measured = candidate[rule.measure]
    if not isinstance(measured, Interval):
        return Judged(rule, measured, "too few")
    return Judged(rule, measured, rule.limit.judge(measured))


def _reason(judged: Judged, quality: Quality, evidence: Evidence) -> Reason:
    rule = judged.rule
    return Reason(
        rule=rule.key,
        message=_message(judged, evidence),
        lines=_lines(judged, quality, evidence),
        why=rule.why,
        source=rule.source,
    )


def _message(judged: Judged, evidence: Evidence) -> str:
    name, rule = judged.rule.measure.replace("_", " "), judged.rule
    against_live = isinstance(rule.limit, NoWorseThanLive)
    if judged.measured is None:
        return f"{name} cannot be compared with the live version, which could not answer these rows"
    if isinstance(judged.measured, TooFew):
        return f"{name} cannot be judged: too few rows in its denominator"
    side = "above" if rule.measure == "brier" else "below"
    if against_live:
        fault = "worse than the live version's by more than the policy allows"
    else:
        fault = f"{side} the limit of the policy"
    if judged.standing == "undecided":
        return f"{name} may be {fault}: too few rows to decide"
    return f"{name} is {fault}"


def _lines(judged: Judged, quality: Quality, evidence: Evidence) -> tuple[str, ...]:
    rule, measured, settings = judged.rule, judged.measured, evidence.policy.settings
    if measured is None:
        return (f"the live version: {evidence.base_problem}",)
    if isinstance(measured, TooFew):
        return (f"judged if the denominator has at least {settings.minimum_support} rows; {_asks(rule)}",)
    interval = f"{100 * settings.confidence:.3g} % interval {measured.low:.3f} to {measured.high:.3f}"
    if not isinstance(rule.limit, NoWorseThanLive):
        name = rule.measure.replace("_", " ")
        return (f"{name} {measured.value:.3f} on {quality.rows:,} rows, {interval}; {_asks(rule)}",)
    pair = [("this model", quality.candidate[rule.measure]), ("live", quality.base[rule.measure])]
    sides = [f"{name:<10}  {each.value:.3f}" for name, each in pair if isinstance(each, Interval)]
    return (*sides, f"gain {measured.value:+.3f}, {interval}; {_asks(rule)}")


def _asks(rule: QualityRule) -> str:
    match rule.limit:
        case AtLeast(value):
            return f"{rule.source} requires at least {value:g}"
        case AtMost(value):
            return f"{rule.source} allows {value:g}"
        case NoWorseThanLive(by):
            return f"{rule.source} allows a loss of {by:g}"


def _given(path: Path, target: Target, rows: int) -> Given:
    table = pq.ParquetFile(path).read(["label", "score"])
    positive = _positive(table["label"], target, rows, path.stem)
    column = table["score"].cast(pa.float64()).combine_chunks()
    score: Floats = np.from_dlpack(column).astype(np.float64) if not column.null_count else np.array([math.nan])
    if not np.all((score >= 0) & (score <= 1)):
        msg = f"the answers are broken: the table `{path.stem}` has scores that are not numbers from 0 to 1"
        raise Refusal(msg, fix="correct the model: the score of an answer is the probability of the positive label")
    return Given(positive, score)


def _positive(labels: pa.ChunkedArray, target: Target, rows: int, what: str) -> NDArray[np.bool_]:
    if len(labels) != rows:
        msg = f"the table `{what}` has {len(labels)} rows, but there are {rows} test rows"
        raise BadCall(msg, fix="use the files of one run")
    # `to_numpy` and Arrow's scalars would import pandas, which only validate-data needs.
    encoded = pc.dictionary_encode(labels.cast(pa.string()), null_encoding="encode").combine_chunks()
    seen = encoded.dictionary.to_pylist()
    if set(seen) - {target.positive, target.negative}:
        msg = f"the table `{what}` has a label that is neither {target.positive} nor {target.negative}"
        raise BadCall(msg, fix="list every spelling of the two labels in the model's target")
    positive = np.array([value == target.positive for value in seen], dtype=np.bool_)
    return positive[np.from_dlpack(encoded.indices).astype(np.int64)]
