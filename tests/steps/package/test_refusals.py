"""Any fault in the evidence gives exit 3, a sentence that names the fault, and nothing in the store."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lockgate_package.evidence import Evidence, prove
from lockgate_proof import ProofError, Trust, TrustedKey, new_key
from lockgate_step import canonical, sha256

from tests.steps.package.chain import SIGNERS, Chain, last, run

OTHER = sha256(b"another")
RULE = "bias:sex:selection_rate_difference"
REASON: dict[str, Any] = {"id": "bias-audit/1", "rule": RULE, "message": "by sex, a gap",
          "lines": [], "why": "", "source": "policy.toml:6", "waived_by": None}  # fmt: skip


def later(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def flip(chain: Chain) -> None:
    path = chain.inputs / "bias_verdict"
    envelope = json.loads(path.read_bytes())
    signature = envelope["signatures"][0]["sig"]
    envelope["signatures"][0]["sig"] = ("1" if signature[0] == "0" else "0") + signature[1:]
    path.write_bytes(canonical(envelope))


def swap(chain: Chain) -> None:
    (chain.inputs / "bias_verdict").write_bytes((chain.inputs / "quality_verdict").read_bytes())


def retrain(chain: Chain) -> None:
    (chain.inputs / "model" / "model.onnx").write_bytes(b"another graph")


def loosen(chain: Chain) -> None:
    path = chain.inputs / "policy"
    path.write_text(path.read_text().replace("0.15", "0.95"))


def widen_spec(chain: Chain) -> None:
    path = chain.inputs / "spec"
    path.write_text(path.read_text().replace("adult.csv.gz", "other.csv.gz"))


def undeclared_column(chain: Chain) -> None:
    path = chain.inputs / "model" / "model.json"
    model = json.loads(path.read_bytes())
    model["inputs"].append({"name": "postal_code", "kind": "category", "values": ["A"], "missing": False})
    path.write_bytes(canonical(model))
    chain.sign_all()


def forget_package_key(chain: Chain) -> None:
    keys = [TrustedKey(new_key(chain.root / "forged" / name), (name,)) for name in ("package",)]
    kept = [key for key in chain.trust().keys if key.may != ("package",)]
    (chain.root / "environment" / "trust.json").write_bytes(Trust((*kept, *keys)).to_bytes())


REFUSED: dict[str, tuple[Callable[[Chain], object], str]] = {
    "refused": (lambda c: c.sign_verdict("bias-audit", {}, result="refused"), "bias-audit did not pass: refused"),
    "inconclusive": (lambda c: c.sign_verdict("validate-model", {}, result="inconclusive"), "did not pass"),
    "signed by another gate": (lambda c: c.sign_verdict("bias-audit", {}, key="validate-model"), "not signed by a key"),
    "flipped signature": (flip, "not signed by a key that may sign as bias-audit"),
    "another gate's verdict": (swap, "not signed by a key that may sign as bias-audit"),
    "unsigned": (lambda c: (c.inputs / "bias_verdict").write_text("{}"), "not signed"),
    "verdict on another model file": (lambda c: c.sign_verdict("bias-audit", {"model": OTHER}), "another model"),
    "verdict on other data": (lambda c: c.sign_verdict("validate-data", {"data": OTHER}), "another data"),
    "verdict on another base": (lambda c: c.sign_verdict("validate-model", {"base": OTHER}), "another base"),
    "data judged by another spec": (lambda c: c.sign_verdict("validate-data", {"spec": OTHER}), "another spec"),
    "model judged by another spec": (lambda c: c.sign_verdict("validate-model", {"spec": OTHER}), "another spec"),
    "audit by another spec": (lambda c: c.sign_verdict("bias-audit", {"spec": OTHER}), "another spec"),
    "verdict by another policy": (lambda c: c.sign_verdict("validate-data", {"policy": OTHER}), "another policy"),
    "another model's verdict": (lambda c: c.sign_verdict("bias-audit", {}, model="credit"),
                                "verdict of bias-audit on credit"),
    "model changed afterwards": (retrain, "another model"),
    "policy changed afterwards": (loosen, "another policy"),
    "spec changed afterwards": (widen_spec, "another spec"),
    "answers changed": (lambda c: (c.inputs / "answers" / "answers.parquet").write_bytes(b""), "another answers"),
    "answers gone": (lambda c: (c.inputs / "answers" / "answers.parquet").unlink(), "another answers"),
    "golden answers changed": (lambda c: (c.inputs / "answers" / "golden.json").write_text("{}"), "another golden"),
    "golden answers gone": (lambda c: (c.inputs / "answers" / "golden.json").unlink(), "another golden"),
    "answers to other rows": (lambda c: c.sign_answers({"test": OTHER}), "another test"),
    "another model's data": (lambda c: c.sign_data({"spec": sha256((c.inputs / "spec").read_bytes())}, model="credit"),
                             "about the model credit"),
    "a column that the spec does not declare": (undeclared_column, "postal_code"),
    "a reason without a waiver": (lambda c: c.sign_verdict("bias-audit", {}, reasons=[REASON]), "not covered"),
}  # fmt: skip


def proved(chain: Chain) -> Evidence:
    return prove(chain.files, chain.trust(), now=datetime.now(UTC))


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(chain: Chain, case: str) -> None:
    spoil, sentence = REFUSED[case]
    spoil(chain)
    with pytest.raises(ProofError) as refused:
        proved(chain)
    assert sentence in refused.value.message
    assert refused.value.fix


@pytest.mark.parametrize("signer", [s for s in SIGNERS if s not in ("package", "waive")])
def test_refuses_when_a_signer_is_not_trusted(chain: Chain, signer: str) -> None:
    kept = [key for key in chain.trust().keys if key.may != (signer,)]
    (chain.root / "environment" / "trust.json").write_bytes(Trust(tuple(kept)).to_bytes())
    with pytest.raises(ProofError, match=signer):
        proved(chain)


def test_a_refusal_is_exit_3_and_changes_nothing(chain: Chain) -> None:
    chain.sign_verdict("bias-audit", {}, result="refused")
    done = run(chain)
    assert done.returncode == 3, done.stderr
    assert last(done)["message"] == "bias-audit did not pass: refused"
    assert last(done)["fix"]
    assert not chain.store.exists()


def test_refuses_to_finish_when_its_own_key_is_not_trusted(chain: Chain) -> None:
    forget_package_key(chain)
    done = run(chain)
    assert done.returncode == 3
    assert "may sign as package" in last(done)["message"]
    assert not list(chain.store.rglob("record.json"))


def test_a_valid_waiver_lets_it_pass_and_is_on_the_card(chain: Chain) -> None:
    chain.waive("bias-audit", RULE, expires=later(days=30))
    envelope = json.loads((chain.inputs / "waivers").read_bytes())[0]["envelope"]
    chain.sign_verdict("bias-audit", {}, reasons=[REASON | {"waived_by": sha256(canonical(envelope))}])
    done = run(chain)
    assert done.returncode == 0, done.stderr
    card = (chain.root / "out" / "bundle" / "card.md").read_text()
    assert "Pilot only." in card
    assert "Ana Diaz" in card
    assert "waive@example.gc.ca" in card  # the key that signed the waiver


@pytest.mark.parametrize(
    ("gate", "rule", "expires", "named"),
    [
        ("bias-audit", RULE, later(days=-1), "; waiver waivers/pilot.json expired on 20"),
        (
            "bias-audit",
            "bias:race:x",
            later(days=30),
            "; waiver waivers/pilot.json is for bias:race:x, which is not a reason",
        ),
        ("validate-model", RULE, later(days=30), "$"),
    ],
    ids=["expired", "another rule", "another gate"],
)
def test_refuses_a_waiver_that_does_not_cover(chain: Chain, gate: str, rule: str, expires: str, named: str) -> None:
    chain.waive(gate, rule, expires=expires)
    chain.sign_verdict("bias-audit", {}, reasons=[REASON])
    with pytest.raises(ProofError, match=f"not covered by a valid waiver{named}"):
        proved(chain)


@pytest.mark.parametrize("name", ["spec", "policy", "data", "data_verdict", "bias_verdict", "waivers"])
def test_a_truncated_input_is_not_a_bug(chain: Chain, name: str) -> None:
    path = chain.inputs / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(chain).returncode in (2, 3)
    assert not chain.store.exists()
