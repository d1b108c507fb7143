"""Render a whole project: contracts, step functions, workflows, and the cluster's manifests."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate_policy import read as read_policy
from lockgate_step import Judged

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Model, Project, own_sources
from lockgate.definition.workflows import NAMES
from lockgate.errors import NotRendered, UnknownName
from lockgate.new.power import stated
from lockgate.rendering.contracts import contract_bytes, functions_source, step_contract
from lockgate.rendering.files import model_files, write_or_check
from lockgate.rendering.readme import with_tables

if TYPE_CHECKING:
    from lockgate.cluster.manifests.settings import Cluster


def render_project(project: Project, names: list[str], *, check: bool) -> tuple[list[str], dict[str, Any]]:
    """Render everything, or only these models; with `check` write nothing and fail if a file differs.

    Returns what was written, as lines and as JSON values.
    Errors: NotRendered (with `check`), SpecError, UnknownName.
    """
    stale = write_or_check(_contracts(project), check=check)
    stale += write_or_check(_from_contracts(project), check=check)
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
    if not check:
        _make_current(project)
    if not names:
        stale += _orphans(project, check=check)
        files = cluster_manifests(project)
        stale += write_or_check(files, check=check) + _left_over(project, files, check=check)
    shown = [str(path.relative_to(project.root)) for path in stale]
    if check and shown:
        msg = f"{len(shown)} rendered file(s) differ from their source: {', '.join(shown)}"
        raise NotRendered(msg, fix="lockgate render, then check the difference with git diff")
    written = [f"  wrote {path}" for path in shown] or [
        f"  {len(models)} model{'' if len(models) == 1 else 's'}; each rendered file agrees with its source"
    ]
    notes = [note for model in models.values() for note in (*model.notes, *_undivided(project, model))]
    rules = [] if check else [line for model in models.values() for line in _power(model)]
    lines = [*written, *(f"  power: {line}" for line in rules), *(f"  note: {note}" for note in notes)]
    return lines, {"models": sorted(models), "written": shown, "notes": notes, "power": rules}


def _undivided(project: Project, model: Model) -> list[str]:
    """Say that a rollout by shares is refused on the project's cluster, before a run finds out."""
    rollout = model.spec.serving.rollout
    if not isinstance(rollout, Judged) or _cluster(project) is None:
        return []
    kind = type(rollout).__name__
    return [f"{model.spec.name}: the rollout {kind} works on one machine; on the cluster, canary refuses it"]


def _power(model: Model) -> list[str]:
    """The rules that a fair model would often not pass, with the groups of the model's own data."""
    return stated(model.spec, read_policy(model.folder / "policy.toml"), model.folder)


def _make_current(project: Project) -> None:
    """Tell this machine's environment, if there is one, which policies are current: runs in progress read it too."""
    from lockgate.records.environment import Environment
    from lockgate.rendering.current import write_current

    environment = Environment.below(project.state / "environment")
    if environment.config.is_dir():
        write_current(project, environment)


def cluster_manifests(project: Project) -> dict[Path, bytes]:
    """The manifests of the cluster, if the project has one; an admission policy contains every rendered template."""
    from lockgate.cluster.manifests.files import cluster_files

    return cluster_files(cluster) if (cluster := _cluster(project)) else {}


def _cluster(project: Project) -> "Cluster | None":
    from lockgate.cluster.manifests.settings import Cluster

    return cluster if (cluster := Cluster(project)).exists else None


def _left_over(project: Project, files: Mapping[Path, bytes], *, check: bool) -> list[Path]:
    """Find the manifests of the cluster that are no longer rendered; delete them, unless it is a check."""
    from lockgate.cluster.manifests.files import left_over

    orphans = left_over(cluster, files) if (cluster := _cluster(project)) else []
    for path in orphans if not check else []:
        path.unlink()
    return orphans


def _contracts(project: Project) -> dict[Path, bytes]:
    """The contracts of the steps; their sources exist only in Lockgate's own repository."""
    catalog = Catalog.find()
    if catalog.root != project.root:
        return {}
    return {folder / "contract.json": contract_bytes(step_contract(folder)) for folder in catalog.step_folders()}


def _from_contracts(project: Project) -> dict[Path, bytes]:
    """What Lockgate's own repository makes of its contracts, once they are written."""
    catalog = Catalog.find()
    if catalog.root != project.root:
        return {}
    programs = sorted(catalog.programs.values(), key=lambda p: p.name)
    text = functions_source(programs, "One typed function per program of Lockgate.")
    # The bill of materials lists what serves the model, so package carries the server's lock.
    serving = catalog.image("model-server").lock.read_bytes()
    readme = project.root / "README.md"
    return {
        project.root / "lockgate" / "definition" / "steps.py": text.encode(),
        project.root / "steps" / "package" / "lockgate_package" / "model-server.lock": serving,
        readme: with_tables(readme.read_text(encoding="utf-8"), programs).encode(),
    }


def _functions_of(folder: Path) -> dict[Path, bytes]:
    """The typed functions of a model's own one-file steps, beside its pipeline."""
    from lockgate.definition.contract import own_step

    programs = [own_step(source, folder.name.replace("_", "-")) for source in own_sources(folder)]
    if not programs:
        return {}
    text = functions_source(programs, f"One typed function per step of {folder.name} itself.")
    return {folder / f"{folder.name}_steps.py": text.encode()}


def _orphans(project: Project, *, check: bool) -> list[Path]:
    """Files in workflows/ that no model renders: delete them, or with `check` only name them."""
    wanted = {(project.workflows / name) for name in project.models}
    found = [p for p in project.workflows.rglob("*") if p.is_file()]
    known = {f"{name}.yaml" for name in (*NAMES, "retrain", "on-registry-event")}
    orphans = [p for p in found if p.parent not in wanted or p.name not in known]
    for path in orphans if not check else []:
        path.unlink()
    return orphans
