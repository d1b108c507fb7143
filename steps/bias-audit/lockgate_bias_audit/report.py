"""Render the audit as a page: the verdict, then every group, then the method."""

from collections.abc import Mapping, Sequence

import numpy as np
from lockgate_policy import AtLeast, AtMost
from lockgate_proof import Waiver
from lockgate_report import (
    Html,
    Mark,
    Scale,
    Tone,
    axis,
    el,
    facts,
    join,
    page,
    pill,
    say,
    scale,
    section,
    sentence,
    strip,
    table,
    verdict,
)
from lockgate_step import Inconclusive, NotJudged, Passed, Refused

from lockgate_bias_audit.audit import Audit, Judged
from lockgate_bias_audit.disclosure import Released, Shown
from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.intervals import normal_critical, wilson
from lockgate_bias_audit.measures import MEASURES, RATES, RateName, parts
from lockgate_bias_audit.verdict import Wording, chance, shown_gap, ungated

_TONE: Mapping[str, Tone] = {
    "within": "good",
    "beyond": "bad",
    "undecided": "unsure",
    "too few": "unsure",
    "left out": "unsure",
}

_HALF = 0.5  # if every rate is above this, a scale from zero would hide the differences


def render(
    audit: Audit,
    outcome: Passed | NotJudged | Refused | Inconclusive,
    words: Wording,
    *,
    seed: int,
    waivers: Mapping[str, Waiver],
) -> str:
    """Render the page."""
    gating = [each for each in audit.judged if each.standing != "reported"]
    support = words.policy.settings.minimum_support
    body = join(
        [
            _answer(outcome, gating, len(audit.judged) - len(gating), words, waivers),
            el("p", say("bias.lead", model=outcome.model, rows=f"{audit.rows:,}", positive=words.positive)),
            section(say("rules"), *_rules(gating, words, say("bias.rules.caption"))) if gating else None,
            _open(audit, words),
            _unaudited(words),
            *(_groups(*each, audit, words) for each in audit.tables.values()),
            section(
                say("settings"),
                el("p", say("bias.method")),
                el("p", say("bias.small.lead", rows=support), " ", say("bias.hidden.lead")),
                _settings(words, seed),
            ),
            section(say("exactly"), el("p", say("exactly.lead"), class_="soft"), facts(dict(outcome.subjects))),
        ]
    )
    name = say(f"verdict.{type(outcome).__name__.lower()}")
    title = say("bias.title", model=outcome.model, verdict=name)
    return page(title, body, about=f"bias-audit · {outcome.model}")


def _answer(
    outcome: Passed | NotJudged | Refused | Inconclusive,
    gating: Sequence[Judged],
    reported: int,
    words: Wording,
    waivers: Mapping[str, Waiver],
) -> Html:
    """The verdict with its scope: a gap without a limit, or a group left out, must not be shown as within a limit."""
    scope = say("bias.scope", judged=len(gating) or say("none"), reported=reported or say("none"))
    passed = say("bias.passed" if gating else "bias.passed.none", scope=scope)
    left = []
    for each in gating:  # a reason names the others
        groups = [one for one in each.left if one.accepted or not outcome.reasons]
        if groups:
            columns = " and ".join(each.rule.between)
            left.append(say("bias.left", columns=columns, groups=words.named(each, groups)))
    lead = say("bias.scope.lead", scope=scope)
    return verdict(outcome, passed=passed, waivers=waivers, lead=lead, left=list(dict.fromkeys(left)))


def _rules(judged: Sequence[Judged], words: Wording, caption: str) -> list[Html]:
    """One table of the rules on differences and one of the rules on ratios, because their scales differ."""
    forms = {
        form: [each for each in judged if MEASURES[each.rule.measure].form == form] for form in ("difference", "ratio")
    }
    return [_rule_table(chosen, words, caption) for chosen in forms.values() if chosen]


def _rule_table(judged: Sequence[Judged], words: Wording, caption: str) -> Html:
    shown = [(each, shown_gap(each) or {}) for each in judged]
    limits = [each.rule.limit.value for each in judged if isinstance(each.rule.limit, AtMost | AtLeast)]
    along = scale([*limits, *(value for _, gap in shown for value in gap.values() if value is not None)])
    rows = []
    for each, gap in shown:
        tone = _TONE.get(each.standing, "plain")
        bound = each.rule.limit.value if isinstance(each.rule.limit, AtMost | AtLeast) else None
        mark = Mark(gap.get("value"), gap.get("low"), gap.get("high"), tone)
        plot = strip(mark, along, words.measured(each), limit=bound)
        rows.append(
            [_rule(each), pill(tone, say(f"standing.{each.standing}")), _measured(each, words), _limit(each), plot]
        )
    head = [say("head.rule"), say("head.result"), say("head.measured"), say("head.limit"), _axis(along)]
    return table(caption, head, rows)


def _rule(judged: Judged) -> Html:
    measure = say(f"bias.measure.{judged.rule.measure}")
    name = say("bias.between", measure=measure, columns=" and ".join(judged.rule.between))
    return join([name, el("div", judged.rule.why, class_="soft small")])


def _measured(judged: Judged, words: Wording) -> Html:
    value, span = words.interval(judged)
    fair = el("div", sentence(chance(judged)), class_="soft small") if judged.power else None
    return join([value, el("div", span, class_="soft small nowrap"), fair])


def _limit(judged: Judged) -> Html:
    bound = judged.rule.limit.value
    text = say(f"limit.{judged.rule.limit.asks}", value="" if bound is None else f"{bound:g}")
    return join([text, el("div", judged.rule.source, class_="soft small mono")])


def _open(audit: Audit, words: Wording) -> Html | None:
    """What is measured for information only, in a section of its own so that it is not overlooked."""
    reported = [each for each in audit.judged if each.standing == "reported"]
    silent = [name for name in ungated(audit) if (name,) not in {each.rule.between for each in reported}]
    if not reported and not silent:
        return None
    items = [el("li", say("bias.open.intersection", column=name)) for name in silent]
    return section(
        say("bias.open"),
        el("p", say("bias.open.lead")),
        *_rules(reported, words, say("bias.open.caption")),
        el("ul", *items) if items else None,
    )


def _unaudited(words: Wording) -> Html | None:
    if not words.policy.unaudited:
        return None
    rows = [
        [entry.column, join([entry.why, el("div", entry.source, class_="soft small mono")])]
        for entry in words.policy.unaudited
    ]
    head = [say("bias.head.column"), say("head.why")]
    return section(say("bias.unaudited"), table(say("bias.unaudited.caption"), head, rows))


def _groups(grouped: Grouped, shown: Released, audit: Audit, words: Wording) -> Html:
    """Each group's rates: a plot of each rate that a rule uses, and a table of all rates."""
    drawn: dict[RateName, Judged | None] = {}
    for each in audit.judged:
        if each.grouped is grouped:
            drawn |= {rate: each for rate in MEASURES[each.rule.measure].rates if rate not in drawn}
    columns = " and ".join(grouped.between)
    plots = [_plot(grouped, shown, rate, judged, words) for rate, judged in (drawn or {RATES[0]: None}).items()]
    return section(say("bias.groups", columns=columns), *plots, _all_rates(grouped, shown, columns))


def _plot(grouped: Grouped, shown: Released, rate: RateName, judged: Judged | None, words: Wording) -> Html:
    """Plot one rate of every group with its interval, and the range that the rule allows."""
    rates = [each[rate] for each in shown.rates]
    spans = _spans(grouped, rate, rates, words)
    limit, allowed, extra = _band(rates, judged)
    edges = [edge for span in spans if span for edge in span]
    along = scale([*edges, *([limit] if limit else [])], percent=True, zero=min(edges, default=0) < _HALF)
    rows: list[list[str]] = []
    for name, tries, each, span in zip(grouped.names, shown.tries[rate], rates, spans, strict=True):
        low, high = span or (None, None)
        text = say("interval", low=_percent(span[0]), high=_percent(span[1])) if span else ""
        alt = f"{each.text}, {text}" if span else each.text
        plot = strip(Mark(each.value, low, high), along, alt, limit=limit, allowed=allowed)
        rows.append([name, tries, _soft(each), text, plot])
    title = say(f"bias.rate.{rate}")
    denominator = say(f"bias.denominator.{rate}", positive=words.positive, negative=words.negative)
    caption = say("bias.groups.caption", rate=title, confidence=words.confidence, extra=extra)
    head = [say("head.group"), denominator, title, say("head.interval", confidence=words.confidence), _axis(along)]
    return table(caption, head, rows, numbers=(1, 2, 3))


def _spans(
    grouped: Grouped, rate: RateName, rates: Sequence[Shown], words: Wording
) -> list[tuple[float, float] | None]:
    """The interval of each rate that may be shown."""
    hits, tries = (part.astype(float) for part in parts(grouped.counts, rate))
    low, high = wilson(hits, np.maximum(tries, 1), normal_critical(words.policy.settings.confidence))
    return [None if each.value is None else (float(low[at]), float(high[at])) for at, each in enumerate(rates)]


def _band(rates: Sequence[Shown], judged: Judged | None) -> tuple[float | None, tuple[float, float] | None, str]:
    """The position of the rule's limit, the range that it allows, and the text for the caption.

    Not drawn if the rate from which the limit is measured may be a hidden one.
    """
    judgeable = [each for each in rates if each.kind != "small"]
    values = [each.value for each in judgeable if each.value is not None]
    if judged is None or not values or len(values) < len(judgeable):
        return None, None, ""
    lowest, highest = min(values), max(values)
    match judged.rule.limit:
        case AtMost(value):
            line, allowed, end = lowest + value, (lowest, lowest + value), "lowest"
        case AtLeast(value):
            line, allowed, end = highest * value, (highest * value, highest), "highest"
        case _:
            return None, None, ""
    end = say(f"bias.end.{end}")
    if line > 1:
        return None, allowed, say("bias.groups.shade", source=judged.rule.source, end=end)
    return line, allowed, say("bias.groups.band", source=judged.rule.source, end=end)


def _all_rates(grouped: Grouped, shown: Released, columns: str) -> Html:
    rows = [
        [name, size, *(_soft(rates[rate]) for rate in RATES)]
        for name, size, rates in zip(grouped.names, shown.tries["selection_rate"], shown.rates, strict=True)
    ]
    head = [say("head.group"), say("head.rows"), *(say(f"bias.rate.{rate}") for rate in RATES)]
    return table(say("bias.rates.caption", columns=columns), head, rows, numbers=range(1, 6))


def _soft(shown: Shown) -> str:
    return shown.text if shown.kind in ("rate", "bound") else el("span", shown.text, class_="soft small")


def _settings(words: Wording, seed: int) -> Html:
    settings = words.policy.settings
    return facts(
        {
            say("setting.confidence"): words.confidence,
            say("setting.minimum_support"): say("setting.minimum_support.value", rows=settings.minimum_support),
            say("setting.resamples"): f"{settings.resamples:,}",
            say("setting.seed"): str(seed),
        }
    )


def _axis(along: Scale) -> Html:
    return axis(along, say("plot.axis", low=along.label(along.low), high=along.label(along.high)))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
