"""What a program answers: a gate judges, other signing programs record."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason to refuse: which rule, what was found, why the rule exists.

    rule: the rule's stable key, e.g. `bias:sex:selection_rate_difference`; a waiver names it.
    message: one sentence, no row's value.
    lines: the finding in figures, one line each, as the terminal shows them.
    source: where the rule stands, e.g. `policy.toml:11`.
    """

    rule: str
    message: str
    lines: tuple[str, ...] = ()
    why: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The common part of a gate's three answers.

    subjects: name -> `sha256:<hex>` of everything that was judged.
    measurements: the evidence as JSON values; counts and rates only.
    notes: what the reader must know though it does not refuse.
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
            msg = "a gate that passes has no reason to refuse"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Refused(Judgement):
    """At least one rule does not hold."""

    def __post_init__(self) -> None:
        if not self.reasons:
            msg = "a gate that refuses says why"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Inconclusive(Judgement):
    """No rule is broken for certain, but at least one cannot be decided on this data."""

    def __post_init__(self) -> None:
        if not self.reasons:
            msg = "a gate that cannot decide says why"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a program that signs but is no gate attests: `kind` is `data`, `answers` or `bundle`."""

    kind: str
    subjects: Mapping[str, str]
    predicate: Mapping[str, object]


Outcome = Record | Passed | Refused | Inconclusive
