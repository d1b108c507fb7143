"""Two groups differ for certain only if they do: seldom when their rates are the same, nearly always when far apart."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from lockgate_policy import certain_gap

counts = st.integers(1, 500).flatmap(lambda tries: st.tuples(st.integers(0, tries), st.just(tries)))


@given(st.dictionaries(st.sampled_from("abcd"), counts))
def test_the_gap_is_between_the_higher_and_the_lower_rate(groups: dict[str, tuple[int, int]]) -> None:
    gap = certain_gap(groups)
    if gap:
        (many, of_many), (few, of_few) = groups[gap.high], groups[gap.low]
        assert 0 < gap.at_least <= gap.value == many / of_many - few / of_few


def test_equal_rates_seldom_differ_for_certain() -> None:
    draw = Random(1)
    groups = (100, 300, 1000)
    wrong = sum(
        certain_gap({str(n): (sum(draw.random() < 0.1 for _ in range(n)), n) for n in groups}) is not None
        for _ in range(400)
    )
    assert wrong <= 0.05 * 400 + 10


def test_far_rates_differ() -> None:
    assert certain_gap({"F": (120, 750), "M": (22, 750)})
    assert certain_gap({"F": (71, 750), "M": (71, 750)}) is None
    assert certain_gap({"all": (5, 10)}) is None
