"""Reads files that somebody else supplied: regular files only, never through a link, and no longer than allowed.

Opening never blocks: a FIFO or a device in the place of a file is refused, not read. A file is opened once, so what was
checked is what is read. Hard links need no rule: bytes that are used are bytes that were read here and verified.
"""

import errno
import os
import shutil
import stat
import unicodedata
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from lockgate_step._errors import BadCall

MOST_FILES = 10_000
LARGEST_FOLDER = 8 << 30  # bytes, as much as the volume of a serving pod
LARGEST_RECORD = 16 << 20  # bytes of a file that is parsed whole: a signed record, a manifest, a list of waivers
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_A_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR}


class UnsafeFile(BadCall):
    """A supplied file is a link, a FIFO or a device, has an unsafe name, or is too large."""


def open_supplied(path: str | os.PathLike[str], *, dir_fd: int | None = None) -> BufferedReader:
    """Open a regular file for reading; its folder may be reached through links, the file itself not.

    Errors: UnsafeFile, FileNotFoundError, another OSError.
    """
    try:
        handle = os.open(path, _FLAGS, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise _unsafe(path, "is a link or not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _unsafe(path, "is not a regular file")
    return os.fdopen(handle, "rb")


def read_supplied(path: str | os.PathLike[str], most: int = LARGEST_RECORD) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Errors: as `open_supplied`.
    """
    with open_supplied(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise _unsafe(path, f"has more than {most:,} bytes")
    return content


def supplied_files(folder: str | os.PathLike[str]) -> Iterator[tuple[str, BufferedReader]]:
    """Yield each file below a folder, opened, with its `/`-separated relative name; a file is closed before the next.

    Errors: UnsafeFile for a link, a FIFO or a device, for a name that is not plain, or for more than is allowed.
    """
    count = size = 0
    for place, folders, names, here in os.fwalk(os.path.realpath(folder)):
        inside = os.path.relpath(place, os.path.realpath(folder))
        prefix = "" if inside == "." else f"{inside}/"
        for name in sorted([*folders, *names]):
            count += 1
            if count > MOST_FILES:
                raise _unsafe(folder, f"has more than {MOST_FILES:,} files")
            if not is_plain(prefix + name):
                raise _unsafe(folder, f"has a file whose name is not plain: {prefix + name!a:.200}")
            if name in folders and not stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                raise _unsafe(prefix + name, "is a link")
        for name in sorted(names):
            try:
                stream = open_supplied(name, dir_fd=here)
            except UnsafeFile as error:
                raise _unsafe(prefix + name, "is a link or not a regular file") from error
            with stream:
                size += os.fstat(stream.fileno()).st_size
                if size > LARGEST_FOLDER:
                    raise _unsafe(folder, f"has more than {LARGEST_FOLDER:,} bytes")
                yield prefix + name, stream


def copy_supplied(folder: str | os.PathLike[str], target: Path) -> None:
    """Copy a folder's files to a new folder that only this user can read, each opened once.

    Verify the copy, and load from it: nobody else writes there, so what was verified is what is loaded.
    Errors: as `supplied_files`.
    """
    target.mkdir(mode=0o700, parents=True)
    size = 0
    for name, stream in supplied_files(folder):
        copy = target / name
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(copy, "xb") as written:
            shutil.copyfileobj(stream, written, 1 << 20)
            size += written.tell()  # a file may grow while it is copied
        if size > LARGEST_FOLDER:
            raise _unsafe(folder, f"has more than {LARGEST_FOLDER:,} bytes")


def is_plain(name: str) -> bool:
    """Return whether a relative name has one form only: plain segments, printable, composed Unicode, no leading dot."""
    parts = name.split("/")
    return (
        len(name) <= 1024
        and name.isprintable()
        and "\\" not in name
        and unicodedata.normalize("NFC", name) == name
        and all(part and part[0] != "." for part in parts)
    )


def _unsafe(path: str | os.PathLike[str], problem: str) -> UnsafeFile:
    return UnsafeFile(f"{os.fspath(path)} {problem}", fix="replace it by a regular file, as its step wrote it")
