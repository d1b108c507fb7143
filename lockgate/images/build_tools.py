"""Build and push images with the command line of buildah, podman or docker."""

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
    """One layer to build: a folder of the context, on top of an existing image.

    name: `packages` or `code`: the folder, and its path in the image.
    base: the image directly below this layer. origin: the base image that all layers are on.
    labels: the labels of the image.
    """

    name: str
    base: str
    context: Path
    origin: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """The options that every builder has."""
        options = [f"--build-arg=BASE={self.base}", f"--build-arg=LAYER={self.name}"]
        return [*options, *(f"--label={name}={value}" for name, value in self.labels.items())]

    @property
    def annotations(self) -> list[str]:
        """The base image as OCI annotations; by default, builders write its name in their own store."""
        name, _, digest = self.origin.partition("@")
        base = {"name": name, "digest": digest}
        return [f"--annotation=org.opencontainers.image.base.{key}={value}" for key, value in base.items()]


class Builder(Protocol):
    """A program that builds and pushes images."""

    def find(self, reference: str) -> str:
        """The id of a local image, or an empty string."""

    def labels(self, reference: str) -> dict[str, str]:
        """The labels of a local image. Errors: OutsideFailed."""

    def pull(self, reference: str) -> None:
        """Pull an image. Errors: OutsideFailed."""

    def build(self, layer: Layer, tag: str) -> None:
        """Build the Dockerfile of the layer's context. Errors: OutsideFailed."""

    def push(self, tag: str) -> str:
        """Push an image; returns its digest in the registry. Errors: OutsideFailed."""


@dataclass(frozen=True)
class Buildah:
    """Builds with buildah or podman, which have the same options and need no daemon."""

    name: str

    def find(self, reference: str) -> str:
        """The id of a local image, or an empty string."""
        return _output_or_nothing(self.name, "images", "--quiet", "--no-trunc", reference)

    def labels(self, reference: str) -> dict[str, str]:
        """The labels of a local image."""
        found = json.loads(_call(self.name, "inspect", "--type=image", reference))  # buildah's templates have no JSON
        config = found["OCIv1"]["config"] if self.name == "buildah" else found[0]["Config"]
        return dict(config.get("Labels") or {})

    def pull(self, reference: str) -> None:
        """Pull an image."""
        _call(self.name, "pull", "--quiet", reference)

    def build(self, layer: Layer, tag: str) -> None:
        """Build the Dockerfile of the layer's context."""
        # One layer, without the current time and the builder's version: either would change the digest.
        same = ("--layers=false", "--timestamp=0", "--identity-label=false")
        _call(
            self.name, "build", "--quiet", *same, *layer.options, *layer.annotations, f"--tag={tag}", str(layer.context)
        )

    def push(self, tag: str) -> str:
        """Push an image; returns its digest."""
        with tempfile.TemporaryDirectory() as folder:
            digest = Path(folder) / "digest"
            _call(self.name, "push", "--quiet", f"--digestfile={digest}", tag)
            return digest.read_text(encoding="ascii").strip()


@dataclass(frozen=True)
class Docker:
    """Builds with docker's BuildKit."""

    def find(self, reference: str) -> str:
        """The id of a local image, or an empty string."""
        return _output_or_nothing("docker", "image", "inspect", "--format={{.Id}}", reference)

    def labels(self, reference: str) -> dict[str, str]:
        """The labels of a local image."""
        return _labels("docker", "image", "inspect", "--format={{json .Config.Labels}}", reference)

    def pull(self, reference: str) -> None:
        """Pull an image."""
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
    """Find the builder of that name, or the first one installed. Errors: BadCall."""
    if name and name not in BUILDERS:
        raise UnknownName("tool", name, BUILDERS)
    found = next((each for each in ((name,) if name else BUILDERS) if shutil.which(each)), None)
    if found is None:
        msg = f"{name or ', '.join(BUILDERS)}: not installed on this machine"
        raise BadCall(msg, fix="install buildah or podman (no daemon, no root), or docker")
    return Docker() if found == "docker" else Buildah(found)


def _labels(*argv: str) -> dict[str, str]:
    return dict(json.loads(_call(*argv)) or {})


def _output_or_nothing(*argv: str) -> str:
    """The output of a command, or an empty string if it fails."""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def _call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603  # from find_builder
    if done.returncode != 0:
        lines = "\n".join(f"  {line}" for line in (done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        msg = f"{argv[0]} {argv[1]} failed:\n{lines}"
        raise OutsideFailed(msg, fix=f"fix the error that {argv[0]} reports, then run this again")
    return done.stdout
