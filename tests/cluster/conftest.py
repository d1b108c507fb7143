"""The cluster, its images, and one model released there by `argo submit`, shared by what must not change it."""

from collections.abc import Iterator

import pytest

from tests import seaweed, workshop
from tests.cluster.cluster import REGISTRY, ROOT, Cluster
from tests.cluster.images import push_images
from tests.cluster.site import Site, account

NAMESPACE = "lockgate-grants"


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The tests' cluster, brought up unless it is."""
    cluster = Cluster((ROOT / ".cluster").resolve())
    cluster.up()
    return cluster


@pytest.fixture(scope="session")
def images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every image, built from this checkout and pushed to the cluster's registry: name -> reference by digest."""
    copy = tmp_path_factory.mktemp("images")
    (copy / "pipelines").symlink_to(ROOT / "pipelines")
    return dict(push_images(copy, f"{REGISTRY}/lockgate", certificate=cluster.authority.path("ca")))


@pytest.fixture(scope="session")
def site(cluster: Cluster, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The small model on the cluster, nothing run yet."""
    project = workshop.Project.make(tmp_path_factory.mktemp("site"))
    data = f"s3://{seaweed.BUCKET}/{NAMESPACE}/rows.csv"
    source = project.pipeline / "pipeline.py"
    # Two versions of two pods each, and steps beside them, on a node of two processors.
    small = 'serving=Serving(cpu="100m", memory="512Mi"),\n    train={'
    text = source.read_text().replace('"data/rows.csv"', f'"{data}"').replace("train={", small)
    source.write_text(text.replace("import Data, ModelSpec,", "import Data, ModelSpec, Serving,"))
    site = Site(cluster, project.root, NAMESPACE, workshop.MODEL)
    site.set_up(images)
    assert site.put("rows.csv", project.pipeline / "data" / "rows.csv") == data
    return site


@pytest.fixture(scope="session")
def first(site: Site) -> str:
    """The run that released the first version."""
    run = site.submit()
    ended = site.wait(run)
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    return run


@pytest.fixture
def released(site: Site, first: str) -> Iterator[Site]:
    """The site with a version that answers; whatever a test does, users are answered afterwards and nobody blocks."""
    del first
    yield site
    assert site.answers() == site.live()["bundle"]
    assert site.candidate() == {}
