"""From a CSV file to what a model of it would look like, and whom the data are too few to speak about."""

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_step import Category, Column, Number, Split, named

from lockgate.errors import BadCall, UnknownName
from lockgate.new.columns import (
    SUPPORT,
    LeftOut,
    Tally,
    band_names,
    guess,
    looks_like_identifier,
    looks_sensitive,
    parsed,
    spellings,
)
from lockgate.new.reading import Source, open_csv

JUDGED = 30  # rows in the denominator of a rate, below which the audit says nothing: the policy's default
_SELECTED = frozenset(
    [
        "yes",
        "y",
        "true",
        "t",
        "1",
        "1.0",
        "oui",
        "vrai",
        "granted",
        "approved",
        "accepted",
        "selected",
        "positive",
        "eligible",
        "pass",
        "passed",
        "accordé",
        "accordée",
        "approuvé",
        "approuvée",
        "accepté",
        "acceptée",
        "positif",
        "admissible",
    ]
)
_REFUSED = frozenset(
    [
        "no",
        "n",
        "false",
        "f",
        "0",
        "0.0",
        "non",
        "faux",
        "refused",
        "denied",
        "rejected",
        "declined",
        "negative",
        "ineligible",
        "fail",
        "failed",
        "refusé",
        "refusée",
        "rejeté",
        "rejetée",
        "négatif",
        "inadmissible",
    ]
)
_SAMPLE = 20_000  # rows to tell proxies by
_PROXY = 0.3  # Cramér's V from which on an input is named as a proxy
_PAIRS = 100_000  # different pairs of value and label that are counted of one sensitive column


@dataclass(frozen=True)
class Label:
    """One of the two answers: its name, its rows, and the other ways it is spelled."""

    name: str
    rows: int
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """One group of a sensitive column: how many of its rows have which label."""

    name: str
    positive: int
    negative: int

    @property
    def rows(self) -> int:
        """All its rows."""
        return self.positive + self.negative

    def tested(self, share: float) -> float:
        """How many of its rows the gates can expect to see."""
        return self.rows * share

    def judged(self, share: float) -> bool:
        """Whether selection rates will be compared."""
        return self.tested(share) >= JUDGED

    def errors_judged(self, share: float) -> bool:
        """Whether its errors will be compared too, of those who truly are positive and of those who are not."""
        return min(self.positive, self.negative) * share >= JUDGED

    def to_json(self, share: float) -> dict[str, Any]:
        """The group without a count that is small enough to point at somebody."""
        rows = self.rows if self.rows >= SUPPORT else None
        return {
            "group": self.name,
            "rows": rows,
            "judged": self.judged(share),
            "errors_judged": self.errors_judged(share),
        }


@dataclass(frozen=True)
class Proxy:
    """An input that tells a sensitive column: how strongly, from 0 to 1 (Cramér's V, bias-corrected)."""

    column: str
    of: str
    strength: float


@dataclass(frozen=True)
class Profile:
    """Everything that was guessed."""

    source: Source
    rows: int
    target: str
    positive: Label
    negative: Label
    positive_was_given: bool
    inputs: Mapping[str, Column]
    sensitive: Mapping[str, Column]
    left_out: Mapping[str, str]
    missing: tuple[str, ...]
    key: str | None
    groups: Mapping[str, Sequence[Group]]
    proxies: Sequence[Proxy]
    rare: Mapping[str, int]

    @property
    def test_share(self) -> float:
        """The share of rows that the gates see."""
        return Split().test_share

    def to_json(self) -> dict[str, Any]:
        """The profile as JSON values; no count below ten."""
        return {
            "file": self.source.path.name,
            "delimiter": self.source.delimiter,
            "rows": self.rows,
            "target": {
                "name": self.target,
                "positive": self.positive.name,
                "negative": self.negative.name,
                "positive_rows": self.positive.rows,
                "positive_was_given": self.positive_was_given,
            },
            "inputs": [column.to_json() for column in named(self.inputs)],
            "sensitive": [column.to_json() for column in named(self.sensitive)],
            "left_out": dict(self.left_out),
            "missing": list(self.missing),
            "key": self.key,
            "groups": {
                name: [group.to_json(self.test_share) for group in groups] for name, groups in self.groups.items()
            },
            "proxies": [{"column": p.column, "of": p.of, "strength": round(p.strength, 2)} for p in self.proxies],
            "rare": dict(self.rare),
        }


def profile(path: Path, target: str, *, positive: str | None = None, sensitive: Sequence[str] | None = None) -> Profile:
    """Read the file once and guess.

    positive: the label that counts as selected; where it is None, the one that reads so (yes, granted), else the rarer.
    sensitive: the columns to audit by; guessed by their names where it is None.
    Errors: BadCall, when a model of two labels cannot be made of it.
    """
    source = open_csv(path)
    named = _named(source, target, sensitive)
    seen = _read(source, target, named)
    missing = spellings(seen.tallies.values())
    yes, no = _labels(seen, target, positive, missing)
    guesses = {
        name: guess(name, tally, missing, sensitive=name in named)
        for name, tally in seen.tallies.items()
        if name not in ("", target)
    }
    key = _key(seen, guesses)
    inputs = {n: g for n, g in guesses.items() if not isinstance(g, LeftOut) and n not in named and n != key}
    protected = {n: g for n, g in guesses.items() if not isinstance(g, LeftOut) and n in named}
    if not inputs:
        msg = f"{path.name} has no column to predict {target} from"
        raise BadCall(msg, fix=_why_none(guesses, named))
    left_out = {name: found.why for name, found in guesses.items() if isinstance(found, LeftOut)}
    left_out |= {"(no name)": "it has no name in the header"} if "" in source.header else {}
    if key:
        left_out[key] = "an identifier: it keeps the rows of one subject on one side of the split"
    return Profile(
        source=source,
        rows=seen.rows,
        target=target,
        positive=yes,
        negative=no,
        positive_was_given=positive is not None,
        inputs=inputs,
        sensitive=protected,
        left_out=left_out,
        missing=missing,
        key=key,
        groups={n: _groups(column, seen.pairs[n], yes, missing) for n, column in protected.items()},
        proxies=_proxies(seen.sample, source.header, inputs, protected, missing),
        rare={
            name: rare
            for name, column in {**inputs, **protected}.items()
            if isinstance(column, Category)
            and (rare := sum(seen.tallies[name].counts[value] < SUPPORT for value in column.values))
        },
    )


@dataclass
class _Seen:
    """What one pass leaves behind."""

    tallies: Mapping[str, Tally]
    pairs: Mapping[str, Counter[tuple[str, str]]]
    sample: list[list[str]]
    rows: int = 0


def _named(source: Source, target: str, sensitive: Sequence[str] | None) -> list[str]:
    names = [name for name in source.header if name]
    for column in (target, *(sensitive or ())):
        if column not in names:
            raise UnknownName("column", column, names)
    if sensitive is not None and target in sensitive:
        msg = f"{target} is what is predicted, so it cannot be a column to audit by"
        raise BadCall(msg, fix="leave it out of --sensitive")
    guessed = [name for name in names if name != target and looks_sensitive(name)]
    return guessed if sensitive is None else list(dict.fromkeys(sensitive))


def _read(source: Source, target: str, sensitive: Sequence[str]) -> _Seen:
    at = {name: place for place, name in enumerate(source.header)}
    seen = _Seen({name: Tally() for name in at}, {name: Counter() for name in sensitive}, [])
    draw = random.Random(0)  # noqa: S311 - a reproducible sample, not a secret
    for piece in source.pieces():
        columns = list(zip(*piece, strict=True))
        for name, tally in seen.tallies.items():
            tally.add(columns[at[name]])
        for name, pairs in seen.pairs.items():
            if len(pairs) <= _PAIRS:
                pairs.update(zip(columns[at[name]], columns[at[target]], strict=True))
        for row in piece:
            seen.rows += 1
            if len(seen.sample) < _SAMPLE:
                seen.sample.append(row)
            elif (place := draw.randrange(seen.rows)) < _SAMPLE:
                seen.sample[place] = row
    if not seen.rows:
        msg = f"{source.path.name} has a header and no row"
        raise BadCall(msg, fix="give a file with rows")
    return seen


def _labels(seen: _Seen, target: str, positive: str | None, missing: Sequence[str]) -> tuple[Label, Label]:
    tally = seen.tallies[target]
    if gaps := tally.missing(missing):
        about = f"{gaps:,}" if gaps >= SUPPORT else f"fewer than {SUPPORT}"
        msg = f"{about} of the {seen.rows:,} rows have no {target}"
        raise BadCall(msg, fix="remove the rows whose outcome is not known, then try again")
    variants: dict[str, Counter[str]] = {}
    for value, count in tally.counts.items():
        variants.setdefault(value.strip().rstrip(".").casefold(), Counter())[value] += count
    if tally.many or len(variants) > 2:
        many = "many" if tally.many or len(variants) > 20 else str(len(variants))
        msg = f"{target} has {many} different values; a model answers one of two labels"
        raise BadCall(msg, fix="make a column of two values of it (such as yes and no) and name that one")
    if len(variants) < 2:
        msg = f"{target} has the same value in every row: there is nothing to learn"
        raise BadCall(msg, fix="give data with rows of both labels")
    labels = [
        Label(spelled.most_common(1)[0][0], spelled.total(), tuple(sorted(spelled)[0:] if len(spelled) > 1 else ()))
        for spelled in variants.values()
    ]
    labels = [Label(x.name, x.rows, tuple(s for s in x.spellings if s != x.name)) for x in labels]
    labels.sort(key=lambda label: (-_reads_as_selected(label.name), label.rows, label.name))
    if positive is not None:
        chosen = [label for label in labels if positive in (label.name, *label.spellings)]
        if not chosen:
            raise UnknownName("label", positive, [label.name for label in labels])
        labels.sort(key=lambda label: label is not chosen[0])
    rarer = min(label.rows for label in labels)
    if rarer < 2 * SUPPORT:
        msg = f"the rarer label of {target} is in fewer than {2 * SUPPORT} rows: too few to learn from and to test on"
        raise BadCall(msg, fix="give more data")
    return labels[0], labels[1]


def _reads_as_selected(name: str) -> int:
    """1 for a label such as yes, -1 for one such as no, 0 for one that does not say."""
    word = name.strip().rstrip(".").casefold()
    return (word in _SELECTED) - (word in _REFUSED)


def _key(seen: _Seen, guesses: Mapping[str, Column | LeftOut]) -> str | None:
    """The column that names a row's subject: called so, in several rows each, and too many to be a category."""
    for name in guesses:
        tally = seen.tallies[name]
        several = not tally.many and tally.rows > len(tally.counts) > tally.rows / 20
        if looks_like_identifier(name) and several:
            return name
    return None


def _why_none(guesses: Mapping[str, Column | LeftOut], sensitive: Sequence[str]) -> str:
    first = next((f"{name}: {found.why}" for name, found in guesses.items() if isinstance(found, LeftOut)), "")
    if sensitive and not first:
        return "every column is sensitive; name only those to audit by with --sensitive"
    return first or "give a file with more columns"


def _groups(
    column: Column, pairs: Mapping[tuple[str, str], int], positive: Label, missing: Sequence[str]
) -> list[Group]:
    counts: dict[str, Counter[bool]] = {name: Counter() for name in _group_names(column)}
    for (value, label), count in pairs.items():
        if (name := _group_of(column, value, missing)) is not None:
            counts.setdefault(name, Counter())[label in (positive.name, *positive.spellings)] += count
    return [Group(name, counted[True], counted[False]) for name, counted in counts.items() if counted.total()]


def _group_names(column: Column) -> Sequence[str]:
    match column:
        case Category():
            return column.values
        case Number():
            return band_names(column.bands, whole=column.whole)


def _group_of(column: Column, value: str, missing: Sequence[str]) -> str | None:
    if value in missing:
        return "(missing)"
    match column:
        case Category():
            return value
        case Number():
            number = parsed(value)
            names = band_names(column.bands, whole=column.whole)
            return None if number is None else names[bisect_right(column.bands, number)]


def _proxies(
    sample: Sequence[Sequence[str]],
    header: Sequence[str],
    inputs: Mapping[str, Column],
    sensitive: Mapping[str, Column],
    missing: Sequence[str],
) -> list[Proxy]:
    columns = dict(zip(header, zip(*sample, strict=True), strict=True))
    coded = {name: _codes(column, columns[name], missing) for name, column in inputs.items()}
    grouped = {name: [_group_of(each, value, missing) for value in columns[name]] for name, each in sensitive.items()}
    found = (
        Proxy(name, other, association(codes, groups))
        for name, codes in coded.items()
        for other, groups in grouped.items()
    )
    return sorted((proxy for proxy in found if proxy.strength >= _PROXY), key=lambda proxy: -proxy.strength)


def _codes(column: Column, values: Sequence[str], missing: Sequence[str]) -> Sequence[object]:
    """The values of an input as classes: categories as they are, numbers by tenths."""
    match column:
        case Category():
            return values
        case Number():
            numbers = [None if value in missing else parsed(value) for value in values]
            known = sorted(number for number in numbers if number is not None)
            edges = sorted({known[len(known) * tenth // 10] for tenth in range(1, 10)}) if known else []
            return [None if number is None else bisect_right(edges, number) for number in numbers]


def association(left: Sequence[object], right: Sequence[object]) -> float:
    """Cramér's V of two columns with Bergsma's correction: 0 where they say nothing of each other, 1 where all."""
    pairs, lefts, rights = Counter(zip(left, right, strict=True)), Counter(left), Counter(right)
    rows = len(left)
    if rows < 2:
        return 0.0
    square = sum(count**2 / (lefts[a] * rights[b]) for (a, b), count in pairs.items()) - 1
    free = (len(lefts) - 1) * (len(rights) - 1)
    corrected = max(0.0, square - free / (rows - 1))
    smaller = min(_corrected_classes(len(lefts), rows), _corrected_classes(len(rights), rows)) - 1
    return min(1.0, math.sqrt(corrected / smaller)) if smaller > 0 else 0.0


def _corrected_classes(classes: int, rows: int) -> float:
    return classes - (classes - 1) ** 2 / (rows - 1)


def describe(found: Profile) -> Iterator[str]:
    """The profile in lines for a terminal."""
    total = found.positive.rows + found.negative.rows
    share = found.positive.rows / total
    told = _reads_as_selected(found.positive.name) != _reads_as_selected(found.negative.name)
    chosen = (
        "as you said" if found.positive_was_given else f"{'by its name' if told else 'the rarer'}; --positive chooses"
    )
    yield f"{found.source.path.name}: {found.rows:,} rows"
    yield f"target     {found.target}: {found.positive.name!r} counts as selected ({share:.1%} of rows; {chosen})"
    yield f"score      = probability of {found.positive.name!r}"
    yield f"missing    spelled {', '.join(repr(each) for each in found.missing)}"
    yield f"inputs     {len(found.inputs)}"
    yield from (f"  {name:<24} {_said(column)}" for name, column in found.inputs.items())
    yield f"sensitive  {len(found.sensitive) or 'none found by name; --sensitive names them'}"
    yield from (f"  {name:<24} {_said(column)}" for name, column in found.sensitive.items())
    if found.left_out:
        yield f"left out   {len(found.left_out)}"
        yield from (f"  {name:<24} {why}" for name, why in found.left_out.items())
    yield from _cautions(found)


def _cautions(found: Profile) -> Iterator[str]:
    share = found.test_share
    for name in found.left_out:
        if looks_sensitive(name):
            yield f"not audited  {name} is called like a sensitive column and is left out (see there)"
    for name, groups in found.groups.items():
        small = [group.name for group in groups if not group.judged(share)]
        errors = [group.name for group in groups if group.judged(share) and not group.errors_judged(share)]
        if small:
            yield f"too small to judge  {name}: {_some(small)}"
        if errors:
            yield f"errors too few to judge  {name}: {_some(errors)}"
    for proxy in found.proxies:
        yield f"proxy      {proxy.column} tells {proxy.of} (Cramér's V {proxy.strength:.2f}); a model may use it so"
    for name, rare in found.rare.items():
        yield f"rare       {name}: {rare} of its values in fewer than {SUPPORT} rows; merge them where you can"
    if found.key:
        yield f"split      by {found.key}, so that no subject is in both training and test rows"


def _said(column: Column) -> str:
    gaps = ", may be missing" if column.missing else ""
    match column:
        case Number():
            kind = "whole number" if column.whole else "number"
            bands = f", in bands at {', '.join(f'{edge:g}' for edge in column.bands)}" if column.bands else ""
            return f"{kind}, {column.low:,.12g} to {column.high:,.12g}{bands}{gaps}"
        case Category():
            return f"category: {_some(column.values)}{gaps}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", … ({len(names)})" if len(names) > 6 else "")
