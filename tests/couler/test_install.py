"""Without the real Couler the import error names what to install: PyPI's package of that name is empty."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lockgate.definition.catalog import Catalog
from lockgate.engine import Environment
from lockgate.images.installed import PYTHON, command

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        (HERE / "empty.txt", "is the empty one of PyPI.*pip uninstall couler, then pip install 'lockgate\\[couler\\]'"),
        (None, "Couler is not installed: pip install 'lockgate\\[couler\\]'"),
    ],
    ids=["the empty one", "none"],
)
def test_the_import_says_what_to_install(lock: Path | None, says: str) -> None:
    code = {"PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], Catalog.find().sdk)))}
    argv, env = command(Environment(PYTHON, code, lock), ["-c", "from lockgate.couler import couler_steps"])
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(says, done.stderr.strip().splitlines()[-1]), done.stderr
