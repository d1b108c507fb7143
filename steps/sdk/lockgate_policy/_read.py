"""Parse the bytes of `policy.toml` into a `Policy`, and refuse everything unknown."""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from lockgate_policy._rules import (
    AcceptedOperator,
    AcceptedSmallGroup,
    AtLeast,
    AtMost,
    BiasRule,
    CanaryRule,
    NoWorseThanLive,
    Policy,
    PolicyError,
    QualityRule,
    ReportedOnly,
    Settings,
    SmokeRule,
    Unaudited,
)

NAME = "policy.toml"
_MOST_BYTES, _MOST_LINES = 256 * 1024, 100  # of the file, and of one statement
LONGEST = timedelta(days=5 * 366)  # an acceptance must be looked at again

# The limit that each measure can have. A limit that could never refuse is out of range: that is `reported_only`.
_SCORES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc")
QUALITY = {name: "at_least" for name in _SCORES} | {"brier": "at_most"}
BIAS = {
    "selection_rate_difference": "at_most",
    "selection_rate_ratio": "at_least",
    "true_positive_rate_difference": "at_most",
    "false_positive_rate_difference": "at_most",
    "accuracy_difference": "at_most",
    "equalized_odds_difference": "at_most",
}
SMOKE = {"p99_ms": "at_most"}
CANARY: dict[str, str | None] = {  # beside at_most; the last two are measured against live anyway
    **dict.fromkeys(("error_rate", "p99_ms", "refused_inputs_rate"), "no_worse_than_live_by"),
    **dict.fromkeys(("answer_shift", "disagreement_rate")),
}


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


_Rule = TypeVar("_Rule", bound=_Keyed)


@dataclass(frozen=True)
class _Table:
    """One table of the file, with the line of each key."""

    name: str
    values: dict[str, Any]
    lines: dict[str, int]
    line: int

    def at(self, key: str | None = None) -> str:
        """The line of a key, or of the table if the key has none."""
        return f"{NAME}:{self.lines.get(key, self.line) if key else self.line}"

    def refuse(self, problem: str, fix: str, key: str | None = None) -> NoReturn:
        raise PolicyError(self.at(key), problem, fix)

    def only(self, *allowed: str) -> None:
        """Refuse an unknown key: otherwise a misspelt limit would be a missing limit."""
        for key in self.values:
            if key not in allowed:
                self.refuse(f"`{key}` is not a setting of [[{self.name}]]", _meant(key, allowed), key)

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
        need = "state the reason in one sentence" if key == "why" else f'write {key} = "…"'
        wrong = f"[[{self.name}]] has no `{key}`" if value is None else f"`{key}` is empty or not a string"
        self.refuse(wrong, need, key)

    def one_of(self, key: str, allowed: Sequence[str]) -> str:
        value = self.text(key)
        if value not in allowed:
            self.refuse(f"`{value}` is not a measure of [[{self.name}]]", _meant(value, allowed), key)
        return value

    def number(self, key: str, low: float, high: float, but: str) -> float:
        """A number from `low` to `high`; `but` is the range in words."""
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            self.refuse(f"`{key}` is not a number", f"set it to {but}", key)
        if abs(value) > 1e18:
            self.refuse(f"`{key}` is too large", f"set it to {but}", key)
        if not low <= value <= high:
            self.refuse(f"`{key}` = {value} is out of range", f"set it to {but}", key)
        return float(value)

    def whole(self, key: str, low: int, high: int) -> int:
        but = f"a whole number from {low} to {high:,}"
        value = self.number(key, low, high, but)
        if value != int(value):
            self.refuse(f"`{key}` is not a whole number", f"set it to {but}", key)
        return int(value)


def read(source: str | os.PathLike[str] | bytes) -> Policy:
    """Read a policy from a path or from bytes.

    Errors: PolicyError.
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    if len(raw) > _MOST_BYTES:
        raise PolicyError(NAME, f"larger than {_MOST_BYTES:,} bytes", "shorten the reasons")
    try:
        text = raw.decode().replace("\r\n", "\n")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise PolicyError(NAME, "not valid UTF-8", "save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(text, str(error)) from error
    except (ValueError, RecursionError) as error:  # of Python's own conversions
        raise PolicyError(NAME, "a number is too long, or lists are nested too deeply", "correct it") from error
    tables = _tables(document, _lines(text))
    policy = Policy(
        quality=_rules(tables["quality"], _quality),
        bias=_rules(tables["bias"], _bias),
        smoke=_rules(tables["smoke"], _smoke),
        canary=_rules(tables["canary"], _canary),
        unaudited=tuple(_unaudited(table) for table in tables["unaudited"]),
        operators=tuple(_operator(table) for table in tables["accepted_operator"]),
        accepted=_accepted(tables["accepted_small_group"]),
        settings=_settings(tables["settings"][0]) if tables["settings"] else Settings(),
    )
    if not any(isinstance(rule.limit, AtLeast | AtMost) for rule in policy.quality):
        raise PolicyError(
            NAME,
            "no [[quality]] rule has at_least or at_most, so any model would pass",
            'add one, e.g. measure = "accuracy", at_least = 0.8',
        )
    return policy


def _not_toml(text: str, said: str) -> PolicyError:
    """The error with its line, which tomllib gives only as text: `(at line 4, column 7)` or `(at end of document)`."""
    problem, _, place = said.partition(" (at ")
    found = re.match(r"line (\d+)", place)
    line = int(found[1]) if found else text.rstrip("\n").count("\n") + 1
    return PolicyError(f"{NAME}:{line}", f"not valid TOML: {problem}", "correct that line, or the one before it")


def check(policy: Policy, sensitive: Sequence[str]) -> None:
    """Check that the policy names exactly the sensitive columns of the model.

    Errors: PolicyError for a column with neither a rule nor an [[unaudited]] entry, with both, or not sensitive.
    """
    named = {column: rule.source for rule in policy.bias for column in rule.between}
    excused = {entry.column: entry.source for entry in policy.unaudited}
    for column, where in (named | excused).items():
        if column not in sensitive:
            raise PolicyError(where, f"`{column}` is not a sensitive column of this model", _meant(column, sensitive))
    for column in sensitive:
        if column in named and column in excused:
            raise PolicyError(
                excused[column],
                f"`{column}` is [[unaudited]] here, but has a rule at {named[column]}",
                "keep one of the two",
            )
        if column not in named and column not in excused:
            fix = f'add [[bias]] with between = ["{column}"], or [[unaudited]] with column = "{column}" and a why'
            raise PolicyError(NAME, f"sensitive column `{column}` has neither a rule nor an [[unaudited]] entry", fix)
    limited = sorted({"+".join(rule.between) for rule in policy.bias if not isinstance(rule.limit, ReportedOnly)})
    for each in policy.accepted:
        if each.column not in limited:
            raise PolicyError(
                each.source, f"no [[bias]] rule on `{each.column}` has a limit", _meant(each.column, limited)
            )


def _rules(tables: Sequence[_Table], make: Callable[[_Table], _Rule]) -> tuple[_Rule, ...]:
    """Make the rules, and refuse two with the same key: a waiver must name exactly one."""
    made: dict[str, _Rule] = {}
    for table in tables:
        rule = make(table)
        if rule.key in made:
            table.refuse(f"`{rule.key}` is already set above", "keep one of the two")
        made[rule.key] = rule
    return tuple(made.values())


def _quality(table: _Table) -> QualityRule:
    measure = table.one_of("measure", tuple(QUALITY))
    kind = _limit(table, QUALITY[measure], "no_worse_than_live_by")
    limit: AtLeast | AtMost | NoWorseThanLive
    if kind == "no_worse_than_live_by":
        limit = NoWorseThanLive(table.number(kind, 0, 0.5, "a margin from 0 to 0.5"))
    else:
        limit = _share(table, kind)
    return QualityRule(measure, limit, table.text("why"), table.at(kind))


def _bias(table: _Table) -> BiasRule:
    measure = table.one_of("measure", tuple(BIAS))
    kind = _limit(table, BIAS[measure], "reported_only", "between")
    between = table.values.get("between")
    if not isinstance(between, list) or not between or not all(isinstance(name, str) and name for name in between):
        table.refuse("[[bias]] has no list of columns", 'write e.g. between = ["sex"]', "between")
    if len(set(between)) != len(between):
        table.refuse("`between` names a column twice", "name each column once", "between")
    if kind == "reported_only" and table.values[kind] is not True:
        table.refuse("`reported_only` can only be true", f"remove it, and set {BIAS[measure]} instead", kind)
    limit = ReportedOnly() if kind == "reported_only" else _share(table, kind)
    return BiasRule(tuple(between), measure, limit, table.text("why"), table.at(kind))


def _smoke(table: _Table) -> SmokeRule:
    measure = table.one_of("measure", tuple(SMOKE))
    kind = _limit(table, SMOKE[measure])
    return SmokeRule(
        measure,
        AtMost(table.number(kind, 1, 600_000, "milliseconds from 1 to 600,000")),
        table.text("why"),
        table.at(kind),
    )


def _canary(table: _Table) -> CanaryRule:
    """A limit of 0 is refused: no number of requests would show that a rate is 0, so no candidate would pass."""
    measure = table.one_of("measure", tuple(CANARY))
    kind = _limit(table, "at_most", CANARY[measure])
    if measure == "p99_ms":
        value = table.number(kind, 1, 600_000, "milliseconds from 1 to 600,000")
    elif kind == "at_most":
        value = table.number(kind, 1e-9, 1 - 1e-9, "a number above 0 and below 1")
    else:
        value = table.number(kind, 1e-9, 0.5, "a margin above 0, up to 0.5")
    limit = AtMost(value) if kind == "at_most" else NoWorseThanLive(value)
    return CanaryRule(measure, limit, table.text("why"), table.at(kind))


def _unaudited(table: _Table) -> Unaudited:
    table.only("column", "why")
    return Unaudited(table.text("column"), table.text("why"), table.at("column"))


def _operator(table: _Table) -> AcceptedOperator:
    table.only("operator", "why")
    name = table.text("operator")
    if not re.fullmatch(r"([a-z][\w.]*\.)?[A-Z]\w*", name):
        table.refuse(f"`{name}` is not the name of an ONNX operator", 'write e.g. operator = "Scan"', "operator")
    return AcceptedOperator(name, table.text("why"), table.at("operator"))


def _accepted(tables: Sequence[_Table]) -> tuple[AcceptedSmallGroup, ...]:
    found: dict[tuple[str, str], AcceptedSmallGroup] = {}
    for table in tables:
        table.only("column", "value", "why", "until")
        column, value, why = table.text("column"), table.text("value"), table.text("why")
        if (column, value) in found:
            table.refuse(f"`{value}` of `{column}` is already accepted above", "keep one of the two")
        found[column, value] = AcceptedSmallGroup(column, value, why, _day(table, "until"), table.at("value"))
    return tuple(found.values())


def _day(table: _Table, key: str) -> date:
    """A day within the next five years, or in the past; the gate ignores an entry whose day is past."""
    value, today = table.values.get(key), datetime.now(UTC).date()
    write = f"write {key} = {today + timedelta(days=180)}"
    if value is None:
        table.refuse(f"[[{table.name}]] has no `{key}`", write, key)
    if not isinstance(value, date) or isinstance(value, datetime):
        table.refuse(f"`{key}` is not a date", f"{write}, without quotes and without a time", key)
    if value > today + LONGEST:
        table.refuse(
            f"`{key}` = {value} is not within the next five years", "choose a nearer day; it can be renewed", key
        )
    return value


def _settings(table: _Table) -> Settings:
    values, default = table.values, Settings()
    table.only("confidence", "minimum_support", "resamples")
    return Settings(
        table.number("confidence", 0.8, 0.999, "a number from 0.8 to 0.999")
        if "confidence" in values
        else default.confidence,
        # 10 is also the smallest count that a report may show, so a smaller group could not be explained.
        table.whole("minimum_support", 10, 100_000) if "minimum_support" in values else default.minimum_support,
        table.whole("resamples", 200, 100_000) if "resamples" in values else default.resamples,
    )


def _limit(table: _Table, natural: str, other: str | None = None, *more: str) -> str:
    """The name of the one limit that the rule sets: `natural` (`at_least` or `at_most`), or `other`."""
    allowed = [kind for kind in (natural, other) if kind]
    kinds = dict.fromkeys(("at_least", "at_most", "no_worse_than_live_by", *allowed))
    table.only("measure", "why", *kinds, *more)
    given = [key for key in table.values if key in kinds]
    if len(given) != 1:
        problem = "no limit" if not given else "more than one limit"
        table.refuse(
            f"[[{table.name}]] sets {problem}", f"set one of: {', '.join(allowed)}", given[1] if given else None
        )
    if given[0] not in allowed:
        table.refuse(
            f"`{table.values['measure']}` cannot have `{given[0]}`", f"set one of: {', '.join(allowed)}", given[0]
        )
    return given[0]


def _share(table: _Table, kind: str) -> AtLeast | AtMost:
    """A limit on a number from 0 to 1, without the end at which the limit would never refuse."""
    if kind == "at_least":
        return AtLeast(table.number(kind, 1e-9, 1, "a number above 0, up to 1"))
    return AtMost(table.number(kind, 0, 1 - 1e-9, "a number from 0 to below 1"))


def _meant(word: str, allowed: Sequence[str]) -> str:
    close = get_close_matches(word, allowed, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"use one of: {', '.join(allowed)}" if allowed else "remove it: the model has none"


_LISTS = ("quality", "bias", "smoke", "canary", "unaudited", "accepted_operator", "accepted_small_group")
_SHAPES: dict[str, type] = {**dict.fromkeys(_LISTS, list), "settings": dict}
_Path = tuple[str | int, ...]


def _tables(document: dict[str, Any], lines: dict[_Path, int]) -> dict[str, list[_Table]]:
    """The file's tables by name, each with its lines."""
    found: dict[str, list[_Table]] = {name: [] for name in _SHAPES}
    for name, value in document.items():
        where = f"{NAME}:{lines.get((name,), lines.get((name, 0), 1))}"
        if name not in _SHAPES:
            raise PolicyError(where, f"unknown table `{name}`", _meant(name, tuple(_SHAPES)))
        entries = value if isinstance(value, list) else [value]
        if not isinstance(value, _SHAPES[name]) or not all(isinstance(entry, dict) for entry in entries):
            raise PolicyError(
                where,
                f"`{name}` has the wrong shape",
                f"write it as {'[settings]' if name == 'settings' else f'[[{name}]]'}",
            )
        for index, entry in enumerate(entries):
            path: _Path = (name, index) if isinstance(value, list) else (name,)
            line = lines.get(path, lines.get((name,), 1))
            found[name].append(_Table(name, entry, {key: lines.get((*path, key), line) for key in entry}, line))
    return found


def _lines(text: str) -> dict[_Path, int]:
    """The line of each table and key, which tomllib does not give: `{("bias", 0, "at_most"): 11}`.

    A statement ends when the lines since the last statement parse by themselves; an open string or list does not.
    Errors: PolicyError for a statement of very many lines.
    """
    found: dict[_Path, int] = {}
    seen: Counter[str] = Counter()
    table: _Path = ()
    lines = text.split("\n")
    start = 0
    for end in range(1, len(lines) + 1):
        if end - start > _MOST_LINES:  # each further line would be parsed with all lines before it
            where = f"{NAME}:{start + 1}"
            raise PolicyError(where, f"a statement has more than {_MOST_LINES} lines", "shorten it")
        chunk = "\n".join(lines[start:end])
        try:
            statement = tomllib.loads(chunk)
        except tomllib.TOMLDecodeError:
            continue
        for name in statement:
            if chunk.lstrip().startswith("[["):
                table = (name, seen[name])
                seen[name] += 1
                found[table] = start + 1
            elif chunk.lstrip().startswith("["):
                table = (name,)
                found[table] = start + 1
            else:
                found[(*table, name)] = start + 1
        start = end
    return found
