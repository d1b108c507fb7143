"""Verifies a bundle: every file, signature, subject and waiver."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lockgate_step import (
    LARGEST_RECORD,
    BadCall,
    SpecError,
    UnsafeFile,
    additional_gates,
    canonical,
    copy_supplied,
    is_plain,
    loads,
    read_supplied,
    sha256,
    stream_digest,
    supplied_files,
)

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust
from lockgate_proof._verdict import verify_verdict
from lockgate_proof._waiver import Waiver, read_waivers

# A bundle needs a verdict of each of these gates, about these subjects.
GATES_OF_A_BUNDLE: Mapping[str, tuple[str, ...]] = {
    "validate-data": ("data", "spec", "policy"),
    "validate-model": ("model", "data", "base", "spec", "policy"),
    "bias-audit": ("model", "data", "base", "spec", "policy"),
}

_ADDITIONAL_JUDGE = ("model", "data", "base", "spec", "policy")  # the subjects of an additional gate's verdict

# Not listed in the manifest: the manifest itself and its signature.
_UNLISTED = {"manifest.json", "record.json"}
_AGAIN = "download the bundle again from the store"


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle that passed every check.

    subjects: `bundle`, `model`, `data`, `base`, `spec`, `policy` -> `sha256:<hex>`.
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

    @property
    def judged_by(self) -> Mapping[str, str]:
        """The rules that it was judged by, by name: the digests of the policy, the spec and the expectations."""
        expectations = self.verdicts["validate-data"].subjects.get("expectations", "none")
        return {"policy": self.subjects["policy"], "spec": self.subjects["spec"], "expectations": expectations}

    @property
    def signed(self) -> Mapping[str, Statement]:
        """What each program signed: records and verdicts."""
        return {**self.records, **self.verdicts}


def bundle_digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest that names a bundle: the digest of its canonical manifest."""
    return sha256(canonical(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a bundle and check its form.

    Errors: ProofError.
    """
    try:
        content = read_supplied(folder / "manifest.json")
        manifest = loads(content)
        files = manifest["files"]
        if not isinstance(files, dict):
            raise TypeError(files)  # dict() would accept a list of pairs
        protocol, model = manifest["protocol"], manifest["model"]
        wellformed = type(protocol) is int and protocol == 1 and isinstance(model, str) and is_plain(model)
        safe = all(is_plain(name) and isinstance(digest, str) for name, digest in files.items())
        wellformed = wellformed and canonical(manifest) == content  # another reader must not see another manifest
    except UnsafeFile as error:
        msg = f"{folder.name} is not a bundle: its {error.message}"
        raise ProofError(msg, fix="deploy a bundle as the package step wrote it") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder.name} is not a bundle: its manifest.json is missing or damaged"
        raise ProofError(msg, fix="deploy a bundle as the package step wrote it") from error
    if not (wellformed and safe):
        msg = f"{folder.name} is not a bundle of protocol 1"
        raise ProofError(msg, fix="deploy a bundle as the package step wrote it")
    return dict(manifest)


def copy_bundle(folder: Path, target: Path) -> Path:
    """Copy a bundle to a new folder of this user alone, to verify it and load it there; return that folder.

    Errors: ProofError if it has anything but regular files with plain names.
    """
    try:
        copy_supplied(folder, target)
    except UnsafeFile as error:
        msg = f"the bundle cannot be verified: {error.message}"
        raise ProofError(msg, fix=_AGAIN) from error
    return target


def verify_bundle(
    folder: Path,
    trust: Trust,
    *,
    now: datetime | None,
    model: str | None = None,
    policy: str | None = None,
    digest: str | None = None,
) -> VerifiedBundle:
    """Verify a bundle from its files and the trust file alone; each file is read once.

    A bundle that is loaded afterwards must be in a folder that nobody else writes: see `copy_bundle`.
    now: the time at which waivers must be valid; None if expired ones are accepted (a server that restarts).
    model, policy, digest: the expected values, if the caller knows them.
    Errors: ProofError, for the first check that fails.
    """
    manifest = read_manifest(folder)
    digests = _check_files(folder, manifest)

    def read(file: str) -> bytes:
        return _read(folder, file, digests)

    found = bundle_digest(manifest)
    name = str(manifest["model"])
    _same("bundle", found, digest)
    _same("model", name, model)

    data = verify(read("data.json"), trust, signer="ingest", name="data.json")
    answers = verify(read("answers.json"), trust, signer="predict", name="answers.json")
    subjects = {
        "bundle": found,
        "model": _model_digest(digests),
        "data": data.subjects.get("data", ""),
        "base": data.subjects.get("base", ""),
        "spec": digests.get("spec.json", "none"),
        "policy": digests.get("policy.toml", "none"),
    }
    _same("policy", subjects["policy"], policy)
    # The spec names the additional gates: it is the one that ingest froze, whoever sealed the bundle.
    _judged("the data record", data, {"spec": subjects["spec"]})
    _judged("the answers record", answers, {k: subjects[k] for k in ("model", "data", "base")})
    golden = digests.get("golden.json", "none")
    _judged("the answers record", answers, {"test": data.subjects.get("test", ""), "golden": golden})
    for record in (data, answers):
        _same("model", str(record.predicate.get("model")), name)
    seal = verify(read("record.json"), trust, signer="package", name="record.json")
    _judged("the bundle's record", seal, subjects)

    waivers = _waivers(read("waivers.json"), trust) if "waivers.json" in digests else []
    judged = sorted(n.removeprefix("verdicts/").removesuffix(".json") for n in digests if n.startswith("verdicts/"))
    verdicts = verify_verdicts(
        lambda gate: read(f"verdicts/{gate}.json"),
        judged,
        trust,
        model=name,
        subjects=subjects,
        additional=_additional(read("spec.json")),
        waivers=waivers,
        now=now,
    )
    records = {"ingest": data, "predict": answers, "package": seal}
    return VerifiedBundle(folder, found, name, subjects, dict(data.predicate["base"]), records, verdicts, waivers)


def verify_verdicts(
    record: Callable[[str], Path | bytes],
    given: Collection[str],
    trust: Trust,
    *,
    model: str,
    subjects: Mapping[str, str],
    additional: Mapping[str, str],
    waivers: Sequence[Waiver],
    now: datetime | None,
) -> dict[str, Statement]:
    """Verify the verdict of each gate of a bundle: those of every model, then the additional ones of this model.

    record: returns the verdict of a gate. given: the gates with a verdict.
    additional: the gates that the spec names, each with the digest of its code.
    subjects, waivers, now: as for `verify_verdict`.
    Errors: ProofError, for the first check that fails.
    """
    if taken := sorted(GATES_OF_A_BUNDLE.keys() & set(additional)):
        msg = f"the model spec names {taken[0]}, a gate of Lockgate, as an additional gate"
        raise ProofError(msg, fix="use the spec.json that `lockgate render` wrote")
    gates = {**GATES_OF_A_BUNDLE, **dict.fromkeys(additional, _ADDITIONAL_JUDGE)}
    if more := sorted(set(given) - gates.keys()):
        msg = f"there is a verdict of {more[0]}, which is not a gate of the model spec"
        raise ProofError(msg, fix="use verdicts of the same run")
    found = {
        gate: verify_verdict(
            record(gate),
            trust,
            name=f"{gate}.json",
            gate=gate,
            model=model,
            subjects={name: subjects[name] for name in judged},
            waivers=waivers,
            now=now,
            additional=gate in additional,
        )
        for gate, judged in gates.items()
    }
    for gate, code in additional.items():
        program = found[gate].predicate.get("program")
        if not isinstance(program, dict) or program.get("code") != code:
            msg = f"the verdict of {gate} is not of the code that the model spec names: {code}"
            raise ProofError(msg, fix="run the whole workflow again, with the current gate")
    return found


def _additional(spec: bytes) -> dict[str, str]:
    """Return the additional gates that the spec of a bundle names."""
    try:
        return additional_gates(loads(spec))
    except (ValueError, AttributeError, SpecError) as error:
        msg = "the spec.json of the bundle does not state its gates"
        raise ProofError(msg, fix=_AGAIN) from error


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of each file that the manifest names: the one that the manifest says."""
    found = {}
    try:
        for name, stream in supplied_files(folder):
            if name not in _UNLISTED:
                found[name] = stream_digest(stream)
    except UnsafeFile as error:
        msg = f"the bundle cannot be verified: {error.message}"
        raise ProofError(msg, fix=_AGAIN) from error
    named = manifest["files"]
    if odd := sorted(found.keys() ^ named.keys()):
        problem = "is not in the manifest" if odd[0] in found else "is missing"
        msg = f"the files of the bundle do not match its manifest: {odd[0]} {problem}"
        raise ProofError(msg, fix=_AGAIN)
    for name, digest in named.items():
        if found[name] != digest:
            raise _changed(name)
    return found


def _read(folder: Path, name: str, digests: Mapping[str, str]) -> bytes:
    """Return a file's bytes: those whose digest was checked, unless it is the record, which is signed itself."""
    try:
        content = read_supplied(folder / name, LARGEST_RECORD)
    except FileNotFoundError as error:
        msg = f"{name.rpartition('/')[2]} is missing"
        raise ProofError(msg, fix="run the whole workflow, with the gate that writes it") from error
    except (UnsafeFile, OSError) as error:
        raise _changed(name) from error
    if name not in _UNLISTED and sha256(content) != digests.get(name):
        raise _changed(name)
    return content


def _model_digest(digests: Mapping[str, str]) -> str:
    """Return the digest of the folder `model`, by the rule of `tree_digest`."""
    return sha256(canonical({n.removeprefix("model/"): d for n, d in digests.items() if n.startswith("model/")}))


def _changed(name: str) -> ProofError:
    msg = f"the files of the bundle do not match its manifest: {name} was changed"
    return ProofError(msg, fix=_AGAIN)


def _waivers(content: bytes, trust: Trust) -> list[Waiver]:
    try:
        return read_waivers(content, trust)
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
