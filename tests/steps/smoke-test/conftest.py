"""A real model server beside the gate, and a saboteur between them.

The server needs its own image's packages: this interpreter if it has them, or the one that LOCKGATE_MODEL_SERVER_PYTHON
names, or an environment made here by uv.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "model-server"))

import tiny_bundle
from tiny_bundle.child import Runtime, Server, serving

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tiny_bundle.Authority:
    return tiny_bundle.Authority(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    code = os.pathsep.join(str(ROOT / part) for part in ("steps/sdk", "services/model-server"))
    return Runtime(_python(tmp_path_factory), {**os.environ, "PYTHONPATH": code})


def _python(tmp_path_factory: pytest.TempPathFactory) -> str:
    if importlib.util.find_spec("mlserver"):
        return sys.executable
    if given := os.environ.get("LOCKGATE_MODEL_SERVER_PYTHON"):
        return given
    uv = shutil.which("uv")
    if uv is None:
        pytest.fail("no model server here: set LOCKGATE_MODEL_SERVER_PYTHON, or put uv on the PATH")
    folder = tmp_path_factory.mktemp("environment")
    lock = ROOT / "images" / "model-server" / "requirements.lock"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--python", python, "-r", str(lock)], check=True)
    return python


@pytest.fixture(scope="session")
def bundle(authority: tiny_bundle.Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    authority.write_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def server(
    authority: tiny_bundle.Authority, bundle: Path, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(bundle, authority.write_io(folder / "io"), folder / "log", runtime) as running:
        yield running
