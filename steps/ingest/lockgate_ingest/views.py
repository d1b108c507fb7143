"""Selects the columns of a canonical batch for a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from lockgate_step import Number

from lockgate_ingest.canonical import banded, schema
from lockgate_ingest.columns import Column, Text


@dataclass(frozen=True)
class View:
    """Some columns of the canonical rows; with `bands`, numbers are replaced by their band."""

    columns: Sequence[Column]
    bands: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The types of the table's columns."""
        return schema([Text(column.name) if self.bands else column for column in self.columns])

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with the table's columns."""
        return pa.RecordBatch.from_arrays([self._shown(column, batch) for column in self.columns], schema=self.schema)

    def _shown(self, column: Column, batch: pa.RecordBatch) -> pa.Array:
        array = batch.column(column.name)
        return banded(column, array) if self.bands and isinstance(column, Number) else array
