"""`lockgate verify`: verify a bundle's files, signatures and waivers, and list each check."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate_proof import (
    RECALL,
    Promotion,
    ProofError,
    Statement,
    VerifiedBundle,
    read_current,
    read_manifest,
    verify_bundle,
    verify_current,
    verify_images,
    waiver_for,
)
from lockgate_step import layout
from lockgate_store import Missing, get_tree

from lockgate.cluster.served import Users
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.records.environment import Environment
from lockgate.records.promotions import Memory, live_promotion
from lockgate.records.store import store_of
from lockgate.rendering.current import Current
from lockgate.report.lines import short, unjudged_lines


def verify_what(
    project: Project, environment: Environment, what: str, users: Users | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Verify a bundle's folder, or the live bundle of a model and the promotions that made it live: JSON and lines.

    users: what users reach on the cluster; without it, a platform's own memory counts.
    Errors: ProofError, naming the first check that failed.
    """
    folder, digest, model, live = Path(what), None, None, None
    # A model's name wins over a folder of that name: whoever can put a folder here must not choose what is verified.
    if what in project.models or not (folder / "manifest.json").is_file():
        model = project.model(what).spec.name
        store = store_of(environment)
        memory = Memory.of(project.state, environment.setting("store")) if environment.local else users
        live = live_promotion(store, model, lambda: environment.trust, memory)
        if live is None:
            msg = f"{model} has no live version"
            raise BadCall(msg, fix=f"lockgate {'run' if environment.local else 'submit'} {model}")
        digest = live.bundle
        folder = project.state / "verify" / digest.removeprefix("sha256:")
        _get(environment, f"models/{model}/bundles/{folder.name}", folder)
    trust, now = environment.trust, datetime.now(UTC)
    recalled = live is not None and RECALL in live.verdicts  # recall has judged what has changed or ended since
    proven = verify_bundle(folder, trust, now=None if recalled else now, model=model, digest=digest)
    current, named = "current", _current(project, environment, proven.model)
    try:
        verify_current(proven, named)
        if not environment.local:  # on this machine, programs run without images
            verify_images(proven.signed, proven.model, named)
    except ProofError:
        if live and not recalled:  # the folder of an earlier version remains valid evidence of its time
            raise
        current = "those of its time" if live else "not the current ones"
    checks = [*_checks(proven, now, current), *([_promoted(live)] if live else [])]
    if live and users:
        served = {"bundle": proven.digest}
        checks.append(
            {"check": "users", "result": f"{users.check(proven, live)} pods", "subjects": served, **_signed(None)}
        )
    value = {
        "model": proven.model,
        "bundle": proven.digest,
        "subjects": dict(proven.subjects),
        "untrusted_elsewhere": trust.untrusted_elsewhere,
        "checks": checks,
    }
    lines = [f"{proven.model} {short(proven.digest)} is verified: each file, signature, subject and waiver."]
    lines += [f"  {name:<16} {digest}" for name, digest in proven.subjects.items()]
    lines += [line for check in checks for line in _lines(check)]
    lines += unjudged_lines(each["check"] for each in checks if each["result"] == "not judged")
    if trust.untrusted_elsewhere:
        lines.append("  These keys were made on this machine; no other machine trusts them.")
    return value, lines


def _get(environment: Environment, prefix: str, folder: Path) -> None:
    """Copy a bundle from the store. Errors: ProofError if it is not there, or has invalid names."""
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier call: only what is in the store now counts
    try:
        get_tree(store_of(environment), prefix, folder)
    except (Missing, ValueError) as error:
        msg = f"the live bundle in the store cannot be verified: {error}"
        raise ProofError(msg, fix="restore the store from a backup, and check who can write there") from error


def _current(project: Project, environment: Environment, model: str) -> dict[str, Any]:
    """What is current: on this machine by the model's own files, on a cluster by its environment."""
    if environment.local and model in project.models:
        return {model: Current.of(project.models[model]).to_json()}
    return read_current(environment.config / layout.CURRENT)


def _checks(proven: VerifiedBundle, now: datetime, current: str) -> Iterator[dict[str, Any]]:
    """Each check: its subjects, who signed it, in which record, and when it expires."""
    count = len(read_manifest(proven.folder)["files"])
    sealed = {"bundle": proven.digest}
    yield {"check": "files", "result": f"{count} unchanged", "subjects": sealed, **_signed(None)}
    rules = {name: proven.subjects[name] for name in ("policy", "spec")}
    rules["expectations"] = proven.verdicts["validate-data"].subjects["expectations"]
    yield {"check": "rules", "result": current, "subjects": rules, **_signed(None)}
    for record in proven.records.values():
        yield {"check": f"{record.kind} record", "result": "valid", **_signed(record)}
    for gate, verdict in proven.verdicts.items():
        reasons = verdict.predicate["reasons"]
        result = str(verdict.predicate["result"]).replace("_", " ")
        yield {"check": gate, "result": "passed by waiver" if reasons else result, **_signed(verdict)}
        for reason in reasons:
            rule, judged = reason["rule"], verdict.subjects
            waiver = waiver_for(proven.waivers, model=proven.model, gate=gate, rule=rule, subjects=judged, now=now)
            if waiver:
                said = {"reason": reason["id"], "message": reason["message"], **waiver.to_json()}
                yield {"check": "waiver", "result": "in force", **_signed(waiver.statement), **said}


def _promoted(live: Promotion) -> dict[str, Any]:
    """The check of the promotion: its chain was verified before."""
    return {"check": "promotion", "result": f"generation {live.generation}", **_signed(live.statement)}


def _signed(record: Statement | None) -> dict[str, Any]:
    if record is None:
        return {"signer": None, "digest": None, "expires": None}
    return {"subjects": dict(record.subjects), "signer": record.owner, "digest": record.digest, "expires": None}


def _lines(check: Mapping[str, Any]) -> list[str]:
    signed = f"{short(check['digest'])} signed by {check['signer']}; " if check["signer"] else ""
    lines = [f"  {check['check']:<16} {check['result']:<17} {signed}about {', '.join(check['subjects'])}"]
    if check["expires"]:
        lines.append(f"  {'':<34} {check['reason']}: {check['message']}")
        lines.append(f"  {'':<34} until {check['expires'][:10]}, approved by {check['approver']}: {check['why']}")
    return lines
