"""The result of `lockgate verify` for a bundle with real signatures."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lockgate_proof import ProofError
from lockgate_step import canonical, layout, sha256

from lockgate.commands.verify import verify_what
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.records.environment import Environment
from tests import workshop
from tests.steps.version_bench import JUDGED, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "bench")


def waived(bench: Bench, days: float) -> Path:
    """A bundle with a bias-audit that passed under a waiver."""

    def alter(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        judged = {name: subjects[name] for name in JUDGED["bias-audit"]}
        reason = {"id": "bias-audit/1", "rule": "a", "message": "a gap", "waived_by": sha256(b"")}
        (folder / "verdicts/bias-audit.json").write_bytes(bench.verdict("bias-audit", judged, reasons=[reason]))
        (folder / "waivers.json").write_bytes(canonical([bench.waiver(judged, days=days)]))

    return bench.bundle(alter=alter)


def environment(bench: Bench) -> Environment:
    found = Environment.below(bench.root / "here")
    found.root.mkdir()
    found.config.parent.joinpath(layout.CONFIG_MAP).symlink_to(bench.environment)
    return found


def test_every_check_says_what_who_and_how(bench: Bench) -> None:
    folder = waived(bench, days=9)
    value, lines = verify_what(Project(bench.root), environment(bench), str(folder))
    checks = {check["check"]: check for check in value["checks"]}
    signed = {name: check["signer"] for name, check in checks.items()}
    assert signed == {
        "files": None, "rules": None,
        "data record": "ingest@example.org", "answers record": "predict@example.org",
        "bundle record": "package@example.org", "validate-data": "validate-data@example.org",
        "validate-model": "validate-model@example.org", "bias-audit": "bias-audit@example.org",
        "waiver": "waive@example.org",
    }  # fmt: skip
    results = {name: check["result"] for name, check in checks.items()}
    assert (results["validate-model"], results["bias-audit"]) == ("passed", "passed by waiver")
    assert (results["data record"], results["waiver"]) == ("valid", "in force")
    rules = {"policy", "spec", "expectations"}
    assert checks["rules"]["subjects"] == {n: d for n, d in checks["validate-data"]["subjects"].items() if n in rules}
    assert re.search(r"  rules +current +about policy, spec, expectations$", "\n".join(lines), re.MULTILINE)
    verdict = folder / "verdicts/bias-audit.json"
    assert checks["bias-audit"]["digest"] == sha256(verdict.read_bytes())
    assert checks["bias-audit"]["subjects"] == {n: value["subjects"][n] for n in JUDGED["bias-audit"]}
    (listed,) = json.loads((folder / "waivers.json").read_bytes())
    assert checks["waiver"]["digest"] == sha256(canonical(listed["envelope"]))
    assert [name for name, check in checks.items() if check["expires"]] == ["waiver"]
    assert (checks["waiver"]["reason"], checks["waiver"]["approver"]) == ("bias-audit/1", "x")
    assert value["bundle"] == bench.digest(folder)
    said = "\n".join(lines)
    assert [name for name in checks if name not in said] == []
    assert f"until {checks['waiver']['expires'][:10]}, approved by x: y" in said


def test_a_waiver_that_has_ended_is_named(bench: Bench) -> None:
    with pytest.raises(ProofError, match=r"bias-audit/1 .*; waiver waivers/pilot.json expired on 20\d\d-"):
        verify_what(Project(bench.root), environment(bench), str(waived(bench, days=-1)))


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 100_000,
        b'{"protocol":1,"model":"m","files":["data.json"]}',
        b'{"protocol":1,"model":"m","files":{"../x":"sha256:0"}}',
        b'{"protocol":1,"model":["m"],"files":{}}',
        b"5",
        b"\xff",
    ],
)
def test_a_manifest_of_another_form_is_refused(manifest: bytes, bench: Bench) -> None:
    folder = bench.bundle()
    (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(ProofError, match="is not a bundle"):
        verify_what(Project(bench.root), environment(bench), str(folder))


@pytest.mark.parametrize("name", ["data.json", "record.json", "verdicts/bias-audit.json", "waivers.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"5", b"\xff", b'{"payload":5}', b'[{"file":1,"envelope":5}]'])
def test_a_record_of_another_form_is_refused(name: str, content: bytes, bench: Bench) -> None:
    def alter(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        (folder / name).write_bytes(content)

    folder = bench.bundle(alter=alter)
    (folder / name).write_bytes(content)
    with pytest.raises(ProofError):
        verify_what(Project(bench.root), environment(bench), str(folder))


def unjudged(bench: Bench, gate: str) -> Path:
    """A bundle with a gate that judged nothing."""

    def alter(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        judged = {name: subjects[name] for name in JUDGED["bias-audit"]}
        (folder / f"verdicts/{gate}.json").write_bytes(bench.verdict(gate, judged, result="not_judged"))

    return bench.bundle(alter=alter)


def test_a_gate_that_judged_nothing_is_not_said_to_have_passed(bench: Bench) -> None:
    value, lines = verify_what(Project(bench.root), environment(bench), str(unjudged(bench, "bias-audit")))
    assert {check["check"]: check["result"] for check in value["checks"]}["bias-audit"] == "not judged"
    assert "  bias: not judged; no rule of the policy has a limit" in lines


def test_no_other_gate_may_judge_nothing(bench: Bench) -> None:
    with pytest.raises(ProofError, match="validate-model did not pass: not_judged"):
        verify_what(Project(bench.root), environment(bench), str(unjudged(bench, "validate-model")))


@pytest.mark.parametrize("change", [lambda text: b" " + text, lambda text: b'{"protocol":1,' + text[1:]])
def test_a_manifest_that_another_reader_would_read_otherwise_is_refused(
    bench: Bench, change: Callable[[bytes], bytes]
) -> None:
    folder = bench.bundle()
    manifest = folder / "manifest.json"
    manifest.write_bytes(change(manifest.read_bytes()))
    with pytest.raises(ProofError, match="not a bundle of protocol 1"):
        verify_what(Project(bench.root), environment(bench), str(folder))


def test_a_models_name_is_never_a_folder_of_that_name(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can put a folder where the command is called must not choose what is verified."""
    project = workshop.Project.make(tmp_path / "project")
    (project.root / "grants").symlink_to(bench.bundle())
    monkeypatch.chdir(project.root)
    here = environment(bench)
    with pytest.raises(BadCall, match="grants has no live version"):
        verify_what(Project(project.root), here, "grants")
    value, _ = verify_what(Project(project.root), here, "./grants")
    assert value["model"] == bench.model


def test_on_a_cluster_the_image_of_each_record_must_be_current(bench: Bench) -> None:
    folder = bench.bundle()

    def result() -> str:
        value, _ = verify_what(Project(bench.root), environment(bench), str(folder))
        return str(next(check for check in value["checks"] if check["check"] == "rules")["result"])

    said = json.loads((bench.environment / "current.json").read_bytes())
    said["models"][bench.model]["images"] = {"predict": f"registry.example.org/lockgate/model-server@{sha256(b'x')}"}
    (bench.environment / "current.json").write_bytes(canonical(said))
    assert result() == "current"  # on this machine, programs run without images
    shutil.rmtree(bench.root / "here")
    (bench.environment / "platform").write_text("kubernetes\n")
    assert result() == "not the current ones"
