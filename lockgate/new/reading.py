"""A CSV file with a header, plain or gzipped, read once, in pieces, by the rules that `ingest` will read it by."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from lockgate.errors import BadCall

PIECE = 20_000  # rows
_DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 50  # records to tell the delimiter by


@dataclass(frozen=True)
class Source:
    """A file, its header and its delimiter."""

    path: Path
    header: tuple[str, ...]
    delimiter: str

    def pieces(self) -> Iterator[list[list[str]]]:
        """The rows after the header, some thousands at a time. Errors: BadCall, naming the line, never a value."""
        with _text(self.path) as text:
            records = _records(text, self.delimiter)
            yield from self._checked(records)

    def _checked(self, records: "_Records") -> Iterator[list[list[str]]]:
        with _readable(self.path, records):
            rows = (row for row in records if row not in ([], [""]))
            next(rows)
            width = len(self.header)
            while piece := list(islice(rows, PIECE)):
                if any(len(row) != width for row in piece):
                    msg = f"not every row of {self.path.name} has the {width} fields of its header (before line {records.line})"
                    raise BadCall(msg, fix="mend those rows: quote the fields that hold the delimiter or a line break")
                yield piece


def open_csv(path: Path) -> Source:
    """Find the delimiter and the header of a file. Errors: BadCall, saying what it is instead."""
    _check_kind(path)
    found = [(len(header), delimiter, header) for delimiter in _DELIMITERS if (header := _header(path, delimiter))]
    if not found:
        msg = f"{path.name} has one column only, or rows of different lengths"
        raise BadCall(msg, fix="give a CSV file whose fields are separated by a comma, semicolon, tab or |")
    _, delimiter, header = max(found, key=lambda each: each[0])
    source = Source(path, tuple(name.strip() for name in header), delimiter)
    _check_header(source)
    return source


def _check_kind(path: Path) -> None:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        near = sorted(each.name for each in folder.iterdir() if each.name.endswith((".csv", ".csv.gz", ".tsv")))[:5]
        msg = f"there is no file {path}"
        raise BadCall(msg, fix=f"there are: {', '.join(near)}" if near else "give the path of a CSV file")
    try:
        with path.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise BadCall(msg, fix="give this user the right to read it") from error
    if not first:
        msg = f"{path.name} is empty"
        raise BadCall(msg, fix="give a CSV file with a header and rows")
    if first == b"PAR1":
        msg = f"{path.name} is Parquet; lockgate new guesses from CSV"
        raise BadCall(msg, fix="write a sample of it as CSV, then set data and format='parquet' in the pipeline.py it makes")
    if first[:2] == b"PK":
        msg = f"{path.name} is a zip archive or a workbook, not CSV"
        raise BadCall(msg, fix="save the sheet as CSV (UTF-8), or unpack the archive")
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _not_utf8(path, "is UTF-16, not UTF-8", "utf-16")


def _check_header(source: Source) -> None:
    numbers = [name for name in source.header if _is_number(name)]
    if numbers:
        msg = f"{source.path.name} seems to have no header: {len(numbers)} of its {len(source.header)} names are numbers"
        raise BadCall(msg, fix="write the columns' names into the first line")
    twice = [name for name, seen in Counter(source.header).items() if name and seen > 1]
    if twice:
        msg = f"{source.path.name} has more than one column {', '.join(repr(name) for name in twice)}"
        raise BadCall(msg, fix="give each column its own name in the first line")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().casefold() not in ("nan", "inf", "infinity")


def _header(path: Path, delimiter: str) -> list[str] | None:
    """The header, if this delimiter cuts the first records into equally many fields, two at least."""
    with _text(path) as text:
        records = _records(text, delimiter)
        with _readable(path, records, lenient=True):
            first = [row for row in islice(records, _LOOKED_AT) if row not in ([], [""])]
            widths = {len(row) for row in first}
            return first[0] if len(widths) == 1 and len(first[0]) > 1 else None
    return None


class _Records:
    """The records of a text and the number of the line read last."""

    def __init__(self, text: TextIO, delimiter: str) -> None:
        self._reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)

    @property
    def line(self) -> int:
        return self._reader.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return self._reader


def _records(text: TextIO, delimiter: str) -> _Records:
    return _Records(text, delimiter)


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
    opened: TextIO
    if gzipped:
        opened = gzip.open(path, "rt", encoding="utf-8-sig", newline="")  # type: ignore[assignment] # text mode gives text
    else:
        opened = path.open(encoding="utf-8-sig", newline="")
    with opened as text:
        yield text


@contextmanager
def _readable(path: Path, records: _Records, *, lenient: bool = False) -> Iterator[None]:
    """Turn what is wrong with the file into a BadCall; leniently, what only says that the delimiter is another."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise _not_utf8(path, f"is not UTF-8 (after line {records.line})", "cp1252") from error
    except EOFError as error:
        msg = f"{path.name} ends in the middle of its compressed data, after line {records.line}"
        raise BadCall(msg, fix="copy it again, whole") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        msg = f"{path.name} is damaged: its compressed data cannot be read after line {records.line}"
        raise BadCall(msg, fix="copy it again, whole") from error
    except csv.Error as error:
        if lenient:
            return
        msg = f"{path.name} is not CSV at line {records.line}: {error}"
        raise BadCall(msg, fix='close each quote, and double the quotes inside quotes ("")') from error


def _not_utf8(path: Path, what: str, likely: str) -> BadCall:
    return BadCall(f"{path.name} {what}", fix=f"iconv -f {likely} -t utf-8 {path.name} > utf8-{path.name}, then give that file")


__all__: Sequence[str] = ["Source", "open_csv"]
