"""Verifies that a verdict passed and is about exactly the expected subjects."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lockgate_step import layout

from lockgate_proof._envelope import ADDITIONAL, Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._traffic import CANARY
from lockgate_proof._trust import Trust
from lockgate_proof._waiver import Waiver, ignored, waiver_for

# A policy may leave out every rule of the first, and without a live version the second has nothing to compare with. Of
# any other gate, `not_judged` is a verdict that nobody may sign.
MAY_JUDGE_NOTHING = ("bias-audit", CANARY)


def verify_verdict(
    record: Path | Mapping[str, Any] | bytes,
    trust: Trust,
    *,
    gate: str,
    model: str,
    subjects: Mapping[str, str],
    waivers: Sequence[Waiver] | None = (),
    now: datetime | None,
    name: str = "",
    additional: bool = False,
) -> Statement:
    """Verify that a gate's verdict on exactly these subjects passed, with a waiver for every listed reason.

    A verdict `not_judged` is valid too, of a gate that may judge nothing; whoever shows it must say so.

    subjects: name -> the digest that the verdict must have. name: of the file, for messages.
    additional: whether it is a gate that this model has beside Lockgate's own. Its verdict has a type of its own, and
        only its own key may sign it.
    waivers: None if the gate itself applied them, and the caller does not have them.
    now: the time at which waivers must be valid; None if expired ones are accepted (a server that restarts).
    Errors: ProofError, for the first check that fails.
    """
    signer = layout.additional_signer(model, gate) if additional else gate
    statement = verify(record, trust, signer=signer, kind=ADDITIONAL if additional else "verdict", name=name)
    verdict = statement.predicate
    if (verdict.get("gate"), verdict.get("model")) != (gate, model):
        msg = f"this is the verdict of {verdict.get('gate')} on {verdict.get('model')}, not of {gate} on {model}"
        raise ProofError(msg, fix="use verdicts of the same run")
    for subject, digest in subjects.items():
        if statement.subjects.get(subject) != digest:
            msg = f"{gate} judged another {subject}: {statement.subjects.get(subject, 'none')}, not {digest}"
            raise ProofError(msg, fix="run the gates again on what you want to deploy")
    may_judge_nothing = gate in MAY_JUDGE_NOTHING and not additional
    unjudged = verdict.get("result") == "not_judged" and may_judge_nothing and not verdict.get("reasons")
    if verdict.get("result") != "passed" and not unjudged:
        msg = f"{gate} did not pass: {verdict.get('result')}"
        raise ProofError(msg, fix=f"lockgate report {verdict.get('run', '')}".strip())
    reasons = verdict.get("reasons")
    if not isinstance(reasons, list) or not all(_is_reason(reason) for reason in reasons):
        msg = f"the verdict of {gate} is signed, but does not list its reasons"
        raise ProofError(msg, fix="run the gate again, with the same version as this program")
    if waivers is None:
        return statement
    for reason in reasons:
        judged, rule = statement.subjects, reason["rule"]
        if waiver_for(waivers, model=model, gate=gate, rule=rule, subjects=judged, now=now) is None:
            others = ignored(waivers, model=model, gate=gate, rules=[rule], subjects=judged, now=now)
            msg = "; ".join([f"{reason['id']} of {gate} is not covered by a valid waiver", *others])
            raise ProofError(msg, fix=f"lockgate waive {verdict.get('run', 'RUN')} {reason['id']}")
    return statement


def _is_reason(reason: object) -> bool:
    return isinstance(reason, dict) and all(isinstance(reason.get(name), str) for name in ("id", "rule"))
