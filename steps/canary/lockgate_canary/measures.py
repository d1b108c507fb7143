"""Measure what a rule asks about, with the confidence sequence of its value; every measure reduces to proportions.

- `error_rate`, `refused_inputs_rate`: errors and refused inputs per request.
- `disagreement_rate`: the answers of a shadow that differ from live's, per compared answer.
- `answer_shift`: the total variation distance between the label shares of the candidate and of live. With two labels it
  is the difference between the shares of one of them.
- `p99_ms`: the 99th percentile is at most a bound if at most 1 % of the requests took longer. It is known as far as the
  buckets of the histogram tell: between two of their bounds. The test of one bound is enough, as percentiles are
  ordered (Howard and Ramdas, "Sequential estimation of quantiles", Bernoulli 28, 2022), so no alpha is divided.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from lockgate_policy import AtMost, CanaryRule, Interval
from lockgate_step import BadCall

from lockgate_canary import sequential
from lockgate_canary.counts import Counts

_TAIL = 0.01  # the share of requests above the 99th percentile
Count = Callable[[Counts], int]


@dataclass(frozen=True)
class Stage:
    """What both versions did while the candidate had one share of the requests.

    ratio: the planned requests of the candidate for each one that live answers; see `ratio_of`. It must be the plan's,
        not what was observed. If the two differ, the limits still hold, but are wider.
    """

    candidate: Counts
    live: Counts
    ratio: float


def ratio_of(share: float, *, shadow: bool = False) -> float:
    """Return the planned requests of the candidate for each one of live.

    share: of all requests, in percent. shadow: whether live answers those requests too.
    Errors: BadCall for a share that leaves one of the two without requests.
    """
    if not 0 < share <= (100 if shadow else 99):
        msg = f"a share of {share:g} % cannot be judged: candidate and live both need requests"
        raise BadCall(msg, fix="set a share from 1 to 99 %; for a shadow up to 100 %")
    return share / 100 if shadow else share / (100 - share)


@dataclass(frozen=True)
class Measured:
    """The value of a rule with its confidence sequence, and from how many requests, rows or compared answers.

    interval: None without a single request. For `no_worse_than_live_by` it is the candidate's value minus live's.
    candidate, live: the value of each version, if it has one.
    note: what the reader must know about it.
    """

    interval: Interval | None
    tries: int
    live_tries: int
    candidate: float | None = None
    live: float | None = None
    note: str = ""


def measure(rule: CanaryRule, stages: Sequence[Stage], alpha: float) -> Measured:
    """Measure what the rule asks about, with error probability alpha at all looks together.

    stages: one for each planned share, also those that have not begun.
    """
    own = isinstance(rule.limit, AtMost)
    match rule.measure:
        case "error_rate":
            return _rate(stages, _errors, _requests, alpha, own=own)
        case "refused_inputs_rate":
            return _rate(stages, _refused, _requests, alpha, own=own)
        case "disagreement_rate":
            return _rate(stages, _disagreed, _compared, alpha, own=True)
        case "answer_shift":
            return _shift(stages, alpha)
        case "p99_ms":
            return _p99(stages, alpha, rule.limit.value if own else None)
    msg = f"the measure {rule.measure} is not known"
    raise AssertionError(msg)


def _requests(counts: Counts) -> int:
    return counts.requests


def _errors(counts: Counts) -> int:
    return counts.errors


def _refused(counts: Counts) -> int:
    return counts.refused


def _compared(counts: Counts) -> int:
    return counts.compared


def _disagreed(counts: Counts) -> int:
    return counts.disagreed


def _rate(stages: Sequence[Stage], hit: Count, of: Count, alpha: float, *, own: bool) -> Measured:
    hits, tries = sum(_hits(s.candidate, hit, of) for s in stages), sum(of(s.candidate) for s in stages)
    live_hits, live_tries = sum(_hits(s.live, hit, of) for s in stages), sum(of(s.live) for s in stages)
    rate, live = hits / tries if tries else None, live_hits / live_tries if live_tries else None
    if rate is None or (live is None and not own):
        return Measured(None, tries, live_tries, rate, live)
    if own:
        low, high = (float(limit) for limit in sequential.proportion(hits, tries, alpha))
        return Measured(Interval(rate, low, high), tries, live_tries, rate, live)
    low, high = _difference(stages, hit, of, alpha)
    assert live is not None
    return Measured(Interval(rate - live, low, high), tries, live_tries, rate, live)


def _difference(stages: Sequence[Stage], hit: Count, of: Count, alpha: float) -> tuple[float, float]:
    compared = [
        sequential.Stage(
            _hits(each.candidate, hit, of), of(each.candidate), _hits(each.live, hit, of), of(each.live), each.ratio
        )
        for each in stages
    ]
    low, high = sequential.difference(compared, alpha)
    return float(low), float(high)


def _hits(counts: Counts, hit: Count, of: Count) -> int:
    """A server counts a request and its end at two moments: a reading in between can have one hit too many."""
    return min(hit(counts), of(counts))


def _shift(stages: Sequence[Stage], alpha: float) -> Measured:
    candidate, live = _together(stages)
    labels = sorted({*candidate.answers, *live.answers})
    tries, live_tries = _rows(candidate), _rows(live)
    if not tries or not live_tries:
        return Measured(None, tries, live_tries)
    distance = sum(abs(_of(label)(candidate) / tries - _of(label)(live) / live_tries) for label in labels) / 2
    labels += [""] * (len(labels) == 1)  # so far no row got another one

    # What some labels gain, others lose: the distance is the sum of the gains, and the sum of the losses. The intervals
    # of two labels mirror each other, so one statement is enough for both.
    share = alpha / (1 if len(labels) == 2 else len(labels))
    limits = np.array([_difference(stages, _of(label), _rows, share) for label in labels])
    low, high = limits.T
    at_least = max(low.clip(0).sum(), (-high).clip(0).sum())
    at_most = min(high.clip(0).sum(), (-low).clip(0).sum(), 1.0)
    return Measured(
        Interval(distance, float(min(at_least, distance)), float(max(at_most, distance))), tries, live_tries
    )


def _of(label: str) -> Count:
    return lambda counts: counts.answers.get(label, 0)


def _rows(counts: Counts) -> int:
    return sum(counts.answers.values())


def _p99(stages: Sequence[Stage], alpha: float, limit: float | None) -> Measured:
    """The candidate's percentile; without a limit of its own, what it has more than live.

    The rate of slow requests may differ between stages, and so may the candidate's share. So the candidate's percentile
    is compared with live's in the stage in which live is the fastest, and in the one in which it is the slowest.
    """
    candidate, live = _together(stages)
    tries, live_tries = sum(candidate.latency.values()), sum(live.latency.values())
    if not tries or (limit is None and not live_tries):
        return Measured(None, tries, live_tries)
    if limit is not None:
        found = _percentile(candidate, alpha)
        return Measured(found, tries, live_tries, found.value, note=_aligned(candidate, limit))
    found = _percentile(candidate, alpha / 2)
    met = [stage.live for stage in stages if any(stage.candidate.latency.values())]
    each = [_percentile(counts, alpha / 2 / len(stages)) for counts in met]
    value = _percentile(live, alpha / 2).value
    low = found.low - max(one.high for one in each)  # -inf if live's is not known yet
    high = found.high - min(one.low for one in each)
    more = found.value - value if math.isfinite(found.value + value) else max(low, 0.0)
    return Measured(Interval(more, low, high), tries, live_tries, found.value, value)


def _percentile(counts: Counts, alpha: float) -> Interval:
    """The 99th percentile: its bucket's upper bound, and the bounds between which it surely is.

    It is above the lower bound, not equal to it; so the lower limit is the next larger number.
    """
    bounds = sorted(bound for bound in counts.latency if math.isfinite(bound))
    tries = sum(counts.latency.values())
    above = [sum(number for at, number in counts.latency.items() if at > bound) for bound in bounds]
    over = [bool(sequential.rejects(number, tries, _TAIL, 1, alpha / 2)) for number in above]
    under = [bool(sequential.rejects(number, tries, _TAIL, -1, alpha / 2)) for number in above]
    low = max((math.nextafter(bound, math.inf) for bound, yes in zip(bounds, over, strict=True) if yes), default=0.0)
    high = min((bound for bound, yes in zip(bounds, under, strict=True) if yes), default=math.inf)
    enough = (bound for bound, number in zip(bounds, above, strict=True) if number <= _TAIL * tries)
    return Interval(min(enough, default=math.inf), low, high)


def _aligned(counts: Counts, limit: float) -> str:
    """A note if the limit is inside a bucket: then it is not known which of its requests took longer."""
    below = max((bound for bound in counts.latency if bound < limit), default=0.0)
    above = min((bound for bound in counts.latency if bound >= limit), default=math.inf)
    if above == limit:
        return ""
    only = f"the rule holds only if the 99th percentile is at most {below:g} ms"
    if math.isinf(above):
        return f"{limit:g} ms is above the largest bound of the buckets: {only}"
    return f"{limit:g} ms is inside the bucket from {below:g} to {above:g} ms: {only}; set the limit to {above:g} ms"


def _together(stages: Sequence[Stage]) -> tuple[Counts, Counts]:
    return sum((s.candidate for s in stages), Counts()), sum((s.live for s in stages), Counts())
