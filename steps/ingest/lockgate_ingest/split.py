"""Decides a row's side of the split by a keyed hash of the row or of its split key.

So a row keeps its side when other rows are added, removed or reordered, and all rows with the same key, or all equal
rows, are on the same side.
"""

import hashlib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from lockgate_step import SpecFile, Split

from lockgate_ingest.columns import kept


def in_test(batch: pa.RecordBatch, spec: SpecFile) -> pa.Array:
    """Return whether each row of a canonical batch belongs to the test share."""
    names = [*spec.split.key] or [column.name for column in kept(spec)]
    if not spec.split.key and spec.data.unlabelled == "exclude":
        names.remove(spec.target.name)  # else a row would change its side when its label is removed
    return pa.array(_sides(subjects(batch, names), spec.split), pa.bool_())


def _sides(subjects: pa.Array, split: Split) -> Iterable[bool]:
    key = hashlib.sha256(split.seed.encode()).digest()
    limit = int(split.test_share * 2**64)
    for subject in subjects.to_pylist():
        yield int.from_bytes(hashlib.blake2b(subject, digest_size=8, key=key).digest()) < limit


def subjects(batch: pa.RecordBatch, names: Iterable[str]) -> pa.Array:
    """Return one byte string per row: equal rows have the same, and hardly any other rows do."""
    parts = [_bytes(batch.column(name)) for name in names]
    return pc.binary_join_element_wise(*parts, b"\x1f", null_handling="replace", null_replacement=b"\x00")


def _bytes(array: pa.Array) -> pa.Array:
    # The bits of a number, not its decimals: another version of the library could format decimals differently.
    text = array.view(pa.int64()).cast(pa.string()) if pa.types.is_floating(array.type) else array
    return text.cast(pa.binary())
