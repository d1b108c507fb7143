"""Ports of the local platforms: which are free, and which project's platform uses one (a symbolic link per port)."""

import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path


def claim(port: int, state: Path) -> None:
    """Record that the supervisor of this state folder uses the port. The record is optional: a failure is ignored."""
    link = _link(port)
    draft = link.with_name(f"{port}.{os.getpid()}")
    with suppress(OSError):
        link.parent.mkdir(mode=0o700, exist_ok=True)
        draft.symlink_to(state.resolve())
        draft.replace(link)


def release(port: int, state: Path) -> None:
    """Remove the record."""
    with suppress(OSError):
        if _link(port).readlink() == state.resolve():
            _link(port).unlink()


def claimed(port: int) -> Path | None:
    """Return the state folder of the supervisor that last claimed the port; it may have been killed since."""
    try:
        return _link(port).readlink()
    except OSError:
        return None


def free(host: str, port: int) -> bool:
    """Return whether a server could listen on the port."""
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError):
        return False
    return True


def _link(port: int) -> Path:
    return Path(tempfile.gettempdir()) / f"lockgate-{os.getuid()}" / str(port)
