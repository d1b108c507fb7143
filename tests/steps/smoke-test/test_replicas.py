"""A version with several replicas: a fault of a single replica is reported."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from lockgate_smoke_test.checks import Failed, Finding, Measured
from lockgate_smoke_test.replicas import measurements_of, reasons_of, replicas
from lockgate_step import OutsideFailed, Reason

WRONG = Reason(rule="smoke:golden", message="1 of 3 golden answers is wrong", why="w")
SLOW = Reason(rule="smoke:p99_ms", message="p99_ms is 9", why="w", source="policy.toml:9")


def found(*replicas: Sequence[Finding], pooled: Sequence[Finding] = ()) -> list[Sequence[Finding]]:
    """The findings of each replica, and last those of all replicas together."""
    return [*replicas, pooled]


def test_what_some_replicas_do_wrong_is_told_with_their_number() -> None:
    told = reasons_of(found([], [Failed(WRONG)], [Failed(WRONG)]), 3)
    assert told == (replace(WRONG, message="1 of 3 golden answers is wrong (2 of 3 replicas)"),)


def test_what_all_of_them_do_wrong_is_told_once() -> None:
    assert reasons_of(found([Failed(WRONG), Failed(WRONG)], [Failed(WRONG)]), 2) == (WRONG,)
    assert reasons_of(found([Failed(WRONG)]), 1) == (WRONG,)


def test_what_was_measured_over_all_of_them_is_told_as_it_is() -> None:
    assert reasons_of(found([], [], pooled=[Failed(SLOW)]), 2) == (SLOW,)


def test_different_faults_are_all_told() -> None:
    other = replace(WRONG, message="2 of 3 golden answers are wrong")
    told = reasons_of(found([Failed(WRONG)], [Failed(other)]), 2)
    assert [reason.message.endswith("(1 of 2 replicas)") for reason in told] == [True, True]


def test_counts_of_the_replicas_are_added_up() -> None:
    one, other = Measured("golden", {"rows": 3, "wrong": 0}), Measured("golden", {"rows": 3, "wrong": 1})
    pooled = Measured("latency", {"p99_ms": 2.5})
    measured = measurements_of(found([one], [other], pooled=[pooled]))
    assert measured == {"golden": {"rows": 6, "wrong": 1}, "latency": {"p99_ms": 2.5}}


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-name.invalid:9"])
def test_fewer_addresses_than_replicas_can_be_tried_again(address: str) -> None:
    with pytest.raises(OutsideFailed, match="2 replicas were deployed"):
        replicas(address, 2, 0)


def test_each_address_is_asked_under_the_name_that_was_deployed() -> None:
    (client,) = replicas("http://localhost:8080", 1, 0)[:1]
    with client:
        assert client.headers["host"] == "localhost:8080"
        assert client.base_url.host in ("127.0.0.1", "::1")
