"""Writes files that appear complete or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from lockgate_step import OutsideFailed

CHUNK = 1 << 20

_FIXES = {
    errno.ENOSPC: "free space on that disk, or choose another, then run it again",
    errno.EDQUOT: "free space in that quota, or choose another disk, then run it again",
    errno.EFBIG: "raise the limit on file sizes, or choose another disk, then run it again",
    errno.EACCES: "give this user permission to read and write there",
    errno.EPERM: "give this user permission to read and write there",
    errno.EROFS: "mount it writable, or choose another folder",
}


@contextmanager
def disk(what: str) -> Iterator[None]:
    """Convert failures of the disk to `OutsideFailed`; a missing file stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        msg = f"{what}: {error.strerror or type(error).__name__}"
        raise OutsideFailed(msg, fix=_FIXES.get(error.errno or 0, "check that disk, then run it again")) from error


@contextmanager
def staged(folder: Path, *, prefix: str = ".part-") -> Iterator[IO[bytes]]:
    """Yield a new file in the folder; it is deleted at the end of the block unless `settle` renamed it."""
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=prefix, delete=False) as part:
        try:
            yield part
        finally:
            Path(part.name).unlink(missing_ok=True)


def settle(part: IO[bytes], target: Path) -> None:
    """Rename a staged and flushed file to its final name; the name survives a power failure."""
    os.replace(part.name, target)
    sync_folder(target.parent)


def sync(part: IO[bytes]) -> None:
    """Flush a file to disk."""
    part.flush()
    os.fsync(part.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
