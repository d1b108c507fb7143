"""A bench with a store in a folder, and one with a store in a real S3 service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.seaweed import seaweed
from tests.steps.version_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(params=["file", "s3"])
def bench_anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Make a bench whose store is a folder, then one whose store is a real S3 service."""
    bench = Bench(tmp_path / "bench")
    if request.param == "file":
        yield bench
        return
    with seaweed(tmp_path / "seaweed") as service:
        service.environment(bench.root)
        yield bench
