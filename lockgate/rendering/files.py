"""Render the files of a model; write rendered files, or check that they are up to date."""

from pathlib import Path

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Model, Project
from lockgate.images.pins import built
from lockgate.rendering.locks import SIGNING, _lock_of


def model_files(project: Project, model: Model, *, check: bool = False) -> dict[Path, bytes]:
    """Render the manifests of one model and the locks of its own steps; returns path -> bytes.

    check: do not resolve packages; an outdated lock gets only its first line, so that it differs.
    """
    from lockgate.rendering.manifest import render_model

    files: dict[Path, bytes] = {}
    for program in model.own_programs.values():
        source = model.folder / f"{program.command[-1]}.py"
        files |= _lock_of(source, SIGNING if program.signer else (), check=check)
    folder = project.workflows / model.spec.name
    rendered = render_model(model, Catalog.find(), built(project))
    return files | {folder / name: content for name, content in rendered.items()}


def write_or_check(files: dict[Path, bytes], *, check: bool = False) -> list[Path]:
    """Write the files whose bytes differ; returns their paths. With `check`, write nothing."""
    stale = [path for path, content in files.items() if not path.is_file() or path.read_bytes() != content]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[path])
    return stale
