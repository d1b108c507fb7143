"""`lockgate serve`: the local platform. One detached process per store that serves the live bundles of the store.

It polls the store, runs one model-server process for each model's live bundle and one for its candidate, relays the
public port to the live one, and writes what it did to the store's `status.json`. It makes no decisions: `deploy` and
`promote` move the pointers, and the supervisor follows them.
"""

import asyncio
import errno
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from lockgate_proof import Trust
from lockgate_step import canonical, log
from lockgate_store import Store, StoreError
from lockgate_wire import BACKLOG, Hosts, Limits, log_without_data

from lockgate.engine.locks import hold, is_held
from lockgate.errors import LockgateError
from lockgate.platform import ports
from lockgate.platform.errors import AlreadyServing, OtherPort, OtherStore, PortTaken, ServeFailed
from lockgate.platform.follow import Servers, utc_now
from lockgate.platform.guard import listening
from lockgate.platform.logs import KEPT, LOG_BYTES, rotate
from lockgate.platform.model_server import Child, ChildCommand, Patience, last_line
from lockgate.platform.records import Records
from lockgate.platform.relay import Routed, Routes, Unserved, Upstream, application, client
from lockgate.platform.status_page import ModelView
from lockgate.records.promotions import Memory

_ROTATE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A supervisor's settings: its state folder, the store it follows, and its public port (0: any free port).

    store: the store's URI, `file:///…` or `s3://…`.
    hosts: the host names that the public port answers to.
    limits: of the connections to it.
    log_bytes: size at which a log is rotated.
    """

    state: Path
    store: str
    host: str = "127.0.0.1"
    port: int = 8080
    hosts: Hosts = field(default_factory=Hosts)
    limits: Limits = field(default_factory=Limits)
    log_bytes: int = LOG_BYTES

    @property
    def log(self) -> Path:
        """The supervisor's own log."""
        return self.state / "log"

    @property
    def scratch(self) -> Path:
        """The temporary files of the model servers; emptied when the supervisor starts."""
        return self.state / "tmp"

    @property
    def child_logs(self) -> Path:
        """The folder of the model servers' logs."""
        return self.state / "children"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running supervisor: its public address, its process id, its store and its start time."""

    address: str
    pid: int
    store: str
    since: str


@dataclass(frozen=True)
class Stopped:
    """No supervisor is running."""


def status(state: Path) -> Running | Stopped:
    """Return whether a supervisor is running from this state folder."""
    if _holder(state) is None:
        return Stopped()
    with suppress(FileNotFoundError, ValueError, KeyError):
        found = json.loads((state / "address.json").read_bytes())
        return Running(address=found["address"], pid=found["pid"], store=found["store"], since=found["since"])
    return Stopped()  # it is still starting


def check_port(platform: Platform) -> None:
    """Check that the public port is free. Errors: PortTaken."""
    _listen(platform).close()


def start(platform: Platform, command: Sequence[str], *, env: Mapping[str, str], within: float = 30.0) -> Running:
    """Start a detached supervisor, or find the running one; return when it is ready.

    command: the process that calls `serve` in the foreground, without a shell, e.g. `lockgate serve --foreground`.
    Errors: PortTaken, OtherStore, OtherPort, ServeFailed.
    """
    deadline = time.monotonic() + within
    pid = _spawn(platform, command, env) if _holder(platform.state) is None else None
    while time.monotonic() < deadline:
        match status(platform.state):
            case Running() as running:
                if pid is not None and pid != running.pid:
                    _give_up(pid)
                return _same(running, platform)
            case Stopped() if pid is None and _holder(platform.state) is None:
                break
            case Stopped():
                time.sleep(0.05)
        # If it ended because another start was first, use the supervisor of that one.
        if pid is not None and os.waitpid(pid, os.WNOHANG)[0] == pid:
            pid = None
    if pid is not None:
        _give_up(pid)
    raise ServeFailed(last_line(platform.log), platform.log)


def _give_up(pid: int) -> None:
    """Stop a supervisor that was second or too late, so that it does not begin to serve later."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def _spawn(platform: Platform, command: Sequence[str], env: Mapping[str, str]) -> int:
    platform.state.mkdir(parents=True, exist_ok=True)
    try:
        check_port(platform)
    except PortTaken:
        if _holder(platform.state) is None:  # otherwise our own supervisor has just taken the port
            raise
    return os.posix_spawn(
        command[0],
        list(command),
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(platform.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def stop(state: Path, *, within: float = 60.0) -> bool:
    """Stop the supervisor and its model servers after the requests in flight; return whether one was running."""
    pid = _holder(state)
    if pid is None:
        return False
    for number, patience in ((signal.SIGTERM, within), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if _holder(state) != pid:
                return True
            time.sleep(0.05)
    msg = f"process {pid} did not stop"
    raise ServeFailed(msg, state / "log")


def serve(
    platform: Platform,
    store: Store,
    command: ChildCommand,
    trust: Callable[[], Trust],
    patience: Patience | None = None,
) -> None:
    """Serve in the foreground until SIGTERM or SIGINT.

    command: returns the command line and environment of a model server for a bundle's folder, digest and socket.
    trust: reads the trust file: which key may promote.
    Errors: AlreadyServing, PortTaken.
    """
    platform.state.mkdir(parents=True, exist_ok=True)
    log_without_data()
    with _sole(platform.state):
        _empty(platform.scratch)
        asyncio.run(_serve(platform, store, command, trust, patience or Patience()))


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


@contextmanager
def _sole(state: Path) -> Iterator[None]:
    """Hold the state folder; the kernel lets go of it however this process ends."""
    file = hold(state / "pid")
    if file is None:
        raise AlreadyServing(state)
    with file:
        (state / "address.json").unlink(missing_ok=True)
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        try:
            yield
        finally:
            # While the next one starts, nobody may take this address for its own.
            (state / "address.json").unlink(missing_ok=True)


def _holder(state: Path) -> int | None:
    """The process that holds the state folder."""
    file = state / "pid"
    return int(file.read_text("ascii") or 0) or None if is_held(file) else None


def _same(running: Running, platform: Platform) -> Running:
    if running.store != platform.store:
        raise OtherStore(running.store, platform.store)
    if platform.port and not running.address.endswith(f":{platform.port}"):
        raise OtherPort(running.address, platform.port)
    return running


def _listen(platform: Platform) -> socket.socket:
    try:
        return socket.create_server((platform.host, platform.port), backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(platform.host, platform.port, _neighbour(platform)) from error
        reason = f"cannot listen on {platform.host}:{platform.port}: {error.strerror}"
        raise ServeFailed(reason, platform.log) from error


def _neighbour(platform: Platform) -> Path | None:
    """Return the project whose platform uses the port, if it is another project of this user."""
    state = ports.claimed(platform.port)
    if state is None or state == platform.state.resolve():
        return None
    match status(state):
        case Running(address=address) if address.endswith(f":{platform.port}"):
            return state.parent.parent
    return None


async def _serve(
    platform: Platform, store: Store, command: ChildCommand, trust: Callable[[], Trust], patience: Patience
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with _listen(platform) as listener:
        async with client() as session:
            memory = Memory.of(platform.state.parent, platform.store)
            records = Records(store, platform.store, platform.state / "bundles", trust, memory)
            supervisor = _Supervisor(platform, records, command, patience, session)
            routes = Routes(find=supervisor.find, answer=supervisor.answer, models=supervisor.views)
            app = application(routes, session, platform.state.parent / "runs", platform.hosts)
            async with listening(app, listener, platform.limits, patience.drain):
                host, port = listener.getsockname()[:2]
                ports.claim(port, platform.state)
                _announce(platform, f"http://{host}:{port}")
                tasks = [asyncio.create_task(supervisor.follow()), asyncio.create_task(_rotating(platform))]
                for task in tasks:
                    task.add_done_callback(lambda _: stopped.set())
                await stopped.wait()
                log("stopping")
            ports.release(port, platform.state)
            for task in tasks:
                task.cancel()
            await supervisor.end()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
    log("stopped")


async def _rotating(platform: Platform) -> None:
    """Keep every log within its size until cancelled."""
    while True:
        logs = [platform.log, *platform.child_logs.glob("*.log")]
        with suppress(OSError):  # a full disk must not end what serves
            await asyncio.to_thread(rotate, [file for file in logs if not file.name.endswith(KEPT)], platform.log_bytes)
        await asyncio.sleep(_ROTATE_SECONDS)


def _announce(platform: Platform, address: str) -> None:
    running = {
        "address": address.replace("//0.0.0.0:", "//127.0.0.1:"),
        "pid": os.getpid(),
        "store": platform.store,
        "since": utc_now().isoformat(timespec="seconds"),
    }
    draft = platform.state / "address.json.new"
    draft.write_bytes(canonical(running))
    draft.replace(platform.state / "address.json")
    log("serving", **running)


class _Supervisor:
    """All models' servers, and the loop that keeps them in the state the store asks for."""

    def __init__(
        self, platform: Platform, records: Records, command: ChildCommand, patience: Patience, session: ClientSession
    ) -> None:
        self._platform, self._records, self._command = platform, records, command
        self._patience, self._session = patience, session
        self._servers: dict[str, Servers] = {}
        self._written: dict[str, dict[str, Any]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def find(self, model: str) -> Upstream | Unserved | None:
        """Return where a request for a model goes; None for a model that is not in the store."""
        servers = self._servers.get(model)
        return servers.upstream() if servers else None

    def answer(self, model: str, headers: Mapping[str, str]) -> Routed | Unserved | None:
        """Return where a request for an answer goes; None for a model that is not in the store."""
        servers = self._servers.get(model)
        return servers.route(headers) if servers else None

    def views(self) -> list[ModelView]:
        """Return the served models, for the status page."""
        return [servers.view() for _, servers in sorted(self._servers.items())]

    async def follow(self) -> None:
        """Follow the store until cancelled; while it cannot be read, keep serving what it last asked for."""
        reported = ""
        while True:
            problem = ""
            try:
                await self._round()
            except (LockgateError, StoreError, OSError) as error:
                problem = str(error)
            if problem and problem != reported:
                log("store-trouble", problem=problem)
            reported = problem
            await asyncio.sleep(self._patience.poll)

    async def end(self) -> None:
        """Stop every model server, and report it to the store."""
        for servers in self._servers.values():
            self._retire(servers.retire_all())
        with suppress(LockgateError, StoreError, OSError):
            await self._report()
        await asyncio.gather(*self._retiring)

    async def _round(self) -> None:
        for model, wanted in (await asyncio.to_thread(self._records.wanted)).items():
            servers = self._servers.setdefault(model, Servers(model, partial(self._start, model)))
            self._retire(servers.obey(wanted or servers.wanted))
        await self._report()

    def _start(self, model: str, bundle: str) -> Child:
        return Child(
            model,
            bundle,
            folder=partial(self._records.folder, model, bundle),
            command=self._command,
            session=self._session,
            log_file=self._platform.child_logs / f"{model}-{bundle.removeprefix('sha256:')[:12]}.log",
            scratch=self._platform.scratch,
            patience=self._patience,
        )

    def _retire(self, children: Iterable[Child]) -> None:
        for child in children:
            task = asyncio.create_task(self._see_off(child))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _see_off(self, child: Child) -> None:
        await child.retire()
        if not any(servers.serves(child.bundle) for servers in self._servers.values()):
            await asyncio.to_thread(self._records.forget, child.bundle)

    async def _report(self) -> None:
        for model, servers in self._servers.items():
            status = servers.status()
            if self._written.get(model) != status:
                await asyncio.to_thread(self._records.report, model, status)
                self._written[model] = status
