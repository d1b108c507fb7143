"""Asks a model the same rows in other arrangements: an answer must depend on its row alone."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate_model._card import UnsafeModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockgate_model._predict import Columns, Predictor

# Between two arrangements; a label never differs. The models that we convert differ by 0 in the shape that is served.
# A matrix product differs by up to 2.4e-7 between one row and several, in the shapes of `run_at_once`.
TOLERANCE = 1e-6
SAMPLE = 2000
_ALONE = {"onnx": SAMPLE, "skops": 50}  # requests of one row: a pipeline takes some milliseconds for each
_SIZES = (2, 7, 64, 512, 4096)


@dataclass(frozen=True)
class Asked:
    """What was asked: the rows of the sample, the arrangements of them, and the largest difference of a score."""

    rows: int
    arrangements: tuple[str, ...]
    largest: float


def ask(predictor: "Predictor", columns: "Columns", judged: Sequence[float] | None = None, *, seed: int = 0) -> Asked:
    """Ask rows in other arrangements, and compare the answers.

    columns: at least one row, as for `Predictor.predict`; a sample of at most SAMPLE of them is asked. judged: the
        scores that these rows got before.
    Errors: UnsafeModel, with the arrangement and how many of the rows get another answer.
    """
    import numpy as np

    draw = random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret
    count = len(next(iter(columns.values())))
    wanted = predictor.scores(columns) if judged is None else np.asarray(judged)
    largest, done = 0.0, []
    for name, places, given, served in _arrangements(predictor, columns, count, draw):
        largest = max(largest, _difference(predictor, name, given, wanted[list(places)], served=served))
        done.append(name)
    return Asked(min(count, SAMPLE), tuple(done), largest)


def ask_in_other_sizes(predictor: "Predictor", columns: "Columns", judged: Sequence[float]) -> float:
    """Ask every row of a graph in requests of each size that the server runs in another shape.

    Returns the largest difference of a score. Errors: UnsafeModel.
    """
    import numpy as np

    from lockgate_model._session import SIZES

    if predictor.card.format != "onnx":
        return 0.0
    count, wanted, largest = len(judged), np.asarray(judged), 0.0
    # A graph that runs one row at a time has one shape, whatever the size is.
    for size in SIZES if predictor.at_once is None else SIZES[:1]:
        parts = []
        for start in range(0, count, size):
            places = [i % count for i in range(start, start + size)]  # the last request is filled up
            parts.append(predictor.scores({name: [values[i] for i in places] for name, values in columns.items()}))
        given = np.concatenate(parts)[:count]
        largest = max(largest, _difference(predictor, f"in requests of {size} rows", given, wanted, served=True))
    return largest


def _difference(
    predictor: "Predictor", name: str, given: "NDArray[np.float64]", wanted: "NDArray[np.float64]", *, served: bool
) -> float:
    """Return the largest difference of a score. served: whether a server asks so, so that no label may differ either.

    Errors: UnsafeModel.
    """
    import numpy as np

    apart = np.abs(given - wanted)
    same = apart <= TOLERANCE  # NaN is not the same
    if served:
        same &= (given >= predictor.card.threshold) == (wanted >= predictor.card.threshold)
    if wrong := int(np.sum(~same)):
        msg = f"{wrong} of {len(given)} answers change when the same rows are asked {name}"
        raise UnsafeModel(msg, fix="serve a model whose answer to a row depends on that row alone")
    return float(apart.max())


def _arrangements(
    predictor: "Predictor", rows: "Columns", count: int, draw: random.Random
) -> "Iterator[tuple[str, Sequence[int], NDArray[np.float64], bool]]":
    """Yield each arrangement: its name, the places of its rows, their scores, and whether a server may ask so."""
    import numpy as np

    def taken(places: Sequence[int]) -> "Mapping[str, list[Any]]":
        return {name: [values[i] for i in places] for name, values in rows.items()}

    shuffled = draw.sample(range(count), min(count, SAMPLE))
    alone = shuffled[: _ALONE[predictor.card.format]]
    among = [draw.randrange(count) for _ in range(4 * len(shuffled))]
    among[::4] = shuffled  # each row with three others
    for name, places in (
        ("again", sorted(shuffled)),
        ("in reverse order", sorted(shuffled, reverse=True)),
        ("in another order", shuffled),
        ("among other rows", among),
    ):
        yield name, places, predictor.scores(taken(places)), True
    yield "alone", alone, np.concatenate([predictor.scores(taken([i])) for i in alone]), True
    if predictor.at_once:
        for size in _SIZES:
            places = [shuffled[i % len(shuffled)] for i in range(size)]
            given = predictor.at_once(taken(places))
            if given is not None:
                yield f"{size:,} at once", places, given, False
