"""Whether an image is in its registry: asked over HTTPS, on this machine without a proxy."""

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme

from lockgate.images.registry import absent

DIGEST = f"sha256:{'0' * 64}"
STATUS = {"found": 200, "missing": 404, "private": 401}


class Registry(BaseHTTPRequestHandler):
    """Answers with the status that belongs to an image's name."""

    def do_HEAD(self) -> None:
        self.send_response(STATUS[self.path.split("/")[2]])
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a registry on this machine, which the environment trusts but has a dead proxy for."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # without skopeo
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_image_that_is_there(registry: str) -> None:
    assert absent(f"{registry}/found@{DIGEST}") == ""
    assert absent(f"{registry.replace('127.0.0.1', 'localhost')}/found@{DIGEST}") == ""


def test_an_image_that_is_missing_or_private(registry: str) -> None:
    assert absent(f"{registry}/missing@{DIGEST}") == f"{registry} answers 404"
    assert absent(f"{registry}/private@{DIGEST}") == f"{registry} requires credentials, and skopeo is not installed"


def test_a_registry_that_is_down_or_not_trusted(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert absent(f"127.0.0.1:1/found@{DIGEST}").startswith("cannot connect to 127.0.0.1:1 (")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate verify failed" in absent(f"{registry}/found@{DIGEST}")


def test_a_registry_elsewhere_is_asked_through_the_proxy(registry: str) -> None:
    """The proxy is dead, and the name resolves nowhere, so the message tells which of them was tried."""
    del registry
    why = absent(f"registry.example.invalid/found@{DIGEST}")
    assert why.startswith("cannot connect to registry.example.invalid (")
    assert "refused" in why
