"""The facts about a run that its pages show, from records whose signatures were verified."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lockgate_proof import ProofError, Statement, Trust, verify
from lockgate_step import BadCall, layout, read_spec, read_time

from lockgate.records.runs import GATES, About, RunRecord

_RECORDS = {
    "ingest": "record", "predict": "answers/record.json", "package": "bundle/record.json", "deploy": "staged",
    "promote": "record",
}  # fmt: skip


def signed_file(step: str) -> str:
    """The signed file of a step, relative to its outputs: its verdict, or else its record."""
    return _RECORDS.get(step, "verdict")


def signs(step: str, about: About) -> bool:
    """Whether a step's program signs what it makes: its pages are shown only if it signed them."""
    return step in _RECORDS or step in GATES or step in about.gates


def signer_of(step: str, model: str) -> str:
    """What a step of a run signs as: a program of Lockgate as itself, any other as an additional gate of the model."""
    return step if step in _RECORDS or step in GATES else layout.additional_signer(model, step)


def of_run(signed: Statement, record: RunRecord) -> bool:
    """Whether a statement was signed in this run."""
    return signed.predicate.get("run") == record.id


@dataclass(frozen=True)
class Figure:
    """One measure that a gate judged: the key of its rule, the limit, the outcome, and the measured values.

    waiver: the waiver that covers it, from the verdict; None if there is none.
    """

    gate: str
    rule: str
    said: Mapping[str, Any]
    waiver: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Evidence:
    """A run, the trusted keys, and the current live pointer.

    options: the options that name its cluster; empty for this machine.
    """

    record: RunRecord
    trust: Trust
    live: Mapping[str, Any] | None
    options: str = ""

    @cached_property
    def statements(self) -> dict[str, Statement]:
        """What each step signed in this run, by step; only statements whose signature a trusted key made."""
        found = {}
        for step in self.record.steps:
            with suppress(ProofError):
                signer = signer_of(step.name, self.record.about.model)
                signed = verify(step.folder / layout.OUT / signed_file(step.name), self.trust, signer=signer)
                if of_run(signed, self.record):
                    found[step.name] = signed
        return found

    @property
    def signers(self) -> dict[str, list[str]]:
        """The owner of each key that signed -> the steps it signed for."""
        found: dict[str, list[str]] = {}
        for name, statement in self.statements.items():
            found.setdefault(statement.owner or "unnamed", []).append(name)
        return found

    @property
    def unproven(self) -> list[str]:
        """The gates with a verdict that no trusted key signed."""
        return [step.name for step in self.record.steps if step.verdict and step.name not in self.statements]

    @property
    def subjects(self) -> dict[str, str]:
        """Name -> digest of everything that was judged, and of the resulting bundle."""
        wanted = ("bundle", "model", "data", "spec", "policy", "base")
        found = {name: digest for said in self.statements.values() for name, digest in said.subjects.items()}
        return {name: found[name] for name in wanted if name in found}

    @property
    def data(self) -> Mapping[str, Any]:
        """What ingest signed about the data: `uri` and `rows`; empty if ingest did not finish."""
        statement = self.statements.get("ingest")
        return statement.predicate if statement else {}

    @property
    def description(self) -> str:
        """The model's description, from the spec of the run."""
        for step in self.record.steps:
            with suppress(OSError, BadCall):
                return read_spec(step.folder / layout.IN / "spec").description
        return ""

    @property
    def unused(self) -> list[str]:
        """Why a waiver was not applied, as the refusing verdicts note it."""
        return [note for step in self.record.refused for note in step.unused_waivers]

    @property
    def judged(self) -> list[Figure]:
        """Each measure with a limit."""
        return [figure for figure in self._figures() if figure.said["standing"] != "reported"]

    @property
    def reported(self) -> list[Figure]:
        """Each measure without a limit, measured for information only."""
        return [figure for figure in self._figures() if figure.said["standing"] == "reported"]

    @property
    def unaudited(self) -> list[str]:
        """The sensitive columns that the policy excludes from the audit."""
        measured = self._verdict("bias-audit").get("measurements", {})
        return list(measured.get("unaudited", ()))

    @property
    def left_out(self) -> list[str]:
        """The groups that a rule with a limit leaves out, by the rule's columns, each with its size."""
        found: dict[str, None] = {}
        for figure in self.judged:
            groups = [f"{each['group']} ({each['rows']})" for each in figure.said.get("left_out", ())]
            if groups:
                share = f", {figure.said['left_out_share']}"
                found[f"{figure.rule.split(':')[1].replace('+', ' and ')}: {', '.join(groups)}{share}"] = None
        return list(found)

    @property
    def without_verdict(self) -> list[str]:
        """The gates without a verdict, the model's additional ones too."""
        return [step.name for step in self.record.steps if step.gate and not step.verdict]

    def _figures(self) -> Iterator[Figure]:
        for step in self.record.steps:
            verdict = self._verdict(step.name)
            excepted = {reason["rule"]: reason["waiver"] for reason in verdict.get("reasons", ())}
            measured = verdict.get("measurements", {})
            if "expectations" in measured:
                yield Figure(step.name, "data:expectations", {"standing": _standing(verdict), **measured})
            for rule, said in measured.get("rules", {}).items():
                yield Figure(step.name, rule, said, excepted.get(rule))
            if golden := measured.get("golden_one_by_one"):
                yield Figure(step.name, "smoke:golden", {"standing": _standing(verdict, "smoke:golden"), **golden})

    def _verdict(self, gate: str) -> Mapping[str, Any]:
        """The verdict that a trusted key signed in this run; empty if there is none."""
        signed = self.statements.get(gate)
        return signed.predicate if signed and signed.kind == "verdict" else {}


def moment(text: str) -> str:
    """A time to the minute, in UTC; the records have it to the microsecond."""
    return f"{read_time(text):%Y-%m-%d %H:%M} UTC" if text else "not started"


def _standing(verdict: Mapping[str, Any], rule: str = "") -> str:
    """The outcome of a check without an interval: `beyond` if it, or any check of its gate, is a reason to refuse."""
    return "beyond" if any(rule in ("", reason["rule"]) for reason in verdict.get("reasons", ())) else "within"
