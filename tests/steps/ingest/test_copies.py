"""Test rows that are copies of training rows: counted in the record; a test file that is the data file is refused."""

import gzip
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_ingest.copies import _by_chance, copies
from lockgate_step import BadCall

from tests.steps.ingest.conftest import Workspace, spec
from tests.steps.ingest.test_bad_data import HEADER

OFFICIAL = spec(data__test="data/official.csv")


def people(count: int, seed: int, *, amounts: int = 10**6) -> list[str]:
    """Invented rows; with few amounts, many are equal by chance."""
    draw = random.Random(seed)
    return [
        f"{draw.randrange(amounts) / 10**4},{draw.choice(['clerk', 'nurse'])},{draw.choice('FM')},"
        f"{draw.randrange(20, 60)},{draw.choice(['yes', 'no'])}\n"
        for _ in range(count)
    ]


def counted(workspace: Workspace, train: Sequence[str], test: Sequence[str]) -> Any:
    """The copies of the record."""
    workspace.write("official.csv", HEADER + "".join(test))
    return workspace.freeze(OFFICIAL, data=workspace.write("tiny.csv", HEADER + "".join(train))).predicate["copies"]


def test_the_data_file_is_not_the_test_file(workspace: Workspace) -> None:
    """By its address, by its bytes, and by its rows in another format."""
    rows = HEADER + "".join(people(300, 1))
    data = workspace.write("tiny.csv", rows)
    for content in (rows, gzip.compress(rows.encode())):
        workspace.write("official.csv", content)
        with pytest.raises(BadCall, match=r"the test file official.csv has the same content as the data file tiny.csv"):
            workspace.freeze(OFFICIAL, data=data)
    with pytest.raises(BadCall, match=r"the test file tiny.csv has the same content as the data file tiny.csv"):
        workspace.freeze(OFFICIAL, data=data, test_data=data)
    for other in ("data/tiny.csv", "./data//tiny.csv"):
        with pytest.raises(BadCall, match="the model spec"):
            workspace.freeze(spec(data__test=other), data=data)


def test_copies_are_counted(workspace: Workspace) -> None:
    train, fresh = people(900, 1), people(300, 2)
    assert counted(workspace, train, fresh) == {"rows": None, "of": 300, "by_chance": None, "exceeds": False}
    found = counted(workspace, train, [*fresh[:200], *train[:100]])
    assert (found["rows"], found["of"], found["exceeds"]) == (100, 300, True)
    assert found["by_chance"] == pytest.approx(2 * 100 * 0.75 / 1200)
    shuffled = random.Random(3).sample(train, 300)
    assert counted(workspace, train, shuffled)["rows"] == 300
    assert counted(workspace, train, shuffled)["exceeds"]


def test_a_column_that_the_model_does_not_read_hides_no_copy(workspace: Workspace) -> None:
    """`sex` and `age` are only audited: other values there make no other row for the model."""
    train = people(900, 1)
    changed = [line.replace(",F,", ",X,").replace(",M,", ",F,").replace(",X,", ",M,") for line in train[:300]]
    assert counted(workspace, train, changed) == {"rows": 300, "of": 300, "by_chance": 0.375, "exceeds": True}


def test_training_rows_that_stand_twice_hide_no_copy(workspace: Workspace) -> None:
    """Else whoever copies could make copies look usual."""
    train = people(900, 1)
    found = counted(workspace, train * 2, train)
    assert (found["rows"], found["exceeds"]) == (900, True)
    assert found["by_chance"] == pytest.approx(1 - 1 / 9, abs=0.001)


def test_equal_rows_by_chance_are_no_copies(workspace: Workspace) -> None:
    """Twenty amounts, two jobs, two labels: nearly every row occurs in both files."""
    found = counted(workspace, people(900, 1, amounts=20), people(300, 2, amounts=20))
    assert found["rows"] > 280
    assert not found["exceeds"]
    found = counted(workspace, people(900, 1, amounts=900), people(300, 2, amounts=900))
    assert 60 < found["rows"] < 240
    assert not found["exceeds"]


def test_copies_under_other_keys_are_counted(workspace: Workspace) -> None:
    """A key may put equal rows on both sides of the split."""
    lines = people(600, 1)
    text = HEADER.replace("\n", ",id\n") + "".join(
        f"{line.strip()},{number}-{copy}\n" for copy in "ab" for number, line in enumerate(lines)
    )
    found: Any = workspace.freeze(spec(split__key=["id"]), data=workspace.write("tiny.csv", text)).predicate["copies"]
    assert found["rows"] > 0.4 * found["of"]


class _Rows:
    def __init__(self, digests: np.ndarray[Any, Any]) -> None:
        self.digests = digests


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 2000), st.integers(200, 2000), st.floats(0.1, 0.6), st.integers(0, 2**32))
def test_a_random_split_of_any_rows_is_never_refused(kinds: int, rows: int, share: float, seed: int) -> None:
    random_ = np.random.default_rng(seed)
    every = random_.integers(0, kinds, rows).astype(np.uint64)
    tested = random_.random(rows) < share
    if tested.all() or not tested.any():
        return
    train, test = _Rows(every[~tested]), _Rows(every[tested])
    found = copies(train, test)  # type: ignore[arg-type]
    assert not found["exceeds"]
    assert not [count for count in (found["rows"],) if count is not None and count < 10]


def test_mean_and_deviation_are_those_of_simulated_splits() -> None:
    random_ = np.random.default_rng(5)
    every = random_.integers(0, 700, 1000).astype(np.uint64)
    found = []
    for _ in range(400):
        order = random_.permutation(every)
        test, train = order[:250], order[250:]
        found.append(np.isin(test, train).sum())
    mean, deviation = _by_chance(every, 250)
    assert mean == pytest.approx(float(np.mean(found)), abs=1)
    assert deviation == pytest.approx(float(np.std(found)), rel=0.15)
