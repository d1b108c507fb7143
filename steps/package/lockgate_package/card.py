"""Makes the model card: what a reader must know before relying on a model, with figures from signed records only.

The sections are those of Mitchell et al., "Model Cards for Model Reporting" (2019).
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, assert_never

from lockgate_policy import (
    AtLeast,
    AtMost,
    BiasRule,
    NoWorseThanLive,
    QualityRule,
    ReportedOnly,
    SmokeRule,
)
from lockgate_proof import Waiver
from lockgate_report import sentence
from lockgate_step import Category, Column, Number, read_columns

from lockgate_package.document import Block, Code, Document, Facts, Grid, Points, Section, Text
from lockgate_package.evidence import Evidence
from lockgate_package.figures import figure, text, words

Rule = QualityRule | BiasRule | SmokeRule

_COLUMNS = ("group", "rows", "selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")

_UNDATED = (
    "This card is part of the bundle it describes, and the same files always give the same card, so it has "
    "neither the bundle's digest nor a date. The run's pages show both above this card."
)

_FEW = "fewer than 10"

_MITIGATION = ("mitigate", "constraint", "difference_bound", "fits")


def card(evidence: Evidence, request: Mapping[str, Any]) -> Document:
    """Make the card of a verified model. request: the sample request of its bundle."""
    sections = (
        Section("Model details", list(_details(evidence))),
        Section("Intended use", list(_use(evidence))),
        Section("Factors", list(_factors(evidence))),
        Section("Metrics and policy", list(_metrics(evidence))),
        Section("Data", list(_data(evidence))),
        Section("Results by group", list(_groups(evidence))),
        Section("Measured for information only", list(_ungated(evidence))),
        Section("Small groups left out", list(_left_out(evidence))),
        Section("Waivers in force", list(_waivers(evidence))),
        Section("Caveats and limits", list(_caveats(evidence))),
        Section("How to call the model", list(_call(evidence, request))),
        Section("Digests", [Text(_UNDATED), Facts(_digests(evidence))]),
    )
    return Document("Model card", evidence.name, sections, list(_exceptions(evidence)))


def _details(evidence: Evidence) -> Iterator[Block]:
    spec, model = evidence.spec, evidence.model
    if spec.description:
        yield Text(spec.description)
    runs = {str(verdict.predicate.get("run", "")) for verdict in evidence.verdicts.values()} - {""}
    made = ", ".join(f"{name} {version}" for name, version in sorted(model.get("versions", {}).items()))
    pairs = {
        "Run": ", ".join(sorted(runs)) or "not stated",
        "Model": evidence.subjects["model"],
        "Data": evidence.subjects["data"],
        "Owner": spec.owner,
        "Served as": str(model["format"]).upper(),
        "Made with": made or "not stated",
    }
    trained = _settings(model.get("trained_with", {}))
    pairs["Trained with"] = text(trained) if trained else "not stated by the step that trained it"
    if trained:
        said = {name: value for name, value in spec.train.items() if trained.get(name, value) != value}
        if said:
            pairs["The spec says instead"] = text(dict(sorted(said.items())))
    elif spec.train:
        pairs["Settings of train in the spec"] = text(dict(sorted(spec.train.items())))
        varied = ", ".join(spec.tunable)
        pairs["May differ"] = (
            f"a run may change {varied}" if varied else "a version from the registry was trained elsewhere"
        )
    yield Facts(pairs)


def _settings(trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training settings in model.json, without those of a mitigation that did not run."""
    idle = _MITIGATION if trained.get("mitigation") == "none" else ()
    return {name: value for name, value in sorted(trained.items()) if name not in idle and value != ""}


def _use(evidence: Evidence) -> Iterator[Block]:
    labels, threshold = evidence.model["labels"], evidence.model.get("threshold", 0.5)
    yield Text(
        f"For each row the model answers one of two labels, {labels['positive']} or {labels['negative']}, and a score: "
        f"the probability of {labels['positive']}. The label is {labels['positive']} if the score is at least "
        f"{threshold:g}."
    )
    caption = "The columns of a request; a request with any other column or value is refused"
    yield Grid(
        caption,
        ("Column", "Kind", "Allowed", "May be missing"),
        [_column(column) for column in read_columns(evidence.model["inputs"])],
    )


def _factors(evidence: Evidence) -> Iterator[Block]:
    sensitive = evidence.spec.sensitive
    if not sensitive:
        yield Text("The spec has no sensitive columns.")
        return
    inputs = {column["name"] for column in evidence.model["inputs"]}
    caption = "Groups are compared by these columns; the model uses a column only if it is an input"
    rows = [(*_column(column)[:3], "yes" if column.name in inputs else "no") for column in sensitive]
    yield Grid(caption, ("Column", "Kind", "Groups", "Is an input"), rows)


def _metrics(evidence: Evidence) -> Iterator[Block]:
    policy = evidence.policy
    settings = policy.settings
    yield Text(
        f"A rule passes if the whole {settings.confidence * 100:g} % interval is within its limit. A group is judged "
        f"if the denominator of the rate has {settings.minimum_support} rows or more; a smaller one is named, and the "
        "rule is undecided unless the policy accepts that group."
    )
    measured = {**_rules(evidence, "validate-model"), **_rules(evidence, "bias-audit")}
    rules: list[Rule] = [*policy.quality, *policy.bias]
    rows = [_rule(rule, measured.get(rule.key, {})) for rule in rules]
    head = ("Measure", "Limit", "Measured", "Interval", "Standing", "Why", "Rule")
    yield Grid("Judged on the test rows", head, rows, numbers=(2, 3))
    measures = evidence.verdicts["validate-model"].predicate.get("measurements", {})
    if measures.get("measures"):
        live, gain = measures.get("live", {}), measures.get("gain", {})
        every = [
            (words(name), *_measured(each), _measured(live.get(name, {}))[0], _measured(gain.get(name, {}))[1])
            for name, each in measures["measures"].items()
        ]
        columns = ("Measure", "Value", "Interval", "Live version", "Gain over live, interval")
        yield Grid("All measures, with or without a rule", columns, every, numbers=(1, 2, 3, 4))
    if evidence.spec.gates:
        said = [(gate, evidence.verdicts[gate].predicate) for gate in evidence.spec.gates]
        own = [(gate, str(each["result"]), text(each.get("measurements", {}))) for gate, each in said]
        yield Grid("Judged by the additional gates of this model", ("Gate", "Result", "Measured"), own)
    if policy.smoke:
        after = [(_measure(rule), _limit(rule), rule.why, rule.source) for rule in policy.smoke]
        yield Grid(
            "Judged on the running version, after this card was made", ("Measure", "Limit", "Why", "Rule"), after
        )


def _data(evidence: Evidence) -> Iterator[Block]:
    said = evidence.data.predicate
    rows, base = said["rows"], said["base"]
    yield Facts(
        {
            "Source": str(said["uri"]),
            "Rows": f"{rows['total']:,}: {rows['train']:,} for training, {rows['test']:,} for testing",
            **_unlabelled(said.get("unlabelled")),
            **_copies(said.get("copies")),
            "Split": text(said["split"]),
            "Compared with": text(base["bundle"]) if base["bundle"] else "nothing; no version was live",
        }
    )
    checked = evidence.verdicts["validate-data"].predicate.get("measurements", {})
    if checked:
        yield Text(
            f"validate-data checked the data against {checked['expectations']:,} expectations, "
            f"{checked['critical']:,} of them critical; {checked['met']:,} were met. If a critical expectation is not "
            "met, the data are refused."
        )


def _unlabelled(counted: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the rows that were left out for want of a label; the page of validate-data shows them by group."""
    shares = {name: (counted or {}).get(share) for share, name in (("train", "training rows"), ("test", "test rows"))}
    found = [
        f"{_FEW} {rows}" if each["rows"] is None else f"{each['rows']:,} of {each['of']:,} {rows}"
        for rows, each in shares.items()
        if each
    ]
    return {"Left out": f"{' and '.join(found)}, which have no label"} if found else {}


def _copies(counted: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the test rows that are equal to a training row."""
    if not counted:
        return {}
    about = _FEW if counted["rows"] is None else f"{counted['rows']:,}"
    return {"Copies": f"{about} of {counted['of']:,} test rows are equal to a training row"}


def _groups(evidence: Evidence) -> Iterator[Block]:
    tables = evidence.verdicts["bias-audit"].predicate.get("measurements", {}).get("groups", {})
    if not tables:
        yield Text("No groups were compared.")
    for between, entries in tables.items():
        # A signed record sorts its keys; in the table the group comes first.
        names = sorted({name for entry in entries for name in entry}, key=lambda name: (_place(name), name))
        rows = [[figure(name, entry.get(name)) for name in names] for entry in entries]
        caption = f"By {between.replace('+', ' and ')}"
        yield Grid(caption, [words(name) for name in names], rows, numbers=range(1, len(names)))


def _ungated(evidence: Evidence) -> Iterator[Block]:
    policy, sensitive = evidence.policy, evidence.spec.sensitive
    points = [f"{_measure(r)}: {r.why} ({r.source})" for r in policy.bias if isinstance(r.limit, ReportedOnly)]
    points += [f"{entry.column} is not audited: {entry.why} ({entry.source})" for entry in policy.unaudited]
    none = "Every sensitive column has a rule with a limit." if sensitive else "The model has no sensitive columns."
    yield Points(points) if points else Text(none)


def _left_out(evidence: Evidence) -> Iterator[Block]:
    """The groups that a rule with a limit does not judge, each with the rows in its denominator."""
    rows = [
        (
            words(key.split(":")[2]),
            key.split(":")[1].replace("+", " and "),
            each["group"],
            f"{each['rows']} rows",
            until,
        )
        for key, said in _rules(evidence, "bias-audit").items()
        for each in said.get("left_out", ())
        for until in [each["accepted_until"] or "not accepted"]
    ]
    if not rows:
        yield Text("None: every rule with a limit judges every group.")
        return
    yield Text(
        "These groups are too small for a rule with a limit to judge. The policy accepts each by name, until a day."
    )
    yield Grid("Groups left out", ("Measure", "Compared by", "Group", "Size", "Accepted until"), rows)


def _cited(evidence: Evidence) -> list[tuple[Mapping[str, Any], Waiver]]:
    """Return each reason that a waiver covers, with its waiver."""
    granted = {waiver.statement.digest: waiver for waiver in evidence.waivers}
    return [
        (reason, granted[reason["waived_by"]])
        for verdict in evidence.verdicts.values()
        for reason in verdict.predicate["reasons"]
        if reason.get("waived_by") in granted
    ]


def _exceptions(evidence: Evidence) -> Iterator[str]:
    """Yield what was not judged; and for each waiver the rule that was not met, who approved it, when it expires."""
    bias = evidence.verdicts["bias-audit"].predicate
    if bias["result"] == "not_judged":
        yield "Bias: not judged. No rule of the policy has a limit between groups"
    yield from (sentence(note) for note in bias.get("notes", ()) if note.startswith("left out "))
    rules = {**_rules(evidence, "validate-model"), **_rules(evidence, "bias-audit")}
    for reason, waiver in _cited(evidence):
        standing = rules.get(str(reason["rule"]), {}).get("standing")
        how = {None: "not met", "beyond": "beyond its limit"}.get(standing, "not shown to be within its limit")
        until = f"{waiver.expires:%Y-%m-%d}"
        yield f"{sentence(str(reason['message']))}: {how}, excepted until {until} by {waiver.approver}: {waiver.why}"


def _waivers(evidence: Evidence) -> Iterator[Block]:
    cited = _cited(evidence)
    if not cited:
        yield Text("None. Every rule with a limit was met.")
        return
    yield Text("These rules were not met. A named person approved each exception until it expires.")
    rows = [
        (
            str(reason["id"]),
            str(reason["message"]),
            waiver.approver,
            waiver.signer,
            waiver.why,
            f"{waiver.expires:%Y-%m-%d %H:%M} UTC",
        )
        for reason, waiver in cited
    ]
    yield Grid("Exceptions", ("Reason", "Finding", "Approved by", "Signed by", "Why", "Expires"), rows)


def _caveats(evidence: Evidence) -> Iterator[Block]:
    differences = evidence.model.get("differences", {})
    points = [f"{gate}: {note}" for gate, v in evidence.verdicts.items() for note in v.predicate.get("notes", [])]
    if differences.get("rows"):
        points.append(
            f"On {differences['rows']:,} rows, the served model and the trained model differ in "
            f"{differences['labels']:,} labels, and by at most {differences['largest_score']:g} in the score."
        )
    points += [f"The policy accepts the operator {e.operator}: {e.why} ({e.source})" for e in evidence.policy.operators]
    points += [
        "The model was judged on test rows from the same source. Results may differ for people outside that source.",
        "The bias audit covers only the columns under Factors. It says nothing about other groups.",
        "A score is not an explanation: it describes what was common among similar rows, not the reason in one case.",
    ]
    yield Points(points)


def _call(evidence: Evidence, request: Mapping[str, Any]) -> Iterator[Block]:
    yield Text(
        "The model answers the Open Inference Protocol; each answer has the bundle's digest. This request is in "
        "sample-request.json."
    )
    body = json.dumps(request, ensure_ascii=False)
    yield Code(
        f"curl $ADDRESS/v2/models/{evidence.name}/infer --json @- <<'END'\n{body}\nEND\n"
        f"lockgate predict {evidence.name} rows.csv"
    )


def _digests(evidence: Evidence) -> dict[str, str]:
    records = {"data record": evidence.data, "answers record": evidence.answers}
    records |= {f"verdict of {gate}": verdict for gate, verdict in evidence.verdicts.items()}
    return {**evidence.subjects, **{name: record.digest for name, record in records.items()}}


def _rules(evidence: Evidence, gate: str) -> Mapping[str, Mapping[str, Any]]:
    rules: Mapping[str, Mapping[str, Any]] = evidence.verdicts[gate].predicate.get("measurements", {}).get("rules", {})
    return rules


def _rule(rule: Rule, measured: Mapping[str, Any]) -> tuple[str, ...]:
    value, interval = _measured(measured)
    return (_measure(rule), _limit(rule), value, interval, str(measured.get("standing", "")), rule.why, rule.source)


def _measured(figures: Mapping[str, Any]) -> tuple[str, str]:
    """Return a value and its interval as text: empty if not measured, `not shown` if it may not be shown."""
    low, high = figures.get("low"), figures.get("high")
    if low is None or high is None:
        return "", ""
    return figure("", figures.get("value")), f"{low:g} to {high:g}"


def _measure(rule: Rule) -> str:
    name = words(rule.measure)
    return f"{name} by {' and '.join(rule.between)}" if isinstance(rule, BiasRule) else name


def _limit(rule: Rule) -> str:
    match rule.limit:
        case AtLeast(value):
            return f"at least {value:g}"
        case AtMost(value):
            return f"at most {value:g}"
        case NoWorseThanLive(by):
            return f"at most {by:g} worse than live"
        case ReportedOnly():
            return "none, reported only"
        case _ as never:
            assert_never(never)


def _column(column: Column) -> tuple[str, str, str, str]:
    missing = "yes" if column.missing else "no"
    match column:
        case Category(values=values):
            return column.name, "category", ", ".join(values), missing
        case Number(bands=()):
            unit = f" {column.unit}" if column.unit else ""
            low, high = (f"{end:g}" if math.isfinite(end) else "any" for end in (column.low, column.high))
            return column.name, "whole number" if column.whole else "number", f"{low} to {high}{unit}", missing
        case Number(bands=bands):
            return column.name, "number, in bands", "edges " + ", ".join(f"{edge:g}" for edge in bands), missing
        case _ as never:
            assert_never(never)


def _place(column: str) -> int:
    return _COLUMNS.index(column) if column in _COLUMNS else len(_COLUMNS)
