"""Which side of the split a row falls on: a keyed hash of what the row is about.

So a row keeps its side when others come, go or change places, and all rows of one key, or all equal rows, share a side.
"""

import hashlib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from lockgate_step import SpecFile, Split

from lockgate_ingest.columns import kept


def in_test(batch: pa.RecordBatch, spec: SpecFile) -> pa.Array:
    """Whether each row of a canonical batch belongs to the test share."""
    names = spec.split.key or [column.name for column in kept(spec)]
    return pa.array(_sides(_subjects(batch, names), spec.split), pa.bool_())


def _sides(subjects: pa.Array, split: Split) -> Iterable[bool]:
    key = hashlib.sha256(split.seed.encode()).digest()
    limit = int(split.test_share * 2**64)
    for subject in subjects.to_pylist():
        yield int.from_bytes(hashlib.blake2b(subject, digest_size=8, key=key).digest()) < limit


def _subjects(batch: pa.RecordBatch, names: Iterable[str]) -> pa.Array:
    """One byte string a row. Two rows that meet in one string only share a side, so a plain separator is enough."""
    parts = [_bytes(batch.column(name)) for name in names]
    return pc.binary_join_element_wise(*parts, b"\x1f", null_handling="replace", null_replacement=b"\x00")


def _bytes(array: pa.Array) -> pa.Array:
    # The bits of a number, not its decimals, whose spelling another version of the library could change.
    text = array.view(pa.int64()).cast(pa.string()) if pa.types.is_floating(array.type) else array
    return text.cast(pa.binary())
