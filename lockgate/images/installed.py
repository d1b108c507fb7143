"""Run images as processes of this machine: the environment of the lock, with the code on its path."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Model
from lockgate.engine import Environment
from lockgate.engine.runtime.launch import inherited
from lockgate.images.environments import Environments, cache
from lockgate.images.pins import image_name, own_images

# The base interpreter of this virtual environment, so that all checkouts share one environment per lock.
PYTHON = Path(getattr(sys, "_base_executable", sys.executable))


@dataclass(frozen=True)
class Installed:
    """The images of the catalog and of one model's own steps, as environments on this machine."""

    catalog: Catalog
    model: Model | None = None

    def __call__(self, reference: str) -> Environment:
        """Return the environment to run an image in. Errors: UnknownName."""
        name = image_name(reference)
        own = own_images(self.model, self.catalog) if self.model else {}
        image = own.get(name) or self.catalog.image(name)
        return environment(image.lock, image.path, image.code)


def environment(lock: Path, path: Sequence[Path], code: Sequence[Path] = ()) -> Environment:
    """The environment of a lock, with these folders on the path; code: what programs read of them, by default all."""
    # Code is not installed. Its folder may be read-only, so Python writes no bytecode.
    variables = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    return Environment(PYTHON, variables, lock, code)


def command(
    env: Environment, arguments: Sequence[str], installing: Callable[[], None] = lambda: None
) -> tuple[list[str], dict[str, str]]:
    """Return the command line and variables of `python ARGUMENTS` in an environment; install it first if needed.

    The variables are those of the environment, and those that every program inherits.

    Errors: OutsideFailed, with the last lines of the installer's output.
    """
    lock = env.lock
    python = Environments(cache()).python(env.python, lock, installing) if lock else env.python
    return [str(python), *arguments], {**inherited(), **env.variables}
