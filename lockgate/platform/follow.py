"""Read from the store what to serve, and bring one model's servers to that state."""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from lockgate_proof import Traffic
from lockgate_step import ABTest, Shadow, is_digest, loads, read_time

from lockgate.platform.model_server import Child, Failing, Ready, Starting
from lockgate.platform.relay import Routed, Unserved, Upstream
from lockgate.platform.status_page import ModelView

_NOWHERE = {"address": None, "metrics": None, "pid": None}


@dataclass(frozen=True)
class Live:
    """The bundle that serves users, its generation, and since when."""

    bundle: str
    at: str
    generation: int = 0


@dataclass(frozen=True)
class Candidate:
    """The bundle that a run keeps ready at its own address until its lease ends."""

    bundle: str
    run: str
    at: str
    lease_until: datetime


@dataclass(frozen=True)
class Wanted:
    """What one model's records ask to be served.

    traffic: which requests the candidate gets before it is promoted.
    alert: why the live pointer in the store is not followed; then `live` is what was accepted before.
    """

    live: Live | None = None
    candidate: Candidate | None = None
    traffic: Traffic | None = None
    alert: str = ""


def read_candidate(content: bytes | None, now: datetime) -> Candidate | None:
    """Parse the content of `candidate.json`; an expired candidate counts as none.

    Errors: ValueError when it is damaged.
    """
    if content is None:
        return None
    try:
        lease = loads(content)
        until = read_time(lease["lease_until"])
        held = Candidate(_digest(lease["bundle"]), str(lease["run"]), str(lease["at"]), until)
        return held if now < held.lease_until else None
    except (KeyError, TypeError) as error:
        msg = f"the pointer is invalid; missing or of the wrong type: {error}"
        raise ValueError(msg) from error


def _digest(value: object) -> str:
    """Return the digest, checked because it becomes part of a path."""
    if not isinstance(value, str) or not is_digest(value):
        msg = "the pointer does not name a bundle"
        raise ValueError(msg)
    return value


@dataclass
class Servers:
    """The servers of one model. The route moves only to a ready server; unneeded servers are returned to the caller."""

    model: str
    start: Callable[[str], Child]
    wanted: Wanted = field(default_factory=Wanted)
    _children: dict[str, Child] = field(default_factory=dict)
    _route: Child | None = None

    def obey(self, wanted: Wanted) -> list[Child]:
        """Start what is wanted, move the route if its server is ready, and return the servers no longer needed."""
        if wanted.live is None:
            # A live pointer moves but is never removed: if it is missing, the store is at fault, and serving continues.
            wanted = replace(wanted, live=self.wanted.live)
        retired = []
        renewed = wanted.candidate is not None and wanted.candidate != self.wanted.candidate
        self.wanted = wanted
        if renewed and wanted.candidate and _failed(self._children.get(wanted.candidate.bundle)):
            # A new lease is a new attempt: it must not report the problem of the old one.
            retired.append(self._children.pop(wanted.candidate.bundle))
        bundles = {version.bundle for version in (wanted.live, wanted.candidate) if version}
        for bundle in bundles - self._children.keys():
            self._children[bundle] = self.start(bundle)
        live = self._children[wanted.live.bundle] if wanted.live else None
        if self._route is None or (live and isinstance(live.state, Ready)):
            self._route = live
        unneeded = [b for b, child in self._children.items() if b not in bundles and child is not self._route]
        return retired + [self._children.pop(bundle) for bundle in unneeded]

    def retire_all(self) -> list[Child]:
        """Return every server, and keep none."""
        self.wanted, self._route = Wanted(), None
        children = list(self._children.values())
        self._children.clear()
        return children

    def serves(self, bundle: str) -> bool:
        """Return whether there is a server of this bundle."""
        return bundle in self._children

    def upstream(self) -> Upstream | Unserved:
        """Return where a user's request goes now."""
        match self._route.state if self._route else None:
            case Ready(upstream):
                return upstream
            case Starting():
                return Unserved(f"{self.model} is starting; retry in a second")
            case Failing(problem):
                return Unserved(f"{self.model} cannot be served: {problem.message}. Next: lockgate logs {self.model}")
            case None if self.wanted.alert:
                return Unserved(
                    f"{self.model} cannot be served: {self.wanted.alert}. Next: lockgate verify {self.model}"
                )
            case None:
                return Unserved(f"{self.model} has no live bundle yet. Next: lockgate run {self.model}")

    def route(self, headers: Mapping[str, str]) -> Routed | Unserved:
        """Return where a request for an answer goes, and where a copy of it goes.

        Everything goes to live unless the candidate is ready and its share of the traffic is in force.
        """
        live, traffic = self.upstream(), self.wanted.traffic
        if isinstance(live, Unserved):
            return live
        child = self._children.get(traffic.bundle) if traffic else None
        if traffic is None or child is None or child is self._route or utc_now() >= traffic.until:
            return Routed(live)
        match child.state:
            case Ready(candidate) if gets_candidate(traffic, headers):
                return Routed(live, copy=candidate) if isinstance(traffic.rollout, Shadow) else Routed(candidate)
        return Routed(live)

    def status(self) -> dict[str, Any]:
        """Return the content of `status.json`, without its time."""
        live, candidate = self.wanted.live, self.wanted.candidate
        return {
            "live": self._version(live.bundle) if live else None,
            "candidate": {**self._version(candidate.bundle), "run": candidate.run, "lease": candidate.at}
            if candidate
            else None,
            "traffic": self._traffic(),
            "alert": self.wanted.alert,
        }

    def _traffic(self) -> dict[str, Any] | None:
        """The share of the traffic, with how the candidate answered copies."""
        traffic = self.wanted.traffic
        if traffic is None:
            return None
        child = self._children.get(traffic.bundle)
        found = child.state.upstream if child and isinstance(child.state, Ready) else None
        compared, disagreed = (found.compared, found.disagreed) if found else (0, 0)
        return {
            "bundle": traffic.bundle,
            "kind": traffic.rollout.kind,
            "share": traffic.share,
            "until": traffic.until.isoformat(),
            "compared": compared,
            "disagreed": disagreed,
        }

    def view(self) -> ModelView:
        """Return the same status for the status page."""
        live, candidate = self.wanted.live, self.wanted.candidate
        versions = [self._version(version.bundle) for version in (live, candidate) if version]
        return ModelView(
            model=self.model,
            bundle=live.bundle if live else None,
            since=live.at if live else None,
            ready=live is not None and versions[0]["ready"],
            candidate=candidate.bundle if candidate else None,
            problem=next(filter(None, (self.wanted.alert, *(version["problem"] for version in versions))), None),
        )

    def _version(self, bundle: str) -> dict[str, Any]:
        match self._children[bundle].state:
            case Ready(upstream, pid, metrics):
                addresses = {"address": upstream.address, "metrics": metrics, "pid": pid}
                state = {"ready": True, **addresses, "problem": None, "refused": False}
            case Starting():
                state = {"ready": False, **_NOWHERE, "problem": None, "refused": False}
            case Failing(problem):
                failure = {"problem": problem.message, "refused": problem.refused}
                state = {"ready": False, **_NOWHERE, **failure}
        return {"bundle": bundle, **state}


def gets_candidate(traffic: Traffic, headers: Mapping[str, str]) -> bool:
    """Return whether a request is one of the candidate's share; the same caller of an A/B test is always the same."""
    rollout = traffic.rollout
    if not isinstance(rollout, ABTest):
        return random.randrange(100) < traffic.share  # noqa: S311 - not a secret
    caller = headers.get(rollout.header, "")
    if not caller:
        return False
    # With the bundle, so that the callers of one test are not those of the next.
    drawn = hashlib.sha256(f"{traffic.bundle}\0{caller}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(drawn[:8]) % 100 < traffic.share


def _failed(child: Child | None) -> bool:
    return child is not None and isinstance(child.state, Failing)


def utc_now() -> datetime:
    """Return the time by which leases are measured."""
    return datetime.now(UTC)
