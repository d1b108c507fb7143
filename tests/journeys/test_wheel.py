"""The wheel and an empty folder are enough to create, release and call a model, without the repository."""

import csv
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lockgate.images.installed import command, environment
from tests.workshop import Done, free_port

ROOT = Path(__file__).resolve().parents[2]
MODEL = "pensions"
CARRIED = ("steps", "services", "images", "schemas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the installed build backend."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", str(folder), str(ROOT)], check=True)
    (built,) = folder.iterdir()
    return built


@dataclass(frozen=True)
class Empty:
    """An empty folder, and an environment with the Lockgate of the wheel."""

    folder: Path
    bin: Path
    port: int

    def call(self, name: str, *arguments: str) -> Done:
        """Run a command of the environment in the folder."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LOCKGATE_CACHE") if name in os.environ}
        done = subprocess.run(
            [str(self.bin / name), *arguments],
            cwd=self.folder,
            env={**kept, "LOCKGATE_PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def lockgate(self, *arguments: str) -> Done:
        """Run `lockgate ARGUMENTS` in the folder; it must succeed."""
        done = self.call("lockgate", *arguments)
        assert (done.code, "Traceback" in done.said) == (0, False), done.said
        return done


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Empty]:
    """A fresh environment: the packages of requirements.lock, and the wheel."""
    made = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    argv, _ = command(environment(ROOT / "requirements.lock", []), [])
    (packages,) = Path(argv[0]).parents[1].glob("lib/python*/site-packages")
    (here,) = made.glob("lib/python*/site-packages")
    (here / "packages.pth").write_text(f"{packages}\n")
    there = Empty(tmp_path_factory.mktemp("empty"), made / "bin", free_port())
    install = ("pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(there.bin / "python"))
    subprocess.run([sys.executable, "-m", "uv", *install, str(wheel)], check=True)
    yield there
    there.call("lockgate", "serve", "--stop")


def test_the_wheel_carries_every_file_of_the_catalog(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", *CARRIED], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git clone, so the files of the repository are unknown")
    with zipfile.ZipFile(wheel) as archive:
        names = {n.removeprefix("lockgate/_catalog/") for n in archive.namelist() if n.startswith("lockgate/_catalog/")}
    files = {name for name in listed.stdout.split() if (ROOT / name).is_file()}
    assert files - names == set()


def test_a_model_of_ones_own_is_made_released_and_asked_in_an_empty_folder(empty: Empty) -> None:
    place = empty.call("python", "-c", "from lockgate.definition.catalog import Catalog; print(Catalog.find().root)")
    assert Path(place.out.strip()) == next(empty.bin.parent.glob("lib/python*/site-packages/lockgate/_catalog"))
    shutil.copy(ROOT / "docs" / "pensions.csv", empty.folder / "cases.csv")
    said = empty.lockgate("new", MODEL, "--data", "cases.csv", "--target", "granted").out
    assert f"pipelines/{MODEL}" in said
    assert f"Released: {MODEL} " in empty.lockgate("run", MODEL).out
    empty.lockgate("verify", MODEL)
    answered = list(csv.DictReader(empty.lockgate("predict", MODEL, "cases.csv").out.splitlines()))
    right = sum(row["label"] == row["granted"] for row in answered)
    assert (len(answered), {row["label"] for row in answered}) == (3000, {"yes", "no"})
    assert right / len(answered) > 0.7
    assert all(0 <= float(row["score"]) <= 1 for row in answered)


def test_nothing_it_left_names_the_repository(empty: Empty) -> None:
    written = [path for path in empty.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(written) > 100
    assert [str(path) for path in written if f"{ROOT}{os.sep}".encode() in path.read_bytes()] == []
