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
FEW: dict[str, Any] = {
    "rows": None,
    "of": None,
    "columns": {
        "sex": {
            "groups": [
                {"group": "Female", "rows": None, "unlabelled": None, "rate": None},
                {"group": "Male", "rows": None, "unlabelled": None, "rate": None},
            ],
            "differs": None,
        }
    },
}
DIFFERS = {"high": "Female", "low": "Male", "at_least": 0.102}


def differing(share: dict[str, Any]) -> dict[str, Any]:
    """The counts of a share whose groups differ."""
    return {**share, "columns": {"sex": {**share["columns"]["sex"], "differs": DIFFERS}}}


def judged(bench: Bench, counted: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The predicate of the verdict, and the page."""
    bench.unlabelled = counted
    bench.freeze(tiny())
    bench.run()
    return bench.verdict, bench.report


def test_they_are_counted_in_verdict_and_page(data_bench: Bench) -> None:
    shares = {"train": COUNTED, "test": FEW}
    found, page = judged(data_bench, shares)
    assert found["result"] == "passed"
    assert found["notes"] == [
        "fewer than 10 test rows have no income and were left out",
        "142 of the 1,500 training rows (9.5%) have no income and were left out",
    ]
    assert found["measurements"]["unlabelled"] == shares
    assert "Fewer than 10 test rows and 142 of the 1,500 training rows have no label" in page
    assert '<td class="n">120</td><td class="n">16.0%</td>' in page
    assert page.index("The test rows without a label by sex") < page.index("The training rows without a label by sex")


def test_a_share_that_differs_refuses(data_bench: Bench) -> None:
    for share, rows in (("train", "training rows"), ("test", "test rows")):
        other = {"train": COUNTED, "test": COUNTED}
        found, page = judged(data_bench, {**other, share: differing(COUNTED)})
        assert found["result"] == "refused"
        (reason,) = found["reasons"]
        assert reason["rule"] == f"data:unlabelled:{share}:sex"
        assert reason["message"].startswith(f"the share of {rows} without income")
        assert reason["lines"] == [
            f"Female: 120 of 750 {rows} (16.0%)",
            f"Male: 22 of 750 {rows} (2.9%)",
            "the difference is at least 10.2%, at 95 % confidence",
        ]
        assert "differs by sex" in page


def test_both_shares_may_be_reasons_and_neither_shows_a_small_count(data_bench: Bench) -> None:
    found, page = judged(data_bench, {"train": differing(COUNTED), "test": differing(FEW)})
    assert [each["rule"] for each in found["reasons"]] == ["data:unlabelled:test:sex", "data:unlabelled:train:sex"]
    assert found["reasons"][0]["lines"][:2] == ["Female: counts not shown", "Male: counts not shown"]
    assert "Female: counts not shown" in page


def test_labelled_data_say_nothing(data_bench: Bench) -> None:
    found, page = judged(data_bench, None)
    assert (found["notes"], "without a label" in page) == ([], False)
