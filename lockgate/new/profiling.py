"""Read a CSV file once and guess a model from it: types, labels, sensitive columns, groups and proxies."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate_step import Category, Column, Split, named

from lockgate.errors import BadCall, UnknownName
from lockgate.new.columns import MANY, SUPPORT, LeftOut, Tally, guess, looks_like_identifier, looks_sensitive, spellings
from lockgate.new.groups import Group, count_groups
from lockgate.new.labels import Label, find_labels
from lockgate.new.proxies import Proxy, find_proxies, find_telling
from lockgate.new.reading import Source, open_csv

_SAMPLE = 20_000  # rows to find proxies with; fewer if there are many columns
_SAMPLED = 2_000_000  # cells
_COUNTED = 4_000_000  # different values of all columns together
_PAIRS = 100_000  # the maximum of different (value, label) pairs to count per sensitive column


@dataclass(frozen=True)
class Profile:
    """All guesses about a file.

    unlabelled: the number of rows without a label. sample: rows of the file, at most 20,000.
    key: the column that identifies a row's subject, if there is one.
    left_out: column -> reason. rare: column -> number of rare categories.
    telling: input -> how strongly it alone tells the label, from 0 to 1; it may be known only afterwards.
    repeated: name -> number of columns with it, which have the same values in every row and so are one column.
    """

    source: Source
    rows: int
    unlabelled: int
    sample: Sequence[Sequence[str]]
    target: str
    positive: Label
    negative: Label
    positive_was_given: bool
    inputs: Mapping[str, Column]
    sensitive: Mapping[str, Column]
    left_out: Mapping[str, str]
    missing: tuple[str, ...]
    repeated: Mapping[str, int]
    key: str | None
    groups: Mapping[str, Sequence[Group]]
    proxies: Sequence[Proxy]
    telling: Mapping[str, float]
    rare: Mapping[str, int]

    @property
    def test_share(self) -> float:
        """The share of rows that the gates test on."""
        return Split().test_share

    def sampled(self, name: str) -> list[str]:
        """The values of a column in the sample."""
        at = self.source.header.index(name)
        return [row[at] for row in self.sample]

    def to_json(self) -> dict[str, Any]:
        """The profile as JSON values, without counts of groups below ten."""
        return {
            "file": self.source.path.name,
            "delimiter": self.source.delimiter,
            "rows": self.rows,
            "unlabelled": self.unlabelled if not 0 < self.unlabelled < SUPPORT else None,
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
            "repeated": dict(self.repeated),
            "key": self.key,
            "groups": {
                name: [group.to_json(self.test_share) for group in groups] for name, groups in self.groups.items()
            },
            "proxies": [{"column": p.column, "of": p.of, "strength": round(p.strength, 2)} for p in self.proxies],
            "telling": {name: round(strength, 2) for name, strength in self.telling.items()},
            "rare": dict(self.rare),
        }


def profile(path: Path, target: str, *, positive: str | None = None, sensitive: Sequence[str] | None = None) -> Profile:
    """Read the file once and guess a model.

    positive: the label that counts as selected; if None, the one that reads so (yes, granted), else the rarer one.
    sensitive: the columns to audit by; if None, guessed by their names.
    Errors: BadCall, if a model of two labels cannot be made from the file.
    """
    source = open_csv(path)
    named = _named(source, target, sensitive)
    seen = _read(source, target, named)
    _check_repeated(source, seen, (target, *(sensitive or ())))
    missing = spellings(seen.tallies.values())
    yes, no = find_labels(seen.tallies[target], target, positive, missing)
    guesses = {
        name: _differs(source, name) if name in seen.differ else guess(name, tally, missing, sensitive=name in named)
        for name, tally in seen.tallies.items()
        if name not in ("", target)
    }
    key = _key(seen, guesses)
    inputs = {n: g for n, g in guesses.items() if not isinstance(g, LeftOut) and n not in named and n != key}
    protected = {n: g for n, g in guesses.items() if not isinstance(g, LeftOut) and n in named}
    if not inputs:
        msg = f"{path.name} has no column that can predict {target}"
        raise BadCall(msg, fix=_why_none(guesses, named))
    left_out = {name: found.why for name, found in guesses.items() if isinstance(found, LeftOut)}
    left_out |= {"(no name)": "it has no name in the header"} if "" in source.header else {}
    if key:
        left_out[key] = "an identifier, used to keep the rows of one subject on the same side of the split"
    at, selected = source.header.index(target), {yes.name, *yes.spellings}
    labelled = [row for row in seen.sample if row[at] not in missing]
    return Profile(
        source=source,
        rows=seen.rows,
        unlabelled=seen.tallies[target].missing(missing),
        sample=seen.sample,
        target=target,
        positive=yes,
        negative=no,
        positive_was_given=positive is not None,
        inputs=inputs,
        sensitive=protected,
        left_out=left_out,
        missing=missing,
        repeated={
            name: len(at) for name, at in source.places.items() if name and len(at) > 1 and name not in seen.differ
        },
        key=key,
        groups={n: count_groups(column, seen.pairs[n], yes, missing) for n, column in protected.items()},
        proxies=find_proxies(seen.sample, source.header, inputs, protected, missing),
        telling=find_telling(labelled, source.header, inputs, [row[at] in selected for row in labelled], missing),
        rare={
            name: rare
            for name, column in {**inputs, **protected}.items()
            if isinstance(column, Category)
            and (rare := sum(seen.tallies[name].counts[value] < SUPPORT for value in column.values))
        },
    )


@dataclass
class _Seen:
    """The counts and the sample from one pass over the file. differ: repeated names of columns that are not equal."""

    tallies: Mapping[str, Tally]
    pairs: Mapping[str, Counter[tuple[str, str]]]
    sample: list[list[str]]
    rows: int = 0
    differ: set[str] = field(default_factory=set)


def _check_repeated(source: Source, seen: _Seen, wanted: Sequence[str]) -> None:
    """Refuse a named column if it is unclear which one it is. Errors: BadCall."""
    for name in wanted:
        if name in seen.differ:
            msg = f"{source.path.name} has {len(source.places[name])} columns {name!r} with different values"
            raise BadCall(msg, fix=f"{_renaming(source, name)}, then run the same command again")


def _differs(source: Source, name: str) -> LeftOut:
    return LeftOut(
        f"the name of {len(source.places[name])} columns that differ; to use them, {_renaming(source, name)}"
    )


def _renaming(source: Source, name: str) -> str:
    *some, last = (str(at + 1) for at in source.places[name])
    return f"give columns {', '.join(some)} and {last} different names in the first line of the file"


def _named(source: Source, target: str, sensitive: Sequence[str] | None) -> list[str]:
    names = [name for name in source.header if name]
    for column in (target, *(sensitive or ())):
        if column not in names:
            raise UnknownName("column", column, names)
    if sensitive is not None and target in sensitive:
        msg = f"{target} is the target, so it cannot be a column to audit by"
        raise BadCall(msg, fix="remove it from --sensitive")
    guessed = [name for name in names if name != target and looks_sensitive(name)]
    return guessed if sensitive is None else list(dict.fromkeys(sensitive))


def _read(source: Source, target: str, sensitive: Sequence[str]) -> _Seen:
    places = source.places
    at = {name: place for name, (place, *_) in places.items()}
    repeated = {name: found for name, found in places.items() if name and len(found) > 1}
    most, size = min(MANY, max(1000, _COUNTED // len(at))), min(_SAMPLE, max(1000, _SAMPLED // len(at)))
    seen = _Seen({name: Tally(most) for name in at}, {name: Counter() for name in sensitive}, [])
    draw = random.Random(0)  # noqa: S311 - a reproducible sample, not a secret
    for piece in source.pieces():
        columns = list(zip(*piece, strict=True))
        for name, tally in seen.tallies.items():
            tally.add(columns[at[name]])
        seen.differ |= {name for name, found in repeated.items() if len({columns[place] for place in found}) > 1}
        for name, pairs in seen.pairs.items():
            if len(pairs) <= _PAIRS:
                pairs.update(zip(columns[at[name]], columns[at[target]], strict=True))
        for row in piece:
            seen.rows += 1
            if len(seen.sample) < size:
                seen.sample.append(row)
            elif (place := draw.randrange(seen.rows)) < size:
                seen.sample[place] = row
    if not seen.rows:
        msg = f"{source.path.name} has a header but no rows"
        raise BadCall(msg, fix="use a file with rows")
    return seen


def _key(seen: _Seen, guesses: Mapping[str, Column | LeftOut]) -> str | None:
    """The column that identifies a row's subject: named so, with several rows per value, and many values."""
    for name in guesses:
        tally = seen.tallies[name]
        several = not tally.many and tally.rows > len(tally.counts) > tally.rows / 20
        if looks_like_identifier(name) and several:
            return name
    return None


def _why_none(guesses: Mapping[str, Column | LeftOut], sensitive: Sequence[str]) -> str:
    first = next((f"{name}: {found.why}" for name, found in guesses.items() if isinstance(found, LeftOut)), "")
    if sensitive and not first:
        return "every column is sensitive; list with --sensitive only the columns to audit by"
    return first or "use a file with more columns"
