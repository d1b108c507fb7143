"""The input check: accepted values are valid, and messages contain no values."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import tiny_bundle
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lockgate_model_server.check import Accepted, Rejected, Tensor, _fits, _rule, check
from lockgate_step import Column, read_columns

COLUMNS = read_columns(tiny_bundle.INPUTS)


def tensors(*rows: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        "age": Tensor("age", "FP64", [len(rows)], [row["age"] for row in rows]),
        "hours": Tensor("hours", "FP64", [len(rows)], [row["hours"] for row in rows]),
        "occupation": Tensor("occupation", "BYTES", [len(rows)], [row["occupation"] for row in rows]),
    }


GOOD = tensors(*tiny_bundle.ROWS)


def refusal(**changed: Tensor) -> str:
    outcome = check(COLUMNS, list({**GOOD, **changed}.values()))
    assert isinstance(outcome, Rejected)
    return str(outcome)


def age(*data: object, datatype: str = "FP64", shape: list[int] | None = None) -> Tensor:
    return Tensor("age", datatype, [len(data)] if shape is None else shape, list(data))


def test_golden_rows_are_accepted_with_numbers_as_float_and_missing_as_none() -> None:
    outcome = check(COLUMNS, list(reversed(GOOD.values())))
    assert isinstance(outcome, Accepted)
    assert list(outcome.columns) == ["age", "hours", "occupation"]
    assert outcome.columns["hours"] == [60.0, None, 12.5]
    assert outcome.columns["occupation"] == ["Exec", "Clerk", None]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT16"])
def test_numbers_may_come_as_any_numeric_datatype(datatype: str) -> None:
    outcome = check(COLUMNS, list({**GOOD, "age": age(50, 25, 38, datatype=datatype)}.values()))
    assert isinstance(outcome, Accepted)
    assert [type(value) for value in outcome.columns["age"]] == [float, float, float]


def test_a_column_may_be_nested_one_value_a_row() -> None:
    nested = age([50], [25], [38], shape=[3, 1])
    assert isinstance(check(COLUMNS, list({**GOOD, "age": nested}.values())), Accepted)
    assert isinstance(check(COLUMNS, list({**GOOD, "age": age(50, 25, 38, shape=[3, 1])}.values())), Accepted)


def test_the_ends_of_a_range_belong_to_it() -> None:
    assert isinstance(check(COLUMNS, list({**GOOD, "age": age(17, 90, 17.0)}.values())), Accepted)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (age(50, 25, 16), "column 'age': 1 of 3 values are below 17"),
        (age(50, 91, 91), "column 'age': 2 of 3 values are above 90"),
        (age(50, 25, 38.5), "column 'age': 1 of 3 values are not whole"),
        (age(50, None, 38), "column 'age': 1 of 3 values are missing, which this column does not allow"),
        (age(50, "25", 38), "column 'age': 1 of 3 values are not numbers"),
        (age(50, True, 38), "column 'age': 1 of 3 values are not numbers"),
        (age(50, [25], 38), "column 'age': 1 of 3 values are not numbers"),
        (age(50, math.inf, math.nan), "column 'age': 2 of 3 values are not finite"),
        (age(50, 1e39, 38), "column 'age': 1 of 3 values are not finite"),
        (age(50, 10**400, 38), "column 'age': 1 of 3 values are not finite"),
        (age(50, 25, 38.0, datatype="INT64"), "column 'age' has fractions but was sent as INT64"),
        (age("50", "25", "38", datatype="BYTES"), "column 'age' must be sent as FP64, not BYTES"),
        (age(True, True, True, datatype="BOOL"), "column 'age' must be sent as FP64, not BOOL"),
        (age(50, 25), "column 'age' has 2 rows where another column has 3"),
        (age(50, 25, 38, shape=[2]), "column 'age' has a shape that does not fit its data"),
        (age(50, 25, 38, shape=[]), "column 'age' has a shape that does not fit its data"),
        (age(50, 25, 38, shape=[1, 3]), "column 'age' has a shape that does not fit its data"),
        (age(50, 25, 38, shape=[-3]), "column 'age' has a shape that does not fit its data"),
        (age(), "column 'age' is empty"),
        (Tensor("age", "FP64", [1], None), "column 'age' has a shape that does not fit its data"),
        (Tensor("age", "FP64", [1], 50.0), "column 'age' has a shape that does not fit its data"),
    ],
)
def test_a_bad_column_is_named_with_what_is_wrong(tensor: Tensor, said: str) -> None:
    assert said in refusal(age=tensor)


def test_a_category_outside_the_list_is_counted() -> None:
    stranger = Tensor("occupation", "BYTES", [3], ["Exec", "Priest", 1])
    assert refusal(occupation=stranger) == (
        "column 'occupation': 1 of 3 values are not among its 2 categories; "
        "column 'occupation': 1 of 3 values are not strings"
    )


def test_missing_unknown_and_repeated_columns_are_named() -> None:
    sex = Tensor("sex", "BYTES", [3], ["F"] * 3)
    outcome = check(COLUMNS, [GOOD["age"], GOOD["age"], GOOD["hours"], sex])
    assert str(outcome) == (
        "column 'sex' is not an input of this model; column 'occupation' is missing; column 'age' is given twice"
    )


def test_many_faults_are_cut_short() -> None:
    strangers = [Tensor(f"x{number}", "FP64", [3], [0.0] * 3) for number in range(9)]
    outcome = check(COLUMNS, [*GOOD.values(), *strangers])
    assert str(outcome).endswith("; and 4 more")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
near = st.sampled_from([None, 16, 17, 17.5, 90, 90.0, 91, 1, 99, "Exec", "Clerk", "exec", "", True]) | json_values
datatypes = st.sampled_from(["FP64", "INT64", "BYTES", "BOOL", "FP16"])
arbitrary = st.builds(
    lambda name, datatype, data, shape: Tensor(name, datatype, [len(data)] if shape is None else shape, data),
    st.sampled_from(["age", "hours", "occupation"]),
    datatypes,
    st.lists(near, max_size=3),
    st.none() | st.lists(st.integers(-2, 4), max_size=3),
)


@given(st.lists(arbitrary, min_size=2, max_size=4))
def test_whatever_is_accepted_is_allowed(sent: list[Tensor]) -> None:
    match check(COLUMNS, sent):
        case Rejected(faults):
            assert faults
        case Accepted(columns):
            (rows,) = {len(column) for column in columns.values()}
            assert rows > 0
            assert all(
                isinstance(value, float) and 17 <= value <= 90 and value.is_integer() for value in columns["age"]
            )
            assert all(value is None or (isinstance(value, float) and 1 <= value <= 99) for value in columns["hours"])
            assert set(columns["occupation"]) <= {"Exec", "Clerk", None}


@given(st.lists(near, min_size=1, max_size=3))
def test_a_refusal_is_the_same_whatever_the_values_are(data: list[object]) -> None:
    """The message is the same for different values with the same fault, so it cannot contain a value."""
    marked = [f"secret-{json.dumps(value, default=str)}" for value in data]
    rows = len(data)
    said = refusal(
        age=Tensor("age", "FP64", [rows], marked),
        hours=Tensor("hours", "FP64", [rows], [1.0] * rows),
        occupation=Tensor("occupation", "BYTES", [rows], marked),
    )
    assert said == (
        f"column 'age': {rows} of {rows} values are not numbers; "
        f"column 'occupation': {rows} of {rows} values are not among its 2 categories"
    )


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.sampled_from([17.0, 90.0, 90.5, 3.5, -0.0, "Exec", "Clerk", "exec", [1.0], {}]),
)
fitting = st.one_of(st.none(), st.integers(17, 90), st.floats(17, 90), st.sampled_from(["Exec", "Clerk"]))


@settings(deadline=None)
@given(
    st.sampled_from([*COLUMNS, *(replace(column, missing=True) for column in COLUMNS)]),
    st.one_of(st.lists(fitting, min_size=1), st.lists(anything, min_size=1)),
)
@example(COLUMNS[1], [20.0, math.nan, None])
@example(COLUMNS[0], [20, True])
@example(COLUMNS[2], ["Exec", ["Exec"]])
def test_a_list_fits_exactly_if_each_of_its_values_does(column: Column, values: list[Any]) -> None:
    alone = _rule(column)
    assert _fits(column, values) == all(alone(value) is None for value in values)
