"""The interface of a platform, as deploy, promote and conclude use it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lockgate_proof import Accepted, Traffic, VerifiedBundle
from lockgate_step import OutsideFailed

from lockgate_delivery.pointers import Lease, Live, Pointers

Found = TypeVar("Found")


@dataclass(frozen=True)
class Staged:
    """A candidate's address, and the number of servers behind it."""

    address: str
    replicas: int


class Platform(Protocol):
    """Serves what the store's pointers name. A platform follows the pointers and never moves them.

    compares: whether it compares a shadow's answers with those of live.
    """

    compares: bool

    def accepted(self, model: str) -> Accepted | None:
        """Return the promotion that the platform accepted last, from a place outside the store; None if unknown."""

    def has_ended(self, run: str) -> bool:
        """Return whether a run is known to have ended, so that another run may take over its candidate."""

    def until_staged(self, pointers: Pointers, proven: VerifiedBundle, lease: Lease, wait: float) -> Staged:
        """Return when the candidate is ready at its own address.

        Errors: Refusal when the server refuses the bundle, OutsideFailed when it does not become ready.
        """

    def until_live(self, pointers: Pointers, live: Live, wait: float) -> None:
        """Return when only the live bundle answers users.

        Errors: OutsideFailed; live has moved nevertheless, and the next program makes the platform follow it.
        """

    def until_tidy(self, pointers: Pointers, wait: float) -> None:
        """Return when the platform serves only what the pointers name.

        Errors: OutsideFailed.
        """

    def until_shared(self, pointers: Pointers, traffic: Traffic | None, wait: float) -> None:
        """Return when users' requests are divided as the signed record in the store says; None: all reach live.

        Errors: Refusal when this platform cannot divide requests so, OutsideFailed.
        """

    def readings(self, pointers: Pointers, bundle: str) -> Mapping[str, str]:
        """Return the metrics of every server of a version that answers now, in Prometheus's text format.

        The keys name the servers, `NAME/N`: one that ended by itself and was started again has another N.
        Errors: OutsideFailed when one does not answer.
        """


class NotYet(Exception):
    """The awaited state is not reached yet; the message says what is missing."""


def until(look: Callable[[], Found], wait: float, *, every: float, what: str, fix: str) -> Found:
    """Call `look` until it no longer raises NotYet, and return its result.

    wait: seconds until it gives up; every: seconds between two calls.
    Errors: OutsideFailed after `wait` seconds, with the last reason for waiting.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            return look()
        except NotYet as still:
            if time.monotonic() > deadline:
                said = f" ({still})" if str(still) else ""
                msg = f"{what}: waited {wait:g} s{said}"
                raise OutsideFailed(msg, fix=fix) from None
        time.sleep(every)
