"""Reads a data file within limits: a small file must not unpack to more than a machine's memory or time.

`lockgate new` and `ingest` both read CSV through here, so a file that one of them accepts is not refused by the other.
"""

import csv
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, NoReturn, cast

from lockgate_step._errors import BadCall, SpecError

FREE = 64 << 20  # bytes: the limit `ratio` holds beyond them, because a small file may repeat one line
BLANK = 100_000  # blank lines that are skipped before the file is refused
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest data file that is read; a larger one is refused with the figure.

    unpacked: bytes of the whole file after decompression.
    ratio: bytes after decompression for each byte of the file, from 64 MiB on.
    line: characters of a line, or of a row whose values contain line breaks.
    cell: characters of a value.
    columns: columns of the file, also those that the spec does not name.
    Errors: SpecError when a limit is not a whole number above 0.
    """

    unpacked: int = 16 << 30
    ratio: int = 200
    line: int = 1 << 20
    cell: int = 1 << 17
    columns: int = 2_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 60:
                msg = f"limits: {name} is {value!r}, which is not a whole number above 0"
                raise SpecError(msg, fix=f"write e.g. Limits({name}={vars(Limits)[name]})")

    def check_unpacked(self, name: str, size: int, packed: int) -> None:
        """Check how much the file unpacks to, in bytes so far. Errors: BadCall."""
        if size > self.unpacked:
            self.refuse(name, f"unpacks to more than {self.unpacked:,} bytes", "unpacked")
        if size > max(FREE, packed * self.ratio):
            self.refuse(
                name, f"has {packed:,} bytes and unpacks to more than {max(FREE, packed * self.ratio):,}", "ratio"
            )

    def check_columns(self, name: str, columns: int) -> None:
        """Check the number of columns. Errors: BadCall."""
        if columns > self.columns:
            self.refuse(name, f"has {columns:,} columns; at most {self.columns:,} are read", "columns")

    def refuse(self, name: str, problem: str, limit: str, fix: str = "check where the file is from") -> NoReturn:
        """Refuse a file that exceeds a limit. Errors: BadCall."""
        msg = f"{name} {problem}"
        raise BadCall(msg, fix=f"{fix}; if it is right, set data=Data(..., limits=Limits({limit}=...)) in the spec")


def unpacked(raw: IO[bytes], name: str, limits: Limits) -> IO[bytes]:
    """Return the content of an open file, decompressed if it is gzip; reading it raises BadCall beyond the limits."""
    packed = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    gzipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    plain = cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb")) if gzipped else raw
    return cast(IO[bytes], io.BufferedReader(_Counted(plain, name, packed, limits), _CHUNK))


def check_unpacked(path: str | os.PathLike[str], name: str, limits: Limits) -> None:
    """Decompress a file without reading its rows, which takes much longer. Errors: BadCall beyond the limits."""
    with open(path, "rb") as raw, unpacked(raw, name, limits) as plain:
        try:
            while plain.read(_CHUNK):
                pass
        except (EOFError, OSError, zlib.error):
            return  # a damaged file: who reads its rows can say after which line


class _Counted(io.RawIOBase):
    """Counts the bytes that are read from a stream."""

    def __init__(self, plain: IO[bytes], name: str, packed: int, limits: Limits) -> None:
        self._plain, self._name, self._packed, self._limits = plain, name, packed, limits
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        count = int(self._plain.readinto(buffer))  # type: ignore[attr-defined]
        self._size += count
        self._limits.check_unpacked(self._name, self._size, self._packed)
        return count


class Records:
    """The rows of a CSV text, without blank lines and comments. Reading raises BadCall for a row beyond the limits.

    name: of the file, for messages. comment: the text that begins a line to skip. `line` is the last line read.
    """

    def __init__(
        self, text: io.TextIOBase | IO[str], name: str, delimiter: str, limits: Limits, *, comment: str | None = None
    ) -> None:
        self._text, self._name, self._limits, self._comment = text, name, limits, comment
        self._comments = self._row = 0
        csv.field_size_limit(limits.cell)
        self._reader = csv.reader(self._lines(), delimiter=delimiter, skipinitialspace=delimiter != " ", strict=True)

    @property
    def line(self) -> int:
        """The number of the last line read."""
        return self._reader.line_num + self._comments

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the rows. Errors: BadCall; csv.Error and the errors of the stream for a damaged file."""
        blank = 0
        try:
            for row in self._reader:
                self._row = 0
                if row and row != [""]:
                    yield row
                    continue
                blank += 1
                if blank > BLANK:
                    msg = f"{self._name} has more than {BLANK:,} blank lines before line {self.line + 1:,}"
                    raise BadCall(msg, fix="remove the blank lines")
        except csv.Error as error:
            if "field limit" not in str(error):
                raise
            problem = f"has a value of more than {self._limits.cell:,} characters at line {self.line:,}"
            self._limits.refuse(self._name, problem, "cell", "close each quote")

    def _lines(self) -> Iterator[str]:
        longest, quoted = self._limits.line, False
        while line := self._text.readline(longest + 1):
            self._row += len(line)
            if self._row > longest:
                problem = f"has a line of more than {longest:,} characters after line {self.line:,}"
                self._limits.refuse(self._name, problem, "line", "check the line breaks, and close each quote")
            if self._comment:
                # A line inside quotes is part of a value, even if it starts like a comment.
                if line.startswith(self._comment) and not quoted:
                    self._comments += 1
                    self._row = 0
                    continue
                quoted ^= line.count('"') % 2 == 1
            yield line
