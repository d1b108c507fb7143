"""spec.json has one codec: reading returns what was written, and an invalid spec is refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lockgate_step import (
    BadCall,
    Category,
    Column,
    Data,
    Number,
    Serving,
    SpecError,
    SpecFile,
    Split,
    Target,
    canonical,
    read_columns,
    read_spec,
    without_bands,
)

WRITTEN: dict[str, Any] = {
    "name": "adult-income",
    "owner": "owner@example.org",
    "description": "Who earns more?",
    "classification": "protected-a",
    "data": {
        "uri": "data/adult.data.gz", "test": "data/adult.test.gz", "format": "csv", "columns": ["age", "sex"],
        "delimiter": ";", "missing": ["?"], "comment": "|", "encoding": "latin-1",
        "unlabelled": "exclude",
        "limits": {"unpacked": 1 << 30, "ratio": 9, "line": 900, "cell": 90, "columns": 9},
    },
    "target": {"name": "income", "positive": ">50K", "negative": "<=50K", "spellings": {">50K.": ">50K"}},
    "inputs": [
        {"name": "age", "kind": "number", "low": 17.0, "high": 90.0, "whole": True, "missing": False, "unit": "years",
         "bands": []},
        {"name": "job", "kind": "category", "values": ["clerk", "cook"], "missing": True},
    ],
    "sensitive": [
        {"name": "age", "kind": "number", "low": 17.0, "high": 90.0, "whole": True, "missing": False, "unit": "years",
         "bands": [25.0, 60.0]},
    ],
    "also_inputs": ["age"],
    "split": {"test_share": 0.25, "key": ["household"], "seed": "adult"},
    "train": {"estimator": "x.Y", "fits": 20, "difference_bound": 0.1, "quiet": True},
    "tunable": ["fits"],
    "serving": {"replicas": 1, "max_replicas": 3, "cpu": "500m", "memory": "1Gi"},
}  # fmt: skip
LOW = {"name": "age", "kind": "number", "low": 17}

names = st.text(min_size=1)
floats = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def numbers(draw: st.DrawFn) -> Number:
    low, high = sorted((draw(floats), draw(floats)))
    bands = tuple(sorted(draw(st.sets(floats))))
    flags = {name: draw(st.booleans()) for name in ("whole", "missing")}
    return Number(name=draw(names), low=low, high=high, unit=draw(st.text()), bands=bands, **flags)


categories = st.builds(
    Category, name=names, values=st.lists(st.text(), min_size=1, unique=True).map(tuple), missing=st.booleans()
)


@given(st.lists(numbers() | categories).map(tuple))
def test_columns_are_read_as_they_were_written(columns: tuple[Column, ...]) -> None:
    assert read_columns(json.loads(canonical([column.to_json() for column in columns]))) == columns


def test_an_open_bound_is_left_out() -> None:
    (number,) = read_columns([LOW])
    assert isinstance(number, Number)
    assert (number.low, number.high) == (17, math.inf)
    assert "high" not in number.to_json()


def test_bands_are_for_the_audit_and_not_for_callers() -> None:
    banded, plain = Number(name="age", low=0, high=9, bands=(3,)), Number(name="age", low=0, high=9)
    job = Category(name="job", values=("clerk",))
    assert without_bands([banded, job]) == (plain, job)


def test_the_groups_of_a_column_are_its_values_or_the_bands_that_a_value_can_be_in() -> None:
    ages = Number(name="age", low=18, high=90, whole=True, bands=(10, 25, 40))
    assert ages.band_names == ("under 10", "10 to 24", "25 to 39", "40 and over")
    assert ages.groups == ("10 to 24", "25 to 39", "40 and over")
    assert Number(name="age", bands=(0.5, 1.5)).groups == ("under 0.5", "0.5 to under 1.5", "1.5 and over")
    assert Number(name="age", low=0, high=40, bands=(0, 40)).groups == ("0 to under 40", "40 and over")
    assert Number(name="age", low=0, high=39, bands=(0, 40)).groups == ("0 to under 40",)
    assert Number(name="age", low=0, high=9).groups == ()
    assert Category(name="job", values=("clerk", "cook")).groups == ("clerk", "cook")


@pytest.mark.parametrize("test", ["data/rows.csv", "./data/rows.csv", "data//rows.csv", "data/../data/rows.csv"])
def test_the_data_file_cannot_be_the_test_file(test: str) -> None:
    with pytest.raises(SpecError, match="as the data and as the test file"):
        Data(uri="data/rows.csv", test=test)
    assert Data(uri="data/rows.csv", test="data/rows.test.csv").test == "data/rows.test.csv"


def test_a_spec_is_read_as_it_was_written() -> None:
    spec = SpecFile.from_json(WRITTEN)
    assert spec.to_json() == WRITTEN
    assert SpecFile.from_json(json.loads(canonical(spec.to_json()))) == spec


def test_an_input_is_read_without_bands() -> None:
    inputs = [{**WRITTEN["inputs"][0], "bands": [20]}]
    assert SpecFile.from_json({**WRITTEN, "inputs": inputs}).to_json()["inputs"] == WRITTEN["inputs"][:1]


def test_a_spec_without_serving_is_read() -> None:
    spec = SpecFile.from_json({key: value for key, value in WRITTEN.items() if key != "serving"})
    assert spec.serving is None
    assert "serving" not in spec.to_json()


@pytest.mark.parametrize("missing", ["name", "classification", "data", "target", "inputs", "sensitive", "split"])
def test_a_missing_part_is_named(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "spec"
    path.write_bytes(canonical({key: value for key, value in WRITTEN.items() if key != missing}))
    with pytest.raises(BadCall, match=f"the model spec cannot be read: KeyError at {missing}") as caught:
        read_spec(path)
    assert "lockgate render" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"3", b'"a"', b"null", b'{"data": 1}', b'{"inputs": {}}'])
def test_what_is_not_a_spec_is_a_bad_call(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "spec"
    path.write_bytes(content)
    with pytest.raises(BadCall, match="the model spec cannot be read"):
        read_spec(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": [{**LOW, "high": 16}]}, "the lower bound is above the upper"),
        ({"sensitive": [{**LOW, "bands": [60, 25]}]}, "must increase"),
        ({"inputs": [{"name": "job", "kind": "category", "values": []}]}, "at least one value"),
        ({"inputs": [{"name": "job", "kind": "category", "values": ["a", "a"]}]}, "each once"),
        ({"inputs": [{"name": "job", "kind": "text"}]}, "column 'job' has the unknown kind 'text'"),
        ({"sensitive": [{"name": "job", "kind": "number"}]}, "declares job as a number in one place"),
        ({"target": {"name": "y", "positive": "a", "negative": "a"}}, "both labels are 'a'"),
        (
            {"target": {"name": "y", "positive": "a", "negative": "b", "spellings": {"c": "d"}}},
            "'c' is mapped to 'd', which is not a label",
        ),
        ({"data": {"uri": "x", "delimiter": "||"}}, r"has the invalid delimiter '\|\|'"),
        ({"split": {"test_share": 1, "key": [], "seed": ""}}, "is not between 0 and 1"),
        ({"serving": {"replicas": 3, "max_replicas": 2}}, "replicas=3 and max_replicas=2 are invalid"),
        ({"serving": {"cpu": "half"}}, "cpu 'half'"),
    ],
)
def test_an_invalid_spec_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "spec"
    path.write_bytes(canonical({**WRITTEN, **change}))
    with pytest.raises(SpecError, match=message) as caught:
        read_spec(path)
    assert caught.value.fix


def test_the_parts_have_defaults() -> None:
    spec = SpecFile(
        name="m",
        classification="unclassified",
        data=Data(uri="data.csv"),
        target=Target(name="y", positive="a", negative="b"),
        inputs=(Number(name="x", low=0, high=1),),
        sensitive=(),
        split=Split(),
        serving=Serving(),
    )
    assert SpecFile.from_json(json.loads(canonical(spec.to_json()))) == spec
    assert spec.target.column == Category(name="y", values=("b", "a"))
