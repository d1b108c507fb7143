"""What an image is on this machine: the environment of its lock, and the code on its path."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lockgate.definition.project import Model
from lockgate.definition.shelf import Shelf
from lockgate.engine.runtime.process import Environment
from lockgate.images.environments import Environments, cache
from lockgate.images.pins import image_name, own_images

# Of the interpreter below this virtual environment, so that every checkout shares one environment a lock.
PYTHON = Path(getattr(sys, "_base_executable", sys.executable))


@dataclass(frozen=True)
class Installed:
    """The images of the shelf, and of one model's own steps, as they are on this machine."""

    shelf: Shelf
    model: Model | None = None

    def __call__(self, reference: str) -> Environment:
        """What the engine needs to run an image. Errors: UnknownName."""
        name = image_name(reference)
        own = own_images(self.model, self.shelf) if self.model else {}
        image = own.get(name) or self.shelf.image(name)
        return environment(image.lock, image.path)


def environment(lock: Path, code: Sequence[Path]) -> Environment:
    """A lock, with these folders on the path."""
    # Code lies beside the lock and is not installed; a folder that may be read-only is not written to.
    path = {"PYTHONPATH": os.pathsep.join(map(str, code)), "PYTHONDONTWRITEBYTECODE": "1"}
    return Environment(PYTHON, path, lock)


def command(
    made: Environment, arguments: Sequence[str], installing: Callable[[], None] = lambda: None
) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of `python ARGUMENTS` there; it is installed first, if need be.

    Errors: OutsideFailed, with the end of what the installer said.
    """
    lock = made.lock
    python = Environments(cache()).python(made.python, lock, installing) if lock else made.python
    return [str(python), *arguments], {**os.environ, **made.variables}
