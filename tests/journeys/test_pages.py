"""Every command of the documentation does what its page says: the README's first, then each page's, in one project.

What is executed elsewhere, and where, is in `tests/pages.py`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.pages import CLUSTER, ELSEWHERE, ON_THE_CLUSTER, Command, commands, pages
from tests.workshop import Project, free_port, platform

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [command for command in commands() if command.executed]
SHOWN = [command for command in COMMANDS if command.shown.strip()]
MASKS = [
    (r"sha256:[0-9a-f]+", "sha256:DIGEST"),
    (r"\b[0-9a-f]{6}\b", "RUN"),
    (r"(\d+ min )?[\d.]+ s\b", "TIME"),
    (r"\d[\d,.]*", "N"),
    (r"\s+", " "),
]


@dataclass(frozen=True)
class Walked:
    """What one command did: its exit code, and its whole output in order."""

    code: int
    said: str


def called(command: Command) -> str:
    """How pytest names a command."""
    return f"{command.page}: {command.text}"


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Command, Walked]]:
    """Execute every command in a copy of the repository, on a port of its own."""
    root = tmp_path_factory.mktemp("repository")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git clone, so the files of the repository are unknown")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    project = Project(root, free_port())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with platform(project):
        walked = {}
        for command in COMMANDS:
            done = subprocess.run(
                ["bash", "-c", _here(command.text, project.port)],
                cwd=root,
                env={**project.variables, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            walked[command] = Walked(done.returncode, done.stdout)
        yield walked


def _here(command: str, port: int) -> str:
    """Return a command with this test's port, with this environment, and with a waiver that ends soon."""
    command = command.replace(":8080", f":{port}")
    command = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    command = re.sub(r"(?<=--until )\S+", str((datetime.now(UTC) + timedelta(days=60)).date()), command)
    if command.startswith("make "):
        # The recipe itself, without the target that installs.
        command = f"{command} VENV={sys.prefix} --old-file={sys.prefix}/.run"
    return command


def masked(text: str) -> list[str]:
    """Return the lines of an output without the values that differ between runs; parallel steps are sorted."""
    lines = []
    for line in text.splitlines():
        for pattern, name in MASKS:
            line = re.sub(pattern, name, line)
        lines += [line.strip()] if line.strip() else []
    steps = [line for line in lines if re.fullmatch(r"[\w-]+ TIME \w+", line)]
    return [*sorted(steps), *(line for line in lines if line not in steps)]


def test_every_page_of_commands_is_read() -> None:
    assert {command.page for command in commands()} >= {"README.md", "CONTRIBUTING.md", "docs/couler.md"}
    assert len([command for command in COMMANDS if command.page == "README.md"]) > 8
    assert [command.exit for command in SHOWN if command.page == "README.md"] == [0, 3]


@pytest.mark.parametrize("page", pages())
def test_a_page_has_no_command_outside_a_console_block(page: str) -> None:
    lines = [line for line in pages()[page].splitlines() if line.startswith("$ ")]
    assert len(lines) == len([command for command in commands() if command.page == page])


@pytest.mark.parametrize("command", [c for c in commands() if not c.executed], ids=called)
def test_a_command_that_is_not_executed_here_is_executed_elsewhere_or_listed(command: Command) -> None:
    followed = {c.text for c in commands() if c.page == ON_THE_CLUSTER and c.needs == CLUSTER}
    assert command.text in ELSEWHERE or (command.needs == CLUSTER and command.text in followed)


def test_the_list_names_only_commands_that_a_page_shows() -> None:
    assert set(ELSEWHERE) - {command.text for command in commands()} == set()


@pytest.mark.parametrize("command", COMMANDS, ids=called)
def test_a_command_ends_as_its_page_says(command: Command, walk: dict[Command, Walked]) -> None:
    assert walk[command].code == command.exit, walk[command].said
    assert "Traceback" not in walk[command].said


@pytest.mark.parametrize("command", SHOWN, ids=called)
def test_an_output_has_the_form_its_page_shows(command: Command, walk: dict[Command, Walked]) -> None:
    real = iter(masked(walk[command].said))
    assert [line for line in masked(command.shown) if line not in real] == [], walk[command].said


def test_the_model_answers_both_callers(walk: dict[Command, Walked]) -> None:
    asked = next(walk[command].said for command in COMMANDS if command.text.startswith("curl"))
    table = next(walk[command].said for command in COMMANDS if command.text.startswith("lockgate predict"))
    rows = (ROOT / "docs" / "rows.csv").read_text().splitlines()
    answered = table.splitlines()
    assert answered[0] == f"{rows[0]},label,score"
    assert [line.rsplit(",", 2)[0] for line in answered[1:]] == rows[1:]
    answer = json.loads(asked)
    assert {output["name"] for output in answer["outputs"]} == {"label", "score"}
    assert answer["parameters"]["bundle"].startswith("sha256:")
