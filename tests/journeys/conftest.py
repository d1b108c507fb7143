"""One project with one released version, shared by tests that must not change it."""

import json
from collections.abc import Iterator

import pytest

from tests.workshop import MODEL, Project, platform, release


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose first version is live."""
    with platform(Project.make(tmp_path_factory.mktemp("released"))) as project:
        release(project)
        yield project


@pytest.fixture(scope="session")
def first(released: Project) -> str:
    """The run that released the first version."""
    history = released.state / "store" / "models" / MODEL / "history" / "1.json"
    return str(json.loads(history.read_bytes())["run"])
