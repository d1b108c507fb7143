"""What may be shown of small counts: none below ten, and nothing from which one could simply be worked out.

- A count below ten is "fewer than 10". So that no total gives it back, the next smallest beside it are not shown.
- A rate whose hits or misses are fewer than ten is shown as a bound.
- Four cells (truth by answer) make all of a group's rates, so two rates and the rows give back every cell. Where a cell
  is below ten, either those given the truth are shown or a single one over all rows: what the rules are about.
  Where a truth has fewer than ten rows, only the latter: a rate to three digits tells its denominator.
- A gap between rates of which one is not shown is shown as its interval alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.measures import RATES, Counts, RateName, parts

Bools = NDArray[np.bool_]

SMALLEST = 10
_OVERALL: tuple[RateName, ...] = ("selection_rate", "accuracy")
_COVER = 20  # how many rows beside the small counts must be hidden with them


@dataclass(frozen=True)
class Shown:
    """A rate as it may be shown: in words, and its value where that may be shown; or why there is none."""

    text: str
    value: float | None = None
    kind: Literal["rate", "bound", "hidden", "small"] = "rate"


_HIDDEN = Shown("not shown", kind="hidden")


@dataclass(frozen=True)
class Released:
    """What may be shown of a table: for each group its rates, and the denominators of each rate."""

    rates: tuple[Mapping[RateName, Shown], ...]
    tries: Mapping[RateName, tuple[str, ...]]
    row_numbers: tuple[int | None, ...]


def release(grouped: Grouped, wanted: Sequence[RateName], support: int) -> Released:
    """Decide what of a table may be shown; `wanted` are the rates that rules are about, the most important first."""
    sizes, positives, negatives = (
        parts(grouped.counts, rate)[1] for rate in ("selection_rate", "true_positive_rate", "false_positive_rate")
    )
    # Rows, positives and negatives add up, so where one is hidden another must be too.
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


def _hidden(small: Bools, columns: Sequence[Counts]) -> Bools:
    """The groups to hide: the small ones, and the next smallest until what is hidden beside them is enough of each."""
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
    # Which are shown may hang on what rules are about and on how many rows each truth has, but on no cell: a choice
    # that did would tell about it. For the same reason not even a bound is shown of the others.
    first = wanted[0] if wanted else "selection_rate"
    kept: set[RateName] = {first}
    if first not in _OVERALL:
        kept = set(RATES).difference(_OVERALL) if cells.sum(1).min() >= SMALLEST else set()
    return {name: each if name in kept or each.kind == "small" else _HIDDEN for name, each in shown.items()}


def _rate(hits: int, tries: int) -> Shown:
    if min(hits, tries - hits) >= SMALLEST:
        return Shown(f"{100 * hits / tries:.1f} %", round(hits / tries, 3))
    if tries < 2 * SMALLEST:
        return _HIDDEN  # hits and misses could be told from each other's bound
    if hits < SMALLEST:
        return Shown(f"under {math.ceil(100 * SMALLEST / tries)} %", kind="bound")
    return Shown(f"over {math.floor(100 * (1 - SMALLEST / tries))} %", kind="bound")


def _texts(numbers: Counts, hidden: Bools) -> tuple[str, ...]:
    return tuple(
        f"fewer than {SMALLEST}" if n < SMALLEST else "not shown" if gone else f"{n:,}"
        for n, gone in zip(numbers.tolist(), hidden, strict=True)
    )
