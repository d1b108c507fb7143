"""Every program keeps its contract: help, flags, files, exit codes, and no data in its messages."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from lockgate_step import EXIT_CODES, tree_digest

from lockgate.definition.catalog import Program
from lockgate.rendering.contracts import contract_bytes, step_contract
from tests.workshop import CATALOG, MARK, Bench, Project

Good = Callable[[str], Bench]
Settings = Mapping[str, tuple[str, ...]]
PROGRAMS = sorted(CATALOG.programs.values(), key=lambda program: program.name)
INPUTS = [(program, entry["name"]) for program in PROGRAMS for entry in program.inputs]
REQUIRED = [(program, entry["name"]) for program in PROGRAMS for entry in program.inputs if not entry["optional"]]
SEEDED = [program for program in PROGRAMS if any(p["name"] == "seed" for p in program.contract["parameters"])]
FOLDERS = ("AdditionalVerdicts", "Answers", "ModelFile", "Base", "Bundle")
CANARY = "canary-7d20-of-a-person"

each = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


def each_of(pairs: list[tuple[Program, str]]) -> pytest.MarkDecorator:
    """Return a decorator for one test per input."""
    return pytest.mark.parametrize(("program", "name"), pairs, ids=[f"{p.name}-{name}" for p, name in pairs])


def empty(program: Program, folder: Path) -> Bench:
    """Return a program without inputs."""
    folder.mkdir()
    return Bench(program, folder, "run-1")


def required(program: Program, settings: Settings) -> list[str]:
    """Return the settings without a default, so that only the files are wrong."""
    given = settings.get(program.name, ())
    flags = [f"--{p['name'].replace('_', '-')}" for p in program.contract["parameters"] if p["default"] is None]
    return [part for flag in flags for part in (flag, given[given.index(flag) + 1])]


def check_quiet(bench: Bench, said: str) -> None:
    """Check for no traceback, no input value, no row of the data and no undeclared file."""
    for text in (said, bench.termination):
        assert "Traceback" not in text, said
        assert CANARY not in text, said
        assert not MARK.search(text), said
    assert {name.split("/")[0] for name in bench.written} <= {entry["name"] for entry in bench.program.outputs}


@pytest.mark.parametrize("folder", sorted(CATALOG.step_folders()), ids=lambda folder: folder.name)
def test_the_contract_is_the_source(folder: Path) -> None:
    assert (folder / "contract.json").read_bytes() == contract_bytes(step_contract(folder))


@each
def test_help_shows_every_file_and_setting(program: Program, tmp_path: Path) -> None:
    done = empty(program, tmp_path / "io").call("--help")
    assert (done.code, done.err) == (0, "")
    files = [f"in/{f['name']}" for f in program.inputs] + [f"out/{f['name']}" for f in program.outputs]
    flags = [f"--{p['name'].replace('_', '-')}" for p in program.contract["parameters"]]
    words = done.out.split()
    assert [word for word in (*files, *flags) if word not in words] == []
    assert " ".join(program.contract["help"].split()) in " ".join(words)


@each
def test_help_shows_the_exit_codes(program: Program, tmp_path: Path) -> None:
    said = " ".join(empty(program, tmp_path / "io").call("--help").out.split())
    assert [meaning for meaning in EXIT_CODES.values() if meaning not in said] == []


@each
def test_an_unknown_flag_is_a_bad_call(program: Program, settings: Settings, tmp_path: Path) -> None:
    done = empty(program, tmp_path / "io").call(*required(program, settings), "--no-such-flag", "1")
    assert done.code == 2, done.said
    assert "--no-such-flag" in done.err


@each_of(REQUIRED)
def test_a_missing_input_is_named(program: Program, name: str, good: Good, settings: Settings) -> None:
    bench = good(program.name)
    hidden = bench.input(name)
    hidden.rename(bench.folder / "hidden")
    done = bench.call(*required(program, settings))
    assert done.code == 2, done.said
    assert f"input {name} " in done.err
    assert f"input {name} " in bench.termination
    assert bench.written == set()


@each_of(INPUTS)
def test_an_input_of_the_wrong_shape_is_named(program: Program, name: str, good: Good, settings: Settings) -> None:
    bench = good(program.name)
    path = bench.input(name)
    if path.exists():
        path.rename(bench.folder / "hidden")
    folder = next(entry["type"] for entry in program.inputs if entry["name"] == name) in FOLDERS
    inside = path if folder else path / CANARY
    inside.parent.mkdir(exist_ok=True)
    inside.write_text(CANARY)
    done = bench.call(*required(program, settings))
    assert done.code == 2, done.said
    assert f"input {name} " in done.err
    check_quiet(bench, done.said)


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(300) + CANARY.encode() + os.urandom(300))


def _half(path: Path) -> None:
    content = path.read_bytes() if path.exists() else b'{"payload": "' + CANARY.encode()  # a release has no `recalled`
    path.write_bytes(content[: len(content) // 2])


def _other(path: Path) -> None:
    """Write a file that can be parsed but has no valid content."""
    path.write_text('nothing = "known"\n' if path.name in ("policy", "policy.toml") else json.dumps([{"no": CANARY}]))


@pytest.mark.parametrize("spoil", [_garbage, _half, _other], ids=lambda spoil: spoil.__name__.strip("_"))
@each_of(INPUTS)
def test_a_damaged_input_is_refused(
    program: Program, name: str, spoil: Callable[[Path], None], good: Good, settings: Settings
) -> None:
    bench = good(program.name)
    path = bench.input(name)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        spoil(file)
    # With mitigation, train reads the sensitive columns.
    reading = ("--mitigation", "grid-search", "--mitigate", "sex", "--fits", "3") if program.name == "train" else ()
    done = bench.call(*settings.get(program.name, ()), *reading)
    assert done.code in (2, 3), done.said
    check_quiet(bench, done.said)


@pytest.mark.parametrize("program", SEEDED, ids=lambda program: program.name)
def test_the_same_seed_gives_the_same_bytes(program: Program, good: Good, settings: Settings) -> None:
    bench = good(program.name)
    digests = []
    for out in ("first", "second"):
        done = bench.call(*settings.get(program.name, ()), "--seed", "11")
        assert done.code == 0, done.said
        (bench.folder / "out").rename(bench.folder / out)
        digests.append(tree_digest(bench.folder / out))
    assert digests[0] == digests[1]


def test_no_row_of_the_data_is_in_what_people_read(chain: Project, run: str) -> None:
    assert MARK.search((chain.pipeline / "data" / "rows.csv").read_text())
    folder = chain.state / "runs" / run
    texts = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".parquet", ".onnx") and path.name not in TABLES
    ]
    assert len(texts) > 50
    assert [str(path.relative_to(folder)) for path in texts if MARK.search(path.read_text("utf-8", "replace"))] == []


TABLES = {entry["name"] for p in PROGRAMS for entry in (*p.inputs, *p.outputs) if entry["type"] == "Table"}
