"""Turn columns into counts: the group of each row, and how often each group got each answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockgate_bias_audit.measures import Counts

MISSING = "(missing)"
UNLISTED = "(not listed)"


@dataclass(frozen=True)
class Column:
    """One sensitive column: the names of its groups, and each row's group as an index into them."""

    name: str
    groups: tuple[str, ...]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Grouped:
    """Counts [group, truth, prediction] of the groups that occur in one column or in an intersection of several."""

    between: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]
    counts: Counts

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each group."""
        return tuple(" & ".join(values) for values in self.members)

    @property
    def silent(self) -> tuple[str, ...]:
        """The columns that have no value in any row."""
        return tuple(
            name for at, name in enumerate(self.between) if {values[at] for values in self.members} == {MISSING}
        )

    @property
    def sizes(self) -> Counts:
        """Rows of each group."""
        sizes: Counts = self.counts.sum((1, 2))
        return sizes


def encode(values: pa.ChunkedArray) -> tuple[list[str | None], NDArray[np.int64]]:
    """Return the distinct texts of a column (None for a missing value), and each row's index into them.

    Avoids `to_numpy` and Arrow's scalars, because they import pandas wherever it is installed.
    """
    encoded = pc.dictionary_encode(values.cast(pa.string()), null_encoding="encode").combine_chunks()
    return encoded.dictionary.to_pylist(), np.from_dlpack(encoded.indices).astype(np.int64)


def column(name: str, values: pa.ChunkedArray, listed: Sequence[str] | None) -> Column:
    """Encode one column; a row without a value belongs to the group `(missing)`.

    listed: the values that the spec allows, in its order. Any other value could be anything, even a name, so it is
        never shown: it counts as `(not listed)`. None if the groups are bands that ingest made.
    """
    seen, codes = encode(values)
    bands = sorted((value for value in seen if value is not None), key=_natural)
    groups = (*(bands if listed is None else listed), UNLISTED, MISSING)
    place: dict[str | None, int] = {group: code for code, group in enumerate(groups[:-2])}
    place[None] = len(groups) - 1
    recode = np.array([place.get(value, len(groups) - 2) for value in seen], dtype=np.int64)
    return Column(name, groups, recode[codes])


def group(
    columns: Mapping[str, Column], between: Sequence[str], truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> Grouped:
    """Count truth and prediction in every group that occurs in the intersection of these columns."""
    chosen = [columns[name] for name in between]
    shape = tuple(len(each.groups) for each in chosen)
    flat = np.ravel_multi_index(tuple(each.codes for each in chosen), shape)
    present, codes = np.unique(flat, return_inverse=True)
    cells = np.bincount(codes * 4 + truth * 2 + predicted, minlength=4 * len(present)).reshape(-1, 2, 2)
    positions = zip(*np.unravel_index(present, shape), strict=True)
    members = [tuple(each.groups[at] for each, at in zip(chosen, position, strict=True)) for position in positions]
    return Grouped(tuple(between), tuple(members), cells.astype(np.int64))


def _natural(band: str) -> tuple[float, str]:
    """Sort key of a band: the number it begins with; a band without a lower end comes first."""
    digits = band.lstrip("<≤ ").split("-")[0].split("–")[0].split(" ")[0].rstrip("+")
    try:
        return (float(digits) - (0.5 if band.startswith(("<", "under", "≤")) else 0), band)
    except ValueError:
        return (float("-inf"), band)
