"""Rows without a label: refused with the way on, or left out and counted by group."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_ingest.unlabelled import SHOWN, _column
from lockgate_step import BadCall

from tests.steps.ingest.conftest import Workspace, spec
from tests.steps.ingest.test_bad_data import HEADER


def table(without: dict[str, int], rows: int = 750) -> str:
    """Rows of two groups, of which some have no label."""
    lines = []
    for sex in "FM":
        for n in range(rows):
            label = ["?", ""][n % 2] if n < without[sex] else ("yes", "no")[n % 2]
            lines.append(f"{n % 90},clerk,{sex},{n % 80},{label}\n")
    return HEADER + "".join(lines)


def test_they_are_refused_and_the_message_offers_to_exclude_them(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", table({"F": 71, "M": 71}))
    with pytest.raises(BadCall, match=r"142 of the 1,500 rows of tiny.csv have no paid") as failed:
        workspace.freeze(spec(), data=data)
    assert 'set data=Data(..., unlabelled="exclude")' in failed.value.fix
    with pytest.raises(BadCall, match="fewer than 10 of the 1,500 rows"):
        workspace.freeze(spec(), data=workspace.write("tiny.csv", table({"F": 3, "M": 0})))


def test_excluded_rows_are_counted_by_group_in_the_record(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", table({"F": 71, "M": 71}))
    record = workspace.freeze(spec(data__unlabelled="exclude"), data=data).predicate
    counted: Any = record["unlabelled"]
    assert (counted["rows"], counted["of"]) == (142, 1500)
    assert record["rows"]["total"] == 1358  # type: ignore[index]
    assert counted["columns"]["sex"]["groups"] == [
        {"group": group, "rows": 750, "unlabelled": 71, "rate": 0.095} for group in "FM"
    ]
    assert counted["columns"]["sex"]["differs"] is None
    assert sum(workspace.table(name).num_rows for name in ("rows", "test")) == 1358
    assert workspace.table("truth").column("paid").null_count == 0


def test_a_share_that_differs_between_groups_is_in_the_record(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", table({"F": 120, "M": 22}))
    counted: Any = workspace.freeze(spec(data__unlabelled="exclude"), data=data).predicate["unlabelled"]
    differs = counted["columns"]["sex"]["differs"]
    assert (differs["high"], differs["low"]) == ("F", "M")
    assert 0.09 < differs["at_least"] < 0.13


def test_labelled_data_have_no_count_and_the_same_digest(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", table({"F": 0, "M": 0}))
    one, other = (workspace.freeze(spec(data__unlabelled=each), data=data) for each in ("refuse", "exclude"))
    assert one.predicate["unlabelled"] is other.predicate["unlabelled"] is None
    assert one.subjects["data"] == other.subjects["data"]


def test_another_label_is_still_refused(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", table({"F": 71, "M": 71}) + "1,clerk,F,3,perhaps\n")
    with pytest.raises(BadCall, match="1 in paid that are neither"):
        workspace.freeze(spec(data__unlabelled="exclude"), data=data)


def test_an_unknown_group_is_not_in_the_record(workspace: Workspace) -> None:
    text = table({"F": 71, "M": 71}).replace(",M,", ",Zebedee,")
    data = workspace.write("tiny.csv", text)
    record = workspace.freeze(spec(data__unlabelled="exclude"), data=data).predicate
    assert "Zebedee" not in json.dumps(record)
    assert "(other)" in json.dumps(record)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1))
def test_no_count_of_fewer_than_ten_people_is_in_the_record(groups: dict[str, tuple[int, int]]) -> None:
    every = Counter({name: a + b for name, (a, b) in groups.items() if a + b})
    found = _column(every, Counter({name: a for name, (a, _) in groups.items()}))
    counts = [each[key] for each in found["groups"] for key in ("rows", "unlabelled")]
    assert not [count for count in counts if count and count < SHOWN]
    assert len([each for each in found["groups"] if each["unlabelled"] is None]) != 1 or len(found["groups"]) == 1
