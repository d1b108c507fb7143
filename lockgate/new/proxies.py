"""Find inputs that stand in for a sensitive column or for the label, by Cramér's V on a sample of the rows."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockgate_step import Category, Column, Number

from lockgate.new.columns import parsed
from lockgate.new.groups import group_of

_PROXY = 0.3  # the lowest Cramér's V of an input that is listed as a proxy
_TELLING = 0.6  # and of one that alone nearly tells the label: it may be known only afterwards


@dataclass(frozen=True)
class Proxy:
    """An input that is associated with a sensitive column; `strength` is bias-corrected Cramér's V, from 0 to 1."""

    column: str
    of: str
    strength: float


def find_proxies(
    sample: Sequence[Sequence[str]],
    header: Sequence[str],
    inputs: Mapping[str, Column],
    sensitive: Mapping[str, Column],
    missing: Sequence[str],
) -> list[Proxy]:
    """Return the inputs that are proxies for a sensitive column, the strongest first.

    sample: rows of the file, with the columns of `header`. missing: the file's spellings of a missing value.
    """
    columns = dict(zip(header, zip(*sample, strict=True), strict=True))
    coded = {name: _codes(column, columns[name], missing) for name, column in inputs.items()}
    grouped = {name: [group_of(each, value, missing) for value in columns[name]] for name, each in sensitive.items()}
    found = (
        Proxy(name, other, association(codes, groups))
        for name, codes in coded.items()
        for other, groups in grouped.items()
    )
    return sorted((proxy for proxy in found if proxy.strength >= _PROXY), key=lambda proxy: -proxy.strength)


def find_telling(
    sample: Sequence[Sequence[str]],
    header: Sequence[str],
    inputs: Mapping[str, Column],
    labels: Sequence[object],
    missing: Sequence[str],
) -> dict[str, float]:
    """Return the inputs that alone nearly tell the label, and how strongly; the strongest first.

    labels: of each row of the sample. The other parameters are those of `find_proxies`.
    """
    columns = dict(zip(header, zip(*sample, strict=True), strict=True))
    found = {name: association(_codes(column, columns[name], missing), labels) for name, column in inputs.items()}
    telling = {name: strength for name, strength in found.items() if strength >= _TELLING}
    return dict(sorted(telling.items(), key=lambda each: -each[1]))


def _codes(column: Column, values: Sequence[str], missing: Sequence[str]) -> Sequence[object]:
    """The values of an input as classes: categories unchanged, numbers by decile."""
    match column:
        case Category():
            return values
        case Number():
            numbers = [None if value in missing else parsed(value) for value in values]
            known = sorted(number for number in numbers if number is not None)
            edges = sorted({known[len(known) * tenth // 10] for tenth in range(1, 10)}) if known else []
            return [None if number is None else bisect_right(edges, number) for number in numbers]


def association(left: Sequence[object], right: Sequence[object]) -> float:
    """Cramér's V of two columns with Bergsma's bias correction: 0 for independent columns, 1 for equivalent ones."""
    pairs, lefts, rights = Counter(zip(left, right, strict=True)), Counter(left), Counter(right)
    rows = len(left)
    if rows < 2:
        return 0.0
    square = sum(count**2 / (lefts[a] * rights[b]) for (a, b), count in pairs.items()) - 1
    free = (len(lefts) - 1) * (len(rights) - 1)
    corrected = max(0.0, square - free / (rows - 1))
    smaller = min(_corrected_classes(len(lefts), rows), _corrected_classes(len(rights), rows)) - 1
    return min(1.0, math.sqrt(corrected / smaller)) if smaller > 0 else 0.0


def _corrected_classes(classes: int, rows: int) -> float:
    return classes - (classes - 1) ** 2 / (rows - 1)
