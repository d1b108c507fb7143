"""Read a CSV file with a header, plain or gzipped, once and in pieces, by the same rules as `ingest`."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from lockgate_step import Limits, Records, check_unpacked, unpacked

from lockgate.errors import BadCall

LIMITS = Limits()
CELLS = 500_000  # of a piece: limits memory for any number of columns
_DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 50  # records to find the delimiter with


@dataclass(frozen=True)
class Source:
    """A file, its header and its delimiter."""

    path: Path
    header: tuple[str, ...]
    delimiter: str

    @property
    def places(self) -> Mapping[str, list[int]]:
        """The places of each column's name in the header; a name may be repeated."""
        found: dict[str, list[int]] = {}
        for place, name in enumerate(self.header):
            found.setdefault(name, []).append(place)
        return found

    def pieces(self) -> Iterator[list[list[str]]]:
        """Yield the rows after the header in pieces of about CELLS cells. Errors: BadCall, naming the line."""
        with _text(self.path) as text:
            records = _records(self.path, text, self.delimiter)
            yield from self._checked(records)

    def _checked(self, records: Records) -> Iterator[list[list[str]]]:
        with _readable(self.path, records):
            rows = self._rows(records)
            next(rows)  # the header
            while piece := list(islice(rows, max(1, CELLS // len(self.header)))):
                yield piece

    def _rows(self, records: Records) -> Iterator[list[str]]:
        width = len(self.header)
        for row in records:
            if len(row) == width:
                yield row
            else:
                msg = f"line {records.line} of {self.path.name} has {len(row)} fields, not {width}"
                raise BadCall(msg, fix="correct that line: quote the fields that contain the delimiter or a line break")


def open_csv(path: Path) -> Source:
    """Find the delimiter and the header of a file. Errors: BadCall, naming what is wrong with the file."""
    _check_kind(path)
    found: list[tuple[int, str, list[str]]] = []
    refused: BadCall | None = None
    for delimiter in _DELIMITERS:
        try:
            if header := _header(path, delimiter):
                found.append((len(header), delimiter, header))
        except BadCall as error:  # with another delimiter the values may be within the limits
            refused = refused or error
    if not found and refused:
        raise refused
    if not found:
        msg = f"{path.name} has only one column, or rows of different lengths"
        raise BadCall(msg, fix="use a CSV file whose fields are separated by a comma, semicolon, tab or |")
    _, delimiter, header = max(found, key=lambda each: each[0])
    LIMITS.check_columns(path.name, len(header))
    source = Source(path, tuple(name.strip() for name in header), delimiter)
    _check_header(source)
    return source


def _check_kind(path: Path) -> None:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        near = sorted(each.name for each in folder.iterdir() if each.name.endswith((".csv", ".csv.gz", ".tsv")))[:5]
        msg = f"there is no file {path}"
        raise BadCall(msg, fix=f"files there: {', '.join(near)}" if near else "pass the path of a CSV file")
    try:
        with path.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise BadCall(msg, fix="allow this user to read it") from error
    if not first:
        msg = f"{path.name} is empty"
        raise BadCall(msg, fix="use a CSV file with a header and rows")
    if first == b"PAR1":
        msg = f"{path.name} is Parquet; lockgate new reads only CSV"
        raise BadCall(msg, fix="use a sample of it as CSV; then set data in the new pipeline.py to the Parquet file")
    if first[:2] == b"PK":
        msg = f"{path.name} is a zip archive or a workbook, not CSV"
        raise BadCall(msg, fix="save the sheet as CSV (UTF-8), or unpack the archive")
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _not_utf8(path, "is UTF-16, not UTF-8", "utf-16")
    if first[:2] == b"\x1f\x8b":
        check_unpacked(path, path.name, LIMITS)


def _check_header(source: Source) -> None:
    numbers = [name for name in source.header if _is_number(name)]
    if numbers:
        many = f"{len(numbers)} of the {len(source.header)} fields of its first line are numbers"
        msg = f"{source.path.name} seems to have no header: {many}"
        raise BadCall(msg, fix="write the names of the columns in the first line")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().casefold() not in ("nan", "inf", "infinity")


def _header(path: Path, delimiter: str) -> list[str] | None:
    """The header, if this delimiter splits the first records into the same number of fields, at least two."""
    with _text(path) as text:
        records = _records(path, text, delimiter)
        with _readable(path, records):
            try:
                first = list(islice(records, _LOOKED_AT))
            except csv.Error:  # the quotes are not valid with this delimiter
                return None
    alike = len({len(row) for row in first}) == 1
    return first[0] if alike and len(first[0]) > 1 else None


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    # utf-8-sig skips a byte-order mark.
    with (
        path.open("rb") as raw,
        unpacked(raw, path.name, LIMITS) as plain,
        io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as text,
    ):
        yield text


def _records(path: Path, text: TextIO, delimiter: str) -> Records:
    return Records(text, path.name, delimiter, LIMITS)


@contextmanager
def _readable(path: Path, records: Records) -> Iterator[None]:
    """Raise BadCall for an error in the file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise _not_utf8(path, f"is not UTF-8 (after line {records.line})", "cp1252") from error
    except EOFError as error:
        msg = f"{path.name} ends in the middle of its compressed data, after line {records.line}"
        raise BadCall(msg, fix="copy the whole file again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        msg = f"{path.name} is damaged: cannot read its compressed data after line {records.line}"
        raise BadCall(msg, fix="copy the whole file again") from error
    except csv.Error as error:
        msg = f"{path.name} is not CSV at line {records.line}: {error}"
        raise BadCall(msg, fix='close each quote, and double the quotes inside quotes ("")') from error


def _not_utf8(path: Path, what: str, likely: str) -> BadCall:
    plain = path.name.removesuffix(".gz")
    return BadCall(f"{path.name} {what}", fix=f"iconv -f {likely} -t utf-8 {plain} > utf8-{plain}, then use that file")
