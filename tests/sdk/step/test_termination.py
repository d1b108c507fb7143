"""The termination message of a gate is valid JSON, however long the verdict is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lockgate_step import canonical
from lockgate_step._run import _terminate

LIMIT = 4096


def reason(number: int) -> dict[str, object]:
    lines = [f"{'é' * 40} {number}"]
    return {
        "id": f"bias-audit/{number:02}",
        "rule": "r",
        "message": "é" * 40,
        "lines": lines,
        "why": "because",
        "waived_by": None,
    }


@pytest.mark.parametrize("count", [0, 3, 12, 16, 20, 40])
def test_explanations_are_left_out_first_and_then_the_last_reasons(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path))
    reasons = [reason(number) for number in range(1, count + 1)]
    whole = {"result": "refused", "verdict": "sha256:9c41e0", "reasons": reasons, "notes": ["." * 1600]}
    _terminate(whole)

    def shortened(noted: bool, kept: int, explained: int) -> bytes:
        bare = {"lines": [], "why": ""}
        left = [{**each, **({} if at < explained else bare)} for at, each in enumerate(reasons[:kept])]
        more = {"left_out": count - kept} if kept < count else {}
        return canonical({**whole, "reasons": left, "notes": whole["notes"] if noted else [], **more})

    ever_less = [shortened(True, count, count)]
    ever_less += [shortened(False, count, explained) for explained in range(count, -1, -1)]
    ever_less += [shortened(False, kept, 0) for kept in range(count, -1, -1)]
    expected = next(each for each in ever_less if len(each) <= LIMIT)
    assert (tmp_path / "termination").read_bytes() == expected


def test_an_error_too_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path))
    _terminate({"error": "x" * 2 * LIMIT})
    assert len((tmp_path / "termination").read_bytes()) == LIMIT


def test_a_step_without_enough_memory_is_not_tried_again(tmp_path: Path) -> None:
    """It would end in the same way, as one that the kernel ends for lack of memory: Argo retries exit code 4 only."""
    lines = ["@program()", "def grow() -> None:", '    """Need more memory than there is."""', "    bytearray(1 << 60)"]
    text = "\n".join(['"""A program."""', "from lockgate_step import main, program", *lines, "main(grow)", ""])
    (tmp_path / "grow.py").write_text(text)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "grow.py")],
        env={**os.environ, "LOCKGATE_IO": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (said,) = (json.loads(line) for line in done.stderr.splitlines())
    assert (done.returncode, said["code"], said["message"]) == (2, 2, "out of memory")
    assert json.loads((tmp_path / "termination").read_text())["error"] == "out of memory"
