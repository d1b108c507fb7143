"""Build images from their locks with one Dockerfile: a layer of packages, then a layer of code.

Nothing runs inside the image during the build: the packages are installed here, and their hashes are checked. So the
build needs no network, shell, pip or privilege, and the same lock and code always give the same bytes.
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

from lockgate.definition.catalog import Catalog, Image
from lockgate.errors import BadCall, LockgateError
from lockgate.images.build_tools import Builder, Layer
from lockgate.images.environments import Environments, cache
from lockgate.images.pins import SOURCE, check_current, code_files, source_digest

PACKAGES = "localhost/lockgate/packages"  # the layer of packages, which the builder keeps for the next build


@dataclass(frozen=True)
class Target:
    """Where images run and where they are pushed.

    base: reference of the base image with Python, preferably by digest.
    registry: host and folder of the images, e.g. `registry.example.org/lockgate`.
    python: minor version of the base's Python.
    machine: the processor architecture, as in `uname -m`.
    """

    base: str
    registry: str
    python: str = "3.11"
    machine: str = platform.machine()

    @classmethod
    def of(cls, base: str, registry: str, python: str, action: str) -> "Target":
        """Check the options of a command. Errors: BadCall, naming the missing option."""
        missing = "--registry" if not registry else "--base" if action == "build" and not base else ""
        if missing:
            msg = f"images {action} needs {missing}"
            raise BadCall(msg, fix="lockgate images --help shows an example")
        if "://" in registry:
            msg = f"--registry {registry} is not HOST/FOLDER"
            raise BadCall(msg, fix=f"remove {registry.partition('://')[0]}://")
        return cls(base, registry.rstrip("/"), python)

    def tag(self, image: str) -> str:
        """The tag that an image is built and pushed with; runs name it by digest."""
        return f"{self.registry}/{image}:latest"


@dataclass(frozen=True)
class Done:
    """One image that was built or pushed: its reference, and the time in seconds."""

    image: Image
    reference: str
    seconds: float


def at_once(images: Sequence[Image], work: Callable[[Image], str]) -> Iterator[Done]:
    """Process as many images in parallel as there are cores; yields each image when it is done.

    Errors: the first error of `work`; images that have not started by then are skipped.
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
    """Build an image; returns its tag. A layer of packages that exists on this base is used again.

    Errors: OutsideFailed if packages cannot be installed or the builder fails.
    """
    packages = _packages(image, target, builder)
    tag = target.tag(image.name)
    with _context() as folder:
        lay_out_code(image, target, folder)
        builder.build(Layer("code", packages, folder, target.base, {SOURCE: source_digest(image)}), tag)
    return tag


def _packages(image: Image, target: Target, builder: Builder) -> str:
    """The tag of the base image plus the packages of a lock; built first if it does not exist."""
    if not builder.find(target.base):
        builder.pull(target.base)
    key = hashlib.sha256(f"{builder.find(target.base)} {target.python} {target.machine}\n".encode())
    key.update(Catalog.find().dockerfile.read_bytes() + Path(__file__).read_bytes() + image.lock.read_bytes())
    tag = f"{PACKAGES}:{key.hexdigest()[:16]}"
    if not builder.find(tag):
        with _context() as folder:
            lay_out_packages(image, target, folder)
            builder.build(Layer("packages", target.base, folder, target.base), tag)
    return tag


@contextmanager
def _context() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lockgate-") as folder:
        shutil.copyfile(Catalog.find().dockerfile, Path(folder, "Dockerfile"))
        yield Path(folder)


def push(image: Image, target: Target, builder: Builder) -> str:
    """Push an image; returns its reference by digest.

    Errors: BadCall if it is not built, or is out of date; OutsideFailed, with the builder's output.
    """
    tag = target.tag(image.name)
    if not builder.find(tag):
        msg = f"{tag} is not built on this machine"
        raise BadCall(msg, fix=f"lockgate images build --registry {target.registry} --base REFERENCE")
    check_current(image, builder.labels(tag))
    return f"{target.registry}/{image.name}@{builder.push(tag)}"


def lay_out_packages(image: Image, target: Target, folder: Path) -> None:
    """Write the packages of an image's lock to `packages/`, with no trace of this machine.

    Errors: OutsideFailed if they cannot be installed.
    """
    packages = folder / "packages"
    Environments(cache()).lay_out(image.lock, packages, target.python, f"{target.machine}-manylinux_2_28")
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts with the path of this machine's Python
    for record in packages.glob("*.dist-info/RECORD"):  # RECORD lists them too
        kept = [line for line in record.read_text("utf-8").splitlines(keepends=True) if not line.startswith("bin/")]
        record.write_text("".join(kept), "utf-8", newline="")
    _settle(packages, target)


def lay_out_code(image: Image, target: Target, folder: Path) -> None:
    """Write the code of an image to `code/`, with no trace of this machine."""
    code = folder / "code"
    for name, source in code_files(image).items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, code / name)
    _settle(code, target)


def _settle(layer: Path, target: Target) -> None:
    """Compile the Python files, and make modes and times the same on every machine."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == target.python:
        # Bytecode halves a step's start time on a read-only root. One process keeps the order and the bytes stable.
        argv = ["-m", "compileall", "-qq", "-j1", "--invalidation-mode=unchecked-hash", f"-s{layer.parent}", "-p/"]
        subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, *argv, str(layer)], check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
    for path in (layer, *layer.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)  # independent of the umask
        os.utime(path, (0, 0), follow_symlinks=False)
