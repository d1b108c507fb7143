"""The cluster, its images, and one model released there by `argo submit`, for tests that must not change it."""

import fcntl
import os
from collections.abc import Generator, Iterator

import pytest

from tests.cluster.cluster import Cluster, OwnCluster, here
from tests.cluster.images import push_images
from tests.cluster.place import REGISTRY, ROOT, SAMPLE, STATE
from tests.cluster.site import Site, account

NAMESPACE = "lockgate-grants"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run tests of two processes in parallel, but none at the same time as one that stops a shared service."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "in-use").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX if item.get_closest_marker("outage") else fcntl.LOCK_SH)
        return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "outage: stops a service that other tests use; runs alone")
    config.addinivalue_line("markers", "sample: CI runs it; the sample meets each platform and each attack once")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not in the sample, if only the sample is wanted."""
    if os.environ.get(SAMPLE):
        rest = [item for item in items if not item.get_closest_marker("sample")]
        config.hook.pytest_deselected(items=rest)
        items[:] = [item for item in items if item not in rest]


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Cluster:
    """The tests' cluster; started unless it is running."""
    cluster = here()
    cluster.up()
    if isinstance(cluster, OwnCluster):
        os.environ["PATH"] = (
            f"{cluster.programs}{os.pathsep}{os.environ['PATH']}"  # kubectl and argo, as users have them
        )
    return cluster


@pytest.fixture(scope="session")
def own(cluster: Cluster) -> OwnCluster:
    """The tests' cluster if it was created here; with any other cluster the test is skipped."""
    if not isinstance(cluster, OwnCluster):
        pytest.skip("it stops processes of the cluster, or calls addresses inside it")
    return cluster


@pytest.fixture(scope="session")
def images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every image, built from this checkout and pushed to the cluster's registry: name -> reference by digest."""
    copy = tmp_path_factory.mktemp("images")
    (copy / "pipelines").symlink_to(ROOT / "pipelines")
    return dict(push_images(copy, f"{REGISTRY}/lockgate", certificate=cluster.ca))


@pytest.fixture(scope="session")
def site(cluster: Cluster, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The small model on the cluster, before any run."""
    return Site.make(cluster, tmp_path_factory.mktemp("site"), NAMESPACE, images)


@pytest.fixture(scope="session")
def first(site: Site) -> str:
    """The run that released the first version."""
    run = site.submit()
    ended = site.wait(run)
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    return run


@pytest.fixture
def released(site: Site, first: str) -> Iterator[Site]:
    """The site with a live version; after each test it must still serve, and no candidate may be left."""
    del first
    yield site
    assert site.answers() == site.live()["bundle"]
    assert site.candidate() == {}
