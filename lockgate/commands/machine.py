"""The target of the verbs on this machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_proof import Promotion, ProofError
from lockgate_store import Store

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.engine import ask_to_stop
from lockgate.records.address import address_of, page_token, platform_up, public
from lockgate.records.environment import Environment, ensure_environment
from lockgate.records.live import Live
from lockgate.records.promotions import Memory, live_promotion
from lockgate.records.rollout import rollout_now
from lockgate.records.runs import Found, RunRecord, Runs, Step, verdict_in
from lockgate.records.schedule import Schedule
from lockgate.records.store import read_json, store_of


@dataclass(frozen=True)
class Machine:
    """The runs, the store and the local platform of this machine."""

    project: Project
    environment: Environment

    options = ""
    place = "on this machine"

    @classmethod
    def of(cls, project: Project) -> "Machine":
        """The machine's environment for a project; created if it does not exist."""
        return cls(project, ensure_environment(project, Catalog.find().signers))

    def runs(self, model: str | None = None) -> list[RunRecord]:
        """Every run on record, or those of one model, the newest first."""
        return [run for run in Runs(self.project.state / "runs").all() if model in (None, run.about.model)]

    def found(self, model: str | None = None) -> Found:
        """The same, as every target has them."""
        return Found(self.runs(model))

    def live(self, model: str) -> Live:
        """The live pointer of the store, and whether the local platform answers for it."""
        store, key = store_of(self.environment), f"models/{model}"
        url, candidate = address_of(self.environment, model), read_json(store, f"{key}/candidate.json")
        memory, alert = Memory.of(self.project.state, self.environment.setting("store")), ""
        try:
            found = live_promotion(store, model, lambda: self.environment.trust, memory)
        except ProofError as error:
            found, alert = memory.kept(model, self.environment.trust), f"{error.message}. Next: {error.fix}"
        if found is None:
            return Live(None, url, candidate=candidate, waived=[], unjudged=[], alert=alert)
        served = (read_json(store, f"{key}/status.json") or {}).get("live")
        served = served if isinstance(served, dict) else {}
        up = platform_up(self.environment)
        verdicts = _verdicts(store, key, found)
        problem = str(served.get("problem") or "") if up else "the local platform is not running: lockgate serve"
        return Live(
            found.pointer,
            url,
            answers=up and bool(served.get("ready")),
            problem=problem,
            candidate=candidate,
            rollout=rollout_now(store, model, self.environment.trust, candidate, found),
            alert=alert,
            waived=[reason for verdict in verdicts for reason in verdict["reasons"] if reason.get("waiver")],
            unjudged=[str(verdict["gate"]) for verdict in verdicts if verdict["result"] == "not_judged"],
        )

    def schedules(self, model: str) -> list[Schedule] | None:
        """Nothing: only a cluster starts runs by itself."""
        del model
        return []

    def fetch_logs(self, run: RunRecord, steps: Sequence[Step]) -> list[str]:
        """Nothing: the logs of a run on this machine are in its folder."""
        del run, steps
        return []

    def fetch_evidence(self, run: RunRecord) -> tuple[RunRecord, list[str]]:
        """Nothing: the records of a run on this machine are in its folder."""
        return run, []

    def stop(self, run: RunRecord) -> None:
        """Ask the process that executes a run to stop it."""
        ask_to_stop(run.run.folder)

    def link(self, page: Path, run: RunRecord) -> str:
        """A file's address; under JupyterHub, a page that its proxy serves."""
        if os.environ.get("JUPYTERHUB_SERVICE_PREFIX"):
            return f"{public(self.environment)}/runs/{page_token(self.project.state)}/{run.id}/{page.name}"
        return page.as_uri()

    def after_waiver(self, model: str) -> list[str]:
        """Nothing: the next run reads the rendered manifests."""
        del model
        return []


def _verdicts(store: Store, key: str, live: Promotion) -> list[dict[str, Any]]:
    """The verdicts in the live bundle; a reason in them is covered by a waiver. `lockgate verify` proves them."""
    kept = f"{key}/bundles/{live.bundle.removeprefix('sha256:')}/verdicts"
    envelopes = (read_json(store, f"{kept}/{gate}.json") for gate in live.verdicts)
    return [verdict_in(envelope) for envelope in envelopes if envelope]
