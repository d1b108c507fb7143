"""How a container of a manifest runs on this machine: as a process with its image's lock."""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from lockgate_step import layout

from lockgate.engine.runtime import launch

# What a program needs of the machine around it; everything else it gets from the manifest.
_PASSED_ON = re.compile(
    r"(?i)PATH|HOME|LANG|LC_\w+|TZ|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL|AWS)_CA_BUNDLE|SYSTEMROOT"
)
_BELOW_ROOT = re.compile(rf"(?<![\w./-]){layout.IO}(?=/|$|[^\w.-])")


@dataclass(frozen=True)
class Environment:
    """What an image is on this machine.

    python: the interpreter its environment is made with; used as it is when there is no lock.
    variables: what its programs need beside, such as PYTHONPATH.
    lock: its requirements, with hashes.
    """

    python: Path
    variables: Mapping[str, str]
    lock: Path | None = None


@dataclass(frozen=True)
class Launch:
    """A container to start.

    folder: what it sees as /lockgate.
    volumes: the folders of ConfigMaps and Secrets by mount path; they are linked into `folder` already.
    """

    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    volumes: Mapping[str, Path]
    stdout: IO[bytes]
    stderr: IO[bytes]


class CannotStart(Exception):
    """A container that cannot be started, in the words of Argo's executor."""


class Process(Protocol):
    """A container that was started."""

    def wait(self) -> int:
        """Its exit code, once it and everything it left behind has ended; 128 and the signal's number if killed."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class Runtime(Protocol):
    """What containers run in."""

    def prepare(self, images: Iterable[str], progress: Callable[[str], None]) -> None:
        """Make the images ready, before the first step."""
        ...

    def identity(self, image: str) -> str:
        """What tells this image from another of the same name."""
        ...

    def start(self, launch: Launch) -> Process:
        """Start a container. Called in the thread that will wait for it.

        Errors: CannotStart.
        """
        ...


class Installer(Protocol):
    """Installs the packages of a lock, once for each lock."""

    def python(self, base: Path, lock: Path, announce: Callable[[], None]) -> Path:
        """The interpreter that has the packages of a lock. Errors: OutsideFailed."""
        ...

    def digest(self, lock: Path) -> str:
        """The digest of a lock."""
        ...


class ProcessRuntime:
    """Run containers as processes of this machine, each with the packages of its image's lock."""

    def __init__(self, resolve: Callable[[str], Environment], installer: Installer) -> None:
        self._resolve = resolve
        self._installer = installer
        self._python: dict[str, Path] = {}

    def prepare(self, images: Iterable[str], progress: Callable[[str], None]) -> None:
        """Install each image's lock that is not installed yet.

        Errors: OutsideFailed, with the end of what the installer said.
        """
        for image in images:
            environment = self._resolve(image)
            if environment.lock is None:
                self._python[image] = environment.python
            else:
                announce = functools.partial(progress, image)
                self._python[image] = self._installer.python(environment.python, environment.lock, announce)

    def identity(self, image: str) -> str:
        """The digest of the image's lock."""
        lock = self._resolve(image).lock
        return f"{image} {self._installer.digest(lock)}" if lock else image

    def start(self, launch: Launch) -> "ChildProcess":
        """Start a container; `python` is the image's own.

        Errors: CannotStart.
        """
        python = self._python[launch.image]
        env = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
        env["PATH"] = os.pathsep.join([str(python.parent), env.get("PATH", os.defpath)])
        env |= self._resolve(launch.image).variables
        env |= {name: self._here(launch, value) for name, value in launch.env.items()}
        env |= {"LOCKGATE_IO": str(launch.folder), "TMPDIR": str(launch.folder / layout.TMP)}
        name, *arguments = (self._here(launch, each) for each in (*launch.command, *launch.args))
        program = str(python) if name in ("python", "python3") else shutil.which(name, path=env["PATH"])
        if program is None:
            message = f'failed to find name in PATH: exec: "{name}": executable file not found in $PATH'
            raise CannotStart(message)
        return ChildProcess([program, *arguments], env, launch)

    def _here(self, launch: Launch, value: str) -> str:
        """A value with the container's paths as this machine has them."""
        return _BELOW_ROOT.sub(lambda _: str(launch.folder), value)


class ChildProcess:
    """A child in a process group of its own.

    at_our_end: the signal it gets when this process dies.
    """

    def __init__(
        self, command: list[str], env: Mapping[str, str], made: Launch, at_our_end: signal.Signals = signal.SIGKILL
    ) -> None:
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(at_our_end)), *command]
        try:
            self._child = subprocess.Popen(  # noqa: S603  # the manifest's own command
                command,
                env=dict(env),
                cwd=made.folder,
                stdin=subprocess.DEVNULL,
                stdout=made.stdout,
                stderr=made.stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotStart(str(error)) from error
        self._guard = threading.Lock()
        self._ended = False

    def wait(self) -> int:
        """Wait, then end what the child left in its group, as a container ends with its first process."""
        if sys.platform == "linux":
            # Not yet reaped, the child keeps its number, so that no signal can meet another process.
            os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._child.wait()
        with self._guard:
            self._signal(signal.SIGKILL)
            self._ended = True
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM to the group."""
        with self._guard:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the group."""
        with self._guard:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in the group
                os.killpg(self._child.pid, number)
