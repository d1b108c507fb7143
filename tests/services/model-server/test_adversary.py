"""Attacks on the running server: no request, and no crowd of half requests, brings it down or shows what it read."""

import gzip
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from hypothesis import given
from hypothesis import strategies as st
from tiny_bundle.child import Server, serving

from tests.faults import examples, seeds
from tests.wire import (
    SECRET,
    At,
    check_a_trickling_header_is_cut,
    check_an_idle_connection_is_closed,
    check_answer,
    closed,
    half_headers,
    mutated,
)

GOOD = tiny_bundle.request(tiny_bundle.ROWS)
SMALL, LARGE = 600_000, 8 * 2**20 - 4096


def at_of(server: Server) -> At:
    return At(server.host, server.port, server.process.pid, lambda: server.log)


@pytest.fixture(scope="module")
def target(bundle: Path, io: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests alone."""
    with serving(bundle, io, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


@pytest.fixture(scope="module")
def hasty(bundle: Path, io: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a short limit; on a busy machine, a test of anything else would not keep it."""
    with serving(bundle, io, tmp_path_factory.mktemp("log") / "server.log", "--header-seconds", "4") as running:
        yield running


def tensor(name: str, data: str, shape: str = "[1]", **more: str) -> str:
    kind = "BYTES" if name == "occupation" else "FP64"
    rest = "".join(f',"{key}":{text}' for key, text in more.items())
    return f'{{"name":"{name}","datatype":"{kind}","shape":{shape},"data":{data}{rest}}}'


def request(age: str = "[50]", **more: str) -> str:
    tensors = [tensor("age", age, **more), tensor("hours", "[60]"), tensor("occupation", '["Exec"]')]
    return f'{{"inputs":[{",".join(tensors)}]}}'


def filled(template: Callable[[str], str], unit: str, size: int, end: str = "") -> bytes:
    return template((unit * (size // len(unit))).rstrip(",") + end).encode()


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "empty inputs": lambda n: filled(lambda t: f'{{"inputs":[{t}]}}', "{},", n),
    "small inputs": lambda n: filled(lambda t: f'{{"inputs":[{t}]}}', tensor("age", "[1]") + ",", n),
    "unknown inputs": lambda n: filled(lambda t: f'{{"inputs":[{t}]}}', tensor("x", "0") + ",", n),
    "null inputs": lambda n: filled(lambda t: f'{{"inputs":[{t}]}}', "null,", n),
    "inputs twice": lambda n: filled(lambda t: f'{{"inputs":[{t}],{request()[1:]}', "{},", n),
    "lists as values": lambda n: filled(lambda t: request(f"[{t}]"), "[],", n),
    "objects as values": lambda n: filled(lambda t: request(f"[{t}]"), "{},", n),
    "wide rows": lambda n: filled(lambda t: request(f"[[{t}]]"), "1,", n),
    "many rows": lambda n: filled(lambda t: request(f"[{t}]"), "257,", n),
    "texts": lambda n: filled(lambda t: request(f"[{t}]"), '"a",', n),
    "deep": lambda n: request("[" * (n // 2) + "]" * (n // 2)).encode(),
    "deep open": lambda n: b'{"inputs":' + b"[" * n,
    "deep objects": lambda n: b'{"inputs":' + b'{"a":' * (n // 5),
    "deep in rows": lambda n: filled(lambda t: request(f"[{t}]"), "[" * 50 + "1" + "]" * 50 + ",", n),
    "long number": lambda n: request(f"[{'9' * n}]").encode(),
    "long fraction": lambda n: request(f"[0.{'1' * n}]").encode(),
    "huge exponent": lambda n: filled(lambda t: request(f"[{t}]"), "1e999999,", n),
    "long text": lambda n: request(f'["{"x" * n}"]').encode(),
    "wide characters": lambda n: request(f'["\U0001f600{"x" * n}"]').encode(),
    "long name": lambda n: request().replace('"age"', f'"{"a" * n}"').encode(),
    "long shape": lambda n: filled(lambda t: request(shape=f"[{t}]"), "257,", n),
    "parameters": lambda n: filled(lambda t: request(parameters=f"{{{t}}}"), '"a":[],', n),
    "parameters of the request": lambda n: filled(lambda t: f'{{"parameters":{{{t}}},{request()[1:]}', '"a":{},', n),
    "duplicate keys": lambda n: filled(lambda t: f'{{"inputs":[{{{t}}}]}}', '"data":[[]],', n),
    "outputs": lambda n: filled(lambda t: f'{{"outputs":[{t}],{request()[1:]}', '{"name":"score"},', n),
    "unknown fields": lambda n: filled(lambda t: f'{{"x":[{t}],{request()[1:]}', "{},", n),
    "empty texts": lambda n: filled(lambda t: f'{{"inputs":[{tensor("occupation", f"[{t}]")}]}}', '"",', n),
    "spaces": lambda n: b" " * n,
    "zeros": lambda n: b"\0" * n,
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["600 kB", "8 MB"])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_refused_within_eight_times_its_size(
    target: Server, body: Callable[[int], bytes], size: int
) -> None:
    at, content = at_of(target), body(size)
    target.infer(GOOD)
    before = at.memory()
    at.forget_peak()
    answer = target.infer(content)
    assert 400 <= answer.status < 500, answer.text
    assert set(answer.json) == {"error"}
    assert len(answer.text) < 2000
    assert at.memory("VmHWM") - before <= 8 * len(content)


@pytest.mark.parametrize("body", [HOSTILE["empty inputs"](LARGE), HOSTILE["texts"](LARGE)], ids=["objects", "texts"])
def test_ready_answers_while_a_hostile_body_is_read(target: Server, body: bytes) -> None:
    assert min(slowest_ready_during(target, body) for _ in range(3)) < 0.1


def test_ready_answers_while_the_largest_honest_body_is_answered(target: Server) -> None:
    body = json.dumps(tiny_bundle.request((tiny_bundle.ROWS * 11_000)[:32_768])).encode()
    assert target.infer(body).status == 200
    assert min(slowest_ready_during(target, body) for _ in range(3)) < 0.25


def slowest_ready_during(server: Server, body: bytes) -> float:
    """Return the server's longest computing time between a call of `/ready` and its answer, while it reads one body.

    Computing time, because the time of the clock depends on what else the machine does.
    """
    answered = threading.Event()

    def ask() -> None:
        server.infer(body)
        answered.set()

    asking = threading.Thread(target=ask)
    asking.start()
    slowest = 0.0
    while not answered.is_set():
        began = computed(server.process.pid)
        assert server.call("GET", "/v2/models/tiny/ready").status == 200
        slowest = max(slowest, computed(server.process.pid) - began)
    asking.join()
    return slowest


def computed(pid: int) -> float:
    """Return the seconds of computing of a process: its clock's id is made from its pid (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


def test_many_large_bodies_at_once_do_not_add_up(target: Server) -> None:
    at, content = at_of(target), HOSTILE["long text"](LARGE)
    target.infer(content)
    before = at.memory()
    at.forget_peak()
    statuses: list[int] = []
    callers = [threading.Thread(target=lambda: statuses.append(target.infer(content).status)) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert set(statuses) <= {400, 503}
    assert at.memory("VmHWM") - before <= 8 * 4 * len(content)
    assert target.infer(GOOD).status == 200


def test_the_most_rows_are_answered_and_one_more_is_refused(target: Server) -> None:
    rows = (tiny_bundle.ROWS * 11_000)[:32_769]
    assert target.infer(tiny_bundle.request(rows[:-1])).status == 200
    refused = target.infer(tiny_bundle.request(rows))
    assert refused.status == 413
    assert "more than 32768 rows" in refused.json["error"]


def test_a_bomb_is_refused_whatever_its_encoding_is_called(target: Server) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    for encoding in ("gzip", "GZIP", "x-gzip", "br", "deflate", "identity", "gzip, gzip"):
        answer = target.call(
            "POST", "/v2/models/tiny/infer", bomb, content_type="application/json", content_encoding=encoding
        )
        assert answer.status == (413 if encoding.lower() in ("gzip", "x-gzip") else 415)


@pytest.mark.parametrize("path", ["/v2/models/tiny/infer", "/nothing", "/v2/repository/index"])
def test_a_body_without_end_is_cut(hasty: Server, path: str) -> None:
    at = at_of(hasty)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    before = at.memory()
    at.forget_peak()
    sent = 0
    with at.connect(60) as connection:
        connection.sendall(head.encode())
        chunk = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
        with pytest.raises(OSError, match=r"reset|pipe|closed"):
            while sent < 2**33:
                connection.sendall(chunk)
                sent += len(chunk)
    assert at.memory("VmHWM") - before < 8 * 2**23


CHUNKED = b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED += b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("chunk", [b"1\r\n \r\n", b"1;" + b"a" * 1000 + b"\r\n \r\n"], ids=["byte", "extension"])
def test_a_body_in_chunks_of_one_byte_is_refused_early(target: Server, chunk: bytes) -> None:
    """Each chunk takes as long as kilobytes of data, and no other caller is answered meanwhile."""
    before = computed(target.process.pid)
    with at_of(target).connect() as connection:
        connection.sendall(CHUNKED)
        with pytest.raises(OSError, match=r"reset|pipe|closed"):
            for _ in range(3000):
                connection.sendall(chunk * 1000)
    assert computed(target.process.pid) - before < 1.0  # a million chunks take 13 s
    assert target.infer(GOOD).status == 200


def test_an_honest_body_in_small_chunks_is_answered(target: Server) -> None:
    body = json.dumps(tiny_bundle.request(tiny_bundle.ROWS * 5000)).encode()
    pieces = [body[at : at + 80] for at in range(0, len(body), 80)]
    assert len(pieces) > 2000
    said = at_of(target).send(
        CHUNKED, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n", seconds=5
    )
    assert said.startswith(b"HTTP/1.1 200")


def flooded(server: Server, count: int) -> None:
    at = at_of(server)
    with half_headers(at, count) as opened:
        assert len(opened) == count
        assert server.infer(GOOD).status == 200
        assert server.call("GET", "/v2/health/live").status == 200
        assert closed(opened, within=60)
    assert server.infer(GOOD).status == 200


def test_three_thousand_half_headers_keep_nobody_out(hasty: Server) -> None:
    flooded(hasty, 3000)


def test_half_headers_do_not_use_up_the_open_files(bundle: Path, io: Path, tmp_path: Path) -> None:
    with serving(bundle, io, tmp_path / "log", "--header-seconds", "4", files=256) as server:
        flooded(server, 300)


def test_a_header_that_trickles_is_cut(hasty: Server) -> None:
    check_a_trickling_header_is_cut(at_of(hasty))


def test_a_connection_that_asks_nothing_more_is_closed(hasty: Server) -> None:
    check_an_idle_connection_is_closed(at_of(hasty))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "[x]"]
)
def test_another_sites_name_is_refused(target: Server, host: str) -> None:
    status, body = at_of(target).get("/v2/models/tiny", host)
    assert (status, set(json.loads(body))) == (421, {"error"})
    assert b"evil" not in body


def test_its_own_names_are_answered(bundle: Path, io: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_HOSTS", "tiny.ns.svc .other.svc")
    (io / "environment" / "hosts").write_text("models.example.gov, .lan\n")
    (io / "environment" / "gateway").write_text("https://gate.example.gov:8443/lockgate\n")
    try:
        with serving(bundle, io, tmp_path / "log") as server:
            at = at_of(server)
            names = (
                "localhost",
                "127.0.0.1:1",
                "[::1]:80",
                "10.1.2.3",
                "tiny.ns.svc:8080",
                "TINY.ns.svc.",
                "a.other.svc",
                "a.lan",
            )
            for name in (*names, "models.example.gov", "gate.example.gov"):
                assert at.get("/v2/models/tiny", name)[0] == 200, name
            assert at.get("/v2/models/tiny", "other.ns.svc")[0] == 421
    finally:
        (io / "environment" / "hosts").unlink()
        (io / "environment" / "gateway").unlink()


PATH = f"/v2/models/tiny/infer?name={SECRET}"
BODY = json.dumps({**GOOD, "id": SECRET}).encode()
HEAD = (
    f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n"
)
RAW = [
    HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    f"GET /v2/models/tiny?{SECRET} HTTP/1.1\r\nHost: localhost\r\nCookie: {SECRET}\r\n\r\n".encode(),
    f"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nX-{SECRET}: 1\r\nConnection: close\r\n\r\n".encode(),
]


@pytest.mark.parametrize(
    "request_line",
    [
        f"GET /{SECRET} HTTP/9.9\r\nAuthorization: {SECRET}\r\n\r\n",
        f"{SECRET}\r\n\r\n",
        f"GET /{SECRET}\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\n{SECRET} no colon\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {SECRET * 9000}\r\n\r\n",
        f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SECRET}\r\n\r\n",
        f"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {SECRET}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: {SECRET}\r\nHost: {SECRET}\r\n\r\n",
        f"\x16\x03\x01\x02{SECRET}\r\n\r\n",
    ],
)
def test_a_protocol_error_is_answered_as_every_error_and_not_logged(target: Server, request_line: str) -> None:
    at = at_of(target)
    answer = at.send(request_line.encode("latin-1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] 4", head)
    assert set(json.loads(body)) == {"error"}
    check_answer(answer)
    assert SECRET.encode() not in answer
    assert SECRET not in target.log


@pytest.mark.parametrize("path", ["/v2/models/tiny/infer", "/nothing"])
def test_a_body_that_is_not_http_ends_its_request(target: Server, path: str) -> None:
    """The header and the faulty part of the body arrive together, or one after the other."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    at = at_of(target)
    check_answer(at.send(head + b"nothing\r\n"))
    check_answer(at.send(head, b"2\r\n{}\r\nnothing\r\n"))
    check_answer(at.send(head + b"0\r\n\r\n" + b"\0\r\n\r\n"))
    assert '"exception"' not in target.log


def test_nothing_that_answers_names_a_product(target: Server) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/models/tiny", "/nothing", "/v2/models/other"):
        check_answer(
            at_of(target).send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        )


@pytest.mark.faults
def test_no_mutated_request_breaks_it(target: Server) -> None:
    at = at_of(target)
    target.infer(GOOD)
    before = at.memory()
    for count, seed in enumerate(seeds(brief=300, kept=())):
        raw = mutated(RAW, seed)
        try:
            check_answer(at.send(raw, seconds=20, give_up=0.02))
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"seed {seed}: {raw!r}") from error
        if count % 50 == 0:
            assert target.infer(GOOD).status == 200, f"after seed {seed}"
            assert at.memory() - before < 64 * 2**20, f"after seed {seed}"
    assert "Traceback" not in target.log
    assert '"exception"' not in target.log
    assert SECRET not in target.log


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["age", "hours", "occupation"]) | anything,
        "datatype": st.sampled_from(["FP64", "BYTES", "INT8", "BOOL"]) | anything,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | anything,
        "data": st.lists(scalars | st.lists(scalars, max_size=2), max_size=4) | anything,
        "parameters": anything,
    },
)
bodies: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"inputs": st.lists(tensors | anything, max_size=4) | anything},
    optional={"id": anything, "parameters": anything, "outputs": anything},
)


@pytest.mark.faults
@examples(brief=200, per_second=100)
@given(bodies, st.binary(max_size=3), st.integers(0, 400))
def test_no_body_breaks_it(target: Server, body: Any, noise: bytes, place: int) -> None:
    sent = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    answer = target.infer(sent[:place] + noise + sent[place:])
    assert answer.status == 200 or (400 <= answer.status < 500 and set(answer.json) == {"error"}), answer.text
    assert "Traceback" not in answer.text


def test_after_all_attacks_nothing_unexpected_is_in_the_log(target: Server) -> None:
    assert target.infer(GOOD).status == 200
    assert {json.loads(line)["event"] for line in target.log.splitlines()} <= {"serving", "message"}
    assert SECRET not in target.log
