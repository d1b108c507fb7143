"""validate-data refuses data that do not match the spec, and shows no value of any row."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lockgate_evidence import Evidence, frozen
from lockgate_step import BadCall, Passed, Refused, file_digest
from lockgate_validate.data import judgement, validate

from tests.steps.gate_bench import TABLES, Bench
from tests.steps.validate.tables import Tables, tiny

# Great Expectations and its imports use deprecated features; the program silences the warnings too.
pytestmark = pytest.mark.filterwarnings("ignore")

Judge = Callable[[Bench], Passed | Refused]


def evidence(bench: Bench) -> tuple[Evidence, dict[str, Path]]:
    paths = {name: bench.path(name) for name in TABLES if bench.path(name).exists()}
    return frozen(bench.path("data"), bench.path("spec"), bench.path("policy"), paths, bench.trust), paths


@pytest.fixture
def judge() -> Judge:
    """Run the core in this process, so that Great Expectations, which takes seconds to import, is imported once."""

    def run(bench: Bench) -> Passed | Refused:
        proven, paths = evidence(bench)
        outcome = judgement(
            proven, validate(proven, paths, bench.path("expectations")), file_digest(bench.path("expectations"))
        )
        assert isinstance(outcome, Passed | Refused)
        return outcome

    return run


def test_clean_data_pass(data_bench: Bench, judge: Judge) -> None:
    data_bench.freeze(tiny())
    outcome = judge(data_bench)
    assert isinstance(outcome, Passed)
    assert outcome.notes == ()
    assert outcome.measurements["expectations"] == outcome.measurements["met"]
    assert set(outcome.subjects) == {"data", "spec", "policy", "expectations"}
    assert outcome.subjects["expectations"] == file_digest(data_bench.path("expectations"))


def _set(table: str, column: str, values: object) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        old = tables[table][column]
        tables[table][column] = values(old) if callable(values) else values  # type: ignore[assignment]

    return change


def _first(value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda old: [value, *old[1:]]


def _all(value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda old: [value] * len(old)


def _add(table: str, column: str) -> Callable[[Tables], None]:
    return lambda tables: tables[table].update({column: ["x"] * 60})


def _drop(table: str, column: str) -> Callable[[Tables], None]:
    return lambda tables: tables[table].__delitem__(column)


def _empty(table: str) -> Callable[[Tables], None]:
    return lambda tables: tables.update({table: {column: [] for column in tables[table]}})


FAULTS = [
    (_set("rows", "age", _first(200.0)), {"data:rows:age:range"}),
    (_set("rows", "age", _first(float("inf"))), {"data:rows:age:range"}),
    (_set("test", "age", _first(16.0)), {"data:test:age:range"}),
    (_set("rows", "age", _first(33.5)), {"data:rows:age:whole"}),
    (_set("test", "age", _first(None)), {"data:test:age:present"}),
    (_set("rows", "job", _first("pilot")), {"data:rows:job:values"}),
    (_set("rows", "income", _first(None)), {"data:rows:income:present"}),
    (_set("rows", "income", _first("High")), {"data:rows:income:values"}),
    (_set("rows", "income", _all("low")), {"data:rows:income:both"}),
    (_set("truth", "income", _all("high")), {"data:truth:income:both"}),
    (_set("sensitive", "sex", _first("Unknown")), {"data:sensitive:sex:values"}),
    (_set("sensitive", "sex", _all(None)), {"data:sensitive:sex:says"}),
    (_set("train_sensitive", "sex", _all(None)), {"data:train_sensitive:sex:says"}),
    (_add("rows", "sex"), {"data:rows:columns", "data:rows:once"}),
    (_add("test", "income"), {"data:test:columns", "data:test:once"}),
    (_drop("rows", "job"), {"data:rows:columns", "data:rows:once"}),
    (_empty("rows"), {"data:rows:some", "data:train_sensitive:count"}),
    (_empty("sensitive"), {"data:sensitive:some", "data:sensitive:count"}),
]


@pytest.mark.parametrize(("change", "rules"), FAULTS, ids=[",".join(sorted(rules)) for _, rules in FAULTS])
def test_what_the_spec_does_not_allow_is_refused_by_name(
    data_bench: Bench, judge: Judge, change: Callable[[Tables], None], rules: set[str]
) -> None:
    tables = tiny()
    change(tables)
    data_bench.freeze(tables)
    outcome = judge(data_bench)
    assert isinstance(outcome, Refused)
    assert {reason.rule for reason in outcome.reasons} == rules
    assert all(reason.lines and reason.message.startswith("in the table ") for reason in outcome.reasons)


def test_a_text_column_where_numbers_belong_is_refused(data_bench: Bench, judge: Judge) -> None:
    data_bench.freeze(tiny())
    wrong = pq.read_table(data_bench.path("rows"))
    wrong = wrong.set_column(0, "age", wrong["age"].cast(pa.string()))
    pq.write_table(wrong, data_bench.path("rows"))
    data_bench.attest()
    outcome = judge(data_bench)
    assert isinstance(outcome, Refused)
    assert "data:rows:age:type" in {reason.rule for reason in outcome.reasons}


def test_a_column_twice_is_refused(data_bench: Bench) -> None:
    data_bench.freeze(tiny())
    table = pq.read_table(data_bench.path("rows"))
    pq.write_table(table.append_column("job", table["job"]), data_bench.path("rows"))
    data_bench.attest()
    result = data_bench.run()
    assert result.returncode in (2, 3)
    assert "Traceback" not in result.stderr


def test_an_input_missing_everywhere_is_a_warning(data_bench: Bench, judge: Judge) -> None:
    tables = tiny()
    tables["rows"]["job"] = [None] * 60
    data_bench.freeze(tables)
    outcome = judge(data_bench)
    assert isinstance(outcome, Passed)
    assert outcome.notes == ("warning: in the table rows, job is missing in every row",)


def test_a_model_without_sensitive_columns(data_bench: Bench, judge: Judge) -> None:
    data_bench.spec["sensitive"] = []
    data_bench.policy = data_bench.policy[: data_bench.policy.index("[[unaudited]]")]
    tables = tiny()
    tables["sensitive"] = tables["train_sensitive"] = {}
    data_bench.freeze(tables)
    assert isinstance(judge(data_bench), Passed)


MEAN = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "age", "min_value": 60, "max_value": 70}}


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_expectations_of_ones_own_refuse_or_warn(data_bench: Bench, judge: Judge, severity: str) -> None:
    data_bench.path("expectations").write_text(json.dumps([MEAN | {"severity": severity, "why": "As in the census."}]))
    data_bench.freeze(tiny())
    outcome = judge(data_bench)
    if severity == "warning":
        assert isinstance(outcome, Passed)
        assert "column mean to be between" in outcome.notes[0]
    else:
        assert isinstance(outcome, Refused)
        (reason,) = outcome.reasons
        assert (reason.source, reason.why) == ("expectations.json: entry 1", "As in the census.")


def test_an_expectation_of_ones_own_that_holds(data_bench: Bench, judge: Judge) -> None:
    entry = MEAN | {
        "kwargs": {"column": "age", "min_value": 20, "max_value": 70},
        "severity": "critical",
        "table": "test",
    }
    data_bench.path("expectations").write_text(json.dumps([entry, entry]))
    data_bench.freeze(tiny())
    assert isinstance(judge(data_bench), Passed)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "expectations.json is not JSON: line 1"),
        ("{}", "expectations.json is not a list"),
        ("[3]", "entry 1 is not an object"),
        ([MEAN | {"severity": "critical", "mostly": 1}], "entry 1 has an unknown key `mostly`"),
        ([MEAN], "entry 1 (expect_column_mean_to_be_between) has no valid `severity`"),
        ([{"type": "ExpectX", "kwargs": {"a": 1}, "severity": "critical"}], "entry 1 has no `type` that begins with"),
        ([{"type": "expect_x", "severity": "critical"}], "entry 1 (expect_x) has no `kwargs`"),
        (
            [
                MEAN | {"severity": "critical"},
                {"type": "expect_nonsense", "kwargs": {"column": "age"}, "severity": "critical"},
            ],
            "expectations.json: entry 2: Great Expectations has no `expect_nonsense`",
        ),
        (
            [MEAN | {"severity": "critical", "kwargs": {"column": "wage"}}],
            "names the column `wage`, which `rows` does not",
        ),
        ([MEAN | {"severity": "critical", "table": "pages"}], "names an unknown table"),
        (
            [MEAN | {"severity": "critical", "kwargs": {"column": "age", "min_valu": 3}}],
            "has wrong `kwargs`: min_valu",
        ),
        (
            [MEAN | {"severity": "warning", "kwargs": {"column": "job", "min_value": 3}}],
            "entry 1 (expect_column_mean_to_be_between) cannot be evaluated on `rows`",
        ),
    ],
)
def test_expectations_that_cannot_be_run_are_a_bad_call(
    data_bench: Bench, judge: Judge, written: Any, said: str
) -> None:
    data_bench.path("expectations").write_text(written if isinstance(written, str) else json.dumps(written))
    data_bench.freeze(tiny())
    with pytest.raises(BadCall) as caught:
        judge(data_bench)
    assert said in caught.value.message
    assert caught.value.fix


def test_all_entries_of_a_removed_column_are_named_at_once(data_bench: Bench, judge: Judge) -> None:
    gone = MEAN | {"severity": "warning", "kwargs": {"column": "wage"}}
    data_bench.path("expectations").write_text(json.dumps([gone, MEAN | {"severity": "warning"}, gone]))
    data_bench.freeze(tiny())
    with pytest.raises(BadCall, match=r"entry 1 .* names the column `wage`") as caught:
        judge(data_bench)
    assert caught.value.fix.endswith("remove the entries of columns that the spec no longer has: wage (number 1, 3)")


def test_the_program_refuses_and_no_value_of_a_row_gets_out(data_bench: Bench) -> None:
    tables = tiny()
    tables["rows"]["job"][7] = "CANARY-WORD"
    tables["rows"]["age"][11] = 7654321.0
    tables["test"]["job"][3] = "CANARY-WORD"
    tables["sensitive"]["sex"][5] = "CANARY-WORD"
    data_bench.freeze(tables)
    own = [
        MEAN | {"severity": "warning"},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "job"}, "severity": "critical"},
    ]
    data_bench.path("expectations").write_text(json.dumps(own))
    result = data_bench.run()
    assert result.returncode == 3
    assert data_bench.verdict["result"] == "refused"
    seen = data_bench.everything(result)
    assert "job is not one of clerk, cook in some rows" in seen
    for secret in ("CANARY", "7654321", "7.65"):
        assert secret not in seen
    assert all(json.loads(line)["event"] for line in result.stderr.splitlines())
    assert "<script" not in data_bench.report


def test_the_program_asks_nothing_of_the_network(data_bench: Bench) -> None:
    data_bench.freeze(tiny())
    code = (
        "import os, runpy, sys\n"
        "def hook(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname'):\n"
        "        os.write(2, f'NETWORK {event} {args[-1]}'.encode())\n"
        "        os._exit(99)\n"
        "sys.addaudithook(hook)\n"
        "sys.argv = ['x', 'validate-data']\n"
        "runpy.run_module('lockgate_validate', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LOCKGATE_IO": str(data_bench.root), "HOME": str(data_bench.root / "nobody")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert data_bench.verdict["result"] == "passed"
    assert not (data_bench.root / "nobody").exists()


def _swap(bench: Bench) -> None:
    tables = tiny()
    tables["rows"]["age"][0] = 44.0
    before = bench.path("data").read_bytes()
    bench.freeze(tables)
    bench.path("data").write_bytes(before)


def _forge(bench: Bench) -> None:
    record = bench.sign("data", "waive", bench.data_subjects, {"model": "tiny", "rows": {}, "base": {}})
    bench.path("data").write_bytes(record)


@pytest.mark.parametrize("tamper", [_swap, _forge])
def test_what_ingest_did_not_sign_is_not_judged(data_bench: Bench, tamper: Callable[[Bench], None]) -> None:
    data_bench.freeze(tiny())
    tamper(data_bench)
    result = data_bench.run()
    assert result.returncode == 3
    assert not data_bench.out("verdict").exists()
