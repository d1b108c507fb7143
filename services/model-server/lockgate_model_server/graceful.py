"""uvicorn, ended so that every caller who got through gets his answer.

uvicorn alone closes its port and its idle connections at once, and with them whoever had connected but was not read
yet; on a busy machine that was somebody at one stop in four.
"""

import asyncio
import ctypes
import select
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

# For requests in flight after SIGTERM. Who starts us kills after 10 (the supervisor) or 30 seconds (Kubernetes).
_ANSWER_SECONDS = 6
_ARRIVE_SECONDS = 2
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python's socket module does not name it


class Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, its access log and its name, and with patience at the end."""

    def __init__(self, app: FastAPI, linger: float) -> None:
        self._linger = linger
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_ANSWER_SECONDS
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to MLServer, whose handlers are in place from before the model is loaded."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send away who keeps a connection, admit nobody more, hear out who is on his way in, let uvicorn finish."""
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
        """Tell with each answer that the connection ends, until all have been told or have been silent too long.

        A caller who keeps one connection would otherwise write his next request into one that is closed just then.
        """
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    def _somebody_arrives(self, listening: Sequence[socket.socket]) -> bool:
        """Whether a connection waits to be taken up, has not asked anything yet, or has asked and not been heard."""
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
    """Let a listening socket finish no more handshakes, so that what waits for it is all that will ever come.

    A socket filter that lets no packet through (Linux; elsewhere a caller of the last instant may be reset). A caller
    who is kept out tries again by himself, as TCP does, and finds the port closed or its next owner.
    """
    if sys.platform == "linux":
        refuse_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K: take 0 bytes
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(refuse_all)))
