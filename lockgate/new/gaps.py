"""Find inputs whose values are missing more often in one group of a sensitive column than in another."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lockgate_policy import certain_gap

from lockgate.new.columns import SUPPORT
from lockgate.new.groups import group_of
from lockgate.new.profiling import Profile


@dataclass(frozen=True)
class Missing:
    """An input whose share of missing values certainly differs between two groups of a sensitive column."""

    column: str
    by: str
    high: str
    low: str
    shares: tuple[float, float]

    @property
    def where(self) -> str:
        """The two groups: `in 12% of sex F and in 3% of M`."""
        high, low = self.shares
        few = f"{low:.0%}" if low else "fewer than 10 rows"
        return f"in {high:.0%} of {self.by} {self.high} and in {few} of {self.low}"


def find_missing(profile: Profile) -> Iterator[Missing]:
    """Yield them from the sample of the rows, without groups or counts of fewer than ten people."""
    for by, column in profile.sensitive.items():
        groups = [group_of(column, value, profile.missing) for value in profile.sampled(by)]
        sizes = Counter(group for group in groups if group is not None)
        large = {group: size for group, size in sizes.items() if size >= SUPPORT}
        for name in (name for name, traits in profile.inputs.items() if traits.missing):
            pairs = zip(groups, profile.sampled(name), strict=True)
            without = Counter(group for group, value in pairs if value in profile.missing)
            gap = certain_gap({group: (without[group], size) for group, size in large.items()})
            if gap and without[gap.high] >= SUPPORT:
                low = without[gap.low] / large[gap.low] if without[gap.low] >= SUPPORT else 0.0
                yield Missing(name, by, gap.high, gap.low, (without[gap.high] / large[gap.high], low))
