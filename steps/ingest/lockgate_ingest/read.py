"""Reads rows in batches: from CSV as text, from Parquet in the types of the file."""

import csv
import gzip
import io
import resource
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from lockgate_step import BadCall, Data, Limits, Records, check_unpacked, log, unpacked

from lockgate_ingest.source import Source

CELLS = 500_000  # of a batch: limits memory for any number of columns
MEMORY = 4 << 30  # bytes that reading Parquet may add
DECODED = 64 << 20  # bytes of text in a batch of Parquet, where one long value may stand for many rows


def batches(source: Source, traits: Data, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read the wanted columns in batches. Errors: BadCall, which names the column or the line, never a value."""
    form = source.form
    if traits.format == "parquet" and form != "parquet":
        msg = f"{source.name} is not Parquet, but the spec says so"
        raise BadCall(msg, fix="write it as Parquet, or set format in the spec")
    yield from _parquet(source, traits.limits, wanted) if form == "parquet" else _csv(source, traits, wanted)


def _parquet(source: Source, limits: Limits, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        said = pq.read_metadata(source.path, memory_map=True)
        _check_size(source, limits, said)
        columns = [said.schema.column(at) for at in range(said.num_columns)]
        # Text as a dictionary: its length is known before it is repeated for each row.
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        with _bounded(source), pq.ParquetFile(source.path, memory_map=True, read_dictionary=texts) as file:
            places = _choose(source, file.schema_arrow.names, wanted)
            if twice := [name for name, found in zip(wanted, places, strict=True) if len(found) > 1]:
                msg = f"{source.name} has more than one column {', '.join(twice)}"
                raise BadCall(msg, fix="rename one of them in the file")
            kinds = [file.schema_arrow.field(name).type for name in wanted]
            # No rows first: a column of another type is refused before its values are read.
            yield pa.RecordBatch.from_arrays([pa.array([], kind) for kind in kinds], list(wanted))
            total = 0
            for batch in file.iter_batches(max(1, CELLS // len(wanted)), columns=list(wanted)):
                chosen = batch.select(list(wanted))
                _check_values(source, chosen)
                total += _decoded(source, limits, chosen)
                limits.check_unpacked(source.name, total, source.path.stat().st_size)
                yield from _small(source, limits, chosen)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        msg = f"{source.name} starts as Parquet but cannot be read to its end"
        raise BadCall(msg, fix="copy it again completely") from error


def _check_size(source: Source, limits: Limits, said: pq.FileMetaData) -> None:
    """Check what the file says of its own size; what it says may be wrong, so its batches are counted too."""
    limits.check_columns(source.name, said.num_columns)
    longest = max((said.schema.column(at).length or 0 for at in range(said.num_columns)), default=0)
    if longest > limits.cell:
        limits.refuse(source.name, f"has values of {longest:,} bytes; at most {limits.cell:,} are read", "cell")
    sizes = [said.row_group(at).total_byte_size for at in range(said.num_row_groups)]
    cells = said.num_rows * said.num_columns * 8  # as numbers, which may be one value that is said once
    limits.check_unpacked(source.name, max(sum(sizes), cells), source.path.stat().st_size)


@contextmanager
def _bounded(source: Source) -> Iterator[None]:
    """Limit the memory of this process: a page of a Parquet file may say any size up to 2 GiB, in every column.

    Only on Linux. Beyond the limit the reader fails, as for any other damaged file.
    """
    pages = Path("/proc/self/statm")
    if not pages.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int(pages.read_text().split()[0]) * resource.getpagesize()
    wanted += MEMORY + source.path.stat().st_size  # the map of the file counts too
    resource.setrlimit(resource.RLIMIT_AS, (min(each for each in (wanted, soft, hard) if each >= 0), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _check_values(source: Source, batch: pa.RecordBatch) -> None:
    """Check that values are what their column says, e.g. text is UTF-8: reading a Parquet file does not check that."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            msg = f"{source.name} has values in {name} that its type does not allow, e.g. text that is not UTF-8"
            raise BadCall(msg, fix="copy it again completely, or write it again with pyarrow or pandas") from error


def _decoded(source: Source, limits: Limits, batch: pa.RecordBatch) -> int:
    """Return the bytes of a batch when each row has its own values. Errors: BadCall for a value that is too long."""
    total = 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not isinstance(column, pa.DictionaryArray):
            total += column.nbytes
            continue
        lengths = pc.binary_length(column.dictionary)
        if (pc.max(lengths).as_py() or 0) > limits.cell:
            problem = f"has a value of more than {limits.cell:,} bytes in {name}"
            limits.refuse(source.name, problem, "cell", "shorten it")
        total += pc.sum(lengths.cast(pa.int64()).take(column.indices)).as_py() or 0
    return total


def _small(source: Source, limits: Limits, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Divide a batch whose text is long."""
    if batch.num_rows <= 1 or _decoded(source, limits, batch) <= DECODED:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _small(source, limits, batch.slice(0, half))
    yield from _small(source, limits, batch.slice(half))


def _csv(source: Source, traits: Data, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if source.form == "gzip":
        check_unpacked(source.path, source.name, traits.limits)
    with (
        source.path.open("rb") as raw,
        unpacked(raw, source.name, traits.limits) as plain,
        _text(plain, traits) as text,
    ):
        records = Records(text, source.name, traits.delimiter, traits.limits, comment=traits.comment)
        try:
            yield from _csv_batches(source, records, traits, wanted)
        except UnicodeDecodeError as error:
            line = records.line + 1 + error.object[: error.start].count(b"\n")
            msg = f"line {line} of {source.name} is not {traits.encoding}"
            raise BadCall(msg, fix="name the file's encoding in the spec, e.g. latin-1 or cp1252") from error
        except EOFError as error:
            msg = f"{source.name} ends in the middle of its compressed data, after line {records.line}"
            raise BadCall(msg, fix="copy it again completely") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            msg = f"{source.name} is damaged: its compressed data cannot be read after line {records.line}"
            raise BadCall(msg, fix="copy it again completely") from error
        except csv.Error as error:
            msg = f"{source.name} is not CSV at line {records.line}: {error}"
            raise BadCall(msg, fix='close each quote, and double the quotes inside a value ("")') from error


def _csv_batches(source: Source, records: Records, traits: Data, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    names = traits.columns if traits.columns is not None else _header(source, records)
    places = _choose(source, names, wanted)
    width = len(names)
    traits.limits.check_columns(source.name, width)
    cells: list[str] = []  # one flat list: a list per row would cost more in garbage collection than in parsing
    for row in records:
        if len(row) != width:
            raise _ragged(source, records.line, len(row), width, traits)
        cells += row
        if len(cells) >= CELLS:
            yield _batch(source, cells, width, places, wanted)
            cells = []
    if cells:
        yield _batch(source, cells, width, places, wanted)


def _header(source: Source, records: Iterable[list[str]]) -> list[str]:
    names = next(iter(records), None)
    if names is None:
        msg = f"{source.name} has no lines"
        raise BadCall(msg, fix="point data at a file with a header and rows")
    return [name.strip() for name in names]


def _batch(
    source: Source, cells: list[str], width: int, places: Sequence[Sequence[int]], wanted: Sequence[str]
) -> pa.RecordBatch:
    """Return the wanted columns. Errors: BadCall if columns of one name differ, since it is unclear which is meant."""
    arrays = []
    for name, (first, *others) in zip(wanted, places, strict=True):
        values = cells[first::width]
        if any(cells[at::width] != values for at in others):
            numbers = " and ".join(str(at + 1) for at in (first, *others))
            msg = f"{source.name} has more than one column {name}, with different values"
            raise BadCall(msg, fix=f"rename one of them in the file; they are columns {numbers}")
        arrays.append(pa.array(values, pa.string()))
    return pa.RecordBatch.from_arrays(arrays, list(wanted))


def _choose(source: Source, names: Sequence[str], wanted: Sequence[str]) -> list[list[int]]:
    """Return the places of each wanted column; columns that a tool repeated have several.

    Errors: BadCall, without the header: if there is none, the first line is a person's row.
    """
    seen = Counter(names)
    absent = [name for name in wanted if not seen[name]]
    if absent:
        msg = f"{source.name} has no column {', '.join(absent)} among its {len(names)}"
        raise BadCall(msg, fix="correct the names, the delimiter, or `columns` (for a file without header) in the spec")
    dropped = sorted(seen.keys() - set(wanted))
    if dropped:
        log("columns-dropped", file=source.name, columns=dropped)
    return [[at for at, name in enumerate(names) if name == each] for each in wanted]


def _ragged(source: Source, line: int, found: int, width: int, traits: Data) -> BadCall:
    msg = f"line {line} of {source.name} has {found} fields, not {width}"
    if found == 1:
        return BadCall(msg, fix=f"set the delimiter in the spec; it is {traits.delimiter!r} there")
    return BadCall(msg, fix="correct that line, or set delimiter, comment or columns in the spec")


def _text(plain: IO[bytes], traits: Data) -> TextIO:
    # utf-8-sig skips a byte-order mark.
    encoding = "utf-8-sig" if traits.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else traits.encoding
    try:
        return io.TextIOWrapper(plain, encoding, newline="")
    except LookupError as error:
        msg = f"the spec names the encoding {traits.encoding!r}, which is unknown"
        raise BadCall(msg, fix="write e.g. utf-8, latin-1 or cp1252") from error
