"""The groups that are too small for a rule to judge: which they are, and whether one is beyond the limit all the same.

A rule compares only groups whose rate has enough rows. A group that it leaves out is never forgotten: it is named, and

- alone, if its denominator has ten rows or more, it is compared with every other group;
- together with the other small groups it is compared with the judged groups.

Both can only refuse. Their intervals are wide, but a gap is beyond the limit if the whole interval is.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from lockgate_policy import AcceptedSmallGroup
from numpy.typing import NDArray

from lockgate_bias_audit.intervals import surest_difference, surest_ratio
from lockgate_bias_audit.measures import Counts, Gap, Measure, RateName, paired, parts

SMALLEST = 10  # the smallest count that may be shown, so a smaller group could not be explained
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LeftOut:
    """A group that a rule leaves out: its index, the rate that has too few rows, and the policy's acceptance."""

    group: int
    rate: RateName
    accepted: AcceptedSmallGroup | None = None


def left_out(counts: Counts, measure: Measure, support: int) -> list[LeftOut]:
    """Return each group that has too few rows for some rate of the measure."""
    few = {rate: parts(counts, rate)[1] < support for rate in measure.rates}
    found = ((at, [rate for rate in few if few[rate][at]]) for at in range(len(counts)))
    return [LeftOut(at, rates[0]) for at, rates in found if rates]


def surest(
    counts: Counts,
    resampled: Counts,
    measure: Measure,
    *,
    support: int,
    confidence: float,
    alone: Collection[int],
    pooled: bool,
) -> Gap | None:
    """Return the surest gap of a small group, or None if there is nothing to compare.

    alone: the groups that are compared by themselves if they are small. pooled: whether all small groups are compared
        together, if there are two or more.
    """
    found: list[Gap] = []
    for rate in measure.rates:
        small = parts(counts, rate)[1] < support
        all_counts, all_resampled, pool = counts, resampled, counts[small].sum(0)
        tries = parts(counts, rate)[1]
        single = small & (tries >= SMALLEST) & np.isin(np.arange(len(counts)), list(alone))
        together = pooled and int((small & (tries > 0)).sum()) > 1 and int(tries[small].sum()) >= SMALLEST
        if together:
            all_counts = np.concatenate([counts, pool[None]])
            all_resampled = np.concatenate([resampled, resampled[:, small].sum(1, keepdims=True)], axis=1)
        chosen = np.flatnonzero([*(~small | single), *([True] if together else [])])
        allowed = _allowed(chosen, small, single)
        if allowed.any():
            pairs = paired(all_counts[chosen], all_resampled[:, chosen], rate, measure, confidence)
            pick = surest_difference if measure.form == "difference" else surest_ratio
            interval, highest, lowest = pick(pairs, allowed)
            gap = Gap(interval, rate, int(chosen[highest]), int(chosen[lowest]))
            members = tuple(int(at) for at in np.flatnonzero(small))
            found.append(replace(gap, pooled=members) if len(counts) in (gap.highest, gap.lowest) else gap)
    if measure.form == "ratio":
        return min(found, key=lambda gap: gap.measured.high, default=None)
    return max(found, key=lambda gap: gap.measured.low, default=None)


def _allowed(chosen: NDArray[np.intp], small: Bools, single: Bools) -> Bools:
    """The pairs to compare: a small group with every other group, and the pool with the judged groups only."""
    pool = chosen == len(small)
    alone = np.array([bool(at < len(small) and single[at]) for at in chosen], dtype=bool)
    big = ~pool & ~alone
    either = alone[:, None] | alone[None, :] | (pool[:, None] & big[None, :]) | (big[:, None] & pool[None, :])
    without = (pool[:, None] & alone[None, :]) | (alone[:, None] & pool[None, :])
    allowed: Bools = either & ~without & ~np.eye(len(chosen), dtype=bool)
    return allowed
