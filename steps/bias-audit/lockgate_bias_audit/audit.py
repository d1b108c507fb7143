"""Measure every rule's gap with its interval, and the groups of every sensitive column."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from math import ceil, prod
from typing import Literal

import numpy as np
from lockgate_policy import (
    LIKELY,
    AtLeast,
    AtMost,
    BiasRule,
    Policy,
    ReportedOnly,
    Settings,
    chance_to_pass,
    limit_to_decide,
    rows_to_decide,
)
from numpy.typing import NDArray

from lockgate_bias_audit.disclosure import Released, release
from lockgate_bias_audit.groups import Column, Grouped, group
from lockgate_bias_audit.measures import MEASURES, Counts, Gap, gap, parts, resample
from lockgate_bias_audit.small import SMALLEST, LeftOut, left_out, surest

Standing = Literal["within", "beyond", "undecided", "too few", "left out", "reported"]


@dataclass(frozen=True)
class Power:
    """How often a fair model would pass the rule with these groups, and how many test rows, or which limit, would do.

    rows: None if no number of rows is enough, or if these groups are large enough. limit: None if none up to 0.5 is.
    """

    chance: float
    rows: int | None = None
    limit: float | None = None

    @property
    def enough(self) -> bool:
        """Whether the groups are large enough: a rule that stays undecided then has a gap close to its limit."""
        return self.chance >= LIKELY


@dataclass(frozen=True)
class Judged:
    """One rule, the groups it compares, the gap between them if there is one, and the rule's result.

    left: the groups that it leaves out. power: None if the rule has no limit.
    excused: the gap of an accepted small group that is beyond the limit with its whole interval.
    """

    rule: BiasRule
    grouped: Grouped
    shown: Released
    gap: Gap | None
    standing: Standing
    left: tuple[LeftOut, ...] = ()
    power: Power | None = None
    excused: Gap | None = None


@dataclass(frozen=True)
class Audit:
    """Every judged rule, and the groups of every measured column and intersection.

    constant: the only answer that the model gave, if all are the same.
    day: the day on which the acceptances of small groups must be valid.
    """

    rows: int
    constant: bool | None
    day: date
    judged: tuple[Judged, ...]
    tables: Mapping[tuple[str, ...], tuple[Grouped, Released]]


def audit(
    columns: Mapping[str, Column],
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    policy: Policy,
    *,
    seed: int,
    day: date | None = None,
) -> Audit:
    """Measure every gap and judge every rule.

    columns: the sensitive columns by name. Each is also measured by itself, unless the policy lists it as unaudited.
    day: on which the acceptances of small groups must be valid; today by default.
    """
    day = day or datetime.now(UTC).date()
    excused = {entry.column for entry in policy.unaudited}
    alone = [(name,) for name in columns if name not in excused]
    wanted = dict.fromkeys([*alone, *(rule.between for rule in policy.bias)])
    tables = {}
    for between in wanted:
        grouped = group(columns, between, truth, predicted)
        about = [rate for rule in policy.bias if rule.between == between for rate in MEASURES[rule.measure].rates]
        tables[between] = grouped, release(grouped, about, policy.settings.minimum_support)
    judged = tuple(_judge(rule, *tables[rule.between], policy, seed, day) for rule in policy.bias)
    constant = bool(predicted[0]) if len(predicted) and (predicted == predicted[0]).all() else None
    return Audit(len(truth), constant, day, judged, tables)


def _judge(rule: BiasRule, grouped: Grouped, shown: Released, policy: Policy, seed: int, day: date) -> Judged:
    if not grouped.sizes.sum():
        return Judged(rule, grouped, shown, None, "reported" if isinstance(rule.limit, ReportedOnly) else "too few")
    settings, measure = policy.settings, MEASURES[rule.measure]
    again = resample(grouped.counts, settings.resamples, seed)
    support, confidence = settings.minimum_support, settings.confidence
    if isinstance(rule.limit, ReportedOnly):
        found = gap(grouped.counts, again, measure, support=support, confidence=confidence)
        return Judged(rule, grouped, shown, found, "reported")
    left = tuple(_accept(each, grouped, policy, day) for each in left_out(grouped.counts, measure, support))
    open_ = [each.group for each in left if not each.accepted]
    # The judged groups and the small ones are two families of pairs: each gets half of the error probability.
    half = 1 - (1 - confidence) / 2
    small = surest(grouped.counts, again, measure, support=support, confidence=half, alone=open_, pooled=len(left) > 1)
    found = gap(grouped.counts, again, measure, support=support, confidence=half if small else confidence)
    standing: Standing = "too few" if found is None else rule.limit.judge(found.measured)
    if standing != "beyond" and small and rule.limit.judge(small.measured) == "beyond":
        standing, found = "beyond", small
    if standing == "within" and open_:
        standing = "left out"
    taken = [each.group for each in left if each.accepted]
    excused = surest(grouped.counts, again, measure, support=support, confidence=confidence, alone=taken, pooled=False)
    if excused and rule.limit.judge(excused.measured) != "beyond":
        excused = None
    kept = np.delete(grouped.counts, taken, axis=0)
    if len(kept) < 2:  # accepting groups cannot decide the rule; with more rows the accepted ones are judged again
        kept = grouped.counts
    power = _power(rule.limit, rule.measure, kept, settings, standing)
    return Judged(rule, grouped, shown, found, standing, left, power, excused)


def _accept(left: LeftOut, grouped: Grouped, policy: Policy, day: date) -> LeftOut:
    """Add the acceptance that names the group, unless it has expired or the name is that of two groups."""
    name = grouped.names[left.group]
    naming = [each for each in policy.accepted if each.covers(grouped.between, name) and day <= each.until]
    return replace(left, accepted=naming[0]) if naming and grouped.names.count(name) == 1 else left


def _power(limit: AtMost | AtLeast, measure: str, counts: Counts, settings: Settings, standing: Standing) -> Power:
    """The power of a rule on the groups that it must judge, at the rate of all of them together."""
    rates: list[tuple[list[int], float]] = []
    for rate in MEASURES[measure].rates:
        hits, tries = parts(counts, rate)
        rates.append(([int(size) for size in tries], float(hits.sum() / max(tries.sum(), 1))))
    chance = prod(chance_to_pass(sizes, rate, limit.value, measure, settings=settings) for sizes, rate in rates)
    power = Power(chance)
    if standing in ("within", "beyond") or power.enough or len(counts) < 2:
        return power
    rows: list[int | None] = []
    for sizes, common in rates:
        least = [max(size, SMALLEST) for size in sizes]  # else the result would reveal a smaller count
        needed = rows_to_decide(least, common, limit.value, measure, settings=settings)
        rows.append(None if needed is None else ceil(needed * counts.sum() / sum(least)))
    known = [each for each in rows if each is not None]
    most = _two_digits(max(known)) if len(known) == len(rows) else None
    return Power(chance, most, limit_to_decide(rates, measure, settings=settings))


def _two_digits(rows: int) -> int:
    place: int = 10 ** max(0, len(str(rows)) - 2)
    return ceil(rows / place) * place
