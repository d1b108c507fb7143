"""Platform `local`: the supervisor follows the store's pointers and writes the result to `status.json`."""

import re
import time
from collections.abc import Mapping
from typing import Any

from lockgate_proof import Accepted, Traffic, VerifiedBundle
from lockgate_step import OutsideFailed, Refusal, Shadow, log
from lockgate_wire import metrics

from lockgate_delivery.platform import NotYet, Staged, until
from lockgate_delivery.pointers import Lease, Live, Pointers

_POLL_SECONDS = 0.2
_ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9][0-9]{0,4}")  # of a server of the supervisor
_SECONDS = 5.0
_NOTICE_SECONDS = 15.0  # by then a supervisor that follows this store has written a status, at least "starting"
_FIX = "lockgate status, then lockgate logs; check that lockgate serve is running"


class Local:
    """The platform on one machine."""

    compares = True  # the relay sees both answers

    def accepted(self, model: str) -> Accepted | None:
        """See Platform; the supervisor remembers, and no program can read its folder. So the whole chain is checked."""
        del model
        return None

    def has_ended(self, run: str) -> bool:
        """See Platform; a run on this machine releases what it holds, and runs on other machines are unknown here."""
        del run
        return False

    def until_staged(self, pointers: Pointers, proven: VerifiedBundle, lease: Lease, wait: float) -> Staged:
        """See Platform; a status that the supervisor wrote for an earlier lease does not count."""

        def look() -> Staged:
            said = pointers.status().get("candidate") or {}
            if (said.get("bundle"), said.get("run"), said.get("lease")) != (lease.bundle, lease.run, lease.at):
                if time.monotonic() > noticed_by:
                    msg = "the local platform is not running"
                    raise OutsideFailed(msg, fix="lockgate serve")
                raise NotYet
            if said.get("problem"):
                _fail(pointers, said)
            if not said.get("ready"):
                raise NotYet
            return Staged(_on_this_machine(str(said.get("address"))), 1)

        noticed_by = time.monotonic() + min(wait, _NOTICE_SECONDS)
        return until(look, wait, every=_POLL_SECONDS, what=f"{pointers.model}'s new version is not ready", fix=_FIX)

    def until_live(self, pointers: Pointers, live: Live, wait: float) -> None:
        """See Platform."""

        def look() -> None:
            status = pointers.status()
            said = status.get("live") or {}
            if said.get("bundle") != live.bundle or not said.get("ready"):
                raise NotYet(status.get("alert") or "")

        what = f"live is {live.bundle}, but the local platform does not serve it yet"
        until(look, wait, every=_POLL_SECONDS, what=what, fix=_FIX)

    def until_tidy(self, pointers: Pointers, wait: float) -> None:
        """Do nothing: the supervisor itself stops what no pointer names."""

    def until_shared(self, pointers: Pointers, traffic: Traffic | None, wait: float) -> None:
        """See Platform; the supervisor's status says what its relay does."""
        wanted = traffic and (traffic.bundle, traffic.rollout.kind, traffic.share, traffic.until.isoformat())

        def look() -> None:
            said = pointers.status().get("traffic")
            if (said and tuple(said.get(name) for name in ("bundle", "kind", "share", "until"))) != wanted:
                raise NotYet

        what = f"the local platform does not divide {pointers.model}'s requests as it should"
        until(look, wait, every=_POLL_SECONDS, what=what, fix=_FIX)

    def readings(self, pointers: Pointers, bundle: str) -> Mapping[str, str]:
        """See Platform; a version has one server here, which is named by its process."""
        import httpx  # only canary asks for readings, and its image has it

        status = pointers.status()
        found = [
            said for said in (status.get("live"), status.get("candidate")) if said and said.get("bundle") == bundle
        ]
        if not found or not found[0].get("ready"):
            msg = f"the local platform does not serve {bundle} at the moment"
            raise OutsideFailed(msg, fix=_FIX)
        address = _on_this_machine(str(found[0].get("metrics")))
        try:
            answer = httpx.get(f"{address}/metrics", timeout=_SECONDS, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            msg = f"the server of {bundle} does not show its metrics ({type(error).__name__})"
            raise OutsideFailed(msg, fix=_FIX) from error
        return {f"server/{found[0].get('pid')}": answer.text + _compared(pointers, bundle)}


def _compared(pointers: Pointers, bundle: str) -> str:
    """Return how a version answered copies of live's requests, which the relay compares, as metrics of its server."""
    said = pointers.status().get("traffic") or {}
    if said.get("bundle") != bundle or said.get("kind") != Shadow.kind:
        return ""
    own = f'model="{pointers.model}",bundle="{bundle.removeprefix("sha256:")[:12]}"'
    pairs = ((metrics.COMPARED, said.get("compared")), (metrics.DISAGREED, said.get("disagreed")))
    return "".join(f"# TYPE {each.name} counter\n{each.name}{{{own}}} {count}\n" for each, count in pairs)


def _on_this_machine(address: str) -> str:
    """Return the address if it is of a server here: whoever can write the store can write the status.

    Errors: Refusal.
    """
    if not _ADDRESS.fullmatch(address):
        msg = f"the status in the store names the address {address!r:.80}, which is not on this machine"
        raise Refusal(msg, fix="find out who wrote status.json in the store, then run again")
    return address


def _fail(pointers: Pointers, said: Mapping[str, Any]) -> None:
    log("model-server-failed", problem=said["problem"], refused=said.get("refused"))
    if said.get("refused"):
        msg = f"{pointers.model}'s server refuses the bundle: {said['problem']}"
        raise Refusal(msg, fix="run the workflow again to package a new bundle")
    msg = f"{pointers.model}'s server does not start: {said['problem']}"
    raise OutsideFailed(msg, fix=f"lockgate logs {pointers.model}, then run again")
