"""A store in a folder of one machine, or of a file system that supports flock."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

from lockgate_step import OutsideFailed, UnsafeFile, open_supplied

from lockgate_store._disk import CHUNK, disk, settle, staged, sync, sync_folder
from lockgate_store._store import LARGEST_READ, Blob, Exists, Missing, Moved, check_key, check_size

_STALE = 24 * 3600  # seconds after which a part that a killed writer left is deleted


@dataclass(frozen=True)
class FileStore:
    """Each key is a file below the root.

    Bytes are written to `.parts/` and flushed before the lock is taken; under the lock, files are only renamed. So a
    writer killed at any moment leaves the old content or the new one, and perhaps a part that is not a key.
    """

    root: Path

    def __str__(self) -> str:
        return self.root.as_uri()

    def read(self, key: str, *, at_most: int | None = None) -> Blob:
        """Return the bytes and their version."""
        with self._disk("read", key), self._open(key) as stream:
            data = stream.read((LARGEST_READ if at_most is None else at_most) + 1)
        check_size(self, key, len(data), at_most)
        return Blob(data, _version(data))

    def create(self, key: str, data: bytes) -> str:
        """Create a key that must not exist."""
        with self._disk("write", key), self._written(data) as part:
            self._settle_new(part, key)
        return _version(data)

    def replace(self, key: str, data: bytes, version: str) -> str:
        """Replace exactly this version."""
        with self._disk("write", key), self._written(data) as part, self._locked():
            self._expect(key, version)
            settle(part, self._path(key))
        return _version(data)

    def put(self, key: str, data: bytes) -> str:
        """Write the key, whether it exists or not."""
        with self._disk("write", key), self._written(data) as part, self._locked():
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            settle(part, path)
        return _version(data)

    def delete(self, key: str, version: str) -> None:
        """Delete exactly this version."""
        with self._disk("delete", key), self._locked():
            self._expect(key, version)
            self._path(key).unlink()
            sync_folder(self._path(key).parent)

    def exists(self, key: str) -> bool:
        """Return whether exactly this key exists."""
        return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with the prefix, sorted."""
        folder = self.root / prefix.rpartition("/")[0]
        found = [Path(at, name) for at, folders, names in os.walk(folder) if _visible(folders) for name in names]
        keys = (path.relative_to(self.root).as_posix() for path in found if not path.name.startswith("."))
        yield from sorted(key for key in keys if key.startswith(prefix))

    def upload(self, path: str | os.PathLike[str], key: str) -> str:
        """Create a key from a file, in pieces."""
        with open(path, "rb") as source, self._disk("write", key), staged(self._parts()) as part:
            shutil.copyfileobj(source, part, CHUNK)
            self._settle_new(part, key)
            source.seek(0)
            return hashlib.file_digest(source, "sha256").hexdigest()

    def download(self, key: str, path: str | os.PathLike[str]) -> None:
        """Copy the content of a key to a file, in pieces."""
        target = Path(path)
        doing = disk(f"cannot copy {key} of {self} to {target}")
        with doing, self._open(key) as source, staged(target.parent) as part:
            shutil.copyfileobj(source, part, CHUNK)
            sync(part)
            settle(part, target)

    def sweep(self) -> None:
        """Delete the parts that killed writers left more than a day ago."""
        for part in self._parts().glob(".part-*"):
            with suppress(FileNotFoundError):  # its writer has just finished
                if time.time() - part.stat().st_mtime > _STALE:
                    part.unlink()

    def _open(self, key: str) -> BufferedReader:
        """Open a key's file; a link, a FIFO or a device in its place is not read, and nobody waits for it."""
        path = self._path(key)
        try:
            return open_supplied(path)
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(key) from None
        except UnsafeFile as error:
            if path.is_dir() and not path.is_symlink():
                raise Missing(key) from None
            msg = f"{key} in the store {self} is not a regular file"
            raise OutsideFailed(msg, fix="find out who put it there, and restore the file") from error

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _parts(self) -> Path:
        return self.root / ".parts"

    def _settle_new(self, part: IO[bytes], key: str) -> None:
        path = self._path(key)
        sync(part)
        with self._locked():
            if path.exists():
                raise Exists(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            settle(part, path)

    def _expect(self, key: str, version: str) -> None:
        try:
            kept = self.read(key)
        except Missing:
            raise Moved(key) from None
        if kept.version != version:
            raise Moved(key)

    @contextmanager
    def _written(self, data: bytes) -> Iterator[IO[bytes]]:
        with staged(self._parts()) as part:
            part.write(data)
            sync(part)
            yield part

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock out other processes and threads, as each call opens the file; a killed process releases its lock."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _disk(self, verb: str, key: str) -> AbstractContextManager[None]:
        return disk(f"cannot {verb} {key} in the store {self}")


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _visible(folders: list[str]) -> bool:
    """Remove hidden folders from the walk in place, as os.walk requires; always return True."""
    folders[:] = [name for name in folders if not name.startswith(".")]
    return True
