"""A gate's answer as the first thing on its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lockgate_step import Inconclusive, Passed, Reason, Refused

from lockgate_report._html import Html, el
from lockgate_report._parts import Tone, banner
from lockgate_report._words import say

if TYPE_CHECKING:
    from lockgate_proof import Waiver


def verdict(
    outcome: Passed | Refused | Inconclusive, *, passed: str, waivers: Mapping[str, Waiver], lead: str = ""
) -> Html:
    """The answer, and each reason with its figures, why its rule exists, and the waiver that covers it, if any.

    passed: the headline where there is no reason. lead: what to know where there is one.
    """
    if not outcome.reasons:
        return banner("good", say("verdict.passed"), passed)
    tone: Tone = "bad" if isinstance(outcome, Refused) else "unsure"
    name = say(f"verdict.{type(outcome).__name__.lower()}")
    if all(reason.rule in waivers for reason in outcome.reasons):
        tone, name = "unsure", say("verdict.waived")
    first, *others = outcome.reasons
    blocks = [_reason(first, waivers, ""), *(_reason(each, waivers, each.message) for each in others)]
    return banner(tone, name, sentence(first.message), el("p", lead) if lead else "", *blocks)


def finding(lines: Sequence[str], *, why: str, excepted: str = "", title: str = "") -> Html:
    """One reason as the terminal shows it: its figures, why its rule exists, and what excepts it, if anything."""
    return el(
        "div",
        el("h2", sentence(title)) if title else None,
        el("pre", "\n".join(lines)) if lines else None,
        el("p", say("why", why=why)) if why else None,
        el("p", el("strong", excepted)) if excepted else None,
        class_="reason",
    )


def excepted(waiver: Mapping[str, str]) -> str:
    """Until when a waiver excepts, who approved it, whose key signed it, and why; as the verdict says it."""
    return say("waiver", until=waiver["expires"][:10], **waiver)


def sentence(text: str) -> str:
    """A verdict's message as it begins a line."""
    return text[:1].upper() + text[1:]


def _reason(reason: Reason, waivers: Mapping[str, Waiver], title: str) -> Html:
    waiver = waivers.get(reason.rule)
    return finding(reason.lines, why=reason.why, excepted=excepted(waiver.to_json()) if waiver else "", title=title)
