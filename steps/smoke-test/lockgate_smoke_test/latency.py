"""Measure the latency of single-row requests."""

import math
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice

from lockgate_policy import Interval, SmokeRule, asked
from lockgate_step import Reason

from lockgate_smoke_test.checks import Failed, Finding, Measured, Version

_WARM_UP = 20  # the first requests are slower: they open connections and fill caches


def latency(versions: Sequence[Version], rules: Sequence[SmokeRule], requests: int) -> Iterator[Finding]:
    """Measure single-row requests, one after another to each replica in turn, and judge them by the policy."""
    times = sorted(_times(versions, requests))
    measured = {f"p{share}_ms": round(_percentile(times, share), 3) for share in (50, 99)}
    yield Measured("latency", {"requests": requests, **measured, "max_ms": round(times[-1], 3)})
    standing = {rule: rule.limit.judge(Interval(*[measured[rule.measure]] * 3)) for rule in rules}
    judged = {r.key: {"standing": standing[r], **asked(r), "value": measured[r.measure]} for r in rules}
    yield Measured("rules", judged)
    for rule in rules:
        value = measured[rule.measure]
        if standing[rule] != "within":
            message = f"{rule.measure} is {value:g} over {requests} requests; {rule.source} allows {rule.limit.value:g}"
            lines = tuple(f"{name:<6} {found:10.1f}" for name, found in measured.items())
            yield Failed(Reason(rule=rule.key, message=message, lines=lines, why=rule.why, source=rule.source))


def _times(versions: Sequence[Version], requests: int) -> Iterator[float]:
    """Milliseconds of each request; the check `golden` compares the answers."""
    bodies = [versions[0].request([row]) for row in versions[0].golden["requests"]]
    for version in versions:
        for body in islice(cycle(bodies), _WARM_UP):
            version.infer(body)
    for version, body in islice(zip(cycle(versions), cycle(bodies)), requests):
        start = time.perf_counter()
        version.infer(body)
        yield 1000 * (time.perf_counter() - start)


def _percentile(ordered: Sequence[float], share: int) -> float:
    """The nearest-rank percentile, which is always a measured time."""
    return ordered[math.ceil(share / 100 * len(ordered)) - 1]
