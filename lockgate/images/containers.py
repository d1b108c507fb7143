"""Run images by digest in a local container engine, with the folders that they need mounted."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Model
from lockgate.engine import ENGINES, ContainerRuntime, Place
from lockgate.errors import BadCall, UnknownName
from lockgate.images.build_tools import find_builder
from lockgate.images.pins import UNBUILT, check_current, image_name, own_images
from lockgate.records.environment import Environment


def contained(
    engine: str, images: Iterable[str], pinned: Mapping[str, str], model: Model, environment: Environment, data: str
) -> ContainerRuntime:
    """Make the runtime of `lockgate run --in ENGINE`.

    images: the references in the manifest. pinned: image name -> pushed reference.
    data: the address of the run's data.

    Errors: UnknownName; BadCall if an image is not built, or the registry's file is in the folder of the keys.
    """
    if engine not in ENGINES:
        raise UnknownName("container engine", engine, ENGINES)
    missing = sorted({image_name(image) for image in images if image.endswith(UNBUILT)})
    if missing:
        msg = f"images not built yet: {', '.join(missing)}"
        raise BadCall(msg, fix="lockgate images build, then lockgate images push; or run without --in")
    return ContainerRuntime(
        engine, find_builder(engine), [*_stores(environment), *_data(model, data)], _check(model, pinned)
    )


def _check(model: Model, pinned: Mapping[str, str]) -> Callable[[str, Mapping[str, str]], None]:
    """Make a check that refuses an image whose lock or code differs from this checkout."""
    catalog = Catalog.find()
    own = own_images(model, catalog)

    def check(reference: str, labels: Mapping[str, str]) -> None:
        # Check the name that it is pinned as, not its own name: a pin may name another step's image.
        names = [name for name, each in pinned.items() if each == reference]
        for name in names or [image_name(reference)]:  # an earlier run's reference may no longer be pinned
            check_current(own.get(name) or catalog.image(name), labels)

    return check


def _stores(environment: Environment) -> list[Place]:
    """The folders of the store and of the model registry, if they are on this machine."""
    registry = environment.setting("registry")
    database = _file(registry)
    folders = [folder for folder in (_file(environment.setting("store")), database and database.parent) if folder]
    if environment.root.parent in folders:
        msg = f"the model registry is in the same folder as the keys: {registry}"
        fix = f"move it to its own folder, and write the new address to {environment.config / 'registry'}"
        raise BadCall(msg, fix=fix)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)  # a folder must exist to be mounted
    return [Place(folder, writable=True) for folder in folders]


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
