"""Keys of a store that Argo's S3 driver would write outside of a step's inputs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from lockgate_store import open_store

from lockgate.doctor.checks import keeps_dots
from tests.listening import listening
from tests.seaweed import BUCKET, SeaweedFS, seaweed


@contextmanager
def stand_in(*, refuses: bool) -> Iterator[tuple[str, set[str]]]:
    """An S3 service that keeps each key as it is, or refuses those with `..`; yields its address and its keys."""
    keys: set[str] = set()

    class Service(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = unquote(urlsplit(self.path).path).split("/", 2)[2]
            if refuses and ".." in key:
                return self.answer(400, "<Error><Code>InvalidArgument</Code></Error>")
            keys.add(key)
            return self.answer(200, "")

        def do_DELETE(self) -> None:
            keys.discard(unquote(urlsplit(self.path).path).split("/", 2)[2])
            self.answer(204, "")

        def do_GET(self) -> None:
            (prefix,) = parse_qs(urlsplit(self.path).query)["prefix"]
            found = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys if key.startswith(prefix))
            self.answer(200, f"<ListBucketResult>{found}</ListBucketResult>")

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with listening(Service) as address:
        yield address, keys


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize("prefix", ["", "models", "a/models"])
def test_a_store_that_keeps_dots_in_keys_is_known(tmp_path: Path, prefix: str, refuses: bool) -> None:
    with stand_in(refuses=refuses) as (address, keys):
        environment = SeaweedFS(address, None).environment(tmp_path, bucket="b", prefix=prefix)
        assert keeps_dots(open_store(environment, tmp_path / "credentials")) is not refuses
        assert keys == set()


def test_seaweedfs_and_a_folder_keep_none(tmp_path: Path) -> None:
    with seaweed(tmp_path / "service") as service:
        environment = service.environment(tmp_path, prefix="models")
        assert not keeps_dots(open_store(environment, tmp_path / "credentials"))
        left = service.client().list_objects_v2(Bucket=BUCKET).get("Contents", ())
        assert [each["Key"] for each in left if not re.search("/$", each["Key"])] == []
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "store").write_text((tmp_path / "kept").as_uri())
    assert not keeps_dots(open_store(folder, None))
