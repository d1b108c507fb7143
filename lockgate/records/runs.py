"""The records of runs: their steps in order, with verdicts, logs and errors."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lockgate_proof import CANARY, GATES_OF_A_BUNDLE, MAY_JUDGE_NOTHING, RECALL, ProofError, predicate
from lockgate_step import canonical, layout, loads, read_time

from lockgate.engine.record import Node, Run
from lockgate.errors import BadCall, UnknownName

GATES = (*GATES_OF_A_BUNDLE, RECALL, "smoke-test", CANARY)
_OF_A_RUNNING_VERSION = ("smoke-test", CANARY)  # these read no waivers
_OF_A_WAIVER = ("file", "approver", "signer", "why", "expires")
UNREACHED = {"Omitted", "Skipped", "Pending"}


@dataclass(frozen=True)
class Step:
    """One step of a run, as the engine recorded it.

    additional: whether its program is an additional gate of the model.
    """

    name: str
    phase: str
    message: str
    exit_code: int | None
    seconds: float | None
    folder: Path
    additional: bool = False

    @property
    def gate(self) -> bool:
        """Whether its program is a gate. Any other step may write a file `verdict`, which says nothing."""
        return self.additional or self.name in GATES

    @property
    def reads_waivers(self) -> bool:
        """Whether a waiver can cover its reasons."""
        return self.gate and self.name not in _OF_A_RUNNING_VERSION

    @cached_property
    def envelope(self) -> dict[str, Any] | None:
        """The signed verdict of this step, or None if the step is not a gate or wrote none."""
        if not self.gate:
            return None
        try:
            value = loads((self.folder / layout.OUT / "verdict").read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    @cached_property
    def verdict(self) -> dict[str, Any] | None:
        """The content of the verdict, or None if the step is not a gate or wrote none.

        Without the signed verdict, the result and the reasons come from the step's message.
        """
        if not self.gate:
            return None
        try:
            return verdict_in(self.envelope) if self.envelope else _told(self.message)
        except ProofError:
            return None

    def to_json(self) -> dict[str, Any]:
        """The step as JSON values."""
        return {
            "name": self.name, "phase": self.phase, "outcome": self.outcome, "seconds": self.seconds,
            "verdict": self.verdict,
        }  # fmt: skip

    @property
    def unused_waivers(self) -> list[str]:
        """Why each waiver was not applied, as the verdict notes it."""
        return [note for note in (self.verdict or {"notes": ()})["notes"] if note.startswith("waiver ")]

    @property
    def outcome(self) -> str:
        """The outcome in one word, for people."""
        if self.verdict and self.phase in ("Succeeded", "Failed"):
            waived = any(reason["waived_by"] for reason in self.verdict["reasons"])
            result = str(self.verdict["result"]).replace("_", " ")
            return "passed by waiver" if waived and result == "passed" else result
        # A gate that exits 0 has passed, even if its verdict is not here; or it judged nothing, if it may.
        done = "passed" if self.gate and self.name not in MAY_JUDGE_NOTHING else "done"
        words = {"Succeeded": done, "Running": "running", "Error": "error", "Failed": "failed"}
        return "refused" if self.exit_code == 3 else words.get(self.phase, "not reached")

    def log_lines(self) -> Iterator[dict[str, Any]]:
        """The step's log, one JSON object per line; any other line becomes an event `text`."""
        try:
            text = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                value = loads(line)
            except ValueError:
                value = None
            yield value if isinstance(value, dict) else {"event": "text", "text": line}

    @cached_property
    def error(self) -> dict[str, Any] | None:
        """The last error in the step's log, with message and fix; without a log, the error in the step's message."""
        errors = [line for line in self.log_lines() if line.get("event") in ("error", "bug")]
        if errors:
            return errors[-1]
        said = _left(self.message)
        return {"message": said["error"], "fix": said.get("fix", "")} if "error" in said else None


def _left(message: str) -> dict[str, Any]:
    """The termination message of a program in Argo's form, `main: Error (exit code 3): {…}`; empty if there is none."""
    match = re.search(r"\(exit code \d+\): (\{.*\})\s*$", message, re.DOTALL)
    try:
        return dict(loads(match[1])) if match else {}
    except ValueError:  # truncated
        return {}


def _told(message: str) -> dict[str, Any] | None:
    """The verdict in a gate's termination message, or None; `left_out` counts the reasons that did not fit."""
    said = _left(message)
    if not _is_verdict(said):
        return None
    return {
        "result": said["result"],
        "reasons": [{**reason, "waiver": None} for reason in said["reasons"]],
        "notes": said["notes"],
        "measurements": {},
        "left_out": said.get("left_out", 0),
    }


def verdict_in(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict in an envelope whose signature is not verified here. Errors: ProofError if it is not a verdict."""
    said = predicate(envelope)
    if not _is_verdict(said):
        msg = "a signed record is not a verdict"
        raise ProofError(msg, fix="use the unchanged file that the gate wrote")
    return said


def _is_verdict(said: Mapping[str, Any]) -> bool:
    """Whether it has the form of a verdict: any program can write such a file or message."""
    reasons, notes, measured = said.get("reasons"), said.get("notes"), said.get("measurements", {})
    return (
        said.get("result") in ("passed", "refused", "inconclusive", "not_judged")
        and isinstance(reasons, list)
        and all(isinstance(reason, dict) and _is_reason(reason) for reason in reasons)
        and _are_texts(notes)
        and isinstance(measured, dict)
    )


def _is_reason(reason: Mapping[str, Any]) -> bool:
    waived, waiver = reason.get("waived_by"), reason.get("waiver")
    return (
        all(isinstance(reason.get(key), str) for key in ("id", "rule", "message", "why"))
        and _are_texts(reason.get("lines"))
        and (waived is None or isinstance(waived, str))
        and (waiver is None or (isinstance(waiver, dict) and all(isinstance(waiver.get(k), str) for k in _OF_A_WAIVER)))
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def program_steps(spec: Mapping[str, Any]) -> list[str]:
    """The tasks of a workflow that run a program, in the order of its graphs; the exit handler's come last."""
    templates = {t["name"]: t for t in spec["templates"]}

    def walk(name: str) -> list[str]:
        template = templates[name]
        if "dag" not in template:
            return [name]
        return [step for task in template["dag"]["tasks"] for step in walk(task["template"])]

    end = spec.get("onExit")
    return [*walk(spec["entrypoint"]), *(walk(end) if end else [])]


def declared_pages(spec: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The outputs of a workflow's templates that are declared as pages, by template; only their keys end in .html.

    A name that is not one of a contract is left out: it becomes the name of a file.
    """
    found = {}
    for template in spec.get("templates", ()):
        artifacts = template.get("outputs", {}).get("artifacts") or ()
        keys = {str(each["name"]): str((each.get("s3") or {}).get("key", "")) for each in artifacts}
        names = tuple(name for name, key in keys.items() if key.endswith(".html") and name.isidentifier())
        if names:
            found[str(template["name"])] = names
    return found


def additional_gates(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The templates of a workflow with the key of an additional gate; no other step of a model has a key."""

    def signs(template: Mapping[str, Any]) -> bool:
        secrets = (str((each.get("secret") or {}).get("secretName", "")) for each in template.get("volumes") or ())
        keys = (name.removeprefix(layout.KEY_SECRETS) for name in secrets if name.startswith(layout.KEY_SECRETS))
        return any(map(layout.is_additional_signer, keys))

    return tuple(str(template["name"]) for template in spec.get("templates", ()) if signs(template))


@dataclass(frozen=True)
class About:
    """What the engine does not know about a run: its model, its workflow, its settings, its steps.

    steps: each task that runs a program, in the order of the graph. before: the live pointer at its start.
    keep: whether its data stay when it has ended. pages: the outputs that are declared as pages, by step.
    gates: the steps that are additional gates of the model.
    """

    model: str
    workflow: str
    given: Mapping[str, str]
    steps: tuple[str, ...]
    before: Mapping[str, Any] | None
    keep: bool = False
    pages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gates: tuple[str, ...] = ()

    def pages_of(self, step: str) -> Sequence[str]:
        """The pages of a step; the step of a loop has its item in its name."""
        return self.pages.get(step.partition("(")[0], ())

    def write(self, folder: Path) -> None:
        """Write it beside the engine's record."""
        (folder / "about.json").write_bytes(canonical({**asdict(self), "given": dict(self.given)}))

    @classmethod
    def read(cls, folder: Path) -> "About":
        """Read it from beside the engine's record; empty if the run was not started by `lockgate run`."""
        try:
            value = loads((folder / "about.json").read_bytes())
            keep, pages = bool(value.get("keep")), {k: tuple(names) for k, names in value.get("pages", {}).items()}
            steps, gates = tuple(value["steps"]), tuple(value.get("gates", ()))
            return cls(value["model"], value["workflow"], value["given"], steps, value["before"], keep, pages, gates)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls("", "", {}, (), None)


@dataclass(frozen=True)
class RunRecord:
    """One run, as recorded in `.lockgate/runs/<id>/`."""

    run: Run
    about: About

    @classmethod
    def load(cls, folder: Path) -> "RunRecord":
        """Read the record in a run's folder. Errors: BadCall if there is none."""
        return cls(Run.load(folder), About.read(folder))

    @property
    def id(self) -> str:
        """The id that people type."""
        return self.run.id

    @property
    def phase(self) -> str:
        """Argo's phase; or `Interrupted` if its process is gone, or `Stopped` if somebody stopped it."""
        if self.run.phase in ("Running", "Pending"):
            return self.run.phase if self.run.alive else "Interrupted"
        return "Stopped" if self.run.message.startswith("Stopped with strategy") else self.run.phase

    @property
    def started(self) -> str:
        """When it started, as in run.json."""
        return str(self.run.values.get("startedAt") or "")

    @property
    def seconds(self) -> float | None:
        """Its duration, or None if it has not ended."""
        end = self.run.values.get("finishedAt")
        if not self.started or not end:
            return None
        return (read_time(end) - read_time(self.started)).total_seconds()

    @cached_property
    def steps(self) -> list[Step]:
        """Each task that runs a program, in the order of the graph."""
        found: dict[str, Step] = {}
        nodes = {node.id: node for node in self.run.nodes}
        tried = {
            node.id: [child for child in map(nodes.get, node.children) if child is not None and node.has_tried(child)]
            for node in nodes.values()
            if node.type == "Retry"
        }
        attempts = {child.id for children in tried.values() for child in children}
        for node in nodes.values():
            if node.type not in ("Pod", "Retry", "Skipped") or node.id in attempts:
                continue
            last = (tried.get(node.id) or [node])[-1]
            step = self._step(node, last)
            found[step.name] = step
        order = {name: at for at, name in enumerate(self.about.steps)}
        known = [s for s in found.values() if s.name in order or s.phase not in UNREACHED]
        missing = [Step(n, "Omitted", "", None, None, self.run.folder) for n in self.about.steps if n not in found]
        return sorted([*known, *missing], key=lambda step: order.get(step.name, len(order)))

    def _step(self, task: Node, last: Node) -> Step:
        code = (last.outputs or {}).get("exitCode")
        name = "conclude" if task.at_exit else task.display_name
        return Step(
            name=name,
            phase=last.phase,
            message=last.message or task.message,
            exit_code=int(code) if code not in (None, "") else None,
            # A step that a resumed run reuses keeps the time of its earlier attempt.
            seconds=max(0.0, last.seconds if last.reused else task.seconds) if task.finished_at else None,
            folder=self.run.folder / last.folder if last.folder else self.run.folder / "nodes" / "none",
            additional=task.template_name in self.about.gates,
        )

    @property
    def refused(self) -> list[Step]:
        """The gates whose verdict does not let the run continue."""
        let = ("passed", "not_judged")
        return [step for step in self.steps if step.verdict and step.verdict["result"] not in let]

    @property
    def unjudged(self) -> list[Step]:
        """The gates that judged nothing: no rule of the policy has a limit, or no version was live to compare with."""
        return [step for step in self.steps if step.verdict and step.verdict["result"] == "not_judged"]

    @property
    def left_out(self) -> list[str]:
        """The small groups that a rule with a limit left out and the policy accepts, as the verdicts note them."""
        notes = (note for step in self.steps for note in (step.verdict or {"notes": ()})["notes"])
        return [note for note in notes if note.startswith("left out ")]

    @property
    def waived(self) -> list[dict[str, Any]]:
        """The reasons of its verdicts that waivers cover."""
        verdicts = [step.verdict for step in self.steps if step.verdict]
        return [reason for verdict in verdicts for reason in verdict["reasons"] if reason["waived_by"]]

    @property
    def failed(self) -> list[Step]:
        """The steps that failed without a refusing verdict."""
        refused = {step.name for step in self.refused}
        return [s for s in self.steps if s.phase in ("Failed", "Error") and s.name not in refused]


@dataclass(frozen=True)
class Runs:
    """The runs on record on this machine."""

    folder: Path

    def all(self) -> list[RunRecord]:
        """Every run, the newest first; a folder without a record is left out."""
        found = []
        for path in self.folder.glob("*/run.json"):
            with suppress(BadCall):
                found.append(RunRecord.load(path.parent))
        return sorted(found, key=lambda run: run.started, reverse=True)


@dataclass(frozen=True)
class Found:
    """The runs of a place, the newest first.

    unread: the runs there that cannot be read, which are not among them: name -> why.
    """

    runs: Sequence[RunRecord]
    unread: Mapping[str, BadCall] = field(default_factory=dict)


def named(found: Found, name: str) -> RunRecord:
    """The run that a name means, of these; `last` is the newest that can be read. Errors: BadCall, UnknownName."""
    if name in found.unread:
        raise found.unread[name]
    runs = found.runs
    if name == "last" and runs:
        return runs[0]
    fitting = [run for run in runs if run.id.startswith(name)]
    if not fitting:
        raise UnknownName("run", name, [run.id for run in runs])
    if len(fitting) > 1 and all(run.id != name for run in fitting):
        msg = f"{name!r} matches {len(fitting)} runs: {', '.join(run.id for run in fitting[:5])}"
        raise BadCall(msg, fix="give one more character")
    return next((run for run in fitting if run.id == name), fitting[0])
