"""Counts the rows without a label, which are left out, by group: their share must not differ between groups.

The test rows and the training rows are counted apart: a difference among the rows that the gates judge must not
disappear behind one among the rows that the model learns from.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from lockgate_policy import certain_gap
from lockgate_step import Category, SpecFile

from lockgate_ingest.views import View

SHOWN = 10  # a count of fewer people is not shown
MISSING, OTHER, SMALL = "(missing)", "(other)", f"(groups under {SHOWN})"


class Unlabelled:
    """The rows of one share with and without a label so far, by group of each sensitive column."""

    def __init__(self, spec: SpecFile) -> None:
        self._target, self._view = spec.target.name, View(spec.sensitive, bands=True)
        self._known = {each.name: each.values for each in spec.sensitive if isinstance(each, Category)}
        self._every: dict[str, Counter[str]] = {column.name: Counter() for column in spec.sensitive}
        self._excluded: dict[str, Counter[str]] = {column.name: Counter() for column in spec.sensitive}
        self._rows = self._without = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a canonical batch."""
        labels = batch.column(self._target)
        self._rows += batch.num_rows
        self._without += labels.null_count
        self._count(self._every, batch)
        if labels.null_count:
            self._count(self._excluded, batch.filter(pc.is_null(labels)))

    def to_json(self) -> dict[str, Any] | None:
        """Return the counts and rates by group without those of fewer than ten people; None if every row has a label.

        `differs` has two groups whose rates certainly differ, and the lower limit of the interval of the difference.
        """
        if not self._without:
            return None
        columns = {name: _column(every, self._excluded[name]) for name, every in self._every.items()}
        shown = self._without >= SHOWN  # the record has the rows with a label too, so `of` would give the difference
        return {"rows": self._without if shown else None, "of": self._rows if shown else None, "columns": columns}

    def _count(self, counts: Mapping[str, Counter[str]], batch: pa.RecordBatch) -> None:
        shown = self._view.of(batch)
        for name, groups in counts.items():
            for counted in pc.value_counts(shown.column(name)).to_pylist():
                groups[self._group(name, counted["values"])] += counted["counts"]

    def _group(self, name: str, value: str | None) -> str:
        if value is None:
            return MISSING
        return OTHER if name in self._known and value not in self._known[name] else value


def labelled(batch: pa.RecordBatch, target: str) -> pa.RecordBatch:
    """Return the rows of a canonical batch that have a label."""
    labels = batch.column(target)
    return batch.filter(pc.is_valid(labels)) if labels.null_count else batch


def _column(every: Counter[str], excluded: Counter[str]) -> dict[str, Any]:
    groups: dict[str, tuple[int, int]] = {}
    for group in sorted(every):
        name = group if every[group] >= SHOWN else SMALL
        before = groups.get(name, (0, 0))
        groups[name] = before[0] + excluded[group], before[1] + every[group]
    small = {name for name, (without, rows) in groups.items() if 0 < without < SHOWN or rows < SHOWN}
    hidden = set(small)
    for name in sorted(groups.keys() - small, key=lambda name: groups[name][0]) if small else ():
        if sum(groups[each][0] for each in hidden - small) >= SHOWN:
            break
        hidden.add(name)  # or the total would give the hidden counts
    gap = certain_gap(groups)
    differs = {"high": gap.high, "low": gap.low, "at_least": round(gap.at_least, 3)} if gap else None
    return {
        "groups": [
            {
                "group": name,
                "rows": None if name in hidden else rows,  # bias-audit shows the rows of a group that have a label
                "unlabelled": None if name in hidden else without,
                "rate": None if name in hidden else round(without / rows, 3),
            }
            for name, (without, rows) in groups.items()
        ],
        "differs": differs,
    }
