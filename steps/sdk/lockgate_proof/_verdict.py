"""One verdict, believed only when it says passed about the very things that are at hand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust
from lockgate_proof._waiver import Waiver, ignored, waiver_for


def verify_verdict(
    record: Path | Mapping[str, Any] | bytes,
    trust: Trust,
    *,
    gate: str,
    model: str,
    subjects: Mapping[str, str],
    waivers: Sequence[Waiver] = (),
    now: datetime | None,
) -> Statement:
    """A gate's verdict on exactly these subjects, passed, every listed reason covered by a waiver.

    subjects: name -> digest that the verdict must have; it may have no other digest under these names.
    now: when waivers must still be valid; None where an expired one may still serve (a server that restarts).
    Errors: ProofError, saying what does not hold.
    """
    statement = verify(record, trust, signer=gate, kind="verdict")
    said = statement.predicate
    if (said.get("gate"), said.get("model")) != (gate, model):
        msg = f"this verdict is {said.get('gate')}'s about {said.get('model')}, not {gate}'s about {model}"
        raise ProofError(msg, fix="use the verdicts of one and the same run")
    for name, digest in subjects.items():
        if statement.subjects.get(name) != digest:
            msg = f"{gate} judged another {name}: {statement.subjects.get(name, 'none')}, not {digest}"
            raise ProofError(msg, fix="run the gates again on what you want to deploy")
    if said.get("result") != "passed":
        msg = f"{gate} did not pass: {said.get('result')}"
        raise ProofError(msg, fix=f"lockgate report {said.get('run', '')}".strip())
    for reason in said.get("reasons", []):
        judged, rule = statement.subjects, reason["rule"]
        if waiver_for(waivers, model=model, gate=gate, rule=rule, subjects=judged, now=now) is None:
            others = ignored(waivers, model=model, gate=gate, rules=[rule], subjects=judged, now=now)
            msg = "; ".join([f"{reason['id']} of {gate} is not covered by a valid waiver", *others])
            raise ProofError(msg, fix=f"lockgate waive {said.get('run', 'RUN')} {reason['id']}")
    return statement
