"""Writes tables as Parquet; the same rows give the same bytes, in batches of any size."""

from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

CELLS = 1 << 21  # of a row group


class TableWriter:
    """Writes row groups of a fixed number of rows; if the `with` block fails, the file is removed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._size = max(1, CELLS // max(1, len(schema)))
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def __enter__(self) -> Self:
        self._file = pq.ParquetWriter(self._path, self._schema, version="2.6", compression="zstd", compression_level=3)
        return self

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows that have the table's columns."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        while self._rows >= self._size:
            self._flush(self._size)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._rows:
            self._flush(self._rows)
        self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def _flush(self, count: int) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._file.write_table(table.slice(0, count).combine_chunks(), row_group_size=count)
        rest = table.slice(count)
        # A slice keeps the whole table in memory, so the rows for the next group are copied.
        self._waiting = rest.take(pa.array(range(rest.num_rows), pa.int64())).to_batches() if rest.num_rows else []
        self._rows = rest.num_rows
