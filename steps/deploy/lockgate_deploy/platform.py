"""What deploy, promote and conclude ask of a platform, whichever it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lockgate_proof import VerifiedBundle
from lockgate_step import OutsideFailed

from lockgate_deploy.pointers import Lease, Live, Pointers

Found = TypeVar("Found")


@dataclass(frozen=True)
class Staged:
    """Where a candidate answers, and how many servers its address leads to."""

    address: str
    replicas: int


class Platform(Protocol):
    """Serves what the store's pointers name. They are the truth: a platform follows them and never moves them."""

    def has_ended(self, run: str) -> bool:
        """Whether a run is known to be over, so that what it still holds may be taken over."""

    def until_staged(self, pointers: Pointers, proven: VerifiedBundle, lease: Lease, wait: float) -> Staged:
        """Return when the candidate is ready at its own address.

        Errors: Refusal when it is refused, OutsideFailed when it does not come up.
        """

    def until_live(self, pointers: Pointers, live: Live, wait: float) -> None:
        """Return when users are answered by what is live, and by nothing else.

        Errors: OutsideFailed; live has moved all the same, and whoever comes next brings the platform after it.
        """

    def until_tidy(self, pointers: Pointers, wait: float) -> None:
        """Return when nothing is served that no pointer names.

        Errors: OutsideFailed.
        """


class NotYet(Exception):
    """What is waited for is still to come; the message says what it waits for."""


def until(look: Callable[[], Found], wait: float, *, every: float, what: str, fix: str) -> Found:
    """Look again and again until what is looked for is there.

    Errors: OutsideFailed after so many seconds, saying what was awaited last.
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
