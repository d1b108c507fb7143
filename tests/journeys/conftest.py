"""One project with one released version, shared by what must not change it."""

from collections.abc import Iterator

import pytest

from tests.workshop import Project, platform, release


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose first version is live."""
    with platform(Project.make(tmp_path_factory.mktemp("released"))) as project:
        release(project)
        yield project
