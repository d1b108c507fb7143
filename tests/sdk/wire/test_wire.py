"""Which connection is cut, and which host names are allowed."""

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lockgate_wire import Connections, Hosts, Limits, Phase, log_without_data


def in_a_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**given: Phase) -> None:
        asyncio.run(test(**given))

    return run


IN_TIME = Limits(header_seconds=60, body_seconds=60, answer_seconds=60, reader_seconds=60)


@dataclass(eq=False)
class Caller:
    """A connection of no library."""

    now: Phase = Phase.HEADER
    is_cut: bool = False

    def phase(self) -> Phase:
        return self.now

    def cut(self) -> None:
        self.is_cut = True


def connected(connections: Connections, *phases: Phase) -> list[Caller]:
    callers = [Caller() for _ in phases]
    for caller, phase in zip(callers, phases, strict=True):
        connections.opened(caller)
        caller.now = phase
        connections.changed(caller)
    return callers


@in_a_loop
async def test_of_too_many_the_one_that_waited_longest_is_cut() -> None:
    connections = Connections(Limits(connections=3))
    busy, first, second, newest = connected(connections, Phase.ANSWER, Phase.BODY, Phase.HEADER, Phase.HEADER)
    assert [each.is_cut for each in (busy, first, second, newest)] == [False, True, False, False]
    second.now = Phase.READER
    connections.changed(second)  # its time begins again
    connected(connections, Phase.HEADER)
    assert (newest.is_cut, second.is_cut) == (True, False)


@in_a_loop
async def test_requests_in_progress_are_never_replaced() -> None:
    connections = Connections(Limits(connections=2))
    busy = connected(connections, Phase.ANSWER, Phase.ANSWER)
    (late,) = connected(connections, Phase.HEADER)
    assert late.is_cut
    assert not any(each.is_cut for each in busy)
    assert len(connections) == 2


@pytest.mark.parametrize("phase", Phase)
@in_a_loop
async def test_each_phase_has_its_limit(phase: Phase) -> None:
    no_time = {"header_seconds": -1.0} if phase is Phase.HEADER else {f"{phase.value}_seconds": -100.0}
    connections = Connections(Limits(**{**vars(IN_TIME), **no_time}))
    others = [each for each in Phase if each is not phase and not (phase is Phase.HEADER and each is Phase.BODY)]
    late, *in_time = connected(connections, phase, *others)
    connections.sweep()
    assert late.is_cut
    assert not any(each.is_cut for each in in_time)


@in_a_loop
async def test_a_connection_that_ended_is_forgotten() -> None:
    connections = Connections(IN_TIME)
    (one,) = connected(connections, Phase.HEADER)
    connections.closed(one)
    connections.changed(one)
    connections.sweep()
    assert len(connections) == 0
    assert not one.is_cut


NAMES = Hosts(["Models.Example.gov.", ".svc", ""])


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080", "10.0.0.7:80", "models.example.gov", "a.b.svc.:80"]
)
def test_own_names_and_addresses_are_allowed(host: str) -> None:
    assert NAMES.allow([host])


@pytest.mark.parametrize(
    "host", ["", ".", "svc", "evil.example", "xlocalhost", "localhost.evil.example", "127.0.0.1.evil.example", "a:b:c"]
)
def test_other_names_are_refused(host: str) -> None:
    assert not NAMES.allow([host])
    assert not NAMES.allow(["localhost", host])


@given(st.text(max_size=30))
def test_no_text_is_a_host_by_accident(host: str) -> None:
    assert Hosts().allow([host]) in (True, False)
    assert not Hosts().allow([f"{host}.evil.example"])


def test_settings_and_the_variable_add_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text("one.example, two.example\n")
    (tmp_path / "gateway").write_text("https://three.example:8443/x\n")
    monkeypatch.setenv("LOCKGATE_HOSTS", "four.example")
    hosts = Hosts.configured(tmp_path, ["five.example"])
    assert all(hosts.allow([f"{name}.example"]) for name in ("one", "two", "three", "four", "five"))
    assert not hosts.allow(["six.example"])


def test_a_librarys_text_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        log_without_data()
        logging.getLogger("library").warning("Bearer %s", "secret")
        try:
            raise ValueError("secret")
        except ValueError:
            logging.getLogger("library").exception("secret")
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:], root.level = before
    said = capsys.readouterr().err
    assert "secret" not in said
    assert "test_wire.py:" in said
    assert '"kind": "ValueError"' in said
