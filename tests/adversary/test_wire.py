"""Attacks on the local platform's public port: half-sent headers, other sites' names, broken HTTP, and its logs."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lockgate.engine import Environment
from lockgate.images.installed import command
from lockgate.platform.logs import rotate
from tests.faults import seeds
from tests.lockgate.platform.conftest import World
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

HASTY = {"header_seconds": 4.0}  # short; on a busy machine, a test of anything else would not keep it
HEAD = f"POST /v2/models/adult/infer?name={SECRET} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n"
RAW = [
    HEAD.encode() + b"Content-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"inputs":[]}',
    HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\nd\r\n" + b'{"inputs":[]}' + b"\r\n0\r\n\r\n",
    f"GET /v2?{SECRET} HTTP/1.1\r\nHost: localhost\r\nCookie: {SECRET}\r\n\r\n".encode(),
    f"GET / HTTP/1.1\r\nHost: localhost\r\nX-{SECRET}: 1\r\nConnection: close\r\n\r\n".encode(),
    f"GET /runs/{SECRET}/report.html HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    f"GET /v2/models/{SECRET} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
]


def at_of(world: World, address: str) -> At:
    url = urlsplit(address)
    pid = int((world.platform.state / "pid").read_text())
    return At(str(url.hostname), int(url.port or 0), pid, world.platform.log.read_text)


def started(world: World) -> At:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    address = world.start().address
    world.ready("adult", "live", bundle)
    return at_of(world, address)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    root = tmp_path_factory.mktemp("wire")
    world = World(root, (root / "store").as_uri())
    yield started(world)
    world.stop()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    root = tmp_path_factory.mktemp("hasty")
    world = World(root, (root / "store").as_uri(), limits=HASTY)
    yield started(world)
    world.stop()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, (tmp_path / "store").as_uri(), limits=HASTY)
    yield world
    world.stop()


def flooded(at: At, count: int) -> None:
    with half_headers(at, count) as opened:
        assert len(opened) == count
        assert at.get("/v2/health/live")[0] == 200
        assert at.get("/v2/models/adult/ready")[0] == 200
        assert closed(opened, within=60)
    assert at.get("/v2/models/adult/ready")[0] == 200


def test_three_thousand_half_headers_keep_nobody_out(hasty: At) -> None:
    flooded(hasty, 3000)


def test_half_headers_do_not_use_up_the_open_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lockgate.platform.conftest.FOREGROUND", limited(world.root, 256))
    flooded(started(world), 300)


def limited(folder: Path, files: int) -> Path:
    """Return a script that becomes the platform with a limit of open files."""
    from tests.lockgate.platform.conftest import FOREGROUND

    script = folder / "limited.py"
    script.write_text(
        "import os, resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))\n"
        f"os.execv(sys.executable, [sys.executable, {str(FOREGROUND)!r}, *sys.argv[1:]])\n"
    )
    return script


def test_a_header_that_trickles_is_cut(hasty: At) -> None:
    check_a_trickling_header_is_cut(hasty)


def test_a_connection_that_asks_nothing_more_is_closed(hasty: At) -> None:
    check_an_idle_connection_is_closed(hasty)


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/health/live", "/v2/models/adult/infer", "/runs/r/index.html", "/x"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_another_sites_name_is_refused_on_every_page(target: At, path: str, host: str) -> None:
    status, body = target.get(path, host)
    assert (status, set(json.loads(body))) == (421, {"error"})


def test_its_own_names_are_answered(world: World) -> None:
    (world.environment / "hosts").write_text("models.example.gov\n.lan")
    at = started(world)
    for host in ("localhost", "127.0.0.1:1", "[::1]", "192.0.2.7:8080", "models.example.gov", "a.lan"):
        assert at.get("/v2", host)[0] == 200, host
    assert at.get("/v2", "other.example.gov")[0] == 421


@pytest.mark.parametrize(
    "raw",
    [
        f"GET /{SECRET} HTTP/9.9\r\nAuthorization: {SECRET}\r\n\r\n",
        f"{SECRET}\r\n\r\n",
        f"GET /{SECRET}\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\n{SECRET} no colon\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {SECRET * 9000}\r\n\r\n",
        f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SECRET}\r\n\r\n",
        f"POST /v2/models/adult/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {SECRET}\r\n\r\n",
        f"POST /v2/models/adult/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nHost: {SECRET}\r\n\r\n",
        f"\x16\x03\x01\x02{SECRET}\r\n\r\n",
    ],
)
def test_a_protocol_error_is_answered_as_every_error_and_not_logged(target: At, raw: str) -> None:
    answer = target.send(raw.encode("latin-1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] 4", head)
    assert set(json.loads(body)) == {"error"}
    check_answer(answer)
    assert SECRET.encode() not in answer
    assert SECRET not in target.log()
    assert "Traceback" not in target.log()


def test_nothing_that_answers_names_a_product(target: At) -> None:
    for path in ("/", "/v2", "/v2/health/live", "/nothing", "/v2/models/other"):
        check_answer(target.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()))


def test_a_body_without_end_is_not_kept(target: At) -> None:
    before = target.memory()
    target.forget_peak()
    sent = 0
    with target.connect(60) as connection:
        connection.sendall(
            b"POST /v2/models/adult/count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.setblocking(False)
        chunk = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
        until = time.monotonic() + 2
        while time.monotonic() < until:
            try:
                sent += connection.send(chunk)
            except BlockingIOError:
                time.sleep(0.01)
    assert sent > 2**20
    assert target.memory("VmHWM") - before < 8 * 2**23


def test_a_callers_variables_do_not_reach_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONSTARTUP", "LD_PRELOAD_X", "SSLKEYLOGFILE"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    _, env = command(Environment(Path(sys.executable), {"PYTHONPATH": "x"}), [])
    assert SECRET not in env.values()
    assert (env["PYTHONPATH"], env["HTTPS_PROXY"], env["PATH"]) == (
        "x",
        "http://proxy.example:3128",
        os.environ["PATH"],
    )


def test_logs_stay_within_their_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_BYTES", "2000")
    bundle = world.bundle("adult", say="x" * 5000)
    world.live("adult", bundle)
    world.start()
    world.ready("adult", "live", bundle)
    logs = world.platform.child_logs
    world.until(lambda: list(logs.glob("*.1.log")))
    assert [file.stat().st_size for file in logs.glob("*.log") if not file.name.endswith(".1.log")] == [0]
    assert "x" * 5000 in next(iter(logs.glob("*.1.log"))).read_text()


def test_a_rotated_log_is_continued_by_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        for part in (b"a" * 20, b"b" * 20, b"c"):
            writer.write(part)
            rotate([log, tmp_path / "missing"], most=10)
    assert log.read_bytes() == b"c"
    assert (tmp_path / "log.1.log").read_bytes() == b"b" * 20


@pytest.mark.faults
def test_no_mutated_request_breaks_it(target: At) -> None:
    target.get("/v2")
    before = target.memory()
    for count, seed in enumerate(seeds(brief=300, kept=(1492878689,))):
        raw = mutated(RAW, seed)
        try:
            check_answer(target.send(raw, seconds=20, give_up=0.02))
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"seed {seed}: {raw!r}") from error
        if count % 50 == 0:
            assert target.get("/v2/models/adult/ready")[0] == 200, f"after seed {seed}"
            assert target.memory() - before < 64 * 2**20, f"after seed {seed}"
    assert "Traceback" not in target.log()
    assert '"exception"' not in target.log()
    assert SECRET not in target.log()
