"""Converts rows to canonical values, and computes a digest that does not depend on format, compression or batch size.

A number is a float64 without NaN, infinity or minus zero; a category is a string; a missing value is null; the target
is one of two labels. The digest hashes each column's presence, lengths and values as separate streams, so rows may
come in batches of any size.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lockgate_step import BadCall, Category, Number, SpecFile, Target, canonical

from lockgate_ingest.columns import Column, Text, wanted

_EXACT = 2.0**53  # from here on, not every whole number has an exact float64


def schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the canonical types of columns."""
    return pa.schema([(column.name, _type(column)) for column in columns])


class Converter:
    """Converts batches to canonical values, and counts by column the values that cannot be converted, without them."""

    def __init__(self, spec: SpecFile, columns: Sequence[Column] = ()) -> None:
        self._columns = columns or wanted(spec)
        self._target, self._excludes = spec.target, spec.data.unlabelled == "exclude"
        self._missing = pa.array(spec.data.missing, pa.string())
        self._schema = schema(self._columns)
        self._bad: Counter[str] = Counter()
        self._without = self._rows = 0

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert a batch; a value that cannot be converted becomes null and is counted."""
        self._rows += batch.num_rows
        arrays = [self._array(column, batch.column(column.name)) for column in self._columns]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def check(self, called: str) -> None:
        """Check that every value so far could be converted, and that labels are missing only if the spec excludes them.

        Errors: BadCall.
        """
        if not self._bad:
            self._check_labels(called)
            return
        said = [f"{count:,} in {name} that {self._complaint(name)}" for name, count in sorted(self._bad.items())]
        msg = f"{called} has values that the spec does not allow: {'; '.join(said)}"
        fix = "list their spelling under `missing` or the target's `spellings` in the spec, or correct the data"
        raise BadCall(msg, fix=f"{fix}; a header is read as a row when the spec has `columns`")

    def _check_labels(self, called: str) -> None:
        if self._without and not self._excludes:
            about = f"{self._without:,}" if self._without >= 10 else "fewer than 10"
            msg = f"{about} of the {self._rows:,} rows of {called} have no {self._target.name}"
            fix = 'set data=Data(..., unlabelled="exclude") in the spec; they are then counted by group and left out'
            raise BadCall(msg, fix=f"{fix}. Or give each row a label")

    def _complaint(self, name: str) -> str:
        if name == self._target.name:
            return f"are neither {self._target.negative!r} nor {self._target.positive!r}"
        return "are not numbers"

    def _array(self, column: Column, written: pa.Array) -> pa.Array:
        if isinstance(written, pa.DictionaryArray):
            written = written.dictionary_decode()
        match column:
            case Number():
                array, bad = self._numbers(column.name, written)
            case Category() | Text():
                array, bad = self._strings(column.name, written), 0
        if column.name == self._target.name:
            self._without += array.null_count
            array, bad = _labels(array, self._target)
        if bad:
            self._bad[column.name] += bad
        return array

    def _numbers(self, name: str, written: pa.Array) -> tuple[pa.Array, int]:
        kind = written.type
        if _is_text(kind):
            text = pc.utf8_trim_whitespace(self._without_missing(written))
            return _finite(text, _parsed(text))
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
            numbers = pc.cast(written, pa.float64())
            nan = pc.fill_null(pc.is_nan(numbers), False)  # in a column of floats, NaN means missing
            present = pc.if_else(nan, None, numbers)
            return _finite(present, present)
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            wide = pc.cast(written, pa.float64(), safe=False)
            exact = pc.if_else(pc.fill_null(pc.less(pc.abs(wide), _EXACT), False), wide, None)
            return _finite(wide, exact)
        raise _foreign(name, kind, "number")

    def _strings(self, name: str, written: pa.Array) -> pa.Array:
        kind = written.type
        if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            raise _foreign(name, kind, "category")
        return self._without_missing(written)

    def _without_missing(self, text: pa.Array) -> pa.Array:
        text = pc.cast(text, pa.string())
        return pc.if_else(pc.is_in(text, self._missing), None, text)


class LogicalDigest:
    """The digest of a table of canonical rows; it does not depend on the batches."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.rows = 0
        self._columns = [(column, hashlib.sha256(), hashlib.sha256(), hashlib.sha256()) for column in columns]

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the next rows to the digest."""
        self.rows += batch.num_rows
        for column, presence, lengths, values in self._columns:
            array = batch.column(column.name)
            presence.update(pc.is_valid(array).to_numpy(zero_copy_only=False).astype("u1").tobytes())
            match column:
                case Number():
                    values.update(pc.fill_null(array, 0.0).to_numpy().astype("<f8").tobytes())
                case Category() | Text():
                    text = pc.cast(pc.fill_null(array, ""), pa.binary())
                    lengths.update(pc.binary_length(text).to_numpy().astype("<i8").tobytes())
                    values.update(b"".join(text.to_pylist()))

    def to_json(self) -> dict[str, object]:
        """Return the row count and the digests of each column, which the snapshot's digest covers."""
        columns = [
            {
                "name": column.name, "kind": type(column).__name__.lower(),
                "presence": presence.hexdigest(), "lengths": lengths.hexdigest(), "values": values.hexdigest(),
            }
            for column, presence, lengths, values in self._columns
        ]  # fmt: skip
        return {"rows": self.rows, "columns": columns}


def snapshot_hex(tables: Sequence[LogicalDigest]) -> str:
    """Return the digest that names a snapshot: of the data, and of the official test file if there is one."""
    return hashlib.sha256(canonical({"snapshot": 1, "tables": [table.to_json() for table in tables]})).hexdigest()


def banded(column: Number, array: pa.Array) -> pa.Array:
    """Return the band of each number, as text; an edge belongs to the band above it."""
    words = np.array(column.band_names, dtype=object)
    places = np.searchsorted(np.array(column.bands), pc.fill_null(array, 0.0).to_numpy(), side="right")
    missing = pc.is_null(array).to_numpy(zero_copy_only=False)
    return pa.array(words[places], pa.string(), mask=missing)


def _type(column: Column) -> pa.DataType:
    match column:
        case Number():
            return pa.float64()
        case Category() | Text():
            return pa.string()


def _labels(array: pa.Array, target: Target) -> tuple[pa.Array, int]:
    for spelling, label in target.spellings.items():
        array = pc.if_else(pc.equal(array, spelling), label, array)
    known = pc.is_in(array, pa.array([target.positive, target.negative], pa.string()))
    return pc.if_else(known, array, None), len(array) - array.null_count - (pc.sum(known).as_py() or 0)


def _parsed(text: pa.Array) -> pa.Array:
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        return pa.array([_number(value) for value in text.to_pylist()], pa.float64())


def _number(text: str | None) -> float | None:
    try:
        return None if text is None or "_" in text else float(text)
    except ValueError:
        return None


def _finite(written: pa.Array, numbers: pa.Array) -> tuple[pa.Array, int]:
    """Return the finite numbers, and how many values in the file are not finite numbers."""
    finite = pc.fill_null(pc.is_finite(numbers), False)
    kept = pc.add(pc.if_else(finite, numbers, None), 0.0)  # -0.0 + 0.0 is 0.0
    return kept, kept.null_count - written.null_count


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _foreign(name: str, kind: pa.DataType, wanted: str) -> BadCall:
    msg = f"column {name} has type {kind} in the file, which cannot be read as a {wanted}"
    return BadCall(msg, fix=f"write it as {'numbers' if wanted == 'number' else 'text or whole numbers'} in the file")
