"""Exit codes: a table of changes to valid inputs, each with the expected exit code."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from lockgate_step import EXIT_CODES

from lockgate.definition.catalog import Program
from lockgate.images.installed import environment
from tests.workshop import CATALOG, MARK, Bench

CANARY = "canary-0c9e-of-a-person"
Spoil = Callable[[Bench], object]


def nothing(bench: Bench) -> None:
    """Leave the call valid."""


def missing(name: str) -> Spoil:
    """Remove an input."""
    return lambda bench: bench.input(name).rename(bench.folder / "hidden")


def limit(before: str, after: str) -> Spoil:
    """Change a limit in policy.toml."""

    def spoil(bench: Bench) -> None:
        path = bench.input("policy")
        text = path.read_text()
        assert text.count(f"= {before}\n") == 1
        path.write_text(text.replace(f"= {before}\n", f"= {after}\n"))

    return spoil


def stricter(bench: Bench) -> None:
    """Change the policy, so that it is not the current one."""
    with bench.input("policy").open("a") as policy:
        policy.write("\n# stricter\n")


def expectation(text: str) -> Spoil:
    """Replace the expectations."""
    return lambda bench: bench.input("expectations").write_text(text)


def swapped(first: str, second: str) -> Spoil:
    """Replace one input by another."""
    return lambda bench: shutil.copyfile(bench.input(first), bench.input(second))


def elsewhere(**settings: str) -> Spoil:
    """Replace addresses of the environment by ones where no server listens."""

    def spoil(bench: Bench) -> None:
        path = bench.folder / "environment"
        kept = path.resolve()
        path.unlink()
        shutil.copytree(kept, path)
        for name, text in settings.items():
            (path / name).write_text(text)
        (path / "s3.json").write_text('{"endpoint": "http://127.0.0.1:1", "region": "us-east-1"}')
        credentials = bench.folder / "credentials"
        credentials.mkdir()
        for name in ("access_key_id", "secret_access_key"):
            (credentials / name).write_text(CANARY)

    return spoil


def verdicts_swapped(bench: Bench) -> None:
    folder = bench.input("bundle") / "verdicts"
    shutil.copyfile(folder / "bias-audit.json", folder / "validate-model.json")


@dataclass(frozen=True)
class Case:
    """A program, the change to its valid inputs, the expected exit code, and whether a verdict is written."""

    code: int
    program: str
    spoil: Spoil
    says: str = ""
    verdict: bool = False


NO_STORE = elsewhere(store="s3://evidence/prefix\n")
NO_REGISTRY = elsewhere(registry="http://127.0.0.1:1\n")
TABLE = [
    Case(0, "ingest", nothing),
    Case(2, "ingest", missing("spec"), "input spec"),
    Case(4, "ingest", NO_STORE, "127.0.0.1:1"),
    Case(0, "fetch", nothing),
    Case(2, "fetch", missing("spec"), "input spec"),
    Case(4, "fetch", NO_REGISTRY, "127.0.0.1:1"),
    Case(0, "train", nothing),
    Case(2, "train", missing("rows"), "input rows"),
    Case(0, "validate-data", nothing),
    Case(2, "validate-data", expectation("{"), "not JSON"),
    Case(
        3,
        "validate-data",
        expectation(
            '[{"type": "expect_column_max_to_be_between", "severity": "critical",'
            ' "kwargs": {"column": "years", "max_value": 9}}]'
        ),
        "years",
        verdict=True,
    ),
    Case(0, "predict", nothing),
    Case(2, "predict", missing("model"), "input model"),
    Case(0, "validate-model", nothing),
    Case(2, "validate-model", missing("answers"), "input answers"),
    Case(3, "validate-model", limit("0.70", "0.999"), "accuracy", verdict=True),
    Case(0, "bias-audit", nothing),
    Case(2, "bias-audit", missing("policy"), "input policy"),
    Case(3, "bias-audit", limit("0.25", "0.0001"), "sex", verdict=True),
    Case(0, "package", nothing),
    Case(2, "package", missing("bias_verdict"), "input bias_verdict"),
    Case(3, "package", swapped("bias_verdict", "quality_verdict"), "quality_verdict|validate-model"),
    Case(4, "package", NO_REGISTRY, "127.0.0.1:1"),
    Case(0, "recall", nothing),
    Case(2, "recall", missing("spec"), "input spec"),
    Case(3, "recall", stricter, "but the current policy is"),
    Case(4, "recall", NO_STORE, "127.0.0.1:1"),
    Case(0, "deploy", nothing),
    Case(2, "deploy", missing("bundle"), "input bundle"),
    Case(3, "deploy", verdicts_swapped, "validate-model"),
    Case(4, "deploy", NO_STORE, "127.0.0.1:1"),
    Case(0, "smoke-test", nothing),
    Case(2, "smoke-test", missing("staged"), "input staged"),
    Case(3, "smoke-test", limit("5000", "0.001"), "policy"),
    Case(0, "canary", nothing),
    Case(2, "canary", missing("smoke"), "input smoke"),
    Case(3, "canary", swapped("staged", "smoke"), "smoke"),
    Case(4, "canary", NO_STORE, "127.0.0.1:1"),
    Case(0, "promote", nothing),
    Case(2, "promote", missing("smoke"), "input smoke"),
    Case(3, "promote", swapped("staged", "smoke"), "smoke"),
    Case(4, "promote", NO_STORE, "127.0.0.1:1"),
    Case(0, "conclude", nothing),
    Case(4, "conclude", NO_STORE, "127.0.0.1:1"),
    Case(0, "pull", nothing),
    Case(3, "pull", elsewhere(store="file:///no/such/folder\n"), "not found in the store"),
    Case(4, "pull", NO_STORE, "127.0.0.1:1"),
]


def identity(case: Case) -> str:
    """Return the name of a row of the table."""
    return f"{case.program}-{case.code}"


@pytest.mark.parametrize("case", TABLE, ids=identity)
def test_a_program_ends_as_the_table_says(
    case: Case, good: Callable[[str], Bench], settings: Mapping[str, tuple[str, ...]]
) -> None:
    bench = good(case.program)
    case.spoil(bench)
    done = bench.call(*settings.get(case.program, ()))
    assert done.code == case.code, done.said
    assert re.search(case.says, done.err), done.said
    assert "Traceback" not in done.said
    assert CANARY not in done.said + bench.termination
    assert not MARK.search(done.said + bench.termination), done.said
    if case.verdict:
        assert json.loads(bench.termination)["result"] in ("refused", "inconclusive")
        assert "verdict" in bench.written
    elif not case.code:
        assert {name.split("/")[0] for name in bench.written} == {entry["name"] for entry in bench.program.outputs}
        assert [line for line in done.err.splitlines() if not json.loads(line)["event"]] == []
    else:
        said = json.loads(bench.termination)
        assert (bool(said["error"]), bool(said["fix"])) == (True, True)


BUG = f"""
# /// script
# dependencies = []
# ///
from lockgate_step import In, Table, main, program

@program()
def faulty(rows: In[Table]) -> None:
    \"\"\"Fail as no program should.\"\"\"
    raise LookupError("{CANARY}")

if __name__ == "__main__":
    main(faulty)
"""


def test_a_bug_ends_in_1_and_says_where_but_not_what(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(BUG)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows").write_text("x")
    made = environment(tmp_path / "no.lock", [CATALOG.sdk, tmp_path])
    program = Program("faulty", "faulty", "faulty", ("python", "-m", "faulty"), (), {"signs": False, "gate": False})
    done = Bench(program, tmp_path, "run-1").execute([str(made.python), "-m", "faulty"], made.variables)
    assert done.code == 1, done.said
    assert "faulty.py:10 faulty" in done.err
    assert CANARY not in done.said


def test_the_table_has_every_exit_code_and_every_program() -> None:
    codes = {program: {case.code for case in TABLE if case.program == program} for program in CATALOG.programs}
    assert {str(code) for found in codes.values() for code in found} | {"1"} == set(EXIT_CODES)
    assert [program for program, found in codes.items() if 0 not in found] == []
    gates = [program.name for program in CATALOG.programs.values() if program.contract["gate"]]
    assert [gate for gate in gates if 3 not in codes[gate]] == []
    outside = [program.name for program in CATALOG.programs.values() if program.contract["uses"]]
    assert [program for program in outside if 4 not in codes[program]] == []
