"""Turn an audit into the gate's verdict: sentences, figures and measurements, all of which may be shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lockgate_policy import AtLeast, AtMost, Policy, ReportedOnly, asked
from lockgate_report import say
from lockgate_step import Inconclusive, NotJudged, Passed, Reason, Refused

from lockgate_bias_audit.audit import Audit, Judged
from lockgate_bias_audit.disclosure import Released, Shown, release_pool, share
from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.measures import MEASURES, Gap, RateName
from lockgate_bias_audit.small import LeftOut

# The sentences of the verdict by the rate of the gap; {positive} and {negative} are the target's labels.
_FOUND: Mapping[RateName, str] = {
    "selection_rate": "{high} is selected {often} {than} {low}",
    "true_positive_rate": "if the truth is {positive}, the answer is {positive} {often} for {high} {than} for {low}",
    "false_positive_rate": "if the truth is {negative}, the answer is {positive} {often} for {high} {than} for {low}",
    "accuracy": "the answer is correct {often} for {high} {than} for {low}",
}
_UNSURE: Mapping[RateName, str] = {
    "selection_rate": "selection rates",
    "true_positive_rate": "true positive rates",
    "false_positive_rate": "false positive rates",
    "accuracy": "accuracies",
}
_DENOMINATOR: Mapping[RateName, str] = {
    "selection_rate": "",
    "true_positive_rate": " that are {positive}",
    "false_positive_rate": " that are {negative}",
    "accuracy": "",
}


POOL = "all small groups together"
_HIDDEN = "not shown"  # a size or a rate
_FEW = 3  # groups that a sentence names; if there are more, it counts them, and a line names them


@dataclass(frozen=True)
class Side:
    """One of the two groups of a gap: its name, its rate, and the rate's denominator, as they may be shown."""

    name: str
    rate: Shown
    tries: str


@dataclass(frozen=True)
class Wording:
    """Writes the sentences, from the target's labels and the policy's settings."""

    positive: str
    negative: str
    policy: Policy

    @property
    def confidence(self) -> str:
        """The confidence as a percentage."""
        return f"{self.policy.settings.confidence * 100:.3g} %"

    def labelled(self, text: str, **words: str) -> str:
        """Insert the target's labels into a text."""
        return text.format(positive=self.positive, negative=self.negative, **words)

    def headline(self, judged: Judged) -> str:
        """One sentence that states the finding."""
        by, found = f"by {' and '.join(judged.grouped.between)}", judged.gap
        if judged.grouped.silent:
            return f"{by}, nothing can be compared: no row has a value for {judged.grouped.silent[0]}"
        if found is None:
            return f"{by}, nothing can be compared: fewer than two groups are large enough to judge"
        if judged.standing == "undecided":
            cause = "the gap is too close to the limit" if judged.power and judged.power.enough else "too few rows"
            return f"{by}, {_UNSURE[found.rate]} may differ by more than the policy allows: {cause} to decide"
        if judged.standing == "left out":
            left = [each for each in judged.left if not each.accepted]
            names = [judged.grouped.names[each.group] for each in left]
            listed = ", ".join(names) if len(names) <= _FEW else f"{len(names)} groups"
            return f"{by}, too small to judge: {listed}, with {left_share(judged, left)}"
        return f"{by}, {self.compared(found, judged)}"

    def compared(self, found: Gap, judged: Judged) -> str:
        """What a gap says about its two groups."""
        high, low = sides(found, judged)
        if judged.standing != "beyond" and None in (high.rate.value, low.rate.value):
            # Which rate is the higher one would reveal something about the hidden one.
            return f"the widest gap in {_UNSURE[found.rate]} is between {high.name} and {low.name}"
        often, than = _often(high.rate.value, low.rate.value)
        words = {"high": high.name, "low": low.name, "often": often, "than": than}
        return self.labelled(_FOUND[found.rate], **words)

    def lines(self, judged: Judged) -> tuple[str, ...]:
        """The finding in figures: the two groups, the gap, the limit, the groups left out, and the power."""
        found = judged.gap
        left = [each for each in judged.left if not each.accepted]
        more = [f"left out: {named}" for named in self._each(judged, left)]
        if found is None:  # a reader must see that accepting more groups does not decide the rule
            taken = [each for each in judged.left if each.accepted]
            more += [f"left out, as accepted: {named}" for named in self._each(judged, taken)]
        if left and judged.standing == "left out":
            column = "+".join(judged.grouped.between)
            more.append(f'to accept that: [[accepted_small_group]] with column = "{column}", value, why and until')
        if judged.standing not in ("within", "beyond"):
            more += self.power(judged)
        if found is None:
            few = f"a group is judged if its denominator has at least {self.policy.settings.minimum_support} rows"
            return (few, *more)
        of, pair = self.labelled(_DENOMINATOR[found.rate]), sides(found, judged)
        name, rate = (max(map(len, column)) for column in zip(*((s.name, s.rate.text) for s in pair), strict=True))
        size = max((len(side.tries) for side in pair if side.tries != _HIDDEN), default=0)
        groups = [
            f"{side.name:<{name}}  {side.rate.text:>{rate}}  "
            + (_rows(side.tries) if side.tries == _HIDDEN else f"of {side.tries:>{size}}{of}")
            for side in pair
        ]
        return (*groups, f"{self.measured(judged)}; {limit(judged)}", *more)

    def _each(self, judged: Judged, left: Sequence[LeftOut]) -> list[str]:
        """Groups that a rule leaves out: each by itself, or all in one text if there are many."""
        several = [[each] for each in left] if len(left) <= 2 * _FEW else [left]
        return [self.named(judged, groups) for groups in several]

    def named(self, judged: Judged, left: Sequence[LeftOut]) -> str:
        """Groups that a rule leaves out, each with the rows in its denominator."""
        return ", ".join(
            f"{judged.grouped.names[each.group]} ("
            f"{_rows(judged.shown.tries[each.rate][each.group], self.labelled(_DENOMINATOR[each.rate]))})"
            for each in left
        )

    def power(self, judged: Judged) -> list[str]:
        """How often a fair model would pass with these groups, and which rows or limit would decide; one line."""
        power = judged.power
        if power is None:
            return []
        said = chance(judged)
        if power.enough:
            return [f"{said}: the gap is close to the limit" if judged.standing == "undecided" else said]
        if power.rows is None:
            instead = "" if power.limit is None else f", but a limit of {power.limit:g} would"
            return [f"{said}; no number of rows would decide it{instead}"]
        instead = "" if power.limit is None else f", or a limit of {power.limit:g},"
        return [f"{said}; about {power.rows:,} test rows{instead} would decide it"]

    def measured(self, judged: Judged) -> str:
        """The gap and its interval."""
        shown = shown_gap(judged)
        if shown is None:
            return "not measured"
        form = MEASURES[judged.rule.measure].form
        if shown["value"] is None:
            return f"{form} {self.confidence} interval {shown['low']:.2f} to {shown['high']:.2f}"
        return f"{form} {shown['value']:.3f}, {self.confidence} interval {shown['low']:.3f} to {shown['high']:.3f}"

    def interval(self, judged: Judged) -> tuple[str, str]:
        """The gap's value and its interval without labels, for a table."""
        shown = shown_gap(judged)
        if shown is None:
            return "–", ""
        if shown["value"] is None:
            return say("value.hidden"), f"{shown['low']:.2f} to {shown['high']:.2f}"
        return f"{shown['value']:.3f}", f"{shown['low']:.3f} to {shown['high']:.3f}"

    def reason(self, judged: Judged) -> Reason:
        """The reason that the verdict gives for a rule that is not met."""
        rule = judged.rule
        return Reason(
            rule=rule.key, message=self.headline(judged), lines=self.lines(judged), why=rule.why, source=rule.source
        )


def judgement(
    audit: Audit, words: Wording, *, model: str, subjects: Mapping[str, str]
) -> Passed | NotJudged | Refused | Inconclusive:
    """Return the gate's verdict: not judged if no rule has a limit, since then nothing could have been refused."""
    gating = any(each.standing != "reported" for each in audit.judged)
    notes = tuple(_notes(audit, words, gating=gating))
    measurements = {
        "rows": audit.rows,
        "rules": {each.rule.key: _measurement(each) for each in audit.judged},
        "unaudited": [entry.column for entry in words.policy.unaudited],
        "groups": {"+".join(between): _figures(*table) for between, table in audit.tables.items()},
    }
    # What refuses the model comes first: a reader must not take the rules that are undecided for the refusal.
    told = sorted(audit.judged, key=lambda each: each.standing != "beyond")
    reasons = tuple(words.reason(each) for each in told if each.standing not in ("within", "reported"))
    if gating and audit.constant is not None:
        reasons = (*reasons, Reason(rule="bias:constant", message=_constant(audit.constant, words)))
    if not audit.rows:
        reasons = (Reason(rule="bias:rows", message="no test row was answered, so there is nothing to audit"),)
    if any(each.standing == "beyond" for each in audit.judged):
        return Refused(model=model, subjects=subjects, reasons=reasons, notes=notes, measurements=measurements)
    if reasons:
        return Inconclusive(model=model, subjects=subjects, reasons=reasons, notes=notes, measurements=measurements)
    if not gating:
        return NotJudged(model=model, subjects=subjects, notes=notes, measurements=measurements)
    return Passed(model=model, subjects=subjects, notes=notes, measurements=measurements)


def sides(found: Gap, judged: Judged) -> tuple[Side, Side]:
    """Return the two groups that a gap compares, the one with the higher rate first; no small one shows its rate."""
    high, low = (_side(at, found, judged) for at in (found.highest, found.lowest))
    return high, low


def _side(at: int, found: Gap, judged: Judged) -> Side:
    if at == len(judged.grouped.members):
        members = [judged.shown.tries[found.rate][each] for each in found.pooled]
        return Side(POOL, *release_pool(judged.grouped.counts[list(found.pooled)].sum(0), found.rate, members))
    rate, shown = judged.shown.rates[at][found.rate], judged.shown
    hidden = Shown(_HIDDEN, kind="hidden")
    return Side(judged.grouped.names[at], hidden if rate.kind == "small" else rate, shown.tries[found.rate][at])


def left_share(judged: Judged, left: Sequence[LeftOut]) -> str:
    """Return which part of all rows these groups have, as it may be shown."""
    sizes = [int(size) for size in judged.grouped.sizes]
    at = [each.group for each in left]
    return share([judged.shown.row_numbers[each] for each in at], [sizes[each] for each in at], sum(sizes))


def chance(judged: Judged) -> str:
    """Return how often a fair model would pass the rule, as a sentence."""
    assert judged.power is not None
    return f"with these groups a fair model passes {100 * judged.power.chance:.0f} % of the time"


def limit(judged: Judged) -> str:
    """Return the rule's limit and its line in the policy, as text."""
    match judged.rule.limit:
        case AtMost(value):
            return f"{judged.rule.source} allows {value:g}"
        case AtLeast(value):
            return f"{judged.rule.source} requires at least {value:g}"
        case ReportedOnly():
            return f"{judged.rule.source} sets no limit"


def shown_gap(judged: Judged) -> dict[str, float | None] | None:
    """Return the gap as it may be shown: without its value if that would reveal a small count."""
    found = judged.gap
    if found is None:
        return None
    hidden = any(side.rate.value is None for side in sides(found, judged))
    places = 2 if hidden else 3
    return {
        "value": None if hidden else round(found.measured.value, places),
        "low": round(found.measured.low, places),
        "high": round(found.measured.high, places),
    }


def ungated(audit: Audit) -> tuple[str, ...]:
    """Return the columns that are measured by themselves although no rule on that column alone can refuse."""
    gating = {each.rule.between for each in audit.judged if each.standing != "reported"}
    return tuple(between[0] for between in audit.tables if len(between) == 1 and between not in gating)


def _figures(grouped: Grouped, shown: Released) -> list[dict[str, object]]:
    """Each group's size and rates as they may be stored: None if hidden or too small to judge."""
    return [
        {"group": name, "rows": rows} | {rate: each.value for rate, each in rates.items()}
        for name, rows, rates in zip(grouped.names, shown.row_numbers, shown.rates, strict=True)
    ]


def _notes(audit: Audit, words: Wording, *, gating: bool) -> Iterator[str]:
    """Findings that a reader must know although they do not refuse the model."""
    if not gating:
        yield "not judged: no rule of the policy has a limit between groups"
    if not audit.tables:
        yield "the model has no sensitive column that is audited"
    if not gating and audit.constant is not None:
        yield _constant(audit.constant, words)
    yield from _accepted(audit, words)
    for each in audit.judged:
        if each.standing == "reported":
            found = f"{words.headline(each)} ({words.measured(each)})"
            yield f"measured for information only: {found}; {each.rule.why}"
    for entry in words.policy.unaudited:
        yield f"not audited: {entry.column}; {entry.why}"
    limited = {each.rule.between for each in audit.judged if each.standing != "reported"}
    for between, (grouped, shown) in audit.tables.items():
        few = grouped.sizes < words.policy.settings.minimum_support
        if between not in limited and few.any():
            tries = shown.tries["selection_rate"]
            small = [f"{name} ({_rows(tries[at])})" for at, name in enumerate(grouped.names) if few[at]]
            yield f"by {' and '.join(between)}, too small to compare: {', '.join(small)}"


def _accepted(audit: Audit, words: Wording) -> Iterator[str]:
    """Each small group that the policy accepts, with its size; and each acceptance that has no effect, with why."""
    for entry in words.policy.accepted:
        place = f"{entry.value} of {entry.column} ({entry.source})"
        hit = [(each, left) for each in audit.judged for left in each.left if left.accepted is entry]
        if not hit:
            over = entry.until < audit.day
            yield f"accepted small group {place} " + (f"expired on {entry.until}" if over else "is not left out")
            continue
        judged, left = hit[0]
        size = f"{words.named(judged, [left])}, {left_share(judged, [left])}"
        beyond = any(each.excused and left.group in (each.excused.highest, each.excused.lowest) for each, _ in hit)
        warned = "; its whole interval is beyond the limit" if beyond else ""
        by = " and ".join(judged.grouped.between)
        yield f"left out by {by}: {size}, accepted until {entry.until}: {entry.why} ({entry.source}){warned}"


def _rows(tries: str, of: str = "") -> str:
    return "size not shown" if tries == _HIDDEN else f"{tries} rows{of}"


def _constant(positive: bool, words: Wording) -> str:
    label = words.positive if positive else words.negative
    return f"every answer is {label}, so equal rates show nothing about fairness"


def _measurement(judged: Judged) -> dict[str, object]:
    found: dict[str, object] = {"standing": judged.standing, **asked(judged.rule), **(shown_gap(judged) or {})}
    if judged.gap:
        found["compared"] = [side.name for side in sides(judged.gap, judged)]
    if judged.left:
        found["left_out"] = [
            {
                "group": judged.grouped.names[each.group],
                "rows": judged.shown.tries[each.rate][each.group],
                "accepted_until": each.accepted.until.isoformat() if each.accepted else None,
            }
            for each in judged.left
        ]
        found["left_out_share"] = left_share(judged, judged.left)
    if judged.power:
        found["fair_model_passes"] = round(judged.power.chance, 2)
        if judged.standing not in ("within", "beyond"):
            found |= {"rows_to_decide": judged.power.rows, "limit_to_decide": judged.power.limit}
    return found


def _often(high: float | None, low: float | None) -> tuple[str, str]:
    """How much more often, if both rates may be shown, and the conjunction of the comparison."""
    if not high or not low:
        return "more often", "than"
    if high == low:
        return "as often", "as"
    times = f"{high / low:.1f}" if high / low >= 1.05 else f"{high / low:.2f}"
    return f"{times} times as often", "as"
