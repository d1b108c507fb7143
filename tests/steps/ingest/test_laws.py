"""The digest depends only on the data; the split depends only on the row and the seed."""

import csv
import gzip
import io
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lockgate_ingest.read
import lockgate_ingest.write
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_ingest.ingest import Tables, divide
from lockgate_ingest.source import Source
from lockgate_step import SpecFile, read_spec

from tests.steps.ingest.conftest import TABLES, Workspace, spec

Row = tuple[float | None, str | None, str, float | None, str]
NAMES = ("income", "job", "sex", "age", "paid")

# Values that CSV keeps: no spelling of "missing", and no space at the start, which is stripped after a delimiter.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6).filter(
    lambda text: text != "?" and not text.startswith(" ")
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
rows = st.tuples(
    st.none() | numbers, st.none() | words, st.sampled_from("FM"), st.none() | numbers, st.sampled_from(["yes", "no"])
)
# These rows put both labels on both sides; they are also the official test file.
both: list[Row] = [(1.0, "clerk", "F", 30.0, "yes"), (2.0, None, "M", 40.0, "no")]


def as_csv(table: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(NAMES)
    writer.writerows([["" if cell is None else cell for cell in row] for row in table])
    return text.getvalue().encode()


def as_parquet(table: Sequence[Row], *, group: int, dictionary: bool) -> bytes:
    kinds = [pa.float64(), pa.large_string(), pa.string(), pa.float64(), pa.string()]
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*table, strict=True), kinds, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(dict(zip(NAMES, arrays, strict=True))), buffer, row_group_size=group, use_dictionary=dictionary
    )
    return buffer.getvalue()


def frozen(folder: Path, value: SpecFile, *contents: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the snapshot's digest and the bytes of every output."""
    sources = []
    for number, content in enumerate(contents):
        path = folder / f"data{number}"
        path.write_bytes(content)
        sources.append(Source(path.name, path, ""))
    tables = Tables(*(folder / name for name in TABLES))
    _, _, snapshot = divide(value, tables, sources, folder)
    outputs = {name: (folder / name).read_bytes() for name in TABLES}
    return snapshot.hex, outputs | {path.name: path.read_bytes() for path in snapshot.files}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SpecFile:
    return read_spec(Workspace(tmp_path_factory.mktemp("io")).put_spec(spec()))


@settings(deadline=None, max_examples=80)
@given(table=st.lists(rows, max_size=12), cells=st.integers(5, 40), group=st.integers(1, 5), dictionary=st.booleans())
def test_no_form_of_the_file_and_no_size_of_batches_changes_a_byte(
    tiny: SpecFile, table: list[Row], cells: int, group: int, dictionary: bool
) -> None:
    table = [*both, *table]
    plain, official = as_csv(table), as_csv(both[::-1])
    forms = [plain, gzip.compress(plain), as_parquet(table, group=group, dictionary=dictionary)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        first, *others = [frozen(Path(folder), tiny, form, official) for form in forms]
        patch.setattr(lockgate_ingest.read, "CELLS", cells)
        others.append(frozen(Path(folder), tiny, plain, official))
    assert all(other == first for other in others)


@settings(deadline=None, max_examples=80)
@given(table=st.lists(rows, min_size=1, max_size=6), data=st.data())
def test_any_other_cell_is_another_snapshot(tiny: SpecFile, table: list[Row], data: st.DataObject) -> None:
    changed = [list(row) for row in table]
    at, column = data.draw(st.integers(0, len(table) - 1)), data.draw(st.integers(0, 4))
    changed[at][column] = list(data.draw(rows))[column]
    same = [row[column] for row in table] == [row[column] for row in changed]
    with tempfile.TemporaryDirectory() as folder:
        before, _ = frozen(Path(folder), tiny, as_csv([*both, *table]), as_csv(both[::-1]))
        after, _ = frozen(Path(folder), tiny, as_csv([*both, *map(tuple, changed)]), as_csv(both[::-1]))  # type: ignore[list-item]
    assert (before == after) == same


def test_text_that_moves_between_cells_and_rows_is_another_snapshot(tiny: SpecFile, tmp_path: Path) -> None:
    def digest(*jobs: str | None) -> str:
        return frozen(
            tmp_path, tiny, as_csv([*both, *((1.0, job, "F", 1.0, "no") for job in jobs)]), as_csv(both[::-1])
        )[0]

    digests = [digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", None), digest(None, "abc")]
    assert len(set(digests)) == len(digests)


def test_a_row_in_the_test_file_is_not_a_row_in_the_data(tiny: SpecFile, tmp_path: Path) -> None:
    row: Row = (1.0, "clerk", "F", 1.0, "no")
    one, _ = frozen(tmp_path, tiny, as_csv([*both, row]), as_csv(both[::-1]))
    other, _ = frozen(tmp_path, tiny, as_csv(both), as_csv([*both, row]))
    assert one != other


def people(count: int) -> list[Row]:
    draw = random.Random(count)
    jobs, labels = ["clerk", "nurse"], ["yes", "no"]
    return [(float(n), draw.choice(jobs), draw.choice("FM"), 30.0, draw.choice(labels)) for n in range(count)]


def sides(folder: Path, value: dict[str, Any], table: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Return the incomes, which here identify the rows, of the training side and of the test side, in order."""
    (folder / "spec").write_text(json.dumps(value))
    frozen(folder, read_spec(folder / "spec"), as_csv(table))
    train, test = (pq.read_table(folder / name).column("income").to_pylist() for name in ("rows", "test"))
    return train, test


def test_the_share_is_about_what_was_asked_for_and_nothing_is_lost(tmp_path: Path) -> None:
    train, test = sides(tmp_path, spec(split__test_share=0.25), people(4000))
    assert sorted(train + test) == [float(number) for number in range(4000)]
    assert train == sorted(train) and test == sorted(test)
    assert 890 < len(test) < 1110  # 1,000 plus or minus four standard deviations


def test_a_row_keeps_its_side_when_others_come_go_or_change_places(tmp_path: Path) -> None:
    table = people(300)
    train, test = sides(tmp_path, spec(), table)
    shuffled = random.Random(1).sample(table, 200)
    others, tests = sides(tmp_path, spec(), shuffled + [(float(n), "clerk", "F", 1.0, "no") for n in range(900, 950)])
    assert set(others) - set(train) <= {float(n) for n in range(900, 950)}
    assert set(tests) - set(test) <= {float(n) for n in range(900, 950)}


def test_equal_rows_share_a_side(tmp_path: Path) -> None:
    train, test = sides(tmp_path, spec(), people(200) * 2)
    assert not set(train) & set(test)


def test_rows_of_one_key_share_a_side_and_the_key_is_not_kept(tmp_path: Path) -> None:
    table = people(400)
    keyed = as_csv(table).decode().splitlines()
    text = "\n".join(
        [f"person,{keyed[0]}", *(f"p{number % 40}-canary,{line}" for number, line in enumerate(keyed[1:]))]
    )
    (tmp_path / "spec").write_text(json.dumps(spec(split__key=["person"])))
    _, outputs = frozen(tmp_path, read_spec(tmp_path / "spec"), text.encode())
    train, test = (pq.read_table(tmp_path / name).column("income").to_pylist() for name in ("rows", "test"))
    assert not {number % 40 for number in train} & {number % 40 for number in test}
    assert len(train) > 100 and len(test) > 60
    for path in tmp_path.glob("*"):
        if path.name != "data0" and path.name != "spec":
            assert "person" not in pq.read_schema(path).names
    assert not any(b"canary" in content for content in outputs.values())


def test_another_seed_is_another_split(tmp_path: Path) -> None:
    one, other = (sides(tmp_path, spec(split__seed=seed), people(300))[1] for seed in ("one", "other"))
    assert one != other


def test_many_row_groups_hold_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sides(tmp_path, spec(), people(500))
    monkeypatch.setattr(lockgate_ingest.write, "CELLS", 100)
    assert sides(tmp_path, spec(), people(500)) == whole
    assert pq.ParquetFile(tmp_path / "rows").num_row_groups > 5
