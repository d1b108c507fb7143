"""Decide whether and when a failed node is retried.

Like processNodeRetries of the workflow controller, with one difference that no record shows. The controller waits for
the end of the backoff before it evaluates policy, limit and expression, although these depend only on the attempts,
which no longer change. Here they are evaluated first, so a run waits only if another attempt follows. Phase, message
and attempts are the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate.engine.expressions import decide, expand
from lockgate.engine.record import Node, Phase

POLICIES = ("Always", "OnFailure", "OnError")
SAMPLE = {
    "retries": "0",
    "lastRetry.exitCode": "1",
    "lastRetry.status": "Failed",
    "lastRetry.duration": "1",
    "lastRetry.message": "",
}
_FIRST = {"lastRetry.exitCode": "0", "lastRetry.duration": "0"}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True)
class Again:
    """Retry now."""


@dataclass(frozen=True)
class Wait:
    """Decide again at this time."""

    until: float
    message: str


@dataclass(frozen=True)
class Ended:
    """No further attempt."""

    phase: Phase
    message: str


def duration(text: str) -> float:
    """Return the seconds of a number, or of a string such as `1m30s`.

    Errors: ValueError.
    """
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        message = f"unable to parse {text} as a duration"
        raise ValueError(message)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _variables(attempts: Sequence[Node], exit_code: str) -> dict[str, str]:
    last = attempts[-1]
    return {
        "retries": str(len(attempts) - 1),
        "lastRetry.exitCode": str(last.outputs.get("exitCode", exit_code)),
        "lastRetry.status": last.phase,
        "lastRetry.duration": f"{last.seconds:.9g}",
        "lastRetry.message": last.message,
    }


def next_variables(attempts: Sequence[Node]) -> dict[str, str | None]:
    """Return `retries` and `lastRetry.*` for the template of the next attempt."""
    last = _variables(attempts, "0") if attempts else dict.fromkeys(SAMPLE, "") | _FIRST
    return {**last, "retries": str(len(attempts))}


def policy(strategy: Mapping[str, Any]) -> str:
    """Return the retry policy of a strategy, or its default."""
    return str(strategy.get("retryPolicy") or ("Always" if strategy.get("expression") else "OnFailure"))


def after(attempts: Sequence[Node], strategy: Mapping[str, Any], now: float) -> Again | Wait | Ended:
    """Decide what follows after these attempts, of which the last failed.

    Errors: ExpressionError, ValueError: the node is in error.
    """
    limit = None if strategy.get("limit") is None else int(strategy["limit"])
    backoff = strategy.get("backoff")
    pause = _backoff(attempts, backoff, limit, now) if backoff else None
    if isinstance(pause, Ended):
        return pause
    return _refused(attempts, strategy, limit) or pause or Again()


def _refused(attempts: Sequence[Node], strategy: Mapping[str, Any], limit: int | None) -> Ended | None:
    last = attempts[-1]
    if (last.phase, policy(strategy)) in (("Failed", "OnError"), ("Error", "OnFailure")):
        return Ended(last.phase, last.message)
    if limit is not None and len(attempts) > limit:
        return Ended(last.phase, "No more retries left")
    expression = strategy.get("expression")
    if expression and not decide(expression, expand(_variables(attempts, "-1"))):
        return Ended(last.phase, "retryStrategy.expression evaluated to false")
    return None


def _backoff(
    attempts: Sequence[Node], backoff: Mapping[str, Any], limit: int | None, now: float
) -> Wait | Ended | None:
    last = attempts[-1]
    ends = None
    if backoff.get("maxDuration"):
        ends = (attempts[0].started_at or now) + duration(str(backoff["maxDuration"]))
        if now > ends:
            return Ended(last.phase, "Max duration limit exceeded")
    pause = duration(str(backoff["duration"]))
    factor = int(backoff.get("factor") or 0)
    if factor > 0:
        pause *= float(factor) ** (len(attempts) - 1)
    if backoff.get("cap"):
        pause = min(pause, duration(str(backoff["cap"])))
    until = (last.finished_at or now) + pause
    if ends is not None and until > ends:
        return Ended(last.phase, "Backoff would exceed max duration limit")
    # The controller does not wait without a limit, or after the last attempt.
    if now < until and limit is not None and len(attempts) <= limit:
        return Wait(until, f"Backoff for {pause:g} seconds")
    return None
