"""One folder of pages per run: an index, each gate's report, the model card; each says which run it is of."""

import os
import re
from pathlib import Path

from lockgate_report import cite, say

from lockgate.errors import BadCall
from lockgate.records.account import Account, moment
from lockgate.records.address import public
from lockgate.records.environment import Environment
from lockgate.records.runs import RunRecord, Step
from lockgate.records.store import live_of
from lockgate.report.page import PAGES, index


def write_index(record: RunRecord, environment: Environment) -> dict[str, str]:
    """Write the pages of a run into `.lockgate/runs/<id>/report/`; returns name -> link, the index first.

    Errors: BadCall when no step has written a page yet.
    """
    live = live_of(environment, record.about.model) if record.about.model else None
    written = write_pages(Account(record, environment.trust, live))
    return {name: _link(path, record, environment) for name, path in written.items()}


def write_pages(account: Account) -> dict[str, Path]:
    """Write the pages of a run into `report/` of its folder; returns name -> file, the index first.

    Errors: BadCall when no step has written a page yet.
    """
    record = account.record
    folder = record.run.folder / "report"
    found = {
        f"{_plain(step.name)}{'' if name == 'report' else f'-{name}'}.html": (step, step.folder / "out" / name)
        for step in record.steps
        for name in PAGES
        if (step.folder / "out" / name).is_file()
    }
    if not found:
        msg = f"run {record.id} has written no report: {record.phase.lower()}"
        raise BadCall(msg, fix=f"lockgate logs {record.id} {account.options}".rstrip())
    written = {"index.html": _cited(index(account, {n: step for n, (step, _) in found.items()}), account)}
    for name, (step, source) in found.items():
        written[name] = _cited(source.read_text(encoding="utf-8"), account, step, top=source.name == "card")
    folder.mkdir(exist_ok=True)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name.removesuffix(".html"): folder / name for name in written}


def _plain(name: str) -> str:
    """A step's name as a file's; that of a loop's turn holds its item."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _cited(text: str, account: Account, step: Step | None = None, *, top: bool = False) -> str:
    """The page with the line by which it is cited; a card, which people pass on, begins with it."""
    signers = [owner for owner, steps in account.signers.items() if step is None or step.name in steps]
    parts = {
        "run": account.record.id,
        "at": moment(account.record.started),
        "model": account.record.about.model,
        "data": account.subjects.get("data", say("none")),
        "bundle": account.subjects.get("bundle", say("none")),
        "signers": ", ".join(signers) or say("run.unproven.nobody"),
    }
    return cite(text, say("run.cite", **parts), top=say("run.cite.top", **parts) if top else "")


def _link(path: Path, record: RunRecord, environment: Environment) -> str:
    """A link a person can open: a file here, or through the proxy of the JupyterHub this runs under."""
    if os.environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        return f"{public(environment)}/runs/{record.id}/{path.name}"
    return path.as_uri()
