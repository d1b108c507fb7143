"""Both layers of an image: only the locked packages and the code, always the same bytes, no trace of this machine."""

import re
import stat
from pathlib import Path

import pytest

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.errors import BadCall, UnknownName
from lockgate.images.build import Target, lay_out_code, lay_out_packages
from lockgate.images.build_tools import find_builder
from lockgate.images.pins import chosen

ROOT = Path(__file__).resolve().parents[3]
TARGET = Target("registry.example.org/python@sha256:0", "registry.example.org/lockgate")
NAME = "smoke-test"


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    lay_out(folder)
    return folder


def lay_out(folder: Path) -> None:
    """Write both layers of the small image."""
    image = Catalog.find().image(NAME)
    lay_out_packages(image, TARGET, folder)
    lay_out_code(image, TARGET, folder)


def contents(folder: Path) -> dict[str, tuple[int, float, bytes]]:
    """Each file in a folder: mode, time and bytes."""
    return {
        p.relative_to(folder).as_posix(): (stat.S_IMODE(p.stat().st_mode), p.stat().st_mtime, p.read_bytes())
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_the_same_lock_and_code_give_the_same_bytes(laid_out: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    lay_out(tmp_path)
    assert contents(tmp_path) == contents(laid_out)


def test_an_image_holds_exactly_its_lock(laid_out: Path) -> None:
    lock = Catalog.find().image(NAME).lock.read_text()
    locked = {
        (name.replace("_", "-").lower(), version) for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.]+)", lock)
    }
    metadata = (laid_out / "packages").glob("*.dist-info/METADATA")
    headers = [re.search(r"(?m)^Name: (\S+)(?:.|\n)*?^Version: (\S+)", path.read_text()) for path in metadata]
    installed = {(found[1].replace("_", "-").lower(), found[2]) for found in headers if found}
    assert installed <= locked  # a lock covers several systems, so some packages are for others
    assert {"httpx", "securesystemslib"} <= {name for name, _ in installed}


def test_an_image_holds_the_code_of_its_step_alone_and_names_no_folder_of_this_machine(laid_out: Path) -> None:
    modules = {p.name for p in (laid_out / "code").iterdir() if p.name.startswith("lockgate_")}
    assert "lockgate_smoke_test" in modules
    assert "lockgate_step" in modules
    assert "lockgate_train" not in modules
    assert not (laid_out / "packages" / "bin").exists()
    own = [name for name, (_, _, data) in contents(laid_out).items() if str(laid_out).encode() in data]
    assert own == []
    # The bytecode is next to its source, because a pod's root is read-only.
    assert list((laid_out / "code" / "lockgate_smoke_test").glob("__pycache__/gate.*.pyc"))


def test_what_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(BadCall, match="needs --registry"):
        Target.of("", "", "3.11", "push")
    with pytest.raises(BadCall, match="needs --base"):
        Target.of("", "registry.example.org", "3.11", "build")
    with pytest.raises(UnknownName, match="smoke-tset"):
        chosen(Project(ROOT), ["smoke-tset"])
    with pytest.raises(UnknownName, match="buildha"):
        find_builder("buildha")
