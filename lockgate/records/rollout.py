"""A rollout in progress: the share of the traffic that a candidate has now, and what canary has counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate_proof import (
    CANARY,
    CANARY_STATE,
    CANARY_STATE_KIND,
    Promotion,
    ProofError,
    Traffic,
    Trust,
    in_force,
    verify,
)
from lockgate_store import Store

from lockgate.records.promotions import read_record


@dataclass(frozen=True)
class RolloutNow:
    """The signed share of the traffic in force, and the figures of the last look; None before the first."""

    traffic: Traffic
    figures: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The rollout as JSON values."""
        said = self.traffic
        return {
            "bundle": said.bundle,
            "run": said.run,
            "kind": said.rollout.kind,
            "share": said.share,
            "hold": said.rollout.hold,
            "figures": None if self.figures is None else dict(self.figures),
        }


def rollout_now(
    store: Store, model: str, trust: Trust, lease: Mapping[str, Any] | None, live: Promotion
) -> RolloutNow | None:
    """Return the rollout of the candidate, as canary signed it; None if everything goes to live."""
    if not lease:
        return None
    try:
        said = in_force(
            read_record(store, model, "traffic.json"),
            trust,
            model=model,
            run=str(lease.get("run")),
            bundle=str(lease.get("bundle")),
            live=live.pointer,
        )
    except ProofError:  # whoever follows the record refuses it too, so everything goes to live
        return None
    return RolloutNow(said, _figures(store, model, trust, said)) if said else None


def _figures(store: Store, model: str, trust: Trust, said: Traffic) -> Mapping[str, Any] | None:
    content = read_record(store, model, f"runs/{said.run}/{said.uid}/{CANARY_STATE}")
    if content is None:
        return None
    try:
        found = verify(content, trust, signer=CANARY, kind=CANARY_STATE_KIND, name=CANARY_STATE)
    except ProofError:
        return None
    figures = found.predicate.get("figures")
    same = found.subjects.get("bundle") == said.bundle and found.predicate.get("uid") == said.uid
    return figures if same and isinstance(figures, Mapping) else None
