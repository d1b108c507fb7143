"""Brings back a version that was live before, if it still verifies and today's rules, or an approver, allow it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lockgate_delivery.pointers import Pointers
from lockgate_delivery.pull import pull
from lockgate_proof import (
    Promotion,
    ProofError,
    Trust,
    VerifiedBundle,
    base_digest,
    promotions_before,
    read_current,
    verify_bundle,
    verify_current,
    verify_rules,
)
from lockgate_step import BadCall, Passed, Reason, Refusal, Refused, file_digest, log, read_spec
from lockgate_store import Store

PREVIOUS = "previous"
_DIGEST = re.compile(r"sha256:[0-9a-f]{6,64}")
_APPROVED = "A version that today's rules did not judge goes live only if an approver signs for it."
_WAIVED = "An exception that has ended does not put a version live again."


def bring_back(store: Store, spec: Path, policy: Path, bundle: Path, to: str) -> Passed | Refused:
    """Write the bundle that `to` names, verified, and return the verdict on it.

    to: `previous`, a generation, or the digest of a bundle, also its first digits.
    The version that was live before the present one passes, although the rules may have changed since: users must be
    able to get back at once. An older one that was judged by other rules is refused unless a waiver covers it.
    Errors: BadCall if no such version was live; Refusal if it is live now, or is not in the store; ProofError if it
    does not verify any more.
    """
    model, trust, current = read_spec(spec).name, Trust.read(), read_current()
    rules = {"spec": file_digest(spec), "policy": file_digest(policy)}
    verify_rules(model, rules, current)
    pointers = Pointers(store, model, trust)
    live = pointers.live().promotion
    if live is None:
        msg = f"no version of {model} was ever live"
        raise BadCall(msg, fix="release one first")
    wanted = _chosen(live, promotions_before(live, pointers.past, trust), to)
    if wanted.bundle == live.bundle:
        msg = f"{wanted.bundle} is live already, as generation {live.generation} of {model}"
        raise Refusal(msg, fix=f"lockgate history {model} shows what was live before")
    pull(store, model, wanted.bundle, bundle)
    proven = verify_bundle(bundle, trust, now=None, model=model, digest=wanted.bundle)
    reasons, notes = _reasons(proven, wanted, current, before=wanted.bundle == live.previous)
    subjects = {**rules, "bundle": wanted.bundle, "base": base_digest(live.bundle, live.generation)}
    measured = {
        "generation": wanted.generation,
        "live": {"bundle": live.bundle, "generation": live.generation},
        "judged_by": dict(proven.judged_by),
    }
    log("recalled", model=model, bundle=wanted.bundle, generation=wanted.generation, refused=len(reasons))
    if reasons:
        return Refused(model=model, subjects=subjects, reasons=reasons, notes=notes, measurements=measured)
    return Passed(model=model, subjects=subjects, notes=notes, measurements=measured)


def _chosen(live: Promotion, earlier: Iterator[Promotion], to: str) -> Promotion:
    """Return the newest promotion that `to` names, the present one included."""
    if to == PREVIOUS:
        found = next(earlier, None)
    elif to.isdecimal():
        found = next((each for each in (live, *earlier) if each.generation == int(to)), None)
    elif _DIGEST.fullmatch(to):
        every = [each for each in (live, *earlier) if each.bundle.startswith(to)]
        if len({each.bundle for each in every}) > 1:
            msg = f"{to} names {len({each.bundle for each in every})} versions of {live.model}"
            raise BadCall(msg, fix="give more digits")
        found = every[0] if every else None
    else:
        msg = f"to is {to!r:.80}, which is neither a generation nor a digest"
        raise BadCall(msg, fix="give `previous`, a generation such as 3, or a digest such as sha256:1a2b3c")
    if found is None:
        what = "version before the present one" if to == PREVIOUS else f"version {to}"
        msg = f"no {what} of {live.model} was ever live"
        raise BadCall(msg, fix=f"lockgate history {live.model} shows what was live")
    return found


def _reasons(
    proven: VerifiedBundle, wanted: Promotion, current: dict[str, object], *, before: bool
) -> tuple[tuple[Reason, ...], tuple[str, ...]]:
    """Return why a version may not come back without an approver, and what its reader must know."""
    reasons, notes = list[Reason](), list[str]()
    try:
        verify_current(proven, current)
    except ProofError as error:
        said = f"generation {wanted.generation}: {error.message}"
        if before:
            notes.append(said)
        else:
            reasons.append(Reason(rule="recall:rules", message=said, why=_APPROVED))
    try:
        verify_bundle(proven.folder, Trust.read(), now=datetime.now(UTC))
    except ProofError as error:
        reasons.append(Reason(rule="recall:waivers", message=error.message, why=_WAIVED))
    return tuple(reasons), tuple(notes)
