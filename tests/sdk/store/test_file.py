"""The folder store: compared with a dictionary, with writers killed by SIGKILL, and on a full disk."""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from lockgate_step import OutsideFailed
from lockgate_store import Exists, Missing, Moved, Store, open_store

KEYS = st.sampled_from(["live.json", "models/a/live.json", "models/a/b", "models/b", "models/a.b/c"])
DATA = st.binary(max_size=8)


def open_folder(root: Path, environment: Path) -> Store:
    (environment / "store").write_text(root.as_uri())
    return open_store(environment)


class FileStoreIsADictionary(RuleBasedStateMachine):
    """Any sequence of calls has the results of a dictionary."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        self.store = open_folder(self.folder / "root", self.folder)
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.scratch.cleanup()

    @rule(target=versions, key=KEYS, data=DATA)
    def create(self, key: str, data: bytes) -> tuple[str, str]:
        if key in self.model:
            with pytest.raises(Exists):
                self.store.create(key, data)
            return key, self.store.read(key).version
        self.model[key] = data
        return key, self.store.create(key, data)

    @rule(target=versions, key=KEYS, data=DATA)
    def put(self, key: str, data: bytes) -> tuple[str, str]:
        self.model[key] = data
        return key, self.store.put(key, data)

    @rule(target=versions, known=versions, data=DATA)
    def replace(self, known: tuple[str, str], data: bytes) -> tuple[str, str]:
        key, version = known
        if self._current(key) != version:
            with pytest.raises(Moved):
                self.store.replace(key, data, version)
            return known
        self.model[key] = data
        return key, self.store.replace(key, data, version)

    @rule(known=versions)
    def delete(self, known: tuple[str, str]) -> None:
        key, version = known
        if self._current(key) != version:
            with pytest.raises(Moved):
                self.store.delete(key, version)
            return
        del self.model[key]
        self.store.delete(key, version)

    @rule(key=KEYS, data=DATA)
    def upload(self, key: str, data: bytes) -> None:
        (self.folder / "source").write_bytes(data)
        if key in self.model:
            with pytest.raises(Exists):
                self.store.upload(self.folder / "source", key)
        else:
            self.store.upload(self.folder / "source", key)
            self.model[key] = data

    @rule(key=KEYS)
    def download(self, key: str) -> None:
        target = self.folder / "target"
        target.unlink(missing_ok=True)
        if key in self.model:
            self.store.download(key, target)
            assert target.read_bytes() == self.model[key]
        else:
            with pytest.raises(Missing):
                self.store.download(key, target)
            assert not target.exists()

    @rule(prefix=st.sampled_from(["", "m", "models/a", "models/a/", "models/a.b/", "x"]))
    def list(self, prefix: str) -> None:
        assert list(self.store.list(prefix)) == sorted(key for key in self.model if key.startswith(prefix))

    @invariant()
    def the_content_is_that_of_the_model(self) -> None:
        assert {key: self.store.read(key).data for key in self.store.list("")} == self.model

    @invariant()
    def no_part_is_left(self) -> None:
        parts = self.folder / "root" / ".parts"
        assert not parts.exists() or not list(parts.iterdir())

    def _current(self, key: str) -> str | None:
        return self.store.read(key).version if key in self.model else None


FileStoreIsADictionary.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestFileStoreIsADictionary = FileStoreIsADictionary.TestCase

WRITER = """
import sys
from pathlib import Path
from lockgate_store import Missing, open_store
store = open_store(Path(sys.argv[1]))
for turn in range(10**9):
    data = bytes([turn % 256]) * 2_000_000
    store.put("put", data)
    version = store.read("swapped").version
    store.replace("swapped", data, version)
    store.create(f"created/{turn}", data)
    if turn == 0:
        print("writing", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_values(tmp_path: Path) -> None:
    for attempt in range(12):
        place = tmp_path / str(attempt)
        place.mkdir()
        store = open_folder(place / "root", place)
        store.create("swapped", bytes(2_000_000))
        with subprocess.Popen([sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
            time.sleep(0.003 * attempt)
            writer.send_signal(signal.SIGKILL)
        for key in store.list(""):
            data = store.read(key).data
            assert data == data[:1] * 2_000_000, key
        # The lock of the killed writer is released.
        store.replace("swapped", b"next", store.read("swapped").version)


def test_parts_of_killed_writers_are_deleted_a_day_later(tmp_path: Path) -> None:
    parts = tmp_path / "root" / ".parts"
    parts.mkdir(parents=True)
    for name, age in (("old", 90_000), ("young", 60)):
        part = parts / f".part-{name}"
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age,) * 2)
    open_folder(tmp_path / "root", tmp_path)
    assert [path.name for path in parts.iterdir()] == [".part-young"]


@pytest.fixture
def small_files() -> object:
    """Limit the files of this process to 100 kB: the kernel refuses larger ones, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_write_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    store = open_folder(tmp_path / "root", tmp_path)
    version = store.create("k", b"old")
    big = bytes(200_000)
    acts: list[Callable[[], str]] = [
        lambda: store.create("new", big),
        lambda: store.put("k", big),
        lambda: store.replace("k", big, version),
    ]
    for act in acts:
        with pytest.raises(OutsideFailed, match=re.escape(f"in the store {store}: File too large")) as failed:
            act()
        assert failed.value.fix
    assert list(store.list("")) == ["k"]
    assert store.read("k").data == b"old"
    assert not list((tmp_path / "root" / ".parts").iterdir())


FULL = """
import sys
from pathlib import Path
from lockgate_step import OutsideFailed
from lockgate_store import open_store
place = Path(sys.argv[1])
store = open_store(place)
version = store.create("k", b"old")
try:
    store.replace("k", bytes(1 << 20), version)
except OutsideFailed as error:
    assert "No space left on device" in error.message, error.message
    assert "free space" in error.fix, error.fix
    assert store.read("k").data == b"old"
    assert list(store.list("")) == ["k"]
    store.replace("k", b"small", version)
    print("kept")
"""


def test_a_full_disk_keeps_the_old_content(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "store").write_text(root.as_uri())
    mount = f'mount -t tmpfs -o size=128k none "{root}" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    done = subprocess.run([*command, sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("kept\n", "", 0)


def test_a_key_below_another_key_is_refused_with_a_message(tmp_path: Path) -> None:
    store = open_folder(tmp_path / "root", tmp_path)
    store.create("a", b"")
    with pytest.raises(OutsideFailed, match="cannot write a/b"):
        store.create("a/b", b"")


@pytest.mark.parametrize("kind", ["link", "fifo", "device"])
def test_anything_but_a_regular_file_is_not_read_and_nobody_waits(tmp_path: Path, kind: str) -> None:
    store = open_folder(tmp_path / "kept", tmp_path)
    store.put("models/m/live.json", b"{}")
    path = tmp_path / "kept" / "models" / "m" / "live.json"
    path.rename(tmp_path / "moved")
    match kind:
        case "link":
            path.symlink_to(tmp_path / "moved")
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
    with pytest.raises(OutsideFailed, match=r"models/m/live\.json in the store .* is not a regular file"):
        store.read("models/m/live.json")
    with pytest.raises(OutsideFailed, match=r"models/m/live\.json in the store .* is not a regular file"):
        store.download("models/m/live.json", tmp_path / "x")


def test_a_key_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    store = open_folder(tmp_path / "kept", tmp_path)
    store.put("models/m/live.json", b"{}")
    os.truncate(tmp_path / "kept" / "models" / "m" / "live.json", (64 << 20) + 1)
    with pytest.raises(OutsideFailed, match="has more than 67,108,864 bytes"):
        store.read("models/m/live.json")
