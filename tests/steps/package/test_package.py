"""Runs the whole program as a process that reads and writes only in LOCKGATE_IO."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lockgate_package.evidence import prove
from lockgate_proof import predicate, verify_bundle
from lockgate_step import canonical, sha256, tree_digest

from tests.steps.package.chain import Chain, last, run


def bundle_of(chain: Chain) -> Path:
    (folder,) = (chain.store / "models" / "adult-income" / "bundles").iterdir()
    return folder


def test_seals_a_bundle_that_deploy_accepts(chain: Chain) -> None:
    done = run(chain)
    assert done.returncode == 0, done.stderr
    out = chain.root / "out" / "bundle"
    for folder in (out, bundle_of(chain)):
        proved = verify_bundle(folder, chain.trust(), now=datetime.now(UTC), model="adult-income")
        assert proved.digest == f"sha256:{bundle_of(chain).name}"
        assert proved.subjects["model"] == tree_digest(chain.inputs / "model")
    assert tree_digest(out) == tree_digest(bundle_of(chain))
    assert sha256((out / "manifest.json").read_bytes()) == f"sha256:{bundle_of(chain).name}"
    assert predicate(json.loads((out / "record.json").read_bytes()))["registered"] is None
    assert (chain.root / "out" / "card").read_bytes() == (out / "card.html").read_bytes()


def test_holds_the_files_of_the_interface(chain: Chain) -> None:
    assert run(chain).returncode == 0
    files = {path.relative_to(bundle_of(chain)).as_posix() for path in bundle_of(chain).rglob("*") if path.is_file()}
    assert files == {
        "manifest.json", "record.json", "schema.json", "sample-request.json", "golden.json", "spec.json", "policy.toml",
        "data.json", "answers.json", "waivers.json", "card.md", "card.html", "sbom.cdx.json",
        "verdicts/validate-data.json", "verdicts/validate-model.json", "verdicts/bias-audit.json",
        "model/model.json", "model/model.onnx", "model/golden.json",
    }  # fmt: skip


def test_same_inputs_same_digest_and_a_second_run_converges(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(chain).returncode == 0
    first = tree_digest(chain.store / "models")
    monkeypatch.setenv("LOCKGATE_RUN", "run-2")  # provenance of the record, not of the bundle
    assert run(chain).returncode == 0
    manifest = json.loads((bundle_of(chain) / "manifest.json").read_bytes())
    assert canonical(manifest) == (bundle_of(chain) / "manifest.json").read_bytes()
    assert tree_digest(chain.store / "models") != first  # the record names the other run
    monkeypatch.setenv("LOCKGATE_RUN", "run-1")
    assert run(chain).returncode == 0
    assert tree_digest(chain.store / "models") == first


def test_another_policy_is_another_bundle(chain: Chain) -> None:
    assert run(chain).returncode == 0
    (chain.inputs / "policy").write_text((chain.inputs / "policy").read_text() + "\n# looked at again\n")
    chain.sign_all()
    assert run(chain).returncode == 0
    assert len(list((chain.store / "models" / "adult-income" / "bundles").iterdir())) == 2


def test_completes_what_a_killed_run_left_half_written(chain: Chain) -> None:
    assert run(chain).returncode == 0
    whole, folder = tree_digest(chain.store / "models"), bundle_of(chain)
    for name in ("manifest.json", "record.json", "spec.json", "model/model.onnx"):
        (folder / name).unlink()
    assert run(chain).returncode == 0
    assert tree_digest(chain.store / "models") == whole


@pytest.mark.parametrize("name", ["card.md", "manifest.json"])
def test_refuses_a_store_that_was_tampered_with(chain: Chain, name: str) -> None:
    assert run(chain).returncode == 0
    (bundle_of(chain) / name).write_text("something else")
    done = run(chain)
    assert done.returncode == 3
    assert name in last(done)["message"]
    assert (bundle_of(chain) / name).read_text() == "something else"


def test_prints_nothing_but_json_lines(chain: Chain) -> None:
    done = run(chain)
    assert done.stdout == ""
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["sealed", "not-registered"]


def test_evidence_names_what_was_verified(chain: Chain) -> None:
    evidence = prove(chain.files, chain.trust(), now=datetime.now(UTC))
    assert evidence.subjects == chain.subjects()
    assert set(evidence.verdicts) == {"validate-data", "validate-model", "bias-audit"}
