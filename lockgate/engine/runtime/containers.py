"""Run a container of a manifest in the image it names, with podman or docker on this machine.

The restrictions of a pod apply here too, whatever the manifest sets: read-only root, no capabilities, no new
privileges, your own user. The container engine has its own settings (runtime, ulimits, registries, CA):
containers.conf.
"""

import csv
import hashlib
import io
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from lockgate_step import layout

from lockgate.engine.runtime.launch import bound
from lockgate.engine.runtime.process import ChildProcess, Launch, Places

ENGINES = ("podman", "docker")
_HELD = ("--rm", "--pull=never", "--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# The host network: a store, registry or model server on this machine has a loopback address. No SELinux labels: they
# would require relabelling every mounted file.
_HERE = ("--network=host", "--security-opt=label=disable")
# The container engine's own command line reads these too, so they are passed to it as options, not as its environment.
_CLIENTS_OWN = ("HOME", "PATH", "TMPDIR")


class ImageStore(Protocol):
    """The images of a container engine."""

    def find(self, reference: str) -> str:
        """Return the id of an image, or an empty string."""

    def labels(self, reference: str) -> dict[str, str]:
        """Return the labels of an image. Errors: OutsideFailed."""

    def pull(self, reference: str) -> None:
        """Pull an image. Errors: OutsideFailed."""


class ContainerRuntime:
    """Run containers with a container engine of this machine.

    images: the images of that engine.
    places: the files and folders that a program sees in addition to the manifest's mounts.
    check: called with each image's reference and labels before the first step; raises if it must not run.
    """

    def __init__(
        self,
        engine: str,
        images: ImageStore,
        places: Places,
        check: Callable[[str, Mapping[str, str]], None] = lambda *_: None,
    ) -> None:
        self._engine = engine
        self._images = images
        self._places = places
        self._check = check

    @property
    def isolation(self) -> str:
        """Return the name of the container engine."""
        return self._engine

    def prepare(self, images: Iterable[str], progress: Callable[[str], None]) -> None:
        """Pull each image that is not present.

        Errors: OutsideFailed, with the end of the engine's output.
        """
        for image in images:
            if not self._images.find(image):
                progress(image)
                self._images.pull(image)
            self._check(image, self._images.labels(image))

    def identity(self, image: str) -> str:
        """Return the reference, which contains a digest."""
        return image

    def start(self, launch: Launch) -> "_Container":
        """Start a container. Errors: CannotStart."""
        name = f"lockgate-{hashlib.sha256(str(launch.folder).encode()).hexdigest()[:16]}"
        # A container of this node that a killed run left must not run at the same time.
        subprocess.run([self._engine, "rm", "--force", name], capture_output=True, check=False)  # noqa: S603
        flags = [f"--env={each}={launch.env[each]}" for each in _CLIENTS_OWN if each in launch.env]
        inherited = {each: value for each, value in launch.env.items() if each not in _CLIENTS_OWN}
        entry, *command = launch.command
        argv = [
            self._engine, "run", f"--name={name}", *_HELD, *_HERE, *self._own_options(), *self._mounts(launch), *flags,
            *(f"--env={each}" for each in inherited), f"--workdir={layout.IO}", f"--entrypoint={entry}", launch.image,
            *command, *launch.args,
        ]  # fmt: skip
        return _Container(self._engine, name, argv, {**os.environ, **inherited}, launch)

    def _own_options(self) -> list[str]:
        """Return the options for the user: the one who runs Lockgate, so that output files belong to that user."""
        options = [f"--user={os.geteuid()}:{os.getegid()}"]
        if self._engine == "podman":
            options += ["--read-only-tmpfs=false", "--log-driver=none"]
            options += ["--userns=keep-id"] if os.geteuid() else []
        return options

    def _mounts(self, launch: Launch) -> list[str]:
        volumes = [(source, path, True) for path, source in launch.volumes.items() if source.is_dir()]
        places = [
            (place.path, str(place.path), not place.writable) for place in self._places(launch) if place.path.exists()
        ]
        every = [(launch.folder, layout.IO, False), *volumes, *places]
        return [_mount(source.resolve(), target, read_only) for source, target, read_only in every]


def _mount(source: Path, target: str, read_only: bool) -> str:
    line = io.StringIO()
    fields = ["type=bind", f"source={source}", f"target={target}", *(["readonly"] if read_only else [])]
    csv.writer(line, lineterminator="").writerow(fields)
    return f"--mount={line.getvalue()}"


class _Container(ChildProcess):
    """The container engine's command line, attached to the container; its exit code is the container's."""

    def __init__(self, engine: str, name: str, argv: list[str], env: Mapping[str, str], launch: Launch) -> None:
        self._kill = [engine, "kill", name]
        # SIGTERM: the command line forwards it to the container. After SIGKILL the container would go on.
        super().__init__(bound(argv, signal.SIGTERM), env, launch)

    def kill(self) -> None:
        """Kill the container, which ends the command line."""
        if subprocess.run(self._kill, capture_output=True, check=False).returncode:  # noqa: S603  # it does not exist yet
            super().kill()
