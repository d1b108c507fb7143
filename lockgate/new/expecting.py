"""Suggest the expectations of the data that the spec does not cover: row counts, missing shares, means."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lockgate_step import Column, Number

from lockgate.new.columns import parsed
from lockgate.new.profiling import Profile

COVERED = "Types, ranges, categories and columns that are never missing are checked as pipeline.py states them."


def expectations(profile: Profile) -> str:
    """Return expectations.json: entries of Great Expectations, each with its reason; never empty.

    An input that `new` asks to remove has none, or removing it would leave an entry about a column that is not there.
    """
    kept = {name: column for name, column in profile.inputs.items() if name not in profile.telling}
    entries = [*_counts(profile), *_columns(profile, "rows", kept)]
    entries += _columns(profile, "train_sensitive", profile.sensitive)
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    return "[\n  " + ",\n  ".join(lines) + "\n]\n"


def _counts(profile: Profile) -> Iterator[dict[str, Any]]:
    rows = profile.rows - profile.unlabelled
    for table, share in (("rows", 1 - profile.test_share), ("test", profile.test_share)):
        yield _entry(
            "expect_table_row_count_to_be_between",
            {"min_value": max(1, math.floor(rows * share / 2))},
            "critical",
            table,
            f"Half of the rows when the model was created: a cut file would have fewer. {COVERED}",
        )


def _columns(profile: Profile, table: str, columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    for name, column in columns.items():
        values = profile.sampled(name)
        present = [value for value in values if value not in profile.missing]
        share = 1 - len(present) / len(values)
        mostly = math.floor(100 * (1 - max(2 * share, share + 0.05))) / 100
        if column.missing and mostly > 0:
            why = f"{_percent(share)} of the values were missing when the model was created."
            kwargs = {"column": name, "mostly": mostly}
            yield _entry("expect_column_values_to_not_be_null", kwargs, "warning", table, why)
        if isinstance(column, Number) and table == "rows" and (ends := _ends(present)):
            why = "Half a standard deviation to either side of the mean when the model was created: another unit shows."
            kwargs = {"column": name, "min_value": ends[0], "max_value": ends[1]}
            yield _entry("expect_column_mean_to_be_between", kwargs, "warning", table, why)


def _ends(values: Sequence[str]) -> tuple[float, float] | None:
    numbers = [number for value in values if (number := parsed(value)) is not None]
    if len(numbers) < 2:
        return None
    scale = max(map(abs, numbers)) or 1.0
    mean = math.fsum(number / scale for number in numbers) / len(numbers)
    spread = math.sqrt(math.fsum((number / scale - mean) ** 2 for number in numbers) / len(numbers)) / 2
    low, high = (float(f"{scale * end:.3g}") for end in (mean - spread, mean + spread))
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _entry(kind: str, kwargs: Mapping[str, Any], severity: str, table: str, why: str) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "severity": severity, "table": table, "why": why}


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "Fewer than 1 %"
