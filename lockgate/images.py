"""The images: what was built, by digest, and what each would hold."""

import json
from typing import Any

from lockgate_step import file_digest

from lockgate.project import Project
from lockgate.shelf import Shelf

UNBUILT = ":unbuilt"


def built(project: Project) -> dict[str, str]:
    """Image name -> reference by digest, for every image that was built (`images/images.lock.json`)."""
    path = project.root / "images" / "images.lock.json"
    return dict(json.loads(path.read_bytes())) if path.is_file() else {}


def image_name(reference: str) -> str:
    """The image's own name in a reference: `lockgate/train:unbuilt` -> `train`."""
    return reference.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def describe(project: Project) -> tuple[list[str], dict[str, Any]]:
    """Each image with its lock and whether it was built: lines for people, and JSON values."""
    shelf, references = Shelf.find(), built(project)
    names = sorted({program.image for program in shelf.programs.values()})
    own = {p.image: p for model in project.models.values() for p in model.own_programs.values()}
    value = {}
    for name in [*names, *sorted(own)]:
        lock = shelf.image(name).lock if name in names else None
        value[name] = {"reference": references.get(name), "lock": file_digest(lock) if lock else None}
    width = max(len(name) for name in value)
    lines = [f"  {name:<{width}}  {entry['reference'] or 'not built yet'}" for name, entry in value.items()]
    if len(references) < len(value):
        lines += ["Images are needed on a cluster only; `lockgate run` uses their locks as they are."]
    return lines, value
