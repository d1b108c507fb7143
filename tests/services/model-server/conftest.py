"""One model server for all tests that do not stop it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_bundle
from tiny_bundle.child import Server, serving


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tiny_bundle.Authority:
    return tiny_bundle.Authority(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def io(authority: tiny_bundle.Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority.write_io(tmp_path_factory.mktemp("io"))


@pytest.fixture(scope="session")
def bundle(authority: tiny_bundle.Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    authority.write_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def server(bundle: Path, io: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(bundle, io, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running
