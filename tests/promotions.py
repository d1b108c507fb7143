"""Signed live pointers: what `promote` would have written, for tests of what follows them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate_proof import Trust, TrustedKey, new_key, promotion, sign
from lockgate_step import canonical, sha256
from lockgate_store import Missing, Store

LONG_AGO = "2026-01-01T00:00:00+00:00"
GATES = ("validate-data", "validate-model", "bias-audit", "smoke-test")


def signed_pointer(
    model: str, key: Path, *, bundle: str, generation: int, before: Mapping[str, Any] | None, run: str, at: str
) -> dict[str, Any]:
    """Return the content of a live pointer that follows on the one before."""
    record = promotion(
        model,
        bundle=bundle,
        generation=generation,
        previous=before["bundle"] if before else None,
        before=sha256(canonical(before["promotion"])) if before else None,
        verdicts={gate: sha256(f"{gate} {bundle}".encode()) for gate in GATES},
        run=run,
        at=at,
    )
    said = {name: record.predicate[name] for name in ("generation", "previous", "run", "at")}
    return {**said, "bundle": bundle, "promotion": sign(record.kind, record.subjects, record.predicate, key)}


def make_live(
    store: Store,
    model: str,
    key: Path,
    bundle: str,
    generation: int = 1,
    *,
    run: str = "earlier",
    at: str = "",
    previous: str = "",
) -> dict[str, Any]:
    """Write a live pointer of this generation, and the history before it where it is missing."""
    moment = at or datetime.now(UTC).isoformat()
    before = None
    for number in range(1, generation):
        kept = _read(store, f"models/{model}/history/{number}.json") or _current(store, model, number)
        if kept is None:
            older = previous if previous and number == generation - 1 else sha256(f"{model} {number}".encode())
            kept = signed_pointer(
                model,
                key,
                bundle=older,
                generation=number,
                before=before,
                run="earlier",
                at="2026-01-01T00:00:00+00:00",
            )
        store.put(f"models/{model}/history/{number}.json", canonical(kept))
        before = kept
    live = signed_pointer(model, key, bundle=bundle, generation=generation, before=before, run=run, at=moment)
    store.put(f"models/{model}/live.json", canonical(live))
    return live


def _current(store: Store, model: str, generation: int) -> dict[str, Any] | None:
    live = _read(store, f"models/{model}/live.json")
    return live if live and live["generation"] == generation else None


def _read(store: Store, key: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(store.read(key).data))
    except Missing:
        return None


def sign_recorded(config: Path, key: Path, store: Store, model: str, said: Mapping[str, Any]) -> None:
    """Make a recorded pointer live, signed with a key that this environment's trust file then has."""
    trust = Trust.read(config / "trust.json")
    if not key.exists():
        made = TrustedKey(new_key(key), ("promote",), "promote@example.org")
        (config / "trust.json").write_bytes(replace(trust, keys=(*trust.keys, made)).to_bytes())
    make_live(
        store, model, key, said["bundle"], said["generation"],
        run=said["run"], at=said["at"], previous=said["previous"] or "",
    )  # fmt: skip
