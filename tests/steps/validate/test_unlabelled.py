"""Rows that were left out for want of a label: on the page, in the verdict, and a reason if their share differs."""

from typing import Any

from tests.steps.gate_bench import Bench
from tests.steps.validate.tables import tiny

COUNTED: dict[str, Any] = {
    "rows": 142,
    "of": 1500,
    "columns": {
        "sex": {
            "groups": [
                {"group": "Female", "rows": 750, "unlabelled": 120, "rate": 0.16},
                {"group": "Male", "rows": 750, "unlabelled": 22, "rate": 0.029},
            ],
            "differs": None,
        }
    },
}


def judged(bench: Bench, counted: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The predicate of the verdict, and the page."""
    bench.unlabelled = counted
    bench.freeze(tiny())
    bench.run()
    return bench.verdict, bench.report


def test_they_are_counted_in_verdict_and_page(data_bench: Bench) -> None:
    found, page = judged(data_bench, COUNTED)
    assert found["result"] == "passed"
    assert found["notes"] == ["142 of the 1,500 rows (9.5%) have no income and were left out"]
    assert found["measurements"]["unlabelled"] == COUNTED
    assert "142 of the 1,500 rows of the data have no label" in page
    assert '<td class="n">120</td><td class="n">16.0%</td>' in page


def test_a_share_that_differs_refuses(data_bench: Bench) -> None:
    differs = {"high": "Female", "low": "Male", "at_least": 0.102}
    columns = {"sex": {**COUNTED["columns"]["sex"], "differs": differs}}
    found, page = judged(data_bench, {**COUNTED, "columns": columns})
    assert found["result"] == "refused"
    (reason,) = found["reasons"]
    assert reason["rule"] == "data:unlabelled:sex"
    assert reason["lines"] == [
        "Female: 120 of 750 rows (16.0%)",
        "Male: 22 of 750 rows (2.9%)",
        "the difference is at least 10.2%, at 95 % confidence",
    ]
    assert "differs between groups of sex" in page


def test_labelled_data_say_nothing(data_bench: Bench) -> None:
    found, page = judged(data_bench, None)
    assert (found["notes"], "without a label" in page) == ([], False)
