"""Remove the data of a run that has ended: its steps' inputs, and their outputs that are not records or pages."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lockgate_step import layout

from lockgate.records.evidence import signed_file, signs
from lockgate.records.runs import RunRecord

_KEPT_INPUTS = frozenset(("spec",))  # rendered, without data; the pages show the description in it
_REMOVED = "removed"


def resumable(record: RunRecord) -> bool:
    """Whether `--resume` can continue a run: it did not succeed, no gate refused it, and its files are still there."""
    return record.phase != "Succeeded" and not record.refused and not removed(record)


def removed(record: RunRecord) -> bool:
    """Whether the data of a run were removed."""
    return (record.run.folder / _REMOVED).exists()


def remove_data(record: RunRecord) -> None:
    """Remove the data of a run that has ended; its record, logs, verdicts and pages stay."""
    (record.run.folder / _REMOVED).touch()
    kept = {record.run.folder / node.folder: _kept(record, node.template_name) for node in record.run.nodes}
    for node in (record.run.folder / "nodes").glob("*/"):
        for name in (layout.ENVIRONMENT, layout.CREDENTIALS, layout.KEY, layout.TMP):  # of a step that was killed
            shutil.rmtree(node / name, ignore_errors=True)
        _keep(node / layout.IN, _KEPT_INPUTS)
        _keep(node / layout.OUT, kept.get(node, frozenset()))


def remove_older(runs: Iterable[RunRecord]) -> None:
    """Remove the data of each run that has ended, unless it was started with `--keep`."""
    for record in runs:
        if not (record.run.alive or record.about.keep or removed(record)):
            remove_data(record)


def _kept(record: RunRecord, step: str) -> frozenset[str]:
    """What stays of a step's outputs: what Lockgate's program signed, and what the step's contract declares as a page.

    The store has the bundle, and its snapshot of the data. A file that only has such a name may be rows.
    """
    return frozenset((*([signed_file(step)] if signs(step, record.about) else ()), *record.about.pages_of(step)))


def _keep(folder: Path, names: frozenset[str]) -> None:
    """Remove every file below a folder that is not one of these, and the folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder, before the folder
        if path.is_symlink() or not path.is_dir():
            if path.is_symlink() or path.relative_to(folder).as_posix() not in names:
                path.unlink()
        else:
            with suppress(OSError):  # not empty
                path.rmdir()
