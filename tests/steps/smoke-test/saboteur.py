"""A relay to the real server that spoils the answers that a test selects."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from tiny_bundle.child import Server

from tests.listening import listening


@dataclass(frozen=True)
class Exchange:
    """One request and the real server's answer to it."""

    method: str
    path: str
    sent: bytes
    status: int
    body: bytes


Spoil = Callable[[Exchange], tuple[int, bytes] | None]
"""Returns the answer to send instead; None closes the connection."""


@contextmanager
def relaying(server: Server, spoil: Spoil) -> Iterator[str]:
    """Start a relay to the server, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are sent separately, and the body would wait

        def do_GET(self) -> None:
            self._relay()

        def do_POST(self) -> None:
            self._relay()

        def _relay(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            kind = self.headers.get("content-type", "")
            connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
            connection.request(self.command, self.path, sent, {"content-type": kind})
            response = connection.getresponse()
            exchange = Exchange(self.command, self.path, sent, response.status, response.read())
            connection.close()
            answer = spoil(exchange)
            if answer is None:
                self.close_connection = True
                return
            status, body = answer
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as address:
        yield address
