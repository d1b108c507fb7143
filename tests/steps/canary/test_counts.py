"""Counts of one version: pods add up, restarts lose nothing that was read, and the state survives as JSON."""

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_canary.counts import Counts, Tally
from lockgate_step import BadCall

NUMBER = st.integers(0, 1000)
BOUNDS = (10.0, 25.0, 62.5, math.inf)


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    """What one pod may have counted."""
    whole = {name: draw(NUMBER) for name in ("requests", "errors", "refused", "compared", "disagreed")}
    return Counts(
        **whole,
        latency={bound: draw(NUMBER) for bound in BOUNDS},
        answers={label: draw(NUMBER) for label in draw(st.sets(st.sampled_from(["yes", "no", "é"])))},
        scores=dict.fromkeys((0.5, 1.0), draw(NUMBER)),
    )


def same(one: Counts, other: Counts) -> bool:
    """Whether two counts are equal; a label without an answer is not counted."""
    return one.since(other) == one.since(one) and other.since(one) == other.since(other)


@given(counts(), counts(), counts())
@settings(deadline=None)
def test_pods_add_up_in_any_order(one: Counts, two: Counts, three: Counts) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Counts() == one


@given(counts(), counts())
@settings(deadline=None)
def test_what_was_added_is_what_came_since(before: Counts, more: Counts) -> None:
    now = before + more
    assert same(now.since(before), more)
    assert now.since(Counts()) == now


def test_a_counter_that_falls_begins_again_from_0() -> None:
    before = Counts(requests=50, errors=3, answers={"yes": 47})
    # It has more requests than before, but fewer errors: it was restarted, so all of its 60 requests are new.
    now = Counts(requests=60, errors=1, answers={"yes": 59})
    assert now.since(before) == now
    assert Counts(requests=60, errors=3, answers={"yes": 57}).since(before) == Counts(requests=10, answers={"yes": 10})
    assert Counts(requests=50, errors=3).since(before) == Counts(requests=50, errors=3)  # a label is gone


@given(st.lists(st.tuples(st.sampled_from("abc"), counts(), st.booleans()), max_size=12))
@settings(deadline=None)
def test_a_tally_has_all_that_pods_counted_between_the_readings(events: Sequence[tuple[str, Counts, bool]]) -> None:
    pods = {"a": Counts(requests=7, latency=dict.fromkeys(BOUNDS, 2)), "b": Counts()}
    tally, truth = Tally.begin(pods), Counts()
    for pod, more, restarted in events:
        earlier = pods.get(pod, Counts())
        # Only a restart that shows is tolerated: a counter that has passed its old value again looks like a rise.
        fell = restarted and any(more._flat().get(key, 0) < count for key, count in earlier._flat().items())
        pods[pod] = more if fell else earlier + more
        truth += more
        tally = tally.read({pod: pods[pod]})
        tally = tally.read(pods)  # reading again, or other pods, adds nothing
    assert same(tally.total, truth)


@given(counts(), counts())
@settings(deadline=None)
def test_the_state_survives_as_json(one: Counts, two: Counts) -> None:
    tally = Tally.begin({"a": one}).read({"a": one + two, "b": two})
    assert Tally.from_json(json.loads(json.dumps(tally.as_json()))) == tally


@pytest.mark.parametrize(
    "change",
    [
        {"requests": -1},
        {"requests": 1.5},
        {"requests": True},
        {"requests": None},
        {"answers": []},
        {"answers": {"yes": "1"}},
        {"latency": {"fast": 1}},
        {"latency": {"nan": 1}},
        {"more": 1},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadCall, match="cannot be read"):
        Counts.from_json({**Counts(requests=3).as_json(), **change})
    with pytest.raises(BadCall, match="cannot be read"):
        Tally.from_json({"total": Counts().as_json()})


def test_different_buckets_do_not_add_up() -> None:
    one, two = Counts(latency={10.0: 1, math.inf: 0}), Counts(latency={20.0: 1, math.inf: 0})
    with pytest.raises(BadCall, match="different buckets for `latency`"):
        one + two
    with pytest.raises(BadCall, match="different buckets for `latency`"):
        one.since(two)


def test_times_keeps_the_rates() -> None:
    assert Counts(requests=10, errors=1, answers={"yes": 3}).times(2.5) == Counts(
        requests=25, errors=2, answers={"yes": 8}
    )
