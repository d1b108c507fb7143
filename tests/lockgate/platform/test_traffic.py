"""A candidate's share of the traffic: who gets it, that live always answers, and who may not change it."""

import hashlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_proof import Traffic
from lockgate_step import ABTest, Canary, Shadow

from lockgate.platform.follow import gets_candidate
from lockgate.platform.relay import labels_of
from tests.lockgate.platform.conftest import World, call

INFER = b'{"inputs":[]}'
Spoil = Callable[[World, str, str], object]


def trial(world: World) -> tuple[str, str, str]:
    """Return the address of a platform with a live version and a candidate that is ready, and their bundles."""
    live, candidate = world.bundle("adult"), world.bundle("adult", say="new")
    world.live("adult", live)
    world.candidate("adult", candidate)
    address = world.start().address
    world.ready("adult", "live", live)
    world.ready("adult", "candidate", candidate)
    return f"{address}/v2/models/adult", live, candidate


def shared(world: World) -> Any:
    return world.status("adult").get("traffic")


def asked(world: World, which: str) -> list[str]:
    """Return the bodies of the requests that a version answered."""
    return list(call(f"{world.status('adult')[which]['address']}/v2/models/adult/asked").json)


def answers(url: str, count: int, **headers: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(count):
        answer = call(f"{url}/infer", INFER, headers=headers)
        assert answer.status == 200
        found[answer.json["parameters"]["bundle"]] += 1
    return found


def test_a_canary_gets_its_share_and_all_of_it_goes_back(world: World) -> None:
    url, live, candidate = trial(world)
    assert answers(url, 20) == {live: 20}
    world.share("adult", candidate, Canary(shares=(50,)))
    world.until(lambda: shared(world))
    assert {k: shared(world)[k] for k in ("bundle", "kind", "share")} == {
        "bundle": candidate, "kind": "canary", "share": 50,
    }  # fmt: skip
    found = answers(url, 200)
    assert 60 <= found[candidate] <= 140  # of 200 at a half: outside once in 10^8
    world.share("adult", candidate, Canary(shares=(50,)), seconds=-1)
    world.until(lambda: not shared(world))
    assert answers(url, 20) == {live: 20}


def test_a_caller_of_an_ab_test_stays_with_one_version(world: World) -> None:
    url, live, candidate = trial(world)
    world.share("adult", candidate, ABTest(share=50))
    world.until(lambda: shared(world))
    kept = {f"user-{i}": set(answers(url, 4, **{"X-User": f"user-{i}"})) for i in range(40)}
    assert all(len(versions) == 1 for versions in kept.values())
    assert {version for versions in kept.values() for version in versions} == {live, candidate}
    assert answers(url, 10) == {live: 10}  # without the header


def test_a_shadow_gets_copies_and_answers_nobody(world: World) -> None:
    url, live, candidate = trial(world)
    world.share("adult", candidate, Shadow(share=100))
    world.until(lambda: shared(world))
    for number in range(20):
        assert call(f"{url}/infer", f'{{"inputs":[],"id":"{number}"}}'.encode()).json["parameters"]["bundle"] == live
    world.until(lambda: len(asked(world, "candidate")) == 20)
    assert sorted(asked(world, "candidate")) == sorted(asked(world, "live"))


def test_a_slow_shadow_slows_nobody(world: World) -> None:
    slow = world.bundle("adult", slow=20)
    live = world.bundle("adult")
    world.live("adult", live)
    world.candidate("adult", slow)
    url = f"{world.start().address}/v2/models/adult"
    world.ready("adult", "candidate", slow)
    world.share("adult", slow, Shadow(share=100))
    world.until(lambda: shared(world))
    began = datetime.now(UTC)
    assert answers(url, 100) == {live: 100}  # more than the copies that may be in progress
    assert datetime.now(UTC) - began < timedelta(seconds=15)


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        (b'{"outputs": [{"name": "score", "data": [1]}, {"name": "label", "data": ["a", "b"]}]}', ["a", "b"]),
        (b'{"outputs": [{"name": "score", "data": [1]}]}', None),
        (b'{"outputs": [{"name": "label", "data": "a"}]}', None),
        (b'{"outputs": {"name": "label"}}', None),
        (b'{"error": "no"}', None),
        (b"\x1f\x8b", None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_only_answers_with_labels_are_compared(answer: bytes, labels: list[str] | None) -> None:
    assert labels_of(answer) == labels


def test_only_requests_for_an_answer_are_shared(world: World) -> None:
    url, _, candidate = trial(world)
    world.share("adult", candidate, Canary(shares=(99,)))
    world.until(lambda: shared(world))
    at = {call(f"{url}/asked").body for _ in range(20)}
    assert len(at) == 1


def test_a_candidate_that_ends_gets_nothing(world: World) -> None:
    url, live, candidate = trial(world)
    world.share("adult", candidate, Canary(shares=(99,)))
    world.until(lambda: shared(world))
    world.release("adult")
    world.until(lambda: not shared(world))
    assert answers(url, 10) == {live: 10}


def another_signer(world: World, candidate: str, _: str) -> None:
    world.share("adult", candidate, Canary(shares=(99,)), key=world.key)


def for_too_long(world: World, candidate: str, _: str) -> None:
    world.share("adult", candidate, Canary(shares=(99,)), seconds=3600)


def of_another_run(world: World, candidate: str, _: str) -> None:
    world.share("adult", candidate, Canary(shares=(99,)), run="r0")


def of_another_live(world: World, candidate: str, _: str) -> None:
    world.share("adult", candidate, Canary(shares=(99,)), live={"bundle": candidate, "generation": 1})


def of_an_earlier_generation(world: World, candidate: str, live: str) -> None:
    world.share("adult", candidate, Canary(shares=(99,)), live={"bundle": live, "generation": 0})


def of_another_model(world: World, candidate: str, _: str) -> None:
    world.share("adult", candidate, Canary(shares=(99,)), model="credit")


def of_several_shares(world: World, candidate: str, _: str) -> None:
    world.share("adult", candidate, Canary(shares=(5, 99)))


def of_every_request(world: World, candidate: str, _: str) -> None:
    said = {"kind": "canary", "shares": [100], "hold": "10m"}
    world.share("adult", candidate, Canary(), rollout=said)


def unsigned(world: World, _: str, __: str) -> None:
    world.store.put("models/adult/traffic.json", b'{"share": 99}')


def of_a_bundle_that_nobody_tries(world: World, _: str, __: str) -> None:
    world.share("adult", world.bundle("adult", say="third"), Canary(shares=(99,)))


@pytest.mark.parametrize(
    "spoil",
    [
        another_signer, for_too_long, of_another_run, of_another_live, of_an_earlier_generation, of_another_model,
        of_several_shares, of_every_request, unsigned, of_a_bundle_that_nobody_tries,
    ],
)  # fmt: skip
def test_whoever_can_write_the_store_moves_no_request(world: World, spoil: Spoil) -> None:
    url, live, candidate = trial(world)
    spoil(world, candidate, live)
    again = world.bundle("credit")  # the platform has read the store once more when it serves this
    world.live("credit", again)
    world.ready("credit", "live", again)
    assert shared(world) is None
    assert answers(url, 20) == {live: 20}


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 99), st.text(max_size=8))
def test_an_ab_test_divides_callers_by_the_share(share: int, salt: str) -> None:
    bundle = f"sha256:{hashlib.sha256(salt.encode('utf-8', 'surrogatepass')).hexdigest()}"
    until = datetime.now(UTC) + timedelta(minutes=1)
    said = Traffic("adult", bundle, ABTest(share=share), {"bundle": bundle, "generation": 1}, "r1", "u1", until)
    callers = [{"x-user": f"{salt.encode('utf-8', 'replace').decode()}{i}"} for i in range(4000)]
    got = sum(gets_candidate(said, caller) for caller in callers)
    spread = 5 * (4000 * share * (100 - share) / 10_000) ** 0.5
    assert abs(got - 40 * share) <= spread
