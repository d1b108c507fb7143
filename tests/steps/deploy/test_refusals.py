"""Any fault in the evidence gives exit 3 and changes no record in the store."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lockgate_step import canonical, sha256

from tests.steps.version_bench import JUDGED, Bench, spec_of

Subjects = dict[str, str]
OTHER = sha256(b"another")


def judged(subjects: Subjects, gate: str) -> Subjects:
    return {name: subjects[name] for name in JUDGED[gate]}


def rewrite(gate: str, **said: Any) -> Callable[[Bench, Path, Subjects], object]:
    """Replace the gate's verdict by another one, signed correctly unless `key` is another signer's."""

    def alter(bench: Bench, folder: Path, subjects: Subjects) -> None:
        wrong = said.get("subjects", {})
        rest = {name: value for name, value in said.items() if name != "subjects"}
        verdict = bench.verdict(gate, {**judged(subjects, gate), **wrong}, **rest)
        (folder / "verdicts" / f"{gate}.json").write_bytes(verdict)

    return alter


def flip(path: Path) -> None:
    """Change the signed statement and keep the signature."""
    envelope = json.loads(path.read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["result"] = "passed"
    envelope["payload"] = base64.b64encode(canonical(statement)).decode()
    path.write_bytes(canonical(envelope))


def flipped(bench: Bench, folder: Path, subjects: Subjects) -> None:
    rewrite("bias-audit", result="refused", reasons=[])(bench, folder, subjects)
    flip(folder / "verdicts" / "bias-audit.json")


def remove(name: str) -> Callable[[Bench, Path, Subjects], object]:
    return lambda _, folder, __: (folder / name).unlink()


def swap(_: Bench, folder: Path, __: Subjects) -> None:
    (folder / "verdicts/bias-audit.json").write_bytes((folder / "verdicts/validate-model.json").read_bytes())


def resigned_data(bench: Bench, folder: Path, subjects: Subjects) -> None:
    from lockgate_proof import sign

    frozen = {"data": subjects["data"], "base": subjects["base"], "test": sha256(b"test")}
    said = {"model": bench.model, "base": {"bundle": None, "generation": 0}}
    (folder / "data.json").write_bytes(canonical(sign("data", frozen, said, bench.keys["package"])))


def waived(*, listed: bool = True, **wrong: Any) -> Callable[[Bench, Path, Subjects], object]:
    """A verdict with one reason, and a waiver for it."""

    def alter(bench: Bench, folder: Path, subjects: Subjects) -> None:
        reason = {"id": "bias-audit/1", "rule": "a", "message": "m", "waived_by": OTHER}
        rewrite("bias-audit", reasons=[reason])(bench, folder, subjects)
        waiver = bench.waiver(wrong.pop("subjects", judged(subjects, "bias-audit")), **wrong)
        (folder / "waivers.json").write_bytes(canonical([waiver] if listed else []))

    return alter


RESEALED = {
    "validate-data left out": remove("verdicts/validate-data.json"),
    "validate-model left out": remove("verdicts/validate-model.json"),
    "bias-audit left out": remove("verdicts/bias-audit.json"),
    "the data record left out": remove("data.json"),
    "the answers record left out": remove("answers.json"),
    "the golden answers left out": remove("golden.json"),
    "golden answers that predict did not sign": lambda _, folder, __: (folder / "golden.json").write_bytes(b"{}"),
    "refused": rewrite("bias-audit", result="refused"),
    "inconclusive": rewrite("validate-model", result="inconclusive"),
    "no result": rewrite("validate-data", result=None),
    "flipped after it was signed": flipped,
    "one gate's verdict in another's place": swap,
    "signed by an unknown key": rewrite("bias-audit", key="stranger"),
    "signed by another gate": rewrite("bias-audit", key="validate-model"),
    "signed by package itself": rewrite("bias-audit", key="package"),
    "about another model": rewrite("bias-audit", model="credit"),
    "of another model file": rewrite("bias-audit", subjects={"model": OTHER}),
    "of other data": rewrite("validate-data", subjects={"data": OTHER}),
    "of another spec": rewrite("bias-audit", subjects={"spec": OTHER}),
    "of data by another spec": rewrite("validate-data", subjects={"spec": OTHER}),
    "of a model by another spec": rewrite("validate-model", subjects={"spec": OTHER}),
    "by another policy": rewrite("validate-model", subjects={"policy": OTHER}),
    "against another base": rewrite("bias-audit", subjects={"base": OTHER}),
    "the data record signed by another": resigned_data,
    "a reason without a waiver": waived(listed=False),
    "an expired waiver": waived(days=-1),
    "a waiver by an unknown key": waived(key="stranger"),
    "a waiver by the gate itself": waived(key="bias-audit"),
    "a waiver for another rule": waived(reason="b"),
    "a waiver for other data": waived(subjects={"data": OTHER}),
    "not JSON": lambda _, folder, __: (folder / "verdicts/bias-audit.json").write_bytes(b"{"),
    "an empty verdict": lambda _, folder, __: (folder / "verdicts/bias-audit.json").write_bytes(b"{}"),
}


def touch(name: str, content: bytes) -> Callable[[Bench, Path], object]:
    def change(_: Bench, folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def without_verdicts(_: Bench, folder: Path) -> None:
    for verdict in (folder / "verdicts").iterdir():
        verdict.unlink()


def through_a_link(_: Bench, folder: Path) -> None:
    (folder / "model" / "model.onnx").rename(folder.parent / "elsewhere")
    (folder / "model" / "model.onnx").symlink_to(folder.parent / "elsewhere")


AFTERWARDS = {
    "a file changed": touch("model/model.onnx", b"another model"),
    "a file added": touch("model/more.py", b"import os"),
    "no verdict at all": without_verdicts,
    "no record": lambda _, folder: (folder / "record.json").unlink(),
    "no manifest": lambda _, folder: (folder / "manifest.json").unlink(),
    "a record by an unknown key": lambda bench, folder: bench.seal(folder, bench.subjects(folder), key="stranger"),
    "a record by a gate": lambda bench, folder: bench.seal(folder, bench.subjects(folder), key="bias-audit"),
    "a file behind a link": through_a_link,
}


@pytest.mark.parametrize("alter", RESEALED.values(), ids=RESEALED)
def test_a_bundle_whose_evidence_does_not_hold_goes_nowhere(bench: Bench, alter: Any) -> None:
    folder = bench.bundle(alter=alter)
    before = bench.records()
    for ended in (bench.deploy(folder), bench.promote(folder, bench.smoke(folder))):
        assert ended.code == 3, ended.log
        assert ended.error["fix"]
        assert ended.staged is None
    assert bench.records() == before


@pytest.mark.parametrize("change", AFTERWARDS.values(), ids=AFTERWARDS)
def test_a_bundle_changed_after_it_was_sealed_goes_nowhere(bench: Bench, change: Any) -> None:
    folder = bench.bundle()
    smoke, staged = bench.smoke(folder), bench.staged(folder)
    change(bench, folder)
    before = bench.records()
    for ended in (bench.deploy(folder), bench.promote(folder, smoke, staged=staged)):
        assert ended.code == 3, ended.log
    assert bench.records() == before


def test_the_workflows_own_policy_and_spec_are_the_ones_that_count(bench: Bench) -> None:
    folder = bench.bundle()
    policy, spec = bench.policy.read_bytes(), bench.spec.read_bytes()
    smoke, before = bench.smoke(folder), bench.records()
    others = [
        (policy.replace(b"0.15", b"0.14"), spec),
        (policy, canonical(spec_of(bench.model, owner="another"))),
        (policy, canonical(spec_of("credit"))),
    ]
    for other_policy, other_spec in others:
        bench.policy.write_bytes(other_policy)
        bench.spec.write_bytes(other_spec)
        assert bench.deploy(folder).code == 3
        assert bench.promote(folder, smoke).code == 3
        assert bench.records() == before


def test_a_bundle_that_the_store_does_not_keep_is_not_deployed(bench: Bench) -> None:
    folder = bench.bundle()
    key = "models/{}/bundles/{}/manifest.json".format(bench.model, bench.digest(folder).removeprefix("sha256:"))
    bench.store.delete(key, bench.store.read(key).version)
    ended = bench.deploy(folder)
    assert ended.code == 3
    assert bench.records() == {}


@pytest.mark.parametrize("generation", [1, 2])
def test_live_that_moved_is_refused_before_anything_is_touched(bench: Bench, generation: int) -> None:
    folder = bench.bundle()
    bench.live(OTHER, generation)
    before = bench.records()
    for ended in (bench.deploy(folder), bench.promote(folder, bench.smoke(folder))):
        assert ended.code == 3
        assert "live has moved" in ended.error["message"]
        assert "run the workflow again" in ended.error["fix"]
    assert bench.records() == before


def test_the_same_bundle_live_again_is_not_the_base_it_was_compared_with(bench: Bench) -> None:
    """Live moved away and back: only the generation differs."""
    base = bench.live(OTHER, 1)
    folder = bench.bundle(base)
    bench.live(OTHER, 3)
    assert bench.deploy(folder).code == 3
    assert bench.promote(folder, bench.smoke(folder)).code == 3
    assert bench.get("live.json")["generation"] == 3


SMOKE = {
    "refused": {"result": "refused"},
    "inconclusive": {"result": "inconclusive"},
    "signed by an unknown key": {"key": "stranger"},
    "signed by another gate": {"key": "bias-audit"},
    "signed by package": {"key": "package"},
    "about another model": {"model": "credit"},
    "of another gate": {"gate_said": "bias-audit"},
    "with an open reason": {"reasons": [{"id": "smoke-test/1", "rule": "p99_ms", "message": "m", "waived_by": OTHER}]},
}


@pytest.mark.parametrize("said", SMOKE.values(), ids=SMOKE)
def test_only_smoke_tests_own_pass_promotes(bench: Bench, said: dict[str, Any]) -> None:
    folder = bench.bundle()
    wrong = {("gate" if name == "gate_said" else name): value for name, value in said.items()}
    gate = wrong.pop("gate", "smoke-test")
    subjects = {**bench.subjects(folder), "staged": sha256(bench.staged(folder))}
    smoke = bench.verdict(gate, subjects, key=wrong.pop("key", "smoke-test"), **wrong)
    before = bench.records()
    assert bench.promote(folder, smoke).code == 3
    assert bench.records() == before


@pytest.mark.parametrize("subject", ["bundle", "model", "data", "base", "spec", "policy", "staged"])
@pytest.mark.parametrize("wrong", [OTHER, None])
def test_smoke_test_must_have_judged_the_same_things(bench: Bench, subject: str, wrong: str | None) -> None:
    folder = bench.bundle()
    subjects = {**bench.subjects(folder), "staged": sha256(bench.staged(folder)), subject: wrong}
    smoke = bench.verdict("smoke-test", {name: digest for name, digest in subjects.items() if digest})
    before = bench.records()
    assert bench.promote(folder, smoke).code == 3
    assert bench.records() == before


def test_a_flipped_smoke_verdict_promotes_nothing(bench: Bench) -> None:
    folder = bench.bundle()
    path = bench.root / "smoke"
    path.write_bytes(bench.smoke(folder, result="refused"))
    flip(path)
    assert bench.promote(folder, path.read_bytes()).code == 3
    assert bench.get("live.json") is None


@pytest.mark.parametrize("signer", ["ingest", "predict", "validate-data", "validate-model", "bias-audit", "package"])
def test_a_key_removed_from_the_trust_file_is_not_trusted(bench: Bench, signer: str) -> None:
    folder = bench.bundle()
    trust = json.loads((bench.environment / "trust.json").read_bytes())
    trust["keys"] = [key for key in trust["keys"] if signer not in key["may"]]
    (bench.environment / "trust.json").write_bytes(canonical(trust))
    assert bench.deploy(folder).code == 3
    assert bench.promote(folder, bench.smoke(folder)).code == 3
    assert bench.get("live.json") is None
