"""Small files that unpack to much, and mutated files: each is read or refused, in bounded memory and time."""

import gzip
import io
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lockgate_ingest.ingest import divide
from lockgate_ingest.source import Source
from lockgate_step import BadCall, read_spec

from tests.faults import mutated, seeds
from tests.steps.ingest.conftest import TABLES, Workspace, spec
from tests.steps.ingest.test_bad_data import GOOD, HEADER, MANY, parquet

MOST = 600_000  # kB of a process that refuses a file; Python with its libraries has a quarter of it
# Not ru_maxrss, which a process inherits from the one that started it.
PEAK = """
import atexit, pathlib, runpy
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text()))
runpy.run_module("lockgate_ingest", run_name="__main__", alter_sys=True)
"""
GREW = 400_000  # kB: the maximum that reading a file of 100 MB may add to a process


def repeated(value: object, kind: pa.DataType, rows: int, *, coded: bool = True, **options: Any) -> bytes:
    """A column `job` or `income` in which one value stands in every row."""
    name = "income" if pa.types.is_floating(kind) else "job"
    one = pa.array([value], kind)
    if coded:
        column: Any = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), one)
    else:
        column = one.take(pa.array([0] * rows))
    small = {n: ["F", "M"] * (rows // 2) for n in ("sex", "job")}
    rest = {"income": [1.0] * rows, "age": [3.0] * rows, "paid": ["yes", "no"] * (rows // 2)}
    buffer = io.BytesIO()
    columns = small | rest | {name: column}
    pq.write_table(pa.table(columns), buffer, compression="zstd", **options)
    return buffer.getvalue()


def many(head: bytes, content: bytes, times: int) -> bytes:
    """A gzip file of the head, then the content many times."""
    return gzip.compress(head) + gzip.compress(content) * times


def lying() -> bytes:
    """A file of one page of 320 MB per column that says it has 1,000 bytes."""
    made = repeated("x" * 100_000, pa.string(), 3200, coded=False, use_dictionary=False, data_page_size=1 << 30)
    said = pq.read_metadata(io.BytesIO(made)).row_group(0)
    for size in (said.total_byte_size, said.column(1).total_uncompressed_size):
        assert made.count(varint(size)) >= 1
        made = made.replace(varint(size), varint(1000, len(varint(size))))
    return made


def varint(value: int, size: int = 0) -> bytes:
    """A number as Thrift writes it, in at least this number of bytes."""
    left, written = value << 1, list[int]()
    while left or len(written) < size or not written:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*written[:-1], written[-1] & 0x7F])


BOMBS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "gzip of one line": (lambda: many(b"income,job,", b"x" * (1 << 20), 1024), "unpacks to more than", "ratio"),
    "gzip of newlines": (lambda: many(b"", b"\n" * (1 << 20), 400), "unpacks to more than", "ratio"),
    "newlines": (lambda: b"\n" * 9_000_000, "more than 100,000 blank lines", "blank"),
    "one line": (lambda: b"x" * 9_000_000, "line of more than 1,048,576", "line"),
    "gzip of quoted newlines": (  # the row never ends
        lambda: many(HEADER.encode(), b'"\n",' * 250_000, 40), "line of more than 1,048,576", "close each",
    ),
    "gzip of one row": (
        lambda: many(HEADER.encode(), b"1,x,F,30,yes\n" * 100_000, 400), "unpacks to more than", "ratio",
    ),
    "Parquet of one long value": (
        lambda: repeated("x" * (1 << 20), pa.string(), 640), "more than 131,072 bytes", "cell",
    ),
    "Parquet of one value": (
        lambda: repeated("x" * 100_000, pa.string(), 6400), "unpacks to more than 67,108,864", "ratio",
    ),
    "Parquet, plain": (
        lambda: repeated("x" * 100_000, pa.string(), 3200, coded=False, use_dictionary=False), "unpacks to", "ratio",
    ),
    "Parquet of one long value, large": (
        lambda: repeated("x" * (1 << 20), pa.large_string(), 640), "more than 131,072 bytes", "cell",
    ),
    "Parquet of one long value of bytes": (
        lambda: repeated(b"x" * (1 << 20), pa.binary(), 640), "as a category", "text",
    ),
    "Parquet of long values in lists": (
        lambda: repeated(["x" * (1 << 20)], pa.list_(pa.string()), 640, coded=False), "as a category", "text",
    ),
    "Parquet of values of one long size": (
        lambda: repeated(b"x" * 200_000, pa.binary(200_000), 640, coded=False), "values of 200,000 bytes", "cell",
    ),
    "Parquet that lies about its size": (lying, "unpacks to more than|cannot be read", ""),
    "Parquet of many numbers": (
        lambda: repeated(1.0, pa.float64(), 1 << 22), "unpacks to more than", "ratio",
    ),
    "many columns": (lambda: (",".join(f"c{n}" for n in range(3000)) + "\n").encode(), "no column", "names"),
}  # fmt: skip


@pytest.mark.parametrize("case", BOMBS)
def test_a_small_file_that_unpacks_to_much_is_refused_with_the_figure(workspace: Workspace, case: str) -> None:
    make, message, fix = BOMBS[case]
    data = workspace.write("tiny.csv", make())
    began = time.process_time()
    with pytest.raises(BadCall, match=message) as failed:
        workspace.freeze(spec(), data=data)
    assert fix in failed.value.fix
    assert time.process_time() - began < 5
    assert not any((workspace.root / "out" / name).exists() for name in TABLES)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("case", ["gzip of one line", "gzip of newlines", "Parquet of one value", "Parquet, plain"])
def test_the_program_refuses_it_in_little_memory(workspace: Workspace, case: str) -> None:
    make, message, _ = BOMBS[case]
    data = workspace.write("tiny.csv", make())
    workspace.put_spec(spec())
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "--data", data],
        env={**os.environ, "LOCKGATE_IO": str(workspace.root)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, message in done.stderr, "bug" in done.stderr) == (2, True, False), done.stderr
    assert int(done.stdout.split("VmHWM:")[1].split()[0]) < MOST


@pytest.mark.parametrize(
    ("limit", "content", "message"),
    [
        ({"unpacked": 100}, HEADER + MANY, "unpacks to more than 100 bytes"),
        ({"line": 20}, HEADER + GOOD, "line of more than 20 characters after line 0"),
        ({"cell": 6}, HEADER + GOOD, "value of more than 6 characters at line 2"),
        ({"columns": 4}, HEADER + GOOD, "has 5 columns; at most 4 are read"),
        ({"columns": 4}, parquet(), "has 5 columns; at most 4 are read"),
        ({"cell": 5}, parquet(), "value of more than 5 bytes in job"),
        ({"unpacked": 10}, parquet(), "unpacks to more than 10 bytes"),
    ],
)
def test_the_spec_sets_the_limits(workspace: Workspace, limit: dict[str, int], content: str, message: str) -> None:
    with pytest.raises(BadCall, match=message) as failed:
        workspace.freeze(spec(data__limits=limit), data=workspace.write("tiny.csv", content))
    assert f"limits=Limits({next(iter(limit))}=" in failed.value.fix


@pytest.mark.parametrize("limit", [{"line": 0}, {"cell": "x"}, {"columns": True}, {"unpacked": 1.5}, {"rows": 3}])
def test_an_invalid_limit(workspace: Workspace, limit: dict[str, Any]) -> None:
    with pytest.raises(BadCall):
        workspace.freeze(spec(data__limits=limit), data=workspace.write("tiny.csv", HEADER + MANY))


def test_a_raised_limit_reads_what_was_refused(workspace: Workspace) -> None:
    wide = HEADER.strip() + "".join(f",c{n}" for n in range(2500)) + "\n"
    rows = "".join(f"{line}{',1' * 2500}\n" for line in MANY.splitlines())
    data = workspace.write("tiny.csv", wide + rows)
    with pytest.raises(BadCall, match="has 2,505 columns; at most 2,000 are read"):
        workspace.freeze(spec(), data=data)
    workspace.freeze(spec(data__limits={"columns": 3000}), data=data)
    test = workspace.write("tiny.test", HEADER + GOOD)
    workspace.write("tiny.csv", repeated("x" * 1000, pa.string(), 100_000))
    with pytest.raises(BadCall, match="unpacks to more than"):
        workspace.freeze(spec(), data=data, test_data=test)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    workspace.freeze(spec(data__limits={"ratio": 100_000}), data=data, test_data=test)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GREW


PLAIN = (HEADER + MANY).encode()
FILES = {"csv": PLAIN, "gzip": gzip.compress(PLAIN), "parquet": parquet()}


def read(value: Any, content: bytes, folder: Path) -> None:
    """Read a file; it is frozen, or refused with a next action."""
    (folder / "data").write_bytes(content)
    tables = Workspace(folder / "io").tables
    began = time.process_time()
    try:
        divide(value, tables, [Source("data", folder / "data", "")], folder)
    except BadCall as refused:
        assert refused.fix
        assert "Zebedee" not in refused.message
    assert time.process_time() - began < 5


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200) | st.text(st.sampled_from('",\n\r01xyesno ;\0\ufeff'), max_size=80).map(str.encode)
)
@example(b'income,job,sex,age,paid\n"' + b"\n" * 200_000)
@example(b"income,job,sex,age,paid\n\0,\0,\0,\0,\0\n")
def test_any_bytes_are_read_or_refused(workspace: Workspace, content: bytes) -> None:
    value = read_spec(workspace.put_spec(spec()))
    read(value, content, workspace.root)
    read(value, HEADER.encode() + content, workspace.root)
    read(value, b"PAR1" + content + b"PAR1", workspace.root)


@pytest.mark.parametrize("column", ["income", "job"])  # a number, a category
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_text_that_is_not_utf8_is_refused(workspace: Workspace, kind: pa.DataType, column: str) -> None:
    latin = pa.array(["Zébédée".encode("latin-1")] * 2).view(pa.string())
    data = workspace.write("latin.parquet", parquet(**{column: latin.cast(kind, safe=False)}))
    with pytest.raises(BadCall, match=f"values in {column} that its type does not allow"):
        workspace.freeze(spec(), data=data)


# Files of the pod -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["kubernetes\n", "another", ""])
@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "FILE://{}", "file:{}", "{}"])
def test_a_pod_reads_no_file_of_its_own(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], platform: str, form: str
) -> None:
    (workspace.root / "environment" / "platform").write_text(platform)
    (workspace.root / "environment" / "store").write_text("s3://bucket/store")
    workspace.write("tiny.csv", HEADER + MANY)
    key = workspace.root / "key" / "private.pem"
    for path in (key, workspace.root / "tiny.csv", workspace.root / "missing", Path("/proc/self/environ")):
        for address in ({"data": form.format(path)}, {"data": "s3://x/y.csv", "test_data": form.format(path)}):
            with pytest.raises(BadCall, match="names a file") as refused:
                workspace.freeze(spec(), **address)
            assert str(path) not in refused.value.message


@pytest.mark.parametrize("content", [b"a-secret-key-of-a-store", b"", b"-----BEGIN PRIVATE KEY-----\nx\n", b"PAR1x"])
def test_nothing_is_said_of_a_file_that_is_not_a_table(workspace: Workspace, content: bytes) -> None:
    data, digest = workspace.write("secret_access_key", content), sha256(content).hexdigest()
    for more in ((), ("--data-sha256", "0" * 64)):
        done = workspace.run(spec(), "--data", data, *more)
        assert done.returncode == 2
        said = done.stdout + done.stderr + (workspace.root / "termination").read_text()
        assert digest not in said and f'"bytes": {len(content)}' not in said, said
        assert not content or content.decode() not in said, said


KEPT = (3762031520,)  # Parquet with text that is not UTF-8


@pytest.mark.faults
@pytest.mark.parametrize("form", FILES)
def test_a_real_file_with_changed_bytes_is_read_or_refused(workspace: Workspace, form: str) -> None:
    value = read_spec(workspace.put_spec(spec()))
    for seed in seeds(40, KEPT, parts=len(FILES)):  # a failure can be repeated: the file is made from the seed alone
        try:
            read(value, mutated(FILES[form], random.Random(seed)), workspace.root)
        except Exception as error:
            error.add_note(f"{form}, seed {seed}")
            raise
