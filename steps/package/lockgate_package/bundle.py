"""Writes the files of a bundle: the earlier steps' files unchanged, and those that package makes."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockgate_step import canonical, file_digest

from lockgate_package.evidence import Files


def lay_out(folder: Path, files: Files, made: Mapping[str, bytes], *, model: str) -> dict[str, Any]:
    """Write the bundle's files into the folder, replacing its content; return the manifest, which is written last.

    made: relative name -> content of the files that package itself makes.
    """
    shutil.rmtree(folder, ignore_errors=True)  # files that an earlier attempt may have left
    shutil.copytree(files.model, folder / "model", copy_function=shutil.copyfile)
    copies = {
        "golden.json": files.answers / "golden.json",  # what predict signed, not what the model's author wrote
        "spec.json": files.spec,
        "policy.toml": files.policy,
        "data.json": files.data,
        "answers.json": files.answers / "record.json",
        **{f"verdicts/{gate}.json": path for gate, path in files.verdicts.items()},
    }
    for name, source in copies.items():
        _write(folder / name, source.read_bytes())
    _write(folder / "waivers.json", files.waivers.read_bytes() if files.waivers else canonical([]))
    for name, content in made.items():
        _write(folder / name, content)
    listed = {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()}
    return {"protocol": 1, "model": model, "files": listed}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
