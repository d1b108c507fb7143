"""Counts the test rows that are copies of a training row, and how many a random split of the same rows would give.

A copy is equal in every input and in the label. Tables of few columns have equal rows by chance, so the count alone
says nothing: of m equal rows, each test row has an equal training row unless a random split puts all m into the test
share. Of each row 8 bytes are kept.
"""

import hashlib
import math
from typing import Any

import numpy as np
import pyarrow as pa
from lockgate_step import SpecFile
from numpy.typing import NDArray

from lockgate_ingest.split import subjects

BEYOND = 5  # standard deviations of a random split; a gate refuses by this, so chance must not look like copies
_SHOWN = 10  # a count of fewer people is not shown


class Seen:
    """The digests of one share's rows."""

    def __init__(self, spec: SpecFile) -> None:
        self._names = [*(column.name for column in spec.inputs), spec.target.name]
        self._pieces: list[NDArray[np.uint64]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep the digest of each row of a canonical batch."""
        rows = subjects(batch, self._names).to_pylist()
        digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
        self._pieces.append(np.frombuffer(digests, dtype=np.uint64))

    @property
    def digests(self) -> NDArray[np.uint64]:
        """The digest of each row."""
        return np.concatenate([np.zeros(0, dtype=np.uint64), *self._pieces])


def copies(train: Seen, test: Seen) -> dict[str, Any]:
    """Return how many test rows are copies, without a count of fewer than ten people.

    `by_chance` is the share of copies that a random split would give. `exceeds`: whether there are ten copies or more,
    and more by five standard deviations than a random split would give.
    """
    known, tested = train.digests, test.digests
    found, of = int(np.isin(tested, known).sum()), len(tested)
    expected, deviation = _by_chance(np.concatenate([known, tested]), of)
    return {
        "rows": found if found >= _SHOWN else None,
        "of": of,
        "by_chance": round(expected / of, 3) if expected >= _SHOWN else None,
        "exceeds": found >= _SHOWN and found - expected > BEYOND * deviation,
    }


def _by_chance(rows: NDArray[np.uint64], tested: int) -> tuple[float, float]:
    """The mean and the standard deviation of the number of copies, if as many rows as these were drawn for testing.

    The rows without an equal training row are those of which all are drawn: m rows, with probability share**m. Their
    number goes with the number of drawn rows, which is fixed, so that part is taken from the variance.
    """
    times = np.unique(rows, return_counts=True)[1].astype(np.float64)
    share = tested / len(rows)
    every = share**times
    free = float((times**2 * every * (1 - every)).sum())
    with_the_size = float((times**2 * every).sum()) * (1 - share)
    variance = free - with_the_size**2 / (len(rows) * share * (1 - share))
    return tested - float((times * every).sum()), math.sqrt(max(variance, 0.0))
