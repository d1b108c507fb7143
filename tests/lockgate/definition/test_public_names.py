"""The public names: `lockgate.__all__` is complete, documented, and the same in a fresh interpreter."""

import subprocess
import sys

import pytest

import lockgate

FRESH = """
import lockgate
print(*sorted(name for name in lockgate.__all__ if name not in dir(lockgate)))
from lockgate import *
print(*sorted(name for name in lockgate.__all__ if name not in globals()))
"""


@pytest.mark.parametrize("name", lockgate.__all__)
def test_each_name_exists_and_is_documented(name: str) -> None:
    documentation = getattr(lockgate, name).__doc__
    assert documentation
    assert not documentation.startswith(f"{name}("), "what dataclass() writes for a class without a docstring"


def test_editors_see_every_name_and_a_star_import_binds_them() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n\n", "")


def test_no_name_is_listed_twice() -> None:
    assert len(set(lockgate.__all__)) == len(lockgate.__all__)


@pytest.mark.parametrize("name", ["ModelSpecs", "step", "definitions"])
def test_a_misspelt_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'lockgate' has no attribute '{name}'"):
        getattr(lockgate, name)
