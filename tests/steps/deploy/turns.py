"""Programs side by side on one store in memory: a schedule says whose next call to the store comes next."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import TypeVar

from lockgate_store import Blob, Exists, Missing, Moved

Answer = TypeVar("Answer")


class Killed(BaseException):
    """The process ends here; no code may catch it."""


@dataclass
class Memory:
    """A store in memory, with the guarantees of the real ones (tests/sdk/store)."""

    kept: dict[str, Blob] = field(default_factory=dict)
    writes: int = 0

    def read(self, key: str, *, at_most: int | None = None) -> Blob:
        del at_most
        if key not in self.kept:
            raise Missing(key)
        return self.kept[key]

    def create(self, key: str, data: bytes) -> str:
        if key in self.kept:
            raise Exists(key)
        return self.put(key, data)

    def replace(self, key: str, data: bytes, version: str) -> str:
        self._check(key, version)
        return self.put(key, data)

    def put(self, key: str, data: bytes) -> str:
        self.writes += 1
        self.kept[key] = Blob(data, str(self.writes))
        return str(self.writes)

    def delete(self, key: str, version: str) -> None:
        self._check(key, version)
        del self.kept[key]

    def exists(self, key: str) -> bool:
        return key in self.kept

    def list(self, prefix: str) -> Iterator[str]:
        return iter(sorted(key for key in self.kept if key.startswith(prefix)))

    def upload(self, path: str | PathLike[str], key: str) -> str:
        raise NotImplementedError

    def download(self, key: str, path: str | PathLike[str]) -> None:
        raise NotImplementedError

    def _check(self, key: str, version: str) -> None:
        if key not in self.kept or self.kept[key].version != version:
            raise Moved(key)


class Actor(threading.Thread):
    """A process that runs from one call to the store to the next, whenever it has its turn."""

    def __init__(self, memory: Memory, name: str, work: "Callable[[Turned], None]") -> None:
        super().__init__(daemon=True, name=name)
        self.store = Turned(memory, self)
        self.ended = False
        self.dies = False
        self.error: BaseException | None = None
        self.writes = ""  # the key that it is about to write
        self._go, self._back, self._work = threading.Semaphore(0), threading.Semaphore(0), work

    def run(self) -> None:
        self._go.acquire()
        try:
            self._work(self.store)
        except BaseException as error:  # the test raises it where it sees it
            self.error = error
        self.ended = True
        self._back.release()

    def turn(self, *, dies: bool = False) -> None:
        """Let it go on to its next call to the store; or kill it there."""
        self.dies = dies
        self._go.release()
        self._back.acquire()
        if self.error is not None:
            raise self.error

    def wait(self, writes: str = "") -> None:
        """Give the turn back, before a call to the store that writes this key."""
        self.writes = writes
        self._back.release()
        self._go.acquire()
        if self.dies:
            self.dies = False
            raise Killed


@dataclass
class Turned:
    """The store as one actor calls it."""

    memory: Memory
    actor: Actor

    def read(self, key: str, *, at_most: int | None = None) -> Blob:
        self.actor.wait()
        return self.memory.read(key, at_most=at_most)

    def create(self, key: str, data: bytes) -> str:
        self.actor.wait(key)
        return self.memory.create(key, data)

    def replace(self, key: str, data: bytes, version: str) -> str:
        self.actor.wait(key)
        return self.memory.replace(key, data, version)

    def put(self, key: str, data: bytes) -> str:
        self.actor.wait(key)
        return self.memory.put(key, data)

    def delete(self, key: str, version: str) -> None:
        self.actor.wait(key)
        self.memory.delete(key, version)

    def exists(self, key: str) -> bool:
        self.actor.wait()
        return self.memory.exists(key)

    def list(self, prefix: str) -> Iterator[str]:
        self.actor.wait()
        return self.memory.list(prefix)

    def upload(self, path: str | PathLike[str], key: str) -> str:
        raise NotImplementedError

    def download(self, key: str, path: str | PathLike[str]) -> None:
        raise NotImplementedError
