"""What every store guarantees: a folder, and a real S3 service with and without TLS."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from lockgate_store import Exists, Missing, Moved, Store, StoreError, TooLarge, get_tree, put_tree

WRITERS = 32


def race(act: Callable[[int], object]) -> Counter[str]:
    """Let all writers act at the same moment; count the outcomes."""
    barrier = threading.Barrier(WRITERS)
    outcomes: list[str] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            act(number)
            outcomes.append("won")
        except StoreError as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(outcomes)


def test_what_was_created_is_read(store: Store) -> None:
    version = store.create("models/m/live.json", b"\x00one\n")
    blob = store.read("models/m/live.json")
    assert (blob.data, blob.version) == (b"\x00one\n", version)
    assert store.exists("models/m/live.json")


def test_a_key_that_does_not_exist_is_not_found(store: Store, tmp_path: Path) -> None:
    store.create("models/m/live.json", b"")
    for key in ("models/m/live", "models/m", "models/m/live.json.bak", "other"):
        assert not store.exists(key)
        with pytest.raises(Missing, match=key):
            store.read(key)
        with pytest.raises(Missing):
            store.download(key, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_create_never_overwrites(store: Store, tmp_path: Path) -> None:
    store.create("k", b"first")
    (tmp_path / "second").write_bytes(b"second")
    with pytest.raises(Exists):
        store.create("k", b"second")
    with pytest.raises(Exists):
        store.create("k", b"first")
    with pytest.raises(Exists):
        store.upload(tmp_path / "second", "k")
    assert store.read("k").data == b"first"


def test_replace_and_delete_need_the_current_version(store: Store) -> None:
    first = store.create("k", b"1")
    second = store.replace("k", b"2", first)
    with pytest.raises(Moved):
        store.replace("k", b"3", first)
    with pytest.raises(Moved):
        store.delete("k", first)
    assert store.read("k").data == b"2"
    store.delete("k", second)
    assert not store.exists("k")
    with pytest.raises(Moved):
        store.replace("k", b"3", second)
    with pytest.raises(Moved):
        store.delete("k", second)
    assert not store.exists("k")
    store.create("k", b"again")


def test_put_overwrites(store: Store) -> None:
    store.put("status.json", b"1")
    version = store.put("status.json", b"2")
    assert store.read("status.json").data == b"2"
    store.replace("status.json", b"3", version)


def test_list_is_by_prefix_and_sorted(store: Store) -> None:
    keys = ["a/b/1", "a/b/2", "a/bc", "a/c/d/e", "z"]
    for key in reversed(keys):
        store.create(key, key.encode())
    assert list(store.list("")) == keys
    assert list(store.list("a/b")) == ["a/b/1", "a/b/2", "a/bc"]
    assert list(store.list("a/b/")) == ["a/b/1", "a/b/2"]
    assert list(store.list("nothing/")) == []


def test_create_has_one_winner(store: Store) -> None:
    assert race(lambda number: store.create("k", b"%d" % number)) == {"won": 1, "Exists": WRITERS - 1}


def test_upload_has_one_winner(store: Store, tmp_path: Path) -> None:
    paths = [tmp_path / f"part{number}" for number in range(WRITERS)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number * 10_000)
    assert race(lambda number: store.upload(paths[number], "k")) == {"won": 1, "Exists": WRITERS - 1}
    assert store.read("k").data in {path.read_bytes() for path in paths}


def test_compare_and_swap_has_one_winner(store: Store) -> None:
    version = store.create("k", b"start")
    assert race(lambda number: store.replace("k", b"%d" % number, version)) == {"won": 1, "Moved": WRITERS - 1}


def test_delete_and_swap_have_one_winner(store: Store) -> None:
    version = store.create("k", b"start")

    def act(number: int) -> None:
        if number % 2:
            store.replace("k", b"%d" % number, version)
        else:
            store.delete("k", version)

    assert race(act) == {"won": 1, "Moved": WRITERS - 1}


def test_counting_by_compare_and_swap_loses_nothing(store: Store) -> None:
    store.create("count", b"0")

    def add(_: int) -> None:
        while True:
            blob = store.read("count")
            try:
                store.replace("count", b"%d" % (int(blob.data) + 1), blob.version)
            except Moved:
                continue
            return

    race(add)
    assert store.read("count").data == b"%d" % WRITERS


def test_no_reader_sees_part_of_a_write(store: Store) -> None:
    size = 4 << 20
    version = store.create("k", bytes(size))
    seen: list[bool] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            data = store.read("k").data
            seen.append(len(data) == size and data[0] == data[-1])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(1, 15):
        version = store.replace("k", bytes([turn]) * size, version)
    for turn in range(15, 25):
        store.put("k", bytes([turn]) * size)
    done.set()
    for reader in readers:
        reader.join()
    assert seen and all(seen)


def test_files_are_copied_completely(store: Store, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "new" / "back"
    source.write_bytes(bytes(range(256)) * 20_000)
    version = store.upload(source, "models/m/snapshots/1/rows.parquet")
    assert store.read("models/m/snapshots/1/rows.parquet").version == version
    store.download("models/m/snapshots/1/rows.parquet", back)
    assert back.read_bytes() == source.read_bytes()
    assert [path.name for path in back.parent.iterdir()] == ["back"]


def test_folders_are_copied_completely(store: Store, tmp_path: Path) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back"
    (tree / "model").mkdir(parents=True)
    (tree / "manifest.json").write_bytes(b"{}")
    (tree / "model" / "model.onnx").write_bytes(b"\x08")
    put_tree(store, tree, "bundles/1")
    put_tree(store, tree, "bundles/1")  # a step may run twice
    get_tree(store, "bundles/1", back)
    assert {path.relative_to(back).as_posix(): path.read_bytes() for path in back.rglob("*") if path.is_file()} == {
        "manifest.json": b"{}",
        "model/model.onnx": b"\x08",
    }
    (tree / "model" / "model.onnx").write_bytes(b"\x09")
    with pytest.raises(Exists, match=r"bundles/1/model/model\.onnx"):
        put_tree(store, tree, "bundles/1")
    with pytest.raises(Missing, match="bundles/2"):
        get_tree(store, "bundles/2", tmp_path / "none")


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", ".lock", "a\x00", "a\n"])
def test_a_key_cannot_leave_the_store(store: Store, key: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    for act in (
        lambda: store.read(key),
        lambda: store.create(key, b""),
        lambda: store.put(key, b""),
        lambda: store.replace(key, b"", "0"),
        lambda: store.delete(key, "0"),
        lambda: store.exists(key),
        lambda: store.upload(tmp_path / "f", key),
        lambda: store.download(key, tmp_path / "g"),
    ):
        with pytest.raises(ValueError, match="is not a key"):
            act()
    assert list(store.list("")) == []


def test_a_reader_can_limit_what_it_reads(store: Store) -> None:
    store.create("k", b"12345")
    assert store.read("k", at_most=5).data == b"12345"
    with pytest.raises(TooLarge, match="k is larger than expected"):
        store.read("k", at_most=4)
    assert store.read("k").data == b"12345"
