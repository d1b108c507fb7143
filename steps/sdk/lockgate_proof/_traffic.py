"""Shares of traffic: the signed record of `canary` says which requests a version gets before it is promoted.

It holds for minutes only. If the gate ends without a word, whoever follows the record sends everything back to live.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lockgate_step import (
    ABTest,
    Canary,
    Judged,
    Record,
    Rollout,
    Shadow,
    SpecError,
    is_digest,
    read_rollout,
    read_time,
)

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust

CANARY = "canary"
CANARY_STATE, CANARY_STATE_KIND = "canary.json", "canary-state"  # what a rollout has counted, among its run's records
LIFETIME = timedelta(minutes=2)  # the longest; the gate signs a new record before it ends
_LARGEST = 1 << 16  # bytes of a record
_FIX = "find out who wrote traffic.json in the store, then start the run again"


@dataclass(frozen=True)
class Traffic:
    """The requests that a version gets beside the live one, as `canary` signed them.

    rollout: with the one share of now. live: the bundle and the generation that it is compared with.
    run, uid: of the run that tries it. until: when everything goes back to live.
    """

    model: str
    bundle: str
    rollout: Judged
    live: Mapping[str, Any]
    run: str
    uid: str
    until: datetime

    @property
    def share(self) -> int:
        """The percentage of the requests, or of the callers."""
        return self.rollout.shares[0] if isinstance(self.rollout, Canary) else self.rollout.share


def traffic(said: Traffic) -> Record:
    """Return the record of a share of the traffic; `canary` signs it, with its run."""
    predicate = {
        "model": said.model,
        "rollout": said.rollout.to_json(),
        "live": dict(said.live),
        "uid": said.uid,
        "until": said.until.isoformat(),
    }
    return Record(kind="traffic", subjects={"bundle": said.bundle}, predicate=predicate)


def read_traffic(content: bytes, trust: Trust, *, model: str, now: datetime | None = None) -> Traffic | None:
    """Verify the record of a share of the traffic; None if it has ended.

    Errors: ProofError if canary did not sign it for this model, or for too long.
    """
    now = now or datetime.now(UTC)
    try:
        if len(content) > _LARGEST:
            raise ValueError(len(content))
        found = _read(verify(content, trust, signer=CANARY, kind="traffic", name="traffic.json"))
    except (ValueError, KeyError, TypeError, AttributeError, SpecError) as error:
        msg = f"traffic.json of {model} does not state a share of the traffic"
        raise ProofError(msg, fix=_FIX) from error
    if found.model != model:
        msg = f"traffic.json of {model} is about {found.model}"
        raise ProofError(msg, fix=_FIX)
    if found.until > now + LIFETIME:
        msg = f"traffic.json of {model} holds until {found.until:%Y-%m-%d %H:%M:%S}, longer than canary may sign"
        raise ProofError(msg, fix=_FIX)
    return found if now < found.until else None


def in_force(
    content: bytes | None, trust: Trust, *, model: str, run: str, bundle: str, live: Mapping[str, Any]
) -> Traffic | None:
    """Return the share of the traffic that a run's candidate has beside the live version now; None if it has none.

    live: the bundle and the generation that serve users.
    Errors: ProofError as for `read_traffic`.
    """
    said = read_traffic(content, trust, model=model) if content is not None else None
    if said is None or (said.bundle, said.run) != (bundle, run):
        return None
    return said if (said.live["bundle"], said.live["generation"]) == (live["bundle"], live["generation"]) else None


def _read(statement: Statement) -> Traffic:
    said, bundle = statement.predicate, statement.subjects.get("bundle")
    live = {"bundle": said["live"]["bundle"], "generation": said["live"]["generation"]}
    texts = [said["model"], said["run"], said["uid"]]
    rollout = _judged(said["rollout"])
    one = not isinstance(rollout, Canary) or len(rollout.shares) == 1
    stated = is_digest(bundle) and is_digest(live["bundle"]) and type(live["generation"]) is int
    if not (stated and one and all(isinstance(each, str) and each for each in texts)):
        raise ValueError(bundle)
    return Traffic(texts[0], str(bundle), rollout, live, texts[1], texts[2], read_time(said["until"]))


def _judged(value: Mapping[str, Any]) -> Judged:
    """Read a rollout that the gate judges. Errors: as for `read_rollout`; ValueError for another one."""
    found: Rollout = read_rollout(value)
    if not isinstance(found, Canary | ABTest | Shadow):
        raise ValueError(found)
    return found
