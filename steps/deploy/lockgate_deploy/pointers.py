"""One model's pointers in the store: `live`, the candidate's lease, the history, and the platform's status."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lockgate_step import BadCall, OutsideFailed, Refusal, canonical
from lockgate_store import Blob, Exists, Missing, Moved, Store

# The longest time that a killed run blocks other runs: longer than a smoke test takes, short enough to wait for.
LEASE = timedelta(minutes=15)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Live:
    """The pointer to the bundle that answers users; at generation 0 no bundle has been live yet."""

    bundle: str | None
    generation: int
    previous: str | None
    run: str
    at: str


@dataclass(frozen=True)
class Lease:
    """The run that holds the model's one candidate, the candidate's bundle, and when the lease expires."""

    bundle: str
    run: str
    base: str | None
    generation: int
    lease_until: str
    at: str

    @property
    def expired(self) -> bool:
        """Whether the lease no longer blocks other runs."""
        return datetime.fromisoformat(self.lease_until) <= datetime.now(UTC)


NOTHING_LIVE = Live(None, 0, None, "", "")


class Pointers:
    """The records in `models/<model>/`; every change is a compare-and-swap or a create-once."""

    def __init__(self, store: Store, model: str) -> None:
        if not _MODEL.fullmatch(model):
            msg = f"{model!r} is not a valid model name"
            raise BadCall(msg, fix="use the name in the model spec")
        self.model = model
        self._store = store

    def live(self) -> Live:
        """Return the live pointer: what answers users now."""
        return self._live()[0]

    def move_live(self, base: Mapping[str, Any], bundle: str, run: str) -> Live:
        """Move live to the bundle, if live is still the base that the bundle was compared with.

        Errors: Refusal when live has moved; then nothing was changed.
        """
        while True:
            live, version = self._live()
            if (live.run, live.bundle) == (run, bundle):
                return live  # this same run has moved it, before it was killed or in a second pod
            check_base(live, base)
            moved = Live(bundle, live.generation + 1, live.bundle, run, now())
            try:
                if version is None:
                    self._store.create(self._key("live.json"), canonical(asdict(moved)))
                else:
                    self._store.replace(self._key("live.json"), canonical(asdict(moved)), version)
            except (Exists, Moved):
                continue  # another run wrote in between: read again
            return moved

    def lease(self) -> Lease | None:
        """Return the candidate's lease, expired or not, or None."""
        kept = self._read("candidate.json")
        return Lease(**_fields(kept, Lease)) if kept else None

    def take(self, lease: Lease) -> Lease | None:
        """Take the candidate for a run; return the other run's lease if one holds the candidate, else None."""
        while True:
            kept = self._read("candidate.json")
            try:
                if kept is None:
                    self._store.create(self._key("candidate.json"), canonical(asdict(lease)))
                    return None
                held = Lease(**_fields(kept, Lease))
                if held.run != lease.run and not held.expired:
                    return held
                self._store.replace(self._key("candidate.json"), canonical(asdict(lease)), kept.version)
                return None
            except (Exists, Moved):
                continue  # another run wrote in between: read again

    def release(self, run: str) -> bool:
        """Release the candidate if this run holds it; return whether it did."""
        while True:
            kept = self._read("candidate.json")
            if kept is None or Lease(**_fields(kept, Lease)).run != run:
                return False
            try:
                self._store.delete(self._key("candidate.json"), kept.version)
                return True
            except Moved:
                continue

    def intend(self, run: str, intent: Mapping[str, Any]) -> None:
        """Record which bundle this run is about to promote, and the verdicts on it."""
        self._store.put(self._key(f"runs/{run}/promotion.json"), canonical(intent))

    def complete_history(self, live: Live) -> None:
        """Write the history entry of the live bundle, unless it exists.

        A run may be killed after it moved live and before this. Then the entry is written from the intent by the same
        run, its `conclude`, or the next run before it moves live. So the history has no gaps.
        """
        key = self._key(f"history/{live.generation}.json")
        if live.generation == 0 or self._store.exists(key):
            return
        intent = self._record(f"runs/{live.run}/promotion.json")
        same = (intent.get("bundle"), intent.get("generation")) == (live.bundle, live.generation)
        with suppress(Exists):
            self._store.create(key, canonical({**asdict(live), "verdicts": intent["verdicts"] if same else None}))

    def promoted(self, run: str, bundle: str | None = None) -> Live | None:
        """Return what this run made live, even if it was replaced since; None if nothing (or not this bundle)."""
        intent = self._record(f"runs/{run}/promotion.json")
        past = self._record(f"history/{intent.get('generation')}.json") if intent else {}
        if past.get("run") != run or bundle not in (None, past["bundle"]):
            return None
        return Live(**{name: past[name] for name in Live.__dataclass_fields__})

    def status(self) -> Mapping[str, Any]:
        """Return the platform's last status of this model."""
        return self._record("status.json")

    def has_bundle(self, bundle: str) -> bool:
        """Return whether the store has the whole bundle; its manifest is written last."""
        return self._store.exists(self._key(f"bundles/{bundle.removeprefix('sha256:')}/manifest.json"))

    def summarize(self, run: str, summary: Mapping[str, Any]) -> None:
        """Write a run's summary, unless it exists and differs only in its time."""
        kept = self._record(f"runs/{run}/summary.json")
        if {**kept, "at": None} != {**summary, "at": None}:
            self._store.put(self._key(f"runs/{run}/summary.json"), canonical(summary))

    def records(self, run: str) -> list[str]:
        """Return the names of the run's records in the store."""
        prefix = self._key(f"runs/{run}/")
        return [key.removeprefix(prefix) for key in self._store.list(prefix)]

    def _live(self) -> tuple[Live, str | None]:
        kept = self._read("live.json")
        return (Live(**_fields(kept, Live)), kept.version) if kept else (NOTHING_LIVE, None)

    def _record(self, name: str) -> dict[str, Any]:
        kept = self._read(name)
        return _parse(kept) if kept else {}

    def _read(self, name: str) -> Blob | None:
        try:
            return self._store.read(self._key(name))
        except Missing:
            return None

    def _key(self, name: str) -> str:
        return f"models/{self.model}/{name}"


def check_base(live: Live, base: Mapping[str, Any]) -> None:
    """Check that live is still what the bundle was compared with. Errors: Refusal."""
    if (live.bundle, live.generation) != (base.get("bundle"), base.get("generation")):
        msg = (
            f"live has moved: it is {live.bundle or 'nothing'} (generation {live.generation}), but the gates compared "
            f"with {base.get('bundle') or 'nothing'} (generation {base.get('generation')})"
        )
        raise Refusal(msg, fix="run the workflow again to compare with what is live now")


def now() -> str:
    """Return the present time in ISO 8601, in UTC, as the records have it."""
    return datetime.now(UTC).isoformat()


def _fields(blob: Blob, kind: type[Live] | type[Lease]) -> dict[str, Any]:
    said = _parse(blob)
    missing = [name for name in kind.__dataclass_fields__ if name not in said]
    if missing:
        msg = f"a pointer in the store is damaged: {kind.__name__.lower()} has no {missing[0]}"
        raise OutsideFailed(msg, fix="restore it from the history in the store")
    return {name: said[name] for name in kind.__dataclass_fields__}


def _parse(blob: Blob) -> dict[str, Any]:
    try:
        said = json.loads(blob.data)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        msg = "a record in the store is damaged"
        raise OutsideFailed(msg, fix="restore it from the history in the store")
    return said
