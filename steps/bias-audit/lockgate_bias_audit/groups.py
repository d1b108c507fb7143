"""Turn columns into counts: the group of each row, and how often each group got each answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lockgate_step import Category, Number
from numpy.typing import NDArray

from lockgate_bias_audit.measures import Counts

MISSING = "(missing)"
UNLISTED = "(not listed)"
ANY = "(any)"  # in an intersection: whatever the value of this column is


@dataclass(frozen=True)
class Column:
    """One sensitive column: the names of its groups, and each test row's group as an index into them.

    trained: the same of each training row. named: the groups that the spec names, as indices.
    """

    name: str
    groups: tuple[str, ...]
    codes: NDArray[np.int64]
    trained: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    named: tuple[int, ...] = ()


@dataclass(frozen=True)
class Grouped:
    """Counts [group, truth, prediction] of the groups of one column or of an intersection of several.

    A group that the spec names, or that has training rows, is one of them even if it has no test row.
    """

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
        present = [values for values, size in zip(self.members, self.sizes, strict=True) if size]
        return tuple(name for at, name in enumerate(self.between) if {values[at] for values in present} == {MISSING})

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


def column(spec: Category | Number, tested: pa.ChunkedArray, trained: pa.ChunkedArray) -> Column:
    """Encode one column of the test rows and of the training rows; a row without a value is in the group `(missing)`.

    A value that is neither listed nor a band could be anything, even a name, so it is never shown: it counts as
    `(not listed)`.
    """
    groups = (*(spec.values if isinstance(spec, Category) else spec.band_names), UNLISTED, MISSING)
    place: dict[str | None, int] = {group: code for code, group in enumerate(groups[:-2])}
    named = tuple(place[group] for group in spec.groups)
    place[None] = len(groups) - 1

    def coded(values: pa.ChunkedArray) -> NDArray[np.int64]:
        seen, codes = encode(values)
        return np.array([place.get(value, len(groups) - 2) for value in seen], dtype=np.int64)[codes]

    return Column(spec.name, groups, coded(tested), coded(trained), named)


def group(
    columns: Mapping[str, Column], between: Sequence[str], truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> Grouped:
    """Count truth and prediction in every group of the intersection of these columns.

    Its groups are the combinations that occur among test or training rows. Other combinations may be impossible, so
    they are no groups; but a value that the spec names and that occurs in no combination at all is one.
    """
    chosen = [columns[name] for name in between]
    shape = tuple(len(each.groups) + 1 for each in chosen)  # the last place is ANY
    tested, trained = (
        np.ravel_multi_index(codes, shape)
        for codes in (tuple(each.codes for each in chosen), tuple(each.trained for each in chosen))
    )
    absent = [int(np.ravel_multi_index(place, shape)) for place in _absent(chosen)]
    known = np.unique(np.concatenate([tested, trained, np.array(absent, dtype=np.int64)]))
    cells = np.bincount(np.searchsorted(known, tested) * 4 + truth * 2 + predicted, minlength=4 * len(known))
    positions = zip(*np.unravel_index(known, shape), strict=True)
    members = [
        tuple((*each.groups, ANY)[at] for each, at in zip(chosen, position, strict=True)) for position in positions
    ]
    return Grouped(tuple(between), tuple(members), cells.reshape(-1, 2, 2).astype(np.int64))


def _absent(chosen: Sequence[Column]) -> Iterator[tuple[int, ...]]:
    """The place of each value that the spec names and that no row has, whatever the other columns say."""
    anything = tuple(len(each.groups) for each in chosen)
    for at, each in enumerate(chosen):
        for code in np.setdiff1d(each.named, np.concatenate([each.codes, each.trained])):
            yield (*anything[:at], int(code), *anything[at + 1 :])
