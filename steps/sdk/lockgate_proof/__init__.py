"""Signed records: in-toto statements in DSSE envelopes, the trust file, waivers, and the verification of a bundle.

securesystemslib signs and verifies (Ed25519, DSSE). This package defines which key may sign what, and which statements
a bundle needs before it may be served. The library is imported where it is used, so that a signing program's --help
imports only the standard library.
"""

from lockgate_proof._bundle import (
    GATES_OF_A_BUNDLE,
    VerifiedBundle,
    bundle_digest,
    copy_bundle,
    read_manifest,
    verify_bundle,
    verify_verdicts,
)
from lockgate_proof._current import read_current, verify_current, verify_images, verify_rules
from lockgate_proof._envelope import ADDITIONAL, VERDICTS, Statement, new_key, predicate, sign, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._main import main
from lockgate_proof._promotion import Accepted, Promotion, promotion, promotions_before, prove_live, read_promotion
from lockgate_proof._recall import RECALL, Recalled, base_digest, read_recalled
from lockgate_proof._seal import seal
from lockgate_proof._staged import StagedVersion, read_staged, staged
from lockgate_proof._traffic import (
    CANARY,
    CANARY_STATE,
    CANARY_STATE_KIND,
    LIFETIME,
    Traffic,
    in_force,
    read_traffic,
    traffic,
)
from lockgate_proof._trust import Trust, TrustedKey
from lockgate_proof._verdict import MAY_JUDGE_NOTHING, verify_verdict
from lockgate_proof._waiver import LONGEST, Waiver, ignored, read_waiver, read_waivers, waiver_for

__all__ = [
    "ADDITIONAL",
    "CANARY",
    "CANARY_STATE",
    "CANARY_STATE_KIND",
    "GATES_OF_A_BUNDLE",
    "LIFETIME",
    "LONGEST",
    "MAY_JUDGE_NOTHING",
    "RECALL",
    "VERDICTS",
    "Accepted",
    "Promotion",
    "ProofError",
    "Recalled",
    "StagedVersion",
    "Statement",
    "Traffic",
    "Trust",
    "TrustedKey",
    "VerifiedBundle",
    "Waiver",
    "base_digest",
    "bundle_digest",
    "copy_bundle",
    "ignored",
    "in_force",
    "main",
    "new_key",
    "predicate",
    "promotion",
    "promotions_before",
    "prove_live",
    "read_current",
    "read_manifest",
    "read_promotion",
    "read_recalled",
    "read_staged",
    "read_traffic",
    "read_waiver",
    "read_waivers",
    "seal",
    "sign",
    "staged",
    "traffic",
    "verify",
    "verify_bundle",
    "verify_current",
    "verify_images",
    "verify_rules",
    "verify_verdict",
    "verify_verdicts",
    "waiver_for",
]
