"""Read the verified tables for the audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lockgate_evidence import Evidence
from lockgate_step import BadCall, Refusal, Target
from numpy.typing import NDArray

from lockgate_bias_audit.groups import Column, column, encode


@dataclass(frozen=True)
class Rows:
    """The test rows: whether the truth is positive, whether the answer is positive, and the groups."""

    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    columns: Mapping[str, Column]


def read(evidence: Evidence, answers: Path, truth: Path, sensitive: Path | None, train_sensitive: Path | None) -> Rows:
    """Read answers, truth and sensitive columns.

    train_sensitive: the sensitive columns of the training rows, for the groups that have no test row.
    Errors: BadCall if a table does not have one row per test row, or has a label that is not one of the target's;
    Refusal if a score is not a probability: then the answers are broken, and so is what their labels say.
    """
    target = evidence.spec.target
    wanted = evidence.spec.sensitive
    names = [each.name for each in wanted]
    tested = _groups("sensitive", sensitive, names, evidence.rows)
    trained = _groups("train_sensitive", train_sensitive, names, evidence.train_rows)
    columns = {each.name: column(each, tested[each.name], trained[each.name]) for each in wanted}
    given = pq.ParquetFile(answers / "answers.parquet").read(["label", "score"])
    _probabilities(given["score"])
    return Rows(
        truth=_positive(pq.ParquetFile(truth).read()[target.name], target, evidence.rows, "truth"),
        predicted=_positive(given["label"], target, evidence.rows, "answers"),
        columns=columns,
    )


def _groups(name: str, path: Path | None, wanted: Sequence[str], rows: int) -> Mapping[str, pa.ChunkedArray]:
    """The sensitive columns of one share."""
    if not wanted:
        return {}
    if path is None:
        msg = f"the model's sensitive columns are missing: {', '.join(wanted)}"
        raise BadCall(msg, fix=f"pass the table `{name}` that ingest wrote")
    table = pq.ParquetFile(path).read()
    for each in wanted:
        if each not in table.column_names:
            msg = f"the table `{name}` has no column `{each}`"
            raise BadCall(msg, fix="run ingest again with this model's spec")
        share = "training" if name == "train_sensitive" else "test"
        _one_each(len(table[each]), rows, f"the column `{each}`", share)
    return {each: table[each] for each in wanted}


def _positive(labels: pa.ChunkedArray, target: Target, rows: int, what: str) -> NDArray[np.bool_]:
    _one_each(len(labels), rows, f"the table `{what}`")
    seen, codes = encode(labels)
    if set(seen) - {target.positive, target.negative}:
        msg = f"the table `{what}` has a label that is neither {target.positive} nor {target.negative}"
        raise BadCall(msg, fix="list every spelling of the two labels in the model's target")
    return np.array([value == target.positive for value in seen], dtype=np.bool_)[codes]


def _probabilities(scores: pa.ChunkedArray) -> None:
    column = scores.cast(pa.float64()).combine_chunks()
    if column.null_count:
        broken = column.null_count
    else:
        values = np.from_dlpack(column)
        broken = int((~((values >= 0) & (values <= 1))).sum())
    if broken:
        msg = f"the answers are broken: {broken:,} of {len(column):,} scores are not numbers from 0 to 1"
        raise Refusal(msg, fix="correct the model: the score of an answer is the probability of the positive label")


def _one_each(found: int, wanted: int, what: str, share: str = "test") -> None:
    if found != wanted:
        msg = f"{what} has {found} rows, but there are {wanted} {share} rows"
        raise BadCall(msg, fix="use the files of one run")
