"""Failures of S3, from a real service and from a proxy before it."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lockgate_step import OutsideFailed
from lockgate_store import Exists, Missing, Store, open_store
from lockgate_store._s3 import S3Store

from tests.seaweed import BUCKET, SECRET_KEY, SeaweedFS, free_ports, wire


def opened(service: SeaweedFS, folder: Path, *, endpoint: str = "", bucket: str = BUCKET, prefix: str = "") -> Store:
    environment = service.environment(folder, endpoint=endpoint, bucket=bucket, prefix=prefix or uuid.uuid4().hex)
    return open_store(environment, folder / "credentials")


def each_call(store: Store, folder: Path) -> list[Callable[[], object]]:
    (folder / "file").write_bytes(b"data")
    return [
        lambda: store.read("k"),
        lambda: store.create("k", b"data"),
        lambda: store.replace("k", b"data", "0" * 32),
        lambda: store.put("k", b"data"),
        lambda: store.delete("k", "0" * 32),
        lambda: store.exists("k"),
        lambda: list(store.list("")),
        lambda: store.upload(folder / "file", "k"),
        lambda: store.download("k", folder / "copy"),
    ]


def expect_failure(store: Store, folder: Path, message: str, fix: str) -> None:
    """Check that every call fails with this message and fix, names the place, shows no secret and leaves no file."""
    for call in each_call(store, folder):
        with pytest.raises(OutsideFailed, match=message) as failed:
            call()
        assert fix in failed.value.fix
        assert "s3://" in failed.value.message
        assert SECRET_KEY not in f"{failed.value.message} {failed.value.fix} {failed.value.__cause__}"
    assert not (folder / "copy").exists()


def test_the_service_is_down(plain_service: SeaweedFS, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    store = opened(plain_service, tmp_path, endpoint=endpoint)
    with pytest.raises(OutsideFailed, match=f"evidence/.* at {endpoint}: cannot be reached") as failed:
        store.read("k")
    assert "s3.json" in failed.value.fix


def test_the_credentials_are_refused(plain_service: SeaweedFS, tmp_path: Path) -> None:
    environment = plain_service.environment(tmp_path)
    (tmp_path / "credentials" / "secret_access_key").write_text(f"{SECRET_KEY}-not")
    expect_failure(
        open_store(environment, tmp_path / "credentials"),
        tmp_path,
        "answered 403",
        ".lockgate/environment/lockgate-store",
    )


def test_there_are_no_credentials(plain_service: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store(plain_service.environment(tmp_path))
    expect_failure(store, tmp_path, "there are no credentials", ".lockgate/environment/lockgate-store")


def test_the_bucket_does_not_exist(plain_service: SeaweedFS, tmp_path: Path) -> None:
    store = opened(plain_service, tmp_path, bucket="no-such-bucket")
    for call in (lambda: store.read("k"), lambda: store.create("k", b""), lambda: store.exists("k")):
        with pytest.raises(OutsideFailed, match="NoSuchBucket") as failed:
            call()
        assert "create the bucket no-such-bucket" in failed.value.fix


def test_the_certificate_is_not_trusted(tls_service: SeaweedFS, tmp_path: Path) -> None:
    environment = tls_service.environment(tmp_path)
    (environment / "ca.pem").unlink()
    with pytest.raises(OutsideFailed, match="not trusted") as failed:
        open_store(environment, tmp_path / "credentials").read("k")
    assert "ca.pem" in failed.value.fix


def test_the_service_fails(plain_service: SeaweedFS, tmp_path: Path) -> None:
    def behave(request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        return b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    with wire(plain_service, behave) as endpoint:
        store = opened(plain_service, tmp_path, endpoint=endpoint)
        with pytest.raises(OutsideFailed, match="answered 503") as failed:
            store.read("k")
        assert "run it again" in failed.value.fix
        with pytest.raises(OutsideFailed, match="answered 503"):
            store.create("k", b"")


def test_an_incomplete_response_fails(plain_service: SeaweedFS, tmp_path: Path) -> None:
    def behave(request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        return ask(request)[: -100 if request.startswith(b"GET") else None]

    with wire(plain_service, behave) as endpoint:
        store = opened(plain_service, tmp_path, endpoint=endpoint)
        store.create("k", bytes(10_000))
        with pytest.raises(OutsideFailed, match=r"s3://evidence.*the response is incomplete"):
            store.read("k")
        with pytest.raises(OutsideFailed, match=r"s3://evidence.*the response is incomplete"):
            store.download("k", tmp_path / "copy")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["credentials", "environment"]


def test_a_write_succeeds_if_its_response_is_lost(plain_service: SeaweedFS, tmp_path: Path) -> None:
    lost: list[bytes] = []

    def behave(request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        answer = ask(request)
        if request.startswith(b"PUT") and len(lost) % 2 == 0:
            lost.append(answer)
            return b""
        if request.startswith(b"PUT"):
            lost.append(b"")
        return answer

    with wire(plain_service, behave) as endpoint:
        store = opened(plain_service, tmp_path, endpoint=endpoint)
        version = store.create("k", b"1")
        version = store.replace("k", b"2", version)
        assert store.read("k").data == b"2"
        assert store.read("k").version == version
        with pytest.raises(Exists):
            store.create("k", b"2")
    assert [answer[:12] for answer in lost[:4:2]] == [b"HTTP/1.1 200"] * 2


def test_a_write_is_retried_after_a_concurrent_one(plain_service: SeaweedFS, tmp_path: Path) -> None:
    body = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
    conflict = b"HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    puts: list[bytes] = []

    def behave(request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        puts.extend([request[:3]] * request.startswith(b"PUT"))
        return conflict if len(puts) < 3 else ask(request)

    with wire(plain_service, behave) as endpoint:
        opened(plain_service, tmp_path, endpoint=endpoint).create("k", b"1")
    assert len(puts) == 3


def test_a_large_file_is_uploaded_in_parts_and_creates_once(plain_service: SeaweedFS, tmp_path: Path) -> None:
    store = opened(plain_service, tmp_path)
    assert isinstance(store, S3Store)
    small = replace(store, single_put=1 << 20)
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * (70 << 10))  # 17.5 MiB, three parts
    version = small.upload(source, "big")
    assert version.endswith("-3")
    small.download("big", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    with pytest.raises(Exists):
        small.upload(source, "big")
    assert small.client.list_multipart_uploads(Bucket=small.bucket).get("Uploads", []) == []


def test_stores_with_different_prefixes_are_separate(plain_service: SeaweedFS, tmp_path: Path) -> None:
    one, two = opened(plain_service, tmp_path, prefix="one"), opened(plain_service, tmp_path, prefix="on")
    one.create("k", b"1")
    assert list(two.list("")) == []
    with pytest.raises(Missing):
        two.read("e/k")
