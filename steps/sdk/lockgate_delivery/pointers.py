"""One model's pointers in the store: `live`, the candidate's lease, the history, and the platform's status."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lockgate_proof import (
    Accepted,
    Promotion,
    ProofError,
    Traffic,
    Trust,
    in_force,
    promotion,
    prove_live,
    read_promotion,
    read_traffic,
)
from lockgate_step import BadCall, OutsideFailed, Record, Refusal, canonical, log, read_time
from lockgate_store import Blob, Exists, Missing, Moved, Store

# The longest time that a killed run blocks other runs: longer than a smoke test takes, short enough to wait for.
LEASE = timedelta(minutes=15)
_SHOWN = ("bundle", "generation", "previous", "run", "at")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Live:
    """The pointer to the bundle that answers users; at generation 0 no bundle has been live yet.

    promotion: the signed record of `promote`, which was verified.
    """

    bundle: str | None
    generation: int
    previous: str | None
    run: str
    at: str
    promotion: Promotion | None = field(default=None, compare=False)

    @classmethod
    def of(cls, made: Promotion) -> "Live":
        """Return the pointer that a promotion makes."""
        return cls(made.bundle, made.generation, made.previous, made.run, made.at, made)


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
        return read_time(self.lease_until) <= datetime.now(UTC)


NOTHING_LIVE = Live(None, 0, None, "", "")


class Pointers:
    """The records in `models/<model>/`; every change is a compare-and-swap or a create-once.

    trust: the keys that may promote. accepted: the promotion that the platform accepted last, if it remembers one.
    uid: of the run that uses them. Its records are below it, since a later run may have the name of an earlier one.
    """

    def __init__(
        self, store: Store, model: str, trust: Trust, accepted: Accepted | None = None, *, uid: str = ""
    ) -> None:
        if not _MODEL.fullmatch(model):
            msg = f"{model!r} is not a valid model name"
            raise BadCall(msg, fix="use the name in the model spec")
        self.model = model
        self._store, self._trust, self._accepted, self._uid = store, trust, accepted, uid
        self._verified: tuple[bytes, Live] | None = None

    def live(self) -> Live:
        """Return the live pointer: what answers users now. Errors: ProofError if no chain of promotions proves it."""
        return self._live()[0]

    def move_live(
        self,
        base: Mapping[str, Any],
        bundle: str,
        run: str,
        verdicts: Mapping[str, str],
        signed: Callable[[Record], Mapping[str, Any]],
    ) -> Live:
        """Move live to the bundle, if live is still the base that the bundle was compared with.

        verdicts: gate -> the digest of its verdict. signed: signs the promotion's record.
        Errors: Refusal when live has moved; then nothing was changed.
        """
        while True:
            live, version = self._live()
            if (live.run, live.bundle) == (run, bundle):
                return live  # this same run has moved it, before it was killed or in a second pod
            check_base(live, base)
            record = promotion(
                self.model,
                bundle=bundle,
                generation=live.generation + 1,
                previous=live.bundle,
                before=live.promotion.digest if live.promotion else None,
                verdicts=verdicts,
                run=run,
                at=now(),
            )
            pointer = {**record.predicate, "bundle": bundle, "promotion": signed(record)}
            content = canonical({name: pointer[name] for name in (*_SHOWN, "promotion")})
            moved = Live.of(read_promotion(content, self._trust, model=self.model))  # as every follower will read it
            try:
                if version is None:
                    self._store.create(self._key("live.json"), content)
                else:
                    self._store.replace(self._key("live.json"), content, version)
            except (Exists, Moved):
                continue  # another run wrote in between: read again
            return moved

    def past(self, generation: int) -> bytes | None:
        """Return the record of a promotion in the history, not verified; None if it is not there."""
        kept = self._read(f"history/{generation}.json")
        return kept.data if kept else None

    def lease(self) -> Lease | None:
        """Return the candidate's lease, expired or not, or None."""
        kept = self._read("candidate.json")
        return _lease(kept) if kept else None

    def take(self, lease: Lease) -> Lease | None:
        """Take the candidate for a run; return the other run's lease if one holds the candidate, else None."""
        while True:
            kept = self._read("candidate.json")
            try:
                if kept is None:
                    self._store.create(self._key("candidate.json"), canonical(asdict(lease)))
                    return None
                held = _lease(kept)
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
            if kept is None or _lease(kept).run != run:
                return False
            try:
                self._store.delete(self._key("candidate.json"), kept.version)
                return True
            except Moved:
                continue

    def traffic(self) -> Traffic | None:
        """Return the share of the traffic that the candidate has beside the live version now, or None.

        A record that `canary` did not sign for this run gives no share; it is logged.
        """
        kept, lease = self._read("traffic.json"), self.lease()
        if kept is None or lease is None or lease.expired:
            return None
        live = self.live()
        try:
            return in_force(
                kept.data,
                self._trust,
                model=self.model,
                run=lease.run,
                bundle=lease.bundle,
                live={"bundle": live.bundle, "generation": live.generation},
            )
        except ProofError as error:
            log("traffic-refused", model=self.model, problem=error.message, fix=error.fix)
            return None

    def share(self, signed: Mapping[str, Any]) -> None:
        """Write the signed record of the candidate's share of the traffic."""
        self._store.put(self._key("traffic.json"), canonical(signed))

    def withdraw(self, run: str) -> bool:
        """Delete the share of the traffic that this run signed; return False if another run has one now."""
        while kept := self._read("traffic.json"):
            try:
                # One that has ended, or that canary did not sign, gives no share, whoever wrote it.
                said = read_traffic(kept.data, self._trust, model=self.model)
            except ProofError:
                said = None
            if said and said.run != run:
                return False
            try:
                self._store.delete(self._key("traffic.json"), kept.version)
            except Moved:
                continue
        return True

    def keep(self, run: str, name: str, content: bytes) -> None:
        """Write a file of the run's own."""
        self._store.put(self._key(self._of(run, name)), content)

    def kept(self, run: str, name: str) -> bytes | None:
        """Return a file of the run's own, or None."""
        found = self._read(self._of(run, name))
        return found.data if found else None

    def intend(self, run: str, intent: Mapping[str, Any]) -> None:
        """Record which bundle this run is about to promote, and the verdicts on it."""
        self._store.put(self._key(self._of(run, "promotion.json")), canonical(intent))

    def complete_history(self, live: Live) -> None:
        """Write the history entry of the live bundle, unless it exists.

        A run may be killed after it moved live and before this. Then the entry is written from the pointer by the same
        run, its `conclude`, or the next run before it moves live. So the history has no gaps.
        """
        key = self._key(f"history/{live.generation}.json")
        if live.generation == 0 or self._store.exists(key):
            return
        assert live.promotion is not None
        with suppress(Exists):
            self._store.create(key, canonical({**live.promotion.to_json(), "verdicts": dict(live.promotion.verdicts)}))

    def promoted(self, run: str, bundle: str | None = None) -> Live | None:
        """Return what this run made live, even if it was replaced since; None if nothing (or not this bundle)."""
        intent = self._record(self._of(run, "promotion.json"))
        generation = intent.get("generation")
        name = f"history/{generation}.json"
        kept = self._read(name) if type(generation) is int else None
        past = read_promotion(kept.data, self._trust, model=self.model, name=name) if kept else None
        return Live.of(past) if past and past.run == run and bundle in (None, past.bundle) else None

    def status(self) -> Mapping[str, Any]:
        """Return the platform's last status of this model."""
        return self._record("status.json")

    def has_bundle(self, bundle: str) -> bool:
        """Return whether the store has the whole bundle; its manifest is written last."""
        return self._store.exists(self._key(f"bundles/{bundle.removeprefix('sha256:')}/manifest.json"))

    def summarize(self, run: str, summary: Mapping[str, Any]) -> None:
        """Write a run's summary, unless it exists and differs only in its time."""
        kept = self._record(name := self._of(run, "summary.json"))
        if {**kept, "at": None} != {**summary, "at": None}:
            self._store.put(self._key(name), canonical(summary))

    def records(self, run: str) -> list[str]:
        """Return the names of the run's records in the store."""
        prefix = self._key(self._of(run, ""))
        return [key.removeprefix(prefix) for key in self._store.list(prefix)]

    def _live(self) -> tuple[Live, str | None]:
        """Return the pointer and its version in the store, verified unless it is the one verified last."""
        while True:
            kept = self._read("live.json")
            if kept and self._verified and self._verified[0] == kept.data:
                return self._verified[1], kept.version
            try:
                live = self._proven(kept)
            except ProofError:
                if (again := self._read("live.json")) and (kept is None or again.version != kept.version):
                    continue  # another run promoted in between: the pointer was not the newest any more
                raise
            if kept:
                self._verified = (kept.data, live)
            return live, kept.version if kept else None

    def _proven(self, kept: Blob | None) -> Live:
        if kept:
            _fields(kept, _SHOWN, "live")
        content = kept.data if kept else None
        newest = prove_live(content, self.past, self._trust, model=self.model, accepted=self._accepted)
        return Live.of(newest) if newest else NOTHING_LIVE

    def _record(self, name: str) -> dict[str, Any]:
        kept = self._read(name)
        return _parse(kept) if kept else {}

    def _read(self, name: str) -> Blob | None:
        try:
            return self._store.read(self._key(name))
        except Missing:
            return None

    def _of(self, run: str, name: str) -> str:
        return f"runs/{run}/{self._uid}/{name}" if self._uid else f"runs/{run}/{name}"

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


def _lease(blob: Blob) -> Lease:
    lease = Lease(**_fields(blob, tuple(Lease.__dataclass_fields__), "lease"))
    try:
        read_time(lease.lease_until)
    except ValueError as error:
        msg = "a pointer in the store is damaged: the lease does not say when it ends"
        raise OutsideFailed(msg, fix=f"remove it: candidate.json of run {lease.run!r:.80}") from error
    return lease


def _fields(blob: Blob, names: Sequence[str], what: str) -> dict[str, Any]:
    said = _parse(blob)
    missing = [name for name in names if name not in said]
    if missing:
        msg = f"a pointer in the store is damaged: {what} has no {missing[0]}"
        raise OutsideFailed(msg, fix="restore it from the history in the store")
    return {name: said[name] for name in names}


def _parse(blob: Blob) -> dict[str, Any]:
    try:
        said = json.loads(blob.data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        msg = "a record in the store is damaged"
        raise OutsideFailed(msg, fix="restore it from the history in the store")
    return said
