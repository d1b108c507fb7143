"""More requests than it answers, slow and idle callers, compressed bodies: others still get their answers."""

import gzip
import json
import signal
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import tiny_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_model_server.door import BODY_LIMIT
from lockgate_wire import Limits
from test_metrics import Change, counts, until, value
from tiny_bundle.child import Answer, Server, serving

from tests.wire import At, half_headers

GOOD = tiny_bundle.request(tiny_bundle.ROWS)
PLAIN = json.dumps(GOOD).encode()
HEAD = b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(PLAIN) + PLAIN
MOST = Limits.answers


@pytest.fixture(scope="module")
def counted(bundle: Path, io: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests alone, with metrics."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serving(bundle, io, log, "--metrics-port", "0") as running:
        yield running


def at_of(server: Server) -> At:
    return At(server.host, server.port, server.process.pid, lambda: server.log)


# More requests than it answers ---------------------------------------------------------------------------------------


def burst(server: Server, count: int) -> list[bytes]:
    """Let `count` requests arrive at once, while the server is stopped; return the answers."""
    at = at_of(server)
    with ExitStack() as stack:
        callers = [stack.enter_context(at.connect(60)) for _ in range(count)]
        for caller in callers:
            caller.sendall(WHOLE[:-1])
        until(lambda: value(counts(server), server, "lockgate_requests_in_flight") == count)
        server.process.send_signal(signal.SIGSTOP)
        try:
            for caller in callers:
                caller.sendall(WHOLE[-1:])
        finally:
            server.process.send_signal(signal.SIGCONT)
        return [received(caller) for caller in callers]


def received(caller: socket.socket) -> bytes:
    found = b""
    while piece := caller.recv(65536):
        found += piece
    return found


def test_beyond_its_queue_it_says_at_once_when_to_retry(counted: Server) -> None:
    """How many it refuses depends on how many it has answered when the last of them is read; never more than half."""
    for _ in range(5):
        change = Change(counted)
        answers = burst(counted, 2 * MOST)
        refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
        good = sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert (len(refused) <= MOST, good) == (True, 2 * MOST - len(refused))
        if refused:
            break
    assert refused
    assert all(b"\r\nretry-after: 1\r\n" in answer.lower() for answer in refused)
    assert all(b'{"error":"too many requests are in progress; retry in a second"}' in answer for answer in refused)
    assert change.all("lockgate_requests_total") == {("200",): good, ("503",): len(refused)}
    assert change.of("lockgate_rows_total") == good * len(tiny_bundle.ROWS)
    assert counted.infer(GOOD).status == 200


def test_as_many_requests_as_its_queue_are_all_answered(counted: Server) -> None:
    assert {answer.split(b" ")[1] for answer in burst(counted, MOST)} == {b"200"}


def test_a_full_queue_keeps_out_no_health_check(counted: Server) -> None:
    """Otherwise Kubernetes would restart a server because it is busy, and the others would get its callers too."""
    ask = b"GET /v2/models/tiny/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    said: list[bytes] = []
    with at_of(counted).connect(60) as checking:
        checking.sendall(ask[:-1])
        counted.call("GET", "/v2/health/live")
        ending = threading.Timer(0, lambda: checking.sendall(ask[-1:]))
        ending.start()
        burst(counted, 2 * MOST)
        ending.join()
        said.append(received(checking))
    assert said[0].startswith(b"HTTP/1.1 200 ")


def test_large_bodies_beyond_the_memory_for_them_are_told_to_retry(counted: Server) -> None:
    at, size = at_of(counted), BODY_LIMIT - 1
    change = Change(counted)
    # The next one is small beside them: while the server still reads, it takes the place of none of them.
    further = b" " * 2**17
    said: list[Answer] = []

    def refused() -> bool:
        said.append(counted.infer(further))
        return said[-1].status == 503

    with ExitStack() as stack:
        held = [stack.enter_context(at.connect(60)) for _ in range(4)]
        for caller in held:
            caller.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (size + 1) + b" " * size)
        until(refused)
        assert said[-1].headers["Retry-After"] == "1"
        assert counted.infer(GOOD).status == 200
    assert change.of("lockgate_requests_total", code="503") == 1


# Slow and idle callers, endless bodies -------------------------------------------------------------------------------


def test_callers_who_send_their_body_slowly_take_nobodys_place(counted: Server) -> None:
    at = at_of(counted)
    with ExitStack() as stack:
        for _ in range(3 * MOST):
            stack.enter_context(at.connect(60)).sendall(WHOLE[:-1])
        assert [counted.infer(GOOD).status for _ in range(20)] == [200] * 20


def test_a_thousand_idle_connections_and_half_headers_keep_nobody_out(counted: Server) -> None:
    at = at_of(counted)
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(at.connect(60))
        with half_headers(at, 600):
            assert [counted.infer(GOOD).status for _ in range(20)] == [200] * 20


def test_a_body_of_a_gigabyte_stops_no_answer_and_takes_no_memory(counted: Server) -> None:
    at, size, block = at_of(counted), 10**9, b" " * 2**20
    ended = threading.Event()
    before = at.memory()
    at.forget_peak()

    def pour() -> None:
        with at.connect(60) as connection:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size)
            try:
                for _ in range(size // len(block)):
                    connection.sendall(block)
            except OSError:
                pass
        ended.set()

    pouring = threading.Thread(target=pour)
    pouring.start()
    statuses = {counted.infer(GOOD).status}
    while not ended.is_set():
        statuses.add(counted.infer(GOOD).status)
    pouring.join()
    assert statuses == {200}
    assert at.memory("VmHWM") - before < 8 * BODY_LIMIT


# Compressed bodies ---------------------------------------------------------------------------------------------------


def sent(server: Server, body: bytes, encoding: str = "gzip") -> Answer:
    kind = "application/json"
    return server.call("POST", "/v2/models/tiny/infer", body, content_type=kind, content_encoding=encoding)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
@pytest.mark.parametrize("rows", [3, 30_000])
def test_a_compressed_body_is_answered_as_a_plain_one(server: Server, encoding: str, rows: int) -> None:
    body = json.dumps(tiny_bundle.request((tiny_bundle.ROWS * rows)[:rows])).encode()
    packed, plain = sent(server, gzip.compress(body), encoding), server.infer(body)
    assert packed.status == plain.status == 200
    assert packed.json["outputs"] == plain.json["outputs"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 9))
def test_any_body_gets_the_answer_that_it_gets_plain(server: Server, body: bytes, level: int) -> None:
    packed, plain = sent(server, gzip.compress(body, level)), server.infer(body)
    assert (packed.status, packed.text) == (plain.status, plain.text)


def test_a_refused_compressed_body_is_counted_as_a_plain_one(counted: Server) -> None:
    change = Change(counted)
    bad = {"inputs": [{**tensor, "data": [[]]} for tensor in GOOD["inputs"]]}
    assert sent(counted, gzip.compress(json.dumps(bad).encode())).status == 400
    rows = (tiny_bundle.ROWS * 11_000)[:32_769]
    assert sent(counted, gzip.compress(json.dumps(tiny_bundle.request(rows)).encode())).status == 413
    assert change.all("lockgate_requests_total") == {("400",): 1, ("413",): 1}
    assert ("age", "too_many_rows") in change.all("lockgate_refused_inputs_total")


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_that_of_the_inflated_body(server: Server, over: int) -> None:
    body = PLAIN + b" " * (BODY_LIMIT - len(PLAIN) + over)
    packed, plain = sent(server, gzip.compress(body)), server.infer(body)
    assert packed.status == plain.status == 413  # the plain one of exactly the limit has too much beside its data
    assert packed.text == plain.text
    assert (f"larger than {BODY_LIMIT} bytes" in packed.text) == bool(over)


def test_bombs_take_no_more_than_a_plain_body_may(counted: Server) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(packer.compress(b"\0" * 2**20) for _ in range(1024)), packer.flush()])  # 1 GiB in 1 MB
    at = at_of(counted)
    assert sent(counted, bomb).status == 413
    before = at.memory()
    at.forget_peak()
    statuses: list[int] = []
    callers = [threading.Thread(target=lambda: statuses.append(sent(counted, bomb).status)) for _ in range(16)]
    for caller in callers:
        caller.start()
    assert counted.infer(GOOD).status == 200
    for caller in callers:
        caller.join()
    assert set(statuses) <= {413, 503}
    assert at.memory("VmHWM") - before < 16 * BODY_LIMIT
    assert counted.infer(GOOD).status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (PLAIN, "not valid gzip"),
        (b"", "ends before its gzip does"),
        (gzip.compress(PLAIN)[:-1], "ends before its gzip does"),
        (gzip.compress(PLAIN)[:5], "ends before its gzip does"),
        (gzip.compress(PLAIN)[:-8] + b"\0" * 8, "not valid gzip"),
        (gzip.compress(PLAIN) + gzip.compress(b" "), "send one gzip member"),
        (gzip.compress(PLAIN) + b"x", "send one gzip member"),
        (zlib.compress(PLAIN), "not valid gzip"),
        (gzip.compress(gzip.compress(PLAIN)), "the body is not JSON"),
    ],
)
def test_a_broken_stream_is_refused(server: Server, body: bytes, said: str) -> None:
    answer = sent(server, body)
    assert answer.status == 400
    assert said in answer.json["error"]


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "identity", "gzip, gzip", "gzip,br", "", "*"])
def test_another_encoding_is_refused_with_the_one_that_is_taken(server: Server, encoding: str) -> None:
    answer = sent(server, gzip.compress(PLAIN), encoding)
    assert answer.status == 415
    assert answer.headers["Accept-Encoding"] == "gzip"


def test_two_encodings_in_two_headers_are_refused(server: Server) -> None:
    encodings = b"Content-Encoding: gzip\r\n" * 2
    said = at_of(server).send(HEAD + encodings + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
    assert said.startswith(b"HTTP/1.1 415 ")
