"""A gate's answer as the first thing on its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lockgate_step import Inconclusive, Passed, Reason, Refused

from lockgate_report._html import Html, el
from lockgate_report._parts import Tone, banner
from lockgate_report._words import say

if TYPE_CHECKING:
    from lockgate_proof import Waiver


def verdict(outcome: Passed | Refused | Inconclusive, *, passed: str, waivers: Mapping[str, Waiver]) -> Html:
    """The answer, and each reason with its figures, why its rule exists, and the waiver that covers it, if any.

    passed: the headline where there is no reason.
    """
    if not outcome.reasons:
        return banner("good", say("verdict.passed"), passed)
    tone: Tone = "bad" if isinstance(outcome, Refused) else "unsure"
    name = say(f"verdict.{type(outcome).__name__.lower()}")
    if all(reason.rule in waivers for reason in outcome.reasons):
        tone, name = "unsure", say("verdict.waived")
    first, *others = outcome.reasons
    blocks = [_reason(first, waivers), *(_reason(each, waivers, el("h2", _sentence(each.message))) for each in others)]
    return banner(tone, name, _sentence(first.message), *blocks)


def _reason(reason: Reason, waivers: Mapping[str, Waiver], title: Html | None = None) -> Html:
    waiver = waivers.get(reason.rule)
    excepted = (
        say("waiver", expires=f"{waiver.expires:%Y-%m-%d %H:%M} UTC", approver=waiver.approver, why=waiver.why)
        if waiver
        else None
    )
    return el(
        "div",
        title,
        el("pre", "\n".join(reason.lines)) if reason.lines else None,
        el("p", say("why", why=reason.why)) if reason.why else None,
        el("p", el("strong", excepted)) if excepted else None,
        class_="reason",
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
