"""A model's own step cannot leave a symbolic link: Argo's own container would follow it to its credentials."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.definition.catalog import Catalog
from lockgate.definition.contract import own_step
from lockgate.engine.runtime import keeper
from tests.workshop import Done

pytestmark = pytest.mark.skipif(not keeper.isolates(), reason="this kernel has no Landlock")
STEP = '''\
# /// script
# dependencies = []
# ///
"""A step."""
import os, shutil, subprocess, sys
from pathlib import Path
from lockgate_step import In, Out, Table, main, program


@program()
def mine(rows: Out[Table]) -> None:
    """Write rows."""
    secret, folder = "{secret}", Path(os.environ["LOCKGATE_IO"])
    {body}


if __name__ == "__main__":
    main(mine)
'''


def run(tmp_path: Path, body: str, packages: Path | None = None) -> Done:
    """Run a step with the command that is rendered for it, as Argo does: nothing else limits it."""
    code, io = tmp_path / "code", tmp_path / "io"
    for folder in (code, io / "out", io / "tmp", io / "in"):
        folder.mkdir(parents=True)
    (io / "in" / "link").symlink_to(tmp_path / "token")
    (tmp_path / "token").write_text("secret")
    source = code / "mine.py"
    source.write_text(STEP.replace("{body}", body).replace("{secret}", str(tmp_path / "token")))
    program = own_step(source, "grants")
    path = os.pathsep.join(str(each) for each in (packages, code, Catalog.find().sdk) if each)
    command = [sys.executable if part == "python" else part for part in (*program.command, *program.args)]
    done = subprocess.run(
        command, env={"PYTHONPATH": path, "LOCKGATE_IO": str(io)}, capture_output=True, text=True, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


LINKS = {
    "an output": "os.symlink(secret, rows.path)",
    "in an output": "rows.path.mkdir(); os.symlink(secret, rows.path / 'x')",
    "beside the outputs": "os.symlink(secret, folder / 'tmp' / 'x')",
    "a link that came in, renamed": "os.rename(folder / 'in' / 'link', rows.path)",
    "a link that came in, as a hard link": "os.link(folder / 'in' / 'link', rows.path, follow_symlinks=False)",
    "a link renamed in its folder": "os.rename(folder / 'in' / 'link', folder / 'in' / 'other')",
}


@pytest.mark.parametrize("body", LINKS.values(), ids=LINKS)
def test_no_step_leaves_a_link(tmp_path: Path, body: str) -> None:
    done = run(tmp_path, body)
    assert done.code == 1, done.said
    event = json.loads(done.err.splitlines()[-1])
    assert (event["event"], event["kind"]) == ("bug", "PermissionError")
    assert [place for place in event["at"] if place.startswith("mine.py:")]
    links = [path for path in (tmp_path / "io").rglob("*") if path.is_symlink()]
    assert links == [tmp_path / "io" / "in" / "link"]


def test_no_process_of_a_step_makes_a_link(tmp_path: Path) -> None:
    body = (
        "sys.exit(subprocess.run(['ln', '-s', secret, str(rows.path)], env={'LC_ALL': 'C', **os.environ}).returncode)"
    )
    done = run(tmp_path, body)
    assert (done.code, "Permission denied" in done.err) == (1, True), done.said


@pytest.mark.parametrize("module", ["sitecustomize", "usercustomize", "encodings", "ctypes", "os", "site"])
def test_no_package_runs_before_links_are_denied(tmp_path: Path, module: str) -> None:
    packages, link = tmp_path / "packages", tmp_path / "io" / "out" / "rows"
    (packages / module).mkdir(parents=True)
    (packages / module / "__init__.py").write_text(
        f"import posix\ntry:\n    posix.symlink('/etc/passwd', {str(link)!r})\n"
        f"except PermissionError:\n    posix.write(2, b'denied\\n')\nposix._exit(5)\n"
    )
    done = run(tmp_path, "rows.path.write_text('x')", packages)
    assert not link.is_symlink(), done.said
    assert (done.code, "denied" in done.err) in ((5, True), (0, False)), done.said


def test_files_are_moved_and_linked_as_before(tmp_path: Path) -> None:
    body = (
        "made = folder / 'tmp' / 'made'; made.write_text('x'); os.link(made, folder / 'out' / 'hard'); "
        "(folder / 'tmp' / 'new').mkdir(); os.rename(made, folder / 'tmp' / 'new' / 'made'); "
        "shutil.move(folder / 'tmp' / 'new' / 'made', rows.path)"
    )
    done = run(tmp_path, body)
    assert done.code == 0, done.said
    assert (tmp_path / "io" / "out" / "rows").read_text() == "x"
