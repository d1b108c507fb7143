"""Which folder's platform has which port, among all of one user: a link a port, so that a taken port can be named."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def claim(port: int, state: Path) -> None:
    """Leave word that the supervisor of this state folder has the port; it is a courtesy, and nothing fails by it."""
    link = _link(port)
    draft = link.with_name(f"{port}.{os.getpid()}")
    with suppress(OSError):
        link.parent.mkdir(mode=0o700, exist_ok=True)
        draft.symlink_to(state.resolve())
        draft.replace(link)


def release(port: int, state: Path) -> None:
    """Take the word back."""
    with suppress(OSError):
        if _link(port).readlink() == state.resolve():
            _link(port).unlink()


def claimed(port: int) -> Path | None:
    """The state folder of the supervisor that last claimed the port; it may have been killed since."""
    try:
        return _link(port).readlink()
    except OSError:
        return None


def _link(port: int) -> Path:
    return Path(tempfile.gettempdir()) / f"lockgate-{os.getuid()}" / str(port)
