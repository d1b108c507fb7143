"""Install and keep Python environments with uv: one per lock, named by the digest of its content."""

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from lockgate.errors import OutsideFailed

_LAST_LINES = 15
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

        Errors: OutsideFailed, with the last lines of the installer's output.
        """
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        folder = (
            self._folder / f"{self.digest(lock)}-{hashlib.sha256(str(interpreter).encode()).hexdigest()[:4]}-{version}"
        )
        python = folder / "bin" / "python"
        # Packages write their own path into their files, so an environment cannot be moved after its installation.
        # This file is written last and marks a complete environment.
        whole = folder / ".whole"
        if whole.exists():
            return python
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f"{folder.name}.lock"):
            if not whole.exists():
                installing()
                shutil.rmtree(folder, ignore_errors=True)
                self._uv(lock, "venv", "--no-config", "--python", str(interpreter), str(folder))
                self._uv(
                    lock,
                    *("pip", "install", "--no-config", "--python", str(python), "--require-hashes"),
                    *("--compile-bytecode", "--no-deps", "-r", str(lock)),
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
        """The environment of this process, with pip's settings translated for uv; uv's own settings take precedence."""
        found = dict(_pip_settings())
        mapped = {_SETTINGS[name]: " ".join(value.split()) for name, value in found.items() if name in _SETTINGS}
        if "UV_INDEX" in mapped:
            mapped["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does; the hashes decide what is accepted
        if "UV_FIND_LINKS" in mapped:
            mapped["UV_FIND_LINKS"] = mapped["UV_FIND_LINKS"].replace(" ", ",")
        return {**mapped, **os.environ}


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Yield pip's settings, by rising precedence. This does not call `pip config`, since pip may not be installed."""
    home = Path.home()
    named = os.environ.get("PIP_CONFIG_FILE")
    places = [Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf"), home / "Library/Application Support/pip/pip.conf"]
    places += [home / ".pip/pip.conf", Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"]
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
    """The folder of the environments: `$LOCKGATE_CACHE`, by default in the user's cache folder."""
    chosen = os.environ.get("LOCKGATE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(chosen) if chosen else Path(home) / "lockgate" / "environments"
