"""Locks that show whether their holder lives: checks disturb neither the holder nor each other."""

import fcntl
import threading
import time
from pathlib import Path

from lockgate.engine.locks import hold, is_held


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
