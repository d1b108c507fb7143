"""Dot-and-whisker plots as inline SVG: a value, its interval and its limit.

Each row of a table has one strip. Strips and axis share one scale, so that grid and limit line up across the rows.
Positions are percentages, so that a browser can draw them at any width without a script.
"""

import math
from dataclasses import dataclass
from itertools import takewhile

from lockgate_report._html import Html, el
from lockgate_report._parts import Tone

_HEIGHT = 38
_NARROWEST = 0.01  # the smallest width of a scale: otherwise a single value would have no tick near it


@dataclass(frozen=True)
class Scale:
    """The scale that all plots of one table share."""

    low: float
    high: float
    step: float
    percent: bool = False

    def x(self, value: float) -> str:
        """The position of a value as a percentage of the width."""
        return f"{100 * self.share(value):.2f}%"

    def share(self, value: float) -> float:
        """The position of a value from 0 to 1; a value outside the scale is drawn at the edge."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    @property
    def ticks(self) -> list[float]:
        """The round values within the scale."""
        first = math.ceil(self.low / self.step - 1e-9)
        return list(takewhile(lambda v: v <= self.high + 1e-9, ((first + n) * self.step for n in range(100))))

    def label(self, value: float) -> str:
        """The text of a tick."""
        places = max(0, -math.floor(math.log10(self.step * (100 if self.percent else 1)) + 1e-9))
        return f"{100 * value:.{places}f} %" if self.percent else f"{value:.{places}f}"


@dataclass(frozen=True)
class Mark:
    """The content of one strip: without a value only the whisker, without both only the grid."""

    value: float | None
    low: float | None
    high: float | None
    tone: Tone = "plain"


def scale(values: list[float], *, percent: bool = False, zero: bool = True) -> Scale:
    """Build a scale with round ticks that contains all values, and zero unless `zero` is false."""
    every = [*values, *([0.0] if zero else [])] or [0.0, 1.0]
    narrow = max(0.0, _NARROWEST - (max(every) - min(every))) / 2
    low, high = min(every) - narrow, max(every) + narrow
    if zero and min(every) >= 0:
        low, high = 0.0, high + narrow
    spread = high - low
    power = 10 ** math.floor(math.log10(spread / 5))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= spread / 5 * (1 - 1e-9))
    start = 0.0 if zero and min(every) >= 0 else low - 0.06 * spread
    return Scale(start, high + 0.06 * spread, step, percent)


def axis(along: Scale, alt: str) -> Html:
    """Draw the ticks of a scale, for the table's head."""
    marks = [
        el("text", along.label(tick), x=along.x(tick), y=14, text_anchor=_anchor(along.share(tick)), class_="tick")
        for tick in along.ticks
    ]
    return el("svg", *marks, width="100%", height=20, role="img", aria_label=alt)


def strip(
    mark: Mark, along: Scale, alt: str, *, limit: float | None = None, allowed: tuple[float, float] | None = None
) -> Html:
    """Draw one row of the plot; `alt` is its text alternative, `allowed` the range to shade."""
    middle = _HEIGHT // 2
    parts: list[Html] = []
    if allowed:
        start, end = (100 * along.share(edge) for edge in allowed)
        parts.append(el("rect", x=f"{start:.2f}%", y=0, width=f"{end - start:.2f}%", height=_HEIGHT, class_="band"))
    parts += [_upright(along.x(tick), 0, _HEIGHT, "grid") for tick in along.ticks]
    if limit is not None:
        parts.append(_upright(along.x(limit), 0, _HEIGHT, "limit"))
    if mark.low is not None and mark.high is not None:
        low, high, tone = along.x(mark.low), along.x(mark.high), f"whisker {mark.tone}"
        parts.append(el("line", x1=low, x2=high, y1=middle, y2=middle, class_=tone))
        parts += [_upright(end, middle - 6, middle + 6, tone) for end in (low, high)]
    if mark.value is not None:
        parts.append(el("circle", cx=along.x(mark.value), cy=middle, r=5.5, class_=f"dot {mark.tone}"))
    return el("svg", *parts, width="100%", height=_HEIGHT, role="img", aria_label=alt)


def _upright(x: str, top: int, bottom: int, kind: str) -> Html:
    return el("line", x1=x, x2=x, y1=top, y2=bottom, class_=kind)


def _anchor(share: float) -> str:
    """Keep a label at either edge inside the plot."""
    return "start" if share < 0.03 else "end" if share > 0.97 else "middle"
