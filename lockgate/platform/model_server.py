"""One model-server process: start it, watch it, restart it, and drain it."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from aiohttp import ClientError, ClientSession, ClientTimeout
from lockgate_step import loads, log

from lockgate.engine.runtime.launch import bound
from lockgate.errors import LockgateError
from lockgate.platform.relay import Upstream

REFUSED = 3  # exit code of a program that refuses its bundle

# Returns the command line and the environment of the server for a bundle's folder, its digest and the numbers of the
# sockets that the server inherits, for users and for its metrics; may be slow the first time.
ChildCommand = Callable[[Path, str, int, int], tuple[Sequence[str], Mapping[str, str]]]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Timeouts and pauses in seconds, and the number of attempts before a failure is reported."""

    poll: float = 0.2
    ready: float = 60.0
    drain: float = 30.0
    stop: float = 10.0
    first_pause: float = 0.2
    longest_pause: float = 30.0
    attempts: int = 3


@dataclass(frozen=True)
class Problem:
    """Why a version does not serve; `refused`: a retry cannot help."""

    message: str
    refused: bool = False


@dataclass(frozen=True)
class Starting:
    """Not serving: starting or restarting."""


@dataclass(frozen=True)
class Failing:
    """Not serving, for a known reason; the server is still retried until it is stopped."""

    problem: Problem


@dataclass(frozen=True)
class Ready:
    """Serving at its own address.

    metrics: the address of its metrics.
    """

    upstream: Upstream
    pid: int
    metrics: str


State = Starting | Failing | Ready


class Child:
    """The server of one bundle, with its current `state`."""

    def __init__(
        self,
        model: str,
        bundle: str,
        *,
        folder: Callable[[], Path],
        command: ChildCommand,
        session: ClientSession,
        log_file: Path,
        scratch: Path,
        patience: Patience,
    ) -> None:
        self.model, self.bundle = model, bundle
        self.state: State = Starting()
        self._folder, self._command, self._session = folder, command, session
        self._log_file, self._patience = log_file, patience
        self._scratch = scratch  # a server that is killed leaves its copy of the bundle; removed with each run's folder
        self._task = asyncio.create_task(self._keep_running())

    async def retire(self) -> None:
        """Let the requests in flight finish, then stop the process."""
        if isinstance(self.state, Ready):
            await self.state.upstream.idle(self._patience.drain)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _keep_running(self) -> None:
        failures, pause = 0, self._patience.first_pause
        while True:
            problem, served = await self._run_once()
            # Only a server that ran for a while is restarted quickly.
            if served > self._patience.longest_pause:
                failures, pause = 0, self._patience.first_pause
            failures += 1
            if problem.refused or failures >= self._patience.attempts:
                self.state = Failing(problem)
            log("model-server-ended", model=self.model, bundle=self.bundle, problem=problem.message, again_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._patience.longest_pause)

    async def _run_once(self) -> tuple[Problem, float]:
        """Run the server until it ends; return the reason, and for how many seconds it served."""
        # Nobody else can take the port while the server starts, or before its end is known: this socket stays open.
        with socket.socket() as sock, socket.socket() as metrics, TemporaryDirectory(dir=self._scratch) as scratch:
            sock.bind(("127.0.0.1", 0))
            metrics.bind(("127.0.0.1", 0))
            return await self._run_on(sock, metrics, scratch)

    async def _run_on(self, sock: socket.socket, metrics: socket.socket, scratch: str) -> tuple[Problem, float]:
        sockets = sock.fileno(), metrics.fileno()
        try:
            folder = await asyncio.to_thread(self._folder)
            argv, env = await asyncio.to_thread(self._command, folder, self.bundle, *sockets)
            process = await self._start(argv, {**env, "TMPDIR": scratch}, sockets)
        except LockgateError as error:
            return Problem(error.message, refused=error.exit_code == REFUSED), 0.0
        except Exception as error:  # a fault of one bundle must not stop the other models
            return Problem(f"the model server could not be started: {error}"), 0.0
        address, counts = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (sock, metrics))
        clock = asyncio.get_running_loop().time
        ready_at = None
        try:
            async with asyncio.timeout(self._patience.ready):
                await self._until_ready(process, address)
            if process.returncode is None:
                ready_at = clock()
                self.state = Ready(Upstream(address), process.pid, counts)
                log("model-server-ready", model=self.model, bundle=self.bundle, address=address, pid=process.pid)
            code = await process.wait()
            if ready_at is not None:
                self.state = Starting()
        except TimeoutError:
            return Problem(f"not ready within {self._patience.ready:g} s: {last_line(self._log_file)}"), 0.0
        finally:
            await _end(process, self._patience.stop)
        served = clock() - ready_at if ready_at is not None else 0.0
        return Problem(f"exit {code}: {last_line(self._log_file)}", refused=code == REFUSED), served

    async def _start(
        self, argv: Sequence[str], env: Mapping[str, str], inherited: Sequence[int]
    ) -> asyncio.subprocess.Process:
        with _append(self._log_file) as output:
            return await asyncio.create_subprocess_exec(
                *bound(argv, signal.SIGTERM),
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=inherited,
            )

    async def _until_ready(self, process: asyncio.subprocess.Process, address: str) -> None:
        url = f"{address}/v2/models/{self.model}/ready"
        while process.returncode is None:
            with suppress(ClientError, TimeoutError):
                async with self._session.get(url, timeout=ClientTimeout(total=5)) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


async def _end(process: asyncio.subprocess.Process, grace: float) -> None:
    """Send SIGTERM to the process group; after the grace period, SIGKILL."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _append(log_file: Path) -> BinaryIO:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    return log_file.open("ab")


def last_line(log_file: Path) -> str:
    """The last line of a program's log, shortened; if it is a JSON line of ours, its message and fix."""
    with log_file.open("rb") as stream:
        stream.seek(max(0, log_file.stat().st_size - 4096))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "no output")
    with suppress(ValueError, KeyError, TypeError):
        event = loads(line)
        line = ". ".join(filter(None, (event["message"], event.get("fix"))))
    return line[:500]
