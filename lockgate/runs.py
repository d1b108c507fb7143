"""What is on record of the runs: steps in the order they ran, their verdicts and their reports."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from lockgate_proof import ProofError, predicate

from lockgate.errors import BadCall, UnknownName

UNREACHED = {"Omitted", "Skipped", "Pending"}


@dataclass(frozen=True)
class Step:
    """One task of a run, as the engine recorded it."""

    name: str
    phase: str
    message: str
    exit_code: int | None
    seconds: float | None
    folder: Path

    @cached_property
    def envelope(self) -> dict[str, Any] | None:
        """The signed verdict this step wrote, or None."""
        try:
            return dict(json.loads((self.folder / "out" / "verdict").read_bytes()))
        except (OSError, ValueError):
            return None

    @cached_property
    def verdict(self) -> dict[str, Any] | None:
        """What the verdict says, or None where the step is no gate or never got to one."""
        try:
            return predicate(self.envelope) if self.envelope else None
        except ProofError:
            return None

    @property
    def outcome(self) -> str:
        """One word for people."""
        if self.verdict and self.phase in ("Succeeded", "Failed"):
            waived = any(reason["waived_by"] for reason in self.verdict["reasons"])
            return "passed by waiver" if waived and self.verdict["result"] == "passed" else str(self.verdict["result"])
        words = {"Succeeded": "done", "Running": "running", "Error": "error", "Failed": "failed"}
        return "refused" if self.exit_code == 3 else words.get(self.phase, "not reached")

    def log_lines(self) -> Iterator[dict[str, Any]]:
        """The step's log, one JSON object a line; a line that is none is shown as it is."""
        try:
            text = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            yield value if isinstance(value, dict) else {"event": "text", "text": line}

    @cached_property
    def error(self) -> dict[str, Any] | None:
        """The last error the step logged: message, fix and code."""
        errors = [line for line in self.log_lines() if line.get("event") in ("error", "bug")]
        return errors[-1] if errors else None


@dataclass(frozen=True)
class RunRecord:
    """One run as it lies in `.lockgate/runs/<id>/`."""

    folder: Path
    data: dict[str, Any]

    @property
    def id(self) -> str:
        """The short name people type."""
        return self.folder.name

    @property
    def phase(self) -> str:
        """Argo's word for how it stands."""
        return str(self.data["phase"])

    @property
    def model(self) -> str:
        """The model it is about."""
        return str(self.data.get("labels", {}).get("app.kubernetes.io/name", ""))

    @property
    def workflow(self) -> str:
        """`release` or `review`."""
        return str(self.data.get("labels", {}).get("app.kubernetes.io/component", ""))

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken."""
        return _seconds(self.data.get("startedAt"), self.data.get("finishedAt"))

    @cached_property
    def steps(self) -> list[Step]:
        """Every task that runs a program, in the order they started; those not reached last."""
        nodes = self.data["nodes"]
        nodes = list(nodes.values()) if isinstance(nodes, dict) else list(nodes)
        tried = [n for n in nodes if n["type"] in ("Pod", "Skipped") and not n.get("retryAttempt")]
        parents = {child: n for n in nodes if n["type"] == "Retry" for child in n.get("children", [])}
        steps: dict[str, tuple[str, Step]] = {}
        for node in tried:
            task = parents.get(node["id"], node)
            if node["type"] == "Skipped" and node.get("templateName") in self._graphs:
                continue
            step = Step(
                name=task["displayName"],
                phase=node["phase"],
                message=node.get("message") or task.get("message") or "",
                exit_code=_code(node),
                seconds=_seconds(task.get("startedAt"), task.get("finishedAt")) if node["type"] == "Pod" else None,
                folder=self.folder / "nodes" / node["id"],
            )
            steps[step.name] = (node.get("startedAt") or "~", step)
        return [step for _, step in sorted(steps.values(), key=lambda pair: pair[0])]

    @property
    def _graphs(self) -> set[str]:
        return set(self.data.get("graphs", ()))

    @property
    def refused(self) -> list[Step]:
        """The gates that did not let the candidate through."""
        return [step for step in self.steps if step.verdict and step.verdict["result"] != "passed"]

    @property
    def failed(self) -> list[Step]:
        """The steps that failed for another reason than a verdict."""
        return [s for s in self.steps if s.phase in ("Failed", "Error") and s not in self.refused]


def _code(node: dict[str, Any]) -> int | None:
    code = (node.get("outputs") or {}).get("exitCode")
    return int(code) if code not in (None, "") else None


def _seconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


@dataclass(frozen=True)
class Runs:
    """Every run on record on this machine."""

    folder: Path

    def all(self) -> list[RunRecord]:
        """Newest first; a folder whose record was never written is left out."""
        found = []
        for path in self.folder.glob("*/run.json"):
            try:
                found.append(RunRecord(path.parent, json.loads(path.read_bytes())))
            except ValueError:
                continue
        return sorted(found, key=lambda run: str(run.data.get("startedAt")), reverse=True)

    def find(self, name: str) -> RunRecord:
        """A run by its id, the beginning of it, or `last`. Errors: BadCall, UnknownName."""
        runs = self.all()
        if not runs:
            msg = "there is no run on record yet"
            raise BadCall(msg, fix="start one: lockgate run MODEL")
        if name == "last":
            return runs[0]
        fitting = [run for run in runs if run.id.startswith(name)]
        if not fitting:
            raise UnknownName("run", name, [run.id for run in runs])
        if len(fitting) > 1 and all(run.id != name for run in fitting):
            msg = f"{name!r} fits {len(fitting)} runs: {', '.join(run.id for run in fitting[:5])}"
            raise BadCall(msg, fix="give one more character")
        return next((run for run in fitting if run.id == name), fitting[0])
