"""Turn an audit into the gate's verdict: sentences, figures and measurements, all of which may be shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from lockgate_policy import AtLeast, AtMost, Policy, ReportedOnly, asked
from lockgate_step import Inconclusive, Passed, Reason, Refused

from lockgate_bias_audit.audit import Audit, Judged
from lockgate_bias_audit.disclosure import Released
from lockgate_bias_audit.groups import Grouped
from lockgate_bias_audit.measures import MEASURES, Gap, RateName

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
            return f"{by}, {_UNSURE[found.rate]} may differ by more than the policy allows: too few rows to decide"
        names = judged.grouped.names
        often, than = _often(judged)
        words = {"high": names[found.highest], "low": names[found.lowest], "often": often, "than": than}
        return f"{by}, {self.labelled(_FOUND[found.rate], **words)}"

    def lines(self, judged: Judged) -> tuple[str, ...]:
        """The finding in figures: the two groups, the gap, the limit."""
        found = judged.gap
        if found is None:
            return (f"a group is judged if its denominator has at least {self.policy.settings.minimum_support} rows",)
        shown = judged.shown
        table = [
            (judged.grouped.names[at], shown.rates[at][found.rate].text, shown.tries[found.rate][at])
            for at in (found.highest, found.lowest)
        ]
        wide = [max(map(len, column)) for column in zip(*table, strict=True)]
        of = self.labelled(_DENOMINATOR[found.rate])
        groups = [f"{name:<{wide[0]}}  {rate:>{wide[1]}}  of {count:>{wide[2]}}{of}" for name, rate, count in table]
        return (*groups, f"{self.measured(judged)}; {limit(judged)}")

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
        value = "–" if shown["value"] is None else f"{shown['value']:.3f}"
        return value, f"{shown['low']:.3f} to {shown['high']:.3f}"

    def reason(self, judged: Judged) -> Reason:
        """The reason that the verdict gives for a rule that is not met."""
        rule = judged.rule
        return Reason(
            rule=rule.key, message=self.headline(judged), lines=self.lines(judged), why=rule.why, source=rule.source
        )


def judgement(
    audit: Audit, words: Wording, *, model: str, subjects: Mapping[str, str]
) -> Passed | Refused | Inconclusive:
    """Return the gate's verdict."""
    notes = tuple(_notes(audit, words))
    measurements = {
        "rows": audit.rows,
        "rules": {each.rule.key: _measurement(each) for each in audit.judged},
        "unaudited": [entry.column for entry in words.policy.unaudited],
        "groups": {"+".join(between): _figures(*table) for between, table in audit.tables.items()},
    }
    reasons = tuple(words.reason(each) for each in audit.judged if each.standing not in ("within", "reported"))
    if not audit.rows:
        reasons = (Reason(rule="bias:rows", message="no test row was answered, so there is nothing to audit"),)
    if any(each.standing == "beyond" for each in audit.judged):
        return Refused(model=model, subjects=subjects, reasons=reasons, notes=notes, measurements=measurements)
    if reasons:
        return Inconclusive(model=model, subjects=subjects, reasons=reasons, notes=notes, measurements=measurements)
    return Passed(model=model, subjects=subjects, notes=notes, measurements=measurements)


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
    hidden = any(value is None for value in _extremes(judged, found))
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


def _notes(audit: Audit, words: Wording) -> list[str]:
    """Findings that a reader must know although they do not refuse the model."""
    notes = []
    if not audit.tables:
        notes.append("the model has no sensitive column that is audited")
    for each in audit.judged:
        if each.standing == "reported":
            found = f"{words.headline(each)} ({words.measured(each)})"
            notes.append(f"measured for information only: {found}; {each.rule.why}")
    notes += [f"not audited: {entry.column}; {entry.why}" for entry in words.policy.unaudited]
    for between, (grouped, _) in audit.tables.items():
        if small := int((grouped.sizes < words.policy.settings.minimum_support).sum()):
            groups = "1 group is" if small == 1 else f"{small} groups are"
            notes.append(f"by {' and '.join(between)}, {groups} too small to judge")
    return notes


def _measurement(judged: Judged) -> dict[str, object]:
    return {"standing": judged.standing, **asked(judged.rule), **(shown_gap(judged) or {})}


def _often(judged: Judged) -> tuple[str, str]:
    """How much more often, if both rates may be shown, and the conjunction of the comparison."""
    assert judged.gap is not None
    high, low = _extremes(judged, judged.gap)
    if not high or not low:
        return "more often", "than"
    if high == low:
        return "as often", "as"
    times = f"{high / low:.1f}" if high / low >= 1.05 else f"{high / low:.2f}"
    return f"{times} times as often", "as"


def _extremes(judged: Judged, found: Gap) -> tuple[float | None, float | None]:
    """The highest and the lowest rate; None if it may not be shown."""
    high, low = (judged.shown.rates[at][found.rate].value for at in (found.highest, found.lowest))
    return high, low
