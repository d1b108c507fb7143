"""Run images by digest in a local container engine, with the folders that they need mounted."""

from collections.abc import Callable, Iterable, Mapping

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Model
from lockgate.engine import ENGINES, ContainerRuntime
from lockgate.errors import BadCall, UnknownName
from lockgate.images.build_tools import find_builder
from lockgate.images.pins import UNBUILT, check_current, image_name, own_images
from lockgate.images.places import places
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
    found = places(Catalog.find(), model, environment, data)
    return ContainerRuntime(engine, find_builder(engine), found, _check(model, pinned))


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
