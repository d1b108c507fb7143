"""Data and store in a real S3 service."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lockgate_store import open_at

from tests.seaweed import BUCKET, SECRET_KEY, SeaweedFS, free_ports, seaweed
from tests.steps.ingest.conftest import Workspace, spec
from tests.steps.ingest.test_bad_data import GOOD, HEADER, MANY


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweed(tmp_path_factory.mktemp("seaweed"), tls=True) as running:
        yield running


@pytest.fixture
def data(service: SeaweedFS, workspace: Workspace) -> str:
    """Put data and official test file into the bucket; return the address of the data."""
    service.environment(workspace.root, prefix=f"stores/{uuid.uuid4().hex}")
    folder = f"s3://{BUCKET}/in/{uuid.uuid4().hex}"
    place = open_at(folder, workspace.root / "environment", workspace.root / "credentials")
    assert place is not None
    place.create("tiny.csv", (HEADER + MANY).encode())
    place.create("tiny.test", (HEADER + GOOD).encode())
    return f"{folder}/tiny.csv"


def test_from_bucket_to_bucket(workspace: Workspace, data: str) -> None:
    done = workspace.run(spec(data__test="data/tiny.test"), "--data", data)
    assert done.returncode == 0, done.stderr
    assert workspace.table("rows").num_rows == 80
    assert workspace.table("test").num_rows == 8
    assert [key.rpartition("/")[2] for key in workspace.store.list("models/tiny/snapshots/")] == [
        "rows.parquet", "test.parquet",
    ]  # fmt: skip
    assert SECRET_KEY not in done.stderr + done.stdout


def test_what_is_not_there_is_a_bad_call(workspace: Workspace, data: str) -> None:
    done = workspace.run(spec(), "--data", data + ".gz")
    assert done.returncode == 2, done.stderr
    assert f"{data}.gz not found" in done.stderr


@pytest.mark.parametrize("what", ["credentials", "endpoint", "ca", "bucket"])
def test_what_may_work_later_exits_4(service: SeaweedFS, workspace: Workspace, data: str, what: str) -> None:
    match what:
        case "credentials":
            (workspace.root / "credentials" / "secret_access_key").write_text("wrong")
        case "endpoint":
            service.environment(workspace.root, endpoint=f"https://127.0.0.1:{free_ports(1)[0]}")
        case "ca":
            (workspace.root / "environment" / "ca.pem").unlink()
        case "bucket":
            data = data.replace(BUCKET, "nobody-made-me")
    done = workspace.run(spec(), "--data", data)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET_KEY not in done.stderr


def test_a_store_that_fails_after_the_data_were_read(workspace: Workspace, data: str, tmp_path: Path) -> None:
    (workspace.root / "environment" / "store").write_text("s3://nobody-made-me/x")
    done = workspace.run(spec(), "--data", data)
    assert done.returncode == 4, done.stderr
    assert "create the bucket nobody-made-me" in done.stderr
    assert not (workspace.root / "out" / "record").exists()
