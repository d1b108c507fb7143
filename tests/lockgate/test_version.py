"""The version that programs in images know is that of the package."""

import tomllib
from pathlib import Path

from lockgate_step import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_programs_know_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
