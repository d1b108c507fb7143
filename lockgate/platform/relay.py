"""The public port: relay each model's requests to the server of its live version, and show the served models."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from aiohttp.typedefs import Handler
from lockgate_step import loads
from lockgate_wire import Hosts
from multidict import CIMultiDict
from yarl import URL

from lockgate.platform.guard import anonymous, error_response, guarded
from lockgate.platform.status_page import ModelView, page
from lockgate.records.address import page_token

# RFC 9110, section 7.6.1: these headers describe one connection, not the message.
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# Shorter than the five seconds after which uvicorn closes an idle connection: no request may use a closing one.
_IDLE_SECONDS = 2.0
_ANSWER_SECONDS = 300.0
_COPIES, _COPY_BYTES = 64, 1 << 20  # requests in shadow at a time, and bytes of each


class Upstream:
    """One running model server, the number of its requests in flight, and how it answered copies of live's requests.

    compared, disagreed: the answers that were compared with those of live, and those with another label in a row.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.compared = self.disagreed = 0
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        self._in_flight += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    async def idle(self, within: float) -> None:
        """Wait until no request is in flight, at most `within` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within)


class Shown:
    """What a caller gets as the answer to a copied request, as far as it is small enough to be compared."""

    def __init__(self) -> None:
        self.complete = asyncio.Event()
        self.whole = False
        self._content = bytearray()

    def add(self, chunk: bytes) -> None:
        """Keep a further part of the answer."""
        if len(self._content) <= _COPY_BYTES:
            self._content += chunk

    def labels(self) -> list[str] | None:
        """Return the labels of the answer; None if it is an error, broken off or too large."""
        small = self.whole and len(self._content) <= _COPY_BYTES
        return labels_of(bytes(self._content)) if small else None


def labels_of(answer: bytes) -> list[str] | None:
    """Return the label of each row in an answer of the model server; None if it is not one."""
    try:
        outputs = {output["name"]: output["data"] for output in loads(answer)["outputs"]}
        labels = outputs["label"]
    except (ValueError, KeyError, TypeError):
        return None
    return labels if isinstance(labels, list) else None


# A report page runs no script and loads nothing.
_STATIC_PAGE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Referrer-Policy": "no-referrer",  # the address has the token
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Unserved:
    """A known model without a ready server, and the reason."""

    reason: str


@dataclass(frozen=True)
class Routed:
    """The server that answers a request, and the one that gets a copy of it, whose answer nobody gets."""

    upstream: Upstream
    copy: Upstream | None = None


@dataclass(frozen=True)
class Routes:
    """What the relay looks up for each request.

    find: the server of a model; None if it is unknown. answer: the same for a request for an answer, by its headers,
    which may go to a candidate. models: all models.
    """

    find: Callable[[str], Upstream | Unserved | None]
    answer: Callable[[str, Mapping[str, str]], Routed | Unserved | None]
    models: Callable[[], Sequence[ModelView]]


def client() -> ClientSession:
    """Return the client for the model servers: bytes, headers and cookies pass unchanged."""
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
        timeout=ClientTimeout(total=None, sock_connect=5, sock_read=_ANSWER_SECONDS),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


def application(
    routes: Routes, session: ClientSession, runs: Path | None = None, hosts: Hosts | None = None
) -> web.Application:
    """Return the web application of the public port.

    runs: the folder of the run records; their report pages are shown too, because JupyterHub offers no other way, to
        those who know the token of this project.
    hosts: the names that it answers to.
    """

    async def show_report(request: web.Request) -> web.StreamResponse:
        known = runs is not None and compare_digest(request.match_info["token"], page_token(runs.parent))
        file = runs / request.match_info["run"] / "report" / request.match_info["page"] if runs and known else None
        if file is None or not file.is_file():
            return error_response(404, "page not found; create it with: lockgate report RUN")
        return web.FileResponse(file, headers=_STATIC_PAGE)

    async def show_page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=page(routes.models()), content_type="text/html")

    async def metadata(_: web.Request) -> web.StreamResponse:
        models = [vars(model) for model in routes.models()]
        return web.json_response({"name": "lockgate", "extensions": [], "models": models})

    async def live(_: web.Request) -> web.StreamResponse:
        return web.json_response({"live": True})

    async def ready(_: web.Request) -> web.StreamResponse:
        waiting = [model.model for model in routes.models() if model.bundle and not model.ready]
        return web.json_response({"ready": not waiting, "waiting": waiting}, status=503 if waiting else 200)

    async def relay(request: web.Request) -> web.StreamResponse:
        model = request.match_info["model"]
        if any(part in {".", ".."} for part in unquote(request.rel_url.raw_path).split("/")):
            return error_response(404, "dot segments are not allowed in a path")
        asks = request.method == "POST" and request.path.endswith("/infer")
        found = routes.answer(model, request.headers) if asks else routes.find(model)
        match Routed(found) if isinstance(found, Upstream) else found:
            case Routed(upstream, candidate):
                body = await copies.read(request) if candidate else None
                shown = Shown() if candidate and body is not None else None
                if candidate and body is not None and shown:
                    copies.send(request, body, session, candidate, shown)
                with upstream:
                    return await _relay(request, session, upstream.address, body, shown)
            case Unserved(reason):
                return error_response(503, reason, {"Retry-After": "1"})
            case None:
                known = ", ".join(view.model for view in routes.models()) or "none yet"
                return error_response(404, f"unknown model {model!r}; known: {known}")

    copies = _Copies()
    app = web.Application(middlewares=[guarded(hosts or Hosts()), _errors_as_json])
    app.on_response_prepare.append(anonymous)
    app.router.add_get("/", show_page)
    app.router.add_get(
        "/runs/{token:[A-Za-z0-9_-]+}/{run:[a-z0-9][a-z0-9-]*}/{page:[A-Za-z0-9_-]+[.]html}", show_report
    )
    app.router.add_get("/v2", metadata)
    app.router.add_get("/v2/health/live", live)
    app.router.add_get("/v2/health/ready", ready)
    app.router.add_route("*", "/v2/models/{model}", relay)
    app.router.add_route("*", "/v2/models/{model}/{rest:.*}", relay)
    return app


class _Copies:
    """Copies of requests for a candidate in shadow: few at a time, small ones, and never at the cost of an answer."""

    def __init__(self) -> None:
        self._sending: set[asyncio.Task[None]] = set()

    async def read(self, request: web.Request) -> bytes | None:
        """Return the body of a request that may be copied; None if it is not read, since there is no room for it."""
        size = request.content_length
        if size is None or size > _COPY_BYTES or len(self._sending) >= _COPIES:
            return None
        return await request.read()

    def send(self, request: web.Request, body: bytes, session: ClientSession, to: Upstream, shown: Shown) -> None:
        """Send a copy, and compare its answer with the one that the caller gets."""
        url = URL(to.address + request.rel_url.raw_path_qs, encoded=True)
        task = asyncio.create_task(self._send(url, _forwarded(request), body, session, to, shown))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(
        self, url: URL, headers: CIMultiDict[str], body: bytes, session: ClientSession, to: Upstream, shown: Shown
    ) -> None:
        labels = None
        with to, suppress(ClientError, TimeoutError):
            async with session.post(url, headers=headers, data=body, allow_redirects=False) as answer:
                labels = await asyncio.to_thread(labels_of, await answer.read())
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                await shown.complete.wait()
        if (
            of_live := await asyncio.to_thread(shown.labels)
        ) is not None:  # live's own faults are no disagreement of the copy
            to.compared += 1
            to.disagreed += labels != of_live


async def _relay(
    request: web.Request,
    session: ClientSession,
    address: str,
    given: bytes | None = None,
    shown: Shown | None = None,
) -> web.StreamResponse:
    """Relay a request. given: its body, if it was read already. shown: takes what the caller gets."""
    try:
        return await _relayed(request, session, address, given, shown)
    finally:
        if shown:
            shown.complete.set()


async def _relayed(
    request: web.Request, session: ClientSession, address: str, given: bytes | None, shown: Shown | None
) -> web.StreamResponse:
    url = URL(address + request.rel_url.raw_path_qs, encoded=True)
    body = given if given is not None else request.content if request.can_read_body else None
    response = web.StreamResponse()
    try:
        async with session.request(
            request.method, url, headers=_forwarded(request), data=body, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_end_to_end(answer.headers)
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
                if shown:
                    shown.add(chunk)
            await response.write_eof()
            if shown and answer.status == HTTPStatus.OK:
                shown.whole = True
    except (ClientError, TimeoutError) as error:
        if response.prepared:
            # An incomplete response must not look complete: abort the connection, as the model server did.
            if request.transport is not None:
                request.transport.abort()
            return response
        return _unanswered(error)
    return response


def _unanswered(error: ClientError | TimeoutError) -> web.Response:
    match error:
        case ClientConnectorError():
            return error_response(503, "the model server is restarting; retry in a second", {"Retry-After": "1"})
        case TimeoutError():
            return error_response(504, f"the model server did not respond within {_ANSWER_SECONDS:.0f} s")
        case _:
            return error_response(502, "the model server closed the connection; see `lockgate logs`")


def _forwarded(request: web.Request) -> CIMultiDict[str]:
    headers = _end_to_end(request.headers)
    # This server has answered `100-continue` itself; the requested host goes into X-Forwarded-Host.
    for name in ("Expect", "Host"):
        headers.popall(name, None)
    earlier = headers.popall("X-Forwarded-For", [])
    headers["X-Forwarded-For"] = ", ".join([*earlier, *([request.remote] if request.remote else [])])
    headers.setdefault("X-Forwarded-Host", request.host)
    headers.setdefault("X-Forwarded-Proto", request.scheme)
    return headers


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    kept = CIMultiDict(headers)
    named = [name.strip() for value in kept.getall("Connection", []) for name in value.split(",")]
    for name in {*_HOP_BY_HOP, *filter(None, named)}:
        kept.popall(name, None)
    return kept


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return error_response(
            error.status, f"{error.reason}; this port serves /, /v2, /v2/health and /v2/models/<model>", allow
        )
