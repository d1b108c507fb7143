"""Render the checks of the data as a page."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

from lockgate_evidence import Evidence
from lockgate_proof import Waiver
from lockgate_report import Html, Tone, el, facts, join, page, pill, say, section, sentence, table, verdict
from lockgate_step import Inconclusive, Passed, Refused

from lockgate_validate.copies import chance, copied
from lockgate_validate.data import Checked
from lockgate_validate.unlabelled import excluded, figures, shares


def render(
    checked: Sequence[Checked],
    outcome: Passed | Refused | Inconclusive,
    evidence: Evidence,
    *,
    waivers: Mapping[str, Waiver],
) -> str:
    """Render the page."""
    failed = [each for each in checked if not each.met]
    met = [each for each in checked if each.met]
    lead = say("data.lead", model=outcome.model, train=f"{evidence.train_rows:,}", test=f"{evidence.rows:,}")
    body = join(
        [
            verdict(outcome, passed=say("data.passed"), waivers=waivers),
            el("p", lead),
            section(say("data.unlabelled"), *_unlabelled(evidence)) if evidence.unlabelled else None,
            _copies(evidence),
            section(say("data.failed"), _table(failed, say("data.failed.caption"))) if failed else None,
            section(say("data.met"), _table(met, say("data.met.caption"))) if met else None,
            section(say("settings"), el("p", say("data.method", version=version("great-expectations")))),
            section(say("exactly"), el("p", say("exactly.lead"), class_="soft"), facts(dict(outcome.subjects))),
        ]
    )
    title = say("data.title", model=outcome.model, verdict=say(f"verdict.{type(outcome).__name__.lower()}"))
    return page(title, body, about=f"validate-data · {outcome.model}")


def _unlabelled(evidence: Evidence) -> Iterator[Html]:
    found = list(shares(evidence))
    counts = " and ".join(excluded(counted, rows) for _, rows, counted in found)
    yield el("p", sentence(say("data.unlabelled.lead", counts=counts)))
    head = [say(f"data.unlabelled.{key}") for key in ("group", "rows", "without", "rate")]
    for _, share, counted in found:
        for column, by in counted["columns"].items():
            rows = [[each["group"], *figures(each)] for each in by["groups"]]
            caption = say("data.unlabelled.caption", rows=share, column=column)
            yield table(caption, head, rows, numbers=(1, 2, 3))


def _copies(evidence: Evidence) -> Html | None:
    found = evidence.copies
    if not found:
        return None
    counted = say("data.copies.lead", rows=copied(found), chance=chance(found))
    return section(say("data.copies"), el("p", sentence(counted)))


def _table(checked: Sequence[Checked], caption: str) -> Html:
    rows = []
    for each in checked:
        check = each.check
        tone: Tone = "plain" if each.met else "bad" if check.severity == "critical" else "unsure"
        words = join([check.words, el("div", check.why, class_="soft small") if check.why else None])
        mark = pill(tone, say(f"data.severity.{check.severity}"))
        rows.append([words, check.table, mark, check.source or say("data.origin.spec")])
    head = ("data.head.expectation", "data.head.table", "data.head.severity", "data.head.from")
    return table(caption, [say(key) for key in head], rows)
