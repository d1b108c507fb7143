"""Install and keep Python environments with uv: one per lock, named by the digest of its content."""

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from lockgate.definition.project import Project
from lockgate.errors import OutsideFailed
from lockgate.folders import WRITABLE_BY_OTHERS, home, own

_LAST_LINES = 15
# What an installer needs of this process's environment.
_PASSED_ON = re.compile(
    r"(?i)PATH|HOME|USER|LOGNAME|TMPDIR|LANG|LC_\w+|TZ|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|SSL_CLIENT_CERT|NETRC|"
    r"XDG_(CACHE|CONFIG|DATA)_HOME|XDG_CONFIG_DIRS|UV_\w+|SOURCE_DATE_EPOCH|SYSTEMROOT"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
# pip's settings and uv's names for them: on a restricted network, it is enough to configure pip.
_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "no-index": "UV_NO_INDEX",
}


class Environments:
    """The environments in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def digest(self, lock: Path) -> str:
        """The name of a lock's environment: 16 digits of the digest of its content."""
        return hashlib.sha256(lock.read_bytes()).hexdigest()[:16]

    def python(self, interpreter: Path, lock: Path, installing: Callable[[], None]) -> Path:
        """Return the interpreter of the environment with exactly this lock; install it first if it does not exist.

        installing: called before an installation starts.

        Errors: BadCall if another user owns the folder, or can write it; OutsideFailed, with the last lines of the
        installer's output.
        """
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        folder = (
            self._folder / f"{self.digest(lock)}-{hashlib.sha256(str(interpreter).encode()).hexdigest()[:4]}-{version}"
        )
        python = folder / "bin" / "python"
        # Packages write their own path into their files, so an environment cannot be moved after its installation.
        # This file is written last and marks a complete environment.
        whole = folder / ".whole"
        fix = "set LOCKGATE_CACHE to a folder of your own: its code is executed"
        own(self._folder.resolve(), fix, never=WRITABLE_BY_OTHERS)
        if whole.exists():
            return python
        with FileLock(self._folder / f"{folder.name}.lock"):
            if not whole.exists():
                installing()
                shutil.rmtree(folder, ignore_errors=True)
                self._uv(lock, "venv", "--no-config", "--python", str(interpreter), str(folder))
                self._uv(
                    lock,
                    *("pip", "install", "--no-config", "--python", str(python), "--require-hashes"),
                    # Wheels only: no code of a package is executed to install it, as for an image.
                    *("--only-binary=:all:", "--compile-bytecode", "--no-deps", "-r", str(lock)),
                )
                whole.touch()
        return python

    def lay_out(self, lock: Path, folder: Path, python: str, platform: str) -> None:
        """Install the packages of a lock into a folder.

        python: minor version of the Python that will import them.
        platform: uv's name of the platform that they will run on, e.g. `x86_64-manylinux_2_28`.

        Errors: OutsideFailed, with the last lines of the installer's output.
        """
        self._uv(
            lock,
            *("pip", "install", "--no-config", "--require-hashes", "--no-deps", "--only-binary=:all:"),
            *("--link-mode=copy", f"--target={folder}", f"--python-version={python}", f"--python-platform={platform}"),
            *("-r", str(lock)),
        )

    def _uv(self, lock: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "uv", *arguments]
        done = subprocess.run(  # noqa: S603  # our own dependency
            command, env=self.settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = _CREDENTIALS.sub("", done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:]
            lines = "\n".join(f"  {line}" for line in last)
            message = f"cannot install the packages of {lock.parent.name}/{lock.name}:\n{lines}"
            raise OutsideFailed(message, fix="check that `pip download` works on this machine, then run this again")

    @cached_property
    def settings(self) -> dict[str, str]:
        """The variables of the installer, with pip's settings translated for uv; uv's own settings take precedence.

        Nothing else of this process's environment, which may have secrets.
        """
        found = dict(_pip_settings())
        mapped = {_SETTINGS[name]: " ".join(value.split()) for name, value in found.items() if name in _SETTINGS}
        if "UV_INDEX" in mapped:
            mapped["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does; the hashes decide what is accepted
        if "UV_FIND_LINKS" in mapped:
            mapped["UV_FIND_LINKS"] = mapped["UV_FIND_LINKS"].replace(" ", ",")
        passed = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
        # Without a home folder, uv has no place for its own cache.
        place = {} if home() else {"UV_CACHE_DIR": str(self._folder.resolve() / "uv")}
        return {**place, **mapped, **passed, "UV_LINK_MODE": _link_mode(passed)}


def _link_mode(passed: Mapping[str, str]) -> str:
    """The mode that the user chose; but no links to a cache that a step cannot read."""
    chosen = passed.get("UV_LINK_MODE", "")
    return "hardlink" if chosen in ("", "symlink") else chosen


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Yield pip's settings, by rising precedence. This does not call `pip config`, since pip may not be installed."""
    mine, given, named = home(), os.environ.get("XDG_CONFIG_HOME"), os.environ.get("PIP_CONFIG_FILE")
    places = [Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf")]
    places += [mine / "Library/Application Support/pip/pip.conf", mine / ".pip/pip.conf"] if mine else []
    settings = Path(given) if given else mine / ".config" if mine else None
    places += [settings / "pip/pip.conf"] if settings else []
    places += [Path(sys.prefix) / "pip.conf", *([Path(named)] if named else [])]
    for place in places:
        parser = configparser.RawConfigParser()
        try:
            parser.read(place, "utf-8")
        except configparser.Error:
            continue  # pip reports it
        for section in ("global", "install"):
            if parser.has_section(section):
                yield from ((name.replace("_", "-"), value) for name, value in parser.items(section))
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            yield name.removeprefix("PIP_").lower().replace("_", "-"), value


def cache() -> Path:
    """The folder of the environments: `$LOCKGATE_CACHE`, by default in the user's cache folder.

    A user without a home folder that can be written has it in the project.
    """
    chosen, given = os.environ.get("LOCKGATE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen)
    mine = home()
    place = Path(given) if given else mine / ".cache" if mine else None
    if place is not None and _can_be_written(place / "lockgate" / "environments"):
        return place / "lockgate" / "environments"
    return Project.find().state / "environments"


def _can_be_written(folder: Path) -> bool:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
