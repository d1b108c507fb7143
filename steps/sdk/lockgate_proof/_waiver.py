"""Waivers: signed exceptions from one reason of one verdict, each with an approver and an end date."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lockgate_step import BadCall, loads, read_supplied, read_time

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust

# The longest time from now to the end of a waiver, wherever one is signed or read.
LONGEST = timedelta(days=366)
_LONGEST_TEXT = 4000
_FIX = "sign a new one with lockgate waive, or remove it"


@dataclass(frozen=True)
class Waiver:
    """A waiver whose signature was verified.

    file: its name in the model's folder, e.g. `waivers/bias-audit-1a2b3c4d.json`; the name is not signed.
    approver: who approved it, from the signed text. signer: the owner of the key that signed it.
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
        """The owner of the key that signed it, from the trust file."""
        return self.statement.owner

    def problem(
        self, *, model: str, gate: str, rules: Collection[str], subjects: Mapping[str, str], now: datetime | None
    ) -> str:
        """Return why it covers none of these rules of this verdict, or "". Without `now` it never expires."""
        if self.gate != gate:
            return f"is for {self.gate}"
        if self.model != model:
            return f"is for the model {self.model}"
        if now is not None and now >= self.expires:
            return f"expired on {self.expires:%Y-%m-%d}"
        own = self.statement.subjects
        if other := sorted(name for name in {*own, *subjects} if own.get(name) != subjects.get(name)):
            return f"is about another {' and '.join(other)}"
        return "" if self.reason in rules else f"is for {self.reason}, which is not a reason of this verdict"

    def to_json(self) -> dict[str, str]:
        """Return the entry of a verdict that cites the waiver."""
        return {
            "file": self.file,
            "approver": self.approver,
            "signer": self.signer,
            "why": self.why,
            "expires": self.expires.isoformat(),
        }


def read_waivers(content: Path | bytes, trust: Trust) -> list[Waiver]:
    """Read a JSON list of `{"file", "envelope"}` and verify each waiver.

    content: a file or its bytes.
    Errors: as `read_waiver`; BadCall if it is not such a list.
    """
    try:
        listed = loads(read_supplied(content) if isinstance(content, Path) else content)
        entries = [(entry["file"], entry["envelope"]) for entry in listed]
        if not isinstance(listed, list) or not all(_shown(file) for file, _ in entries):
            raise ValueError(listed)
    except (ValueError, KeyError, TypeError) as error:
        msg = "the waivers are not a list of signed waivers, each with its file"
        raise BadCall(msg, fix="write them with: lockgate waive RUN GATE/N") from error
    return [read_waiver(file, envelope, trust) for file, envelope in entries]


def read_waiver(file: str, envelope: Any, trust: Trust) -> Waiver:
    """Verify one waiver.

    Its last day is at most a year (`LONGEST`) from now, whoever signed it and with which program.
    Errors: ProofError if its signature is invalid, BadCall if it is not a waiver or lasts too long.
    """
    try:
        statement = verify(envelope, trust, signer="waive")
    except ProofError as error:
        msg = f"{file} {error.message}"
        raise ProofError(msg, fix=_FIX) from error
    signed = statement.predicate
    try:
        model, gate, reason, approver, why = (signed[n] for n in ("model", "gate", "reason", "approver", "why"))
        expires = read_time(signed["expires"])
        if not all(_shown(text) for text in (model, gate, reason, approver, why)):
            raise ValueError(signed["expires"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file} is signed, but does not state its model, gate, reason, approver, why and expires"
        raise BadCall(msg, fix=_FIX) from error
    if expires > datetime.now(UTC) + LONGEST:
        msg = f"{file} lasts until {expires:%Y-%m-%d}; a waiver lasts at most {LONGEST.days} days from now"
        raise BadCall(msg, fix=_FIX)
    return Waiver(file, statement, model, gate, reason, approver, why, expires)


def _shown(text: object) -> bool:
    """Return whether a text can be shown on one line of a terminal."""
    return isinstance(text, str) and bool(text.strip()) and text.isprintable() and len(text) <= _LONGEST_TEXT


def waiver_for(
    waivers: Sequence[Waiver], *, model: str, gate: str, rule: str, subjects: Mapping[str, str], now: datetime | None
) -> Waiver | None:
    """Return the first waiver that covers this rule of this verdict."""
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
    """Return a sentence for each waiver of this gate that covers none of its reasons: its file and why."""
    return [
        f"waiver {waiver.file} {problem}"
        for waiver in waivers
        if waiver.gate == gate
        and (problem := waiver.problem(model=model, gate=gate, rules=rules, subjects=subjects, now=now))
    ]
