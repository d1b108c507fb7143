"""Signs a statement, and verifies a signed one."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_step import BadCall, UnsafeFile, canonical, layout, loads, read_supplied, sha256

from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


@dataclass(frozen=True)
class Statement:
    """A statement whose signature was verified.

    subjects: name -> `sha256:<hex>`.
    kind: `data`, `answers`, `verdict`, `additional-verdict`, `bundle`, `staged`, `promotion` or `waiver`, as in the
        predicate type.
    digest: of the envelope; it identifies the statement.
    owner: the owner of the key that signed it, from the trust file.
    """

    subjects: Mapping[str, str]
    kind: str
    predicate: Mapping[str, Any]
    digest: str
    owner: str = ""


def new_key(path: Path) -> str:
    """Create an Ed25519 key in a file that only its owner may read; return the public key as PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(kind: str, subjects: Mapping[str, str], predicate: Mapping[str, Any], key: Path) -> dict[str, Any]:
    """Sign a statement with the private key in a PEM file; return the DSSE envelope as JSON values.

    Errors: BadCall if there is no usable key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        msg = f"there is no usable signing key at {key}"
        raise BadCall(
            msg, fix="on this machine run: lockgate doctor; on a cluster mount this program's key Secret"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        msg = f"the signing key at {key} is not Ed25519"
        raise BadCall(msg, fix="create a new key with: lockgate doctor")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
            for name, digest in sorted(subjects.items())
        ],
        "predicateType": f"urn:lockgate:{kind}:v1",
        "predicate": predicate,
    }
    envelope = Envelope(canonical(statement), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private, SSlibKey.from_crypto(private.public_key())))
    return dict(envelope.to_dict())


def verify(
    record: Path | Mapping[str, Any] | bytes, trust: Trust, *, signer: str, kind: str | None = None, name: str = ""
) -> Statement:
    """Verify that a key that may sign as `signer` signed exactly these bytes; return the statement.

    record: a file, its bytes, or the envelope as JSON values. name: of the file, for messages.
    kind: the expected kind; by default the one that the signer signs. An additional gate signs no other than its own,
        and nobody else signs that.
    Errors: ProofError, for the first check that fails.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    name = name or (record.name if isinstance(record, Path) else "")
    where = f"{name} " if name else ""
    envelope = _parse(record, where)
    keys = trust.for_signer(signer)
    if not keys:
        msg = f"the trust file has no key that may sign as {signer}"
        raise ProofError(msg, fix="ask the platform's owner to add one; on this machine run: lockgate doctor")
    try:
        accepted = Envelope.from_dict(json.loads(canonical(envelope))).verify([key.key for key in keys], 1)
    except (VerificationError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{where}is not signed by a key that may sign as {signer}"
        raise ProofError(msg, fix="run the workflow that writes it; only its program may sign it") from error
    statement = _statement(envelope, where)
    expected = ADDITIONAL if layout.is_additional_signer(signer) else kind or KINDS.get(signer, "verdict")
    if statement["predicateType"] != f"urn:lockgate:{expected}:v1":
        msg = f"{where}is signed, but its type is {statement['predicateType']}, not {expected}"
        raise ProofError(msg, fix=f"use the record that {signer} wrote")
    owner = next(key.owner for key in keys if key.key.keyid in accepted)
    return Statement(
        subjects={s["name"]: f"sha256:{s['digest']['sha256']}" for s in statement["subject"]},
        kind=expected,
        predicate=statement["predicate"],
        digest=sha256(canonical(envelope)),
        owner=owner,
    )


ADDITIONAL = "additional-verdict"  # of a model's additional gates: their keys sign nothing else
VERDICTS = ("verdict", ADDITIONAL)
KINDS: Mapping[str, str] = {
    "ingest": "data",
    "predict": "answers",
    "package": "bundle",
    "deploy": "staged",
    "promote": "promotion",
    "waive": "waiver",
}


def predicate(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the predicate of an envelope that this process has just signed or verified."""
    return dict(_statement(envelope, "")["predicate"])


def _parse(record: Path | Mapping[str, Any] | bytes, where: str) -> Mapping[str, Any]:
    try:
        if isinstance(record, Path):
            record = read_supplied(record)
        if isinstance(record, bytes):
            record = loads(record)
    except FileNotFoundError as error:
        msg = f"{where}is missing"
        raise ProofError(msg, fix="run the whole workflow, with the gate that writes it") from error
    except (ValueError, RecursionError) as error:
        msg = f"{where}is not a signed record"
        raise ProofError(msg, fix="use the unchanged file that the step wrote") from error
    except UnsafeFile as error:
        raise ProofError(error.message, fix=error.fix) from error
    if not isinstance(record, Mapping):
        msg = f"{where}is not a signed record"
        raise ProofError(msg, fix="use the unchanged file that the step wrote")
    return record


def _statement(envelope: Mapping[str, Any], where: str) -> dict[str, Any]:
    from securesystemslib.dsse import Envelope

    try:
        statement = loads(Envelope.from_dict(json.loads(canonical(envelope))).payload)
        if envelope["payloadType"] != PAYLOAD_TYPE or statement["_type"] != STATEMENT_TYPE:
            raise ValueError(statement["_type"])
        names = [subject["name"] for subject in statement["subject"]]
        digests = [subject["digest"]["sha256"] for subject in statement["subject"]]
        wellformed = all(isinstance(each, str) for each in (*names, *digests, statement["predicateType"]))
        if not wellformed or len(names) != len(set(names)) or not isinstance(statement["predicate"], dict):
            raise ValueError(names)
        return dict(statement)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{where}is not an in-toto statement"
        raise ProofError(msg, fix="use the unchanged file that the step wrote") from error
