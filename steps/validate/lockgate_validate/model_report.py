"""Render a model's quality as a page."""

from collections.abc import Mapping, Sequence

from lockgate_evidence import Evidence
from lockgate_policy import AtLeast, AtMost, Interval, NoWorseThanLive
from lockgate_proof import Waiver
from lockgate_report import (
    Html,
    Mark,
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
from lockgate_step import Inconclusive, Passed, Refused, Target

from lockgate_validate.measures import MEASURES, Measured, TooFew
from lockgate_validate.model import Judged, Quality

_TONE: Mapping[str, Tone] = {"within": "good", "beyond": "bad", "undecided": "unsure", "too few": "unsure"}
_SMALLEST = 10  # no count below this is shown


def render(
    quality: Quality,
    outcome: Passed | Refused | Inconclusive,
    evidence: Evidence,
    *,
    seed: int,
    waivers: Mapping[str, Waiver],
) -> str:
    """Render the page."""
    settings = evidence.policy.settings
    # Lower limits, upper limits and gains need different scales.
    kinds = [
        [each for each in quality.judged if isinstance(each.rule.limit, kind)]
        for kind in (AtLeast, AtMost, NoWorseThanLive)
    ]
    body = join(
        [
            verdict(outcome, passed=say("quality.passed.live" if quality.gains else "quality.passed"), waivers=waivers),
            el("p", say("quality.lead", model=outcome.model, rows=f"{quality.rows:,}")),
            section(say("rules"), *(_rules(each) for each in kinds if each)),
            section(say("notes"), el("ul", *(el("li", note) for note in outcome.notes))) if outcome.notes else None,
            section(say("quality.all"), _all(quality)),
            section(say("quality.confusion"), _confusion(quality, evidence.spec.target)),
            section(
                say("settings"),
                el("p", say("quality.method")),
                facts(
                    {
                        say("setting.confidence"): f"{100 * settings.confidence:.3g} %",
                        say("setting.minimum_support"): say(
                            "setting.minimum_support.value", rows=settings.minimum_support
                        ),
                        say("setting.resamples"): f"{settings.resamples:,}",
                        say("setting.seed"): str(seed),
                    }
                ),
            ),
            section(say("exactly"), el("p", say("exactly.lead"), class_="soft"), facts(dict(outcome.subjects))),
        ]
    )
    title = say("quality.title", model=outcome.model, verdict=say(f"verdict.{type(outcome).__name__.lower()}"))
    return page(title, body, about=f"validate-model · {outcome.model}")


def _rules(judged: Sequence[Judged]) -> Html:
    """One row per rule, with its limit. The values are close to each other, so the scale does not begin at zero."""
    bounds = [_bound(each) for each in judged]
    spans = [each.measured for each in judged if isinstance(each.measured, Interval)]
    edges = [edge for span in spans for edge in (span.low, span.high)]
    along = scale([*edges, *bounds], zero=False)
    rows = []
    for each, bound in zip(judged, bounds, strict=True):
        tone, measured = _TONE.get(each.standing, "plain"), each.measured
        mark = Mark(None, None, None)
        if isinstance(measured, Interval):
            mark = Mark(measured.value, measured.low, measured.high, tone)
        value, span = _texts(measured)
        plot = strip(mark, along, f"{value}, {span}", limit=bound)
        standing = pill(tone, say(f"standing.{each.standing}"))
        rows.append([_name(each), standing, join([value, _small(span)]), _limit(each), plot])
    label = say("plot.axis", low=along.label(along.low), high=along.label(along.high))
    head = [say("head.rule"), say("head.result"), say("head.measured"), say("head.limit"), axis(along, label)]
    return table(say("quality.rules.caption"), head, rows)


def _bound(judged: Judged) -> float:
    match judged.rule.limit:
        case NoWorseThanLive(by):
            return -by
        case AtLeast(value) | AtMost(value):
            return value


def _name(judged: Judged) -> Html:
    name = say(f"quality.measure.{judged.rule.measure}")
    if isinstance(judged.rule.limit, NoWorseThanLive):
        name = say("quality.gain", measure=name)
    return join([name, _small(judged.rule.why)])


def _limit(judged: Judged) -> Html:
    text = say(f"limit.{judged.rule.limit.asks}", value=f"{judged.rule.limit.value:g}")
    return join([text, el("div", judged.rule.source, class_="soft small mono")])


def _all(quality: Quality) -> Html:
    columns = [quality.candidate] + ([quality.base, quality.gains] if quality.gains else [])
    heads = ["quality.head.candidate", "quality.head.base", "quality.head.gain"][: len(columns)]
    rows = []
    for name in MEASURES:
        cells = []
        for at, column in enumerate(columns):
            value, span = _texts(column[name], signed=at == 2)
            cells.append(join([value, _small(span)]))
        rows.append([say(f"quality.measure.{name}"), *cells])
    return table(say("quality.all.caption"), [say("head.measure"), *map(say, heads)], rows)


def _confusion(quality: Quality, target: Target) -> Html:
    labels = (target.positive, target.negative)
    flipped = quality.confusion[::-1, ::-1].tolist()
    rounded = any(number < _SMALLEST for row in flipped for number in row)
    rows = [[label, *(_count(number, rounded) for number in row)] for label, row in zip(labels, flipped, strict=True)]
    head = [say("quality.head.truth"), *(say("quality.head.answered", label=label) for label in labels)]
    return table(say("quality.confusion.caption"), head, rows, numbers=(1, 2))


def _count(number: int, rounded: bool) -> str:
    """A cell's count; if one cell is hidden the others are rounded, or the total would reveal it."""
    if number < _SMALLEST:
        return say("count.few", smallest=_SMALLEST)
    return say("count.about", number=f"{round(number, -1):,}") if rounded else f"{number:,}"


def _texts(measured: Measured | None, *, signed: bool = False) -> tuple[str, str]:
    match measured:
        case Interval(value, low, high):
            sign = "+" if signed else ""
            return f"{value:{sign}.3f}", say("interval", low=f"{low:{sign}.3f}", high=f"{high:{sign}.3f}")
        case TooFew():
            return "–", say("standing.too few")
        case None:
            return "–", ""


def _small(text: str) -> Html:
    return el("div", text, class_="soft small")
