"""`lockgate compare`: two runs side by side; the same for this machine and a cluster."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lockgate_proof import ProofError

from lockgate.commands.target import Target, find
from lockgate.errors import BadCall
from lockgate.records.evidence import Evidence
from lockgate.records.store import live_of
from lockgate.report.comparison import Comparison
from lockgate.report.pages import COMPARED


@dataclass(frozen=True)
class Compared:
    """Two runs side by side.

    page: the link to the page. missing: what the store of a cluster no longer has, of either run.
    """

    comparison: Comparison
    page: str
    missing: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Both runs as JSON values; what a run does not have is null."""
        found, ids = self.comparison, self.comparison.ids
        figures = {
            key: dict(zip(ids, (each and {**each.said, "waiver": each.waiver} for each in pair), strict=True))
            for key, pair in found.figures.items()
        }
        facts, verdicts = (
            {fact.name: dict(zip(ids, fact.values, strict=True)) for fact in facts}
            for facts in (found.facts, found.verdicts)
        )
        return {
            "runs": list(ids),
            "facts": facts,
            "verdicts": verdicts,
            "figures": figures,
            "page": self.page,
            "missing": list(self.missing),
        }

    def lines(self, width: int | None = None) -> list[str]:
        """Both runs as people read them. width: of the terminal, if there is one."""
        return [*self.comparison.lines(width), "", f"  {self.page}"]


def compare(target: Target, one: str, other: str) -> Compared:
    """Compare two runs, and write the page. Errors: BadCall if they are the same run, UnknownName, OutsideFailed."""
    records = find(target, one), find(target, other)
    if records[0].id == records[1].id:
        msg = f"{one} and {other} are the same run"
        raise BadCall(msg, fix=f"lockgate runs {target.options}".rstrip() + " lists the runs")
    environment, sides, missing = target.environment, list[Evidence](), list[str]()
    for record in records:
        fetched, gone = target.fetch_evidence(record)
        live = None
        with suppress(ProofError):  # `lockgate status` says what is wrong with the pointer
            live = live_of(environment, record.about.model) if record.about.model else None
        sides.append(Evidence(fetched, environment.trust, live, target.options))
        missing += [f"{name} ({record.id})" for name in gone]
    found = Comparison((sides[0], sides[1]))
    folder = sides[1].record.run.folder / "report"
    folder.mkdir(exist_ok=True)
    page = folder / f"{COMPARED}{sides[0].record.id}.html"
    page.write_text(found.html(), encoding="utf-8")
    return Compared(found, target.link(page, sides[1].record), missing)
