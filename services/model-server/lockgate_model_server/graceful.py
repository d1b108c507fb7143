"""Ends uvicorn so that every connected caller gets an answer.

uvicorn alone closes its port and its idle connections at once, including connections whose request was not read yet.
On a busy machine one stop in four lost a request.
"""

import asyncio
import ctypes
import select
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn
from lockgate_wire import BACKLOG, Connections, Limits

from lockgate_model_server.door import App
from lockgate_model_server.guard import Guarded

# For requests in flight after SIGTERM. The supervisor kills this process after 10 seconds, Kubernetes after 30 or more.
_ANSWER_SECONDS = 6
_ARRIVE_SECONDS = 2
_SO_ATTACH_FILTER = 26  # from asm-generic/socket.h; Python's socket module does not define it


class Uvicorn(uvicorn.Server):
    """uvicorn with limits and a graceful shutdown, and without its signal handlers, access log and server header."""

    def __init__(self, app: App, linger: float, limits: Limits, ports: int = 1) -> None:
        self._linger = linger
        self._guard = Connections(limits, ports=ports)
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(Guarded, self._guard),  # type: ignore[arg-type]  # uvicorn only calls it
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=_ANSWER_SECONDS,
            )
        )

    @property
    def busy(self) -> bool:
        """Whether more requests wait for their answer than may."""
        return self._guard.busy

    async def main_loop(self) -> None:
        """Serve, and keep every connection within its limits."""
        async with asyncio.TaskGroup() as tasks:
            sweeping = tasks.create_task(self._guard.keep_sweeping())
            await super().main_loop()
            sweeping.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to MLServer, which installs its handlers before it loads the model."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End kept connections, accept no new ones, answer those that are already connected, and stop uvicorn."""
        listening = sockets or []
        clock = asyncio.get_running_loop().time
        await self._send_away(clock() + self._linger)
        for sock in listening:
            _admit_no_more(sock)
        deadline = clock() + _ARRIVE_SECONDS
        while self._somebody_arrives(listening) and clock() < deadline:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    async def _send_away(self, deadline: float) -> None:
        """Send `connection: close` with each answer until no connections are left or the deadline has passed.

        Otherwise a caller with an open connection could send the next request while the connection is being closed.
        """
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    def _somebody_arrives(self, listening: Sequence[socket.socket]) -> bool:
        """Return whether a connection is not accepted yet, has sent no request yet, or has an unread request."""
        poll = select.poll()
        for sock in listening:
            poll.register(sock, select.POLLIN)
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is None:
                return True
            if cycle.response_complete and not connection.transport.is_closing():
                poll.register(connection.transport.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))


def _admit_no_more(sock: socket.socket) -> None:
    """Stop a listening socket from completing handshakes, so that only the waiting connections remain.

    It attaches a socket filter that drops every packet (on Linux; elsewhere the last callers may be reset). The TCP
    stack of a caller that is kept out retries, and finds the port closed or owned by the next server.
    """
    if sys.platform == "linux":
        refuse_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K: take 0 bytes
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(refuse_all)))
