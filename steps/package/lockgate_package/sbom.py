"""Makes the software bill of materials (SBOM) of a served model: the model server's packages and the model file."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from lockgate_step import sha256
from packageurl import PackageURL


@dataclass(frozen=True)
class Package:
    """One line of a lock: a pinned package, its environment marker, and its permitted digests."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def read_lock(text: str) -> list[Package]:
    """Read the packages of a requirements file with hashes, as `uv pip compile --generate-hashes` writes it."""
    return list(_packages(text.replace("\\\n", " ").splitlines()))


def _packages(lines: Sequence[str]) -> Iterator[Package]:
    for line in lines:
        requirement, *hashes = line.split("--hash=sha256:")
        pin, _, marker = requirement.partition(";")
        name, pinned, version = pin.strip().partition("==")
        if pinned:
            yield Package(name, version, marker.strip(), tuple(digest.strip() for digest in hashes))


def sbom(model: Mapping[str, Any], *, name: str, model_digest: str, file_digest: str, lock: str) -> str:
    """Make CycloneDX 1.6 JSON; the same model and lock give the same bytes.

    model: model.json. lock: the text of the model server's lock.
    """
    packages = [_library(package) for package in read_lock(lock)]
    file = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=str(model["file"]),
        version=model_digest,
        bom_ref="model",
        hashes=[_hash(file_digest.removeprefix("sha256:"))],
        properties=[
            Property(name="lockgate:format", value=str(model["format"])),
            *(
                Property(name=f"lockgate:made-with:{package}", value=str(version))
                for package, version in sorted(model.get("versions", {}).items())
            ),
        ],
    )
    served = Component(type=ComponentType.APPLICATION, name=name, version=model_digest, bom_ref="served")
    # Derived, not random: the bundle's digest must not change if nothing else changes.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:lockgate:sbom:{model_digest}:{sha256(lock.encode())}")
    bom = Bom(components=[file, *packages], serial_number=serial)
    bom.metadata.component = served
    bom.register_dependency(served, [file, *packages])
    bom.metadata.timestamp = None  # type: ignore[assignment] # optional in the format, not in the library's types
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _library(package: Package) -> Component:
    purl = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=purl.to_string(),
        purl=purl,
        # One hash per distribution file; which file is installed depends on the machine.
        hashes=[_hash(digest) for digest in package.hashes],
        properties=[Property(name="lockgate:marker", value=package.marker)] if package.marker else [],
    )


def _hash(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
