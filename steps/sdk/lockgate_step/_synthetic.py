"""Draws synthetic rows, column by column."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

Value = float | str | None


def synthetic_rows(
    columns: Mapping[str, Sequence[Value]], count: int, *, seed: int = 0, support: int = 10
) -> list[dict[str, Value]]:
    """Draw rows column by column and independently, so that no person's row is repeated on purpose.

    columns: name -> the values seen in training (None = missing).
    support: a value seen fewer times is never drawn; a number with no such value is drawn from the rounded
        quantiles between its 5th and 95th percentile instead.
    Errors: ValueError when a category column has no value with enough support.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret
    pools = {name: _pool(name, values, support) for name, values in columns.items()}
    return [{name: draw.choice(pool) for name, pool in pools.items()} for _ in range(count)]


def _pool(name: str, values: Sequence[Value], support: int) -> list[Value]:
    counts = Counter(None if value != value else value for value in values)  # only NaN differs from itself
    common = [value for value, seen in counts.items() if seen >= support]
    if common:
        return sorted(common, key=lambda value: (value is None, str(type(value)), value))  # type: ignore[arg-type, return-value]
    numbers = sorted(value for value in values if isinstance(value, int | float) and value == value)
    if len(numbers) < 2 * support:
        msg = f"column {name!r} has no value seen at least {support} times"
        raise ValueError(msg)
    edges = [numbers[round(share * (len(numbers) - 1))] for share in (0.05, 0.95)]
    return [float(f"{edges[0] + (edges[1] - edges[0]) * step / 9:.3g}") for step in range(10)]
