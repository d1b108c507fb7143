"""MLServer with one model, one port for users and one protocol; metrics have a port of their own."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import uvloop
from lockgate_step import Column, OutsideFailed, io_root, layout, log
from lockgate_wire import Hosts, Limits, log_without_data

from lockgate_model_server import lean  # noqa: F401 - must come before mlserver: it reduces mlserver's imports
from lockgate_model_server.door import App, Door, on_bug, on_http, on_invalid
from lockgate_model_server.graceful import Uvicorn
from lockgate_model_server.metrics import PATH, CountedRuntime, Metrics, Ports
from lockgate_model_server.runtime import LockgateRuntime, OnlyOurs

# isort: split
from fastapi.exceptions import RequestValidationError
from mlserver import MLServer, ModelSettings, Settings
from mlserver.handlers import DataPlane, ModelRepositoryHandlers
from mlserver.rest import RESTServer
from starlette.exceptions import HTTPException

# The other routes of MLServer (repository, generate, streams, docs, OpenAPI) are removed.
_ROUTES = frozenset(
    {
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model_name}",
        "/v2/models/{model_name}/ready",
        "/v2/models/{model_name}/infer",
        "/v2/models/{model_name}/versions/{model_version}",
        "/v2/models/{model_name}/versions/{model_version}/ready",
        "/v2/models/{model_name}/versions/{model_version}/infer",
    }
)


@dataclass(frozen=True, kw_only=True)
class Wire:
    """The sockets of a server, its limits, its host names, and the seconds for which it lingers.

    metrics: the socket of its metrics; without one, nothing is counted.
    """

    sock: socket.socket
    metrics: socket.socket | None
    limits: Limits
    hosts: Hosts
    linger: float


class _Settings(OnlyOurs, Settings):  # type: ignore[misc]  # untyped base
    pass


class _Rest(RESTServer):  # type: ignore[misc]  # untyped base
    """MLServer's REST server on a socket that is already bound, with only the routes above."""

    def __init__(
        self,
        settings: Settings,
        data_plane: DataPlane,
        handlers: ModelRepositoryHandlers,
        model: ModelSettings,
        wire: "Wire",
    ) -> None:
        super().__init__(settings, data_plane=data_plane, model_repository_handlers=handlers)
        self.columns: Sequence[Column] = ()
        self._sockets = [wire.sock, *([wire.metrics] if wire.metrics else [])]
        self._metrics = Metrics(model.name, model.version) if wire.metrics else None
        app = self._app
        app.router.routes = [route for route in app.router.routes if route.path in _ROUTES]
        app.add_middleware(
            Door,
            model=model.name,
            version=model.version,
            columns=lambda: self.columns,
            hosts=wire.hosts,
            body_seconds=wire.limits.body_seconds,
            busy=self._busy,
            refused=self._metrics.refused if self._metrics else lambda _: None,
        )
        app.add_exception_handler(RequestValidationError, on_invalid)
        app.add_exception_handler(HTTPException, on_http)
        app.add_exception_handler(Exception, on_bug)
        self._server = Uvicorn(self._ports(app, wire), wire.linger, wire.limits, len(self._sockets))

    def _busy(self) -> bool:
        return self._server.busy

    def _ports(self, app: App, wire: Wire) -> App:
        if self._metrics is None or wire.metrics is None:
            return app
        return Ports(app, self._metrics, wire.metrics.getsockname()[1], wire.hosts)

    def loaded(self, runtime: LockgateRuntime) -> None:
        """Note the model's inputs, and let its runtime count."""
        self.columns = runtime.columns
        if self._metrics and isinstance(runtime, CountedRuntime):
            self._metrics.loaded(runtime.columns, runtime.labels)
            runtime.metrics = self._metrics

    async def start(self) -> None:
        await self._server.serve(sockets=self._sockets)


class _Server(MLServer):  # type: ignore[misc]  # untyped base
    """MLServer that starts to listen after its one model is loaded, with REST only."""

    def __init__(self, model: ModelSettings, wire: Wire, loaded: Callable[[], object]) -> None:
        self._model, self._wire, self._loaded = model, wire, loaded
        super().__init__(
            _Settings(
                debug=False,
                parallel_workers=0,
                metrics_endpoint=None,
                gzip_enabled=False,
                server_name=layout.SERVER_ACCOUNT,
                server_version="1",
            )
        )

    def _configure_logger(self) -> None:
        log_without_data()

    def _create_servers(self) -> None:
        self._rest_server = _Rest(
            self._settings, self._data_plane, self._model_repository_handlers, self._model, self._wire
        )
        self._grpc_server = self._kafka_server = None

    async def start(self, models_settings: Sequence[ModelSettings] = ()) -> None:
        loaded = await self._model_registry.load(self._model)
        self._rest_server.loaded(loaded)
        self._loaded()
        said = {"address": _address(self._wire.sock)}
        if self._wire.metrics:
            said["metrics"] = f"{_address(self._wire.metrics)}{PATH}"
        log("serving", model=self._model.name, version=self._model.version, **said)
        await self._rest_server.start()
        log("stopped", model=self._model.name)


def serve(
    *,
    name: str,
    model: Path,
    policy: Path,
    bundle: str,
    sock: socket.socket,
    metrics: socket.socket | None = None,
    linger: float = 0,
    limits: Limits | None = None,
    loaded: Callable[[], object] = lambda: None,
) -> None:
    """Serve a model folder with its policy until SIGTERM or SIGINT, then finish the requests in flight.

    sock: a bound socket; it is closed at the end.
    metrics: another one, for Prometheus; without it, nothing is counted.
    linger: seconds after the signal in which open connections are still answered and asked to close.
    limits: of its connections.
    loaded: called when the model is in memory, and its folder is not needed any more.
    Errors: lockgate_model's, when the model cannot be loaded.
    """
    with sock, metrics or nullcontext():
        runtime = CountedRuntime if metrics else LockgateRuntime
        settings = runtime.settings_of(name, model, policy, bundle=bundle)
        hosts = Hosts.configured(io_root() / layout.ENVIRONMENT)
        wire = Wire(sock=sock, metrics=metrics, limits=limits or Limits(), hosts=hosts, linger=linger)

        async def run() -> None:
            await _Server(settings, wire, loaded).start()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())


def bind(host: str, port: int, option: str = "--port") -> socket.socket:
    """Bind the address without listening, so that connections are refused until the model is loaded.

    port: 0 takes a free one; the log event `serving` names it. option: the one that gives another port.
    Errors: OutsideFailed.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        msg = f"cannot listen on {host} port {port}: {error.strerror}"
        raise OutsideFailed(msg, fix=f"stop what uses the port, or give another with {option}") from error
    return sock


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://{host}:{port}"
