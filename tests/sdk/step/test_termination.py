"""The termination message of a gate is valid JSON, however long the verdict is."""

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
