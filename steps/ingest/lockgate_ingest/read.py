"""Reads rows in batches: from CSV as text, from Parquet in the types of the file."""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import IO, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from lockgate_step import BadCall, Data, log

from lockgate_ingest.source import Source

CELLS = 500_000  # of a batch: limits memory for any number of columns
LINE = 16 << 20  # characters; a longer line is cut here to limit memory, and its number of fields is then wrong


def batches(source: Source, traits: Data, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read the wanted columns in batches. Errors: BadCall, which names the column or the line, never a value."""
    form = source.form
    if traits.format == "parquet" and form != "parquet":
        msg = f"{source.name} is not Parquet, but the spec says so"
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
        msg = f"{source.name} starts as Parquet but cannot be read to its end"
        raise BadCall(msg, fix="copy it again completely") from error


def _csv(source: Source, traits: Data, wanted: Sequence[str], *, gzipped: bool) -> Iterator[pa.RecordBatch]:
    with source.path.open("rb") as raw, _inflated(raw, gzipped=gzipped) as plain, _text(plain, traits) as text:
        records = _Records(text, traits)
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


class _Records:
    """The records of a CSV text without its comments, and the number of the last line read."""

    def __init__(self, text: TextIO, traits: Data) -> None:
        lines = iter(partial(text.readline, LINE), "")
        self._comments = 0
        self._reader = csv.reader(
            self._without(traits.comment, lines) if traits.comment else lines,
            delimiter=traits.delimiter,
            skipinitialspace=traits.delimiter != " ",
            strict=True,
        )

    @property
    def line(self) -> int:
        return self._reader.line_num + self._comments

    def __iter__(self) -> Iterator[list[str]]:
        return self._reader

    def _without(self, comment: str, lines: Iterator[str]) -> Iterator[str]:
        quoted = False  # a line inside quotes is part of a value, even if it starts like a comment
        for line in lines:
            if line.startswith(comment) and not quoted:
                self._comments += 1
            else:
                quoted ^= line.count('"') % 2 == 1
                yield line


def _csv_batches(source: Source, records: _Records, traits: Data, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    names = traits.columns if traits.columns is not None else _header(source, records)
    places = _choose(source, names, wanted)
    width = len(names)
    cells: list[str] = []  # one flat list: a list per row would cost more in garbage collection than in parsing
    for row in records:
        if len(row) != width:
            if row in ([], [""]):
                continue
            raise _ragged(source, records.line, len(row), width, traits)
        cells += row
        if len(cells) >= CELLS:
            yield _batch(cells, width, places, wanted)
            cells = []
    if cells:
        yield _batch(cells, width, places, wanted)


def _header(source: Source, records: Iterable[list[str]]) -> list[str]:
    names = next((row for row in records if row not in ([], [""])), None)
    if names is None:
        msg = f"{source.name} has no lines"
        raise BadCall(msg, fix="point data at a file with a header and rows")
    return [name.strip() for name in names]


def _batch(cells: list[str], width: int, places: Sequence[int], wanted: Sequence[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(cells[at::width], pa.string()) for at in places], list(wanted))


def _choose(source: Source, names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the places of the wanted columns. Errors do not quote the header: without one it is a person's row."""
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


def _ragged(source: Source, line: int, found: int, width: int, traits: Data) -> BadCall:
    msg = f"line {line} of {source.name} has {found} fields, not {width}"
    if found == 1:
        return BadCall(msg, fix=f"set the delimiter in the spec; it is {traits.delimiter!r} there")
    return BadCall(msg, fix="correct that line, or set delimiter, comment or columns in the spec")


def _inflated(raw: IO[bytes], *, gzipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(raw)) if gzipped else raw


def _text(plain: IO[bytes], traits: Data) -> TextIO:
    # utf-8-sig skips a byte-order mark.
    encoding = "utf-8-sig" if traits.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else traits.encoding
    try:
        return io.TextIOWrapper(plain, encoding, newline="")
    except LookupError as error:
        msg = f"the spec names the encoding {traits.encoding!r}, which is unknown"
        raise BadCall(msg, fix="write e.g. utf-8, latin-1 or cp1252") from error
