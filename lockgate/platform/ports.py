"""Ports of the local platforms: which are free, and which project's platform uses one (a symbolic link per port)."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from lockgate.errors import BadCall
from lockgate.folders import runtime


def claim(port: int, state: Path) -> None:
    """Record that the supervisor of this state folder uses the port. The record is optional: a failure is ignored."""
    with suppress(OSError, BadCall):
        link = _link(port)
        draft = link.with_name(f"{port}.{os.getpid()}")
        draft.symlink_to(state.resolve())
        draft.replace(link)


def release(port: int, state: Path) -> None:
    """Remove the record."""
    with suppress(OSError, BadCall):
        if _link(port).readlink() == state.resolve():
            _link(port).unlink()


def claimed(port: int) -> Path | None:
    """Return the state folder of the supervisor that last claimed the port; it may have been killed since."""
    try:
        return _link(port).readlink()
    except (OSError, BadCall):
        return None


def free(host: str, port: int) -> bool:
    """Return whether a server could listen on the port."""
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError):
        return False
    return True


def _link(port: int) -> Path:
    return runtime() / str(port)
