"""Verifies a bundle: every file, signature, subject and waiver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate_step import BadCall, canonical, file_digest, loads, sha256, tree_digest

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust
from lockgate_proof._verdict import verify_verdict
from lockgate_proof._waiver import Waiver, read_waivers

# A bundle needs a verdict of each of these gates, about these subjects.
GATES_OF_A_BUNDLE: Mapping[str, tuple[str, ...]] = {
    "validate-data": ("data", "policy"),
    "validate-model": ("model", "data", "base", "policy"),
    "bias-audit": ("model", "data", "base", "policy"),
}

# Not listed in the manifest: the manifest itself and its signature.
_UNLISTED = {"manifest.json", "record.json"}


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle that passed every check.

    subjects: `bundle`, `model`, `data`, `base`, `policy` -> `sha256:<hex>`.
    base: the live pointer when the run began: {"bundle": digest or null, "generation": int}.
    records: the records of ingest, predict and package, by program. verdicts: by gate.
    """

    folder: Path
    digest: str
    model: str
    subjects: Mapping[str, str]
    base: Mapping[str, Any]
    records: Mapping[str, Statement]
    verdicts: Mapping[str, Statement]
    waivers: Sequence[Waiver]


def bundle_digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest that names a bundle: the digest of its canonical manifest."""
    return sha256(canonical(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a bundle and check its form.

    Errors: ProofError.
    """
    try:
        manifest = loads((folder / "manifest.json").read_bytes())
        names = list(manifest["files"])
        wellformed = (manifest["protocol"], type(manifest["model"]), type(manifest["files"])) == (1, str, dict)
        safe = all(not PurePosixPath(n).is_absolute() and ".." not in PurePosixPath(n).parts for n in names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder.name} is not a bundle: its manifest.json is missing or damaged"
        raise ProofError(msg, fix="deploy a bundle as the package step wrote it") from error
    if not (wellformed and safe):
        msg = f"{folder.name} is not a bundle of protocol 1"
        raise ProofError(msg, fix="deploy a bundle as the package step wrote it")
    return dict(manifest)


def verify_bundle(
    folder: Path,
    trust: Trust,
    *,
    now: datetime | None,
    model: str | None = None,
    policy: str | None = None,
    digest: str | None = None,
) -> VerifiedBundle:
    """Verify a bundle from its files and the trust file alone.

    now: the time at which waivers must be valid; None if expired ones are accepted (a server that restarts).
    model, policy, digest: the expected values, if the caller knows them.
    Errors: ProofError, for the first check that fails.
    """
    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    found = bundle_digest(manifest)
    name = str(manifest["model"])
    _same("bundle", found, digest)
    _same("model", name, model)

    data = verify(folder / "data.json", trust, signer="ingest")
    answers = verify(folder / "answers.json", trust, signer="predict")
    subjects = {
        "bundle": found,
        "model": tree_digest(folder / "model"),
        "data": data.subjects.get("data", ""),
        "base": data.subjects.get("base", ""),
        "policy": file_digest(folder / "policy.toml"),
    }
    _same("policy", subjects["policy"], policy)
    _judged("the answers record", answers, {k: subjects[k] for k in ("model", "data", "base")})
    golden = file_digest(folder / "golden.json") if (folder / "golden.json").is_file() else "nothing"
    _judged("the answers record", answers, {"test": data.subjects.get("test", ""), "golden": golden})
    for record in (data, answers):
        _same("model", str(record.predicate.get("model")), name)
    seal = verify(folder / "record.json", trust, signer="package")
    _judged("the bundle's record", seal, subjects)

    waivers = _waivers(folder / "waivers.json", trust)
    verdicts = {
        gate: verify_verdict(
            folder / "verdicts" / f"{gate}.json",
            trust,
            gate=gate,
            model=name,
            subjects={k: subjects[k] for k in judged},
            waivers=waivers,
            now=now,
        )
        for gate, judged in GATES_OF_A_BUNDLE.items()
    }
    records = {"ingest": data, "predict": answers, "package": seal}
    return VerifiedBundle(folder, found, name, subjects, dict(data.predicate["base"]), records, verdicts, waivers)


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() or p.is_symlink()} - _UNLISTED
    named = set(manifest["files"])
    if present != named:
        odd = sorted(present ^ named)[0]
        problem = "is not in the manifest" if odd in present else "is missing"
        msg = f"the files of the bundle do not match its manifest: {odd} {problem}"
        raise ProofError(msg, fix="download the bundle again from the store")
    for name, digest in manifest["files"].items():
        path = folder / name
        if path.is_symlink() or file_digest(path) != digest:
            msg = f"the files of the bundle do not match its manifest: {name} was changed"
            raise ProofError(msg, fix="download the bundle again from the store")


def _waivers(path: Path, trust: Trust) -> list[Waiver]:
    try:
        return read_waivers(path, trust) if path.is_file() else []
    except BadCall as error:  # not a fault of the call: the waivers are part of the bundle
        raise ProofError(error.message, fix="run the workflow again to package a new bundle") from error


def _judged(what: str, statement: Statement, subjects: Mapping[str, str]) -> None:
    for name, digest in subjects.items():
        if statement.subjects.get(name) != digest:
            msg = f"{what} is about another {name}: {statement.subjects.get(name, 'none')}, not {digest}"
            raise ProofError(msg, fix="use records of the same run")


def _same(what: str, found: str, wanted: str | None) -> None:
    if wanted is not None and found != wanted:
        msg = f"the bundle's {what} is {found}, not {wanted}"
        raise ProofError(msg, fix="deploy the bundle that this run packaged")
