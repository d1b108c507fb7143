"""Mutexes between runs on this machine: a locked file each, so that a process that dies lets go."""

import fcntl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO
from urllib.parse import quote


class Mutexes:
    """The mutexes of one run. A holder's names are taken in one order, so that two runs cannot wait for each other."""

    def __init__(self, folder: Path, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._wake = wake
        self._guard = threading.Lock()
        self._held: dict[str, list[IO[bytes]]] = {}
        self._waiting: set[str] = set()

    def acquire(self, holder: str, names: Iterable[str]) -> bool:
        """Whether the holder has them all; if not, it is waited for, and `wake` called when it does."""
        with self._guard:
            if holder in self._held:
                return True
            if holder in self._waiting:
                return False
            ordered = sorted(set(names))
            taken = self._take(ordered, fcntl.LOCK_NB)
            if taken is not None:
                self._held[holder] = taken
                return True
            self._waiting.add(holder)
        # A blocking lock in a thread of its own: no polling, and nothing to undo if the process dies.
        threading.Thread(target=self._wait, args=(holder, ordered), daemon=True).start()
        return False

    def release(self, holder: str) -> None:
        """Let go of what the holder has, or stop waiting for it."""
        with self._guard:
            self._waiting.discard(holder)
            for file in self._held.pop(holder, []):
                file.close()

    def release_all(self) -> None:
        """Let go of everything."""
        for holder in [*self._held, *self._waiting]:
            self.release(holder)

    def _wait(self, holder: str, names: list[str]) -> None:
        taken = self._take(names, 0) or []
        with self._guard:
            if holder in self._waiting:
                self._waiting.discard(holder)
                self._held[holder] = taken
            else:
                for file in taken:
                    file.close()
        self._wake()

    def _take(self, names: list[str], flags: int) -> list[IO[bytes]] | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        taken: list[IO[bytes]] = []
        for name in names:
            file = (self._folder / f"{quote(name, safe='')}.lock").open("a+b")
            taken.append(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | flags)
            except BlockingIOError:
                for each in taken:
                    each.close()
                return None
        return taken
