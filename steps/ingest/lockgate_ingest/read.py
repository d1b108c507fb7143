"""Rows as they are written, in batches: from CSV as text, from Parquet as the types of the file."""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from lockgate_step import BadCall, log

from lockgate_ingest.source import Source
from lockgate_ingest.spec import Traits

CELLS = 500_000  # of a batch: bounds memory whatever the number of columns
LINE = 16 << 20  # characters; a longer line is no CSV, and would be read whole into memory


def batches(source: Source, traits: Traits, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The wanted columns of a file, batch by batch. Errors: BadCall, naming the column or the line, never a value."""
    form = source.form
    if traits.format == "parquet" and form != "parquet":
        msg = f"{source.name} is not Parquet, as the spec says"
        raise BadCall(msg, fix="write it as Parquet, or set format in the spec")
    yield from _parquet(source, wanted) if form == "parquet" else _csv(source, traits, wanted, gzipped=form == "gzip")


def _parquet(source: Source, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(source.path, memory_map=True) as file:
            names = file.schema_arrow.names
            _choose(source, names, wanted)
            for batch in file.iter_batches(max(1, CELLS // len(wanted)), columns=list(wanted)):
                yield batch.select(list(wanted))
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"{source.name} begins as Parquet but cannot be read to its end"
        raise BadCall(msg, fix="copy it again, whole") from error


def _csv(source: Source, traits: Traits, wanted: Sequence[str], *, gzipped: bool) -> Iterator[pa.RecordBatch]:
    lines = _Lines()
    try:
        with source.path.open("rb") as raw, _inflated(raw, gzipped=gzipped) as plain, _text(plain, traits) as text:
            yield from _records(source, lines.of(text, traits.comment), lines, traits, wanted)
    except UnicodeDecodeError as error:
        line = lines.number + 1 + error.object[: error.start].count(b"\n")
        msg = f"line {line} of {source.name} is not {traits.encoding}"
        raise BadCall(msg, fix="name the file's encoding in the spec, e.g. latin-1 or cp1252") from error
    except EOFError as error:
        msg = f"{source.name} ends in the middle of its compressed data, after line {lines.number}"
        raise BadCall(msg, fix="copy it again, whole") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        msg = f"{source.name} is damaged: its compressed data cannot be read after line {lines.number}"
        raise BadCall(msg, fix="copy it again, whole") from error
    except csv.Error as error:
        msg = f"{source.name} is not CSV at line {lines.number}: {error}"
        raise BadCall(msg, fix='close each quote, double the quotes inside ("")') from error


class _Lines:
    """The lines of a text without comments, counted: a record's number is that of its last line."""

    def __init__(self) -> None:
        self.number = 0

    def of(self, text: TextIO, comment: str | None) -> Iterator[str]:
        quoted = False  # a line inside quotes is a value, whatever it begins with
        while line := text.readline(LINE):
            self.number += 1
            if len(line) == LINE:
                raise csv.Error("the line does not end")
            if comment:
                if not quoted and line.startswith(comment):
                    continue
                quoted ^= line.count('"') % 2 == 1
            yield line


def _records(
    source: Source, text: Iterator[str], lines: _Lines, traits: Traits, wanted: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    reader = csv.reader(text, delimiter=traits.delimiter, skipinitialspace=traits.delimiter != " ", strict=True)
    names = traits.columns if traits.columns is not None else _header(source, reader)
    places = _choose(source, names, wanted)
    width, size = len(names), max(1, CELLS // len(names))
    rows: list[list[str]] = []
    for row in reader:
        if len(row) != width:
            if row in ([], [""]):
                continue
            raise _ragged(source, lines.number, len(row), width, traits)
        rows.append(row)
        if len(rows) == size:
            yield _batch(rows, places, wanted)
            rows = []
    if rows:
        yield _batch(rows, places, wanted)


def _header(source: Source, reader: Iterator[list[str]]) -> list[str]:
    names = next((row for row in reader if row not in ([], [""])), None)
    if names is None:
        msg = f"{source.name} has no line"
        raise BadCall(msg, fix="point data at a file with a header and rows")
    return [name.strip() for name in names]


def _batch(rows: list[list[str]], places: Sequence[int], wanted: Sequence[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([row[at] for row in rows], pa.string()) for at in places], list(wanted))


def _choose(source: Source, names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where the wanted columns are. What else a header holds is not repeated: without a header it is a person's row."""
    seen = Counter(names)
    absent = [name for name in wanted if not seen[name]]
    if absent:
        msg = f"{source.name} has no column {', '.join(absent)} among its {len(names)}"
        raise BadCall(msg, fix="correct the names, the delimiter, or `columns` (for a file without header) in the spec")
    twice = [name for name in wanted if seen[name] > 1]
    if twice:
        msg = f"{source.name} has more than one column {', '.join(twice)}"
        raise BadCall(msg, fix="rename one of them in the file")
    dropped = sorted(seen.keys() - set(wanted))
    if dropped:
        log("columns-dropped", file=source.name, columns=dropped)
    return [list(names).index(name) for name in wanted]


def _ragged(source: Source, line: int, found: int, width: int, traits: Traits) -> BadCall:
    msg = f"line {line} of {source.name} has {found} fields, not {width}"
    if found == 1:
        return BadCall(msg, fix=f"set the delimiter in the spec; it is {traits.delimiter!r} there")
    return BadCall(msg, fix="mend that line, or set delimiter, comment or columns in the spec")


def _inflated(raw: IO[bytes], *, gzipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(raw)) if gzipped else raw


def _text(plain: IO[bytes], traits: Traits) -> TextIO:
    # utf-8-sig reads a byte-order mark away, where there is one.
    encoding = "utf-8-sig" if traits.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else traits.encoding
    try:
        return io.TextIOWrapper(plain, encoding, newline="")
    except LookupError as error:
        msg = f"the spec names the encoding {traits.encoding!r}, which is unknown"
        raise BadCall(msg, fix="write e.g. utf-8, latin-1 or cp1252") from error
