"""How a run ended and what it means for users: one form for `run` here and for `submit --watch` on a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate_proof import CANARY

from lockgate.records.live import Live
from lockgate.records.runs import RunRecord
from lockgate.report.lines import (
    again,
    ending_lines,
    exit_code,
    next_lines,
    open_lines,
    outcome_lines,
    rule_place,
    waived_lines,
    ways_out,
)


@dataclass(frozen=True)
class Result:
    """How a run ended.

    before: the live pointer before the run. live: what users reach after it.
    tunable: the settings a run may vary, each with its possible values, the one of the spec first.
    options: the options that name the cluster; empty for this machine.
    report: the link to its pages, if they were written. notes: what else the user should know.
    """

    record: RunRecord
    before: Mapping[str, Any] | None
    live: Live
    tunable: Mapping[str, list[str]]
    options: str = ""
    report: str = ""
    notes: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0 released, 2 invalid call, 3 refused, 4 an external service failed."""
        return exit_code(self.record)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "run": self.record.id,
            "model": self.record.about.model,
            "phase": self.record.phase,
            "exit_code": self.exit_code,
            "live": self.live.pointer,
            "url": self.live.url,
            "steps": [step.to_json() for step in self.record.steps],
        }

    def lines(self, *, welcome: bool = False) -> list[str]:
        """The result as people read it; welcome: for the first run on a machine."""
        lines = ["", *self._outcome(), *(f"Note: {note}" for note in self.notes)]
        lines += next_lines(self._welcome() if welcome and self.exit_code == 0 else self._next())
        return lines if self.exit_code == 0 else [*lines, f"exit {self.exit_code}"]

    def _outcome(self) -> list[str]:
        record, live = self.record, self.live
        if not live.hidden and (live.pointer or record.phase != "Succeeded"):
            return outcome_lines(record, live.pointer, self.before, live.url)
        if record.phase == "Succeeded":
            waived = [line for reason in record.waived for line in waived_lines(reason)]
            return [f"Released: {record.about.model} has a new live version.", *waived, *open_lines(record)]
        promoted = any(step.name == "promote" and step.phase == "Succeeded" for step in record.steps)
        return [*ending_lines(record), *([] if promoted else ["Nothing changed for users: promote did not succeed."])]

    def _with(self, command: str) -> str:
        return f"{command} {self.options}".rstrip()

    def _welcome(self) -> list[tuple[str, str]]:
        model = self.record.about.model
        return [
            ("source .venv/bin/activate", "makes `lockgate` a command in this terminal"),
            (f"lockgate predict {model} docs/rows.csv", "CSV in, the same rows with label and score out"),
            (f"lockgate report {self.record.id}", self.report),
            ("lockgate new NAME --data FILE --target COLUMN", "your own model"),
        ]

    def _next(self) -> list[tuple[str, str]]:
        run, model = self.record.id, self.record.about.model
        pages = self.report or ("every page; needs the store's credentials" if self.options else "")
        report = (self._with(f"lockgate report {run}"), pages)
        if self.exit_code == 0:
            if self.options:
                return [(self._with(f"lockgate status {model}"), "what is live, and the last runs"), report]
            return [report, (f"lockgate verify {model}", "verifies what is live")]
        if self.record.refused:
            return self._after_refusal(report)
        failed = next((step.name for step in self.record.failed), "")
        return [(self._with(f"lockgate logs {run} {failed}".rstrip()), "its log"), self._again()]

    def _after_refusal(self, report: tuple[str, str]) -> list[tuple[str, str]]:
        step = self.record.refused[0]
        found = [report]
        if not self.options:
            shows = "every group, with intervals" if step.name == "bias-audit" else "everything that was checked"
            found = [(report[0], shows)]
        found += [(command, "") for command in ways_out(self.record, self.tunable, self.options)]
        if (step.verdict or {})["result"] == "inconclusive":
            model, given = self.record.about.model, {**self.record.about.given, "data": "FILE"}
            folder = f"pipelines/{model.replace('-', '_')}/"
            if step.name == CANARY:
                found.append((again(self.record, self.options), "when more requests come"))
                found.append((f"{folder}pipeline.py", "a longer hold or larger shares; then run again"))
                return found
            how_many = "" if step.additional else "; above is how many"
            found.append((again(self.record, self.options, given), f"with more rows{how_many}"))
            limit = "another limit with your own why, or a small group accepted by name; then run again"
            rule = f"another rule in {rule_place(step)}; then run again"
            found.append((folder, rule) if step.additional else (f"{folder}policy.toml", limit))
        open_to = [step for step in self.record.refused if step.reads_waivers]
        reasons = [r["id"] for s in open_to for r in (s.verdict or {})["reasons"] if not r["waived_by"]]
        if reasons:
            key = " --key FILE" if self.options else ""
            waive = self._with(f"lockgate waive {self.record.id} {reasons[0]}{key}")
            more = "" if len(reasons) == 1 else f"; also for {', '.join(reasons[1:])}"
            found.append((waive, f"signs an exception that expires{more}"))
        return found

    def _again(self) -> tuple[str, str]:
        if self.exit_code == 2:  # a wrong call stays wrong; a corrected one starts a new run
            return again(self.record, self.options), "after you correct it"
        if self.exit_code == 3:
            return again(self.record, self.options), "compares with what is live now"
        if self.options:
            return again(self.record, self.options), "tries again"
        return f"lockgate run {self.record.about.model} --resume {self.record.id}", "continues where it ended"
