"""The guesses of types: for any column, a guess fits every value, or the column is left out."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lockgate_step import Category, Number

from lockgate.new.columns import (
    AMONG_NUMBERS,
    MISSING,
    Guess,
    LeftOut,
    Tally,
    guess,
    looks_like_identifier,
    looks_sensitive,
    parsed,
    spellings,
    widened,
)

numbers = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-1000, 1000, places=2, allow_nan=False).map(str),
)
texts = st.one_of(
    st.sampled_from(["yes", "no", "maybe", "2024-01-31", "007", "1_000", "inf", "é", " padded "]), st.text()
)
nothing = st.sampled_from(sorted(MISSING | AMONG_NUMBERS))
columns = st.one_of(
    st.lists(st.one_of(numbers, nothing), min_size=1),
    st.lists(st.one_of(st.sampled_from("abc"), nothing), min_size=1, max_size=200),
    st.lists(st.one_of(numbers, texts, nothing), min_size=1),
)


def tally(values: Sequence[str]) -> Tally:
    counted = Tally()
    counted.add(values)
    return counted


def guessed(values: Sequence[str], name: str = "x", *, sensitive: bool = False) -> tuple[Guess, tuple[str, ...]]:
    seen = tally(values)
    missing = spellings([seen])
    return guess(name, seen, missing, sensitive=sensitive), missing


@given(columns, st.booleans())
@example(["0.1", "0.30000000000000004"], False)
@example(["-0.0", "0"], True)
@example(["1.7976931348623157e308", "-1.7976931348623157e308"], True)
@example(["0", "1.6e308"], False)
@example(["5e-324", "0"], False)
@example(["None", "1", "2"] * 20, False)
@example(["None", "a", "b"] * 20, False)
@example(["0", "-0.5"], True)
@example(["0.25", "1.0"], True)
def test_every_value_fits_what_was_guessed(values: list[str], sensitive: bool) -> None:
    found, missing = guessed(values, sensitive=sensitive)
    present = [value for value in values if value not in missing]
    match found:
        case Number():
            assert found.missing == (len(present) < len(values))
            for value in present:
                number = parsed(value)
                assert number is not None
                assert found.low <= number <= found.high
                assert number.is_integer() or not found.whole
            assert all(found.low < edge <= found.high for edge in found.bands)
            assert bool(found.bands) == sensitive
            if sensitive:  # an empty band could never be judged
                assert len({bisect_right(found.bands, float(value)) for value in present}) == len(found.bands) + 1
        case Category():
            assert found.missing == (len(present) < len(values))
            assert set(present) == set(found.values)
        case LeftOut():
            assert found.why


@given(columns, st.integers(0, 200))
def test_pieces_give_the_same_tally(values: list[str], cut: int) -> None:
    apart = Tally()
    apart.add(values[:cut])
    apart.add(values[cut:])
    assert apart == tally(values)


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.booleans())
def test_a_range_is_wider_and_keeps_its_side_of_zero(one: float, other: float, whole: bool) -> None:
    low, high = sorted((one, other))
    below, above = widened(low, high, whole=whole)
    assert below <= low <= high <= above
    assert math.isfinite(below)
    assert math.isfinite(above)
    assert below >= 0 or low < 0
    assert above <= 0 or high > 0 or low == 0


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (17, 90, True, (0, 100)),
        (0, 4356, True, (0, 5000)),
        (0.02, 0.97, False, (0, 1)),
        (1.5, 3.5, False, (1.3, 3.7)),
        (-20, -5, True, (-22, -3)),
        (7, 7, True, (6, 8)),
    ],
)
def test_ranges_are_round(low: float, high: float, whole: bool, expected: tuple[float, float]) -> None:
    assert widened(low, high, whole=whole) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2", "3"] * 10, Number(low=0, high=4, whole=True)),
        (["0", "1"] * 10, Number(low=0, high=1, whole=True)),
        (["1.5", "3.5", ""] * 10, Number(low=1.3, high=3.7, missing=True)),
        (["1", "2", "None"] * 10, Number(low=0, high=3, whole=True, missing=True)),
        (["00501", "10001"] * 20, Category(values=("00501", "10001"))),
        (["a", "b", "NA"] * 20, Category(values=("a", "b"), missing=True)),
        (["None", "b"] * 20, Category(values=("None", "b"))),
        (["a"] * 30 + ["rare"], Category(values=("a", "rare"))),
    ],
)
def test_what_a_column_is(values: list[str], expected: Guess) -> None:
    found, _ = guessed(values)
    assert found == expected


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("x", ["same"] * 30, "same value in every row"),
        ("x", ["", "NA"] * 30, "no value in any row"),
        ("x", [f"text {n}" for n in range(61)] * 20, "more than 60"),
        ("x", [f"text {n}" for n in range(30)], "common enough"),
        ("x", ["2024-01-31", "2023-02-01"] * 20, "dates"),
        ("x", ["a" * 61, "b"] * 20, "free text"),
        ("x", ["{{a", "b"] * 20, "braces"),
        ("x", [str(n) for n in range(100)], "identifier"),
        ("client_id", [str(n * 977) for n in range(100)], "identifier"),
        ("x", [*(str(n) for n in range(100)), "twelve"], "numbers, except 1"),
    ],
)
def test_what_is_left_out_and_why(name: str, values: list[str], why: str) -> None:
    found, _ = guessed(values, name)
    assert isinstance(found, LeftOut)
    assert why in found.why


def test_an_amount_that_differs_in_every_row_is_not_an_identifier() -> None:
    found, _ = guessed([str(20_000 + n * 977) for n in range(100)], "salary")
    assert isinstance(found, Number)


def test_a_sensitive_number_has_bands_and_a_few_numbers_are_groups() -> None:
    age, _ = guessed([str(20 + n % 60) for n in range(600)], "age", sensitive=True)
    assert isinstance(age, Number)
    assert list(age.bands) == [25, 40, 60]
    code, _ = guessed(["1", "2", "9"] * 20, "ethnicity_code", sensitive=True)
    assert code == Category(values=("1", "2", "9"))


SENSITIVE = """
sex Gender applicant_sex SexeAssigné race Ethnicité âge Age ageAtHire maritalStatus état_matrimonial is_indigenous
AUTOCHTONE first_language Langue province PostalCode citizenship NATIVE_COUNTRY has_disability religion
"""


@pytest.mark.parametrize("name", SENSITIVE.split())
def test_sensitive_by_name(name: str) -> None:
    assert looks_sensitive(name)


@pytest.mark.parametrize("name", ["mileage", "sexton", "average", "tracey", "income", "percentage", "essex_branch"])
def test_not_sensitive_by_name(name: str) -> None:
    assert not looks_sensitive(name)


def test_identifiers_by_name() -> None:
    assert [name for name in ("id", "client_id", "userID", "NAS", "width", "paid") if looks_like_identifier(name)] == [
        "id", "client_id", "userID", "NAS",
    ]  # fmt: skip


def test_memory_does_not_grow_with_the_rows() -> None:
    seen = Tally()
    for start in range(0, 200_000, 20_000):
        seen.add([str(n * 7) for n in range(start, start + 20_000)])
    assert seen.many
    assert not seen.counts
    assert guess("amount", seen, ("",)) == Number(low=0, high=1_600_000, whole=True)
    assert isinstance(guess("row_id", seen, ("",)), LeftOut)


@pytest.mark.parametrize("name", ["age", "income"])
@pytest.mark.parametrize("values", [range(20, 80), range(26, 80), range(41, 99), (*range(18, 25), *range(61, 99))])
def test_every_band_has_a_row(values: Sequence[int], name: str) -> None:
    """An empty band could never be judged, so every rule on it would be inconclusive."""
    found, _ = guessed([str(value) for value in values] * 10, name, sensitive=True)
    assert isinstance(found, Number)
    edges = (-math.inf, *found.bands, math.inf)
    assert all(any(low <= value < high for value in values) for low, high in pairwise(edges))
    assert found.groups == found.band_names
