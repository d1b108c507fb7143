"""A real model server for the gate to test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "model-server"))

import tiny_bundle
from tiny_bundle.child import Server, serving


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tiny_bundle.Authority:
    return tiny_bundle.Authority(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def bundle(authority: tiny_bundle.Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    authority.write_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def server(
    authority: tiny_bundle.Authority, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(bundle, authority.write_io(folder / "io"), folder / "log") as running:
        yield running
