"""What is live, what is being tried, and the last runs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lockgate_proof import GATES_OF_A_BUNDLE, predicate
from lockgate_store import Store

from lockgate.definition.project import Project
from lockgate.records.address import address_of, platform_up
from lockgate.records.environment import Environment
from lockgate.records.runs import Runs
from lockgate.records.store import read_json, store_of
from lockgate.report.lines import duration, run_word, short, waived_lines


def status_of(
    project: Project, environment: Environment, runs: Runs, name: str | None
) -> tuple[dict[str, Any], list[str]]:
    """What is live and being tried, and the last runs: JSON values, and lines for people."""
    store = store_of(environment)
    models = [project.model(name)] if name else list(project.models.values())
    value: dict[str, Any] = {}
    lines: list[str] = []
    recorded = runs.all()
    for model in models:
        key = f"models/{model.spec.name}"
        live, served = read_json(store, f"{key}/live.json"), read_json(store, f"{key}/status.json") or {}
        last = [run for run in recorded if run.about.model == model.spec.name][:3]
        value[model.spec.name] = {
            "live": live,
            "served": served,
            "candidate": read_json(store, f"{key}/candidate.json"),
            "url": address_of(environment, model.spec.name),
            "waived": (waived := _waived(store, key, live["bundle"]) if live else []),
            "runs": [
                {
                    "run": r.id,
                    "workflow": r.about.workflow,
                    "outcome": run_word(r),
                    "at": r.started,
                    "seconds": r.seconds,
                }
                for r in last
            ],
        }
        if live:
            lines.append(
                f"{model.spec.name}: {short(live['bundle'])}, generation {live['generation']}, since {ago(live['at'])}"
            )
            lines.append(f"  {_stands(environment, model.spec.name, served.get('live') or {})}")
            lines += [line for reason in waived for line in waived_lines(reason)]
        else:
            lines.append(f"{model.spec.name}: no version is live yet; lockgate run {model.spec.name}")
        lines += [
            f"  run {run.id}   {run.about.workflow:<8} {run_word(run):<12} {duration(run.seconds)}".rstrip()
            for run in last
        ]
        if last and last[0].phase == "Interrupted":
            lines.append(f"  it goes on with: lockgate run {model.spec.name} --resume {last[0].id}")
    if name is None and project.broken:
        value["broken"] = {folder: error.message for folder, error in project.broken.items()}
        lines += [f"{folder}: {error.message}" for folder, error in project.broken.items()]
    return value, lines or ["There is no model here yet: lockgate new NAME --data FILE --target COLUMN"]


def _waived(store: Store, key: str, bundle: str) -> list[dict[str, Any]]:
    """The reasons against a bundle that waivers cover, as its verdicts say them; `lockgate verify` proves them."""
    kept = f"{key}/bundles/{bundle.removeprefix('sha256:')}/verdicts"
    envelopes = (read_json(store, f"{kept}/{gate}.json") for gate in GATES_OF_A_BUNDLE)
    return [reason for envelope in envelopes if envelope for reason in predicate(envelope)["reasons"]]


def _stands(environment: Environment, model: str, server: Mapping[str, Any]) -> str:
    if not platform_up(environment):
        return "does not answer: lockgate serve"
    if server.get("ready"):
        return f"answers at {address_of(environment, model)}"
    return f"does not answer: {server['problem']}" if server.get("problem") else "is being started"


def ago(moment: str) -> str:
    """A moment as people say it."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for limit, size, unit in ((120, 1, "seconds"), (7200, 60, "minutes"), (172_800, 3600, "hours")):
        if seconds < limit:
            return f"{int(seconds / size)} {unit} ago"
    return f"{int(seconds / 86_400)} days ago"
