"""Count the rows of each group of a sensitive column."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate_step import Category, Column, Number

from lockgate.new.columns import SUPPORT, band_names, parsed
from lockgate.new.labels import Label

JUDGED = 30  # the minimum denominator of a rate that the audit judges: the default of the policy's minimum_support


@dataclass(frozen=True)
class Group:
    """One group of a sensitive column, with its number of rows by label."""

    name: str
    positive: int
    negative: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.positive + self.negative

    def tested(self, share: float) -> float:
        """The expected number of rows among the test rows, which are this share of all rows."""
        return self.rows * share

    def judged(self, share: float) -> bool:
        """Whether the audit will judge the selection rate."""
        return self.tested(share) >= JUDGED

    def errors_judged(self, share: float) -> bool:
        """Whether the audit will judge the error rates too, of the positive and of the negative rows."""
        return min(self.positive, self.negative) * share >= JUDGED

    def to_json(self, share: float) -> dict[str, Any]:
        """The group as JSON values, without a count that is so small that it may identify somebody."""
        rows = self.rows if self.rows >= SUPPORT else None
        return {
            "group": self.name,
            "rows": rows,
            "judged": self.judged(share),
            "errors_judged": self.errors_judged(share),
        }


def count_groups(
    column: Column, pairs: Mapping[tuple[str, str], int], positive: Label, missing: Sequence[str]
) -> list[Group]:
    """Count the rows of each group by label; groups without rows are left out.

    pairs: (value of the column, value of the target) -> rows. missing: the file's spellings of a missing value.
    """
    counts: dict[str, Counter[bool]] = {name: Counter() for name in _group_names(column)}
    for (value, label), count in pairs.items():
        if (name := group_of(column, value, missing)) is not None:
            counts.setdefault(name, Counter())[label in (positive.name, *positive.spellings)] += count
    return [Group(name, counted[True], counted[False]) for name, counted in counts.items() if counted.total()]


def _group_names(column: Column) -> Sequence[str]:
    match column:
        case Category():
            return column.values
        case Number():
            return band_names(column.bands, whole=column.whole)


def group_of(column: Column, value: str, missing: Sequence[str]) -> str | None:
    """Return the group of a value: a category or a band; None if the value does not fit the column."""
    if value in missing:
        return "(missing)"
    match column:
        case Category():
            return value
        case Number():
            number = parsed(value)
            names = band_names(column.bands, whole=column.whole)
            return None if number is None else names[bisect_right(column.bands, number)]
