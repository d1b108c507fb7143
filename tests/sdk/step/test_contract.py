"""The contract is read from the source alone, and the running program follows the same contract."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lockgate_step import ContractError, read_contract

SDK = Path(__file__).resolve().parents[3] / "steps" / "sdk"

GOOD = '''
from typing import Literal
from lockgate_step import BadCall, In, Out, OutsideFailed, Refusal, Table, ModelFile, main, program


@program(uses=["store"])
def copy_rows(rows: In[Table], extra: In[Table] | None, copied: Out[Table], model: Out[ModelFile], *, times: int,
              word: Literal["a", "b"] = "a", share: float = 0.5, loud: bool = False) -> None:
    """Copy rows
    many times.

    times: how often,
        at least once.
    word: which.
    """
    if word == "b":
        raise {"1": OutsideFailed("store down", fix="wait"), "2": Refusal("no"), "3": BadCall("bad")}[str(times)]
    if times == 7:
        raise ValueError("a secret row value")
    if times == 8:
        import json
        json.loads("{")
    copied.path.write_text(rows.path.read_text() * times + str(extra is None) + str(loud))
    (model.path / "model.json").write_text("{}")


if __name__ == "__main__":
    main(copy_rows)
'''


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "code" / "copier.py"
    path.parent.mkdir()
    path.write_text(GOOD)
    return path


def call(program: Path, io: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SDK), "LOCKGATE_IO": str(io), **environment}
    command = [sys.executable, "-m", "copier", *arguments]
    return subprocess.run(command, cwd=program.parent, env=env, capture_output=True, text=True, check=False)


def error_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    events = [json.loads(line) for line in done.stderr.splitlines()]
    return next(event for event in events if event["event"] == "error")


def test_the_contract_is_the_signature(program: Path) -> None:
    (contract,) = read_contract(program)
    assert contract["program"] == "copy-rows"
    assert contract["help"] == "Copy rows many times."
    assert contract["uses"] == ["store"]
    assert contract["inputs"] == [
        {"name": "rows", "type": "Table", "optional": False},
        {"name": "extra", "type": "Table", "optional": True},
    ]
    assert contract["outputs"] == [{"name": "copied", "type": "Table"}, {"name": "model", "type": "ModelFile"}]
    assert [(p["name"], p["type"], p["default"], p["enum"], p["help"]) for p in contract["parameters"]] == [
        ("times", "integer", None, None, "how often, at least once."),
        ("word", "string", "a", ["a", "b"], "which."),
        ("share", "number", 0.5, None, ""),
        ("loud", "boolean", False, None, ""),
    ]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("def f(rows): ...", "rows"),
        ("def f(rows: Table): ...", "rows"),
        ("def f(rows: In[Nothing]): ...", "In[Kind]"),
        ("def f(*, n: list): ...", "n:"),
        ("def f(*, n: int = len('')): ...", "literal"),
        ("def f(*rows): ...", "*args"),
    ],
)
def test_an_invalid_contract_is_reported_with_its_line(tmp_path: Path, wrong: str, named: str) -> None:
    source = tmp_path / "x.py"
    source.write_text("@program()\n" + wrong.replace(": ...", ':\n    """Help."""'))
    with pytest.raises(ContractError) as error:
        read_contract(source)
    assert "x.py:" in str(error.value)
    assert named in str(error.value)


def test_a_gate_that_signs_needs_a_place_for_its_verdict(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text('@program(signs=True)\ndef f(rows: In[Table], out: Out[Table]):\n    """Help."""\n')
    with pytest.raises(ContractError, match="signs"):
        read_contract(source)


def test_files_and_settings_reach_the_function(program: Path, tmp_path: Path) -> None:
    io = tmp_path / "io"
    (io / "in").mkdir(parents=True)
    (io / "in" / "rows").write_text("r")
    (io / "in" / "extra").mkdir()  # an empty folder equals a missing input
    done = call(program, io, "--times", "2", "--loud", "true")
    assert done.returncode == 0, done.stderr
    assert (io / "out" / "copied").read_text() == "rrTrueTrue"
    assert (io / "out" / "model" / "model.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--times", "1", "--word", "b"), 4),
        (("--times", "2", "--word", "b"), 3),
        (("--times", "3", "--word", "b"), 2),
        (("--times", "7"), 1),
        (("--times", "8"), 2),
        (("--times", "x"), 2),
        (("--unknown", "1"), 2),
        ((), 2),
        (("--help",), 0),
    ],
)
def test_every_outcome_has_its_exit_code(program: Path, tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    io = tmp_path / "io"
    (io / "in").mkdir(parents=True)
    (io / "in" / "rows").write_text("r")
    done = call(program, io, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "secret row value" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--times", "x"), "argument --times: invalid int value: 'x'"),
        (("--times", "1", "--word", "c"), "argument --word: invalid choice: 'c'"),
        (("--times", "1", "--loud", "very"), "argument --loud: 'very' is neither true nor false"),
        (("--times", "1", "--unknown", "1"), "unrecognized arguments: --unknown 1"),
        ((), "the following arguments are required: --times"),
    ],
)
def test_a_wrong_flag_is_one_line_of_the_log(
    program: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = call(program, tmp_path, *arguments)
    (line,) = done.stderr.splitlines()
    error = json.loads(line)
    assert (done.returncode, error["event"], error["code"]) == (2, "error", 2)
    assert message in error["message"]
    assert error["fix"] == "show the files and settings with: python -m copier --help"
    assert message in json.loads((tmp_path / "termination").read_bytes())["error"]


def test_help_shows_the_usage_and_no_log(program: Path, tmp_path: Path) -> None:
    done = call(program, tmp_path, "--help")
    assert (done.stdout.startswith("usage: python -m copier"), done.stderr) == (True, "")


def test_a_missing_input_is_a_bad_call_that_names_it(program: Path, tmp_path: Path) -> None:
    done = call(program, tmp_path / "io", "--times", "1")
    assert done.returncode == 2
    assert "rows" in str(error_of(done)["message"])


def test_an_input_that_differs_from_the_pinned_one_is_refused(program: Path, tmp_path: Path) -> None:
    io = tmp_path / "io"
    (io / "in").mkdir(parents=True)
    (io / "in" / "rows").write_text("mine")
    pins = json.dumps({"rows": "sha256:" + "0" * 64})
    done = call(program, io, "--times", "1", LOCKGATE_PINS=pins)
    assert done.returncode == 2
    assert not (io / "out" / "copied").exists()
