"""What builds and pushes images: buildah, podman or docker, each by its own command line."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lockgate.errors import BadCall, OutsideFailed, UnknownName

BUILDERS = ("buildah", "podman", "docker")
_LAST_LINES = 15


@dataclass(frozen=True)
class Layer:
    """One layer to build: a folder of the context, on an image that is there.

    name: `packages` or `code`: the folder, and its path in the image.
    origin: the base that was asked for, which the image below this layer need not be.
    labels: of the image.
    """

    name: str
    base: str
    context: Path
    origin: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """What every builder is told in the same words."""
        said = [f"--build-arg=BASE={self.base}", f"--build-arg=LAYER={self.name}"]
        return [*said, *(f"--label={name}={value}" for name, value in self.labels.items())]

    @property
    def annotations(self) -> list[str]:
        """What it was built on, in the words of OCI: left to themselves, builders write how their own store has it."""
        name, _, digest = self.origin.partition("@")
        said = {"name": name, "digest": digest}
        return [f"--annotation=org.opencontainers.image.base.{key}={value}" for key, value in said.items()]


class Builder(Protocol):
    """What builds and pushes."""

    def find(self, reference: str) -> str:
        """The id of an image that is here, or nothing."""

    def labels(self, reference: str) -> dict[str, str]:
        """The labels of an image that is here. Errors: OutsideFailed."""

    def pull(self, reference: str) -> None:
        """Bring an image here. Errors: OutsideFailed."""

    def build(self, layer: Layer, tag: str) -> None:
        """Build the Dockerfile of the layer's context. Errors: OutsideFailed."""

    def push(self, tag: str) -> str:
        """Push an image; returns the digest it has in the registry. Errors: OutsideFailed."""


@dataclass(frozen=True)
class Buildah:
    """Builds with buildah, or podman, whose options are the same; no daemon."""

    name: str

    def find(self, reference: str) -> str:
        """The id of an image that is here, or nothing."""
        return _ask(self.name, "images", "--quiet", "--no-trunc", reference)

    def labels(self, reference: str) -> dict[str, str]:
        """The labels of an image that is here."""
        said = json.loads(_call(self.name, "inspect", "--type=image", reference))  # buildah's templates know no JSON
        config = said["OCIv1"]["config"] if self.name == "buildah" else said[0]["Config"]
        return dict(config.get("Labels") or {})

    def pull(self, reference: str) -> None:
        """Bring an image here."""
        _call(self.name, "pull", "--quiet", reference)

    def build(self, layer: Layer, tag: str) -> None:
        """Build the Dockerfile of the layer's context."""
        # One layer, without a clock time and without the builder's version, which would be another digest elsewhere.
        same = ("--layers=false", "--timestamp=0", "--identity-label=false")
        _call(
            self.name, "build", "--quiet", *same, *layer.options, *layer.annotations, f"--tag={tag}", str(layer.context)
        )

    def push(self, tag: str) -> str:
        """Push an image; returns its digest."""
        with tempfile.TemporaryDirectory() as folder:
            said = Path(folder) / "digest"
            _call(self.name, "push", "--quiet", f"--digestfile={said}", tag)
            return said.read_text(encoding="ascii").strip()


@dataclass(frozen=True)
class Docker:
    """Builds with docker's BuildKit."""

    def find(self, reference: str) -> str:
        """The id of an image that is here, or nothing."""
        return _ask("docker", "image", "inspect", "--format={{.Id}}", reference)

    def labels(self, reference: str) -> dict[str, str]:
        """The labels of an image that is here."""
        return _labels("docker", "image", "inspect", "--format={{json .Config.Labels}}", reference)

    def pull(self, reference: str) -> None:
        """Bring an image here."""
        _call("docker", "pull", "--quiet", reference)

    def build(self, layer: Layer, tag: str) -> None:
        """Build the Dockerfile of the layer's context."""
        same = "--build-arg=SOURCE_DATE_EPOCH=0"
        _call("docker", "build", "--quiet", same, *layer.options, f"--tag={tag}", str(layer.context))

    def push(self, tag: str) -> str:
        """Push an image; returns its digest."""
        _call("docker", "push", "--quiet", tag)
        digests: list[str] = json.loads(_call("docker", "image", "inspect", "--format={{json .RepoDigests}}", tag))
        return next(d.split("@")[1] for d in digests if d.startswith(tag.rsplit(":", 1)[0] + "@"))


def find_builder(name: str = "") -> Builder:
    """The builder of that name, or the first that is installed. Errors: BadCall."""
    if name and name not in BUILDERS:
        raise UnknownName("tool", name, BUILDERS)
    found = next((each for each in ((name,) if name else BUILDERS) if shutil.which(each)), None)
    if found is None:
        msg = f"{name or ', '.join(BUILDERS)}: not installed here"
        raise BadCall(msg, fix="install buildah or podman (no daemon, no root), or docker")
    return Docker() if found == "docker" else Buildah(found)


def _labels(*argv: str) -> dict[str, str]:
    return dict(json.loads(_call(*argv)) or {})


def _ask(*argv: str) -> str:
    """What a command says, or nothing where it fails."""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def _call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603  # the builder found before
    if done.returncode != 0:
        said = "\n".join(f"  {line}" for line in (done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        msg = f"{argv[0]} {argv[1]} failed:\n{said}"
        raise OutsideFailed(msg, fix="correct what it says, then run it again")
    return done.stdout
