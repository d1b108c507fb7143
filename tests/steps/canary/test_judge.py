"""What a candidate's counts mean under a policy: each measure, each result, and the sentences of a refusal."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_canary import sequential
from lockgate_canary.counts import Counts
from lockgate_canary.judge import Judged, Judgement, judge
from lockgate_canary.measures import Stage, ratio_of
from lockgate_policy import Policy, read
from lockgate_step import BadCall

FLOOR = '[[quality]]\nmeasure = "accuracy"\nat_least = 0.8\nwhy = "It must be of use."\n'
BUCKETS = (50.0, 100.0, 250.0, math.inf)


def policy(*rules: tuple[str, str]) -> Policy:
    """A policy with these canary rules: measure and limit."""
    tables = [f'[[canary]]\nmeasure = "{measure}"\n{limit}\nwhy = "Users rely on it."\n' for measure, limit in rules]
    return read((FLOOR + "".join(tables)).encode())


def version(requests: int, *, errors: float = 0.0, refused: float = 0.0, yes: float = 0.3, slow: float = 0.0) -> Counts:
    """Counts at these rates. slow: the share that took 100 to 250 ms; all others took less than 50 ms."""
    late = round(slow * requests)
    return Counts(
        requests=requests,
        errors=round(errors * requests),
        refused=round(refused * requests),
        latency=dict(zip(BUCKETS, (requests - late, 0, late, 0), strict=True)),
        answers={"yes": round(yes * requests), "no": requests - round(yes * requests)},
    )


def one(
    rule: tuple[str, str], candidate: Counts, live: Counts, *, over: bool = True, shadow: bool = False
) -> Judgement:
    """Judge one rule on one stage with equal shares."""
    return judge(policy(rule), [Stage(candidate, live, 1.0)], over=over, shadow=shadow)


def only(judgement: Judgement) -> Judged:
    """The one rule."""
    (judged,) = judgement.judged
    return judged


MARGIN = "no_worse_than_live_by = 0.01"
CASES = [
    (("error_rate", "at_most = 0.02"), {"errors": 0.01}, {"errors": 0.01}, "within"),
    (("error_rate", "at_most = 0.02"), {"errors": 0.03}, {"errors": 0.03}, "beyond"),
    (("error_rate", "at_most = 0.02"), {"errors": 0.02}, {}, "undecided"),
    (("error_rate", MARGIN), {"errors": 0.02}, {"errors": 0.02}, "within"),
    (("error_rate", MARGIN), {"errors": 0.04}, {"errors": 0.02}, "beyond"),
    (("error_rate", MARGIN), {"errors": 0.03}, {"errors": 0.02}, "undecided"),
    (("error_rate", MARGIN), {"errors": 0.0}, {"errors": 0.02}, "within"),
    (("refused_inputs_rate", "at_most = 0.1"), {"refused": 0.05}, {}, "within"),
    (("refused_inputs_rate", MARGIN), {"refused": 0.09}, {"refused": 0.05}, "beyond"),
    (("answer_shift", "at_most = 0.05"), {"yes": 0.3}, {"yes": 0.3}, "within"),
    (("answer_shift", "at_most = 0.05"), {"yes": 0.4}, {"yes": 0.3}, "beyond"),
    (("answer_shift", "at_most = 0.05"), {"yes": 0.2}, {"yes": 0.3}, "beyond"),
    (("answer_shift", "at_most = 0.05"), {"yes": 0.35}, {"yes": 0.3}, "undecided"),
    (("answer_shift", "at_most = 0.05"), {"yes": 0.0}, {"yes": 0.0}, "within"),
    (("p99_ms", "at_most = 50"), {"slow": 0.001}, {}, "within"),
    (("p99_ms", "at_most = 50"), {"slow": 0.03}, {}, "beyond"),
    (("p99_ms", "at_most = 50"), {"slow": 0.01}, {}, "undecided"),
    (("p99_ms", "at_most = 100"), {"slow": 0.03}, {}, "beyond"),
    (("p99_ms", "at_most = 250"), {"slow": 0.03}, {}, "within"),
    (("p99_ms", "no_worse_than_live_by = 50"), {"slow": 0.001}, {"slow": 0.001}, "within"),
    (("p99_ms", "no_worse_than_live_by = 50"), {"slow": 0.03}, {"slow": 0.001}, "beyond"),
    (("p99_ms", "no_worse_than_live_by = 51"), {"slow": 0.03}, {"slow": 0.001}, "undecided"),  # 51 to 250 ms more
    (("p99_ms", "no_worse_than_live_by = 50"), {"slow": 0.03}, {"slow": 0.03}, "undecided"),  # within one bucket
    (("p99_ms", "no_worse_than_live_by = 150"), {"slow": 0.03}, {"slow": 0.03}, "within"),
]


@pytest.mark.parametrize(("rule", "candidate", "live", "standing"), CASES)
def test_each_measure(
    rule: tuple[str, str], candidate: dict[str, float], live: dict[str, float], standing: str
) -> None:
    enough = version(20_000, **candidate), version(20_000, **live)
    assert only(one(rule, *enough)).standing == standing
    few = version(20, **candidate), version(20, **live)
    assert only(one(rule, *few)).standing == "undecided"
    results = {"within": "passed", "beyond": "refused", "undecided": "inconclusive"}
    assert one(rule, *enough).result == results[standing]
    assert one(rule, *enough, over=False).result == ("refused" if standing == "beyond" else "continue")


def test_a_shadow_is_judged_by_its_answers_beside_lives() -> None:
    rule = ("disagreement_rate", "at_most = 0.02")
    copies = replace(version(5000), compared=5000, disagreed=200)
    assert one(rule, copies, version(50_000), shadow=True).result == "refused"
    assert one(rule, replace(copies, disagreed=30), version(50_000), shadow=True).result == "passed"
    assert only(one(rule, version(5000), version(50_000), shadow=True)).measured.interval is None
    with pytest.raises(BadCall, match=r"policy.toml:7: disagreement_rate needs the rollout Shadow"):
        one(rule, copies, version(50_000))


def test_many_labels() -> None:
    live = replace(version(20_000), answers={"a": 10_000, "b": 6_000, "c": 4_000, "d": 0})
    moved = replace(live, answers={"a": 8_000, "b": 6_000, "c": 4_000, "d": 2_000})  # a distance of 0.1
    rule = ("answer_shift", "at_most = 0.05")
    assert one(rule, moved, live).result == "refused"
    measured = only(one(rule, moved, live)).measured
    assert measured.interval is not None
    assert measured.interval.value == pytest.approx(0.1)
    assert measured.interval.low < 0.1 < measured.interval.high
    assert one(("answer_shift", "at_most = 0.06"), live, live).result == "passed"


def test_three_labels_share_the_error_probability() -> None:
    candidate = replace(version(1000), answers={"a": 500, "b": 300, "c": 200})
    live = replace(version(1000), answers={"a": 400, "b": 350, "c": 250})
    measured = only(one(("answer_shift", "at_most = 0.05"), candidate, live)).measured
    moved = zip((500, 300, 200), (400, 350, 250), strict=True)
    each = np.array([sequential.difference([sequential.Stage(n, 1000, m, 1000)], 0.05 / 3) for n, m in moved])
    low, high = each.T
    assert measured.interval is not None
    assert measured.interval.low == pytest.approx(low[0])  # only the first label surely differs
    assert measured.interval.high == pytest.approx(min(high.clip(0).sum(), (-low).clip(0).sum()))


def test_p99_is_compared_with_lives_slowest_and_fastest_stage() -> None:
    """When both versions become slower, the candidate has most of its requests in the slow stage."""
    fast, slow = {"slow": 0.001}, {"slow": 0.05}
    stages = [
        Stage(version(1000, **fast), version(19_000, **fast), 1 / 19),
        Stage(version(20_000, **slow), version(20_000, **slow), 1.0),
    ]
    found = judge(policy(("p99_ms", "no_worse_than_live_by = 50")), stages, over=True)
    measured = only(found).measured
    assert measured.interval is not None
    assert (measured.candidate, measured.live) == (250, 250)
    assert measured.interval.low == pytest.approx(100 - 250)
    assert measured.interval.high == pytest.approx(250 - 0)
    assert only(found).standing == "undecided"


@pytest.mark.parametrize("waiting", [0, 1])
def test_p99_of_live_is_known_with_its_part_of_the_error_probability(waiting: int) -> None:
    alpha = 0.05 / 2 / (1 + waiting) / 2  # the versions, the stages, the two sides
    enough = next(n for n in range(100, 10_000) if sequential.rejects(0, n, 0.01, -1, alpha))
    more = [Stage(Counts(), Counts(), 1.0)] * waiting
    for requests, known in ((enough - 1, False), (enough, True)):
        stages = [Stage(version(20_000), version(requests), 1.0), *more]
        measured = only(judge(policy(("p99_ms", "no_worse_than_live_by = 60")), stages, over=True)).measured
        assert measured.interval is not None
        assert math.isfinite(measured.interval.low) == known


def test_a_limit_inside_a_bucket_is_said() -> None:
    judged = only(one(("p99_ms", "at_most = 80"), version(20_000, slow=0.001), version(100)))
    assert judged.standing == "within"  # nearly all took less than 50 ms
    assert judged.measured.note == (
        "80 ms is inside the bucket from 50 to 100 ms: the rule holds only if the 99th percentile is at most 50 ms; "
        "set the limit to 100 ms"
    )
    slower = replace(version(20_000), latency=dict(zip(BUCKETS, (10_000, 10_000, 0, 0), strict=True)))
    assert only(one(("p99_ms", "at_most = 80"), slower, version(100))).standing == "undecided"
    assert only(one(("p99_ms", "at_most = 100"), slower, version(100))).standing == "within"
    above = only(one(("p99_ms", "at_most = 400"), version(20_000, slow=0.001), version(100))).measured.note
    assert above == (
        "400 ms is above the largest bound of the buckets: the rule holds only if the 99th percentile is at most 250 ms"
    )


def test_no_rule_is_a_bad_call() -> None:
    with pytest.raises(BadCall, match=r"no \[\[canary\]\] rule"):
        judge(policy(), [Stage(version(10), version(10), 1.0)], over=False)


@pytest.mark.parametrize("ratios", [(), (0.0,), (1.0, math.inf)])
def test_no_share_is_a_bad_call(ratios: Sequence[float]) -> None:
    with pytest.raises(BadCall, match="at least one stage"):
        judge(policy(("error_rate", MARGIN)), [Stage(version(1), version(1), ratio) for ratio in ratios], over=False)


def test_the_planned_ratio() -> None:
    assert [ratio_of(5), ratio_of(50), ratio_of(10, shadow=True), ratio_of(100, shadow=True)] == [5 / 95, 1, 0.1, 1]
    for share, shadow in ((0, False), (100, False), (-1, True), (101, True), (math.nan, False)):
        with pytest.raises(BadCall, match="cannot be judged"):
            ratio_of(share, shadow=shadow)


def test_one_rule_beyond_its_limit_refuses_at_once_and_says_why() -> None:
    rules = policy(("error_rate", "no_worse_than_live_by = 0.005"), ("p99_ms", "at_most = 250"))
    found = judge(rules, [Stage(version(5000, errors=0.03), version(15_000, errors=0.01), 1 / 3)], over=False)
    assert found.result == "refused"
    (reason,) = found.reasons
    assert (reason.rule, reason.source) == ("canary:error_rate:no_worse_than_live", "policy.toml:7")
    assert (
        reason.message == "error_rate is 2 percentage points more than live; policy.toml:7 allows 0.5 percentage points"
    )
    assert reason.lines[0].startswith("2 percentage points more than live, interval 1.")
    assert reason.lines[1:] == ("candidate  3 % of 5,000", "live       1 % of 15,000")
    assert reason.why == "Users rely on it."


def test_too_little_traffic_says_how_many_requests_would_decide() -> None:
    found = one(("error_rate", MARGIN), version(200, errors=0.02), version(200, errors=0.02))
    assert found.result == "inconclusive"
    needed = only(found).needed
    assert needed is not None
    (reason,) = found.reasons
    assert reason.message == "error_rate may be beyond the limit: too few requests to decide"
    assert reason.lines[-1] == (
        f"about {needed:,} requests of the candidate would decide it, if the rates stay as they are"
    )
    for requests, standing in ((needed * 0.9, "undecided"), (needed * 1.02, "within")):
        both = version(round(requests), errors=0.02)
        assert only(one(("error_rate", MARGIN), both, both)).standing == standing


def test_no_request_is_inconclusive() -> None:
    found = one(("error_rate", MARGIN), Counts(), version(200, errors=0.02))
    assert found.result == "inconclusive"
    assert found.reasons[0].message == "error_rate cannot be judged: no request reached the candidate"
    assert only(found).needed == pytest.approx(11_000, rel=0.5)  # if it answers as live does
    nothing = one(("error_rate", MARGIN), Counts(), Counts())
    assert (nothing.result, only(nothing).needed) == ("inconclusive", None)
    alone = one(("error_rate", MARGIN), version(200), Counts())
    assert alone.reasons[0].message == "error_rate cannot be judged: no request reached live"


def test_at_the_limit_no_number_of_requests_decides() -> None:
    found = one(("error_rate", MARGIN), version(10_000, errors=0.03), version(10_000, errors=0.02))
    assert only(found).needed is None
    assert found.reasons[0].message == "error_rate may be beyond the limit: it is too close to the limit to decide"


def test_the_error_probability_is_divided_over_the_rules() -> None:
    rules = [("error_rate", MARGIN), ("error_rate", "at_most = 0.1"), ("refused_inputs_rate", MARGIN)]
    stages = [Stage(version(5000, errors=0.03), version(5000, errors=0.02), 1.0)]
    found = judge(policy(*rules), stages, over=False)
    assert found.alpha == pytest.approx(0.05 / 3)
    interval = found.judged[0].measured.interval
    assert interval is not None
    low, high = sequential.difference([sequential.Stage(150, 5000, 100, 5000, 1.0)], 0.05 / 3)
    assert (interval.low, interval.high) == (float(low), float(high))


def test_the_measurements_are_json_values() -> None:
    rules = policy(("error_rate", MARGIN), ("p99_ms", "at_most = 250"), ("answer_shift", "at_most = 0.1"))
    found = judge(rules, [Stage(version(20), Counts(), 1.0)], over=True)
    measured = found.measurements
    assert measured["requests"] == 20
    figures = measured["rules"]
    assert isinstance(figures, dict)
    assert figures["canary:p99_ms:at_most"] == {
        "standing": "undecided",
        "asks": "at_most",
        "limit": 250.0,
        "source": "policy.toml:11",
        "requests": 20,
        "value": 50,
        "low": 0.0,
        "high": None,
        "requests_of_live": 0,
        "requests_to_decide": found.judged[1].needed,
    }


def test_one_hit_too_many_between_two_counters_is_tolerated() -> None:
    torn = replace(version(1), errors=2)
    assert only(one(("error_rate", MARGIN), torn, version(100))).measured.candidate == 1


def test_a_stage_that_has_not_begun_changes_nothing_but_the_shared_error_probability() -> None:
    p99 = ("p99_ms", "no_worse_than_live_by = 150")  # both are between 100 and 250 ms
    rules = policy(("error_rate", MARGIN), p99, ("answer_shift", "at_most = 0.05"))
    begun = Stage(version(20_000, errors=0.01, slow=0.03), version(20_000, errors=0.01, slow=0.03), 1.0)
    waiting = Stage(Counts(), Counts(), 3.0)
    assert judge(rules, [begun, waiting], over=True).result == "passed"
    assert [each.standing for each in judge(rules, [begun, waiting], over=True).judged] == ["within"] * 3


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 400))
@settings(deadline=None, max_examples=40)
def test_the_split_over_pods_does_not_matter(errors: int, more: int, requests: int) -> None:
    one_pod = Counts(requests=2 * requests, errors=min(errors + more, 2 * requests))
    first = Counts(requests=requests, errors=min(errors, requests, one_pod.errors))
    second = Counts(requests=requests, errors=one_pod.errors - first.errors)
    rules, live = policy(("error_rate", MARGIN)), version(500, errors=0.05)
    whole, split = (judge(rules, [Stage(counts, live, 1.0)], over=False) for counts in (one_pod, first + second))
    assert whole == split
