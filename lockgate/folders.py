"""The folders of a user on this machine: home, runtime folder, keys. Each is the user's own, or is refused."""

import os
import stat
import tempfile
from pathlib import Path

from lockgate.errors import BadCall

WRITABLE_BY_OTHERS = 0o022
OPEN_TO_OTHERS = 0o077


def own(folder: Path, fix: str, *, never: int = OPEN_TO_OTHERS) -> Path:
    """Return a folder that belongs to this user, created with mode 0700 if it does not exist.

    Root is trusted as an owner, as everywhere on the machine. never: the permissions that the folder must not have.

    Errors: BadCall if it is a link, or if another user owns it or has one of these permissions.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        msg = f"cannot create the folder {folder}: {error.strerror}"
        raise BadCall(msg, fix=fix) from error
    problem = ""
    if not stat.S_ISDIR(found.st_mode):
        problem = "is not a folder, but a link or a file"
    elif found.st_uid not in (os.geteuid(), 0):
        problem = f"belongs to user {found.st_uid}, not to you"
    elif found.st_mode & never:
        verb = "write" if found.st_mode & WRITABLE_BY_OTHERS else "read"
        problem = f"has mode {stat.S_IMODE(found.st_mode):04o}: other users can {verb} it"
    if problem:
        msg = f"{folder} {problem}"
        raise BadCall(msg, fix=fix)
    return folder


def home() -> Path | None:
    """The user's home folder, or None: a user id without a passwd entry may have none."""
    try:
        found = Path.home()
    except RuntimeError:
        return None
    return found if found.is_dir() else None


def runtime() -> Path:
    """The folder of what lives as long as the session: below `$XDG_RUNTIME_DIR`, or else in the temporary folder.

    Errors: BadCall if somebody else made it, or can read it.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    # After `su` it names the folder of another user.
    if os.path.isabs(given) and os.path.isdir(given) and os.stat(given).st_uid == os.geteuid():
        return own(Path(given, "lockgate"), fix=f"remove {Path(given, 'lockgate')}")
    try:
        shared = tempfile.gettempdir()
    except FileNotFoundError as error:
        msg = "no temporary folder can be written"
        raise BadCall(msg, fix="set TMPDIR to a folder that you can write") from error
    folder = Path(shared) / f"lockgate-{os.getuid()}"
    return own(folder, fix="set XDG_RUNTIME_DIR to a folder of yours with mode 0700, then run this again")


def keys() -> Path:
    """The folder of the keys of people: in `$XDG_CONFIG_HOME`, by default `~/.config`, where no step can read.

    Errors: BadCall if there is no such folder, or if others can read it.
    """
    fix = "set XDG_CONFIG_HOME to a folder that only you can read, or name a key with --key FILE"
    given = os.environ.get("XDG_CONFIG_HOME")
    found = home()
    if not given and found is None:
        msg = "there is no home folder for the key of an approver"
        raise BadCall(msg, fix=fix)
    return own(Path(given or f"{found}/.config") / "lockgate" / "keys", fix=fix)
