"""Shared by both doctors: a finding, its text, and the check of a store's conditional writes."""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_proof import ADDITIONAL, Trust, sign, verify
from lockgate_step import layout
from lockgate_store import Exists, Moved, Store, StoreError

from lockgate.errors import LockgateError

WRITERS = 32


@dataclass(frozen=True)
class Finding:
    """One check: its subject, its result, and the fix if it failed."""

    what: str
    found: str
    fix: str = ""

    @property
    def lines(self) -> list[str]:
        """Return the finding for the terminal."""
        found = f"  {'ok  ' if self.well else 'FAIL'} {self.what:<12} {self.found}"
        return [found, f"      next: {self.fix}"] if self.fix else [found]

    @property
    def well(self) -> bool:
        """Return whether the check passed."""
        return not self.fix


def examined(checks: Mapping[str, Callable[[], Finding]]) -> tuple[int, list[str], dict[str, Any]]:
    """Run each check; return exit code, lines, JSON values."""
    findings = [_tried(what, check) for what, check in checks.items()]
    lines = [line for finding in findings for line in finding.lines]
    value = {f.what: {"well": f.well, "found": f.found, "fix": f.fix} for f in findings}
    return (0 if all(f.well for f in findings) else 2), lines, value


def _tried(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except LockgateError as error:
        return Finding(what, error.message, error.fix or "see the message")


def check_key(key: Path, trust: Trust, signer: str) -> None:
    """Sign with a private key and verify it. Errors: ProofError if the trust file has another key for this signer."""
    kind = ADDITIONAL if layout.is_additional_signer(signer) else "verdict"
    verify(sign(kind, {}, {}, key), trust, signer=signer, kind=kind)


def race(store: Store, where: str) -> Finding:
    """Let many writers write one key with both conditional writes: if two succeed, a promotion could be lost."""
    key = f"probe/{uuid.uuid4().hex}"
    created = _race(lambda n: store.create(key, str(n).encode()))
    version_now = store.read(key).version
    swapped = _race(lambda n: store.replace(key, f"swap {n}".encode(), version_now))
    store.delete(key, store.read(key).version)
    if (created, swapped) != (1, 1):
        found = (
            f"{where}: of {WRITERS} concurrent writers {created} created and {swapped} replaced a key, not exactly one"
        )
        return Finding("store", found, "use a store with working conditional writes; this one can lose a promotion")
    return Finding("store", f"{where}: exactly one of {WRITERS} concurrent writers succeeds")


def keeps_dots(store: Store) -> bool:
    """Return whether a store in S3 keeps `..` in a key: Argo's S3 driver writes the keys below an input's as paths.

    Argo does so for a file too, if its key is missing. So whoever can write such a store writes outside of the input.
    """
    client: Any = getattr(store, "client", None)
    if client is None:  # a folder
        return False
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = (str(getattr(store, name)) for name in ("bucket", "prefix"))
    folder = f"{prefix.strip('/')}/probe/{uuid.uuid4().hex}/".lstrip("/")
    try:
        client.put_object(Bucket=bucket, Key=f"{folder}a/../b", Body=b"")
        found = client.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", ())
        for each in found:
            client.delete_object(Bucket=bucket, Key=each["Key"])
    except (BotoCoreError, ClientError):  # it refuses such a key
        return False
    return any("/../" in each["Key"] for each in found)


def _race(write: Callable[[int], str]) -> int:
    barrier, winners = threading.Barrier(WRITERS), []

    def attempt(number: int) -> None:
        barrier.wait()
        try:
            write(number)
        except (Exists, Moved):
            return
        except (StoreError, LockgateError):
            return
        winners.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(winners)
