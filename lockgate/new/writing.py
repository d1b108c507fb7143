"""Write the folder of a model from a profile: a spec, a policy and a README."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lockgate_step import Category, Column, Number, visible

from lockgate.definition.model import NOBODY
from lockgate.errors import BadCall
from lockgate.new.describing import few, percent
from lockgate.new.expecting import COVERED, expectations
from lockgate.new.gaps import find_missing
from lockgate.new.groups import JUDGED, Group
from lockgate.new.power import Power, power
from lockgate.new.profiling import Profile

_LIMIT = 0.2  # the starting limit of the difference between groups
SELECTION, ERRORS = "selection_rate_difference", "equalized_odds_difference"
_ACCEPTED = 6  # small groups of a column that the policy offers to accept; with more, merging is better
_WIDTH = 110  # the maximum length of a column's line
_START = "Starting limit, which the owner decides before the first release"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check_name(name: str) -> None:
    """Refuse an invalid model name and suggest a valid one. Errors: BadCall."""
    if _NAME.fullmatch(name) and len(name) <= 30:
        return
    close = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("0123456789-")[:30].rstrip("-")
    msg = f"{name!r} is not a model name: use lower case letters, digits and single hyphens, at most 30"
    raise BadCall(msg, fix=f"try {close}" if _NAME.fullmatch(close) else "try e.g. claims-triage")


def write(profile: Profile, name: str, folder: Path) -> None:
    """Write the model's folder completely or not at all. Errors: BadCall if it already exists."""
    check_name(name)
    if folder.exists():
        msg = f"{folder} already exists, and lockgate new overwrites nothing"
        raise BadCall(msg, fix="choose another name, or remove the folder first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as scratch:
        model = Path(scratch, "model")
        (model / "data").mkdir(parents=True)
        shutil.copyfile(profile.source.path, model / "data" / data_name(profile))
        for file, text in files(profile, name).items():
            (model / file).write_text(text, encoding="utf-8")
        os.rename(model, folder)


def files(profile: Profile, name: str) -> Mapping[str, str]:
    """The texts of the model's folder, by file name."""
    return {
        "pipeline.py": pipeline(profile, name),
        "policy.toml": policy(profile, name),
        "expectations.json": expectations(profile),
        "README.md": readme(profile, name),
    }


def data_name(profile: Profile) -> str:
    """The name of the copy of the data: the file's own name, in plain characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", profile.source.path.name).lstrip("-.") or "data.csv"


def pipeline(profile: Profile, name: str) -> str:
    """The model's spec as Python."""
    used = {"ModelSpec", "Data", "label"}
    used |= {type(each).__name__.lower() for each in (*profile.inputs.values(), *profile.sensitive.values())}
    used |= {"Split"} if profile.key else set()
    mitigates = bool(profile.sensitive)
    train = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"}
    train |= {"mitigation": "none", "mitigate": _widest(profile)} if mitigates else {}
    spelled = {each: known.name for known in (profile.positive, profile.negative) for each in known.spellings}
    lines = [
        f'"""Predicts {_docstring(profile.target)}. A first guess by `lockgate new`; change any line."""',
        "",
        f"from lockgate import {', '.join(sorted(used))}",
        "",
        "MODEL = ModelSpec(",
        f"    name={_quoted(name)},",
        f"    owner={_quoted(NOBODY)},  # the person or team responsible for the model",
        *_data(profile),
        f"    target=label({_quoted(profile.target)}, positive={_quoted(profile.positive.name)}, "
        f"negative={_quoted(profile.negative.name)}{f', spellings={_dict(spelled)}' if spelled else ''}),",
        "    # The columns that a caller sends.",
        *_known_later(profile),
        "    inputs={",
        *(f"        {_entry(column, traits)}," for column, traits in profile.inputs.items()),
        "    },",
        "    # The columns to audit by; they are not inputs.",
        "    sensitive={",
        *(f"        {_entry(column, traits)}," for column, traits in profile.sensitive.items()),
        "    },",
        *([f"    split=Split(key=({_quoted(profile.key)},)),"] if profile.key else []),
        "    train={",
        *(f"        {_quoted(key)}: {_quoted(value)}," for key, value in train.items()),
        "    },",
        *(['    tunable=("mitigation", "mitigate"),'] if mitigates else []),
        ")",
    ]
    return "\n".join(lines) + "\n"


def _known_later(profile: Profile) -> Iterator[str]:
    if profile.telling:
        names = _docstring(", ".join(profile.telling))
        yield f"    # Remove those that are known only afterwards; each alone nearly tells the label: {names}."


def _data(profile: Profile) -> Iterator[str]:
    uri, delimiter = _quoted(f"data/{data_name(profile)}"), _quoted(profile.source.delimiter)
    fields = f"uri={uri}, delimiter={delimiter}, missing={_tuple([_quoted(each) for each in profile.missing])}"
    if profile.unlabelled:
        about = f"{few(profile.unlabelled)} of the {profile.rows:,} rows have no {_docstring(profile.target)}"
        yield f"    # {about}: they are left out, and counted by group."
        yield "    # The data gate refuses data in which their share differs between groups."
        fields += ', unlabelled="exclude"'
    yield f"    data=Data({fields}),"


def policy(profile: Profile, name: str) -> str:
    """The first rules, each with the reason for its starting limit."""
    rules = [
        _rule("quality", {"measure": "roc_auc", "at_least": 0.6}, f"{_START}: random guesses have 0.5."),
        _rule(
            "quality",
            {"measure": "accuracy", "no_worse_than_live_by": 0.02},
            f"{_START}: a new version may give two more wrong answers in a hundred than the live one.",
        ),
        *(rule for column in profile.sensitive for rule in (*_bias(profile, column), *_accepting(profile, column))),
        _rule("smoke", {"measure": "p99_ms", "at_most": 250}, f"{_START}: a caller waits for the answer."),
    ]
    head = f"# The rules of the gates for {name}. Every limit is a decision that the owner is responsible for.\n"
    return "\n".join([head, *rules])


def readme(profile: Profile, name: str) -> str:
    """The README of the folder: its content, the guesses and the next steps."""
    left_out = [f"- {_code(column)}: {why}" for column, why in profile.left_out.items()]
    proxies = [
        f"- {_code(each.column)} is associated with {_code(each.of)} (Cramér's V {each.strength:.2f})"
        for each in profile.proxies
    ]
    missing = [f"- {_code(each.column)} is missing {_plain(each.where)}" for each in find_missing(profile)]
    telling = [f"- {_code(name)} (Cramér's V {strength:.2f})" for name, strength in profile.telling.items()]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Predicts {_code(profile.target)} from {len(profile.inputs)} columns of `data/{data_name(profile)}`. "
            "The spec in `pipeline.py` is a guess from the data.",
            "",
            "Before the first release, decide: the owner, the intended and excluded uses, each limit in `policy.toml`, "
            "and whether the columns below are used correctly.",
            "",
            f"{COVERED} `expectations.json` suggests what that does not cover: row counts, missing shares and means.",
            "",
            "## Left out",
            "",
            *(left_out or ["- none"]),
            "",
            f"## Inputs that alone nearly tell {_code(profile.target)}",
            "",
            "Remove those that are known only after the decision: the model would be right in the test and of no use.",
            "",
            *(telling or ["- none found"]),
            "",
            "## Possible proxies for a sensitive column",
            "",
            *(proxies or ["- none found"]),
            "",
            "## Missing more often in one group",
            "",
            *(missing or ["- none found"]),
            "",
            "## Groups in the data",
            "",
            "Counts of fewer than ten people are not shown.",
            *(line for column in profile.groups for line in _table(profile, column)),
            "",
            "## Run it",
            "",
            f"    lockgate run {name}",
            "",
        ]
    )


def _table(profile: Profile, column: str) -> Iterator[str]:
    yield from (
        "",
        f"| {_plain(column)} | rows | share of {_plain(profile.positive.name)} | without a label |",
        "|---|---:|---:|---:|",
    )
    for group in profile.groups[column]:
        rates = f"{percent(group.rate)} | {percent(group.unlabelled_rate)}"
        yield f"| {_plain(group.name)} | {few(group.rows + group.unlabelled)} | {rates} |"
    yield ""
    for measure in (SELECTION, ERRORS):
        yield f"- By {_plain(column)}, {_plain(power_of(profile, column, measure).words)}."


def _plain(text: str) -> str:
    """Text of the data for Markdown: on one line, without its markup."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", visible(" ".join(text.split()))) if text.strip() else "(blank)"


def _code(text: str) -> str:
    """A name of the data as code in Markdown, where its markup has no effect."""
    shown = visible(" ".join(text.split())) or " "
    marks = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{marks}{shown}{marks}" if len(marks) == 1 else f"{marks} {shown} {marks}"


def label_gap(groups: Sequence[Group]) -> float:
    """The largest difference between the label rates that may be shown, of groups that are large enough to judge.

    It is 0 if there are not two.
    """
    rates = _label_rates(groups)
    return max(rates) - min(rates) if len(rates) > 1 else 0.0


def _label_rates(groups: Sequence[Group]) -> list[float]:
    return [group.rate for group in groups if group.rate is not None and group.rows >= JUDGED]


def _widest(profile: Profile) -> str:
    """The sensitive column with the largest difference between label rates."""
    return max(profile.groups, key=lambda column: label_gap(profile.groups[column]))


def _bias(profile: Profile, column: str) -> Iterator[str]:
    """The rules for a sensitive column: selected alike, and wrong alike. A limit is set however few rows there are."""
    gap = label_gap(profile.groups[column])
    differ = f"the label rates in the data differ by {gap:.2f} between these groups."
    if len(_label_rates(profile.groups[column])) < 2:
        differ = "the data have too few rows of these groups to compare their label rates."
    for measure, why in (
        (SELECTION, differ),
        (ERRORS, "errors in both directions, since a model that selects alike may still be wrong more often for some."),
    ):
        power = power_of(profile, column, measure)
        words = visible(power.words)  # on one line, or a category could add a line to the policy
        yield f"# {words[:1].upper()}{words[1:]}.\n" + _rule(
            "bias", {"between": [column], "measure": measure, "at_most": _LIMIT}, f"{_START}: {why}"
        )


def _accepting(profile: Profile, column: str) -> Iterator[str]:
    """What accepts the small groups of a column, to be completed by the person who accepts them."""
    decided, beyond = _decided(profile, column)
    if beyond:
        about = " and on ".join(each.about for each in beyond)
        yield (
            f"# Fewer than two groups have enough rows to compare them on {about}, so accepting small groups does not\n"
            "# decide that: it needs more rows, merged groups, or a waiver after the run.\n"
        )
    small = dict.fromkeys(each for power in decided for each in power.small)
    if not small:
        return
    rules, stay = ("rules above", "stay") if len(decided) > 1 else (f"rule on {decided[0].about}", "stays")
    lines = [f"The {rules} {stay} undecided for want of rows of the groups below, unless they are accepted by name."]
    if len(small) > _ACCEPTED:
        many = f"{len(small)} groups are too small for the {rules}"
        lines = [f"{many}: merge them, or accept each by name, like this:"]
    lines.append("To accept one, remove the # and write why, and the last day.")
    for name in list(small)[: _ACCEPTED if len(small) <= _ACCEPTED else 1]:
        entry = {"column": _quoted(column), "value": _quoted(name), "why": '""', "until": "YYYY-MM-DD"}
        lines += ["[[accepted_small_group]]", *(f"{key:<6} = {value}" for key, value in entry.items())]
    yield "".join(f"# {line}\n" for line in lines)


def _decided(profile: Profile, column: str) -> tuple[list[Power], list[Power]]:
    """The rules of a column with small groups: those that accepting the groups can decide, and the others."""
    found = [power for measure in (SELECTION, ERRORS) if (power := power_of(profile, column, measure)).small]
    decided = [power for power in found if len(profile.groups[column]) - len(power.small) > 1]
    return decided, [power for power in found if power not in decided]


def power_of(profile: Profile, column: str, measure: str) -> Power:
    """How often a fair model would pass a rule of the first policy."""
    return power(profile.groups[column], profile.test_share, measure, _LIMIT)


def outlook(profile: Profile) -> Iterator[str]:
    """Yield what to expect from the first run, in lines for the terminal."""
    powers = [power_of(profile, column, measure) for column in profile.groups for measure in (SELECTION, ERRORS)]
    names = [column for column in profile.groups for _ in (SELECTION, ERRORS)]
    yield from (f"power      by {column}, {power.words}" for column, power in zip(names, powers, strict=True))
    gaps = {column: gap for column, groups in profile.groups.items() if (gap := label_gap(groups)) > _LIMIT / 2}
    if gaps:
        differ = ", ".join(f"by {gap:.2f} by {column}" for column, gap in gaps.items())
        yield (
            f"The label rates in the data differ {differ}, and the limit starts at {_LIMIT}: "
            "bias-audit may refuse a model that repeats this; --set mitigation=grid-search may help"
        )
    if not all(power.decides for power in powers):
        yield "What the rows cannot decide ends inconclusive, and is not released. Each of these decides it:"
        yield "  more rows                as many as stated above"
        yield "  another limit            in policy.toml, with your own why"
        if any(power.small for power in powers):
            entries = any(_decided(profile, column)[0] for column in profile.groups)
            accept = ", or complete the entries of policy.toml that accept them" if entries else ""
            yield f"  no small groups          merge them{accept}"
        yield "  lockgate waive           after the run: a named person signs an exception that expires"


def _rule(table: str, entries: Mapping[str, object], why: str) -> str:
    pairs = {**entries, "why": why}
    wide = max(map(len, pairs))
    lines = [f"{key:<{wide}} = {_value(value)}" for key, value in pairs.items()]
    return "\n".join([f"[[{table}]]", *lines, ""])


def _value(value: object) -> str:
    match value:
        case str():
            return _quoted(value)
        case list():
            return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def _entry(name: str, column: Column) -> str:
    """A column as in the spec: on one line, or with one line per value."""
    match column:
        case Number():
            values = [_number(column.low), _number(column.high)]
            values += ["whole=True"] if column.whole else []
            values += [f"bands={_tuple([_number(edge) for edge in column.bands])}"] if column.bands else []
        case Category():
            values = [_quoted(value) for value in column.values]
    values += ["missing=True"] if column.missing else []
    kind = type(column).__name__.lower()
    line = f"{_quoted(name)}: {kind}({', '.join(values)})"
    if len(line) <= _WIDTH:
        return line
    return "\n            ".join([f"{_quoted(name)}: {kind}(", *(f"{value}," for value in values)]) + "\n        )"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _quoted(text: str) -> str:
    """A string in Python or TOML; what nobody can see is written as its code, since a reviewer reads the file."""
    shown = json.dumps(text, ensure_ascii=False)
    return "".join(each if visible(each) == each else f"\\U{ord(each):08x}" for each in shown)


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(values)}{',' if len(values) == 1 else ''})"


def _dict(values: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_quoted(key)}: {_quoted(value)}' for key, value in values.items())}}}"


def _docstring(text: str) -> str:
    return visible(" ".join(text.split())).replace("\\", "\\\\").replace('"', "'")
