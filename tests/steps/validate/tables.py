"""Small valid tables with their spec and policy."""

from typing import Any

POLICY = """\
[[quality]]
measure  = "accuracy"
at_least = 0.8
why      = "Four answers in five must be right."

[[quality]]
measure = "accuracy"
no_worse_than_live_by = 0.05
why     = "Users must not be served worse than today."

[[unaudited]]
column = "sex"
why    = "Not what these tests are about."
"""
SPEC: dict[str, Any] = {
    "name": "tiny",
    "classification": "unclassified",
    "data": {"uri": "data/rows.csv"},
    "split": {"test_share": 0.25, "key": [], "seed": "tiny"},
    "target": {"name": "income", "positive": "high", "negative": "low"},
    "inputs": [
        {"name": "age", "kind": "number", "low": 17, "high": 90, "whole": True, "missing": False},
        {"name": "job", "kind": "category", "values": ["clerk", "cook"], "missing": True},
    ],
    "sensitive": [{"name": "sex", "kind": "category", "values": ["Female", "Male"], "missing": True}],
}
Tables = dict[str, dict[str, list[Any]]]


def tiny(rows: int = 60) -> Tables:
    """Valid tables with this number of rows each."""

    def inputs() -> dict[str, list[Any]]:
        jobs = ["clerk", "cook", None]
        return {"age": [20.0 + at % 50 for at in range(rows)], "job": [jobs[at % 3] for at in range(rows)]}

    income = ["high" if at % 4 == 0 else "low" for at in range(rows)]
    sex = ["Female" if at % 2 else "Male" for at in range(rows)]
    return {
        "rows": inputs() | {"income": list(income)},
        "test": inputs(),
        "truth": {"income": list(income)},
        "sensitive": {"sex": list(sex)},
        "train_sensitive": {"sex": list(sex)},
    }
