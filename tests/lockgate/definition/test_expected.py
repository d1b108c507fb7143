"""expectations.json against the spec, before anything runs."""

import json
from typing import Any

import pytest

from lockgate import Data, ModelSpec, category, label, number
from lockgate.definition.expected import check_expectations
from lockgate.errors import SpecError

SPEC = ModelSpec(
    name="loans",
    owner="a@b.example",
    data=Data(uri="data/rows.csv"),
    target=label("granted", positive="yes", negative="no"),
    inputs={"income": number(0, 10)},
    sensitive={"sex": category("F", "M")},
    train={},
)


def entry(**kwargs: object) -> dict[str, Any]:
    return {"type": "expect_column_mean_to_be_between", "kwargs": kwargs, "severity": "warning"}


def test_entries_of_removed_columns_are_all_named_with_their_lines() -> None:
    """Before the first step: `lockgate new` writes entries, and a person removes an input."""
    entries = [entry(column="wage"), entry(column="income"), entry(column_list=["sex", "pays é"]), entry(column="wage")]
    text = "[\n" + ",\n".join(json.dumps(each) for each in entries) + "\n]\n"
    with pytest.raises(SpecError, match=r"loans: expectations.json names columns .*: wage, pays é$") as caught:
        check_expectations(SPEC, text)
    assert caught.value.fix == "correct the name, or remove the entry: line 2, 4, 5 of expectations.json"


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "not JSON",
        '{"kwargs": {"column": "wage"}}',
        '[7, {"kwargs": 7}, {"kwargs": {"column": 7}}]',
        json.dumps([entry(column=each) for each in ("income", "sex", "granted")]),
        json.dumps([entry(min_value=3)]),
    ],
)
def test_what_names_no_other_column_is_left_to_the_gate(text: str) -> None:
    check_expectations(SPEC, text)
