"""What may be shown of small counts: none below ten, and nothing from which one could simply be worked out.

- A count below ten is "fewer than 10". Where a table hides one, its others are rounded, or the total gives it back.
- A rate whose hits or misses are fewer than ten is shown as a bound.
- Four cells (truth by answer) make all of a group's rates, so enough rates give back every cell. Where a cell is below
  ten, either the rates over all rows are shown or those given the truth, never both: those that the rules are about.
- A gap between rates of which one is not shown is shown as its interval alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.measures import RATES, Counts, RateName, parts

SMALLEST = 10
_OVERALL: tuple[RateName, ...] = ("selection_rate", "accuracy")
_WIDTH = 5  # how many values a hidden cell must at least be able to have


@dataclass(frozen=True)
class Shown:
    """A rate as it may be shown: in words, and its value where that may be shown; or why there is none."""

    text: str
    value: float | None = None
    kind: Literal["rate", "bound", "hidden", "small"] = "rate"


@dataclass(frozen=True)
class Released:
    """What may be shown of a table: for each group its rates, and the denominators of each rate."""

    rates: tuple[Mapping[RateName, Shown], ...]
    tries: Mapping[RateName, tuple[str, ...]]
    rows: tuple[str, ...]
    row_numbers: tuple[int | None, ...]


def release(grouped: Grouped, wanted: Sequence[RateName], support: int) -> Released:
    """Decide what of a table may be shown; `wanted` are the rates that rules are about, the most important first."""
    sizes = [int(size) for size in grouped.sizes]
    tries = {rate: [int(number) for number in parts(grouped.counts, rate)[1]] for rate in RATES}
    return Released(
        rates=tuple(_rates(cells, wanted, support) for cells in grouped.counts),
        tries={rate: _texts(numbers) for rate, numbers in tries.items()},
        rows=_texts(sizes),
        row_numbers=tuple(None if size < SMALLEST else _round(size) if _hides(sizes) else size for size in sizes),
    )


def _rates(cells: Counts, wanted: Sequence[RateName], support: int) -> dict[RateName, Shown]:
    """The rates of one group."""
    shown: dict[RateName, Shown] = {}
    for name in RATES:
        hits, tries = (int(part) for part in parts(cells, name))
        shown[name] = _rate(hits, tries) if tries >= support else Shown("too small to judge", kind="small")
    if cells.min() >= SMALLEST:
        return shown
    first = next((name for name in wanted if shown[name].value is not None), "selection_rate")
    kept = {name for name in RATES if (name in _OVERALL) == (first in _OVERALL)}
    if first in _OVERALL and _width(cells) < _WIDTH:
        kept = {first}
    hidden = Shown("not shown", kind="hidden")
    return {name: each if name in kept or each.value is None else hidden for name, each in shown.items()}


def _width(cells: Counts) -> int:
    """How many values each cell could have for one who knows the rows, the selection rate and the accuracy."""
    selected, right, rows = (int(number) for number in (cells[:, 1].sum(), cells[0, 0] + cells[1, 1], cells.sum()))
    return min(selected, right) - max(0, selected + right - rows)


def _rate(hits: int, tries: int) -> Shown:
    if min(hits, tries - hits) >= SMALLEST:
        return Shown(f"{100 * hits / tries:.1f} %", round(hits / tries, 3))
    if hits < SMALLEST:
        return Shown(f"under {math.ceil(100 * SMALLEST / tries)} %", kind="bound")
    return Shown(f"over {math.floor(100 * (1 - SMALLEST / tries))} %", kind="bound")


def _texts(numbers: Sequence[int]) -> tuple[str, ...]:
    small, about = f"fewer than {SMALLEST}", _hides(numbers)
    return tuple(small if n < SMALLEST else f"about {_round(n):,}" if about else f"{n:,}" for n in numbers)


def _hides(numbers: Sequence[int]) -> bool:
    return any(number < SMALLEST for number in numbers)


def _round(number: int) -> int:
    return (number + SMALLEST // 2) // SMALLEST * SMALLEST
