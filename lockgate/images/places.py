"""Which files of this machine a program reaches beside its inputs: those of the services that its contract names."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lockgate.definition.catalog import Catalog, Program
from lockgate.definition.project import Model
from lockgate.engine import Launch, Place, Places
from lockgate.errors import BadCall
from lockgate.records.environment import Environment


def places(catalog: Catalog, model: Model, environment: Environment, data: str) -> Places:
    """Return the function that names a program's places: the store, the model registry, the run's data.

    data: the address of the run's data; only `ingest` reads it.

    Errors: BadCall if the registry's file is in the folder of the keys.
    """
    programs = [*catalog.programs.values(), *model.own_programs.values()]
    store, registry = _store(environment), _registry(environment)
    files = _data(model, data)

    def of(launch: Launch) -> Sequence[Place]:
        program = next((program for program in programs if _runs(program, launch)), None)
        if program is None:
            return []
        # The registry's file says where the files of a version are written, so others can only read it.
        theirs = registry if program.name == "package" else [Place(place.path) for place in registry]
        services = {"store": store, "registry": theirs}
        found = [place for name in program.contract["uses"] for place in services.get(name, ())]
        return found + (files if program.name == "ingest" else [])

    return of


def _runs(program: Program, launch: Launch) -> bool:
    return program.command == launch.command and program.args == launch.args[: len(program.args)]


def _store(environment: Environment) -> list[Place]:
    folder = _file(environment.setting("store"))
    return _folder(folder) if folder else []


def _registry(environment: Environment) -> list[Place]:
    """The folder of the registry's file: SQLite writes beside it."""
    registry = environment.setting("registry")
    database = _file(registry)
    if database is None:
        return []
    if database.parent == environment.root.parent:
        msg = f"the model registry is in the same folder as the keys: {registry}"
        fix = f"move it to its own folder, and write the new address to {environment.config / 'registry'}"
        raise BadCall(msg, fix=fix)
    return _folder(database.parent)


def _folder(folder: Path) -> list[Place]:
    folder.mkdir(parents=True, exist_ok=True)  # a folder must exist to be mounted
    return [Place(folder, writable=True)]


def _data(model: Model, data: str) -> list[Place]:
    """The data file and the official test file next to it, if they are on this machine."""
    found, source = _file(data), model.spec.source
    if found is None:
        return []
    test = [found.parent / os.path.relpath(source.test, Path(source.uri).parent)] if source.test else []
    return [Place(path) for path in (found, *(path.resolve() for path in test))]


def _file(address: str) -> Path | None:
    parts = urlsplit(address)
    return Path("/", unquote(parts.path).lstrip("/")) if parts.scheme in ("file", "sqlite") else None
