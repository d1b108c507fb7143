"""SIGTERM loses no request: every connected caller gets an answer."""

import errno
import http.client
import json
import signal
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import tiny_bundle
from tiny_bundle.child import Server, serving

ROWS = tiny_bundle.ROWS


class Callers:
    """A call every 0.02 seconds, each in its own thread and on its own connection."""

    def __init__(self, server: Server, body: object) -> None:
        self._server, self._body = server, body
        self.answered: list[float] = []
        self.turned_away = 0
        self.lost: list[str] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._pace = threading.Thread(target=self._run)
        self._pace.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            thread = threading.Thread(target=self._call)
            thread.start()
            self._threads.append(thread)

    def _call(self) -> None:
        try:
            answer = self._server.infer(self._body)
        except OSError as error:
            with self._lock:
                if error.errno == errno.ECONNREFUSED:
                    self.turned_away += 1
                else:
                    self.lost.append(repr(error))
        else:
            with self._lock:
                if answer.status == 200:
                    self.answered.append(time.monotonic())
                else:
                    self.lost.append(answer.text)

    def wait_for(self, answered: int) -> None:
        while len(self.answered) < answered and not self.lost:
            time.sleep(0.01)

    def finish(self) -> None:
        self._stop.set()
        self._pace.join()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("rows", [1, 2000], ids=["single rows", "large batches"])
def test_a_stop_under_load_loses_no_request(bundle: Path, io: Path, tmp_path: Path, rows: int) -> None:
    with serving(bundle, io, tmp_path / "log") as server:
        callers = Callers(server, tiny_bundle.request((ROWS * rows)[:rows]))
        callers.wait_for(answered=25)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(30)
        callers.finish()
    assert callers.lost == []
    assert len(callers.answered) >= 25
    assert callers.turned_away > 0, "the callers went on after it had stopped"
    assert code == 0
    assert '"stopped"' in server.log


def test_a_request_that_was_read_before_the_signal_is_answered(bundle: Path, io: Path, tmp_path: Path) -> None:
    """Half of the request arrives before the signal and half after it."""
    body = json.dumps(tiny_bundle.request(ROWS)).encode()
    with ExitStack() as stack:
        server = stack.enter_context(serving(bundle, io, tmp_path / "log"))
        connection = stack.enter_context(closing(http.client.HTTPConnection(server.host, server.port, timeout=30)))
        connection.putrequest("POST", "/v2/models/tiny/infer")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:40])
        until_it_has_begun(server)
        server.process.send_signal(signal.SIGTERM)
        until_it_turns_callers_away(server)
        connection.send(body[40:])
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())["outputs"]) == 2
        assert server.process.wait(30) == 0


def test_a_caller_who_keeps_a_connection_is_asked_to_close_it(bundle: Path, io: Path, tmp_path: Path) -> None:
    body = json.dumps(tiny_bundle.request(ROWS))
    with ExitStack() as stack:
        server = stack.enter_context(serving(bundle, io, tmp_path / "log", "--linger", "20"))
        connection = stack.enter_context(closing(http.client.HTTPConnection(server.host, server.port, timeout=30)))
        told, stopped = None, False
        while told != "close":  # the caller does not check whether the connection is still open
            connection.request("POST", "/v2/models/tiny/infer", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, len(json.loads(answer.read())["outputs"])) == (200, 2)
            told = answer.headers.get("connection")
            assert stopped or told is None
            if not stopped:
                server.process.send_signal(signal.SIGTERM)
                stopped = True
        assert server.process.wait(30) == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once_with_exit_0(bundle: Path, io: Path, tmp_path: Path, stop: signal.Signals) -> None:
    with serving(bundle, io, tmp_path / "log") as server:
        server.process.send_signal(stop)
        assert server.process.wait(30) == 0


def until_it_has_begun(server: Server) -> None:
    """Wait for the answer of a later request: by then the earlier bytes were read."""
    assert server.call("GET", "/v2/health/live").status == 200


def until_it_turns_callers_away(server: Server) -> None:
    while True:
        try:
            server.call("GET", "/v2/health/live")
        except OSError:
            return
