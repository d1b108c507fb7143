"""What the public port relays, and what it does not."""

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from lockgate.platform.status_page import ModelView, page
from tests.lockgate.platform.conftest import World

Http = Callable[..., Any]


def serving(world: World) -> str:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    address = world.start().address
    world.ready("adult", "live", bundle)
    return address


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One platform for every test that does not stop its server."""
    root = tmp_path_factory.mktemp("relay")
    world = World(root, (root / "store").as_uri())
    yield serving(world)
    world.stop()


def raw(address: str, *pieces: bytes) -> bytes:
    """Send bytes unchanged; return what is received until the connection is closed."""
    url = urlsplit(address)
    received = b""
    with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    return received


def test_method_target_body_and_headers_pass(address: str, http: Http) -> None:
    sent = {"Content-Type": "application/x-own", "X-Own": "mine", "Cookie": "a=b"}
    answer = http(f"{address}/v2/models/adult/echo?a=1%2F2&b=%20", b"body", method="PUT", headers=sent)
    seen = answer.json
    assert answer.status == 418
    assert (seen["method"], seen["target"], seen["body"]) == ("PUT", "/v2/models/adult/echo?a=1%2F2&b=%20", "body")
    headers = dict(seen["headers"])
    assert sent.items() <= headers.items()
    assert headers["Content-Length"] == "4"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Host"] == urlsplit(address).netloc
    assert headers["X-Forwarded-Proto"] == "http"
    assert answer.headers["X-Own"] == "kept"
    assert sorted(answer.headers.get_all("Set-Cookie")) == ["one=1; Path=/", "two=2; Path=/"]


def test_what_speaks_about_one_connection_stays_there(address: str) -> None:
    request = (
        b"POST /v2/models/adult/echo HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
        b"Proxy-Authorization: secret\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    head, _, body = raw(address, request).partition(b"\r\n\r\n")
    headers = {name.lower(): value for name, value in json.loads(body)["headers"]}
    assert not headers.keys() & {"x-hop", "te", "proxy-authorization"}
    assert headers["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert b"keep-alive: timeout=9" not in head.lower()


def test_a_compressed_body_passes_as_it_is(address: str, http: Http) -> None:
    body = gzip.compress(b"plain")
    seen = http(f"{address}/v2/models/adult/echo", body, headers={"Content-Encoding": "gzip"}).json
    headers = dict(seen["headers"])
    # The model server decompressed it, so it arrived compressed, with its own encoding and length.
    assert (seen["body"], headers["Content-Encoding"], headers["Content-Length"]) == ("plain", "gzip", str(len(body)))


def test_bodies_stream_both_ways(address: str) -> None:
    url = urlsplit(address)
    with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=30) as connection:
        connection.sendall(
            b"POST /v2/models/adult/count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        received = b""
        for size in (1, 2, 3):
            connection.sendall(b"1\r\nx\r\n")
            # The response to this chunk arrives before the next is sent: nothing waits for a complete body.
            while f"{size}\n".encode() not in received.partition(b"\r\n\r\n")[2]:
                received += connection.recv(65536)
        connection.sendall(b"0\r\n\r\n")


def test_a_large_body_passes(address: str, http: Http) -> None:
    answer = http(f"{address}/v2/models/adult/count", b"x" * 30_000_000)
    assert answer.body.splitlines()[-1] == b"30000000"


def test_half_an_answer_does_not_look_whole(world: World) -> None:
    address = serving(world)
    request = b"POST /v2/models/adult/break-off HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    head, _, body = raw(address, request).partition(b"\r\n\r\n")
    assert b"content-length: 1000" in head.lower()
    assert len(body) < 1000


@pytest.mark.parametrize(
    "target",
    [
        "/v2/models/adult/../../repository/index",
        "/v2/models/adult/%2e%2e/%2e%2e/repository/index",
        "/v2/models/adult/..%2f..%2frepository/index",
        "/v2/repository/index",
        "/v2/models",
        "/metrics",
    ],
)
def test_only_a_models_own_paths_are_relayed(address: str, target: str) -> None:
    answer = raw(
        address, f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 404")
    assert b'"error"' in answer


def test_a_request_for_another_host_stays_here(address: str) -> None:
    answer = raw(
        address,
        b"GET http://127.0.0.1:9/v2/models/adult/echo HTTP/1.1\r\nHost: 127.0.0.1:9\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 418")


def test_the_page_shows_names_as_text() -> None:
    hostile = "<script>alert(1)</script>"
    view = ModelView(model=hostile, bundle=None, since=hostile, ready=False, candidate=hostile, problem=hostile)
    assert "<script" not in page([view])
