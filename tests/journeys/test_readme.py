"""Every command of the README does what the README says, in the order it stands there."""

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

from tests.workshop import Project, free_port, platform

ROOT = Path(__file__).resolve().parents[2]
# What needs a cluster is executed on one: tests/cluster/test_readme.py.
README = re.sub(r"(?ms)^## On a cluster$.*?(?=^## )", "", (ROOT / "README.md").read_text(encoding="utf-8"))
# What follows a command: the rest of its block, and the text up to the next command, where its output may be shown.
COMMAND = re.compile(r"(?m)^\$ (?P<command>.+)\n(?P<after>(?:(?!^\$ ).*\n?)*)")
COMMANDS = [found["command"] for found in COMMAND.finditer(README)]
EXITS = {
    found["command"]: int(said[1]) if (said := re.search(r"(?m)^exit (\d)$", found["after"])) else 0
    for found in COMMAND.finditer(README)
}
SHOWN = {
    found["command"]: block[1]
    for found in COMMAND.finditer(README)
    if (block := re.search(r"<!-- begin: (?:run|refused) -->\n```text\n(.*?)```", found["after"], re.DOTALL))
}
# It runs this test.
EXCLUDED = ["make test"]
MASKS = [
    (r"sha256:[0-9a-f]+", "sha256:DIGEST"),
    (r"\b[0-9a-f]{6}\b", "RUN"),
    (r"(\d+ min )?[\d.]+ s\b", "TIME"),
    (r"\d[\d,.]*", "N"),
    (r"\s+", " "),
]


@dataclass(frozen=True)
class Walked:
    """What one command did: its exit code, and all it said in the order it said it."""

    code: int
    said: str


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Walked]]:
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
            if command not in EXCLUDED:
                done = subprocess.run(
                    ["bash", "-c", _here(command, project.port)],
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


def test_the_readme_has_commands_and_only_one_is_left_out() -> None:
    assert len(COMMANDS) > 8
    assert [command for command in COMMANDS if command in EXCLUDED] == ["make test"]
    assert [EXITS[command] for command in SHOWN] == [0, 3]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in EXCLUDED])
def test_a_command_ends_as_the_readme_says(command: str, walk: dict[str, Walked]) -> None:
    assert walk[command].code == EXITS[command], walk[command].said
    assert "Traceback" not in walk[command].said


@pytest.mark.parametrize("command", SHOWN)
def test_an_output_has_the_form_the_readme_shows(command: str, walk: dict[str, Walked]) -> None:
    real = iter(masked(walk[command].said))
    assert [line for line in masked(SHOWN[command]) if line not in real] == [], walk[command].said


def test_the_model_answers_both_callers(walk: dict[str, Walked]) -> None:
    asked = next(walk[command].said for command in COMMANDS if command.startswith("curl"))
    table = next(walk[command].said for command in COMMANDS if command.startswith("lockgate predict"))
    rows = (ROOT / "docs" / "rows.csv").read_text().splitlines()
    answered = table.splitlines()
    assert answered[0] == f"{rows[0]},label,score"
    assert [line.rsplit(",", 2)[0] for line in answered[1:]] == rows[1:]
    answer = json.loads(asked)
    assert {output["name"] for output in answer["outputs"]} == {"label", "score"}
    assert answer["parameters"]["bundle"].startswith("sha256:")
