"""What a program that signs returns: a gate a verdict, any other program a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason to refuse: the rule, what was found, and why the rule exists.

    rule: the rule's stable key, e.g. `bias:sex:selection_rate_difference`; a waiver names it.
    message: one sentence, without values of a row.
    lines: the figures, one line each, as the terminal shows them.
    source: the place of the rule, e.g. `policy.toml:11`.
    """

    rule: str
    message: str
    lines: tuple[str, ...] = ()
    why: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The common part of a gate's results.

    subjects: name -> `sha256:<hex>` of everything that was judged.
    measurements: the evidence as JSON values; counts and rates only.
    notes: what the reader must know but is not a reason to refuse.
    """

    model: str
    subjects: Mapping[str, str]
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    measurements: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Passed(Judgement):
    """Every rule holds."""

    def __post_init__(self) -> None:
        if self.reasons:
            msg = "Passed cannot have reasons"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class NotJudged(Judgement):
    """No rule of the policy can refuse: nothing was judged, so nothing has passed. The run continues, and says so."""

    def __post_init__(self) -> None:
        if self.reasons:
            msg = "NotJudged cannot have reasons"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Refused(Judgement):
    """At least one rule does not hold."""

    def __post_init__(self) -> None:
        if not self.reasons:
            msg = "Refused needs at least one reason"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Inconclusive(Judgement):
    """No rule is certainly broken, but at least one cannot be decided on these data."""

    def __post_init__(self) -> None:
        if not self.reasons:
            msg = "Inconclusive needs at least one reason"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a program that signs but is not a gate returns.

    kind: `data`, `answers`, `bundle`, `staged` or `promotion`.
    """

    kind: str
    subjects: Mapping[str, str]
    predicate: Mapping[str, object]


Outcome = Record | Passed | NotJudged | Refused | Inconclusive
