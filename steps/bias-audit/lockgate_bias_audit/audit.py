"""Measure every rule's gap with its interval, and the groups of every sensitive column."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from lockgate_policy import BiasRule, Policy, ReportedOnly
from numpy.typing import NDArray

from lockgate_bias_audit.disclosure import Released, release
from lockgate_bias_audit.groups import Column, Grouped, group
from lockgate_bias_audit.measures import MEASURES, Gap, gap, resample

Standing = Literal["within", "beyond", "undecided", "too few", "reported"]


@dataclass(frozen=True)
class Judged:
    """One rule, the groups it compares, the gap between them if there is one, and the rule's result."""

    rule: BiasRule
    grouped: Grouped
    shown: Released
    gap: Gap | None
    standing: Standing


@dataclass(frozen=True)
class Audit:
    """Every judged rule, and the groups of every measured column and intersection."""

    rows: int
    judged: tuple[Judged, ...]
    tables: Mapping[tuple[str, ...], tuple[Grouped, Released]]


def audit(
    columns: Mapping[str, Column],
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    policy: Policy,
    *,
    seed: int,
) -> Audit:
    """Measure every gap and judge every rule.

    columns: the sensitive columns by name. Each is also measured by itself, unless the policy lists it as unaudited.
    """
    excused = {entry.column for entry in policy.unaudited}
    alone = [(name,) for name in columns if name not in excused]
    wanted = dict.fromkeys([*alone, *(rule.between for rule in policy.bias)])
    tables = {}
    for between in wanted:
        grouped = group(columns, between, truth, predicted)
        about = [rate for rule in policy.bias if rule.between == between for rate in MEASURES[rule.measure].rates]
        tables[between] = grouped, release(grouped, about, policy.settings.minimum_support)
    judged = tuple(_judge(rule, *tables[rule.between], policy, seed) for rule in policy.bias)
    return Audit(len(truth), judged, tables)


def _judge(rule: BiasRule, grouped: Grouped, shown: Released, policy: Policy, seed: int) -> Judged:
    settings = policy.settings
    found = None
    if len(grouped.members) > 1:
        again = resample(grouped.counts, settings.resamples, seed)
        measure = MEASURES[rule.measure]
        found = gap(grouped.counts, again, measure, support=settings.minimum_support, confidence=settings.confidence)
    return Judged(rule, grouped, shown, found, _standing(rule, found))


def _standing(rule: BiasRule, found: Gap | None) -> Standing:
    if isinstance(rule.limit, ReportedOnly):
        return "reported"
    return "too few" if found is None else rule.limit.judge(found.measured)
