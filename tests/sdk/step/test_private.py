"""A program keeps what it knows inside, and goes on when its log cannot be written."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
"""A program."""
from pathlib import Path
from lockgate_step import Out, Report, main, program


@program()
def show(report: Out[Report]) -> None:
    """Write the limits of this process."""
    report.path.write_text(Path("/proc/self/limits").read_text())


main(show)
'''


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_that_crashes_leaves_no_core_file(tmp_path: Path) -> None:
    """A core file has the rows and the key of a step."""
    (tmp_path / "show.py").write_text(PROGRAM)
    (tmp_path / "out").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        env = {**os.environ, "LOCKGATE_IO": str(tmp_path)}
        subprocess.run([sys.executable, str(tmp_path / "show.py")], env=env, check=True)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    limits = (tmp_path / "out" / "report").read_text()
    (line,) = (line.split() for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line[4:6] == ["0", "0"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_end_what_logs() -> None:
    with Path("/dev/full").open("w") as full:
        code = "from lockgate_step import log; log('progress', done=1)"
        assert subprocess.run([sys.executable, "-c", code], stderr=full, check=False).returncode in (0, 120)


def test_libraries_send_no_usage_reports() -> None:
    code = "import os, lockgate_step; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['DO_NOT_TRACK'])"
    env = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK")}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == "1 true\n"
