"""Run the program as a workflow does, and check its exit code, its signed verdict and its page."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lockgate_proof import verify
from lockgate_step import canonical, file_digest, sha256

from tests.steps.audit_bench import POLICY, AuditBench, people

FAIR = (("Male", 2000, 500), ("Female", 1500, 375))
UNFAIR = (("Male", 2000, 500), ("Female", 1500, 90))
SOON = (datetime.now(UTC) + timedelta(days=300)).isoformat(timespec="seconds")
WAIVER: dict[str, Any] = {
    "model": "tiny", "gate": "bias-audit", "reason": "bias:sex:selection_rate_difference", "approver": "Ana Diaz",
    "why": "Under review.", "expires": SOON,
}  # fmt: skip


def test_fair_answers_pass(bench: AuditBench) -> None:
    bench.people(*FAIR)
    result = bench.run()
    assert result.returncode == 0, result.stderr
    assert (bench.verdict["result"], bench.verdict["reasons"]) == ("passed", [])
    assert bench.verdict["measurements"]["rules"]["bias:sex:selection_rate_difference"]["standing"] == "within"
    headline = "Every gap between groups that has a limit is within it: 1 judged, none without a limit"
    assert f"<h1>{headline}</h1>" in bench.report


def test_the_page_begins_with_how_many_gaps_have_no_limit(bench: AuditBench) -> None:
    open_ = POLICY.replace("selection_rate_difference", "accuracy_difference")
    bench.policy = POLICY + open_[open_.index("[[bias]]") :].replace("at_most = 0.15", "reported_only = true")
    bench.people(*FAIR)
    bench.run()
    assert "is within it: 1 judged, 1 without a limit</h1>" in bench.report
    bench.people(*UNFAIR)
    bench.run()
    banner = bench.report.split("<h1>")[1].split("<section>")[0]
    assert "<p>Gaps between groups: 1 judged, 1 without a limit.</p>" in banner


def test_the_verdict_says_what_each_rule_asks_for_and_where_it_stands(bench: AuditBench) -> None:
    bench.people(*FAIR)
    bench.run()
    (rule,) = bench.verdict["measurements"]["rules"].values()
    assert (rule["asks"], rule["limit"], rule["source"]) == ("at_most", 0.15, "policy.toml:9")
    assert bench.verdict["measurements"]["unaudited"] == []


def test_a_planted_gap_is_refused_in_plain_words(bench: AuditBench) -> None:
    bench.people(*UNFAIR)
    assert bench.run().returncode == 3
    (reason,) = bench.verdict["reasons"]
    assert reason["rule"] == "bias:sex:selection_rate_difference"
    assert reason["message"] == "by sex, Male is selected 4.2 times as often as Female"
    male, female, gap = reason["lines"]
    assert male == "Male    25.0 %  of 2,000"
    assert female == "Female   6.0 %  of 1,500"
    assert gap.startswith("difference 0.190, 95 % interval 0.1")
    assert gap.endswith("; policy.toml:9 allows 0.15")
    assert reason["why"] == "Men and women must be selected at rates the programme can defend."
    assert reason["source"] == "policy.toml:9"


def test_refused_inconclusive_and_passed_follow_the_interval(bench: AuditBench) -> None:
    # The gap is always 0.17; only the width of its interval differs.
    for scale, limit, wanted in (
        (1, 0.15, "inconclusive"),
        (1, 0.18, "inconclusive"),
        (12, 0.15, "refused"),
        (12, 0.19, "passed"),
    ):
        bench.policy = POLICY.replace("0.15", str(limit))
        bench.people(("Male", 600 * scale, 150 * scale), ("Female", 600 * scale, 48 * scale))
        code = bench.run().returncode
        assert (bench.verdict["result"], code) == (wanted, 0 if wanted == "passed" else 3)


def test_the_subjects_are_model_data_base_spec_and_policy(bench: AuditBench) -> None:
    bench.people(*FAIR)
    bench.run()
    assert bench.statement.subjects == {name: sha256(name.encode()) for name in ("model", "data", "base")} | {
        name: file_digest(bench.path(name)) for name in ("spec", "policy")
    }


def test_the_page_is_made_even_when_refused_and_runs_nothing(bench: AuditBench) -> None:
    bench.people(*UNFAIR)
    bench.run()
    assert bench.report.startswith("<!doctype html>")
    assert "<script" not in bench.report
    assert "4.2 times as often" in bench.report


def test_a_column_that_only_reports_does_not_gate_and_is_said_so(bench: AuditBench) -> None:
    bench.policy = POLICY.replace("at_most = 0.15", "reported_only = true")
    bench.people(*UNFAIR)
    assert bench.run().returncode == 0
    note = "measured for information only: by sex, Male is selected 4.2 times as often as Female"
    assert note in bench.verdict["notes"][1]
    assert bench.verdict["result"] == "not_judged"
    assert "Measured for information only" in bench.report


def test_an_intersection_can_refuse_where_each_column_passes(bench: AuditBench) -> None:
    bench.spec["sensitive"].append({"name": "race", "kind": "category", "values": ["A", "B"], "missing": False})
    bench.policy = POLICY + POLICY[POLICY.index("[[bias]]") :].replace('["sex"]', '["sex", "race"]')
    truth: list[str] = []
    answers: list[str] = []
    sex: list[str] = []
    race: list[str] = []
    for s, r, selected in (("Male", "A", 600), ("Male", "B", 200), ("Female", "A", 200), ("Female", "B", 600)):
        t, a, _ = people(("", 1000, selected))
        truth, answers, sex, race = truth + t, answers + a, sex + [s] * 1000, race + [r] * 1000
    bench.fill(truth, answers, sex, race=race)
    assert bench.run().returncode == 3
    assert [reason["rule"] for reason in bench.verdict["reasons"]] == ["bias:sex+race:selection_rate_difference"]
    assert bench.verdict["reasons"][0]["message"].startswith("by sex and race, ")
    # A column without its own rule is audited too.
    assert set(bench.verdict["measurements"]["groups"]) == {"sex", "race", "sex+race"}
    assert "race: no rule for this column alone" in bench.report


def test_missing_values_are_a_group(bench: AuditBench) -> None:
    bench.people(("Male", 1500, 375), ("Female", 1500, 375), (None, 1500, 30))
    assert bench.run().returncode == 3
    assert bench.verdict["reasons"][0]["message"].endswith("times as often as (missing)")


def test_an_all_null_column_is_inconclusive(bench: AuditBench) -> None:
    bench.people((None, 500, 100))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "inconclusive"
    assert bench.verdict["reasons"][0]["message"] == "by sex, nothing can be compared: no row has a value for sex"


def test_fewer_than_two_judged_groups_is_inconclusive(bench: AuditBench) -> None:
    bench.people(("Male", 500, 100), ("Female", 20, 6))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "inconclusive"
    assert "fewer than two groups are large enough" in bench.verdict["reasons"][0]["message"]
    assert "left out: Female (20 rows)" in bench.verdict["reasons"][0]["lines"]
    assert "too small to judge" in bench.report


def test_no_test_row_is_inconclusive(bench: AuditBench) -> None:
    bench.fill([], [], [])
    assert bench.run().returncode == 3
    assert bench.verdict["reasons"][0]["message"] == "no test row was answered, so there is nothing to audit"


def test_one_class_of_truth_cannot_show_true_positives(bench: AuditBench) -> None:
    bench.policy = POLICY.replace("selection_rate", "true_positive_rate")
    _, answers, sex = people(*FAIR)
    bench.fill(["low"] * len(answers), answers, sex)
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "inconclusive"


def test_an_unlisted_category_is_never_shown(bench: AuditBench) -> None:
    bench.people(("Male", 1000, 250), ("Female", 1000, 250), ("Zaphod Beeblebrox", 500, 20))
    result = bench.run()
    assert result.returncode == 3
    assert "(not listed)" in bench.verdict["reasons"][0]["message"]
    assert "Zaphod" not in bench.everything(result)


def test_small_counts_are_nowhere(bench: AuditBench) -> None:
    bench.people(("Male", 1003, 251), ("Female", 997, 250), (None, 7, 3))
    result = bench.run()
    assert result.returncode == 3
    assert "left out: (missing) (fewer than 10 rows)" in bench.verdict["reasons"][0]["lines"]
    assert [group["rows"] for group in bench.verdict["measurements"]["groups"]["sex"]] == [None, 1003, None]
    assert "fewer than 10" in bench.report
    assert "not shown" in bench.report
    assert "997" not in bench.report


def test_a_group_name_cannot_become_markup(bench: AuditBench) -> None:
    bench.spec["sensitive"][0]["values"] = ["<script>alert(1)</script>", "Female"]
    bench.people(("<script>alert(1)</script>", 2000, 1500), ("Female", 2000, 100))
    assert bench.run().returncode == 3
    assert "<script" not in bench.report
    assert "&lt;script&gt;" in bench.report


def test_a_waived_reason_passes_and_the_page_says_until_when(bench: AuditBench) -> None:
    bench.people(*UNFAIR)
    bench.run()
    signed = bench.sign("waiver", "waive", bench.statement.subjects, WAIVER)
    bench.path("waivers").write_bytes(canonical([{"file": "waivers/pilot.json", "envelope": json.loads(signed)}]))
    assert bench.run().returncode == 0
    (reason,) = bench.verdict["reasons"]
    assert reason["waived_by"] == sha256(canonical(json.loads(signed)))
    assert reason["waiver"] == {
        "file": "waivers/pilot.json", "approver": "Ana Diaz", "signer": "waive@example.org", "why": "Under review.",
        "expires": SOON,
    }  # fmt: skip
    assert "Passed by waiver" in bench.report
    assert f"until {SOON[:10]}" in bench.report
    assert "Ana Diaz" in bench.report
    assert "Under review." in bench.report


NOT = {
    "expired": ({"expires": "2026-01-31T12:00:00+00:00"}, "expired on 2026-01-31"),
    "another model": ({"model": "large"}, "is for the model large"),
    "another reason": ({"reason": "bias:age:x"}, "is for bias:age:x, which is not a reason of this verdict"),
    "another gate": ({"gate": "validate-model"}, None),
    "other data and policy": ({"subjects": ("data", "policy")}, "is about another data and policy"),
}


@pytest.mark.parametrize(("change", "problem"), NOT.values(), ids=NOT)
def test_a_waiver_that_does_not_hold_is_named_in_the_verdict(
    bench: AuditBench, change: dict[str, Any], problem: str | None
) -> None:
    bench.people(*UNFAIR)
    bench.run()
    said = WAIVER | change
    subjects = {**bench.statement.subjects, **{name: sha256(b"another") for name in said.pop("subjects", ())}}
    signed = json.loads(bench.sign("waiver", "waive", subjects, said))
    bench.path("waivers").write_bytes(canonical([{"file": "waivers/pilot.json", "envelope": signed}]))
    assert bench.run().returncode == 3
    assert [reason["waived_by"] for reason in bench.verdict["reasons"]] == [None]
    named = [note for note in bench.verdict["notes"] if note.startswith("waiver ")]
    assert named == ([f"waiver waivers/pilot.json {problem}"] if problem else [])


MALFORMED: dict[str, dict[str, object]] = {
    "no approver": {"approver": ""},
    "an approver with control characters": {"approver": "Ana\x1b[2J"},
    "no reason given": {"why": None},
    "a date without a time zone": {"expires": SOON.removesuffix("+00:00")},
    "not a date": {"expires": "soon"},
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_waiver_that_does_not_say_all_is_refused_by_file(bench: AuditBench, change: dict[str, object]) -> None:
    bench.people(*UNFAIR)
    bench.run()
    signed = json.loads(bench.sign("waiver", "waive", bench.statement.subjects, WAIVER | change))
    bench.path("waivers").write_bytes(canonical([{"file": "waivers/pilot.json", "envelope": signed}]))
    bench.out("verdict").unlink()
    done = bench.run()
    assert (done.returncode, bench.out("verdict").exists()) == (2, False)
    assert "waivers/pilot.json is signed, but does not state" in done.stderr


def _flip(bench: AuditBench) -> None:
    table = pq.read_table(bench.path("answers") / "answers.parquet")
    pq.write_table(
        table.set_column(0, "label", pa.array(["low"] * len(table))), bench.path("answers") / "answers.parquet"
    )


def _swap_truth(bench: AuditBench) -> None:
    pq.write_table(pa.table({"income": ["low"] * 3500}), bench.path("truth"))


def _swap_groups(bench: AuditBench) -> None:
    pq.write_table(pa.table({"sex": ["Male"] * 3500}), bench.path("sensitive"))


def _swap_spec(bench: AuditBench) -> None:
    bench.path("spec").write_text(json.dumps(bench.spec | {"owner": "somebody else"}))


def _resign(bench: AuditBench) -> None:
    """Sign with a trusted key that may not sign answers."""
    record = bench.path("answers") / "record.json"
    statement = verify(record, bench.trust, signer="predict")
    record.write_bytes(bench.sign("answers", "ingest", statement.subjects, statement.predicate))


def _edit_record(bench: AuditBench) -> None:
    record = bench.path("answers") / "record.json"
    envelope = json.loads(record.read_bytes())
    envelope["payload"] = envelope["payload"][:-8] + "AAAA" + envelope["payload"][-4:]
    record.write_text(json.dumps(envelope))


@pytest.mark.parametrize("tamper", [_flip, _swap_truth, _swap_groups, _swap_spec, _resign, _edit_record])
def test_what_was_not_attested_is_not_judged(bench: AuditBench, tamper: Callable[[AuditBench], None]) -> None:
    bench.people(*FAIR)
    tamper(bench)
    result = bench.run()
    assert result.returncode == 3
    assert not bench.out("verdict").exists()
    assert "Traceback" not in result.stderr


def test_a_policy_that_is_not_the_pinned_one_is_refused(bench: AuditBench) -> None:
    bench.people(*FAIR)
    pins = json.dumps({"policy": "sha256:" + "0" * 64})
    result = bench.run(LOCKGATE_PINS=pins)
    assert result.returncode == 2
    assert "policy is not the one this workflow was rendered with" in result.stderr


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (POLICY.replace("at_most = 0.15", "at_most = 15"), "policy.toml:9: `at_most` = 15 is out of range"),
        (POLICY[: POLICY.index("[[bias]]")], "sensitive column `sex` has neither a rule nor an [[unaudited]] entry"),
        (POLICY.replace('["sex"]', '["sexe"]'), "`sexe` is not a sensitive column of this model"),
    ],
)
def test_a_policy_that_does_not_fit_is_a_bad_call(bench: AuditBench, policy: str, said: str) -> None:
    bench.policy = policy
    bench.people(*FAIR)
    result = bench.run()
    assert result.returncode == 2
    assert said in result.stderr


def test_fewer_answers_than_rows_are_refused(bench: AuditBench) -> None:
    truth, answers, sex = people(*FAIR)
    bench.fill(truth, answers[:-1], sex)
    result = bench.run()
    assert result.returncode == 2
    assert "has 3499 rows, but there are 3500 test rows" in result.stderr


def test_a_label_that_is_neither_is_a_bad_call_without_the_label(bench: AuditBench) -> None:
    truth, answers, sex = people(*FAIR)
    bench.fill(truth, ["CANARY", *answers[1:]], sex)
    result = bench.run()
    assert result.returncode == 2
    assert "neither high nor low" in result.stderr
    assert "CANARY" not in result.stderr


def test_the_same_call_gives_the_same_verdict(bench: AuditBench) -> None:
    bench.people(*UNFAIR)
    bench.run()
    first = (bench.verdict, bench.report)
    bench.run()
    assert (bench.verdict, bench.report) == first


def test_no_model_library_is_needed(bench: AuditBench) -> None:
    """The audit reads answers and never opens a model, so it must not import what opens one."""
    bench.people(*FAIR)
    code = (
        "import sys, runpy\nsys.argv = ['x']\ntry:\n    runpy.run_module('lockgate_bias_audit', run_name='__main__')\n"
        "finally:\n    heavy = {'pandas', 'sklearn', 'fairlearn', 'scipy'}\n"
        "    print(sorted({n.split('.')[0] for n in sys.modules} & heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LOCKGATE_IO": str(bench.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_null_data_pass_on_the_whole(bench: AuditBench) -> None:
    random = np.random.default_rng(3)
    sex = random.choice(["Male", "Female"], 6000).tolist()
    answers = random.choice(["high", "low"], 6000, p=[0.25, 0.75]).tolist()
    truth = random.choice(["high", "low"], 6000).tolist()
    bench.fill(truth, answers, sex)
    assert bench.run().returncode == 0
