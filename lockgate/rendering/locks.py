"""Compile the locks of one-file steps from their PEP 723 headers."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from lockgate_step import canonical, sha256

from lockgate.definition.catalog import Catalog
from lockgate.errors import OutsideFailed, SpecError

SIGNING = ("securesystemslib[crypto]>=1.3,<2",)  # signs and verifies records (lockgate_proof)
_HEADER = re.compile(r"(?m)^# /// script\s*$\n(?P<body>(?:^#(?:| .*)$\n)+?)^# ///\s*$")


def _lock_of(source: Path, more: Sequence[str] = (), *, check: bool) -> dict[Path, bytes]:
    """The lock of a one-file step; compiled again only if the packages in its PEP 723 header have changed.

    more: packages that it needs beside those.
    """
    lock = source.with_suffix(".lock")
    wanted = sorted({*packages_of(source), *more})
    mark = f"# of {source.name}, {sha256(canonical(wanted))}\n".encode()
    if lock.is_file() and lock.read_bytes().startswith(mark):
        return {lock: lock.read_bytes()}
    if check:
        return {lock: mark}
    return {lock: mark + _compile(wanted, source)}


def packages_of(source: Path) -> list[str]:
    """Read the packages in the PEP 723 header of a one-file step. Errors: SpecError."""
    match = _HEADER.search(source.read_text(encoding="utf-8"))
    if match is None:
        msg = f"{source.name} has no PEP 723 header, so its packages are unknown"
        raise SpecError(msg, fix='start the file with: # /// script, # dependencies = ["..."], # ///')
    body = "\n".join(line[2:] for line in match["body"].splitlines())
    return sorted(tomllib.loads(body).get("dependencies", []))


def _compile(packages: list[str], source: Path) -> bytes:
    from lockgate.images.environments import Environments, cache

    catalog = Catalog.find()
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    # Wheels only: no code of a package is executed to read its metadata.
    options += [
        "--only-binary=:all:",
        "--no-emit-index-url",
        "--constraint",
        str(catalog.root / "images" / "model-abi.txt"),
    ]
    done = subprocess.run(  # noqa: S603 - our own dependency, with arguments from this function
        [sys.executable, "-m", "uv", "pip", "compile", "-", *options],
        input="\n".join(packages).encode(),
        capture_output=True,
        check=False,
        env=Environments(cache()).settings,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        msg = f"cannot resolve the packages of {source.name}: {' '.join(last)}"
        raise OutsideFailed(msg, fix="correct its PEP 723 header, or check the address of the package index")
    return done.stdout
