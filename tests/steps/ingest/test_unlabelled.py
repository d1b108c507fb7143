"""Rows without a label: refused with the way on, or left out and counted by group."""

import json
import re
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
    shares: Any = record["unlabelled"]
    counts = [(shares[name]["rows"], shares[name]["of"]) for name in ("train", "test")]
    assert [sum(both) for both in zip(*counts, strict=True)] == [142, 1500]
    assert record["rows"]["total"] == 1358  # type: ignore[index]
    for name, (without, _) in zip(("train", "test"), counts, strict=True):
        groups = shares[name]["columns"]["sex"]["groups"]
        assert [each["group"] for each in groups] == ["F", "M"]
        assert sum(each["unlabelled"] for each in groups) == without
        assert all(each["rate"] == round(each["unlabelled"] / each["rows"], 3) for each in groups)
        assert shares[name]["columns"]["sex"]["differs"] is None
    assert sum(workspace.table(name).num_rows for name in ("rows", "test")) == 1358
    assert workspace.table("truth").column("paid").null_count == 0


def test_a_share_that_differs_between_groups_is_in_the_record(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", table({"F": 120, "M": 22}))
    shares: Any = workspace.freeze(spec(data__unlabelled="exclude"), data=data).predicate["unlabelled"]
    for share in ("train", "test"):
        differs = shares[share]["columns"]["sex"]["differs"]
        assert (differs["high"], differs["low"]) == ("F", "M")
        assert 0.05 < differs["at_least"] < 0.13


def two_files(workspace: Workspace, train: dict[str, int], test: dict[str, int]) -> dict[str, Any]:
    """The counts of an official test file and its training file."""
    lines = table(test, 500).splitlines(keepends=True)
    official = lines[0] + "".join(
        f"{(int(line.split(',')[0]) + 7) % 90}{line[line.index(',') :]}" for line in lines[1:]
    )
    workspace.write("official.csv", official)
    value = spec(data__unlabelled="exclude", data__test="data/official.csv")
    record = workspace.freeze(value, data=workspace.write("tiny.csv", table(train)))
    shares: Any = record.predicate["unlabelled"]
    return dict(shares)


def test_a_difference_among_the_test_rows_does_not_disappear_behind_the_training_rows(workspace: Workspace) -> None:
    """Women lose their labels in the test file and men in the training file, as many in all: the test rows differ."""
    shares = two_files(workspace, train={"F": 0, "M": 150}, test={"F": 150, "M": 0})
    said = {name: shares[name]["columns"]["sex"]["differs"] for name in ("train", "test")}
    assert (said["test"]["high"], said["test"]["low"]) == ("F", "M")
    assert (said["train"]["high"], said["train"]["low"]) == ("M", "F")
    assert (shares["test"]["rows"], shares["test"]["of"]) == (150, 1000)


def test_a_share_in_which_every_row_has_a_label_has_no_counts(workspace: Workspace) -> None:
    shares = two_files(workspace, train={"F": 71, "M": 71}, test={"F": 0, "M": 0})
    assert shares["test"] is None
    assert shares["train"]["rows"] == 142


def test_a_row_does_not_change_its_side_when_its_label_is_removed(workspace: Workspace) -> None:
    """Or whoever removes labels would send the rows to the training share, where they are not missed."""
    every = table({"F": 0, "M": 0})
    value = spec(data__unlabelled="exclude")
    workspace.freeze(value, data=workspace.write("tiny.csv", every))
    before = {name: workspace.table(name).num_rows for name in ("rows", "test")}
    gone = re.sub(r",F,(\d),\w+", r",F,\1,?", every)
    shares: Any = workspace.freeze(value, data=workspace.write("tiny.csv", gone)).predicate["unlabelled"]
    for name, table_of in (("train", "rows"), ("test", "test")):
        assert shares[name]["rows"] == before[table_of] - workspace.table(table_of).num_rows > 0


def test_a_share_with_fewer_than_ten_has_no_figure_from_which_the_count_follows(workspace: Workspace) -> None:
    """The record has the rows with a label, so the number of all rows would give the number without one."""
    shares = two_files(workspace, train={"F": 71, "M": 71}, test={"F": 4, "M": 3})
    assert (shares["test"]["rows"], shares["test"]["of"]) == (None, None)
    assert [each["rows"] for each in shares["test"]["columns"]["sex"]["groups"]] == [None, None]


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
    hidden = [each["group"] for each in found["groups"] if each["unlabelled"] is None]
    assert len(hidden) != 1 or len(found["groups"]) == 1
    # bias-audit shows the rows of a group that have a label, so all its rows would give those without one.
    assert hidden == [each["group"] for each in found["groups"] if each["rows"] is None]


def test_the_hidden_counts_are_covered_by_ten_others() -> None:
    """A cover without a row would not hide: the total gives the sum of what is hidden."""
    every = Counter(dict.fromkeys("abcd", 100))
    found = _column(every, Counter({"a": 3, "b": 0, "c": 12, "d": 40}))
    assert [each["unlabelled"] for each in found["groups"]] == [None, None, None, 40]
