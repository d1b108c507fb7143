"""The audit as a page: the answer first, then every group, then how it was done."""

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
    strip,
    table,
    verdict,
)
from lockgate_step import Inconclusive, Passed, Refused

from lockgate_bias_audit import disclosure
from lockgate_bias_audit.audit import Audit, Judged
from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.intervals import normal_critical, wilson
from lockgate_bias_audit.measures import MEASURES, RATES, RateName, parts
from lockgate_bias_audit.verdict import Wording, shown_gap, ungated

_TONE: Mapping[str, Tone] = {"within": "good", "beyond": "bad", "undecided": "unsure", "too few": "unsure"}


def render(
    audit: Audit, outcome: Passed | Refused | Inconclusive, words: Wording, *, seed: int, waivers: Mapping[str, Waiver]
) -> str:
    """The whole page."""
    gating = [each for each in audit.judged if each.standing != "reported"]
    support = words.policy.settings.minimum_support
    body = join(
        [
            verdict(outcome, passed=say("bias.passed" if gating else "bias.passed.none"), waivers=waivers),
            el("p", say("bias.lead", model=outcome.model, rows=f"{audit.rows:,}", positive=words.positive)),
            section(say("rules"), *_rules(gating, words)) if gating else None,
            _open(audit, words),
            _unaudited(words),
            *(_groups(each, audit, words) for each in audit.tables.values()),
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


def _rules(judged: Sequence[Judged], words: Wording) -> list[Html]:
    """A table of the rules on differences and one of those on ratios, whose scales have nothing in common."""
    forms = {
        form: [each for each in judged if MEASURES[each.rule.measure].form == form] for form in ("difference", "ratio")
    }
    return [_rule_table(chosen, words) for chosen in forms.values() if chosen]


def _rule_table(judged: Sequence[Judged], words: Wording) -> Html:
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
            [_rule(each), words.interval(each), _limit(each), pill(tone, say(f"standing.{each.standing}")), plot]
        )
    head = [say("head.rule"), say("head.measured"), say("head.limit"), say("head.result"), _axis(along)]
    return table(say("bias.rules.caption"), head, rows)


def _rule(judged: Judged) -> Html:
    measure = say(f"bias.measure.{judged.rule.measure}")
    name = say("bias.between", measure=measure, columns=" and ".join(judged.rule.between))
    return join([name, el("div", judged.rule.why, class_="soft small")])


def _limit(judged: Judged) -> Html:
    match judged.rule.limit:
        case AtMost(value):
            text = say("limit.at_most", value=f"{value:g}")
        case AtLeast(value):
            text = say("limit.at_least", value=f"{value:g}")
        case _:
            text = say("limit.none")
    return join([text, el("div", judged.rule.source, class_="soft small mono")])


def _open(audit: Audit, words: Wording) -> Html | None:
    """What is audited but cannot refuse, said where nobody can miss it."""
    reported = [each for each in audit.judged if each.standing == "reported"]
    silent = [name for name in ungated(audit) if (name,) not in {each.rule.between for each in reported}]
    if not reported and not silent:
        return None
    items = [el("li", say("bias.open.intersection", column=name)) for name in silent]
    return section(
        say("bias.open"),
        el("p", say("bias.open.lead")),
        *_rules(reported, words),
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


def _groups(grouped: Grouped, audit: Audit, words: Wording) -> Html:
    """Each group's rates, drawn for the rates that rules are about, in figures for all."""
    rules = [each for each in audit.judged if each.grouped is grouped]
    drawn: dict[RateName, Judged | None] = {}
    for each in rules:
        for rate in MEASURES[each.rule.measure].rates:
            drawn.setdefault(rate, each)
    columns = " and ".join(grouped.between)
    plots = [_plot(grouped, rate, judged, words) for rate, judged in (drawn or {RATES[0]: None}).items()]
    return section(say("bias.groups", columns=columns), *plots, _all_rates(grouped, columns, words))


def _plot(grouped: Grouped, rate: RateName, judged: Judged | None, words: Wording) -> Html:
    """One rate of every group with its interval, and how far apart the rule lets them be."""
    hits, tries = parts(grouped.counts, rate)
    settings = words.policy.settings
    enough = tries >= settings.minimum_support
    low, high = wilson(hits.astype(float), np.maximum(tries, 1).astype(float), normal_critical(settings.confidence))
    shown = [disclosure.rate(int(h), int(t)) if ok else None for h, t, ok in zip(hits, tries, enough, strict=True)]
    values = [each.value for each in shown if each and each.value is not None]
    limit, allowed, extra = _band(values, judged) if len(values) == enough.sum() else (None, None, "")
    visible = [at for at, each in enumerate(shown) if each and each.value is not None]
    edges = [float(edge[at]) for edge in (low, high) for at in visible]
    along = scale([*edges, *([] if limit is None else [limit])], percent=True)
    rounded = disclosure.needs_rounding(tries.tolist())
    rows = []
    for at, name in enumerate(grouped.names):
        each, count = shown[at], disclosure.count(int(tries[at]), rounded=rounded)
        if each is None:
            rows.append(
                [
                    name,
                    count,
                    el("span", say("bias.small"), class_="soft"),
                    "",
                    strip(Mark(None, None, None), along, say("bias.small")),
                ]
            )
            continue
        span = say("interval", low=_percent(low[at]), high=_percent(high[at])) if at in visible else ""
        mark = Mark(each.value, float(low[at]), float(high[at])) if at in visible else Mark(None, None, None)
        rows.append(
            [
                name,
                count,
                each.text,
                span,
                strip(mark, along, f"{each.text}, {span}".rstrip(", "), limit=limit, allowed=allowed),
            ]
        )
    title = say(f"bias.rate.{rate}")
    denominator = say(f"bias.denominator.{rate}", positive=words.positive, negative=words.negative)
    caption = say("bias.groups.caption", rate=title, confidence=words.confidence, extra=extra)
    head = [say("head.group"), denominator, title, say("head.interval", confidence=words.confidence), _axis(along)]
    return table(caption, head, rows, numbers=(1, 2, 3))


def _band(values: Sequence[float], judged: Judged | None) -> tuple[float | None, tuple[float, float] | None, str]:
    """Where the rule's limit lies among the rates, what it allows, and the words for that."""
    if judged is None or not values:
        return None, None, ""
    match judged.rule.limit:
        case AtMost(value):
            start, end, name = min(values), min(values) + value, "lowest"
            line = end
        case AtLeast(value):
            start, end, name = max(values) * value, max(values), "highest"
            line = start
        case _:
            return None, None, ""
    words = say("bias.groups.band", source=judged.rule.source, end=say(f"bias.end.{name}"))
    return line, (start, end), words


def _all_rates(grouped: Grouped, columns: str, words: Wording) -> Html:
    sizes = grouped.sizes.tolist()
    rounded = disclosure.needs_rounding(sizes)
    rows: list[list[str]] = []
    for at, name in enumerate(grouped.names):
        row = [name, disclosure.count(sizes[at], rounded=rounded)]
        for rate in RATES:
            hits, tries = (int(part[at]) for part in parts(grouped.counts, rate))
            enough = tries >= words.policy.settings.minimum_support
            row.append(
                disclosure.rate(hits, tries).text if enough else el("span", say("bias.small"), class_="soft small")
            )
        rows.append(row)
    head = [say("head.group"), say("head.rows"), *(say(f"bias.rate.{rate}") for rate in RATES)]
    return table(say("bias.rates.caption", columns=columns), head, rows, numbers=range(1, 6))


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
