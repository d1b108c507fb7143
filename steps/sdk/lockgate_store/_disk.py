"""Files that appear whole or not at all."""

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
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EROFS: "mount it writable, or choose another place",
}


@contextmanager
def disk(what: str) -> Iterator[None]:
    """Turn the medium's own failures into `OutsideFailed`; a missing file stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        msg = f"{what}: {error.strerror or type(error).__name__}"
        raise OutsideFailed(msg, fix=_FIXES.get(error.errno or 0, "see to that disk, then run it again")) from error


@contextmanager
def staged(folder: Path, *, prefix: str = ".part-") -> Iterator[IO[bytes]]:
    """A new file in the folder, gone when the block ends unless it was given its name."""
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=prefix, delete=False) as part:
        try:
            yield part
        finally:
            Path(part.name).unlink(missing_ok=True)


def settle(part: IO[bytes], target: Path) -> None:
    """Give a staged and flushed file its name, so that the name survives a power cut too."""
    os.replace(part.name, target)
    sync_folder(target.parent)


def sync(part: IO[bytes]) -> None:
    """Flush a file to the disk."""
    part.flush()
    os.fsync(part.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
