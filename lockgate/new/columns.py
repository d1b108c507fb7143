"""Guess from a column's values whether it is a number, a category, or to be left out."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from lockgate_step import Category, Number

MANY = 50_000  # the maximum of different values of one column to count; beyond it, only their traits are kept
LISTED = 60  # the maximum of categories per column
SUPPORT = 10  # with fewer rows, a value is rare and its count is not shown
_LONGEST = 60  # the maximum of characters in a category

# Spellings of a missing value. The second set may be answers ("None" of the above), so it counts only among numbers.
MISSING = frozenset({"", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "<NA>"})
AMONG_NUMBERS = frozenset({"None", "none", "-", "--", "."})

_DATE = re.compile(r"\d{4}[-/]\d{1,2}([-/]\d{1,2}([ T]\d.*)?)?|\d{1,2}[-/]\d{1,2}[-/]\d{2,4}")
_PADDED = re.compile(r"[+-]?0\d+")  # a code such as 00501, although float() accepts it
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# The grounds of discrimination, in the words of column names in English and French.
_GROUNDS = """
sex sexe gender genre race racial racialized ethnicity ethnicite ethnic ethnie ethnique age ages religion religious
religieux croyance disability disabled disabilities handicap invalidite incapacite marital matrimonial married marie
citizenship citizen citoyennete nationality nationalite national immigrant immigration refugee refugie indigenous
autochtone aboriginal native inuit metis language langue langues province provincial postal zip zipcode orientation
pregnant pregnancy enceinte grossesse veteran birth birthdate born naissance origin origine minority minorite
"""
_NUMBERS_OF_PEOPLE = "id ids uuid guid identifier identifiant sin nas ssn matricule index rowid"
_SENSITIVE = frozenset(_GROUNDS.split())
_IDENTIFIER = frozenset(_NUMBERS_OF_PEOPLE.split())


@dataclass(frozen=True)
class LeftOut:
    """A column that is neither an input nor sensitive, and the reason."""

    why: str


Guess = Number | Category | LeftOut


@dataclass
class Tally:
    """The counts and traits of one column so far; its memory does not grow with the number of rows.

    most: the maximum of different values to count.
    """

    most: int = MANY
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    many: bool = False
    unique: bool = True
    low: float = math.inf
    high: float = -math.inf
    whole: bool = True
    padded: bool = False
    texts: int = 0
    dates: int = 0
    longest: int = 0
    braces: bool = False

    def add(self, values: Collection[str]) -> None:
        """Add the values of more rows."""
        self.rows += len(values)
        seen = Counter(values)
        for value in seen.keys() - self.counts.keys():
            self._look(value)
        if self.many:
            return
        self.counts.update(seen)
        if len(self.counts) > self.most:
            self.many, self.unique = True, self.counts.total() - len(self.counts) < len(self.counts) // 100
            self.counts = Counter({value: self.counts[value] for value in MISSING & self.counts.keys()})

    def missing(self, spellings: Collection[str]) -> int:
        """The number of rows with a missing value; if `many`, only among the first rows."""
        return sum(self.counts[spelling] for spelling in spellings)

    def _look(self, value: str) -> None:
        if value in MISSING or value in AMONG_NUMBERS:
            return
        number = parsed(value)
        if number is None:
            self.texts += 1
            self.dates += _DATE.fullmatch(value) is not None
            self.longest = max(self.longest, len(value))
            self.braces |= "{{" in value
        else:
            self.low, self.high = min(self.low, number), max(self.high, number)
            self.whole &= number.is_integer()
            self.padded |= _PADDED.fullmatch(value.strip()) is not None


def parsed(text: str) -> float | None:
    """Parse a finite number as `ingest` does; None if the text is not one."""
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return number + 0.0 if math.isfinite(number) else None


def spellings(tallies: Iterable[Tally]) -> tuple[str, ...]:
    """The file's spellings of a missing value: those that always mean it, and those found among numbers."""
    found: set[str] = set()
    for tally in tallies:
        found |= MISSING & tally.counts.keys()
        if _numeric(tally):
            found |= AMONG_NUMBERS & tally.counts.keys()
    return tuple(sorted(found | {""}))


def guess(name: str, tally: Tally, missing: Collection[str], *, sensitive: bool = False) -> Guess:
    """Guess what one column is. Every value in the file fits the guess, so the data pass the checks derived from it.

    missing: the file's spellings of a missing value.
    sensitive: the column groups people, so a few whole numbers become categories.
    """
    values = {value: count for value, count in tally.counts.items() if value not in missing}
    if not tally.many and len(values) < 2:
        return LeftOut("the same value in every row" if values else "no value in any row")
    gaps = tally.missing(missing) > 0
    if _numeric(tally):
        if tally.padded:
            return _category(tally, values, gaps=gaps)
        if _identifies(name, tally, values):
            return LeftOut("an identifier: a different value in every row")
        if sensitive and not tally.many and tally.whole and len(values) <= SUPPORT:
            return _category(tally, values, gaps=gaps)
        bands = _bands(values, tally.low, tally.high, name) if sensitive else ()
        if sensitive and not bands:
            return LeftOut("sensitive, but its values cannot be split into bands: group them first")
        low, high = widened(tally.low, tally.high, whole=tally.whole)
        return Number(low=low, high=high, whole=tally.whole, missing=gaps, bands=bands)
    return _category(tally, values, gaps=gaps)


def looks_sensitive(name: str) -> bool:
    """Whether a column is named like a ground of discrimination, in English or French."""
    return bool(_SENSITIVE & words(name))


def looks_like_identifier(name: str) -> bool:
    """Whether a column is named like the identifier of a person or a case."""
    return bool(_IDENTIFIER & words(name))


def words(name: str) -> set[str]:
    """Split a column's name into words without accents: `ÂgeBénéficiaire_no` is age, beneficiaire, no."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return {word.casefold() for word in _WORDS.findall(plain)}


def widened(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Widen the range of a column by a tenth to round numbers, without crossing zero."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    margin = (high - low or abs(high)) / 10
    if not 1e-300 <= margin <= 1e300:  # rounding would overflow or underflow
        return low, high
    step = 10.0 ** round(math.log10(margin))
    step = max(step, 1.0) if whole else step
    lower = max(low - margin, 0.0) if low >= 0 else low - margin
    upper = min(high + margin, 0.0) if high <= 0 else high + margin
    below, above = (f"{turn(end / step) * step:.12g}" for turn, end in ((math.floor, lower), (math.ceil, upper)))
    # A quotient is not exact, so its floor may be above the lowest value.
    return min(low, float(below)), max(high, float(above))


def _numeric(tally: Tally) -> bool:
    return not tally.texts and tally.low <= tally.high


def _category(tally: Tally, values: Mapping[str, int], *, gaps: bool) -> Category | LeftOut:
    if tally.dates and tally.dates == tally.texts:
        return LeftOut("dates: a new date would be refused; convert it to a number, such as the days since then")
    if tally.texts and tally.texts < 20 and tally.low < tally.high and len(values) > LISTED:
        return LeftOut(f"numbers, except {tally.texts} other spellings: correct them, or list them in `missing`")
    if tally.many or len(values) > LISTED:
        return LeftOut(f"text with more than {LISTED} different values: group them first")
    if tally.longest > _LONGEST:
        return LeftOut("free text")
    if tally.braces:
        return LeftOut("its values contain two opening braces, which Argo would replace as a parameter")
    if max(values.values()) < 2 * SUPPORT:
        return LeftOut(f"no value is common enough to learn from (at least {2 * SUPPORT} rows)")
    return Category(values=tuple(sorted(values)), missing=gaps)


def _identifies(name: str, tally: Tally, values: Mapping[str, int]) -> bool:
    """Whether every row has a different whole number, and they are dense or the name says so; amounts differ too."""
    if not tally.whole or tally.rows < 2 * SUPPORT:
        return False
    if tally.many:
        return tally.unique and (looks_like_identifier(name) or tally.high - tally.low < 2 * tally.rows)
    dense = tally.high - tally.low < 2 * len(values)
    return len(values) == sum(values.values()) and (looks_like_identifier(name) or dense)


def _bands(values: Mapping[str, int], low: float, high: float, name: str) -> tuple[float, ...]:
    """The edges of bands of which each has a row: an empty band could never be judged.

    low, high: the lowest and the highest value.
    """
    seen = ((parsed(value), count) for value, count in values.items())
    numbers = sorted(number for value, count in seen if value is not None for number in [value] * count)
    if "age" in words(name):
        edges = [25.0, 40.0, 60.0]
    else:
        edges = [float(f"{numbers[len(numbers) * part // 4]:.2g}") for part in (1, 2, 3)] if numbers else []
    kept: list[float] = []
    for edge in sorted(set(edges)):
        start = kept[-1] if kept else -math.inf
        below = any(start <= number < edge for number in numbers) if numbers else low < edge
        if below and edge <= high:
            kept.append(edge)
    return tuple(kept)
