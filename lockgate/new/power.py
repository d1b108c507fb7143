"""State before a run how often a fair model would pass each bias rule with the groups of the data."""

import csv
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lockgate_policy import (
    LIKELY,
    AtLeast,
    AtMost,
    BiasRule,
    Policy,
    Settings,
    chance_to_pass,
    limit_to_decide,
    rows_to_decide,
)
from lockgate_step import Data, LockgateError, Records, unpacked

from lockgate.definition.model import ModelSpec
from lockgate.new.groups import Group, group_of

_SEARCHED = 6  # groups: with more, the search for the number of rows takes seconds
_LARGEST = 64 << 20  # bytes of a data file that `lockgate render` reads
_FOUND = 0.7  # the assumed rate of a model's right answers: no model has answered yet
_SHORT = {
    "selection_rate_difference": "selection rates",
    "selection_rate_ratio": "the ratio of selection rates",
    "true_positive_rate_difference": "true positive rates",
    "false_positive_rate_difference": "false positive rates",
    "equalized_odds_difference": "error rates",
    "accuracy_difference": "accuracies",
}


@dataclass(frozen=True)
class Power:
    """How often a fair model passes a rule, and what would decide it.

    chance: from 0 to 1. rows: of the whole data, so that it passes at least 80 % of the time; None if unknown or never.
    wider: the limit with which it does, with these groups; None if none up to 0.5 is wide enough.
    small: the groups that are too small to judge.
    """

    measure: str
    limit: float
    chance: float
    rows: int | None
    wider: float | None
    small: tuple[str, ...]

    @property
    def about(self) -> str:
        """What the rule compares, in words."""
        return _SHORT[self.measure]

    @property
    def decides(self) -> bool:
        """Whether a fair model likely passes."""
        return self.chance >= LIKELY

    @property
    def words(self) -> str:
        """One sentence, without a subject: `a fair model passes 6 % of the time …`."""
        bound = "at least" if self.measure.endswith("_ratio") else "within"
        said = f"{self.about} {bound} {self.limit:g}: a fair model passes {100 * self.chance:.0f} % of the time"
        if self.decides:
            return said
        if self.small:
            some = ", ".join(self.small[:4]) + (f" and {len(self.small) - 4} more" if len(self.small) > 4 else "")
            said += f", because of too few rows of {some}"
        wider = "" if self.wider is None else f"a limit of {self.wider:g}"
        if self.limit in (0, 1) and self.limit == (1 if self.measure.endswith("_ratio") else 0):
            said += f"; no number of rows can show exactly {self.limit:g}"
        elif self.rows:
            return f"{said}; about {self.rows:,} rows in all{f', or {wider},' if wider else ''} would decide it"
        return f"{said}; {wider} would decide it" if wider else said


def power(groups: Sequence[Group], share: float, measure: str, limit: float, settings: Settings | None = None) -> Power:
    """Compute the power of a rule. share: the share of the rows that are tested."""
    settings = settings or Settings()
    chance, needed = 1.0, list[float]()
    small: dict[str, None] = {}
    rates = list(_denominators(groups, share, measure))
    for sizes, rate in rates:
        chance *= chance_to_pass(sizes, rate, limit, measure, settings=settings)
        support = settings.minimum_support
        small |= dict.fromkeys(group.name for group, size in zip(groups, sizes, strict=True) if size < support)
        needed.append(_needed(sizes, rate, limit, measure, settings))
    rows = sum(group.rows for group in groups)
    factor = max(needed) if all(needed) else 0
    wanted = None if not factor else _rounded(rows * factor)
    if chance >= LIKELY:
        return Power(measure, limit, chance, None, None, tuple(small))
    wider = None if small else limit_to_decide(rates, measure, settings=settings)
    return Power(measure, limit, chance, wanted, wider, tuple(small))


def _denominators(groups: Sequence[Group], share: float, measure: str) -> Iterator[tuple[list[int], float]]:
    """The test rows of each group in the denominator of each rate, and the rate that is assumed for a fair model."""
    positive = [round(group.positive * share) for group in groups]
    negative = [round(group.negative * share) for group in groups]
    every = [round(group.rows * share) for group in groups]
    if measure.startswith("selection"):
        yield every, sum(group.positive for group in groups) / max(1, sum(group.rows for group in groups))
    elif measure.startswith("accuracy"):
        yield every, _FOUND
    if measure.startswith(("true", "equalized")):
        yield positive, _FOUND
    if measure.startswith(("false", "equalized")):
        yield negative, 1 - _FOUND


def _needed(sizes: Sequence[int], rate: float, limit: float, measure: str, settings: Settings) -> float:
    """How many times as many rows decide a rule; 0 if unknown."""
    if min(sizes) < 1 or chance_to_pass(sizes, rate, limit, measure, settings=settings) >= LIKELY:
        return float(min(sizes) >= 1)
    if len(sizes) > _SEARCHED:
        return max(1.0, settings.minimum_support / min(sizes))
    return (rows_to_decide(sizes, rate, limit, measure, settings=settings) or 0) / sum(sizes)


def _rounded(rows: float) -> int:
    place = 10 ** max(0, len(str(int(rows))) - 2)
    return int(-(-rows // place) * place)


def stated(spec: ModelSpec, policy: Policy, folder: Path) -> list[str]:
    """Return a line for each rule that a fair model would often not pass, from the model's own data file.

    Empty if the data are not a local CSV file that can be read quickly: their groups are then not known here.
    """
    rules = [rule for rule in policy.bias if isinstance(rule.limit, AtMost | AtLeast)]
    paths = [folder / each for each in (spec.source.uri, spec.source.test) if each]
    readable = all(path.is_file() and path.stat().st_size <= _LARGEST for path in paths)
    if not rules or "://" in str(spec.source.uri) or not readable:
        return []
    try:
        counted = _counted(paths, spec, [rule.between for rule in rules])
    except (LockgateError, csv.Error, OSError, ValueError, EOFError, zlib.error):
        return []  # `ingest` says what is wrong with the file
    share = 1.0 if spec.source.test else spec.split.test_share
    found = ((rule, _of_rule(rule, counted[rule.between], share, policy)) for rule in rules)
    return [
        f"{spec.name}, {rule.source}: by {' and '.join(rule.between)}, {each.words}"
        for rule, each in found
        if not each.decides
    ]


def _of_rule(rule: BiasRule, groups: Sequence[Group], share: float, policy: Policy) -> Power:
    """Return the power of a rule, without the small groups that the policy lets it leave out."""
    found = power(groups, share, rule.measure, _limit(rule), policy.settings)
    today = datetime.now(UTC).date()
    named = {each.value for each in policy.accepted if each.column == "+".join(rule.between) and today <= each.until}
    left_out = named & set(found.small)
    if not left_out or len(groups) - len(left_out) < 2:  # with one group left, nothing can be compared
        return found
    judged = [group for group in groups if group.name not in left_out]
    return power(judged, share, rule.measure, _limit(rule), policy.settings)


def _limit(rule: BiasRule) -> float:
    return float(rule.limit.value or 0)


def _counted(
    paths: Sequence[Path], spec: ModelSpec, wanted: Sequence[tuple[str, ...]]
) -> Mapping[tuple[str, ...], Sequence[Group]]:
    """Count the groups of each of these columns, or of their intersections, in the last of the files.

    A group that the spec names, or that occurs only in another file, has no rows. bias-audit has the same groups.
    """
    found: dict[tuple[str, ...], dict[tuple[str, ...], Counter[bool]]] = {between: {} for between in wanted}
    for path in paths:
        for between, groups in _labels(path, spec, wanted).items():
            found[between] = {parts: Counter[bool]() for parts in found[between]} | groups
    for between, groups in found.items():
        for at, name in enumerate(between):
            for value in set(spec.sensitive[name].groups).difference(group[at] for group in groups):
                groups[*(value if other == at else "(any)" for other in range(len(between)))] = Counter()
    return {
        between: [Group(" & ".join(parts), counted[True], counted[False]) for parts, counted in sorted(groups.items())]
        for between, groups in found.items()
    }


def _labels(
    path: Path, spec: ModelSpec, wanted: Sequence[tuple[str, ...]]
) -> Mapping[tuple[str, ...], dict[tuple[str, ...], Counter[bool]]]:
    """Count the labels of each group of a file."""
    data, target = spec.source, spec.target
    counts: dict[tuple[str, ...], Counter[tuple[str, ...]]] = {between: Counter() for between in wanted}
    for row in _rows(path, data):
        for between, counter in counts.items():
            counter[*(row[name] for name in between), row[target.name]] += 1
    positives = {target.positive, *(each for each, label in target.spellings.items() if label == target.positive)}
    groups: dict[tuple[str, ...], dict[tuple[str, ...], Counter[bool]]] = {between: {} for between in wanted}
    for between, counter in counts.items():
        for (*values, label), count in counter.items():
            parts = [
                group_of(spec.sensitive[name], value, data.missing) for name, value in zip(between, values, strict=True)
            ]
            if label not in data.missing and None not in parts:
                groups[between].setdefault(tuple(map(str, parts)), Counter())[label in positives] += count
    return groups


def _rows(path: Path, data: Data) -> Iterator[dict[str, str]]:
    encoding = "utf-8-sig" if data.encoding.lower() in ("utf-8", "utf8") else data.encoding
    with (
        path.open("rb") as raw,
        unpacked(raw, path.name, data.limits) as plain,
        io.TextIOWrapper(plain, encoding, newline="") as text,
    ):
        rows = iter(Records(text, path.name, data.delimiter, data.limits, comment=data.comment))
        header = data.columns or [name.strip() for name in next(rows, [])]
        for row in rows:
            yield dict(zip(header, row, strict=True))
