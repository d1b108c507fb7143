"""Run validate-model as a workflow does, and check its exit code, its signed verdict and its page."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lockgate_step import file_digest, sha256

from tests.steps.gate_bench import Bench
from tests.steps.validate.tables import POLICY

ROWS = 1000
TRUTH = ["high" if at % 4 == 0 else "low" for at in range(ROWS)]


def wrong(share: float, seed: int = 0) -> list[str]:
    """Answers with this share of wrong labels."""
    flip = np.random.default_rng(seed).permutation(ROWS) < share * ROWS
    other = {"high": "low", "low": "high"}
    return [other[label] if turned else label for label, turned in zip(TRUTH, flip, strict=True)]


def scores(labels: list[str]) -> list[float]:
    return [0.9 if label == "high" else 0.1 for label in labels]


def fill(bench: Bench, labels: list[str], base: list[str] | None = None) -> None:
    bench.live = sha256(b"live") if base else bench.live
    bench.freeze({"truth": {"income": TRUTH}})
    bench.answer(labels, base=(base, scores(base)) if base else None)


def test_good_answers_pass_and_without_live_nothing_is_compared(model_bench: Bench) -> None:
    fill(model_bench, wrong(0.1))
    assert model_bench.run().returncode == 0
    assert model_bench.verdict["notes"] == ["no live version yet: nothing to compare with"]
    measured = model_bench.verdict["measurements"]["rules"]
    assert measured["quality:accuracy:at_least"]["value"] == 0.9
    assert measured["quality:accuracy:no_worse_than_live"]["standing"] == "no live"
    assert model_bench.statement.subjects == {
        **{name: sha256(name.encode()) for name in ("model", "data", "base")},
        "spec": file_digest(model_bench.path("spec")),
        "policy": file_digest(model_bench.path("policy")),
    }


@pytest.mark.parametrize(
    ("share", "result"), [(0.10, "passed"), (0.19, "inconclusive"), (0.21, "inconclusive"), (0.30, "refused")]
)
def test_a_floor_is_judged_on_the_interval(model_bench: Bench, share: float, result: str) -> None:
    fill(model_bench, wrong(share))
    assert model_bench.run().returncode == (0 if result == "passed" else 3)
    assert model_bench.verdict["result"] == result


def test_a_refusal_says_what_and_why(model_bench: Bench) -> None:
    fill(model_bench, wrong(0.3))
    model_bench.run()
    (reason,) = model_bench.verdict["reasons"]
    assert reason["message"] == "accuracy is below the limit of the policy"
    (line,) = reason["lines"]
    assert line.startswith("accuracy 0.700 on 1,000 rows, 95 % interval 0.671 to 0.728; policy.toml:3 requires at")
    assert reason["why"] == "Four answers in five must be right."
    assert "Accuracy is below the limit of the policy" in model_bench.report
    assert "<script" not in model_bench.report


def test_a_worse_candidate_is_refused_though_it_reaches_the_floor(model_bench: Bench) -> None:
    fill(model_bench, wrong(0.12), base=wrong(0.01))
    assert model_bench.run().returncode == 3
    (reason,) = model_bench.verdict["reasons"]
    assert reason["rule"] == "quality:accuracy:no_worse_than_live"
    assert reason["message"] == "accuracy is worse than the live version's by more than the policy allows"
    assert reason["lines"][:2] == ["this model  0.880", "live        0.990"]
    assert reason["lines"][2].startswith("gain -0.110, 95 % interval -0.1")


def test_pairing_decides_what_unpaired_intervals_could_not(model_bench: Bench) -> None:
    # Both versions are wrong on the same hard rows, so the whole interval of the gain -0.02 is above -0.05.
    labels, base = wrong(0.1), wrong(0.08)
    fill(model_bench, labels, base=base)
    assert model_bench.run().returncode == 0
    rule = model_bench.verdict["measurements"]["rules"]["quality:accuracy:no_worse_than_live"]
    assert rule["value"] == pytest.approx(-0.02)
    assert (rule["asks"], rule["limit"], rule["source"].partition(":")[0]) == (
        "no_worse_than_live", 0.05, "policy.toml",
    )  # fmt: skip
    assert rule["high"] - rule["low"] < 0.02
    assert "is no worse than the live version" in model_bench.report


def test_a_better_candidate_passes(model_bench: Bench) -> None:
    fill(model_bench, wrong(0.05), base=wrong(0.19, seed=1))
    assert model_bench.run().returncode == 0


def test_a_live_version_that_could_not_answer_is_inconclusive(model_bench: Bench) -> None:
    model_bench.live, model_bench.base_problem = sha256(b"live"), "it takes another column: wage"
    fill(model_bench, wrong(0.1))
    assert model_bench.run().returncode == 3
    assert model_bench.verdict["result"] == "inconclusive"
    (reason,) = model_bench.verdict["reasons"]
    assert "could not answer these rows" in reason["message"]
    assert reason["lines"] == ["the live version: it takes another column: wage"]


def test_live_answers_left_out_are_refused(model_bench: Bench) -> None:
    model_bench.live = sha256(b"live")
    fill(model_bench, wrong(0.1))
    result = model_bench.run()
    assert result.returncode == 3
    assert "neither its answers nor a reason" in result.stderr
    assert not model_bench.out("verdict").exists()


def test_every_kind_of_rule(model_bench: Bench) -> None:
    rule = '[[quality]]\nmeasure = "{}"\n{} = {}\nwhy = "x"\n'
    rules = [
        rule.format(name, "at_least", 0.5) for name in ("balanced_accuracy", "precision", "recall", "f1", "roc_auc")
    ]
    rules += [rule.format("brier", "at_most", 0.3)]
    rules += [rule.format(name, "no_worse_than_live_by", 0.1) for name in ("f1", "roc_auc", "brier", "recall")]
    model_bench.policy = POLICY + "\n".join(rules)
    fill(model_bench, wrong(0.08), base=wrong(0.1))
    assert model_bench.run().returncode == 0, model_bench.verdict["reasons"]
    assert len(model_bench.verdict["measurements"]["rules"]) == 12
    model_bench.policy = model_bench.policy.replace("at_most = 0.3", "at_most = 0.03")
    fill(model_bench, wrong(0.08), base=wrong(0.1))
    assert model_bench.run().returncode == 3
    assert model_bench.verdict["reasons"][0]["message"] == "brier is above the limit of the policy"


def test_one_class_or_no_row_is_inconclusive(model_bench: Bench) -> None:
    model_bench.policy = POLICY.replace('"accuracy"', '"recall"', 1)
    model_bench.freeze({"truth": {"income": ["low"] * 200}})
    model_bench.answer(["low"] * 150 + ["high"] * 50)
    assert model_bench.run().returncode == 3
    assert model_bench.verdict["result"] == "inconclusive"
    model_bench.freeze({"truth": {"income": []}})
    model_bench.answer([])
    assert model_bench.run().returncode == 3
    assert model_bench.verdict["result"] == "inconclusive"


def test_small_counts_of_the_confusion_are_not_shown(model_bench: Bench) -> None:
    fill(model_bench, [*wrong(0)[:-3], *("high" if label == "low" else label for label in TRUTH[-3:])])
    assert model_bench.run().returncode == 0
    assert "fewer than 10" in model_bench.report
    assert "747" not in model_bench.report


def _flip_answers(bench: Bench) -> None:
    table = pa.table({"label": TRUTH, "score": scores(TRUTH)})
    pq.write_table(table, bench.path("answers") / "answers.parquet")


def _flip_base(bench: Bench) -> None:
    table = pa.table({"label": wrong(1.0), "score": scores(wrong(1.0))})
    pq.write_table(table, bench.path("answers") / "base.parquet")


def _drop_base(bench: Bench) -> None:
    (bench.path("answers") / "base.parquet").unlink()


def _swap_truth(bench: Bench) -> None:
    pq.write_table(pa.table({"income": wrong(0.3)}), bench.path("truth"))


def _other_data(bench: Bench) -> None:
    """Use a signed data record of another run."""
    bench.live = sha256(b"another")
    bench.data_subjects = {}
    answers = (bench.path("answers") / "record.json").read_bytes()
    pq.write_table(pa.table({"income": wrong(0.3)}), bench.path("truth"))
    bench.attest()
    subjects = bench.data_subjects | {"data": sha256(b"other data")}
    frozen = {"model": "tiny", "rows": {"train": 0, "test": ROWS}, "base": {"bundle": None, "generation": 0}}
    bench.path("data").write_bytes(bench.sign("data", "ingest", subjects, frozen))
    (bench.path("answers") / "record.json").write_bytes(answers)


@pytest.mark.parametrize("tamper", [_flip_answers, _flip_base, _drop_base, _swap_truth, _other_data])
def test_what_was_not_attested_is_not_judged(model_bench: Bench, tamper: Callable[[Bench], None]) -> None:
    fill(model_bench, wrong(0.3), base=wrong(0.3))
    tamper(model_bench)
    result = model_bench.run()
    assert result.returncode == 3
    assert not model_bench.out("verdict").exists()
    assert "Traceback" not in result.stderr


def test_a_policy_that_is_not_the_pinned_one_is_refused(model_bench: Bench) -> None:
    fill(model_bench, wrong(0.1))
    result = model_bench.run(LOCKGATE_PINS=json.dumps({"policy": sha256(b"another")}))
    assert result.returncode == 2
    assert "policy is not the one this workflow was rendered with" in result.stderr


@pytest.mark.parametrize("score", [None, 1.5, float("nan")])
def test_a_score_that_cannot_be_is_refused(model_bench: Bench, score: float | None) -> None:
    model_bench.freeze({"truth": {"income": TRUTH}})
    model_bench.answer(TRUTH, [score, *scores(TRUTH)[1:]])
    result = model_bench.run()
    assert result.returncode == 3
    assert not model_bench.out("verdict").exists()
    assert "has scores that are not numbers from 0 to 1" in result.stderr


def test_nothing_heavy_is_imported(model_bench: Bench) -> None:
    """Great Expectations is in the same image, and takes seconds to import."""
    fill(model_bench, wrong(0.1), base=wrong(0.1))
    code = (
        "import runpy, sys\nsys.argv = ['x', 'validate-model']\ntry:\n"
        "    runpy.run_module('lockgate_validate', run_name='__main__')\nfinally:\n"
        "    heavy = {'pandas', 'great_expectations', 'scipy', 'sklearn', 'altair'}\n"
        "    print(sorted({n.split('.')[0] for n in sys.modules} & heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LOCKGATE_IO": str(model_bench.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("label", ["high", "low"])
def test_constant_answers_are_refused(model_bench: Bench, label: str) -> None:
    """Calling everyone low is right in three of four cases here; a policy that asks for less must not let it pass."""
    model_bench.policy = '[[quality]]\nmeasure = "accuracy"\nat_least = 0.1\nwhy = "A low bar."\n'
    model_bench.policy += '[[unaudited]]\ncolumn = "sex"\nwhy = "Not now."\n'
    fill(model_bench, [label] * ROWS)
    assert model_bench.run().returncode == 3
    assert model_bench.verdict["result"] == "refused"
    (reason,) = model_bench.verdict["reasons"]
    assert reason["rule"] == "quality:constant"
    assert reason["message"] == f"every answer is {label}: the model tells no row from another"
