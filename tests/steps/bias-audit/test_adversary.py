"""Nothing passes by being left out: small groups, groups without positives, broken and constant answers, no rule."""

import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_bias_audit.audit import Audit, audit
from lockgate_bias_audit.groups import Column, group
from lockgate_bias_audit.verdict import Wording, judgement
from lockgate_policy import Policy, read
from lockgate_step import Inconclusive, NotJudged, Passed, Refused

from tests.steps.audit_bench import POLICY, AuditBench, people

TODAY = datetime.now(UTC).date()
RULE = "bias:sex:selection_rate_difference"
Group = tuple[str | None, int, int]  # name, rows, selected
BIG: tuple[Group, ...] = (("Male", 2000, 500), ("Female", 2000, 500))


def accepting(value: str, *, days: int = 30, column: str = "sex") -> str:
    until = TODAY + timedelta(days=days)
    return f'\n[[accepted_small_group]]\ncolumn = "{column}"\nvalue = "{value}"\nwhy = "New region."\nuntil = {until}\n'


def listed(bench: AuditBench, *names: str) -> None:
    bench.spec["sensitive"][0]["values"] = ["Female", "Male", *names]


def truths(bench: AuditBench, *groups: tuple[str, int, int, int]) -> None:
    """Groups of (name, rows, truly positive, found of them)."""
    truth: list[str] = []
    answers: list[str] = []
    sex: list[str | None] = []
    for name, rows, positive, found in groups:
        truth += ["high"] * positive + ["low"] * (rows - positive)
        answers += ["high"] * found + ["low"] * (rows - found)
        sex += [name] * rows
    bench.fill(truth, answers, sex)


def test_a_large_group_with_few_positives_is_named_and_refused(bench: AuditBench) -> None:
    listed(bench, "C")
    bench.policy = POLICY.replace("selection_rate", "true_positive_rate")
    truths(bench, ("Male", 5000, 1500, 1350), ("Female", 5000, 1500, 1350), ("C", 5000, 29, 0))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "refused"
    (reason,) = bench.verdict["reasons"]
    assert reason["message"].startswith("by sex, if the truth is high, the answer is high more often for ")
    assert reason["message"].endswith(" than for C")
    assert "C " in reason["lines"][1]
    assert reason["lines"][1].endswith("of    29 that are high")
    assert "interval 0." in reason["lines"][2]
    assert reason["lines"][3] == "left out: C (29 rows that are high)"
    (rule,) = bench.verdict["measurements"]["rules"].values()
    assert rule["left_out"] == [{"group": "C", "rows": "29", "accepted_until": None}]
    assert rule["left_out_share"] == "33.3 % of the rows"
    assert rule["compared"][1] == "C"
    assert "left out: C (29 rows that are high)" in bench.report


def test_a_group_without_any_positive_is_left_out_and_said_so(bench: AuditBench) -> None:
    listed(bench, "C")
    bench.policy = POLICY.replace("selection_rate", "true_positive_rate")
    truths(bench, ("Male", 5000, 1500, 1350), ("Female", 5000, 1500, 1350), ("C", 5000, 0, 0))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "inconclusive"
    (reason,) = bench.verdict["reasons"]
    assert reason["message"] == "by sex, too small to judge: C, with 33.3 % of the rows"
    assert "left out: C (fewer than 10 rows that are high)" in reason["lines"]


def test_a_high_minimum_support_hides_no_group(bench: AuditBench) -> None:
    listed(bench, "C")
    bench.policy = POLICY + "\n[settings]\nminimum_support = 2000\n"
    bench.people(("Male", 3000, 750), ("Female", 3000, 750), ("C", 1900, 0))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "refused"
    assert bench.verdict["measurements"]["rules"][RULE]["left_out"][0]["rows"] == "1,900"
    # A group that is not beyond the limit is not passed either.
    bench.people(("Male", 3000, 750), ("Female", 3000, 750), ("C", 1900, 400))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "inconclusive"
    assert bench.verdict["reasons"][0]["message"] == "by sex, too small to judge: C, with 24.1 % of the rows"


def test_a_small_group_that_the_policy_accepts_by_name_is_named_everywhere(bench: AuditBench) -> None:
    listed(bench, "C")
    bench.policy = POLICY + "\n[settings]\nminimum_support = 2000\n" + accepting("C")
    bench.people(("Male", 3000, 750), ("Female", 3000, 750), ("C", 1900, 0))
    assert bench.run().returncode == 0
    assert bench.verdict["result"] == "passed"
    (note,) = bench.verdict["notes"]
    assert note.startswith("left out by sex: C (1,900 rows), 24.1 % of the rows, accepted until ")
    assert "New region." in note
    assert note.endswith("; its whole interval is beyond the limit")
    assert "Left out by sex, too small to judge: C (1,900 rows)" in bench.report.split("<section>")[0]
    assert 'class="banner unsure"' in bench.report


@pytest.mark.parametrize("more", [accepting("C", days=-1), accepting("D")])
def test_an_expired_acceptance_or_that_of_another_group_accepts_nothing(bench: AuditBench, more: str) -> None:
    listed(bench, "C")
    bench.policy = POLICY + more
    bench.people(*BIG, ("C", 29, 7))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "inconclusive"
    assert any("expired on" in note or "is not left out" in note for note in bench.verdict["notes"])


def test_many_small_groups_are_judged_together(bench: AuditBench) -> None:
    names = [f"Region {at}" for at in range(40)]
    listed(bench, *names)
    small: tuple[Group, ...] = tuple((name, 29, 0) for name in names)
    bench.people(*BIG, *small)
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "refused"
    (reason,) = bench.verdict["reasons"]
    assert reason["message"].endswith("is selected more often than all small groups together")
    assert "of 1,160" in reason["lines"][1]
    assert all(name in reason["lines"][-1] for name in names)
    assert bench.verdict["measurements"]["rules"][RULE]["left_out_share"] == "22.5 % of the rows"
    # To accept each of them by name does not excuse all of them together.
    bench.policy = POLICY + "".join(accepting(name) for name in names)
    bench.people(*BIG, *small)
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "refused"
    bench.people(*BIG, *((name, 29, 7) for name in names))
    assert bench.run().returncode == 0


def test_rows_without_a_group_are_not_forgotten(bench: AuditBench) -> None:
    bench.people(*BIG, (None, 29, 0))
    assert bench.run().returncode == 3
    assert bench.verdict["reasons"][0]["message"] == "by sex, too small to judge: (missing), with 0.7 % of the rows"
    bench.policy = POLICY + accepting("(missing)")
    bench.people(*BIG, (None, 29, 0))
    assert bench.run().returncode == 0


def test_no_count_below_ten_is_named(bench: AuditBench) -> None:
    listed(bench, "C")
    bench.people(*BIG, ("C", 7, 0))
    result = bench.run()
    assert result.returncode == 3
    reason = bench.verdict["reasons"][0]
    assert reason["message"] == "by sex, too small to judge: C, with under 0.3 % of the rows"
    assert "left out: C (fewer than 10 rows)" in reason["lines"]


def test_a_size_that_is_not_shown_is_said_in_words(bench: AuditBench) -> None:
    """With the sizes of both other groups, the total would give the small one away."""
    listed(bench, "C")
    bench.people(("Male", 2000, 500), ("Female", 300, 60), ("C", 7, 0))
    assert bench.run().returncode == 3
    high, low, *_ = bench.verdict["reasons"][0]["lines"]
    assert high.endswith(" %  of 2,000"), high
    assert low.endswith(" %  size not shown"), low


def test_a_rule_that_accepting_leaves_with_one_group_names_the_way_out(bench: AuditBench) -> None:
    """Then no acceptance decides it, but more rows do: the accepted groups are judged again when they have enough."""
    bench.people(("Male", 2000, 500), ("Female", 20, 10))
    assert bench.run().returncode == 3
    before = next(line for line in bench.verdict["reasons"][0]["lines"] if "would decide it" in line)
    bench.policy = POLICY + accepting("Female")
    bench.people(("Male", 2000, 500), ("Female", 20, 10))
    assert bench.run().returncode == 3
    (reason,) = bench.verdict["reasons"]
    assert reason["message"] == "by sex, nothing can be compared: fewer than two groups are large enough to judge"
    assert "left out, as accepted: Female (20 rows)" in reason["lines"]
    assert reason["lines"][-1] == before


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1, None])
def test_broken_scores_are_refused(bench: AuditBench, score: float | None) -> None:
    truth, answers, sex = people(*BIG)
    bench.fill(truth, answers, sex)
    bench.answer(answers, [score] * len(answers))
    result = bench.run()
    assert result.returncode == 3
    assert "the answers are broken: 4,000 of 4,000 scores are not numbers from 0 to 1" in result.stderr
    assert not bench.out("verdict").exists()


@pytest.mark.parametrize(("selected", "label"), [(0, "low"), (2000, "high")])
@pytest.mark.parametrize(
    "policy", [POLICY, POLICY.replace("difference", "ratio").replace("at_most = 0.15", "at_least = 0.8")]
)
def test_constant_answers_do_not_pass(bench: AuditBench, policy: str, selected: int, label: str) -> None:
    bench.policy = policy
    bench.people(("Male", 2000, selected), ("Female", 2000, selected))
    assert bench.run().returncode == 3
    messages = [reason["message"] for reason in bench.verdict["reasons"]]
    assert f"every answer is {label}, so equal rates show nothing about fairness" in messages
    (rule,) = bench.verdict["measurements"]["rules"].values()
    assert sorted(rule["compared"]) == ["Female", "Male"]


@pytest.mark.parametrize("selected", [500, 0, 2000])
def test_equal_groups_are_two_groups(bench: AuditBench, selected: int) -> None:
    bench.policy = POLICY.replace("at_most = 0.15", "at_most = 0.0")
    truth, answers, sex = people(("Male", 2000, selected), ("Female", 2000, selected))
    bench.fill(truth, answers, sex)
    assert bench.run().returncode == 3
    reason = bench.verdict["reasons"][0]
    assert {line.split()[0] for line in reason["lines"][:2]} == {"Female", "Male"}
    assert reason["lines"][-1] == (
        "with these groups a fair model passes 0 % of the time; no number of rows would decide it, "
        f"but a limit of {0.05 if selected == 500 else 0.01} would"
    )


def test_the_power_is_stated_with_an_undecided_rule_and_on_the_page(bench: AuditBench) -> None:
    bench.people(("Male", 60, 15), ("Female", 60, 15))
    assert bench.run().returncode == 3
    power = bench.verdict["reasons"][0]["lines"][-1]
    assert power.startswith("with these groups a fair model passes ")
    assert re.search("; about 3[0-9]0 test rows, or a limit of 0.2[0-9], would decide it$", power)
    rule = bench.verdict["measurements"]["rules"][RULE]
    assert rule["fair_model_passes"] < 0.3
    assert 300 <= rule["rows_to_decide"] <= 500
    assert 0.2 <= rule["limit_to_decide"] < 0.3
    assert "With these groups a fair model passes " in bench.report


def test_a_gap_close_to_the_limit_is_not_for_want_of_rows(bench: AuditBench) -> None:
    bench.people(("Male", 2000, 840), ("Female", 2000, 520))
    assert bench.run().returncode == 3
    (reason,) = bench.verdict["reasons"]
    assert reason["message"].endswith("than the policy allows: the gap is too close to the limit to decide")
    assert (
        reason["lines"][-1] == "with these groups a fair model passes 100 % of the time: the gap is close to the limit"
    )
    rule = bench.verdict["measurements"]["rules"][RULE]
    assert (rule["standing"], rule["rows_to_decide"], rule["limit_to_decide"]) == ("undecided", None, None)


def test_what_refuses_comes_before_what_is_undecided(bench: AuditBench) -> None:
    undecided = POLICY[POLICY.index("[[bias]]") :].replace("selection_rate", "accuracy")
    bench.policy = undecided + "\n" + POLICY
    bench.people(("Male", 60, 55), ("Female", 60, 5))
    assert bench.run().returncode == 3
    assert bench.verdict["result"] == "refused"
    standings = [bench.verdict["measurements"]["rules"][r["rule"]]["standing"] for r in bench.verdict["reasons"]]
    assert (len(standings), standings[0], "undecided" in standings) == (2, "beyond", True)


def test_a_hidden_gap_is_said_to_be_hidden(bench: AuditBench) -> None:
    bench.people(("Male", 2000, 4), ("Female", 2000, 3))
    assert bench.run().returncode == 0
    assert "not shown: few people" in bench.report
    assert ">–" not in bench.report


def test_without_a_limit_nothing_is_passed(bench: AuditBench) -> None:
    bench.policy = POLICY.replace("at_most = 0.15", "reported_only = true")
    bench.people(*BIG)
    assert bench.run().returncode == 0
    assert bench.verdict["result"] == "not_judged"
    assert bench.verdict["notes"][0] == "not judged: no rule of the policy has a limit between groups"
    assert '<p class="verdict">Not judged</p>' in bench.report
    assert "Passed" not in bench.report


def test_without_any_rule_nothing_is_passed(bench: AuditBench) -> None:
    bench.policy = POLICY[: POLICY.index("[[bias]]")] + '[[unaudited]]\ncolumn = "sex"\nwhy = "Not now."\n'
    bench.people(*BIG)
    assert bench.run().returncode == 0
    assert bench.verdict["result"] == "not_judged"


def test_the_part_of_small_groups_reveals_no_hidden_count(bench: AuditBench) -> None:
    """7 rows are hidden, so neither the part of 7 and 25 rows together nor their pooled rate may be exact."""
    listed(bench, "B", "D")
    bench.people(("Male", 500, 250), ("Female", 487, 243), ("B", 7, 0), ("D", 25, 0))
    result = bench.run()
    assert result.returncode == 3
    said = bench.everything(result)
    assert "3.1 %" not in said  # 32 of 1,019
    assert "of 32" not in said
    assert bench.verdict["measurements"]["rules"][RULE]["left_out_share"] in (
        "under 3.5 % of the rows", "a part of the rows that is not shown",
    )  # fmt: skip


# Laws


def audited(groups: list[tuple[str, int, int]], more: str = "") -> tuple[Audit, object]:
    names = sorted({name for name, _, _ in groups})
    codes = np.concatenate([np.full(rows, names.index(name)) for name, rows, _ in groups])
    predicted = np.concatenate([np.arange(rows) < selected for _, rows, selected in groups])
    policy: Policy = read((POLICY + more + "\n[settings]\nresamples = 200\n").encode())
    columns = {"sex": Column("sex", tuple(names), codes)}
    found = audit(columns, np.arange(len(codes)) % 2 == 0, predicted, policy, seed=0)
    outcome = judgement(found, Wording("high", "low", policy), model="m", subjects={"model": "sha256:0"})
    return found, outcome


ROWS = st.one_of(st.integers(1, 40), st.integers(100, 3000))
GROUPS = st.lists(st.tuples(ROWS, st.floats(0, 1)), min_size=2, max_size=6).map(
    lambda each: [(f"g{at}", rows, round(rows * share)) for at, (rows, share) in enumerate(each)]
)


@settings(max_examples=60, deadline=None)
@given(GROUPS)
def test_every_group_is_judged_or_named(groups: list[tuple[str, int, int]]) -> None:
    found, outcome = audited(groups)
    (judged,) = found.judged
    left = {judged.grouped.names[each.group] for each in judged.left}
    assert left == {name for name, rows, _ in groups if rows < 30}
    assert isinstance(outcome, Passed | Refused | Inconclusive)
    if left:
        assert not isinstance(outcome, Passed)
        said = outcome.measurements["rules"][RULE]["left_out"]  # type: ignore[index]
        assert {each["group"] for each in said} == left


@settings(max_examples=60, deadline=None)
@given(GROUPS, ROWS)
def test_a_group_beyond_the_limit_never_makes_a_pass(groups: list[tuple[str, int, int]], rows: int) -> None:
    rates = [selected / size for _, size, selected in groups]
    worst = 0 if max(rates) > 0.5 else rows  # a gap of at least a half
    _, outcome = audited([*groups, ("new", rows, worst)])
    assert not isinstance(outcome, Passed | NotJudged)


@settings(max_examples=60, deadline=None)
@given(GROUPS, st.randoms(use_true_random=False))
def test_names_and_their_order_change_nothing(groups: list[tuple[str, int, int]], random: object) -> None:
    names = [name for name, _, _ in groups]
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    renamed = [(other, rows, selected) for other, (_, rows, selected) in zip(shuffled, groups, strict=True)]
    (one, first), (two, second) = audited(groups), audited(renamed)
    assert type(first) is type(second)
    before, after = (each.judged[0].gap for each in (one, two))
    assert (before and before.measured) == (after and after.measured)


# Groups without a test row: the spec names them, or the model learned from them


def without_test_rows(bench: AuditBench, **trained: list[str | None]) -> None:
    truth, answers, sex = people(*BIG)
    more = {name: ["North", "South"] * (len(sex) // 2) for name in trained if name != "sex"}
    bench.fill(truth, answers, sex, {"sex": sex[: len(next(iter(trained.values())))], **trained}, **more)


def said_of(bench: AuditBench) -> tuple[str, list[str]]:
    """The message of the only reason, and the groups that are left out."""
    (reason,) = bench.verdict["reasons"]
    (rule,) = bench.verdict["measurements"]["rules"].values()
    return reason["message"], [each["group"] for each in rule["left_out"]]


def test_a_listed_group_without_a_test_row_is_left_out_by_name(bench: AuditBench) -> None:
    listed(bench, "C")
    bench.people(*BIG)
    result = bench.run()
    assert result.returncode == 3
    assert bench.verdict["result"] == "inconclusive"
    assert said_of(bench) == ("by sex, too small to judge: C, with under 0.3 % of the rows", ["C"])
    (reason,) = bench.verdict["reasons"]
    assert "left out: C (fewer than 10 rows)" in reason["lines"]
    assert '[[accepted_small_group]] with column = "sex"' in " ".join(reason["lines"])
    assert reason["lines"][-1].startswith("with these groups a fair model passes 0 % of the time; about ")
    shown = {each["group"]: each["rows"] for each in bench.verdict["measurements"]["groups"]["sex"]}
    assert shown["C"] is None
    assert "C</th>" in bench.report
    assert "(0 rows" not in bench.everything(result)

    bench.policy = POLICY + accepting("C")
    bench.people(*BIG)
    assert bench.run().returncode == 0
    (note,) = bench.verdict["notes"]
    assert note.startswith("left out by sex: C (fewer than 10 rows), under 0.3 % of the rows, accepted until ")


@pytest.mark.parametrize("measure", ["selection_rate_ratio", "equalized_odds_difference", "accuracy_difference"])
def test_every_measure_names_it(bench: AuditBench, measure: str) -> None:
    listed(bench, "C")
    limit = "at_least = 0.5" if measure.endswith("ratio") else "at_most = 0.9"
    bench.policy = POLICY.replace("selection_rate_difference", measure).replace("at_most = 0.15", limit)
    bench.people(*BIG)
    assert bench.run().returncode == 3
    assert said_of(bench)[1] == ["C"]


def test_a_band_without_a_test_row_is_left_out_unless_no_value_can_be_in_it(bench: AuditBench) -> None:
    bench.spec["sensitive"].append({"name": "age", "kind": "number", "low": 18, "high": 90, "whole": True})
    bench.spec["sensitive"][1]["bands"] = [10, 25, 60]
    bench.policy = POLICY.replace('["sex"]', '["age"]') + '[[unaudited]]\ncolumn = "sex"\nwhy = "Not this."\n'
    truth, answers, sex = people(*BIG)
    bench.fill(truth, answers, sex, age=["10 to 24", "25 to 59"] * 2000)
    assert bench.run().returncode == 3
    assert said_of(bench)[1] == ["60 and over"]
    # A value below the lowest of the spec has its band all the same.
    bench.fill(truth, answers, sex, {"sex": ["Male"], "age": ["under 10"]}, age=["10 to 24", "25 to 59"] * 2000)
    assert bench.run().returncode == 3
    assert said_of(bench)[1] == ["under 10", "60 and over"]


def test_rows_without_a_value_that_only_the_training_share_has_are_a_group(bench: AuditBench) -> None:
    without_test_rows(bench, sex=["Female", "Male", None])
    assert bench.run().returncode == 3
    assert said_of(bench)[1] == ["(missing)"]


def test_an_intersection_of_the_training_share_without_a_test_row_is_left_out(bench: AuditBench) -> None:
    """Female & East was learned from; no row is Male & East, so that may be impossible; nobody is from the West."""
    region = {"name": "region", "kind": "category", "values": ["North", "South", "East", "West"], "missing": True}
    bench.spec["sensitive"].append(region)
    bench.policy = POLICY.replace('["sex"]', '["sex", "region"]')
    without_test_rows(bench, sex=["Female", "Male"], region=["East", "North"])
    assert bench.run().returncode == 3
    message, left = said_of(bench)
    assert message.startswith("by sex and region, too small to judge: Female & East, (any) & West, with under ")
    assert left == ["Female & East", "(any) & West"]
    accepted = [accepting(value, column="sex+region") for value in left]
    bench.policy += accepted[0]
    without_test_rows(bench, sex=["Female", "Male"], region=["East", "North"])
    assert bench.run().returncode == 3
    bench.policy += accepted[1]
    without_test_rows(bench, sex=["Female", "Male"], region=["East", "North"])
    assert bench.run().returncode == 0


def test_a_group_that_no_rule_limits_is_noted(bench: AuditBench) -> None:
    listed(bench, "C")
    bench.policy = POLICY.replace("at_most = 0.15", "reported_only = true")
    bench.people(*BIG)
    assert bench.run().returncode == 0
    assert "by sex, too small to compare: C (fewer than 10 rows)" in bench.verdict["notes"]


def test_the_groups_of_the_training_share_must_be_given(bench: AuditBench) -> None:
    bench.people(*BIG)
    bench.path("train_sensitive").unlink()
    result = bench.run()
    assert result.returncode == 2
    assert "the model's sensitive columns are missing: sex" in result.stderr
    assert "`train_sensitive`" in result.stderr


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=60), st.lists(st.integers(0, 3), max_size=8))
def test_every_named_or_learned_group_is_a_group(tested: list[int], trained: list[int]) -> None:
    names = ("a", "b", "c", "d")
    column = Column("sex", names, np.array(tested), np.array(trained, dtype=np.int64), named=(0, 2))
    truth = np.zeros(len(tested), dtype=np.bool_)
    grouped = group({"sex": column}, ["sex"], truth, truth)
    sizes = dict(zip(grouped.names, grouped.sizes.tolist(), strict=True))
    assert sizes == {names[at]: tested.count(at) for at in sorted({*tested, *trained, 0, 2})}
