"""The program `ingest`."""

from lockgate_proof import main
from lockgate_step import Base, DataRecord, In, Out, Record, Spec, Table, program


@program(uses=["store"], signs=True)
def ingest(
    spec: In[Spec],
    rows: Out[Table],
    train_sensitive: Out[Table],
    test: Out[Table],
    truth: Out[Table],
    sensitive: Out[Table],
    base: Out[Base],
    record: Out[DataRecord],
    *,
    data: str,
    test_data: str = "",
    data_sha256: str = "",
) -> Record:
    """Freeze the data and the live version: take a snapshot, split it, and separate truth and sensitive columns.

    data: file:///folder/file or s3://bucket/key; CSV, gzipped CSV or Parquet, detected by content.
    test_data: address of the official test file; default: its path in the spec, relative to data.
    data_sha256: the SHA-256 that the file of data must have; empty = not checked.
    """
    from lockgate_ingest.ingest import Tables, freeze

    tables = Tables(rows.path, train_sensitive.path, test.path, truth.path, sensitive.path)
    return freeze(spec.path, tables, base.path, data=data, test_data=test_data, data_sha256=data_sha256)


if __name__ == "__main__":
    main(ingest)
