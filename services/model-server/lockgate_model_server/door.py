"""Middleware in front of MLServer: its own host names, one model, JSON only, bounded bodies, errors without values.

A body may be compressed with gzip. Its limits are those of a plain one, and it is never inflated beyond them.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from lockgate_step import Column
from lockgate_wire import Hosts
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from lockgate_model_server.bounds import BadBody, TooLarge, check_bounds
from lockgate_model_server.check import Fault
from lockgate_model_server.inflating import NotGzip, TooLong, inflate

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_LIMIT = 8 * 2**20
# Callers read the answer only after they have sent the whole body, so up to this much is read and dropped.
_DRAIN_LIMIT = 8 * BODY_LIMIT
# Bodies larger than this are checked in a thread, and together they may take as much memory as a few of the largest.
_SMALL = 64 * 2**10
_HELD_LIMIT = 4 * BODY_LIMIT
_MODEL = re.compile(r"/v2/models/([^/]*)(?:/versions/([^/]*))?")
_GZIP = ("gzip", "x-gzip")
_ENCODED = (b"content-encoding", b"content-length")
_RETRY = {"Retry-After": "1"}
_JSON = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;|$)", re.IGNORECASE)


class Door:
    """ASGI middleware that refuses unsupported requests before anything parses them.

    busy: whether more requests are in progress than the server answers at a time.
    refused: called with the faults of the columns of a refused body.
    """

    def __init__(
        self,
        app: App,
        *,
        model: str,
        version: str,
        columns: Callable[[], Sequence[Column]],
        hosts: Hosts,
        body_seconds: float,
        busy: Callable[[], bool],
        refused: Callable[[Iterable[Fault]], object],
        limit: int = BODY_LIMIT,
    ) -> None:
        self._app, self._model, self._version, self._limit = app, model, version, limit
        self._busy, self._refused = busy, refused
        self._columns, self._hosts, self._body_seconds = columns, hosts, body_seconds
        self.held = 0  # bytes of larger bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its whole body, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with _Share(self) as share:
            try:
                encoded = self._check(scope)
                body = await self._body(receive, share) if scope["method"] == "POST" else b""
                if scope["path"].endswith("/infer") and scope["method"] == "POST":
                    # Only now: a caller who sends the body slowly takes no other caller's place.
                    self._check_queue()
                    if encoded:
                        body = await self._inflated(body, share)
                        kept = [header for header in scope["headers"] if header[0] not in _ENCODED]
                        scope = {**scope, "headers": kept}
                    await self._check_body(body)
            except ClientDisconnect:
                return
            except HTTPException as refusal:
                await error(refusal.status_code, refusal.detail, refusal.headers)(scope, receive, send)
            else:
                await self._app(scope, _replay(body, receive), send)

    def _check(self, scope: Scope) -> bool:
        """Check a request's header; return whether its body is compressed."""
        path, headers = scope["path"], Headers(scope=scope)
        if not self._hosts.allow(headers.getlist("host")):
            raise HTTPException(HTTPStatus.MISDIRECTED_REQUEST, Hosts.REFUSED)
        if path.startswith("/v2/repository"):
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "repository API disabled: this server serves only the bundle it was started with"
            )
        named = _MODEL.match(path)
        if named and (named[1] != self._model or named[2] not in (None, self._version)):
            # Before MLServer: it keeps a counter for every name that was ever requested.
            raise HTTPException(HTTPStatus.NOT_FOUND, "model or version not found; GET /v2/models/" + self._model)
        encodings = [text.strip().lower() for text in headers.getlist("content-encoding")]
        if len(encodings) > 1 or not {*encodings} <= {*_GZIP}:
            msg = "send the body plain, or compressed once with content-encoding gzip"
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, msg, {"Accept-Encoding": "gzip"})
        if scope["method"] == "POST" and not _JSON.match(headers.get("content-type", "")):
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json")
        return bool(encodings)

    def _check_queue(self) -> None:
        if self._busy():
            msg = "too many requests are in progress; retry in a second"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, msg, _RETRY)

    async def _inflated(self, body: bytes, share: "_Share") -> bytes:
        inflated = bytearray()
        try:
            async for piece in inflate(body, self._limit):
                inflated += piece
                share.take(len(body) + len(inflated))
        except TooLong:
            raise self._too_large() from None
        except NotGzip as refusal:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(refusal)) from None
        return bytes(inflated)

    def _too_large(self) -> HTTPException:
        msg = f"the body is larger than {self._limit} bytes; send fewer rows at a time"
        return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, msg)

    async def _check_body(self, body: bytes) -> None:
        try:
            if len(body) > _SMALL:
                await asyncio.to_thread(check_bounds, body, self._columns())
            else:
                check_bounds(body, self._columns())
        except BadBody as refusal:
            self._refused(refusal.faults)
            large = isinstance(refusal, TooLarge)
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if large else HTTPStatus.BAD_REQUEST
            raise HTTPException(status, str(refusal)) from None

    async def _body(self, receive: Receive, share: "_Share") -> bytes:
        body, dropped = bytearray(), 0
        try:
            async with asyncio.timeout(self._body_seconds):
                async for piece in _pieces(receive):
                    if dropped or len(body) + len(piece) > self._limit:
                        dropped += len(body) + len(piece)
                        body.clear()
                    else:
                        body += piece
                        share.take(len(body))
                    if dropped > _DRAIN_LIMIT:
                        break
        except TimeoutError:
            msg = f"the body did not arrive within {self._body_seconds:g} seconds"
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, msg) from None
        if dropped:
            raise self._too_large()
        return bytes(body)


class _Share:
    """What one request holds of the memory for larger bodies, until it is answered."""

    def __init__(self, door: Door) -> None:
        self._door, self._size = door, 0

    def __enter__(self) -> "_Share":
        return self

    def __exit__(self, *_: object) -> None:
        self._door.held -= self._size

    def take(self, size: int) -> None:
        """Hold `size` bytes. Errors: HTTPException 503 if the requests in progress hold too many."""
        if size <= _SMALL:
            return
        self._door.held += size - self._size
        self._size = size
        if self._door.held > _HELD_LIMIT:
            msg = "other large requests are in progress; retry in a second, or send fewer rows at a time"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, msg, _RETRY)


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response of an error; every error has this form."""
    return JSONResponse({"error": message}, status_code=status, headers=headers)


async def on_http(_: Request, refusal: Exception) -> Response:
    """Answer Starlette's own errors: unknown path, wrong method, unreadable body."""
    assert isinstance(refusal, HTTPException)
    return error(refusal.status_code, refusal.detail)


async def on_invalid(_: Request, refusal: Exception) -> Response:
    """Answer a body that is not an inference request; FastAPI's own answer would repeat the values sent."""
    assert isinstance(refusal, RequestValidationError)
    return error(HTTPStatus.BAD_REQUEST, "; ".join(_sentences(refusal)))


async def on_bug(_: Request, __: Exception) -> Response:
    """Answer an unexpected exception: its type and place are in the log only."""
    return error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the server's log")


def _sentences(refusal: RequestValidationError) -> Iterator[str]:
    for found in refusal.errors()[:5]:
        if found["type"] == "json_invalid":
            yield f"the body is not JSON (at character {found['loc'][-1]})"
        else:
            yield f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def first_the_body() -> Message:
        return waiting.pop() if waiting else await receive()

    return first_the_body
