"""The pages of a run: an index, the report of each gate, the model card; each names its run.

A page is shown only if a record that was verified names its digest. A page of a model's own step, which nobody signs,
is shown apart, inside a frame in which it can do nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from lockgate_report import Html, banner, cite, join, page, say, sentence
from lockgate_step import UnsafeFile, layout, read_supplied, sha256

from lockgate.errors import BadCall
from lockgate.records.evidence import Evidence, moment, signs
from lockgate.records.runs import Step
from lockgate.report.index import OWN, index

_FRAME = "width:100%;height:80vh;margin-top:1rem;border:1px solid;background:white"
COMPARED = "compared-with-"  # begins the name of a page that `lockgate compare` wrote
LARGEST = 64 << 20  # bytes of a page; real ones have some hundred kilobytes


@dataclass(frozen=True)
class Pages:
    """The written pages of a run.

    files: name -> file, the index first. own: the names of those that a step of the model wrote. withheld: why each
        other page is not shown.
    """

    files: Mapping[str, Path]
    own: Sequence[str]
    withheld: Sequence[str]


@dataclass(frozen=True)
class _Found:
    """A page that a step left: the name of the output, and its content."""

    step: Step
    output: str
    content: str

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{_plain(self.step.name)}{'' if self.output == 'report' else f'-{self.output}'}.html"


def write_pages(evidence: Evidence) -> Pages:
    """Write the pages of a run into `report/` of its folder.

    Errors: BadCall if no step has written a page.
    """
    record = evidence.record
    folder = record.run.folder / "report"
    signed, own, withheld = _found(evidence)
    if not (signed or own or withheld):
        msg = f"run {record.id} has no report: {record.phase.lower()}"
        raise BadCall(msg, fix=f"lockgate logs {record.id} {evidence.options}".rstrip())
    apart = {f"{OWN}{each.name}": each for each in own}
    listed = {each.name: each.step for each in signed} | {name: each.step for name, each in apart.items()}
    written = {"index.html": _cited(index(evidence, listed, withheld), evidence)}
    written |= {each.name: _cited(each.content, evidence, each.step, top=each.output == "card") for each in signed}
    written |= {name: _framed(each, evidence) for name, each in apart.items()}
    folder.mkdir(exist_ok=True)
    for earlier in folder.glob("*.html"):
        if earlier.name not in written and not earlier.name.startswith(COMPARED):
            earlier.unlink()
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    files = {name.removesuffix(".html"): folder / name for name in written}
    return Pages(files, [name.removesuffix(".html") for name in apart], withheld)


def _found(evidence: Evidence) -> tuple[list[_Found], list[_Found], list[str]]:
    """The pages that were signed; those of the model's own steps; and why each other page is not shown."""
    signed, own, withheld = list[_Found](), list[_Found](), list[str]()
    for step in evidence.record.steps:
        statement = evidence.statements.get(step.name)
        digests = statement.predicate.get("pages", {}) if statement else {}
        for output in dict.fromkeys((*digests, *evidence.record.about.pages_of(step.name))):
            try:
                content = read_supplied(step.folder / layout.OUT / output, LARGEST)
            except UnsafeFile:  # a link may lead to any file of the user
                withheld.append(say("run.withheld.unsafe", page=output, step=step.name))
                continue
            except (FileNotFoundError, NotADirectoryError):
                continue
            found = _Found(step, output, content.decode(errors="replace"))
            if not signs(step.name, evidence.record.about):
                own.append(found)
            elif digests.get(output) == sha256(content):
                signed.append(found)
            elif step.phase == "Succeeded" or step.exit_code == 3:  # a program that failed signs nothing
                key = "run.withheld.changed" if output in digests else "run.withheld.unsigned"
                withheld.append(say(key, page=output, step=step.name))
    return signed, own, withheld


def _plain(name: str) -> str:
    """A step's name as a file name; the step of a loop has its item in its name."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _framed(found: _Found, evidence: Evidence) -> str:
    """A page that nobody signed, below Lockgate's own words.

    The frame has no rights (`sandbox`): no script, no form, no other page. It inherits the policy of the page around
    it: no request. Both also hold for a file.
    """
    whole = escape(found.content)
    frame = Html(f'<iframe sandbox="" style="{_FRAME}" title="{escape(found.name)}" srcdoc="{whole}"></iframe>')
    lead = say("run.own.lead", step=found.step.name, run=evidence.record.id)
    body = join([banner("unsure", sentence(say("run.own")), lead), frame])
    about = f"{found.step.name} · run {evidence.record.id}"
    return page(f"{found.step.name}: {say('run.own')}", body, about=about, foot=say("run.own.foot"))


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
