"""What is kept of a program's log and stdout: a log without end fills neither the disk nor the memory."""

import json
import time
from pathlib import Path

import pytest

from lockgate.cli.main import run_app
from lockgate.engine import Engine, Run
from lockgate.engine import execution as executions
from lockgate.engine.events import Event, LogLine
from lockgate.engine.runtime import log as kept

from .workshop import Json, Workshop, workflow

LIMIT = 64 << 10
LINES = """
import sys
for number in range(40_000):
    print('{"event": "line", "number": %d}' % number, file=sys.stderr)
    print("line", number)
"""


def program(code: str) -> Json:
    """Return a template whose program executes this code."""
    return {"name": "main", "container": {"image": "tools", "command": ["python", "-c", code]}}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep little."""
    monkeypatch.setattr(kept, "LIMIT", LIMIT)


def file(run: Run, name: str) -> Path:
    """Return a file of the only node."""
    return run.folder / "nodes" / "main" / name


@pytest.mark.usefixtures("small")
def test_a_log_without_end_keeps_its_beginning_and_its_newest_end(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shop.run(workflow(program(LINES)), run_id="long")
    assert run.phase == "Succeeded"
    for name, written in (
        ("log", [json.dumps({"event": "line", "number": number}) for number in range(40_000)]),
        ("stdout", [f"line {number}" for number in range(40_000)]),
    ):
        text = file(run, name).read_text()
        assert len(text) < LIMIT + 200
        lines = text.splitlines()
        (at,) = [at for at, line in enumerate(lines) if "left-out" in line]
        notice = json.loads(lines[at])
        assert notice["why"] == "at most 65,536 bytes are kept"
        assert lines[:at] == written[:at]
        assert lines[at + 1 :] == written[at + 1 - len(lines) :]
        assert notice["bytes"] == sum(len(line) + 1 for line in written[at : at + 1 - len(lines)])
        assert len(lines[at + 1 :]) > 20
    (shop.folder / "pipelines").mkdir()
    (shop.folder / "state").rename(shop.folder / ".lockgate")
    monkeypatch.chdir(shop.folder)
    capsys.readouterr()
    assert run_app(["logs", "long"]) == 0
    said = capsys.readouterr().out
    assert f'left-out bytes={json.loads(file_notice(shop))["bytes"]} why="at most 65,536 bytes are kept"' in said


def file_notice(shop: Workshop) -> str:
    """Return the line of the log that says how much is left out."""
    text = (shop.folder / ".lockgate" / "runs" / "long" / "nodes" / "main" / "log").read_text()
    return next(line for line in text.splitlines() if "left-out" in line)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", [0, 1, LIMIT - LIMIT // 64, LIMIT])
def test_a_log_within_the_limit_is_kept_as_it_is(shop: Workshop, size: int) -> None:
    run = shop.run(workflow(program(f"import sys; sys.stderr.write('x' * {size}); sys.stdout.write('y' * {size})")))
    assert (file(run, "log").read_text(), file(run, "stdout").read_text()) == ("x" * size, "y" * size)


@pytest.mark.usefixtures("small")
def test_one_line_without_end_is_cut_too(shop: Workshop) -> None:
    run = shop.run(workflow(program(f"import sys; sys.stderr.write('x' * {20 * LIMIT} + 'end')")))
    log = file(run, "log").read_text()
    assert len(log) < LIMIT + 200
    assert "left-out" in log
    assert log.endswith("xend")


def test_lines_that_come_faster_than_they_are_shown_do_not_fill_the_memory(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "_BACKLOG", 100)
    seen: list[LogLine] = []
    log = shop.folder / "state" / "runs" / "fast" / "nodes" / "main" / "log"

    def slow(event: Event) -> None:
        if isinstance(event, LogLine):
            seen.append(event)
            until = time.monotonic() + 60
            while not log.read_bytes().endswith(b"39999}\n") and time.monotonic() < until:
                time.sleep(0.01)

    engine = Engine(shop.folder / "state", shop.folder / "environment", shop.runtime(), slow)
    run = engine.run([workflow(program(LINES))], "flow", run_id="fast")
    assert run.phase == "Succeeded"
    assert len(log.read_text().splitlines()) == 40_000
    assert 0 < len(seen) < 1000
