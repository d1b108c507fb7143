"""Invalid data give one message with the place and the next action, and never with a person's value."""

import gzip
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lockgate_ingest.split import in_test
from lockgate_step import BadCall, OutsideFailed

from tests.steps.ingest.conftest import TABLES, Workspace, spec

CANARY = "Zebedee"
HEADER = "income,job,sex,age,paid\n"
MANY = "".join(f"{n},{CANARY},{'FM'[n % 3 > 0]},{n % 90},{('no', 'yes')[n % 2]}\n" for n in range(1, 81))
GOOD = "".join(MANY.splitlines(keepends=True)[:8])


def parquet(**columns: Any) -> bytes:
    good = {"income": [1.0, 2.0], "job": [CANARY, CANARY], "sex": ["F", "M"], "age": [3, 4], "paid": ["yes", "no"]}
    buffer = io.BytesIO()
    pq.write_table(pa.table(good | columns), buffer)
    return buffer.getvalue()


def twice_in_parquet() -> bytes:
    """A table in which a tool wrote one column twice."""
    table = pq.read_table(io.BytesIO(parquet()))
    buffer = io.BytesIO()
    pq.write_table(table.append_column("job", table["job"]), buffer)
    return buffer.getvalue()


WHOLE = gzip.compress((HEADER + GOOD * 400).encode(), compresslevel=0)

# Fault -> (the file, changes of the spec, the message, a part of `fix`).
CASES: dict[str, tuple[str | bytes, dict[str, Any], str, str]] = {
    "empty": ("", {}, "tiny.csv is empty", "file with rows"),
    "blank lines only": ("\n\n", {}, "tiny.csv has no lines", "header and rows"),
    "header only": (HEADER, {}, "tiny.csv has no rows", "file with rows"),
    "truncated gzip": (WHOLE[: len(WHOLE) // 2], {}, r"ends in the middle .*, after line \d+", "copy it again"),
    "truncated gzip head": (WHOLE[:5], {}, "ends in the middle .*, after line 0", "copy it again"),
    "damaged gzip": (WHOLE[:-8] + b"\0" * 8, {}, "is damaged: its compressed data", "copy it again"),
    "damaged gzip block": (WHOLE[:10] + b"\xff" * 50, {}, "is damaged: its compressed data", "copy it again"),
    "zip": (b"PK\x03\x04rest", {}, "is a zip archive", "gzipped CSV or Parquet"),
    "bzip2": (b"BZh91AY", {}, "is compressed with bzip2", "gzipped CSV or Parquet"),
    "other delimiter": (
        (HEADER + GOOD).replace(",", ";"), {}, "no column age, income, job, paid, sex among its 1$", "delimiter",
    ),
    "other delimiter, no header": (
        GOOD.replace(",", ";"), {"data__columns": HEADER.strip().split(",")},
        "line 1 of tiny.csv has 1 fields, not 5", r"delimiter in the spec; it is ','",
    ),
    "missing column": (
        (HEADER + GOOD).replace("job", "jobb"), {}, "no column job among its 5$", "correct the names",
    ),
    "missing key": (HEADER + GOOD, {"split__key": ["person"]}, "no column person among its 5$", "correct the names"),
    "no header": (GOOD, {}, "no column age, income, job, paid, sex among its 5$", "without header"),
    "column twice": (
        "job," + HEADER + "".join(f"x,{line}\n" for line in GOOD.splitlines()), {},
        "tiny.csv has more than one column job, with different values", "rename .* columns 1 and 3",
    ),
    "column twice, late": (
        "job," + HEADER + f"{CANARY},1,{CANARY},F,3,no\n" * 99_999 + f",1,{CANARY},F,3,no\n", {},
        "more than one column job, with different values", "rename",
    ),
    "Parquet, column twice": (twice_in_parquet(), {}, "more than one column job$", "rename"),
    "ragged": (HEADER + GOOD + f"3,{CANARY},F\n", {}, "line 10 of tiny.csv has 3 fields, not 5", "correct that line"),
    "ragged after quoted lines": (
        HEADER + f'1,"{CANARY}\n{CANARY}",F,30,yes\n' + "3,F\n", {}, "line 4 .* has 2 fields", "correct that line",
    ),
    "open quote": (HEADER + GOOD + f'3,"{CANARY},F,3,no\n', {}, "not CSV at line 10: unexpected", "close each quote"),
    "text after a quote": (HEADER + f'3,"{CANARY}"x,F,3,no\n', {}, "not CSV at line 2", "close each quote"),
    "huge field": (
        HEADER + f'3,"{CANARY * 30_000}",F,3,no\n', {},
        "a value of more than 131,072 characters at line 2", "close each",
    ),
    "not utf-8": (
        (HEADER + GOOD).encode() + f"3,{CANARY}é,F,3,no\n".encode("latin-1"), {}, "line 10 of tiny.csv is not utf-8",
        "encoding in the spec",
    ),
    "not utf-8, far in": (
        (HEADER + GOOD * 5000).encode() + b"3,\xff,F,3,no\n", {}, "line 40002 of tiny.csv is not utf-8", "encoding",
    ),
    "utf-16": ((HEADER + GOOD).encode("utf-16"), {}, "line 1 of tiny.csv is not utf-8", "encoding"),
    "unknown encoding": (HEADER + GOOD, {"data__encoding": "utf-99"}, "'utf-99', which is unknown", "latin-1"),
    "no number": (
        HEADER + GOOD + f"{CANARY},x,F,{CANARY},no\nnan,x,F,1e999,no\n1_0,x,F,3,no\n", {},
        "tiny.csv has values .*: 2 in age that are not numbers; 3 in income that are not numbers", "missing",
    ),
    "a missing spelling that is not listed": (
        HEADER + GOOD + "n/a,x,F,3,no\n", {}, "1 in income that are not numbers", "list their spelling under `missing`",
    ),
    "unknown label": (
        HEADER + GOOD + f"1,x,F,3,{CANARY}\n1,x,F,3,\n", {}, "1 in paid that are neither 'no' nor 'yes'", "spellings",
    ),
    "one class": (
        HEADER + GOOD.replace("yes", "no"), {}, r"none of the \d+ rows of .* has paid = 'yes'", "both labels",
    ),
    "one row": (HEADER + "1,x,F,3,no\n", {}, "none of the", "both labels"),
    "not Parquet": (HEADER + GOOD, {"data__format": "parquet"}, "is not Parquet, but the spec says so", "write it as"),
    "truncated Parquet": (parquet()[:-40], {}, "starts as Parquet but cannot be read", "copy it again"),
    "damaged Parquet": (parquet()[:4] + b"\xff" * 90 + parquet()[94:], {}, "starts as Parquet but", "copy it again"),
    "Parquet, no column": (
        parquet(x=[1, 2]).replace(b"income", b"outcom"), {}, "no column income among its 6$", "names",
    ),
    "Parquet, number": (parquet(income=[[1], [2]]), {}, "income has type list.* as a number$", "as numbers"),
    "Parquet, text": (parquet(job=[1.5, 2.5]), {}, "job has type double .* as a category$", "as text"),
    "Parquet, infinity": (parquet(income=[float("inf"), 1.0]), {}, "1 in income that are not numbers", "correct the"),
    "Parquet, inexact": (parquet(income=[2**53 + 1, 1]), {}, "1 in income that are not numbers", "correct the data"),
    "bad delimiter": (HEADER, {"data__delimiter": "||"}, r"the invalid delimiter '\|\|'", "one character"),
    "two kinds": (
        HEADER + GOOD, {"sensitive": [{"name": "job", "kind": "number", "bands": [1]}]},
        "declares job as a number in one place", "the same kind",
    ),
    "no spec": (HEADER, {"target": {}}, "model spec cannot be read: KeyError at name", "lockgate render"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_message_names_the_place_and_the_next_action(workspace: Workspace, case: str) -> None:
    content, changes, message, fix = CASES[case]
    data = workspace.write("tiny.csv", content)
    with pytest.raises(BadCall, match=message) as failed:
        workspace.freeze(spec(**changes), data=data)
    assert re.search(fix, failed.value.fix)
    assert CANARY not in failed.value.message + failed.value.fix
    assert not any((workspace.root / "out" / name).exists() for name in TABLES)
    assert list(workspace.store.list("")) == []


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        ("\ufeff" + HEADER + GOOD, {}),
        ((HEADER + GOOD).replace("\n", "\r\n"), {}),
        ((HEADER + GOOD).rstrip("\n"), {}),
        (HEADER + GOOD + "\n \n\n", {}),
        ((HEADER + GOOD).replace(",", "\t"), {"data__delimiter": "\t"}),
        ((HEADER + GOOD).replace(",", " "), {"data__delimiter": " "}),
        ((HEADER + GOOD).encode("utf-16"), {"data__encoding": "utf-16"}),
        ((HEADER + GOOD).replace(CANARY, "café").encode("latin-1"), {"data__encoding": "latin-1"}),
        ((HEADER + GOOD).replace(",", ", "), {}),
        ((HEADER + GOOD).replace("\n1,", "\n 1 ,"), {}),
        (parquet(income=[1, 2], age=[None, None], paid=pa.array(["yes", "no"]).dictionary_encode()), {}),
        (parquet(income=pa.array(["1", " 2"]), job=[True, False]), {}),
        ("".join(f"{line},{line.split(',')[1]}\n" for line in (HEADER + GOOD).splitlines()), {}),  # job twice
    ],
)
def test_what_can_be_read_is_read(workspace: Workspace, content: str | bytes, changes: dict[str, Any]) -> None:
    data = workspace.write("tiny.csv", content)
    workspace.write("tiny.test", parquet(income=[5.0, 6.0]))
    workspace.freeze(spec(data__test="data/tiny.test", **changes), data=data)
    assert workspace.table("rows").column("income").to_pylist()[:2] == [1.0, 2.0]
    assert workspace.table("rows").column("paid").to_pylist()[:2] == ["yes", "no"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("data/tiny.csv", "'data/tiny.csv' is not a data address"),
        ("/data/tiny.csv", "is not a data address"),
        ("https://example.gc.ca/tiny.csv", "is not a data address"),
        ("s3://bucket", "is not a data address"),
        ("s3://key:secret@bucket/tiny.csv", "the data address contains credentials$"),
        ("file:///nowhere/tiny.csv", "there is no file /nowhere/tiny.csv"),
        ("file:///", "there is no file /"),
    ],
)
def test_an_invalid_address(workspace: Workspace, address: str, message: str) -> None:
    with pytest.raises(BadCall, match=message) as failed:
        workspace.freeze(spec(), data=address)
    assert failed.value.fix
    assert "secret" not in failed.value.message


def test_a_name_with_a_space_and_a_percent(workspace: Workspace) -> None:
    data = workspace.write("my 100% data.csv", HEADER + MANY)
    assert set(workspace.freeze(spec(), data=data).predicate["sources"]) == {"my 100% data.csv"}  # type: ignore[call-overload]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", HEADER + MANY)
    (workspace.root / "tiny.csv").chmod(0)
    with pytest.raises(BadCall, match="permission denied: this user cannot read"):
        workspace.freeze(spec(), data=data)


def test_the_official_test_file_is_looked_for_beside_the_data(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", HEADER + GOOD)
    with pytest.raises(BadCall, match=re.escape(f"there is no file {workspace.root}/other/tiny.test")):
        workspace.freeze(spec(data__test="data/other/tiny.test"), data=data)
    elsewhere = workspace.write("elsewhere.test", HEADER + MANY)
    record = workspace.freeze(spec(data__test="data/other/tiny.test"), data=data, test_data=elsewhere)
    assert record.predicate["split"] == {"kind": "official", "uri": "file:elsewhere.test"}
    record = workspace.freeze(spec(data__test=elsewhere), data=data)
    assert record.predicate["split"] == {"kind": "official", "uri": "file:elsewhere.test"}


def test_the_record_names_the_file_without_its_folder(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", HEADER + MANY)
    record = workspace.freeze(spec(), data=data)
    assert record.predicate["uri"] == "file:tiny.csv"
    assert str(workspace.root) not in str(record.predicate)


def test_data_with_another_digest_than_required(workspace: Workspace) -> None:
    data = workspace.write("tiny.csv", HEADER + MANY)
    record = workspace.freeze(spec(), data=data)
    digest = record.predicate["sources"]["tiny.csv"]  # type: ignore[index]
    workspace.freeze(spec(), data=data, data_sha256=digest)
    workspace.freeze(spec(), data=data, data_sha256=digest.removeprefix("sha256:").upper())
    with pytest.raises(BadCall, match=r"tiny.csv has another digest than sha256:00") as refused:
        workspace.freeze(spec(), data=data, data_sha256="sha256:" + "00" * 32)
    assert digest.removeprefix("sha256:") not in refused.value.message + refused.value.fix


def test_a_file_that_changes_while_it_is_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    data = workspace.write("tiny.csv", HEADER + MANY)

    def while_it_is_read(*arguments: Any) -> Any:
        os.utime(workspace.root / "tiny.csv", (0, 0))
        return in_test(*arguments)

    monkeypatch.setattr("lockgate_ingest.ingest.in_test", while_it_is_read)
    with pytest.raises(OutsideFailed, match="was changed while it was read"):
        workspace.freeze(spec(), data=data)


def without_store(workspace: Workspace) -> None:
    (workspace.root / "environment" / "store").unlink()


def with_a_file_for_a_store(workspace: Workspace) -> None:
    (workspace.root / "kept").write_text("")


def without_key(workspace: Workspace) -> None:
    (workspace.root / "key" / "private.pem").unlink()


def nothing(workspace: Workspace) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "arguments", "code"),
    [
        (nothing, [], 0),
        (nothing, ["--data-sha256", "00"], 2),
        (nothing, ["--flag"], 2),
        (without_store, [], 2),
        (with_a_file_for_a_store, [], 4),
        (without_key, [], 2),
    ],
)
def test_the_exit_code_and_one_last_line(
    workspace: Workspace, prepare: Callable[[Workspace], None], arguments: list[str], code: int
) -> None:
    data = workspace.write("tiny.csv", HEADER + MANY)
    prepare(workspace)
    done = workspace.run(spec(), "--data", data, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stderr + done.stdout
    if code and "--flag" not in arguments:
        last = json.loads(done.stderr.splitlines()[-1])
        assert last["fix"] and last["message"]
    assert (workspace.root / "out" / "record").exists() == (code == 0)


def test_a_disk_that_is_full(workspace: Workspace, tmp_path: Path) -> None:
    import resource

    data = workspace.write(
        "tiny.csv", HEADER + "".join(f"{n},{n * 7919 % 99991},F,30,{'yes' if n % 2 else 'no'}\n" for n in range(9000))
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises((OutsideFailed, OSError)) as failed:
            workspace.freeze(spec(), data=data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in str(failed.value)
    assert list(workspace.store.list("")) == []
