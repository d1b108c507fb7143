"""What a policy says, once it is read: frozen values, and the one place where an interval meets a limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

Finding = Literal["within", "beyond", "undecided"]


class PolicyError(ValueError):
    """A policy that cannot be read or does not fit its model; says where, what, and what to do next."""

    def __init__(self, where: str, problem: str, fix: str) -> None:
        super().__init__(f"{where}: {problem}; {fix}")
        self.where, self.problem, self.fix = where, problem, fix


@dataclass(frozen=True)
class Interval:
    """A measured value and the interval that the data leave open for it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AtLeast:
    """A floor."""

    asks: ClassVar[str] = "at_least"
    value: float

    def judge(self, measured: Interval) -> Finding:
        """Within when the whole interval reaches the floor, beyond when none of it does."""
        if measured.low >= self.value:
            return "within"
        return "beyond" if measured.high < self.value else "undecided"


@dataclass(frozen=True)
class AtMost:
    """A ceiling."""

    asks: ClassVar[str] = "at_most"
    value: float

    def judge(self, measured: Interval) -> Finding:
        """Within when the whole interval stays under the ceiling, beyond when none of it does."""
        if measured.high <= self.value:
            return "within"
        return "beyond" if measured.low > self.value else "undecided"


@dataclass(frozen=True)
class NoWorseThanLive:
    """How much worse than the live version a candidate may be, on the same rows."""

    asks: ClassVar[str] = "no_worse_than_live"
    by: float

    @property
    def value(self) -> float:
        """The number it sets, as every other limit names it."""
        return self.by

    def judge(self, gain: Interval) -> Finding:
        """`gain` is the candidate's advantage over live: positive is better, whatever the measure."""
        return AtLeast(-self.by).judge(gain)


@dataclass(frozen=True)
class ReportedOnly:
    """No limit: measured and shown on the report's first page, and never a reason to refuse."""

    asks: ClassVar[str] = "reported_only"
    value: ClassVar[None] = None


@dataclass(frozen=True)
class QualityRule:
    """One measure that validate-model judges."""

    measure: str
    limit: AtLeast | AtMost | NoWorseThanLive
    why: str
    source: str

    @property
    def key(self) -> str:
        """The rule's stable name, by which a waiver cites it."""
        return f"quality:{self.measure}:{self.limit.asks}"


@dataclass(frozen=True)
class BiasRule:
    """One gap between groups that bias-audit measures; `between` several columns means their intersections."""

    between: tuple[str, ...]
    measure: str
    limit: AtLeast | AtMost | ReportedOnly
    why: str
    source: str

    @property
    def key(self) -> str:
        """The rule's stable name, by which a waiver cites it."""
        return f"bias:{'+'.join(self.between)}:{self.measure}"


@dataclass(frozen=True)
class SmokeRule:
    """One limit that smoke-test measures on the running candidate."""

    measure: str
    limit: AtMost
    why: str
    source: str

    @property
    def key(self) -> str:
        """The rule's stable name, by which a waiver cites it."""
        return f"smoke:{self.measure}"


def asked(rule: QualityRule | BiasRule | SmokeRule) -> dict[str, str | float | None]:
    """What a rule asks for and where it stands, as a verdict carries it beside what was measured."""
    return {"asks": rule.limit.asks, "limit": rule.limit.value, "source": rule.source}


@dataclass(frozen=True)
class Unaudited:
    """A sensitive column that no rule measures, and the reason for that."""

    column: str
    why: str
    source: str


@dataclass(frozen=True)
class Settings:
    """How sure, how many, how often: the numbers behind every interval."""

    confidence: float = 0.95
    minimum_support: int = 30
    resamples: int = 2000


@dataclass(frozen=True)
class Policy:
    """Every rule of one model's gates, in the order of the file."""

    quality: tuple[QualityRule, ...]
    bias: tuple[BiasRule, ...] = ()
    smoke: tuple[SmokeRule, ...] = ()
    unaudited: tuple[Unaudited, ...] = ()
    settings: Settings = field(default_factory=Settings)
