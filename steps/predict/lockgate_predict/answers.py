"""Predicts a table with one model, request by request, through the same runtime that will serve it."""

import asyncio
import random
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from lockgate_model import SAMPLE, Asked, ask, ask_in_other_sizes, read
from lockgate_model_server.check import Fault, Rejected, Value
from lockgate_model_server.runtime import InputRefused, LockgateRuntime
from lockgate_step import BadCall, log
from mlserver.types import InferenceRequest, RequestInput

_ANSWERS = pa.schema([pa.field("label", pa.string(), nullable=False), pa.field("score", pa.float64(), nullable=False)])


@dataclass(frozen=True)
class Answered:
    """One label and one score per row, in the table's order.

    runtime: what gave them. sample: some of the rows, as the model takes them. asked: how these were asked again.
    """

    labels: list[str]
    scores: list[float]
    runtime: LockgateRuntime
    sample: Mapping[str, list[Value]]
    asked: Asked


@dataclass(frozen=True)
class CannotAnswer:
    """The model refused rows; `problem` counts them by column and shows no values."""

    problem: str


def answer(name: str, model: Path, policy: Path, table: Path, batch: int) -> Answered | CannotAnswer:
    """Predict every row of a Parquet table with the model in a folder, and a sample in other arrangements.

    batch: rows per request.
    Errors: BadModel when the model cannot be loaded; UnsafeModel when an answer depends on more than its row; BadCall
        for a table without rows or with a column of another type.
    """
    runtime = LockgateRuntime.of(name, model, policy)
    return asyncio.run(_answer(runtime, [c.name for c in read(model).inputs], table, batch))


def write(answered: Answered, path: Path) -> None:
    """Write the answers in the schema that the gates read."""
    # From buffers: given a list, pyarrow imports pandas, which takes a second, to check for pandas objects.
    texts = [label.encode() for label in answered.labels]
    offsets = array("i", [0, *accumulate(map(len, texts))])
    rows = len(texts)
    labels = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))
    scores = pa.Array.from_buffers(pa.float64(), rows, [None, pa.py_buffer(array("d", answered.scores))])
    pq.write_table(pa.table([labels, scores], schema=_ANSWERS), path)


async def _answer(runtime: LockgateRuntime, inputs: list[str], table: Path, batch: int) -> Answered | CannotAnswer:
    await runtime.load()
    labels: list[str] = []
    scores: list[float] = []
    faults: list[Fault] = []
    done = 0
    with pq.ParquetFile(table) as file:
        total = file.metadata.num_rows
        if total == 0:
            msg = "the test table has no rows"
            raise BadCall(msg, fix="give ingest more data, or a larger test share")
        chosen = sorted(random.Random(total).sample(range(total), min(total, SAMPLE)))  # noqa: S311 - not a secret
        sample: dict[str, list[Value]] = {name: [] for name in inputs}
        for rows in file.iter_batches(batch_size=batch, columns=[n for n in inputs if n in file.schema_arrow.names]):
            try:
                request = _request(rows)
                response = await runtime.predict(request)
            except InputRefused as refused:
                faults += refused.faults
            else:
                given = {output.name: output.data.root for output in response.outputs}
                labels += given["label"]
                scores += given["score"]
                columns = {column.name: column.data.root for column in request.inputs}
                ask_in_other_sizes(runtime.predictor, columns, given["score"])
                here = chosen[bisect_left(chosen, done) : bisect_left(chosen, done + len(rows))]
                for name, values in columns.items():
                    sample[name] += [values[i - done] for i in here]
            done += len(rows)
            log("progress", done=done, total=total, what="rows")
    if faults:
        return CannotAnswer(str(Rejected(tuple(_over_all(faults, total)))))
    asked = ask(runtime.predictor, sample, [scores[i] for i in chosen])
    log("asked", rows=asked.rows, arrangements=asked.arrangements, largest_difference=asked.largest)
    return Answered(labels, scores, runtime, sample, asked)


def _over_all(faults: list[Fault], total: int) -> Iterator[Fault]:
    """Merge the same fault of several requests into one, counted over the whole table."""
    counts: Counter[Fault] = Counter()
    for fault in faults:
        counts[replace(fault, rows=fault.rows and 0, of=fault.of and total)] += fault.rows or 0
    for fault, count in counts.items():
        yield replace(fault, rows=None if fault.rows is None else count)


def _request(rows: pa.RecordBatch) -> InferenceRequest:
    return InferenceRequest(
        inputs=[
            RequestInput(name=field.name, datatype=_datatype(field), shape=[len(rows)], data=column.to_pylist())
            for field, column in zip(rows.schema, rows.columns, strict=True)
        ]
    )


def _datatype(field: pa.Field) -> str:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_floating(kind):
        return "FP64"
    if pa.types.is_integer(kind):
        return "INT64"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "BYTES"
    msg = f"column {field.name!r} of the test table has type {field.type}, neither numbers nor text"
    raise BadCall(msg, fix="declare it as number or category in the ModelSpec, and ingest again")
