"""Signs what a program returns."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_never

from lockgate_step import (
    Inconclusive,
    NotJudged,
    Outcome,
    Passed,
    Reason,
    Record,
    Refused,
    canonical,
    file_digest,
    is_additional,
    layout,
    sha256,
)

from lockgate_proof._envelope import ADDITIONAL, sign
from lockgate_proof._trust import Trust
from lockgate_proof._waiver import Waiver, ignored, read_waivers, waiver_for


def seal(outcome: Outcome, contract: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return the signed record of an outcome; the key is `key/private.pem` below the root.

    Waivers among the program's inputs are applied here. If waivers cover every reason of a verdict, it is `passed` and
    still lists its reasons, each with its waiver. The notes name each waiver that covers no reason. The digest of each
    page that the program wrote is signed too, so that a page that somebody else wrote is not taken for it.
    """
    key = root / layout.KEY / layout.PRIVATE_KEY
    who = {
        "program": _program(contract["program"]),
        "run": os.environ.get("LOCKGATE_RUN", ""),
        **_pages(contract, root),
    }
    if isinstance(outcome, Record):
        return sign(outcome.kind, outcome.subjects, {**outcome.predicate, **who}, key)
    gate = contract["program"]
    waivers = _waivers(contract, root)
    now = datetime.now(UTC)
    reasons = []
    for number, reason in enumerate(outcome.reasons, start=1):
        waiver = waiver_for(
            waivers, model=outcome.model, gate=gate, rule=reason.rule, subjects=outcome.subjects, now=now
        )
        reasons.append(_reason(f"{gate}/{number}", reason, waiver))
    rules = [reason.rule for reason in outcome.reasons]
    unused = ignored(waivers, model=outcome.model, gate=gate, rules=rules, subjects=outcome.subjects, now=now)
    verdict = {
        "model": outcome.model,
        "gate": gate,
        "result": "passed" if reasons and all(r["waived_by"] for r in reasons) else _result(outcome),
        "reasons": reasons,
        "notes": [*outcome.notes, *unused],
        "measurements": dict(outcome.measurements),
        **who,
    }
    return sign(ADDITIONAL if is_additional(contract) else "verdict", outcome.subjects, verdict, key)


def _result(outcome: Passed | NotJudged | Refused | Inconclusive) -> str:
    match outcome:
        case Passed():
            return "passed"
        case NotJudged():
            return "not_judged"
        case Refused():
            return "refused"
        case Inconclusive():
            return "inconclusive"
        case _ as never:
            assert_never(never)


def _reason(identity: str, reason: Reason, waiver: Waiver | None) -> dict[str, Any]:
    return {
        "id": identity,
        "rule": reason.rule,
        "message": reason.message,
        "lines": list(reason.lines),
        "why": reason.why,
        "source": reason.source,
        "waived_by": waiver.statement.digest if waiver else None,
        "waiver": waiver.to_json() if waiver else None,
    }


def _waivers(contract: Mapping[str, Any], root: Path) -> list[Waiver]:
    paths = [root / layout.IN / entry["name"] for entry in contract["inputs"] if entry["type"] == "Waivers"]
    present = [path for path in paths if path.is_file() and path.stat().st_size]
    return [waiver for path in present for waiver in read_waivers(path, Trust.read())] if present else []


def _pages(contract: Mapping[str, Any], root: Path) -> dict[str, dict[str, str]]:
    """Return `pages`: the digest of each page that the program wrote, by the output's name; nothing if it has none."""
    names = [output["name"] for output in contract["outputs"] if output["type"] == "Report"]
    found = {name: file_digest(root / layout.OUT / name) for name in names if (root / layout.OUT / name).is_file()}
    return {"pages": found} if found else {}


def _program(name: str) -> dict[str, str]:
    """Return which code signs: the image it runs in and the digest of the program's own files."""
    main = Path(getattr(sys.modules.get("__main__"), "__file__", None) or __file__)
    # A model's own step is one file; what is beside it is not part of it.
    own = sorted(main.parent.glob("*.py")) if main.name == "__main__.py" else [main]
    files = {path.name: file_digest(path) for path in own}
    return {"name": name, "image": os.environ.get("LOCKGATE_IMAGE", ""), "code": sha256(canonical(files))}
