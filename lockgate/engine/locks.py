"""Lock a file while a process lives, so that other processes can see whether it does.

This uses fcntl instead of filelock: a check needs a shared lock, and filelock takes only exclusive ones. With an
exclusive lock, two checks at the same time would each take the other for the holder.
"""

import fcntl
import time
from pathlib import Path
from typing import IO

# A check holds its shared lock only for a moment; a holder keeps its lock. So try again before giving up.
_ATTEMPTS = 10
_PAUSE = 0.05


def hold(path: Path) -> IO[bytes] | None:
    """Lock a file until the returned file is closed or this process ends; None if another process holds it."""
    file = path.open("a+b")
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
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
