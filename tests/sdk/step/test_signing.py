"""Programs that sign run through `lockgate_proof.main`; `lockgate_step.main` refuses them."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lockgate_proof import Trust, TrustedKey, new_key, predicate, verify
from lockgate_step import sha256

SDK = Path(__file__).resolve().parents[3] / "steps" / "sdk"
MAINS = {"lockgate_step": "from lockgate_step import main", "lockgate_proof": "from lockgate_proof import main"}
SOURCE = '''
from lockgate_step import (
    AdditionalVerdict, DataRecord, DataVerdict, In, NotJudged, Out, Passed, Reason, Record, Refused, Table, program,
)
{main}


@program({marks})
def judged(rows: In[Table], verdict: Out[{kind}]) -> object:
    """Judge the rows."""
    print("ran")
    return {returns}


@program()
def plain(rows: In[Table], copied: Out[Table]) -> None:
    """Copy the rows."""
    copied.path.write_bytes(rows.path.read_bytes())


if __name__ == "__main__":
    main({functions})
'''
SUBJECTS = '{"data": "sha256:" + "0" * 64}'
REFUSED = f'Refused(model="m", subjects={SUBJECTS}, reasons=(Reason(rule="r", message="no"),))'
PASSED = f'Passed(model="m", subjects={SUBJECTS})'
RECORD = f'Record(kind="data", subjects={SUBJECTS}, predicate={{"model": "m"}})'


class Bench:
    """A program, its folder, and a key to sign with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.io = folder / "io"
        (self.io / "in").mkdir(parents=True)
        (self.io / "in" / "rows").write_text("a row")
        public = new_key(self.io / "key" / "private.pem")
        self.trust = Trust((TrustedKey(public, ("judged", "ingest")),))

    def call(
        self,
        *arguments: str,
        main: str,
        marks: str = "signs=True",
        kind: str = "DataVerdict",
        returns: str = PASSED,
        functions: str = "judged",
    ) -> subprocess.CompletedProcess[str]:
        source = SOURCE.format(main=MAINS[main], marks=marks, kind=kind, returns=returns, functions=functions)
        (self.folder / "judging.py").write_text(source)
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SDK), "LOCKGATE_IO": str(self.io)}
        command = [sys.executable, "-m", "judging", *arguments]
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)

    @property
    def written(self) -> bytes | None:
        path = self.io / "out" / "verdict"
        return path.read_bytes() if path.is_file() else None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("marks", ["signs=True", "gate=True", "signs=True, gate=True"])
@pytest.mark.parametrize("arguments", [(), ("--help",)], ids=["run", "help"])
def test_a_program_that_signs_does_not_run_without_a_sealer(
    bench: Bench, marks: str, arguments: tuple[str, ...]
) -> None:
    done = bench.call(*arguments, main="lockgate_step", marks=marks)
    assert (done.returncode, done.stdout, bench.written) == (2, "", None)
    (line,) = done.stderr.splitlines()
    error = json.loads(line)
    assert error["message"] == "judged signs what it returns, and lockgate_step.main cannot sign"
    assert error["fix"] == "import main from lockgate_proof in the program's file, not from lockgate_step"
    assert json.loads((bench.io / "termination").read_bytes())["error"] == error["message"]


def test_other_programs_of_the_same_file_do_not_run_either(bench: Bench) -> None:
    done = bench.call("plain", main="lockgate_step", functions="plain, judged")
    assert (done.returncode, (bench.io / "out").exists()) == (2, False)
    assert "judged signs what it returns" in done.stderr


@pytest.mark.parametrize(("returns", "code", "result"), [(PASSED, 0, "passed"), (REFUSED, 3, "refused")])
def test_a_verdict_is_signed_and_decides_the_exit_code(bench: Bench, returns: str, code: int, result: str) -> None:
    done = bench.call(main="lockgate_proof", marks="signs=True, gate=True", returns=returns)
    assert done.returncode == code, done.stderr
    assert bench.written is not None
    statement = verify(bench.written, bench.trust, signer="judged", kind="verdict")
    assert (statement.predicate["result"], statement.subjects) == (result, {"data": "sha256:" + "0" * 64})
    shown = json.loads((bench.io / "termination").read_bytes())
    assert (shown["result"], shown["verdict"]) == (result, statement.digest)


def test_the_verdict_of_an_additional_gate_has_a_type_of_its_own(bench: Bench) -> None:
    done = bench.call(main="lockgate_proof", marks="gate=True", kind="AdditionalVerdict", returns=REFUSED)
    assert done.returncode == 3, done.stderr
    assert b"additional-verdict" in base64.b64decode(json.loads(bench.written or b"")["payload"])


@pytest.mark.parametrize("returns", [RECORD, "None", 'NotJudged(model="m", subjects={})'])
def test_an_additional_gate_signs_nothing_but_its_verdict(bench: Bench, returns: str) -> None:
    done = bench.call(main="lockgate_proof", marks="gate=True", kind="AdditionalVerdict", returns=returns)
    assert (done.returncode, bench.written) == (1, None)
    assert '"kind": "TypeError"' in done.stderr


def test_a_record_is_signed(bench: Bench) -> None:
    done = bench.call(main="lockgate_proof", kind="DataRecord", returns=RECORD)
    assert done.returncode == 0, done.stderr
    assert bench.written is not None
    verify(bench.written, bench.trust, signer="ingest")
    assert predicate(json.loads(bench.written))["model"] == "m"


PAGED = '''
from lockgate_proof import main
from lockgate_step import Bundle, DataVerdict, Out, Passed, Record, Report, Table, program


@program(signs=True, gate=True)
def judged(verdict: Out[DataVerdict], report: Out[Report], rows: Out[Table], other: Out[Report]) -> Passed:
    """Judge."""
    report.path.write_text("<h1>Passed</h1>")
    rows.path.write_text("a row")
    (report.path.parent / "card").write_text("not declared")
    return Passed(model="m", subjects={"data": "sha256:" + "0" * 64})


@program(signs=True)
def ingest(bundle: Out[Bundle], card: Out[Report]) -> Record:
    """Pack."""
    card.path.write_text("<h1>Card</h1>")
    return Record(kind="data", subjects={"data": "sha256:" + "0" * 64}, predicate={"pages": {"card": "forged"}})


if __name__ == "__main__":
    main(judged, ingest)
'''


@pytest.mark.parametrize(
    ("program", "place", "pages"),
    [
        ("judged", "verdict", {"report": "<h1>Passed</h1>"}),
        ("ingest", "bundle/record.json", {"card": "<h1>Card</h1>"}),
    ],
)
def test_the_digest_of_each_page_is_signed(bench: Bench, program: str, place: str, pages: dict[str, str]) -> None:
    (bench.folder / "judging.py").write_text(PAGED)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SDK), "LOCKGATE_IO": str(bench.io)}
    command = [sys.executable, "-m", "judging", program]
    done = subprocess.run(command, cwd=bench.folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    statement = verify((bench.io / "out" / place).read_bytes(), bench.trust, signer=program)
    assert statement.predicate["pages"] == {name: sha256(text.encode()) for name, text in pages.items()}


def test_a_program_without_a_page_signs_none(bench: Bench) -> None:
    assert bench.call(main="lockgate_proof", marks="signs=True, gate=True").returncode == 0
    assert bench.written is not None
    assert "pages" not in predicate(json.loads(bench.written))


@pytest.mark.parametrize(("marks", "returns"), [("signs=True", "None"), ("gate=True", PASSED)])
def test_what_the_contract_does_not_allow_is_a_bug_and_nothing_is_signed(
    bench: Bench, marks: str, returns: str
) -> None:
    done = bench.call(main="lockgate_proof", marks=marks, returns=returns)
    assert (done.returncode, bench.written) == (1, None)
    assert '"kind": "TypeError"' in done.stderr


def test_a_program_that_does_not_sign_runs_beside_one_that_does(bench: Bench) -> None:
    done = bench.call("plain", main="lockgate_proof", functions="plain, judged")
    assert done.returncode == 0, done.stderr
    assert (bench.io / "out" / "copied").read_text() == "a row"


@pytest.mark.parametrize("code", ["0", "3", ""])
@pytest.mark.parametrize("marks", ["signs=True", "signs=True, gate=True"])
def test_a_program_that_exits_before_it_signs_has_a_bug(bench: Bench, marks: str, code: str) -> None:
    done = bench.call(main="lockgate_proof", marks=marks, returns=f"__import__('sys').exit({code})")
    assert (done.returncode, done.stdout, bench.written) == (1, "ran\n", None)
    assert '"kind": "RuntimeError"' in done.stderr
