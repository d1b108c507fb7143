"""Mutexes between runs on this machine: one locked file each, which the kernel unlocks when its process ends."""

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from filelock import BaseFileLock, FileLock, Timeout

from lockgate.engine.locks import cannot_lock
from lockgate.errors import OutsideFailed


class Mutexes:
    """The mutexes of one run. They are acquired in the order of their names, so that two runs cannot deadlock."""

    def __init__(self, folder: Path, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._wake = wake
        self._guard = threading.Lock()
        self._held: dict[str, Sequence[BaseFileLock]] = {}
        self._waiting: set[str] = set()

    def acquire(self, holder: str, names: Iterable[str]) -> bool:
        """Return whether the holder has all mutexes; if not, wait for them in a thread and then call `wake`.

        Errors: OutsideFailed if one cannot be locked.
        """
        with self._guard:
            if holder in self._held:
                return True
            if holder in self._waiting:
                return False
            locks = self._locks(names)
            if _acquire(locks, blocking=False):
                self._held[holder] = locks
                return True
            self._waiting.add(holder)
        threading.Thread(target=self._wait, args=(holder, locks), daemon=True).start()
        return False

    def release(self, holder: str) -> None:
        """Release the mutexes of the holder, or stop waiting for them."""
        with self._guard:
            self._waiting.discard(holder)
            _release(self._held.pop(holder, ()))

    def release_all(self) -> None:
        """Release every mutex of the run."""
        for holder in [*self._held, *self._waiting]:
            self.release(holder)

    def _wait(self, holder: str, locks: Sequence[BaseFileLock]) -> None:
        try:
            _acquire(locks, blocking=True)
        except OutsideFailed:
            locks = ()  # the caller tries again, and gets the error
        with self._guard:
            if holder in self._waiting:
                self._waiting.discard(holder)
                if locks:
                    self._held[holder] = locks
            else:
                _release(locks)
        self._wake()

    def _locks(self, names: Iterable[str]) -> list[BaseFileLock]:
        self._folder.mkdir(parents=True, exist_ok=True)
        files = [self._folder / f"{quote(name, safe='')}.lock" for name in sorted(set(names))]
        # Not thread-local: the thread that waited for a lock is not the one that releases it.
        return [FileLock(file, thread_local=False) for file in files]


def _acquire(locks: Sequence[BaseFileLock], *, blocking: bool) -> bool:
    for index, lock in enumerate(locks):
        try:
            lock.acquire(blocking=blocking)
        except Timeout:
            _release(locks[:index])
            return False
        except OSError as error:
            _release(locks[:index])
            raise cannot_lock(Path(lock.lock_file), error) from error
    return True


def _release(locks: Sequence[BaseFileLock]) -> None:
    for lock in locks:
        lock.release()
