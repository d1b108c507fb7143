"""Lock a file while a process lives, so that other processes can see whether it does.

This uses fcntl instead of filelock: a check needs a shared lock, and filelock takes only exclusive ones. With an
exclusive lock, two checks at the same time would each take the other for the holder.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from lockgate.errors import OutsideFailed

# A check holds its shared lock only for a moment; a holder keeps its lock. So try again before giving up.
_ATTEMPTS = 10
_PAUSE = 0.05
_AS_IT_IS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # neither follow a link nor wait for the writer of a pipe


def hold(path: Path) -> IO[bytes] | None:
    """Lock a file until the returned file is closed or this process ends; None if another process holds it.

    Errors: OutsideFailed if it is not a file that this user can write. A link is not followed: the holder may write
    into the file.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _AS_IT_IS, 0o666), "a+b")
    except OSError as error:
        raise cannot_lock(path, error) from error
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < _ATTEMPTS:
                time.sleep(_PAUSE)
        else:
            return file
    file.close()
    return None


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock of a file; a file that cannot be opened is not held."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _AS_IT_IS), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def cannot_lock(path: Path, error: OSError) -> OutsideFailed:
    """Return the error for a file that cannot be locked."""
    msg = f"cannot lock {path}: {error.strerror}"
    return OutsideFailed(msg, fix=f"check who made it, and remove it if no run is in progress: ls -ld {path}")
