"""The picture and the tables of docs/architecture.md agree with the code, and so does the size of its modules."""

import re
from pathlib import Path

import pytest

from docs.generate import architecture

ROOT = Path(__file__).parents[2]
RENDERED = "Rendered from the contracts"  # one function per program: nobody writes or reads it from top to bottom
LIMIT = 400  # lines of a module
CODE = [
    path
    for folder in ("lockgate", "steps", "services")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "__pycache__" not in path.parts
]
PACKAGES = sorted({path.parent.relative_to(ROOT) for path in (ROOT / "lockgate").rglob("__init__.py")})


def test_the_picture_and_the_tables_agree_with_the_code() -> None:
    next_action = "python -m docs.generate.architecture"
    assert architecture.PICTURE.read_text() == architecture.picture(), next_action
    page = architecture.PAGE.read_text()
    assert page == architecture.page(page), next_action


def test_each_package_is_in_the_picture_and_each_in_the_picture_exists() -> None:
    drawn = set(re.findall(r">(lockgate/\w+)<", architecture.PICTURE.read_text()))
    code = {f"lockgate/{path.stem}" for path in (ROOT / "lockgate").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert drawn == code - {"lockgate/__init__", "lockgate/__main__", "lockgate/__pycache__", "lockgate/_catalog"}


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_each_package_says_what_is_in_it(package: Path) -> None:
    said = architecture.sentence(ROOT / package)
    assert 20 < len(said) < 140
    if package != Path("lockgate"):
        assert f"| `{package}" in architecture.PAGE.read_text()


@pytest.mark.parametrize("module", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_too_long(module: Path) -> None:
    content = module.read_text(encoding="utf-8")
    assert RENDERED in content.partition("\n")[0] or len(content.splitlines()) <= LIMIT
