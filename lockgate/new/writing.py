"""Write the folder of a model from a profile: a spec, a policy and a README."""

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lockgate_step import Category, Column, Number

from lockgate.definition.model import NOBODY
from lockgate.errors import BadCall
from lockgate.new.groups import Group
from lockgate.new.profiling import Profile

_LIMIT = 0.2  # the starting limit of the difference between selection rates
_WIDTH = 110  # the maximum length of a column's line
_WIDEST = 0.1  # the widest half-interval with which such a limit can decide
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
        "expectations.json": "[]\n",
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
        f"    data=Data(uri={_quoted(f'data/{data_name(profile)}')}, delimiter={_quoted(profile.source.delimiter)}, "
        f"missing={_tuple([_quoted(each) for each in profile.missing])}),",
        f"    target=label({_quoted(profile.target)}, positive={_quoted(profile.positive.name)}, "
        f"negative={_quoted(profile.negative.name)}{f', spellings={_dict(spelled)}' if spelled else ''}),",
        "    # The columns that a caller sends.",
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


def policy(profile: Profile, name: str) -> str:
    """The first rules, each with the reason for its starting limit."""
    rules = [
        _rule("quality", {"measure": "roc_auc", "at_least": 0.6}, f"{_START}: random guesses have 0.5."),
        _rule(
            "quality",
            {"measure": "accuracy", "no_worse_than_live_by": 0.02},
            f"{_START}: a new version may give two more wrong answers in a hundred than the live one.",
        ),
        *(_bias(profile, column) for column in profile.sensitive),
        _rule("smoke", {"measure": "p99_ms", "at_most": 250}, f"{_START}: a caller waits for the answer."),
    ]
    head = f"# The rules of the gates for {name}. Every limit is a decision that the owner is responsible for.\n"
    return "\n".join([head, *rules])


def readme(profile: Profile, name: str) -> str:
    """The README of the folder: its content, the guesses and the next steps."""
    left_out = [f"- `{column}`: {why}" for column, why in profile.left_out.items()] or ["- none"]
    proxies = [
        f"- `{each.column}` is associated with `{each.of}` (Cramér's V {each.strength:.2f})" for each in profile.proxies
    ]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Predicts `{profile.target}` from {len(profile.inputs)} columns of `data/{data_name(profile)}`. "
            "The spec in `pipeline.py` is a guess from the data.",
            "",
            "Before the first release, decide: the owner, the intended and excluded uses, each limit in `policy.toml`, "
            "and whether the columns below are used correctly.",
            "",
            "## Left out",
            *left_out,
            "",
            "## Possible proxies for a sensitive column",
            *(proxies or ["- none found"]),
            "",
            "## Run it",
            "",
            f"    lockgate run {name}",
            "",
        ]
    )


def resolvable(groups: Sequence[Group], share: float) -> tuple[float, float] | None:
    """The difference between the groups' label rates, and its half-interval on test rows; None for too few groups."""
    judged = [group for group in groups if group.judged(share)]
    if len(judged) < 2:
        return None
    rates = [group.positive / group.rows for group in judged]
    overall = sum(group.positive for group in judged) / sum(group.rows for group in judged)
    small = sorted(group.tested(share) for group in judged)[:2]
    critical = 2.0 if len(judged) == 2 else 3.0  # for all pairs of several groups together
    half = critical * math.sqrt(overall * (1 - overall) * sum(1 / rows for rows in small))
    return max(rates) - min(rates), half


def _widest(profile: Profile) -> str:
    """The gating sensitive column with the largest difference between label rates; the first column if none gates."""
    found = {column: resolvable(groups, profile.test_share) for column, groups in profile.groups.items()}
    gaps = {column: gap for column, each in found.items() if each for gap, half in [each] if half <= _WIDEST}
    return max(gaps, key=lambda column: gaps[column]) if gaps else next(iter(found))


def _bias(profile: Profile, column: str) -> str:
    found = resolvable(profile.groups[column], profile.test_share)
    measure: dict[str, object] = {"between": [column], "measure": "selection_rate_difference"}
    if found is None:
        why = "fewer than two groups have enough test rows to compare; set a limit when there is more data."
        return _rule("bias", measure | {"reported_only": True}, f"Reported only at first: {why}")
    gap, half = found
    if half > _WIDEST:
        why = f"the interval would be about ±{half:.2f}, too wide to decide a limit of {_LIMIT}."
        return _rule("bias", measure | {"reported_only": True}, f"Reported only at first: {why}")
    why = f"the label rates in the data differ by {gap:.2f} between these groups."
    return _rule("bias", measure | {"at_most": _LIMIT}, f"{_START}: {why}")


def outlook(profile: Profile) -> Iterator[str]:
    """Yield what to expect from the first run, in lines for the terminal."""
    for column, groups in profile.groups.items():
        found = resolvable(groups, profile.test_share)
        if found is None or found[1] > _WIDEST:
            yield f"{column} is reported only and does not gate: too few rows to decide; see policy.toml"
        elif found[0] + found[1] > _LIMIT:
            yield (
                f"by {column}, the label rates in the data differ by {found[0]:.2f} and the limit starts at {_LIMIT}: "
                "bias-audit may refuse a model that repeats this; --set mitigation=grid-search may help"
            )


def _rule(table: str, entries: Mapping[str, object], why: str) -> str:
    pairs = {**entries, "why": why}
    wide = max(map(len, pairs))
    lines = [f"{key:<{wide}} = {json.dumps(value, ensure_ascii=False)}" for key, value in pairs.items()]
    return "\n".join([f"[[{table}]]", *lines, ""])


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
    return json.dumps(text, ensure_ascii=False)


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(values)}{',' if len(values) == 1 else ''})"


def _dict(values: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_quoted(key)}: {_quoted(value)}' for key, value in values.items())}}}"


def _docstring(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', "'")
