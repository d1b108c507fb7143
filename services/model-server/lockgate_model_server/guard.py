"""uvicorn's connections within the limits of `lockgate_wire`: it has none for slow headers, bodies and readers."""

import asyncio
import json
from typing import Any

import h11
from lockgate_wire import Connections, Phase
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEADER_BYTES = 16 * 2**10
# Reading a chunk takes as long as reading kilobytes of data, so many small ones would hold up every other caller.
_SMALL_CHUNKS = 2000
_CHUNK_BYTES = 64  # of all further ones, on average


class _Http(h11.Connection):
    """HTTP/1.1 without bodies in very small chunks."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, _HEADER_BYTES)
        self._chunks = self._bytes = 0

    def next_event(self) -> Any:
        """Return the next event. Errors: h11.RemoteProtocolError."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._bytes += len(event.data)
            if self._chunks > _SMALL_CHUNKS + self._bytes / _CHUNK_BYTES:
                msg = "the body has too many small chunks"
                raise h11.RemoteProtocolError(msg)
        return event


class Guarded(H11Protocol):
    """One connection, counted and timed; what is not HTTP is answered in the form of every other error."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._connections = connections
        self.conn = _Http()

    def phase(self) -> Phase:
        """Return what the connection waits for."""
        if self.cycle is None or self.cycle.response_complete:
            # An answer that the caller has not read yet is still in the buffer.
            return Phase.READER if self.transport.get_write_buffer_size() else Phase.HEADER
        return Phase.BODY if self.cycle.more_body else Phase.ANSWER

    def cut(self) -> None:
        """Close it without waiting for what is not read or written yet."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Count the connection."""
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.closed(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Note what has arrived."""
        super().handle_events()
        self._connections.changed(self)

    def on_response_complete(self) -> None:
        """Note that the answer is complete."""
        super().on_response_complete()
        self._connections.changed(self)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless an answer has begun; the request in progress, if any, ends unanswered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": "the request is not valid HTTP/1.1"}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.transport.close()
