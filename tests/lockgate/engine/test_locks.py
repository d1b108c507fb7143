"""Locks that show whether their holder lives: checks disturb neither the holder nor each other."""

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.engine.locks import hold, is_held
from lockgate.engine.runtime.mutexes import Mutexes
from lockgate.errors import OutsideFailed


def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    first = hold(path)
    assert first is not None
    assert is_held(path)
    assert hold(path) is None
    first.close()
    assert not is_held(path)
    second = hold(path)
    assert second is not None
    second.close()


def test_a_check_is_not_taken_for_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open("rb") as check:
        fcntl.flock(check, fcntl.LOCK_SH)
        assert not is_held(path)


def test_a_holder_waits_until_a_check_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    check = path.open("rb")
    fcntl.flock(check, fcntl.LOCK_SH)

    def end() -> None:
        time.sleep(0.1)
        check.close()

    thread = threading.Thread(target=end)
    thread.start()
    held = hold(path)
    thread.join()
    assert held is not None
    held.close()


def test_a_link_is_neither_followed_nor_held(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    for name, target in (("link", "kept"), ("dangling", "created")):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(OutsideFailed, match=f"^cannot lock .*/{name}: "):
            hold(tmp_path / name)
        assert not is_held(tmp_path / name)
    assert (tmp_path / "kept").read_text() == "kept"
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_not_a_file_is_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "lock"
    make(path)
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(is_held(path)), daemon=True)
    thread.start()
    thread.join(5)
    assert seen == [False]


def test_a_mutex_that_cannot_be_locked_is_an_error_and_releases_the_others(tmp_path: Path) -> None:
    (tmp_path / "b.lock").mkdir()
    mutexes = Mutexes(tmp_path, lambda: None)
    with pytest.raises(OutsideFailed, match=r"^cannot lock .*/b\.lock: Is a directory"):
        mutexes.acquire("run", ["a", "b"])
    assert mutexes.acquire("other", ["a"])
    mutexes.release_all()


def test_a_run_that_waits_for_a_mutex_gets_the_error(tmp_path: Path) -> None:
    first, woken = Mutexes(tmp_path, lambda: None), threading.Event()
    assert first.acquire("run", ["a", "b"])
    second = Mutexes(tmp_path, woken.set)
    assert not second.acquire("run", ["a", "b"])
    (tmp_path / "b.lock").unlink()
    (tmp_path / "b.lock").mkdir()
    first.release_all()
    assert woken.wait(10)
    with pytest.raises(OutsideFailed, match="Is a directory"):
        second.acquire("run", ["a", "b"])
