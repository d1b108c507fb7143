"""Run a container of a manifest as a process on this machine, with the packages of its image's lock."""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from lockgate_step import layout

from lockgate.engine.runtime import keeper
from lockgate.engine.runtime.launch import inherited
from lockgate.engine.runtime.reach import DEVICES, installation, system

_BELOW_ROOT = re.compile(rf"(?<![\w./-]){layout.IO}(?=/|$|[^\w.-])")


@dataclass(frozen=True)
class Environment:
    """The environment of an image on this machine.

    python: the interpreter of its environment; used directly if there is no lock.
    variables: more variables for its programs, such as PYTHONPATH.
    lock: its requirements with hashes.
    code: the files and folders of its code; by default the folders of PYTHONPATH.
    """

    python: Path
    variables: Mapping[str, str]
    lock: Path | None = None
    code: Sequence[Path] = ()

    @property
    def path(self) -> list[Path]:
        """The folders of PYTHONPATH."""
        return [Path(each) for each in self.variables.get("PYTHONPATH", "").split(os.pathsep) if each]


@dataclass(frozen=True)
class Place:
    """A file or folder of this machine that programs see under the same path."""

    path: Path
    writable: bool = False


@dataclass(frozen=True)
class Launch:
    """A container to start.

    folder: the folder that it sees as /lockgate.
    volumes: the folders of ConfigMaps and Secrets by mount path; `folder` already has links to their files.
    """

    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    volumes: Mapping[str, Path]
    stdout: IO[bytes]
    stderr: IO[bytes]


# Which files of this machine a container needs in addition to its mounts, e.g. the folder of a store.
Places = Callable[[Launch], Iterable[Place]]


class CannotStart(Exception):
    """A container that cannot be started, with the message of Argo's executor."""


class Process(Protocol):
    """A started container."""

    def wait(self) -> int:
        """Wait until it and its process group have ended; return its exit code, or 128 plus the signal's number."""
        ...

    def terminate(self) -> None:
        """Send SIGTERM."""
        ...

    def kill(self) -> None:
        """Send SIGKILL."""
        ...


class Runtime(Protocol):
    """Runs containers."""

    @property
    def isolation(self) -> str:
        """What keeps a container from files that are not its own: `landlock`, a container engine, or `none`."""
        ...

    def prepare(self, images: Iterable[str], progress: Callable[[str], None]) -> None:
        """Prepare the images before the first step."""
        ...

    def identity(self, image: str) -> str:
        """Return what distinguishes this image from others of the same name."""
        ...

    def start(self, launch: Launch) -> Process:
        """Start a container; called in the thread that waits for it.

        Errors: CannotStart.
        """
        ...


class Installer(Protocol):
    """Installs the packages of a lock, once for each lock."""

    def python(self, base: Path, lock: Path, announce: Callable[[], None]) -> Path:
        """Return the interpreter that has the packages of a lock. Errors: OutsideFailed."""
        ...

    def digest(self, lock: Path) -> str:
        """Return the digest of a lock."""
        ...


class ProcessRuntime:
    """Run containers as processes on this machine, each with the packages of its image's lock.

    Where the kernel has Landlock, a process reaches only its own folder, volumes, code and packages, the files of the
    operating system, and its places.
    """

    def __init__(
        self, resolve: Callable[[str], Environment], installer: Installer, places: Places = lambda _: ()
    ) -> None:
        self._resolve = resolve
        self._installer = installer
        self._places = places
        self._python: dict[str, Path] = {}

    @property
    def isolation(self) -> str:
        """Return `landlock`, or `none` where the kernel does not have it."""
        return "landlock" if keeper.isolates() else "none"

    def prepare(self, images: Iterable[str], progress: Callable[[str], None]) -> None:
        """Install the lock of each image, unless it is installed.

        Errors: OutsideFailed, with the end of the installer's output.
        """
        for image in images:
            environment = self._resolve(image)
            if environment.lock is None:
                self._python[image] = environment.python
            else:
                announce = functools.partial(progress, image)
                self._python[image] = self._installer.python(environment.python, environment.lock, announce)

    def identity(self, image: str) -> str:
        """Return the digest of the image's lock."""
        lock = self._resolve(image).lock
        return f"{image} {self._installer.digest(lock)}" if lock else image

    def start(self, launch: Launch) -> "ChildProcess":
        """Start a container; `python` is the interpreter of its image.

        Errors: CannotStart.
        """
        python = self._python[launch.image]
        environment, scratch = self._resolve(launch.image), str(launch.folder / layout.TMP)
        env = inherited()
        env["PATH"] = os.pathsep.join([str(python.parent), env.get("PATH", os.defpath)])
        # As in a container, a program has no home folder of its user. Large arrays stay out of shared memory.
        env |= {"HOME": scratch, "JOBLIB_TEMP_FOLDER": scratch, **environment.variables}
        env |= {name: self._local(launch, value) for name, value in launch.env.items()}
        env |= {"LOCKGATE_IO": str(launch.folder), "TMPDIR": scratch}
        name, *arguments = (self._local(launch, each) for each in (*launch.command, *launch.args))
        program = str(python) if name in ("python", "python3") else shutil.which(name, path=env["PATH"])
        if program is None:
            message = f'failed to find name in PATH: exec: "{name}": executable file not found in $PATH'
            raise CannotStart(message)
        command = [program, *arguments]
        if sys.platform != "linux":
            return ChildProcess(command, env, launch)
        return _Step(self._kept(command, launch, environment, python), env, launch)

    def _kept(self, command: list[str], launch: Launch, environment: Environment, python: Path) -> list[str]:
        """Return the command that lets a program reach only its own files."""
        places = list(self._places(launch))
        code, program = environment.code or environment.path, Path(command[0])
        read = [*system(), *installation(python), program, program.resolve(), *code, *launch.volumes.values()]
        return keeper.kept(
            command,
            read=[*read, *(each.path for each in places if not each.writable)],
            write=[launch.folder, *DEVICES, *(each.path for each in places if each.writable)],
            # Python finds a step that is one file by listing its folder.
            names=[each.parent for each in code if each.is_file()],
        )

    def _local(self, launch: Launch, value: str) -> str:
        """Return a value with the container's paths replaced by those of this machine."""
        return _BELOW_ROOT.sub(lambda _: str(launch.folder), value)


class ChildProcess:
    """A child process in its own process group."""

    _last = signal.SIGKILL  # the signal that ends it at once

    def __init__(self, command: list[str], env: Mapping[str, str], spec: Launch) -> None:
        try:
            self._child = subprocess.Popen(  # noqa: S603  # the manifest's own command
                command,
                env=dict(env),
                cwd=spec.folder,
                stdin=subprocess.DEVNULL,
                stdout=spec.stdout,
                stderr=spec.stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotStart(str(error)) from error
        self._guard = threading.Lock()
        self._ended = False

    def wait(self) -> int:
        """Wait for the child, then kill the rest of its group, as a container ends with its first process."""
        if sys.platform == "linux":
            # Until the child is reaped, no other process can get its pid, so the signal cannot hit one.
            os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._child.wait()
        with self._guard:
            self._signal(signal.SIGKILL)
            self._ended = True
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """Send SIGTERM to the group."""
        with self._guard:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        with self._guard:
            self._signal(self._last)
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty
                os.killpg(self._child.pid, number)


class _Step(ChildProcess):
    """A program below its keeper, which must live until it has ended every descendant of the program."""

    _last = keeper.KILL
