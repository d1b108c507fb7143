"""Stages a verified bundle at its own address."""

import time
from contextlib import suppress
from datetime import UTC, datetime

from lockgate_delivery.platform import Platform
from lockgate_delivery.pointers import LEASE, Lease, Pointers, check_base, now
from lockgate_proof import VerifiedBundle, staged
from lockgate_step import LockgateError, OutsideFailed, Record, Refusal, log

_POLL_SECONDS = 0.5


def stage(pointers: Pointers, platform: Platform, proven: VerifiedBundle, *, run: str, wait: float) -> Record:
    """Take the model's candidate for this run, wait until its server is ready, and return the record of it.

    Errors: Refusal when live has moved since the gates' verdicts or the bundle is not in the store, OutsideFailed when
    another run holds the candidate or the platform does not serve it. After every failure the candidate is released.
    """
    if not pointers.has_bundle(proven.digest):
        msg = f"bundle {proven.digest} not found in the store"
        raise Refusal(msg, fix="deploy the bundle that this run's package step stored")
    check_base(pointers.live(), proven.base)
    lease = _take(pointers, platform, proven, run, wait)
    try:
        found = platform.until_staged(pointers, proven, lease, wait)
    except LockgateError:
        pointers.release(run)
        with suppress(LockgateError):  # conclude tries again; the first error is the one to report
            platform.until_tidy(pointers, 0)
        raise
    log("staged", model=proven.model, bundle=proven.digest, address=found.address, lease_until=lease.lease_until)
    return staged(proven.model, bundle=proven.digest, address=found.address, replicas=found.replicas)


def _take(pointers: Pointers, platform: Platform, proven: VerifiedBundle, run: str, wait: float) -> Lease:
    deadline = time.monotonic() + wait
    told = ""
    while True:
        until = (datetime.now(UTC) + LEASE).isoformat()
        lease = Lease(proven.digest, run, proven.base["bundle"], proven.base["generation"], until, now())
        holder = pointers.take(lease)
        if holder is None:
            return lease
        if platform.has_ended(holder.run):
            log("taken-over", from_run=holder.run)  # it was terminated before it could release the candidate
            pointers.release(holder.run)
            continue
        if told != holder.run:
            told = holder.run
            log("waiting", held_by=holder.run, until=holder.lease_until)
        if time.monotonic() > deadline:
            msg = f"{proven.model}'s candidate is held by run {holder.run} until {holder.lease_until}"
            raise OutsideFailed(msg, fix=f"wait for {holder.run} to end, then run again")
        time.sleep(_POLL_SECONDS)
