"""Render a gate's verdict for the top of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lockgate_step import Inconclusive, NotJudged, Passed, Reason, Refused

from lockgate_report._html import Html, el
from lockgate_report._parts import Tone, banner
from lockgate_report._words import say

if TYPE_CHECKING:
    from lockgate_proof import Waiver


def verdict(
    outcome: Passed | NotJudged | Refused | Inconclusive,
    *,
    passed: str,
    waivers: Mapping[str, Waiver],
    lead: str = "",
    left: Sequence[str] = (),
) -> Html:
    """Render the verdict, and each reason with its figures, the purpose of its rule, and its waiver, if any.

    passed: the headline if there is no reason. lead: a sentence above the reasons, if there are any.
    left: sentences that name what was not judged; with one of them, nothing is simply "good".
    """
    beside = [el("p", sentence(each)) for each in left]
    if not outcome.reasons:
        unsure = isinstance(outcome, NotJudged) or bool(left)
        name = say("verdict.notjudged" if isinstance(outcome, NotJudged) else "verdict.passed")
        return banner("unsure" if unsure else "good", name, passed, *beside)
    tone: Tone = "bad" if isinstance(outcome, Refused) else "unsure"
    name = say(f"verdict.{type(outcome).__name__.lower()}")
    if all(reason.rule in waivers for reason in outcome.reasons):
        tone, name = "unsure", say("verdict.waived")
    first, *others = outcome.reasons
    blocks = [_reason(first, waivers, ""), *(_reason(each, waivers, each.message) for each in others)]
    return banner(tone, name, sentence(first.message), el("p", lead) if lead else "", *blocks, *beside)


def finding(lines: Sequence[str], *, why: str, excepted: str = "", title: str = "") -> Html:
    """Render one reason as the terminal shows it: its figures, the purpose of its rule, and its waiver, if any."""
    return el(
        "div",
        el("h2", sentence(title)) if title else None,
        el("pre", "\n".join(lines)) if lines else None,
        el("p", say("why", why=why)) if why else None,
        el("p", el("strong", excepted)) if excepted else None,
        class_="reason",
    )


def excepted(waiver: Mapping[str, str]) -> str:
    """Describe a waiver as the verdict records it: its end, its approver, whose key signed it, and why."""
    return say("waiver", until=waiver["expires"][:10], **waiver)


def sentence(text: str) -> str:
    """Capitalise a verdict's message."""
    return text[:1].upper() + text[1:]


def _reason(reason: Reason, waivers: Mapping[str, Waiver], title: str) -> Html:
    waiver = waivers.get(reason.rule)
    return finding(reason.lines, why=reason.why, excepted=excepted(waiver.to_json()) if waiver else "", title=title)
