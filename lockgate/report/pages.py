"""The pages of a run: an index, the report of each gate, the model card; each names its run."""

import re
from pathlib import Path

from lockgate_report import cite, say
from lockgate_step import layout

from lockgate.errors import BadCall
from lockgate.records.evidence import Evidence, moment
from lockgate.records.runs import Step
from lockgate.report.index import PAGES, index


def write_pages(evidence: Evidence) -> dict[str, Path]:
    """Write the pages of a run into `report/` of its folder; returns name -> file, the index first.

    Errors: BadCall if no step has written a page.
    """
    record = evidence.record
    folder = record.run.folder / "report"
    found = {
        f"{_plain(step.name)}{'' if name == 'report' else f'-{name}'}.html": (step, step.folder / layout.OUT / name)
        for step in record.steps
        for name in PAGES
        if (step.folder / layout.OUT / name).is_file()
    }
    if not found:
        msg = f"run {record.id} has no report: {record.phase.lower()}"
        raise BadCall(msg, fix=f"lockgate logs {record.id} {evidence.options}".rstrip())
    written = {"index.html": _cited(index(evidence, {n: step for n, (step, _) in found.items()}), evidence)}
    for name, (step, source) in found.items():
        written[name] = _cited(source.read_text(encoding="utf-8"), evidence, step, top=source.name == "card")
    folder.mkdir(exist_ok=True)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name.removesuffix(".html"): folder / name for name in written}


def _plain(name: str) -> str:
    """A step's name as a file name; the step of a loop has its item in its name."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _cited(text: str, evidence: Evidence, step: Step | None = None, *, top: bool = False) -> str:
    """The page with the line for citing it; a model card, which people share, has it first."""
    signers = [owner for owner, steps in evidence.signers.items() if step is None or step.name in steps]
    parts = {
        "run": evidence.record.id,
        "at": moment(evidence.record.started),
        "model": evidence.record.about.model,
        "data": evidence.subjects.get("data", say("none")),
        "bundle": evidence.subjects.get("bundle", say("none")),
        "signers": ", ".join(signers) or say("run.unproven.nobody"),
    }
    return cite(text, say("run.cite", **parts), top=say("run.cite.top", **parts) if top else "")
