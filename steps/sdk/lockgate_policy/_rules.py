"""The content of a policy as frozen values, and the one place where an interval is compared with a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import ClassVar, Literal

Finding = Literal["within", "beyond", "undecided"]


class PolicyError(ValueError):
    """A policy that cannot be read or does not fit its model: where, the problem, and the next action."""

    def __init__(self, where: str, problem: str, fix: str) -> None:
        super().__init__(f"{where}: {problem}; {fix}")
        self.where, self.problem, self.fix = where, problem, fix


@dataclass(frozen=True)
class Interval:
    """A measured value with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AtLeast:
    """A lower limit."""

    asks: ClassVar[str] = "at_least"
    value: float

    def judge(self, measured: Interval) -> Finding:
        """Return "within" if the whole interval reaches the limit, "beyond" if none of it does."""
        if measured.low >= self.value:
            return "within"
        return "beyond" if measured.high < self.value else "undecided"


@dataclass(frozen=True)
class AtMost:
    """An upper limit."""

    asks: ClassVar[str] = "at_most"
    value: float

    def judge(self, measured: Interval) -> Finding:
        """Return "within" if no part of the interval exceeds the limit, "beyond" if all of it does."""
        if measured.high <= self.value:
            return "within"
        return "beyond" if measured.low > self.value else "undecided"


@dataclass(frozen=True)
class NoWorseThanLive:
    """The margin by which a candidate may be worse than the live version on the same rows."""

    asks: ClassVar[str] = "no_worse_than_live"
    by: float

    @property
    def value(self) -> float:
        """The margin, under the name that every limit uses."""
        return self.by

    def judge(self, gain: Interval) -> Finding:
        """Judge the gain of the candidate over live: above 0 is better for every measure."""
        return AtLeast(-self.by).judge(gain)


@dataclass(frozen=True)
class ReportedOnly:
    """No limit: measured and shown in the report, never a reason to refuse."""

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
        """The rule's stable name, which a waiver refers to."""
        return f"quality:{self.measure}:{self.limit.asks}"


@dataclass(frozen=True)
class BiasRule:
    """One gap between groups that bias-audit measures; several columns in `between` mean their intersections."""

    between: tuple[str, ...]
    measure: str
    limit: AtLeast | AtMost | ReportedOnly
    why: str
    source: str

    @property
    def key(self) -> str:
        """The rule's stable name, which a waiver refers to."""
        return f"bias:{'+'.join(self.between)}:{self.measure}"


@dataclass(frozen=True)
class SmokeRule:
    """One measure of the running candidate that smoke-test judges."""

    measure: str
    limit: AtMost
    why: str
    source: str

    @property
    def key(self) -> str:
        """The rule's stable name, which a waiver refers to."""
        return f"smoke:{self.measure}"


@dataclass(frozen=True)
class CanaryRule:
    """One measure of the candidate under the users' requests that the gate canary judges; lower is better for each."""

    measure: str
    limit: AtMost | NoWorseThanLive
    why: str
    source: str

    @property
    def key(self) -> str:
        """The rule's stable name, which a waiver refers to."""
        return f"canary:{self.measure}:{self.limit.asks}"


def asked(rule: QualityRule | BiasRule | SmokeRule | CanaryRule) -> dict[str, str | float | None]:
    """Return a rule's limit and its line in the policy, as a verdict stores them with the measurement."""
    return {"asks": rule.limit.asks, "limit": rule.limit.value, "source": rule.source}


@dataclass(frozen=True)
class Unaudited:
    """A sensitive column that no rule measures, and the reason."""

    column: str
    why: str
    source: str


@dataclass(frozen=True)
class AcceptedOperator:
    """An ONNX operator beside those on the list, which a model's graph may use, and the reason."""

    operator: str
    why: str
    source: str


@dataclass(frozen=True)
class AcceptedSmallGroup:
    """A group that a rule may leave out because it is too small to judge, until the end of a day.

    column: the columns of the rule, joined by `+` if it has several. value: the name of the group; that of an
        intersection joins its values by ` & `.
    """

    column: str
    value: str
    why: str
    until: date
    source: str

    def covers(self, between: Sequence[str], name: str) -> bool:
        """Return whether it names this group of a rule, whatever the day."""
        return ("+".join(between), name) == (self.column, self.value)


@dataclass(frozen=True)
class Settings:
    """The confidence, smallest denominator and number of resamples of every interval."""

    confidence: float = 0.95
    minimum_support: int = 30
    resamples: int = 2000


@dataclass(frozen=True)
class Policy:
    """Every rule of one model's gates, in the order of the file."""

    quality: tuple[QualityRule, ...]
    bias: tuple[BiasRule, ...] = ()
    smoke: tuple[SmokeRule, ...] = ()
    canary: tuple[CanaryRule, ...] = ()
    unaudited: tuple[Unaudited, ...] = ()
    operators: tuple[AcceptedOperator, ...] = ()
    accepted: tuple[AcceptedSmallGroup, ...] = ()
    settings: Settings = field(default_factory=Settings)
