"""Source -> rendered file, for a whole project: contracts, step functions, locks of one-file steps, workflows."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from lockgate_step import canonical, sha256

from lockgate.contract import contract_bytes, functions_source, step_contract
from lockgate.errors import NotRendered, OutsideFailed, SpecError, UnknownName
from lockgate.images import built
from lockgate.project import Model, Project, own_sources
from lockgate.readme import with_tables
from lockgate.shelf import Shelf

_HEADER = re.compile(r"(?m)^# /// script\s*$\n(?P<body>(?:^#(?:| .*)$\n)+?)^# ///\s*$")


def render_project(project: Project, names: list[str], *, check: bool) -> tuple[list[str], dict[str, Any]]:
    """Render everything, or only these models; with `check` write nothing and refuse what differs.

    Returns what was written, as lines and as JSON values.
    Errors: NotRendered (with `check`), SpecError, UnknownName.
    """
    files = _own_files(project)
    stale = write_or_check(files, check=check)
    for folder in project.folders():
        stale += write_or_check(_functions_of(folder), check=check)
    models = project.models
    for error in project.broken.values():
        raise error
    unknown = [name for name in names if name not in models]
    if unknown:
        raise UnknownName("model", unknown[0], models)
    for model in models.values():
        if not names or model.spec.name in names:
            stale += write_or_check(model_files(project, model, check=check), check=check)
    if not names:
        stale += _orphans(project, check=check)
        stale += write_or_check(_cluster_files(project), check=check)
    shown = [str(path.relative_to(project.root)) for path in stale]
    if check and shown:
        msg = f"{len(shown)} rendered file(s) do not agree with their source: {', '.join(shown)}"
        raise NotRendered(msg, fix="lockgate render, then look at the difference with git diff")
    written = [f"  wrote {path}" for path in shown] or [f"  {len(models)} models, everything agrees with its source"]
    notes = [note for model in models.values() for note in model.notes]
    return written + [f"  note: {note}" for note in notes], {"models": sorted(models), "written": shown, "notes": notes}


def model_files(project: Project, model: Model, *, check: bool = False) -> dict[Path, bytes]:
    """The manifests of one model, and the locks of its own steps, by path."""
    from lockgate.render import render_model

    files = {path: text for source in own_sources(model.folder) for path, text in _lock_of(source, check=check).items()}
    folder = project.workflows / model.spec.name
    rendered = render_model(model, Shelf.find(), built(project))
    return files | {folder / name: content for name, content in rendered.items()}


def _cluster_files(project: Project) -> dict[Path, bytes]:
    """The manifests of the cluster, where the project has one."""
    from lockgate.kubernetes.files import cluster_files
    from lockgate.kubernetes.settings import Cluster

    return cluster_files(cluster) if (cluster := Cluster(project)).exists else {}


def write_or_check(files: dict[Path, bytes], *, check: bool = False) -> list[Path]:
    """The files that differ from these bytes; without `check` they are written."""
    stale = [path for path, content in files.items() if not path.is_file() or path.read_bytes() != content]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[path])
    return stale


def _own_files(project: Project) -> dict[Path, bytes]:
    """Contracts and step functions; only in Lockgate's own repository is their source at hand."""
    shelf = Shelf.find()
    if shelf.root != project.root:
        return {}
    files = {f / "contract.json": contract_bytes(step_contract(f)) for f in shelf.step_folders()}
    write_or_check({p: c for p, c in files.items() if not p.exists()})
    programs = sorted(shelf.programs.values(), key=lambda p: p.name)
    text = functions_source(programs, "One typed function per program of the shelf.")
    files[project.root / "lockgate" / "steps.py"] = text.encode()
    # What serves the model is listed in its bill of materials, so package carries the server's lock.
    serving = shelf.image("model-server").lock.read_bytes()
    files[project.root / "steps" / "package" / "lockgate_package" / "model-server.lock"] = serving
    readme = project.root / "README.md"
    files[readme] = with_tables(readme.read_text(encoding="utf-8"), programs).encode()
    return files


def _functions_of(folder: Path) -> dict[Path, bytes]:
    """The typed functions of a model's own one-file steps, beside its pipeline."""
    from lockgate.contract import own_step

    programs = [own_step(source, folder.name.replace("_", "-")) for source in own_sources(folder)]
    if not programs:
        return {}
    text = functions_source(programs, f"One typed function per step of {folder.name} itself.")
    return {folder / f"{folder.name}_steps.py": text.encode()}


def _orphans(project: Project, *, check: bool) -> list[Path]:
    """Files below workflows/ that no model renders: removed, or with `check` named."""
    wanted = {(project.workflows / name) for name in project.models}
    found = [p for p in project.workflows.rglob("*") if p.is_file()]
    known = {"release.yaml", "review.yaml", "retrain.yaml", "on-registry-event.yaml"}
    orphans = [p for p in found if p.parent not in wanted or p.name not in known]
    for path in orphans if not check else []:
        path.unlink()
    return orphans


def _lock_of(source: Path, *, check: bool) -> dict[Path, bytes]:
    """The lock of a one-file step, compiled anew only when the packages in its PEP 723 header have changed."""
    lock = source.with_suffix(".lock")
    wanted = packages_of(source)
    mark = f"# of {source.name}, {sha256(canonical(wanted))}\n".encode()
    if lock.is_file() and lock.read_bytes().startswith(mark):
        return {lock: lock.read_bytes()}
    if check:
        return {lock: mark}
    return {lock: mark + _compile(wanted, source)}


def packages_of(source: Path) -> list[str]:
    """The packages in the PEP 723 header of a one-file step. Errors: SpecError."""
    match = _HEADER.search(source.read_text(encoding="utf-8"))
    if match is None:
        msg = f"{source.name} has no PEP 723 header, so its packages are unknown"
        raise SpecError(msg, fix='begin it with: # /// script, # dependencies = ["..."], # ///')
    body = "\n".join(line[2:] for line in match["body"].splitlines())
    return sorted(tomllib.loads(body).get("dependencies", []))


def _compile(packages: list[str], source: Path) -> bytes:
    from lockgate.installed import cache
    from lockgate.local.environments import Environments

    shelf = Shelf.find()
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    options += ["--no-emit-index-url", "--constraint", str(shelf.root / "images" / "model-abi.txt")]
    done = subprocess.run(  # noqa: S603 - our own installer, arguments made here
        [sys.executable, "-m", "uv", "pip", "compile", "-", *options],
        input="\n".join(packages).encode(),
        capture_output=True,
        check=False,
        env=Environments(cache()).settings,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        msg = f"the packages of {source.name} do not resolve: {' '.join(last)}"
        raise OutsideFailed(msg, fix="correct its PEP 723 header, or look at the package index's address")
    return done.stdout
