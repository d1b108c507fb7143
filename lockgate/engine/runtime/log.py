"""Keep what a program writes to a pipe, up to a limit: the beginning and the newest end."""

import contextlib
import json
from pathlib import Path
from types import TracebackType
from typing import Self

LIMIT = 64 << 20  # bytes that are kept of the log of one attempt, and of its stdout
_END = 64  # this share of the limit is for the end, which is in memory until the program has ended


class KeptLog:
    """A file of at most `LIMIT` bytes; if there were more, a line in it says how many are left out."""

    def __init__(self, path: Path) -> None:
        self._limit = LIMIT
        self._file = path.open("wb", buffering=0)
        self._room, self._newest = self._limit - self._limit // _END, self._limit
        self._end, self._left_out = bytearray(), 0
        self._whole = True  # whether the beginning ends with a whole line

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        """Append a line, or a part of one."""
        if len(data) <= self._room:
            self._room -= len(data)
            self._newest -= len(data)
            self._whole = data.endswith(b"\n")
            self._put(data)
            return
        self._room = 0
        self._end += data
        if len(self._end) > 2 * self._newest:
            self._cut()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if len(self._end) > self._newest:
            self._cut()
        if self._left_out:
            begun = self._end.find(b"\n") + 1  # a line that is not whole is left out too
            self._left_out += begun
            del self._end[:begun]
            notice = {"event": "left-out", "bytes": self._left_out, "why": f"at most {self._limit:,} bytes are kept"}
            self._put(b"" if self._whole else b"\n")
            self._put(json.dumps(notice).encode() + b"\n")
        self._put(self._end)
        self._file.close()

    def _cut(self) -> None:
        beyond = len(self._end) - self._newest
        self._left_out += beyond
        del self._end[:beyond]

    def _put(self, data: bytes | bytearray) -> None:
        with contextlib.suppress(OSError):  # a full disk must not stop the program
            self._file.write(data)
