"""What may be shown of small counts: none below ten, and nothing from which one could be worked out.

- A count below ten is "fewer than 10".
- Where one group's count is hidden, the others of its table are rounded, or the total would give it back.
- A rate whose hits or misses are fewer than ten is shown as a bound, and a gap with such a rate as its interval alone.
"""

import math
from dataclasses import dataclass

SMALLEST = 10
HIDDEN = f"fewer than {SMALLEST}"


@dataclass(frozen=True)
class Shown:
    """A rate as it may be shown: its text, and its value where that may be shown too."""

    text: str
    value: float | None


def count(number: int, *, rounded: bool = False) -> str:
    """A count in words that may be shown."""
    if number < SMALLEST:
        return HIDDEN
    return f"about {round_half_up(number):,}" if rounded else f"{number:,}"


def released(number: int, *, rounded: bool = False) -> int | None:
    """A count as a number that may be stored in a verdict, or None."""
    if number < SMALLEST:
        return None
    return round_half_up(number) if rounded else number


def round_half_up(number: int) -> int:
    """To the nearest ten, the same way on every side of it."""
    return (number + SMALLEST // 2) // SMALLEST * SMALLEST


def needs_rounding(counts: list[int]) -> bool:
    """Whether a table of these counts hides one, so that the others must not be exact."""
    return any(0 < number < SMALLEST for number in counts)


def rate(hits: int, tries: int) -> Shown:
    """A rate that may be shown, as a percentage."""
    if min(hits, tries - hits) >= SMALLEST:
        return Shown(f"{hits / tries:.1%}".replace("%", " %"), round(hits / tries, 3))
    if hits < SMALLEST:
        return Shown(f"under {math.ceil(100 * SMALLEST / tries)} %", None)
    return Shown(f"over {math.floor(100 * (1 - SMALLEST / tries))} %", None)
