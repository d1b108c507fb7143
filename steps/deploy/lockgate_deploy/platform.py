"""Platform `local`: the supervisor follows the store's pointers, and says in `status.json` what it made of them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from lockgate_step import OutsideFailed, Refusal, log

from lockgate_deploy.pointers import Lease, Pointers

_POLL_SECONDS = 0.2
_NOTICE_SECONDS = 15.0  # a supervisor that follows this store has answered by then, be it only that it is starting


def until_staged(pointers: Pointers, lease: Lease, wait: float) -> str:
    """The address of the candidate, once its server is ready.

    Errors: Refusal when the server refuses the bundle, OutsideFailed when it does not come up or nobody serves.
    """

    def look() -> str | None:
        said = pointers.status().get("candidate") or {}
        if (said.get("bundle"), said.get("run"), said.get("lease")) != (lease.bundle, lease.run, lease.at):
            if time.monotonic() > noticed_by:
                msg = "the local platform does not answer"
                raise OutsideFailed(msg, fix="lockgate serve")
            return None
        if said.get("problem"):
            _fail(pointers, said)
        return str(said["address"]) if said.get("ready") else None

    noticed_by = time.monotonic() + min(wait, _NOTICE_SECONDS)
    return _until(look, wait, f"{pointers.model}'s new version is not ready")


def until_live(pointers: Pointers, bundle: str, wait: float) -> None:
    """Return when the platform answers users with this bundle.

    Errors: OutsideFailed; live has moved all the same, and the platform goes on trying.
    """

    def look() -> str | None:
        said = pointers.status().get("live") or {}
        return bundle if said.get("bundle") == bundle and said.get("ready") else None

    _until(look, wait, f"live is {bundle}, but the local platform does not answer with it yet")


def _until(look: Callable[[], str | None], wait: float, what: str) -> str:
    deadline = time.monotonic() + wait
    while (found := look()) is None:
        if time.monotonic() > deadline:
            msg = f"{what}: waited {wait:g} s"
            raise OutsideFailed(msg, fix="lockgate status, then lockgate logs; is lockgate serve running?")
        time.sleep(_POLL_SECONDS)
    return found


def _fail(pointers: Pointers, said: Mapping[str, Any]) -> None:
    log("model-server-failed", problem=said["problem"], refused=said.get("refused"))
    if said.get("refused"):
        msg = f"{pointers.model}'s server refuses the bundle: {said['problem']}"
        raise Refusal(msg, fix="run the workflow again: it packages the bundle anew")
    msg = f"{pointers.model}'s server does not start: {said['problem']}"
    raise OutsideFailed(msg, fix=f"lockgate logs {pointers.model}, then run again")
