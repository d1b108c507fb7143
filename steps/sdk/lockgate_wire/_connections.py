"""Limits of the connections of a server: how many, and how long each may take for a request and an answer."""

import asyncio
import resource
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

BACKLOG = 64  # connections that the kernel accepts before the server does; they are accepted all at once
_OWN_FILES = 64  # of the process itself: libraries, the model, logs, pipes
_SWEEP_SECONDS = 0.25


class Phase(Enum):
    """What a connection waits for: a request's header, the rest of its body, its answer, or a caller who reads it."""

    HEADER = "header"
    BODY = "body"
    ANSWER = "answer"
    READER = "reader"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The number of open connections and of requests in progress, and the seconds that one may spend in each phase.

    answers: requests that may wait for their answer at a time; the server refuses more with 503.
    header_seconds: also the time that a connection without a request stays open.
    """

    connections: int = 1000
    answers: int = 128
    header_seconds: float = 15.0
    body_seconds: float = 30.0
    answer_seconds: float = 330.0
    reader_seconds: float = 60.0

    def seconds(self, phase: Phase) -> float:
        """Return the limit of a phase."""
        # The server itself answers a slow body with an error, so it gets some time for that.
        return {
            Phase.HEADER: self.header_seconds,
            Phase.BODY: self.body_seconds + self.header_seconds,
            Phase.ANSWER: self.answer_seconds,
            Phase.READER: self.reader_seconds,
        }[phase]


class Connection(Protocol):
    """One connection of a server's library."""

    def phase(self) -> Phase:
        """Return what it waits for now."""

    def cut(self) -> None:
        """Close it at once."""


class Connections:
    """The open connections of one server, in the order in which they entered their phase.

    At the limit, a new connection replaces the one that has waited longest for its caller: so callers who send
    or read nothing cannot keep out those who do, health checks included.
    files_each: open files per connection; the process's limit of open files limits the connections too.
    ports: on which the server listens.
    """

    def __init__(self, limits: Limits, files_each: int = 1, ports: int = 1) -> None:
        self.limits = limits
        self.most = max(1, min(limits.connections, (_file_limit() - _OWN_FILES - ports * BACKLOG) // files_each))
        self._open: dict[Connection, tuple[Phase, float]] = {}
        self._phases: Counter[Phase] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> bool:
        """Whether more requests wait for their answer than may."""
        return self._phases[Phase.ANSWER] > self.limits.answers

    def opened(self, connection: Connection) -> None:
        """Count a new connection, and cut another one, or it, if there are too many."""
        self._enter(connection, Phase.HEADER)
        if len(self._open) > self.most:
            waiting = (each for each, (phase, _) in self._open.items() if phase is not Phase.ANSWER)
            self._cut(next(waiting, connection))

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection in self._open:
            self._phases[self._open.pop(connection)[0]] -= 1

    def changed(self, connection: Connection) -> None:
        """Note the phase of a connection; its time begins when the phase does."""
        before, phase = self._open.get(connection), connection.phase()
        if before is not None and before[0] is not phase:
            self.closed(connection)  # to the end of the order
            self._enter(connection, phase)

    def sweep(self) -> None:
        """Cut every connection that is over the limit of its phase."""
        for connection in list(self._open):
            self.changed(connection)
        now = _now()
        late = [each for each, (phase, since) in self._open.items() if now - since > self.limits.seconds(phase)]
        for connection in late:
            self._cut(connection)

    async def keep_sweeping(self) -> None:
        """Sweep until cancelled."""
        while True:
            self.sweep()
            await asyncio.sleep(min(_SWEEP_SECONDS, self.limits.header_seconds / 4))

    def _enter(self, connection: Connection, phase: Phase) -> None:
        self._open[connection] = phase, _now()
        self._phases[phase] += 1

    def _cut(self, connection: Connection) -> None:
        self.closed(connection)
        connection.cut()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _file_limit() -> int:
    """Raise this process's limit of open files as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
