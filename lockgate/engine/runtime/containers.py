"""How a container of a manifest runs as the very image it names: by podman or docker of this machine.

What a pod is held to holds here too, whatever the manifest says: read-only root, no capability, no new privilege, not
another user than yours. Settings of the engine itself (runtime, ulimits, registries, CA) are its own: containers.conf.
"""

import csv
import hashlib
import io
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lockgate_step import layout

from lockgate.engine.runtime.process import ChildProcess, Launch

ENGINES = ("podman", "docker")
_HELD = ("--rm", "--pull=never", "--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# A store, registry or model server on this machine is reached by its loopback address; and SELinux would have the
# label of every file changed that is mounted.
_HERE = ("--network=host", "--security-opt=label=disable")
# The engine's own command line reads these too, so their values are told it, not given it.
_CLIENTS_OWN = ("HOME", "PATH", "TMPDIR")


@dataclass(frozen=True)
class Place:
    """A file or folder of this machine that programs reach under its own path."""

    path: Path
    writable: bool = False


class ImageStore(Protocol):
    """The images that a container engine holds."""

    def find(self, reference: str) -> str:
        """The id of an image, or an empty string."""

    def labels(self, reference: str) -> dict[str, str]:
        """The labels of an image. Errors: OutsideFailed."""

    def pull(self, reference: str) -> None:
        """Pull an image. Errors: OutsideFailed."""


class ContainerRuntime:
    """Run containers with a container engine of this machine.

    images: the images of that engine.
    places: what programs reach beside what the manifest mounts.
    check: called with each image's reference and labels before the first step; raises where it must not run.
    """

    def __init__(
        self,
        engine: str,
        images: ImageStore,
        places: Sequence[Place],
        check: Callable[[str, Mapping[str, str]], None] = lambda *_: None,
    ) -> None:
        self._engine = engine
        self._images = images
        self._places = places
        self._check = check

    def prepare(self, images: Iterable[str], progress: Callable[[str], None]) -> None:
        """Pull each image that is not here.

        Errors: OutsideFailed, with the end of what the engine said.
        """
        for image in images:
            if not self._images.find(image):
                progress(image)
                self._images.pull(image)
            self._check(image, self._images.labels(image))

    def identity(self, image: str) -> str:
        """The reference, which holds a digest."""
        return image

    def start(self, launch: Launch) -> "_Container":
        """Start a container. Errors: CannotStart."""
        name = f"lockgate-{hashlib.sha256(str(launch.folder).encode()).hexdigest()[:16]}"
        # What a killed run left of this node must not go on beside it.
        subprocess.run([self._engine, "rm", "--force", name], capture_output=True, check=False)  # noqa: S603
        told = [f"--env={each}={launch.env[each]}" for each in _CLIENTS_OWN if each in launch.env]
        given = {each: value for each, value in launch.env.items() if each not in _CLIENTS_OWN}
        entry, *command = launch.command
        argv = [
            self._engine, "run", f"--name={name}", *_HELD, *_HERE, *self._own_options(), *self._mounts(launch), *told,
            *(f"--env={each}" for each in given), f"--workdir={layout.IO}", f"--entrypoint={entry}", launch.image,
            *command, *launch.args,
        ]  # fmt: skip
        return _Container(self._engine, name, argv, {**os.environ, **given}, launch)

    def _own_options(self) -> list[str]:
        """Who a program is: whoever runs it, so that its files are theirs, as those of a process are."""
        options = [f"--user={os.geteuid()}:{os.getegid()}"]
        if self._engine == "podman":
            options += ["--read-only-tmpfs=false", "--log-driver=none"]
            options += ["--userns=keep-id"] if os.geteuid() else []
        return options

    def _mounts(self, launch: Launch) -> list[str]:
        volumes = [(source, path, True) for path, source in launch.volumes.items() if source.is_dir()]
        places = [(place.path, str(place.path), not place.writable) for place in self._places if place.path.exists()]
        every = [(launch.folder, layout.IO, False), *volumes, *places]
        return [_mount(source.resolve(), target, read_only) for source, target, read_only in every]


def _mount(source: Path, target: str, read_only: bool) -> str:
    line = io.StringIO()
    fields = ["type=bind", f"source={source}", f"target={target}", *(["readonly"] if read_only else [])]
    csv.writer(line, lineterminator="").writerow(fields)
    return f"--mount={line.getvalue()}"


class _Container(ChildProcess):
    """The engine's command line, attached to the container until it ends; its exit code is the container's."""

    def __init__(self, engine: str, name: str, argv: list[str], env: Mapping[str, str], launch: Launch) -> None:
        self._kill = [engine, "kill", name]
        # Asked to end, the command line asks the container; killed, it would leave it behind.
        super().__init__(argv, env, launch, signal.SIGTERM)

    def kill(self) -> None:
        """End the container, which ends the command line."""
        if subprocess.run(self._kill, capture_output=True, check=False).returncode:  # noqa: S603  # it is not there yet
            super().kill()
