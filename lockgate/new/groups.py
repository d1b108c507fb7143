"""Count the rows of each group of a sensitive column."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate_step import Category, Column, Number

from lockgate.new.columns import SUPPORT, parsed
from lockgate.new.labels import Label

JUDGED = 30  # the minimum denominator of a rate that the audit judges: the default of the policy's minimum_support


@dataclass(frozen=True)
class Group:
    """One group of a sensitive column, with its number of rows by label, and of those without one."""

    name: str
    positive: int
    negative: int
    unlabelled: int = 0

    @property
    def rows(self) -> int:
        """The number of rows with a label."""
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

    @property
    def rate(self) -> float | None:
        """The share of positive labels; None if it rests on so few people that it may identify somebody."""
        return self.positive / self.rows if min(self.positive, self.negative) >= SUPPORT else None

    @property
    def unlabelled_rate(self) -> float | None:
        """The share of rows without a label; None as for `rate`."""
        if not self.unlabelled:
            return 0.0
        return self.unlabelled / (self.rows + self.unlabelled) if min(self.unlabelled, self.rows) >= SUPPORT else None

    def to_json(self, share: float) -> dict[str, Any]:
        """The group as JSON values, without a count that is so small that it may identify somebody."""
        rows = self.rows if self.rows >= SUPPORT else None
        return {
            "group": self.name,
            "rows": rows,
            "label_rate": _rounded(self.rate),
            "unlabelled_rate": _rounded(self.unlabelled_rate),
            "judged": self.judged(share),
            "errors_judged": self.errors_judged(share),
        }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def count_groups(
    column: Column, pairs: Mapping[tuple[str, str], int], positive: Label, missing: Sequence[str]
) -> list[Group]:
    """Count the rows of each group by label, also of a group that the column names and that has no row.

    pairs: (value of the column, value of the target) -> rows. missing: the file's spellings of a missing value.
    """
    counts: dict[str, Counter[bool | None]] = {name: Counter() for name in column.groups}
    for (value, label), count in pairs.items():
        if (name := group_of(column, value, missing)) is not None:
            labelled = None if label in missing else label in (positive.name, *positive.spellings)
            counts.setdefault(name, Counter())[labelled] += count
    return [Group(name, counted[True], counted[False], counted[None]) for name, counted in counts.items()]


def group_of(column: Column, value: str, missing: Sequence[str]) -> str | None:
    """Return the group of a value: a category or a band; None if the value does not fit the column."""
    if value in missing:
        return "(missing)"
    match column:
        case Category():
            return value
        case Number():
            number = parsed(value)
            return None if number is None else column.band_names[bisect_right(column.bands, number)]
