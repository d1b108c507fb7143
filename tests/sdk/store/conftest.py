"""The kinds of stores that test_laws.py tests."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lockgate_store import Store, open_store

from tests.seaweed import SeaweedFS, seaweed


@pytest.fixture(scope="session")
def plain_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as service:
        yield service


@pytest.fixture(scope="session")
def tls_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweed(tmp_path_factory.mktemp("seaweed-tls"), tls=True) as service:
        yield service


@pytest.fixture(params=["file", "s3", "s3-tls"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind, opened from an environment folder as programs do."""
    if request.param == "file":
        (tmp_path / "store").write_text((tmp_path / "kept here").as_uri())
        return open_store(tmp_path)
    service: SeaweedFS = request.getfixturevalue("plain_service" if request.param == "s3" else "tls_service")
    environment = service.environment(tmp_path, prefix=uuid.uuid4().hex)
    return open_store(environment, tmp_path / "credentials")
