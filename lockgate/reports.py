"""One folder of pages per run: an index, each gate's report, the model card."""

import os
import shutil
from pathlib import Path

from lockgate_report import Tone, banner, el, join, page, pill, section, table

from lockgate.calling import public
from lockgate.environment import Environment
from lockgate.errors import BadCall
from lockgate.runs import UNREACHED, RunRecord, Step
from lockgate.show import duration, exit_code, failure_message

PAGES = {"report": "report", "card": "model card"}
TONES: dict[str, Tone] = {
    "done": "good",
    "passed": "good",
    "passed by waiver": "unsure",
    "inconclusive": "unsure",
    "not reached": "plain",
}


def write_index(record: RunRecord, environment: Environment) -> dict[str, str]:
    """Write the pages of a run into `.lockgate/runs/<id>/report/`; returns name -> link, the index first.

    Errors: BadCall when no step has written a page yet.
    """
    folder = record.run.folder / "report"
    found = {
        f"{step.name}-{name}.html" if name != "report" else f"{step.name}.html": (step, step.folder / "out" / name)
        for step in record.steps
        for name in PAGES
        if (step.folder / "out" / name).is_file()
    }
    if not found:
        msg = f"run {record.id} has written no report: {record.phase.lower()}"
        raise BadCall(msg, fix=f"lockgate logs {record.id}")
    folder.mkdir(exist_ok=True)
    for name, (_, source) in found.items():
        shutil.copyfile(source, folder / name)
    (folder / "index.html").write_text(_index(record, {n: s for n, (s, _) in found.items()}), encoding="utf-8")
    return {name.removesuffix(".html"): _link(folder / name, record, environment) for name in ("index.html", *found)}


def _index(record: RunRecord, pages: dict[str, Step]) -> str:
    code = exit_code(record)
    ends: dict[int, tuple[Tone, str]] = {0: ("good", "Released"), 3: ("bad", "Refused")}
    tone, word = ends.get(code, ("unsure", record.phase))
    about = record.about
    reasons = [r["message"] for step in record.refused for r in (step.verdict or {})["reasons"] if not r["waived_by"]]
    headline = f"{about.model}: every gate passed" if code == 0 else f"{about.model} did not get through"
    if code == 0 and record.waived:
        # Whoever reads one page only must not read that everything passed.
        tone, word = "unsure", "Released under a waiver"
        headline = f"{about.model}: {'; '.join(reason['message'] for reason in record.waived)}"
    elif code != 0 and not reasons and record.failed:
        headline = f"{record.failed[0].name}: {failure_message(record.failed[0])}"
    rows = []
    for step in record.steps:
        links = [el("a", PAGES["card" if "-card" in n else "report"], href=n) for n, s in pages.items() if s is step]
        notes = [reason["message"] for reason in (step.verdict or {"reasons": []})["reasons"]]
        notes += [failure_message(step)] if step in record.failed else []
        rows.append(
            [
                step.name,
                duration(step.seconds) if step.phase not in UNREACHED else "",
                pill(TONES.get(step.outcome, "bad"), step.outcome),
                " ".join(notes),
                join(links),
            ]
        )
    body = join(
        [
            banner(tone, word, reasons[0][:1].upper() + reasons[0][1:] if reasons else headline),
            section("Steps", table("What ran, in this order", ["Step", "Time", "Outcome", "Finding", "Page"], rows)),
        ]
    )
    return page(f"{about.model}: run {record.id}", body, about=f"{about.workflow} · {about.model} · run {record.id}")


def _link(path: Path, record: RunRecord, environment: Environment) -> str:
    """A link a person can open: a file here, or through the proxy of the JupyterHub this runs under."""
    if os.environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        return f"{public(environment)}/runs/{record.id}/{path.name}"
    return path.as_uri()
