"""The relay's connections within the limits of `lockgate_wire`, and every error in one form."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from socket import socket
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from lockgate_wire import BACKLOG, Connections, Hosts, Limits, Phase


class Guarded(web.RequestHandler):
    """One connection, counted and timed; what is not HTTP is answered in the form of every other error."""

    __slots__ = ("_connections", "_reading")

    def __init__(self, server: web.Server, connections: Connections, **given: Any) -> None:
        super().__init__(server, **given)
        self._connections = connections
        self._reading: web.BaseRequest | None = None  # the request in progress

    def phase(self) -> Phase:
        """Return what the connection waits for."""
        if self._reading is not None:
            return Phase.ANSWER if self._reading.content.is_eof() else Phase.BODY
        transport = self.transport
        return Phase.READER if transport is not None and transport.get_write_buffer_size() else Phase.HEADER

    def cut(self) -> None:
        """Close it without waiting for what is not read or written yet."""
        if self.transport is not None:
            self.transport.abort()

    def began(self, request: web.BaseRequest) -> None:
        """Note that a request's header has arrived."""
        self._reading = request
        self._connections.changed(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._connections.closed(self)
        super().connection_lost(exc)

    def log_access(self, request: web.BaseRequest, response: web.StreamResponse, time: float | None) -> None:
        """Note that a response is complete; nothing is logged."""
        self._reading = None
        self._connections.changed(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, and a bug; the library's text would repeat what was sent."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.logger.error("bug", exc_info=exc)
        if request.writer.output_size > 0:
            msg = "part of a response was sent already"
            raise ConnectionError(msg)
        bug = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        said = "internal error; see the log" if bug else "the request is not valid HTTP/1.1"
        response = error_response(status, said, {hdrs.SERVER: ""})
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log the type and place of an exception (the handler of the log leaves out its text)."""
        self.logger.error("exception", exc_info=kw.get("exc_info"))


@asynccontextmanager
async def listening(app: web.Application, listener: socket, limits: Limits, drain: float) -> AsyncIterator[None]:
    """Serve an application on a socket; at the end, finish the requests in flight within `drain` seconds."""
    runner = web.AppRunner(app, shutdown_timeout=drain)
    await runner.setup()
    server, loop = runner.server, asyncio.get_running_loop()
    assert server is not None
    connections = Connections(limits, files_each=2)  # one from the caller, one to the model server

    def connection() -> Guarded:
        return Guarded(server, connections, loop=loop, access_log=None, auto_decompress=False)

    sweeping = asyncio.create_task(connections.keep_sweeping())
    accepting = await loop.create_server(connection, sock=listener, backlog=BACKLOG)
    try:
        yield
    finally:
        accepting.close()
        await runner.cleanup()
        sweeping.cancel()


def guarded(hosts: Hosts) -> Middleware:
    """Return the middleware that notes each request and refuses other sites' host names."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if isinstance(request.protocol, Guarded):
            request.protocol.began(request)
        if not hosts.allow(request.headers.getall(hdrs.HOST, [])):
            return error_response(HTTPStatus.MISDIRECTED_REQUEST, Hosts.REFUSED)
        return await handler(request)

    return check


async def anonymous(_: web.Request, response: web.StreamResponse) -> None:
    """Remove the header that names the web library and its version."""
    response.headers.popall(hdrs.SERVER, None)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the response of an error; every error has this form."""
    return web.json_response({"error": message}, status=status, headers=headers)
