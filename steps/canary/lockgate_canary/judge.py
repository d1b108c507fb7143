"""Judge a candidate by the policy's rules at any look: continue, refused, passed or inconclusive."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lockgate_policy import AtMost, CanaryRule, Finding, Interval, Policy, asked
from lockgate_step import BadCall, Reason

from lockgate_canary.measures import Measured, Stage, measure

Result = Literal["continue", "refused", "passed", "inconclusive"]
_MOST_REQUESTS = 10_000_000


@dataclass(frozen=True)
class Judged:
    """One rule, what was measured, and where its confidence sequence is: within the limit, beyond it, or neither.

    needed: how many requests of the candidate in all would decide the rule if the rates stay as they are; None if the
        rule is decided, if the hold is not over, or if no number up to 10 million would.
    """

    rule: CanaryRule
    measured: Measured
    standing: Finding
    needed: int | None = None


@dataclass(frozen=True)
class Judgement:
    """The result at one look, and every rule.

    alpha: the error probability of each rule. requests: those of the candidate. over: whether the hold is over.
    """

    result: Result
    judged: tuple[Judged, ...]
    alpha: float
    requests: int
    over: bool

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the candidate is refused; for an inconclusive result, which rules are undecided. Else nothing."""
        wanted = {"refused": "beyond", "inconclusive": "undecided"}.get(self.result)
        return tuple(self._reason(each) for each in self.judged if each.standing == wanted)

    @property
    def measurements(self) -> dict[str, object]:
        """Every rule's figures as JSON values, as the verdict stores them."""
        rules = {each.rule.key: _figures(each) for each in self.judged}
        return {"requests": self.requests, "hold_over": self.over, "alpha_of_each_rule": self.alpha, "rules": rules}

    def _reason(self, judged: Judged) -> Reason:
        rule = judged.rule
        lines = tuple(_lines(judged))
        return Reason(rule=rule.key, message=_sentence(judged), lines=lines, why=rule.why, source=rule.source)


def judge(policy: Policy, stages: Sequence[Stage], *, over: bool, shadow: bool = False) -> Judgement:
    """Judge every canary rule of the policy on the requests so far; it may be called as often as one likes.

    stages: one for each planned share, in order, also those that have not begun.
    over: whether the hold is over. Before that, a candidate can only be refused.
    shadow: whether the candidate's answers are copies that are compared with live's, and reach no caller.

    The error probability, 1 - confidence of the policy's settings, is divided equally over the rules. So a candidate
    that keeps every limit is refused in at most this share of canaries, whatever the number of looks; and one that does
    not is passed in at most this share.
    Errors: BadCall if the policy has no rule, or one that this rollout cannot measure.
    """
    rules = policy.canary
    _check(rules, stages, shadow)
    alpha = (1 - policy.settings.confidence) / len(rules)
    judged = [_judge(rule, stages, alpha) for rule in rules]
    standings = {each.standing for each in judged}
    result: Result = "continue"
    if "beyond" in standings:
        result = "refused"
    elif over:
        result = "inconclusive" if "undecided" in standings else "passed"
    if result == "inconclusive":
        judged = [replace(each, needed=_needed(each, stages, alpha)) for each in judged]
    return Judgement(result, tuple(judged), alpha, sum(stage.candidate.requests for stage in stages), over)


def _check(rules: Sequence[CanaryRule], stages: Sequence[Stage], shadow: bool) -> None:
    if not rules:
        msg = "the policy has no [[canary]] rule, so nothing would judge the rollout"
        raise BadCall(msg, fix='add one, e.g. measure = "error_rate", no_worse_than_live_by = 0.005, and a why')
    for rule in rules:
        if rule.measure == "disagreement_rate" and not shadow:
            msg = f"{rule.source}: disagreement_rate needs the rollout Shadow, whose answers are compared with live's"
            raise BadCall(msg, fix="use answer_shift for this rollout, or remove the rule")
    if not stages or not all(stage.ratio > 0 and math.isfinite(stage.ratio) for stage in stages):
        msg = "a canary needs at least one stage, each with a share of the requests above 0 %"
        raise BadCall(msg, fix="correct the shares of the rollout")


def _judge(rule: CanaryRule, stages: Sequence[Stage], alpha: float) -> Judged:
    measured = measure(rule, stages, alpha)
    # For no_worse_than_live_by the interval is that of what the candidate has more: at most the margin.
    finding = "undecided" if measured.interval is None else AtMost(rule.limit.value).judge(measured.interval)
    return Judged(rule, measured, finding)


def _needed(judged: Judged, stages: Sequence[Stage], alpha: float) -> int | None:
    """How many requests of the candidate would decide an undecided rule, to two digits and within 3 %."""
    if judged.standing != "undecided":
        return None
    if not any(stage.candidate.requests for stage in stages):  # assume that it answers as live does
        stages = [replace(stage, candidate=stage.live.times(stage.ratio)) for stage in stages]
    requests = sum(stage.candidate.requests for stage in stages)
    if not requests:
        return None

    def decided(factor: float) -> bool:
        more = [Stage(s.candidate.times(factor), s.live.times(factor), s.ratio) for s in stages]
        return _judge(judged.rule, more, alpha).standing != "undecided"

    few, many = 0.0, 1.0
    while not decided(many):
        few, many = many, many * 2
        if requests * many > _MOST_REQUESTS:
            return None
    while many / max(few, 1e-9) > 1.03 and few > 0:
        middle = (few + many) / 2
        few, many = (few, middle) if decided(middle) else (middle, many)
    needed = math.ceil(requests * many)
    place: int = 10 ** max(0, len(str(needed)) - 2)
    return -(-needed // place) * place


def _sentence(judged: Judged) -> str:
    rule, found = judged.rule, judged.measured
    if found.interval is None:
        missing = "live" if found.tries else "the candidate"
        return f"{rule.measure} cannot be judged: no request reached {missing}"
    if judged.standing == "beyond":
        allowed = f"{rule.source} allows {_amount(rule, rule.limit.value)}"
        return f"{rule.measure} is {_amount(rule, found.interval.value)}{_than(rule)}; {allowed}"
    cause = "too few requests" if judged.needed else "it is too close to the limit"
    return f"{rule.measure} may be beyond the limit: {cause} to decide"


def _lines(judged: Judged) -> Iterator[str]:
    """The figures: the interval and the limit, each version's value, and what would decide the rule."""
    rule, found = judged.rule, judged.measured
    if found.interval is not None:
        numbers = (found.interval.value, found.interval.low, found.interval.high, rule.limit.value)
        value, low, high, limit = (_amount(rule, each) for each in numbers)
        yield f"{value}{_than(rule)}, interval {low} to {high}; limit {limit}"
    for name, each, tries in (("candidate", found.candidate, found.tries), ("live", found.live, found.live_tries)):
        if each is not None:
            yield f"{name:<10} {_own(rule, each)} of {tries:,}"
    if found.note:
        yield found.note
    if judged.needed is not None:
        yield f"about {judged.needed:,} requests of the candidate would decide it, if the rates stay as they are"


def _than(rule: CanaryRule) -> str:
    return "" if isinstance(rule.limit, AtMost) else " more than live"


def _amount(rule: CanaryRule, value: float) -> str:
    """A value of the rule's interval, or its limit."""
    if isinstance(rule.limit, AtMost) or rule.measure == "p99_ms":
        return _own(rule, value)
    return f"{100 * value:.3g} percentage points"


def _own(rule: CanaryRule, value: float) -> str:
    """A value of one version."""
    if rule.measure != "p99_ms":
        return f"{100 * value:.3g} %"
    return f"{value:g} ms" if math.isfinite(value) else "an unknown time above the last bucket"


def _figures(judged: Judged) -> dict[str, object]:
    rule, found = judged.rule, judged.measured
    figures: dict[str, object] = {"standing": judged.standing, **asked(rule), "requests": found.tries}
    places = 3 if rule.measure == "p99_ms" else 6
    interval = found.interval or Interval(math.nan, math.nan, math.nan)
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    figures |= {name: round(value, places) if math.isfinite(value) else None for name, value in values.items()}
    figures["requests_of_live"] = found.live_tries
    if judged.standing == "undecided":
        figures["requests_to_decide"] = judged.needed
    return figures
