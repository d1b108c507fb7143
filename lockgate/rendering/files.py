"""Source -> rendered file, for a whole project: contracts, step functions, locks of one-file steps, workflows."""

from pathlib import Path

from lockgate.definition.project import Model, Project, own_sources
from lockgate.definition.shelf import Shelf
from lockgate.images.pins import built
from lockgate.rendering.locks import _lock_of


def model_files(project: Project, model: Model, *, check: bool = False) -> dict[Path, bytes]:
    """The manifests of one model, and the locks of its own steps, by path."""
    from lockgate.rendering.manifest import render_model

    files = {path: text for source in own_sources(model.folder) for path, text in _lock_of(source, check=check).items()}
    folder = project.workflows / model.spec.name
    rendered = render_model(model, Shelf.find(), built(project))
    return files | {folder / name: content for name, content in rendered.items()}


def write_or_check(files: dict[Path, bytes], *, check: bool = False) -> list[Path]:
    """The files that differ from these bytes; without `check` they are written."""
    stale = [path for path, content in files.items() if not path.is_file() or path.read_bytes() != content]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[path])
    return stale
