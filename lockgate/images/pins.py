"""The images of a project: their content, and their pinned references by digest."""

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lockgate_step import canonical, file_digest, loads, sha256

from lockgate.definition.catalog import Catalog, Image
from lockgate.definition.project import Model, Project
from lockgate.errors import BadCall, SpecError, UnknownName

LOCK = "images/images.lock.json"  # the pushed references, by digest
NOWHERE, UNBUILT = "lockgate.invalid", ":unbuilt"
SOURCE = "io.lockgate.source"  # the label with the digest of an image's sources
# In a registry that it names.
_BY_DIGEST = re.compile(r"([\w\[\]:.-]+[.:][\w\[\]:.-]+|localhost)/[\w./:-]+@sha256:[0-9a-f]{64}", re.ASCII)
_NOT_CODE = ("__pycache__", "*.pyc", ".*")


def built(project: Project) -> dict[str, str]:
    """Read `images/images.lock.json`: image name -> reference by digest, for every image that was pushed.

    Errors: SpecError if a reference has no digest: a tag may name another image tomorrow.
    """
    path = project.root / LOCK
    try:
        found = loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        msg = f"{LOCK} is not a JSON object of image names and references"
        raise SpecError(msg, fix=f"restore {LOCK}, or remove it and run lockgate images push --registry REGISTRY")
    for name, reference in found.items():
        if not _BY_DIGEST.fullmatch(str(reference)):
            msg = f"{LOCK}: the image {name} is {reference!r}, not a reference by digest in a registry"
            raise SpecError(msg, fix="lockgate images push --registry REGISTRY")
    return found


def record(project: Project, references: Mapping[str, str]) -> None:
    """Add pushed references to `images/images.lock.json`; remove images that no longer exist."""
    path = project.root / LOCK
    every = images(project)
    found = {name: reference for name, reference in {**built(project), **references}.items() if name in every}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def image_name(reference: str) -> str:
    """The image's own name in a reference: `lockgate.invalid/train:unbuilt` -> `train`."""
    return reference.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def images(project: Project) -> dict[str, Image]:
    """Every image by name: those of the catalog that contain a program, then those of the models' own steps."""
    catalog = Catalog.find()
    found = {name: catalog.image(name) for name in sorted({program.image for program in catalog.programs.values()})}
    for model in project.models.values():
        own = own_images(model, catalog)
        if twice := sorted(found.keys() & own.keys()):
            msg = f"two steps would have the image {twice[0]}; one of them is in pipelines/{model.folder.name}"
            raise SpecError(msg, fix="rename the file of one of the steps")
        found |= own
    return found


def chosen(project: Project, names: Sequence[str]) -> list[Image]:
    """The images with these names, or all images if no name is given. Errors: UnknownName."""
    every = images(project)
    for name in names:
        if name not in every:
            raise UnknownName("image", name, every)
    return [every[name] for name in names] or list(every.values())


def own_images(model: Model, catalog: Catalog) -> dict[str, Image]:
    """The images of a model's one-file steps, by name."""
    found = {}
    for program in model.own_programs.values():
        source = model.folder / f"{program.command[-1]}.py"
        found[program.image] = Image(program.image, source.with_suffix(".lock"), (catalog.sdk, source))
    return found


def code_files(image: Image) -> dict[str, Path]:
    """Each file of an image's code, by its path on PYTHONPATH."""
    found = {}
    for entry in image.code:
        if entry.is_file():
            found[entry.name] = entry
            continue
        for path in sorted(p for p in entry.rglob("*") if p.is_file()):
            parts = path.relative_to(entry).parts
            if not any(fnmatch.fnmatch(part, pattern) for part in parts for pattern in _NOT_CODE):
                found["/".join(parts)] = path
    return found


def source_digest(image: Image) -> str:
    """The digest of an image's sources: the Dockerfile, the lock and the code, but not the base."""
    code = {name: file_digest(path) for name, path in code_files(image).items()}
    sources = {"Dockerfile": file_digest(Catalog.find().dockerfile), "lock": file_digest(image.lock), "code": code}
    return sha256(canonical(sources))


def check_current(image: Image, labels: Mapping[str, str]) -> None:
    """Refuse an image whose lock or code differs from this checkout. Errors: BadCall."""
    if labels.get(SOURCE) != source_digest(image):
        msg = f"the image of {image.name} is out of date: it was built from another lock or other code"
        raise BadCall(msg, fix="lockgate images build, then lockgate images push, with the same --registry")


def describe(project: Project) -> tuple[list[str], dict[str, Any]]:
    """List each image with its lock and reference: lines for the terminal, and JSON values."""
    references = built(project)
    value = {
        name: {"reference": references.get(name), "lock": file_digest(image.lock)}
        for name, image in images(project).items()
    }
    width = max(len(name) for name in value)
    lines = [f"  {name:<{width}}  {entry['reference'] or 'not built yet'}" for name, entry in value.items()]
    if len(references) < len(value):
        lines += ["Only a cluster needs images; `lockgate run` installs their locks directly."]
    return lines, value
