"""Disclosure control: show no count below ten, and no figures from which such a count can be calculated.

- A count below ten is shown as "fewer than 10". The next smallest counts are hidden too, so that it cannot be
  calculated from a total.
- A rate with fewer than ten hits or fewer than ten misses is shown as a bound.
- Four cells (truth by answer) determine all rates of a group, so two rates and the number of rows reveal every cell.
  If a cell is below ten, show either the rates given the truth or a single rate over all rows: the one that the rules
  use. If a truth has fewer than ten rows, show only the latter: a rate to three digits reveals its denominator.
- If one of the two rates of a gap is hidden, only the interval of the gap is shown.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.measures import RATES, Counts, RateName, parts
from lockgate_bias_audit.small import SMALLEST

Bools = NDArray[np.bool_]

_OVERALL: tuple[RateName, ...] = ("selection_rate", "accuracy")
_COVER = 20  # rows that must be hidden in addition to the small counts


@dataclass(frozen=True)
class Shown:
    """A rate as it may be shown: its text, its value if that may be shown, and what the text is."""

    text: str
    value: float | None = None
    kind: Literal["rate", "bound", "hidden", "small"] = "rate"


_HIDDEN = Shown("not shown", kind="hidden")


@dataclass(frozen=True)
class Released:
    """The part of a table that may be shown: the rates of each group, and the denominators of each rate."""

    rates: tuple[Mapping[RateName, Shown], ...]
    tries: Mapping[RateName, tuple[str, ...]]
    row_numbers: tuple[int | None, ...]


def release(grouped: Grouped, wanted: Sequence[RateName], support: int) -> Released:
    """Decide which figures of a table may be shown.

    wanted: the rates that rules use, the most important first. support: the smallest denominator that is judged.
    """
    sizes, positives, negatives = (
        parts(grouped.counts, rate)[1] for rate in ("selection_rate", "true_positive_rate", "false_positive_rate")
    )
    # Rows are positives plus negatives: if one of the three is hidden, another must be hidden too.
    no_rows = _hidden(np.maximum(positives, negatives) < SMALLEST, [sizes])
    no_truth = _hidden(no_rows | (np.minimum(positives, negatives) < SMALLEST), [positives, negatives])
    return Released(
        rates=tuple(_rates(cells, wanted, support) for cells in grouped.counts),
        tries={
            "selection_rate": _texts(sizes, no_rows),
            "true_positive_rate": _texts(positives, no_truth),
            "false_positive_rate": _texts(negatives, no_truth),
            "accuracy": _texts(sizes, no_rows),
        },
        row_numbers=tuple(None if gone else int(size) for size, gone in zip(sizes, no_rows, strict=True)),
    )


def release_pool(cells: Counts, rate: RateName, members: Sequence[str]) -> tuple[Shown, str]:
    """Return one rate of all small groups together, and its denominator, as they may be shown.

    members: the denominator of each, as it is shown. If one is hidden, the sum and any rate of it would reveal that.
    """
    if not all(each[0].isdigit() for each in members):
        return _HIDDEN, _HIDDEN.text
    return _rates(cells, (rate,), SMALLEST)[rate], f"{int(parts(cells, rate)[1]):,}"


def share(rows: Sequence[int | None], sizes: Sequence[int], total: int) -> str:
    """Return which part of all rows these groups have, from what is shown of each alone.

    rows: the number of rows of each group, or None if it is hidden. sizes: the true numbers.
    """
    shown = sum(SMALLEST if number is None else number for number in rows)
    if None not in rows:
        return f"{100 * shown / total:.1f} % of the rows"
    if any(number is None and size >= SMALLEST for number, size in zip(rows, sizes, strict=True)):
        return "a part of the rows that is not shown"
    return f"under {math.ceil(1000 * shown / total) / 10:g} % of the rows"


def _hidden(small: Bools, columns: Sequence[Counts]) -> Bools:
    """Hide the small groups, and the next smallest until these have `_COVER` rows in each column."""
    hidden = small.copy()
    if small.any():
        for at in np.argsort(np.minimum.reduce(columns), kind="stable"):
            if all(column[hidden & ~small].sum() >= _COVER for column in columns):
                break
            hidden[at] = True
    return hidden


def _rates(cells: Counts, wanted: Sequence[RateName], support: int) -> dict[RateName, Shown]:
    """The rates of one group."""
    shown: dict[RateName, Shown] = {}
    for name in RATES:
        hits, tries = (int(part) for part in parts(cells, name))
        shown[name] = _rate(hits, tries) if tries >= support else Shown("too small to judge", kind="small")
    if cells.min() >= SMALLEST:
        return shown
    # Choose by the rules and by the number of rows of each truth, never by a cell: such a choice would reveal the cell.
    # For the same reason the other rates do not even get a bound.
    first = wanted[0] if wanted else "selection_rate"
    kept: set[RateName] = {first}
    if first not in _OVERALL:
        kept = set(RATES).difference(_OVERALL) if cells.sum(1).min() >= SMALLEST else set()
    return {name: each if name in kept or each.kind == "small" else _HIDDEN for name, each in shown.items()}


def _rate(hits: int, tries: int) -> Shown:
    if min(hits, tries - hits) >= SMALLEST:
        return Shown(f"{100 * hits / tries:.1f} %", round(hits / tries, 3))
    if tries < 2 * SMALLEST:
        return _HIDDEN  # a bound would narrow both hits and misses too much
    if hits < SMALLEST:
        return Shown(f"under {math.ceil(100 * SMALLEST / tries)} %", kind="bound")
    return Shown(f"over {math.floor(100 * (1 - SMALLEST / tries))} %", kind="bound")


def _texts(numbers: Counts, hidden: Bools) -> tuple[str, ...]:
    return tuple(
        f"fewer than {SMALLEST}" if n < SMALLEST else "not shown" if gone else f"{n:,}"
        for n, gone in zip(numbers.tolist(), hidden, strict=True)
    )
