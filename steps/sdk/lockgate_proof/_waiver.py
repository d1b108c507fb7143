"""Waivers: signed, expiring, named exceptions to one reason of one verdict."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate_step import BadCall

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust

_FIX = "have it signed again with lockgate waive, or remove it"


@dataclass(frozen=True)
class Waiver:
    """A waiver whose signature was verified.

    file: where it stands in the model's folder, e.g. `waivers/bias-audit-1a2b3c4d.json`; a name, and not signed.
    approver: who approved it, as the signed text says; whose key vouches for that is `signer`.
    """

    file: str
    statement: Statement
    model: str
    gate: str
    reason: str
    approver: str
    why: str
    expires: datetime

    @property
    def signer(self) -> str:
        """Whose key signed it, as the trust file says."""
        return self.statement.owner

    def problem(
        self, *, model: str, gate: str, rules: Collection[str], subjects: Mapping[str, str], now: datetime | None
    ) -> str:
        """Why it excepts none of these rules of this verdict; nothing where it does. Without `now` it never expires."""
        if self.gate != gate:
            return f"is for {self.gate}"
        if self.model != model:
            return f"is for the model {self.model}"
        if now is not None and now >= self.expires:
            return f"expired on {self.expires:%Y-%m-%d}"
        own = self.statement.subjects
        if other := sorted(name for name in {*own, *subjects} if own.get(name) != subjects.get(name)):
            return f"is about another {' and '.join(other)}"
        return "" if self.reason in rules else f"excepts {self.reason}, which is no reason here"

    def to_json(self) -> dict[str, str]:
        """What a verdict says of the waiver that it cites."""
        return {
            "file": self.file,
            "approver": self.approver,
            "signer": self.signer,
            "why": self.why,
            "expires": self.expires.isoformat(),
        }


def read_waivers(content: Path, trust: Trust) -> list[Waiver]:
    """Every waiver of a JSON list of `{"file", "envelope"}`, each verified.

    Errors: as `read_waiver`, and BadCall when it is no such list.
    """
    try:
        entries = [(str(entry["file"]), entry["envelope"]) for entry in json.loads(content.read_bytes())]
    except (ValueError, KeyError, TypeError) as error:
        msg = "the waivers are not a list of signed waivers, each with its file"
        raise BadCall(msg, fix="write them with: lockgate waive RUN GATE/N") from error
    return [read_waiver(file, envelope, trust) for file, envelope in entries]


def read_waiver(file: str, envelope: Any, trust: Trust) -> Waiver:
    """One waiver, verified. Errors: ProofError when its signature does not hold, BadCall when it is no waiver."""
    try:
        statement = verify(envelope, trust, signer="waive")
    except ProofError as error:
        msg = f"{file} {error.message}"
        raise ProofError(msg, fix=_FIX) from error
    said = statement.predicate
    try:
        model, gate, reason, approver, why = (said[n] for n in ("model", "gate", "reason", "approver", "why"))
        expires = datetime.fromisoformat(said["expires"])
        # Printable, since terminals show these words; and a time without a zone ends at another hour elsewhere.
        printable = all(text.strip() and text.isprintable() for text in (model, gate, reason, approver, why))
        if not printable or expires.tzinfo is None:
            raise ValueError(said["expires"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{file} is signed, but does not say which reason it excepts, who approved it, why, and until when"
        raise BadCall(msg, fix=_FIX) from error
    return Waiver(file, statement, model, gate, reason, approver, why, expires.astimezone(UTC))


def waiver_for(
    waivers: Sequence[Waiver], *, model: str, gate: str, rule: str, subjects: Mapping[str, str], now: datetime | None
) -> Waiver | None:
    """The first waiver that covers this rule of this verdict."""
    fitting = (w for w in waivers if not w.problem(model=model, gate=gate, rules=[rule], subjects=subjects, now=now))
    return next(fitting, None)


def ignored(
    waivers: Sequence[Waiver],
    *,
    model: str,
    gate: str,
    rules: Collection[str],
    subjects: Mapping[str, str],
    now: datetime | None,
) -> list[str]:
    """A sentence for each waiver of this gate that covers none of its reasons: which file, and why not."""
    return [
        f"waiver {waiver.file} {problem}"
        for waiver in waivers
        if waiver.gate == gate
        and (problem := waiver.problem(model=model, gate=gate, rules=rules, subjects=subjects, now=now))
    ]
