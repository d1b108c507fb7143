"""An environment folder names a store; an invalid one gives a message with the correction."""

from pathlib import Path

import pytest
from lockgate_step import BadCall
from lockgate_store import open_store


def test_a_folder_with_a_space_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "store").write_text((tmp_path / "my store").as_uri() + "\n")
    open_store(tmp_path).create("k", b"1")
    assert (tmp_path / "my store" / "k").read_bytes() == b"1"


def test_no_address(tmp_path: Path) -> None:
    with pytest.raises(BadCall, match="store is missing") as failed:
        open_store(tmp_path)
    assert "file:///folder or s3://bucket/prefix" in failed.value.fix


@pytest.mark.parametrize("address", ["", "/tmp/x", "file://host/x", "file:x", "s3:///prefix", "gs://bucket"])
def test_an_invalid_address(tmp_path: Path, address: str) -> None:
    (tmp_path / "store").write_text(address)
    with pytest.raises(BadCall, match="is not the address of a store"):
        open_store(tmp_path)


def test_a_pod_keeps_nothing_in_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "store").write_text((tmp_path / "kept").as_uri())
    (tmp_path / "platform").write_text("kubernetes\n")
    with pytest.raises(BadCall, match="the store's address names a file") as refused:
        open_store(tmp_path)
    assert "s3://bucket/key" in refused.value.fix
    (tmp_path / "platform").write_text("local\n")
    open_store(tmp_path)


@pytest.mark.parametrize("settings", ["{", "[]", '{"endpiont": "http://x"}', '{"addressing_style": "sideways"}'])
def test_invalid_s3_settings(tmp_path: Path, settings: str) -> None:
    (tmp_path / "store").write_text("s3://bucket/prefix")
    (tmp_path / "s3.json").write_text(settings)
    with pytest.raises(BadCall, match=r"s3\.json") as failed:
        open_store(tmp_path)
    assert "addressing_style" in failed.value.fix


def test_an_invalid_endpoint(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("s3://bucket/prefix")
    (tmp_path / "s3.json").write_text('{"endpoint": "minio:9000/x"}')
    with pytest.raises(BadCall, match="'minio:9000/x' is not an endpoint"):
        open_store(tmp_path)
