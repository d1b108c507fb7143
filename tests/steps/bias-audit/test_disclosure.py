"""No count below ten is shown, and none can be calculated from what is shown."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lockgate_bias_audit.disclosure import release
from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.measures import RATES, RateName, parts
from lockgate_bias_audit.small import SMALLEST

CELL = st.one_of(st.integers(0, 25), st.integers(0, 400))
GROUPS = st.lists(st.lists(CELL, min_size=4, max_size=4).filter(lambda cells: sum(cells) > 0), min_size=1, max_size=5)
WANTED = st.lists(st.sampled_from(RATES), max_size=3, unique=True)


def grouped(cells: list[list[int]]) -> Grouped:
    members = tuple((f"g{at}",) for at in range(len(cells)))
    return Grouped(("g",), members, np.array(cells, dtype=np.int64).reshape(-1, 2, 2))


@settings(max_examples=300, deadline=None)
@given(GROUPS, WANTED)
def test_no_small_count_is_shown(cells: list[list[int]], wanted: list[RateName]) -> None:
    table = grouped(cells)
    shown = release(table, wanted, support=10)
    texts = list(itertools.chain(*shown.tries.values()))
    assert all(text in ("fewer than 10", "not shown") or int(text.replace(",", "")) >= SMALLEST for text in texts)
    for at, rates in enumerate(shown.rates):
        for name, each in rates.items():
            hits, tries = (int(part[at]) for part in parts(table.counts, name))
            if each.value is not None:
                assert min(hits, tries - hits) >= SMALLEST
                assert abs(each.value - hits / tries) <= 5.1e-4


@pytest.mark.parametrize("wanted", [(), ("true_positive_rate",), ("accuracy", "false_positive_rate")], ids=str)
@pytest.mark.parametrize("rows", [30, 38])
def test_no_small_cell_can_be_worked_out_of_a_groups_own_figures(rows: int, wanted: tuple[RateName, ...]) -> None:
    """Attack every table with this number of rows: several tables must give the same output."""
    alike: dict[str, list[list[int]]] = {}
    for cells in _tables(rows):
        alike.setdefault(repr(release(grouped([cells]), wanted, support=10)), []).append(cells)
    for tables in alike.values():
        for place in range(4):
            possible = {cells[place] for cells in tables}
            assert min(possible) >= SMALLEST or len(possible) >= 5, (tables[0], place)


def _tables(total: int) -> list[list[int]]:
    return [
        [a, b, c, total - a - b - c]
        for a in range(total + 1)
        for b in range(total + 1 - a)
        for c in range(total + 1 - a - b)
    ]


def _read(text: str) -> range:
    """The counts that a reader must consider possible."""
    if text == "fewer than 10":
        return range(0, SMALLEST)
    return range(10**6) if text == "not shown" else range(int(text.replace(",", "")), int(text.replace(",", "")) + 1)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=5).filter(
        lambda g: all(map(sum, g))
    )
)
def test_no_hidden_count_can_be_had_by_adding_and_subtracting(groups: list[tuple[int, int]]) -> None:
    """Attack: narrow every count by the sums over groups and totals, repeatedly, until nothing changes."""
    shown = release(grouped([[negative, 0, 0, positive] for positive, negative in groups]), (), support=10)
    columns: tuple[RateName, ...] = ("selection_rate", "true_positive_rate", "false_positive_rate")
    true = np.array([(p + n, p, n) for p, n in groups])
    low = np.array([[_read(shown.tries[name][at]).start for name in columns] for at in range(len(groups))])
    high = np.array([[_read(shown.tries[name][at]).stop - 1 for name in columns] for at in range(len(groups))])
    assume((true[:, 0] >= SMALLEST).sum() >= 1 and true.sum(0).min() >= 60)  # else too few rows to hide
    for _ in range(60):
        for at, column in np.ndindex(true.shape):  # totals over the groups are public
            others = (
                true.sum(0)[column] - (high.sum(0)[column] - high[at, column]),
                true.sum(0)[column] - (low.sum(0)[column] - low[at, column]),
            )
            low[at, column], high[at, column] = max(low[at, column], others[0]), min(high[at, column], others[1])
        for at in range(len(groups)):  # rows = positives + negatives
            low[at, 0], high[at, 0] = (
                max(low[at, 0], low[at, 1] + low[at, 2]),
                min(high[at, 0], high[at, 1] + high[at, 2]),
            )
            for one, other in ((1, 2), (2, 1)):
                low[at, one] = max(low[at, one], low[at, 0] - high[at, other])
                high[at, one] = min(high[at, one], high[at, 0] - low[at, other])
    assert (low <= true).all()
    assert (true <= high).all()
    for at, column in np.ndindex(true.shape):
        if true[at, column] < SMALLEST:
            assert high[at, column] - low[at, column] + 1 >= 5


def test_without_a_small_count_everything_is_exact() -> None:
    shown = release(grouped([[100, 20, 30, 50], [400, 40, 60, 80]]), (), support=30)
    assert shown.tries["selection_rate"] == ("200", "580")
    assert [each.text for each in shown.rates[0].values()] == ["35.0 %", "62.5 %", "16.7 %", "75.0 %"]
