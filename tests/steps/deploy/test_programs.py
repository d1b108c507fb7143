"""The three programs as a workflow runs them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lockgate_proof import read_promotion, verify
from lockgate_step import canonical, sha256

from tests.steps.version_bench import JUDGED, Bench

OTHER = sha256(b"another")


def lease(run: str, minutes: float, bundle: str = OTHER) -> dict[str, Any]:
    moment = datetime.now(UTC)
    until = (moment + timedelta(minutes=minutes)).isoformat()
    return {"bundle": bundle, "run": run, "base": None, "generation": 0, "lease_until": until, "at": moment.isoformat()}


def test_a_first_version_is_staged_promoted_and_concluded(bench_anywhere: Bench) -> None:
    bench = bench_anywhere
    folder = bench.bundle()
    digest = bench.digest(folder)
    with bench.platform():
        ended = bench.deploy(folder)
        assert ended.code == 0, ended.log
        assert ended.staged is not None
        staged = verify(ended.staged, bench.trust, signer="deploy")
        assert (staged.kind, staged.subjects) == ("staged", {"bundle": digest})
        said = {name: staged.predicate[name] for name in ("model", "address", "replicas", "run", "uid")}
        assert said == {"model": bench.model, "address": "http://127.0.0.1:9", "replicas": 1, "run": "r1", "uid": "u1"}
        assert bench.get("candidate.json")["run"] == "r1"
        assert bench.get("live.json") is None
        smoke = bench.smoke(folder, staged=ended.staged)
        assert bench.promote(folder, smoke, staged=ended.staged).code == 0
    live = bench.get("live.json")
    assert (live["bundle"], live["generation"], live["previous"], live["run"]) == (digest, 1, None, "r1")
    assert bench.get("candidate.json") is None
    history = bench.get("history/1.json")
    assert {**live, "verdicts": history["verdicts"]} == history
    promoted = read_promotion(canonical(live), bench.trust, model=bench.model)
    assert (promoted.before, promoted.statement.subjects["smoke-test"]) == (None, history["verdicts"]["smoke-test"])
    assert (bench.root / "io/out/record").read_bytes() == canonical(live["promotion"])
    assert set(history["verdicts"]) == {"validate-data", "validate-model", "bias-audit", "smoke-test"}
    assert history["verdicts"]["bias-audit"] == sha256((folder / "verdicts/bias-audit.json").read_bytes())
    assert bench.run("conclude", "--model", bench.model, "--status", "Succeeded").code == 0
    summary = bench.get("runs/r1/u1/summary.json")
    assert summary["promoted"] == {"bundle": digest, "generation": 1}
    assert summary["status"] == "Succeeded"
    assert bench.get("live.json") == live


def test_the_next_version_follows_on_the_one_it_was_compared_with(bench: Bench) -> None:
    base = bench.live(OTHER, 4)
    folder = bench.bundle(base)
    with bench.platform():
        assert bench.deploy(folder).code == 0
        assert bench.promote(folder, bench.smoke(folder)).code == 0
    live = bench.get("live.json")
    assert (live["bundle"], live["generation"], live["previous"]) == (bench.digest(folder), 5, OTHER)
    assert bench.get("history/5.json")["bundle"] == bench.digest(folder)
    before = sha256(canonical(bench.get("history/4.json")["promotion"]))
    assert read_promotion(canonical(live), bench.trust, model=bench.model).before == before


def test_a_reason_that_a_valid_waiver_covers_passes(bench: Bench) -> None:
    def alter(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        judged = {name: subjects[name] for name in JUDGED["bias-audit"]}
        reason = {"id": "bias-audit/1", "rule": "a", "message": "m", "waived_by": OTHER}
        (folder / "verdicts/bias-audit.json").write_bytes(bench.verdict("bias-audit", judged, reasons=[reason]))
        (folder / "waivers.json").write_bytes(canonical([bench.waiver(judged)]))

    folder = bench.bundle(alter=alter)
    with bench.platform():
        assert bench.deploy(folder).code == 0
        assert bench.promote(folder, bench.smoke(folder)).code == 0


def test_programs_run_twice_end_as_if_run_once(bench: Bench) -> None:
    folder = bench.bundle()
    with bench.platform():
        assert bench.deploy(folder).code == bench.deploy(folder).code == 0
        smoke = bench.smoke(folder)
        assert bench.promote(folder, smoke).code == 0
        before = bench.records()
        assert bench.promote(folder, smoke).code == 0
    conclude = ("conclude", "--model", bench.model, "--status", "Succeeded")
    assert bench.run(*conclude).code == 0
    concluded = bench.records()
    assert bench.run(*conclude).code == 0
    assert bench.records() == concluded
    assert before.items() <= concluded.items()


def test_a_promotion_that_was_superseded_meanwhile_is_still_done(bench: Bench) -> None:
    folder = bench.bundle()
    with bench.platform():
        assert bench.deploy(folder).code == 0
        assert bench.promote(folder, bench.smoke(folder)).code == 0
        bench.live(OTHER, 2, run="r2")
        assert bench.promote(folder, bench.smoke(folder)).code == 0
    assert bench.get("live.json")["bundle"] == OTHER
    assert bench.run("conclude", "--model", bench.model, "--status", "Succeeded").code == 0
    summary = bench.get("runs/r1/u1/summary.json")
    assert summary["promoted"]["generation"] == 1
    assert summary["live"] == {"bundle": OTHER, "generation": 2}


def test_without_a_platform_the_next_action_is_to_serve(bench: Bench) -> None:
    folder = bench.bundle()
    ended = bench.deploy(folder, "--wait", "1")
    assert ended.code == 4
    assert ended.error["fix"] == "lockgate serve"
    assert bench.get("candidate.json") is None


def test_an_old_status_is_not_taken_for_an_answer(bench: Bench) -> None:
    folder = bench.bundle()
    ready = {"bundle": bench.digest(folder), "address": "http://127.0.0.1:9", "ready": True, "problem": None}
    bench.put("status.json", {"live": None, "candidate": {**ready, "run": "r0", "lease": "then"}, "at": "then"})
    assert bench.deploy(folder, "--wait", "1").code == 4


@pytest.mark.parametrize(("refused", "code"), [(True, 3), (False, 4)])
def test_a_server_that_fails_gives_the_candidate_back(bench: Bench, refused: bool, code: int) -> None:
    folder = bench.bundle()
    bench.trouble = {"ready": False, "address": None, "problem": "exit 9: no memory", "refused": refused}
    with bench.platform():
        ended = bench.deploy(folder, "--wait", "20")
    assert ended.code == code
    assert "exit 9: no memory" in ended.error["message"]
    assert bench.get("candidate.json") is None


def test_another_runs_candidate_is_awaited_and_then_named(bench: Bench) -> None:
    folder = bench.bundle()
    bench.put("candidate.json", lease("r9", 10))
    before = bench.records()
    with bench.platform():
        ended = bench.deploy(folder, "--wait", "1")
    assert ended.code == 4
    assert "held by run r9" in ended.error["message"]
    assert bench.records() == before


def test_an_expired_candidate_blocks_nobody(bench: Bench) -> None:
    folder = bench.bundle()
    bench.put("candidate.json", lease("r9", -1))
    with bench.platform():
        assert bench.deploy(folder).code == 0
    assert bench.get("candidate.json")["run"] == "r1"


def test_conclude_gives_back_only_what_is_its_own(bench: Bench) -> None:
    bench.put("candidate.json", lease("r9", 10))
    assert bench.run("conclude", "--model", bench.model, "--status", "Failed").code == 0
    assert bench.get("candidate.json")["run"] == "r9"
    assert bench.get("runs/r1/u1/summary.json")["promoted"] is None
    assert bench.run("conclude", "--model", bench.model, "--status", "Failed", run="r9").code == 0
    assert bench.get("candidate.json") is None


def test_conclude_after_a_run_that_left_nothing(bench: Bench) -> None:
    assert bench.run("conclude", "--model", bench.model, "--status", "Error").code == 0
    assert bench.get("runs/r1/u1/summary.json")["live"] == {"bundle": None, "generation": 0}


@pytest.mark.parametrize(("status", "code"), [("Succeeded", 0), ("Failed", 4)])
def test_a_store_that_is_down_does_not_fail_a_run_that_succeeded(bench: Bench, status: str, code: int) -> None:
    (bench.environment / "store").write_text((bench.root / "file").as_uri())
    (bench.root / "file").write_text("a file where the store should be")
    ended = bench.run("conclude", "--model", bench.model, "--status", status)
    assert ended.code == code, ended.log
    assert ended.error["fix"]


def test_an_unsupported_platform_is_named(bench: Bench) -> None:
    folder = bench.bundle()
    (bench.environment / "platform").write_text("seldon")
    ended = bench.deploy(folder)
    assert ended.code == 2
    assert "seldon" in ended.error["message"]


@pytest.mark.parametrize("model", ["../credit", "a/b", "", ".x"])
def test_an_invalid_model_name_is_a_bad_call(bench: Bench, model: str) -> None:
    assert bench.run("conclude", "--model", model).code == 2


@pytest.mark.parametrize("name", ["live.json", "candidate.json"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"bundle": "x", "lease_until": 3}'])
def test_a_damaged_pointer_stops_everything_and_is_not_overwritten(bench: Bench, name: str, content: bytes) -> None:
    folder = bench.bundle()
    bench.store.put(f"models/{bench.model}/{name}", content)
    ended = bench.deploy(folder, "--wait", "1")
    assert ended.code == 4, ended.log
    assert bench.store.read(f"models/{bench.model}/{name}").data == content
