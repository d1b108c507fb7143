"""Which two groups certainly differ in a rate: for counts that no rule limits, such as rows without a label."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

from lockgate_policy._power import wilson


@dataclass(frozen=True)
class Gap:
    """Two groups whose rates certainly differ, the difference, and the lower limit of its interval."""

    high: str
    low: str
    value: float
    at_least: float


def certain_gap(groups: Mapping[str, tuple[int, int]], *, confidence: float = 0.95) -> Gap | None:
    """Return the two groups that differ the most for certain; None if no two groups certainly differ.

    groups: name -> (hits, tries), with at least one try. The intervals are Newcombe's, at this confidence for all pairs
    together (Bonferroni).
    """
    pairs = list(combinations(groups, 2))
    if not pairs:
        return None
    critical = NormalDist().inv_cdf(1 - (1 - confidence) / 2 / len(pairs))
    found = []
    for pair in pairs:
        low, high = sorted(pair, key=lambda name: groups[name][0] / groups[name][1])
        (few, of_few), (many, of_many) = groups[low], groups[high]
        value = many / of_many - few / of_few
        lower, upper = wilson(many, of_many, critical)[0], wilson(few, of_few, critical)[1]
        found.append(Gap(high, low, value, value - math.hypot(many / of_many - lower, upper - few / of_few)))
    widest = max(found, key=lambda gap: gap.at_least)
    return widest if widest.at_least > 0 else None
