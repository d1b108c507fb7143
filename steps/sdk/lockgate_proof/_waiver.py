"""Waivers: signed, expiring, named exceptions to one reason of one verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate_step import BadCall

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._trust import Trust


@dataclass(frozen=True)
class Waiver:
    """A waiver whose signature was verified."""

    statement: Statement
    model: str
    gate: str
    reason: str
    approver: str
    why: str
    expires: datetime

    def covers(self, *, model: str, gate: str, rule: str, subjects: Mapping[str, str], now: datetime | None) -> bool:
        """Whether it excepts this rule of this verdict; without `now` its expiry is not looked at."""
        return (
            (self.model, self.gate, self.reason) == (model, gate, rule)
            and dict(self.statement.subjects) == dict(subjects)
            and (now is None or now < self.expires)
        )


def read_waivers(content: Path | bytes | Sequence[Mapping[str, Any]], trust: Trust) -> list[Waiver]:
    """Every waiver of a JSON list, each verified; the approver is whoever the trust file says owns the key.

    Errors: BadCall when it is not a list of waivers, ProofError when a signature does not hold.
    """
    try:
        if isinstance(content, Path):
            content = content.read_bytes()
        entries = json.loads(content) if isinstance(content, bytes) else content
        if not isinstance(entries, list | tuple):
            raise TypeError(type(entries).__name__)
        waivers = []
        for entry in entries:
            statement = verify(entry, trust, signer="waive")
            said = statement.predicate
            expires = datetime.fromisoformat(said["expires"]).astimezone(UTC)
            waivers.append(
                Waiver(statement, said["model"], said["gate"], said["reason"], statement.owner, said["why"], expires)
            )
    except (ValueError, KeyError, TypeError) as error:
        msg = "the waivers are not a list of signed waivers"
        raise BadCall(msg, fix="write them with: lockgate waive RUN GATE/N") from error
    return waivers


def waiver_for(
    waivers: Sequence[Waiver], *, model: str, gate: str, rule: str, subjects: Mapping[str, str], now: datetime | None
) -> Waiver | None:
    """The first waiver that covers this rule of this verdict."""
    fitting = (w for w in waivers if w.covers(model=model, gate=gate, rule=rule, subjects=subjects, now=now))
    return next(fitting, None)
