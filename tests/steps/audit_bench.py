"""A bench for bias-audit: one sensitive column, one rule.

Not in the folder of its tests, because a folder with a hyphen in its name cannot be imported.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.steps.gate_bench import Bench

POLICY = """\
[[quality]]
measure  = "accuracy"
at_least = 0.5
why      = "Better than a coin."

[[bias]]
between = ["sex"]
measure = "selection_rate_difference"
at_most = 0.15
why     = "Men and women must be selected at rates the programme can defend."
"""
SPEC: dict[str, Any] = {
    "name": "tiny",
    "classification": "unclassified",
    "data": {"uri": "data/rows.csv"},
    "split": {"test_share": 0.25, "key": [], "seed": "tiny"},
    "target": {"name": "income", "positive": "high", "negative": "low"},
    "inputs": [{"name": "age", "kind": "number", "low": 0, "high": 120, "missing": False}],
    "sensitive": [{"name": "sex", "kind": "category", "values": ["Female", "Male"], "missing": True}],
}


class AuditBench(Bench):
    """A bench that can also write groups of people."""

    def fill(
        self,
        truth: Sequence[str],
        answers: Sequence[str | None],
        sex: Sequence[str | None],
        trained: Mapping[str, Sequence[str | None]] | None = None,
        **more: Sequence[str | None],
    ) -> None:
        """Write truth, answers and sensitive columns, and sign their records.

        trained: the sensitive columns of the training rows; by default those of the test rows.
        """
        groups = {"sex": sex, **more}
        learned = trained or groups
        rows = {"age": [30.0 for _ in learned["sex"]]}
        self.freeze(
            {"truth": {"income": truth}, "sensitive": groups, "train_sensitive": learned, "rows": rows},
        )
        self.answer(answers)

    def people(self, *groups: tuple[str | None, int, int]) -> None:
        """Write groups of (name, rows, selected); the truth of every second row is positive."""
        self.fill(*people(*groups))


def people(*groups: tuple[str | None, int, int]) -> tuple[list[str], list[str], list[str | None]]:
    """Truth, answers and sex of these groups."""
    truth: list[str] = []
    answers: list[str] = []
    names: list[str | None] = []
    for name, rows, selected in groups:
        truth += ["high" if at % 2 else "low" for at in range(rows)]
        answers += ["high"] * selected + ["low"] * (rows - selected)
        names += [name] * rows
    return truth, answers, names
