"""Images from their locks: a layer of packages, then a layer of code, by the one Dockerfile.

Nothing runs while an image is built: the packages are put in place here, checked by their hashes. So no network, shell,
pip or privilege is needed inside, and the same lock and code always give the same bytes.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockgate.definition.shelf import Image, Shelf
from lockgate.errors import BadCall, LockgateError
from lockgate.images.builders import Builder, Layer
from lockgate.images.environments import Environments, cache
from lockgate.images.pins import SOURCE, check_current, code_files, source_digest

PACKAGES = "localhost/lockgate/packages"  # a layer of packages, kept by the builder for the next change of code


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
        if "://" in registry:
            msg = f"--registry {registry} is not HOST/FOLDER"
            raise BadCall(msg, fix=f"leave out {registry.partition('://')[0]}://")
        return cls(base, registry.rstrip("/"), python)

    def tag(self, image: str) -> str:
        """The name an image is built and pushed under; what runs is named by digest."""
        return f"{self.registry}/{image}:latest"


@dataclass(frozen=True)
class Done:
    """One image that was built or pushed: what it is called now, and how long it took."""

    image: Image
    reference: str
    seconds: float


def at_once(images: Sequence[Image], work: Callable[[Image], str]) -> Iterator[Done]:
    """Do the work for as many images at once as there are cores; each is told when it is done.

    Errors: the first of the work's own; what has not begun by then is not begun.
    """

    def timed(image: Image) -> Done:
        began = time.monotonic()
        reference = work(image)
        return Done(image, reference, time.monotonic() - began)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from (each.result() for each in as_completed([pool.submit(timed, image) for image in images]))
        except LockgateError:
            pool.shutdown(cancel_futures=True)
            raise


def build(image: Image, target: Target, builder: Builder) -> str:
    """Build an image; returns its tag. Packages that lie on this base already are not laid again.

    Errors: OutsideFailed where packages cannot be had or the builder fails.
    """
    packages = _packages(image, target, builder)
    tag = target.tag(image.name)
    with _context() as folder:
        lay_out_code(image, target, folder)
        builder.build(Layer("code", packages, folder, target.base, {SOURCE: source_digest(image)}), tag)
    return tag


def _packages(image: Image, target: Target, builder: Builder) -> str:
    """The tag of the base with the packages of a lock on it, which is built first, if need be."""
    if not builder.find(target.base):
        builder.pull(target.base)
    said = hashlib.sha256(f"{builder.find(target.base)} {target.python} {target.machine}\n".encode())
    said.update(Shelf.find().dockerfile.read_bytes() + Path(__file__).read_bytes() + image.lock.read_bytes())
    tag = f"{PACKAGES}:{said.hexdigest()[:16]}"
    if not builder.find(tag):
        with _context() as folder:
            lay_out_packages(image, target, folder)
            builder.build(Layer("packages", target.base, folder, target.base), tag)
    return tag


@contextmanager
def _context() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lockgate-") as folder:
        shutil.copyfile(Shelf.find().dockerfile, Path(folder, "Dockerfile"))
        yield Path(folder)


def push(image: Image, target: Target, builder: Builder) -> str:
    """Push an image; returns its reference by digest.

    Errors: BadCall where it was not built, or not of what is here; OutsideFailed, with what the builder said.
    """
    tag = target.tag(image.name)
    if not builder.find(tag):
        msg = f"{tag} was not built here"
        raise BadCall(msg, fix=f"lockgate images build --registry {target.registry} --base REFERENCE")
    check_current(image, builder.labels(tag))
    return f"{target.registry}/{image.name}@{builder.push(tag)}"


def lay_out_packages(image: Image, target: Target, folder: Path) -> None:
    """Write the packages of an image's lock to `packages/`, with nothing of this machine in them.

    Errors: OutsideFailed where they cannot be had.
    """
    packages = folder / "packages"
    Environments(cache()).lay_out(image.lock, packages, target.python, f"{target.machine}-manylinux_2_28")
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts that name this machine's Python
    for record in packages.glob("*.dist-info/RECORD"):  # which has a digest of each of them
        kept = [line for line in record.read_text("utf-8").splitlines(keepends=True) if not line.startswith("bin/")]
        record.write_text("".join(kept), "utf-8", newline="")
    _settle(packages, target)


def lay_out_code(image: Image, target: Target, folder: Path) -> None:
    """Write the code of an image to `code/`, with nothing of this machine in it."""
    code = folder / "code"
    for name, source in code_files(image).items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, code / name)
    _settle(code, target)


def _settle(layer: Path, target: Target) -> None:
    """Compile what is Python, and make modes and times the same wherever this runs."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == target.python:
        # Halves a step's start on a read-only root. One process, so that the order, and with it each byte, is the same.
        argv = ["-m", "compileall", "-qq", "-j1", "--invalidation-mode=unchecked-hash", f"-s{layer.parent}", "-p/"]
        subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, *argv, str(layer)], check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
    for path in (layer, *layer.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)  # whatever the umask here
        os.utime(path, (0, 0), follow_symlinks=False)
