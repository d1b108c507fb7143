"""Copies of training rows among the test rows: on the page, in the verdict, and a reason if they exceed chance."""

from typing import Any

import pytest

from tests.steps.gate_bench import Bench
from tests.steps.validate.tables import tiny


def judged(bench: Bench, copies: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The predicate of the verdict, and the page."""
    bench.copies = copies
    bench.freeze(tiny())
    bench.run()
    return bench.verdict, bench.report


def test_more_copies_than_by_chance_refuse(data_bench: Bench) -> None:
    copies = {"rows": 3000, "of": 3000, "by_chance": 0.5, "exceeds": True}
    found, page = judged(data_bench, copies)
    assert found["result"] == "refused"
    (reason,) = found["reasons"]
    assert reason["rule"] == "data:copies"
    assert reason["lines"][0] == (
        "3,000 of the 3,000 test rows (100.0%) are equal to a training row; a random split of all rows would give 50.0%"
    )
    assert found["measurements"]["copies"] == copies
    assert "3,000 of the 3,000 test rows (100.0%) are equal to a training row, in every input and in the label" in page


def test_copies_by_chance_are_noted(data_bench: Bench) -> None:
    found, page = judged(data_bench, {"rows": 500, "of": 3000, "by_chance": 0.171, "exceeds": False})
    assert found["result"] == "passed"
    assert found["notes"] == [
        "500 of the 3,000 test rows (16.7%) are equal to a training row, as in a random split of all rows (17.1%)"
    ]
    assert "A random split of all rows would give 17.1%" in page


@pytest.mark.parametrize("exceeds", [True, False])
def test_a_count_below_ten_is_not_shown(data_bench: Bench, exceeds: bool) -> None:
    found, page = judged(data_bench, {"rows": None, "of": 20, "by_chance": None, "exceeds": exceeds})
    assert found["result"] == ("refused" if exceeds else "passed")
    assert found["notes"] == []
    assert "Fewer than 10 of the 20 test rows are equal to a training row" in page


def test_an_earlier_record_says_nothing(data_bench: Bench) -> None:
    found, page = judged(data_bench, None)
    assert (found["notes"], "Copies of training rows" in page) == ([], False)
