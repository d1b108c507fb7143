"""Which data of a run stay when it has ended."""

import json
from pathlib import Path

from lockgate.engine import Run
from lockgate.records.leftovers import remove_data, remove_older, removed, resumable
from lockgate.records.runs import About, RunRecord

ROWS, PAGES = ("in/rows", "out/rows", "out/answers/answers.parquet", "tmp/x", "key/private.pem"), (
    "in/spec", "out/verdict", "out/report", "log", "termination",
)  # fmt: skip


def ran(folder: Path, phase: str, *, keep: bool = False) -> RunRecord:
    """Return the record of a run that has ended, with a gate and a program that signs a record."""
    for node, names in (("main", (*ROWS, *PAGES)), ("second", (*ROWS, "out/answers/record.json"))):
        for name in names:
            path = folder / "nodes" / node / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    audit = {
        "id": "1", "name": "r.bias-audit", "displayName": "bias-audit", "type": "Pod", "templateName": "bias-audit",
        "phase": "Succeeded", "folder": "nodes/main", "startedAt": None, "finishedAt": None,
    }  # fmt: skip
    predict = {**audit, "id": "2", "templateName": "predict", "folder": "nodes/second"}
    run = {"phase": phase, "message": "", "parameters": {}, "nodes": {"1": audit, "2": predict}}
    (folder / "run.json").write_text(json.dumps(run))
    About("grants", "release", {}, (), None, keep, {"bias-audit": ("report",)}).write(folder)
    return RunRecord(Run.load(folder), About.read(folder))


def left(record: RunRecord, name: str = "main") -> set[str]:
    """Return the files of the node."""
    node = record.run.folder / "nodes" / name
    return {path.relative_to(node).as_posix() for path in node.rglob("*") if not path.is_dir()}


def test_records_and_pages_stay_and_all_else_goes(tmp_path: Path) -> None:
    record = ran(tmp_path / "one", "Succeeded")
    (tmp_path / "one" / "nodes" / "main" / "out" / "linked").symlink_to(tmp_path / "elsewhere")
    remove_data(record)
    assert left(record) == set(PAGES)
    assert left(record, "second") == {"out/answers/record.json"}
    assert removed(record)


def test_a_run_that_failed_keeps_its_data_for_resume_until_a_later_run_ends(tmp_path: Path) -> None:
    failed, kept, interrupted = (
        ran(tmp_path / "failed", "Failed"),
        ran(tmp_path / "kept", "Failed", keep=True),
        ran(tmp_path / "interrupted", "Running"),
    )
    assert all(map(resumable, (failed, kept, interrupted)))
    remove_older([failed, kept, interrupted])
    assert [resumable(record) for record in (failed, kept, interrupted)] == [False, True, False]
    assert left(kept) == {*ROWS, *PAGES}
    assert not resumable(ran(tmp_path / "done", "Succeeded"))
