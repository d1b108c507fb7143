"""A snapshot in the store is compared with the digest that names it, before a run relies on it."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lockgate_step import Record, Refusal, file_digest

from tests.steps.ingest.conftest import Workspace, spec

HEADER = "income,job,sex,age,paid\n"
ROWS = "".join(
    f"{10 + n},{('clerk', '?')[n % 2]},{'FM'[n % 3 % 2]},{20 + n},{('no', 'yes')[n % 2]}\n" for n in range(20)
)
OTHERS = "0,nurse,M,61,no\n1,clerk,F,30,yes\n"
CHANGES: dict[str, Callable[[Path], object]] = {
    "value": lambda path: _write(path, _set(pq.read_table(path), "income", 3.0)),
    "label": lambda path: _write(path, _set(pq.read_table(path), "paid", "yes")),
    "order": lambda path: _write(
        path, pq.read_table(path).take(list(reversed(range(pq.read_metadata(path).num_rows))))
    ),
    "fewer": lambda path: _write(path, pq.read_table(path).slice(1)),
    "column": lambda path: _write(path, (found := pq.read_table(path)).append_column("more", found.column("age"))),
    "csv": lambda path: path.write_text(HEADER + ROWS),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
}


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


def _set(table: pa.Table, name: str, value: object) -> pa.Table:
    values = [value, *table.column(name).to_pylist()[1:]]
    return table.set_column(table.column_names.index(name), name, pa.array(values, table.column(name).type))


@pytest.fixture(params=[False, True], ids=["split", "official"])
def frozen(request: pytest.FixtureRequest, workspace: Workspace) -> tuple[Callable[..., Record], list[Path]]:
    """Return the function that freezes the data again, and the files of the snapshot that the first run made."""
    given = {"data": workspace.write("tiny.csv", HEADER + ROWS)}
    if request.param:
        given["test_data"] = workspace.write("tiny.test", HEADER + OTHERS)

    def freeze(**settings: str) -> Record:
        return workspace.freeze(spec(), **{**given, **settings})

    first = freeze()
    found = sorted((workspace.root / "kept").rglob("*.parquet"))
    assert {path.parent.name for path in found} == {first.subjects["data"].removeprefix("sha256:")}
    return freeze, found


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_snapshot_is_refused_and_named(
    change: str, frozen: tuple[Callable[..., Record], list[Path]], workspace: Workspace
) -> None:
    freeze, files = frozen
    CHANGES[change](files[-1])
    with pytest.raises(Refusal) as refused:
        freeze()
    assert f"{files[-1].name} of the snapshot sha256:{files[0].parent.name} was changed" in refused.value.message
    assert "models/tiny/snapshots/" in refused.value.fix
    files[-1].unlink()
    freeze()
    assert files[-1].is_file()
    assert list((workspace.root / "tmp").iterdir()) == []


def test_the_same_rows_in_other_bytes_are_the_same_snapshot(frozen: tuple[Callable[..., Record], list[Path]]) -> None:
    freeze, files = frozen
    first = freeze()
    for path in files:
        before = path.read_bytes()
        pq.write_table(pq.read_table(path), path, compression="snappy", row_group_size=3)
        assert path.read_bytes() != before
    assert freeze() == first


def test_a_snapshot_is_data_only_as_its_address_says(frozen: tuple[Callable[..., Record], list[Path]]) -> None:
    freeze, files = frozen
    given = dict(zip(("data", "test_data"), (path.as_uri() for path in files), strict=False))
    assert freeze(**given).subjects["data"] == freeze().subjects["data"]
    CHANGES["value"](files[0])
    with pytest.raises(Refusal, match="not those of the snapshot sha256:"):
        freeze(**given)


def test_a_snapshot_of_another_spec_is_data_with_its_digest(
    frozen: tuple[Callable[..., Record], list[Path]], workspace: Workspace
) -> None:
    _, files = frozen
    value = spec(inputs=[{"name": "income", "kind": "number", "low": 0, "high": 100}])
    with pytest.raises(Refusal) as refused:
        workspace.freeze(value, data=files[0].as_uri())
    assert "data_sha256" in refused.value.fix
    workspace.freeze(value, data=files[0].as_uri(), data_sha256=file_digest(files[0]))
