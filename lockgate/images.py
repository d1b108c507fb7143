"""The images: what was built, by digest, and what each would hold."""

import json
from collections.abc import Sequence
from typing import Any

from lockgate_step import file_digest

from lockgate.errors import UnknownName
from lockgate.project import Model, Project
from lockgate.shelf import Image, Shelf

LOCK = "images/images.lock.json"  # what was built and pushed, by digest
UNBUILT = ":unbuilt"


def built(project: Project) -> dict[str, str]:
    """Image name -> reference by digest, for every image that was built (`images/images.lock.json`)."""
    path = project.root / LOCK
    return dict(json.loads(path.read_bytes())) if path.is_file() else {}


def image_name(reference: str) -> str:
    """The image's own name in a reference: `lockgate/train:unbuilt` -> `train`."""
    return reference.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def images(project: Project) -> dict[str, Image]:
    """Every image by name: those of the shelf that hold a program, then those of the models' own one-file steps."""
    shelf = Shelf.find()
    found = {name: shelf.image(name) for name in sorted({program.image for program in shelf.programs.values()})}
    for model in project.models.values():
        found |= own_images(model, shelf)
    return found


def chosen(project: Project, names: Sequence[str]) -> list[Image]:
    """The images of these names, or all where none is named. Errors: UnknownName."""
    every = images(project)
    for name in names:
        if name not in every:
            raise UnknownName("image", name, every)
    return [every[name] for name in names] or list(every.values())


def own_images(model: Model, shelf: Shelf) -> dict[str, Image]:
    """The images of a model's one-file steps, by name."""
    found = {}
    for program in model.own_programs.values():
        source = model.folder / f"{program.command[-1]}.py"
        found[program.image] = Image(program.image, source.with_suffix(".lock"), (shelf.sdk, source))
    return found


def describe(project: Project) -> tuple[list[str], dict[str, Any]]:
    """Each image with its lock and whether it was built: lines for people, and JSON values."""
    references = built(project)
    value = {
        name: {"reference": references.get(name), "lock": file_digest(image.lock)}
        for name, image in images(project).items()
    }
    width = max(len(name) for name in value)
    lines = [f"  {name:<{width}}  {entry['reference'] or 'not built yet'}" for name, entry in value.items()]
    if len(references) < len(value):
        lines += ["Images are needed on a cluster only; `lockgate run` uses their locks as they are."]
    return lines, value
