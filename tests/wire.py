"""Raw HTTP for the tests of servers: half-sent headers, mutated requests, and what may never be in an answer."""

import http.client
import json
import random
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SECRET = "Wolfgang-4711"  # stands for a name, a token or a value of a row
_PRODUCTS = re.compile(
    rb"(?i)uvicorn|aiohttp|starlette|fastapi|h11|httptools|mlserver|pydantic|msgspec|traceback|python/"
)
_TOKENS = [
    b"\r\n", b"\n", b"\0", b" ", b":", b"\xff", b"%00", b"%ff", b"?", b"#", b"//", b"/../", b"HTTP/0.9", b"HTTP/2.0",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"Host: evil.example\r\n", b"X" * 9000, b"A: b\r\n" * 300, b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"PRI * HTTP/2.0",
    b'"', b"[" * 2000, b"{", b"}", b"]", b",", b"1e999", b"\\ud800", b"NaN", b"-0", b"9" * 400,
]  # fmt: skip


@dataclass(frozen=True)
class At:
    """Where a server listens, its process, and its log."""

    host: str
    port: int
    pid: int
    log: Callable[[], str]

    def connect(self, seconds: float = 30) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=seconds)

    def send(self, *pieces: bytes, seconds: float = 30, give_up: float | None = None) -> bytes:
        """Send bytes unchanged; return what is received until the connection is closed or `seconds` are over.

        give_up: end the sending side too when nothing was received for so many seconds.
        """
        received = b""
        with self.connect(seconds) as connection, suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            with suppress(TimeoutError):
                connection.settimeout(give_up or seconds)
                while chunk := connection.recv(65536):
                    received += chunk
                return received
            connection.settimeout(seconds)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
        return received

    def get(self, path: str, host: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Host": host} if host else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def memory(self, which: str = "VmRSS") -> int:
        """Return the process's memory in bytes; `VmHWM` is its highest since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{which}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@contextmanager
def half_headers(at: At, count: int) -> Iterator[list[socket.socket]]:
    """Open connections that send half of a header each; the kernel or the server may refuse some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            with suppress(OSError):
                opened.append(at.connect())
                opened[-1].sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: loc")
        yield opened
    finally:
        for each in opened:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def closed(sockets: list[socket.socket], within: float) -> bool:
    """Return whether the other side closes every one of these sockets in time."""
    until = time.monotonic() + within
    for each in sockets:
        each.settimeout(max(0.01, until - time.monotonic()))
        try:
            while each.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass  # reset
    return True


def check_a_trickling_header_is_cut(at: At) -> None:
    """Send a header byte by byte; the server must end the connection in bounded time."""
    began = time.monotonic()
    with at.connect() as connection, pytest.raises(OSError, match=r"reset|pipe|closed"):
        connection.sendall(b"GET /v2 HTTP/1.1\r\n")
        while time.monotonic() - began < 60:
            connection.sendall(b"X")
            time.sleep(0.05)
    assert time.monotonic() - began < 50


def check_an_idle_connection_is_closed(at: At) -> None:
    """Ask once and then nothing more; the server must close the connection in bounded time."""
    with at.connect() as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert closed([connection], within=60)


def mutated(requests: list[bytes], seed: int) -> bytes:
    """Return one of the requests with a few random changes."""
    chance = random.Random(seed)
    request = bytearray(chance.choice(requests))
    for _ in range(chance.randint(1, 4)):
        at, size = chance.randrange(len(request) + 1), chance.choice([1, 1, 2, 8, 64])
        match chance.randrange(5):
            case 0:
                request[at:at] = chance.choice(_TOKENS)
            case 1:
                del request[at : at + size]
            case 2:
                request[at:at] = request[at : at + size] * chance.choice([1, 2, 50])
            case 3:
                request[at : at + size] = chance.randbytes(size)
            case _:
                other = chance.choice(requests)
                request[at:] = other[chance.randrange(len(other)) :]
    return bytes(request)


def check_answer(answer: bytes) -> None:
    """Check that an answer blames the caller, in the form of every error, and names no product.

    Nothing at all is an answer too: the request was incomplete, or the connection is closed.
    """
    for each in re.split(rb"(?=HTTP/\d\.\d \d{3} )", answer)[1:]:
        head, _, body = each.partition(b"\r\n\r\n")
        status = int(head[9:12])
        assert status < 500, each
        assert not _PRODUCTS.search(each), each
        if status >= 400 and body and b"chunked" not in head.lower():
            size = re.search(rb"(?i)content-length: (\d+)", head)
            if size and int(size[1]):
                assert set(json.loads(body[: int(size[1])])) == {"error"}, each
    assert not answer or answer.startswith(b"HTTP/"), answer
