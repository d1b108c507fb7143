"""Images from their locks: packages and code laid beside the one Dockerfile, then built and pushed.

Nothing runs while an image is built: the packages are put in place here, checked by their hashes. So no network, shell,
pip or privilege is needed inside, and the same lock and code always give the same bytes.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lockgate.errors import BadCall, OutsideFailed
from lockgate.images import LOCK
from lockgate.installed import cache
from lockgate.local.environments import Environments
from lockgate.project import Project
from lockgate.shelf import Image, Shelf

TOOLS = ("buildah", "podman", "docker")
_NOT_CODE = ("__pycache__", "*.pyc", ".*")
_LAST_LINES = 15


@dataclass(frozen=True)
class Target:
    """What images are built for.

    base: reference of the image with Python that all stand on, best by digest.
    registry: host and folder that the images are named in, e.g. `registry.example.org/lockgate`.
    python: minor version of the base's Python.
    machine: the processor, as in `uname -m`.
    """

    base: str
    registry: str
    python: str = "3.11"
    machine: str = platform.machine()

    @classmethod
    def of(cls, base: str, registry: str, python: str, action: str) -> "Target":
        """What a command line says. Errors: BadCall, naming what is missing."""
        missing = "--registry" if not registry else "--base" if action == "build" and not base else ""
        if missing:
            msg = f"images {action} needs {missing}"
            raise BadCall(msg, fix="lockgate images --help gives an example")
        return cls(base, registry.rstrip("/"), python)

    def tag(self, image: str) -> str:
        """The name an image is built and pushed under; what runs is named by digest."""
        return f"{self.registry}/{image}:latest"


class Tool(Protocol):
    """What builds and pushes: one of the usual command lines."""

    def build(self, context: Path, tag: str, base: str) -> None:
        """Build the Dockerfile of a folder. Errors: OutsideFailed."""

    def push(self, tag: str) -> str:
        """Push an image; returns the digest it has in the registry. Errors: OutsideFailed."""


@dataclass(frozen=True)
class Buildah:
    """Builds with buildah, or podman, whose options are the same; no daemon."""

    name: str
    options: tuple[str, ...] = ()

    def build(self, context: Path, tag: str, base: str) -> None:
        """Build the Dockerfile of a folder."""
        options = ("--quiet", "--layers", "--timestamp=0", f"--build-arg=BASE={base}", f"--tag={tag}")
        _call(self.name, *self.options, "build", *options, str(context))

    def push(self, tag: str) -> str:
        """Push an image; returns its digest."""
        with tempfile.TemporaryDirectory() as folder:
            said = Path(folder) / "digest"
            _call(self.name, *self.options, "push", "--quiet", f"--digestfile={said}", tag)
            return said.read_text(encoding="ascii").strip()


@dataclass(frozen=True)
class Docker:
    """Builds with docker's BuildKit."""

    def build(self, context: Path, tag: str, base: str) -> None:
        """Build the Dockerfile of a folder."""
        _call("docker", "build", "--quiet", f"--build-arg=BASE={base}", "--build-arg=SOURCE_DATE_EPOCH=0",
              f"--tag={tag}", str(context))  # fmt: skip

    def push(self, tag: str) -> str:
        """Push an image; returns its digest."""
        _call("docker", "push", "--quiet", tag)
        digests: list[str] = json.loads(_call("docker", "image", "inspect", "--format={{json .RepoDigests}}", tag))
        return next(d.split("@")[1] for d in digests if d.startswith(tag.rsplit(":", 1)[0] + "@"))


def find_tool(name: str = "", options: Sequence[str] = ()) -> Tool:
    """The tool of that name, or the first that is installed. Errors: BadCall."""
    found = next((tool for tool in ((name,) if name else TOOLS) if shutil.which(tool)), None)
    if found is None:
        msg = f"{name or ', '.join(TOOLS)}: not installed here"
        raise BadCall(msg, fix="install buildah or podman (no daemon, no root), or docker")
    return Docker() if found == "docker" else Buildah(found, tuple(options))


def build(image: Image, target: Target, tool: Tool) -> None:
    """Build an image under its tag. Errors: OutsideFailed where packages cannot be had or the tool fails."""
    with tempfile.TemporaryDirectory(prefix="lockgate-") as folder:
        lay_out(image, target, Path(folder))
        tool.build(Path(folder), target.tag(image.name), target.base)


def push(project: Project, image: Image, target: Target, tool: Tool) -> str:
    """Push an image and record it in `images/images.lock.json`; returns its reference by digest.

    Errors: OutsideFailed, with what the tool said.
    """
    path = project.root / LOCK
    recorded = dict(json.loads(path.read_bytes())) if path.is_file() else {}
    recorded[image.name] = f"{target.registry}/{image.name}@{tool.push(target.tag(image.name))}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return str(recorded[image.name])


def lay_out(image: Image, target: Target, folder: Path) -> None:
    """Write what an image is built from: its `Dockerfile`, `packages/` and `code/`, with nothing of this machine in it.

    Errors: OutsideFailed where the packages cannot be had.
    """
    shutil.copyfile(Shelf.find().dockerfile, folder / "Dockerfile")
    packages, code = folder / "packages", folder / "code"
    Environments(cache()).lay_out(image.lock, packages, target.python, f"{target.machine}-manylinux_2_28")
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts that name this machine's Python
    code.mkdir()
    for source in image.code:
        if source.is_file():
            shutil.copyfile(source, code / source.name)
        else:
            shutil.copytree(source, code, ignore=shutil.ignore_patterns(*_NOT_CODE), dirs_exist_ok=True)
    if f"{sys.version_info.major}.{sys.version_info.minor}" == target.python:
        # Halves a step's start on a read-only root. One process, so that the order, and with it each byte, is the same.
        argv = ["-m", "compileall", "-qq", "-j1", "--invalidation-mode=unchecked-hash", f"-s{folder}", "-p/"]
        subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, *argv, str(packages), str(code)], check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)  # whatever the umask here
        os.utime(path, (0, 0), follow_symlinks=False)


def _call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603  # the tool found before
    if done.returncode != 0:
        said = "\n".join(f"  {line}" for line in (done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        msg = f"{argv[0]} failed:\n{said}"
        raise OutsideFailed(msg, fix="correct what it says, then run it again")
    return done.stdout
