"""A version that was live before comes back: verified again, under the rules that judged it, in live's place only."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lockgate_proof import base_digest, read_promotion, sign, verify
from lockgate_step import canonical, file_digest, sha256
from lockgate_store import put_tree

from tests.steps.version_bench import JUDGED, Alter, Bench, Ended

Change = Callable[[Bench], object]


def released(bench: Bench, count: int, alter: Alter | None = None) -> list[Path]:
    """Make this many versions live, one after the other; return their bundles, which are whole in the store.

    alter: changes the files of the first one before they are sealed.
    """
    base: dict[str, Any] = {"bundle": None, "generation": 0}
    found = []
    for number in range(1, count + 1):
        folder = bench.bundle(base, mark=f"v{number}", alter=alter if number == 1 else None)
        digest = bench.digest(folder)
        put_tree(bench.store, folder, f"models/{bench.model}/bundles/{digest.removeprefix('sha256:')}")
        base = bench.live(digest, number, f"r{number}")
        found.append(folder)
    return found


def release(bench: Bench, folder: Path, run: str) -> None:
    for ended in roll_out(bench, folder, run):
        assert ended.code == 0, ended.log


def roll_out(bench: Bench, folder: Path, run: str = "back", recalled: bytes | None = None) -> tuple[Ended, Ended]:
    """Deploy a bundle and promote it; recalled: the verdict of recall that brought it back."""
    with bench.platform():
        deployed = bench.deploy(folder, run=run, recalled=recalled)
        staged = deployed.staged or bench.staged(folder, run=run)
        smoke = bench.smoke(folder, staged=staged)
        return deployed, bench.promote(folder, smoke, staged=staged, run=run, recalled=recalled)


def recall(bench: Bench, *settings: str, waivers: list[Any] | None = None) -> tuple[Ended, bytes | None]:
    """Run recall; return how it ended, and its verdict."""
    files: dict[str, Path | bytes] = {"spec": bench.spec, "policy": bench.policy}
    ended = bench.run("recall", *settings, files=files | ({"waivers": canonical(waivers)} if waivers else {}))
    path = bench.root / "io" / "out" / "verdict"
    return ended, path.read_bytes() if path.exists() else None


def said(verdict: bytes | None, bench: Bench) -> dict[str, Any]:
    assert verdict is not None
    return dict(verify(verdict, bench.trust, signer="recall").predicate)


def stricter(bench: Bench) -> None:
    bench.policy.write_text(bench.policy.read_text().replace("0.15", "0.05"))
    bench.make_current()


def test_the_version_before_comes_back_as_a_new_generation(bench: Bench) -> None:
    first, second = released(bench, 2)
    ended, verdict = recall(bench)
    assert ended.code == 0, ended.log
    brought = bench.root / "io" / "out" / "bundle"
    assert {p.name: file_digest(p) for p in brought.rglob("*") if p.is_file()} == {
        p.name: file_digest(p) for p in first.rglob("*") if p.is_file()
    }
    stated = said(verdict, bench)
    assert (stated["result"], stated["notes"]) == ("passed", [])
    assert stated["measurements"]["generation"] == 1
    assert stated["measurements"]["live"] == {"bundle": bench.digest(second), "generation": 2}
    for ended in roll_out(bench, first, recalled=verdict):
        assert ended.code == 0, ended.log
    live = bench.get("live.json")
    assert (live["bundle"], live["generation"], live["previous"]) == (bench.digest(first), 3, bench.digest(second))
    promoted = read_promotion(canonical(live), bench.trust, model=bench.model)
    assert promoted.verdicts["recall"] == sha256(verdict or b"")


def test_a_release_after_a_rollback_follows_on_it(bench: Bench) -> None:
    first, _ = released(bench, 2)
    _, verdict = recall(bench)
    roll_out(bench, first, recalled=verdict)
    third = bench.bundle({"bundle": bench.digest(first), "generation": 3}, mark="v3")
    release(bench, third, "r3")
    assert bench.get("live.json")["generation"] == 4


@pytest.mark.parametrize("by", ["generation", "digest", "digits"])
def test_an_older_version_is_named_by_generation_or_digest(bench: Bench, by: str) -> None:
    first, *_ = released(bench, 3)
    to = {"generation": "1", "digest": bench.digest(first), "digits": bench.digest(first)[:17]}[by]
    ended, verdict = recall(bench, "--to", to)
    assert ended.code == 0, ended.log
    assert said(verdict, bench)["measurements"]["generation"] == 1


@pytest.mark.parametrize(
    ("to", "code", "says"),
    [
        ("7", 2, "no version 7 of adult-income was ever live"),
        ("sha256:" + "0" * 64, 2, "was ever live"),
        ("yesterday", 2, "neither a generation nor a digest"),
        ("../1", 2, "neither a generation nor a digest"),
        ("2", 3, "is live already, as generation 2"),
    ],
)
def test_a_version_that_cannot_come_back_is_named(bench: Bench, to: str, code: int, says: str) -> None:
    released(bench, 2)
    before = bench.records()
    ended, verdict = recall(bench, "--to", to)
    assert (ended.code, verdict) == (code, None), ended.log
    assert says in ended.error["message"]
    assert ended.error["fix"]
    assert bench.records() == before


def test_without_an_earlier_version_there_is_nothing_to_bring_back(bench: Bench) -> None:
    assert "was ever live" in recall(bench)[0].error["message"]
    released(bench, 1)
    ended, _ = recall(bench)
    assert (ended.code, "no version before the present one" in ended.error["message"]) == (2, True)


def test_the_version_before_comes_back_although_the_policy_is_stricter_now(bench: Bench) -> None:
    first, _ = released(bench, 2)
    stricter(bench)
    ended, verdict = recall(bench)
    assert ended.code == 0, ended.log
    (note,) = said(verdict, bench)["notes"]
    assert note.startswith("generation 1: adult-income was judged by the policy sha256:")
    assert said(verdict, bench)["measurements"]["judged_by"]["policy"] == file_digest(first / "policy.toml")
    for ended in roll_out(bench, first, recalled=verdict):
        assert ended.code == 0, ended.log
    assert bench.get("live.json")["generation"] == 3


def approval(bench: Bench, verdict: bytes | None, rule: str, *, key: str = "waive") -> Any:
    """Make an approver's waiver for one reason of recall's verdict."""
    assert verdict is not None
    subjects = verify(verdict, bench.trust, signer="recall").subjects
    stated = {"model": bench.model, "gate": "recall", "reason": rule, "approver": "A. Diaz", "why": "The others fail."}
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return {
        "file": "waivers/recall.json",
        "envelope": sign("waiver", subjects, {**stated, "expires": expires}, bench.keys[key]),
    }


def test_an_older_version_that_the_policy_did_not_judge_needs_an_approver(bench: Bench) -> None:
    first, *_ = released(bench, 3)
    stricter(bench)
    ended, refused = recall(bench, "--to", "1")
    assert ended.code == 3, ended.log
    (reason,) = said(refused, bench)["reasons"]
    assert (reason["id"], reason["rule"]) == ("recall/1", "recall:rules")
    for ended in roll_out(bench, first, recalled=refused):
        assert (ended.code, "recall did not pass" in ended.error["message"]) == (3, True)
    ended, verdict = recall(bench, "--to", "1", waivers=[approval(bench, refused, "recall:rules")])
    assert ended.code == 0, ended.log
    assert said(verdict, bench)["reasons"][0]["waiver"]["approver"] == "A. Diaz"
    for ended in roll_out(bench, first, recalled=verdict):
        assert ended.code == 0, ended.log
    assert bench.get("live.json")["bundle"] == bench.digest(first)


def test_an_approval_holds_for_the_version_that_is_live_only(bench: Bench) -> None:
    released(bench, 3)
    stricter(bench)
    _, refused = recall(bench, "--to", "1")
    waiver = approval(bench, refused, "recall:rules")
    fourth = bench.bundle({"bundle": bench.get("live.json")["bundle"], "generation": 3}, mark="v4")
    release(bench, fourth, "r4")
    ended, verdict = recall(bench, "--to", "1", waivers=[waiver])
    assert ended.code == 3, ended.log
    assert any("is about another base" in note for note in said(verdict, bench)["notes"])


def test_an_exception_that_has_ended_needs_an_approver_again(bench: Bench) -> None:
    def excepted(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        judged = {name: subjects[name] for name in JUDGED["bias-audit"]}
        reason = {"id": "bias-audit/1", "rule": "a", "message": "m", "waived_by": sha256(b"x")}
        (folder / "verdicts/bias-audit.json").write_bytes(bench.verdict("bias-audit", judged, reasons=[reason]))
        (folder / "waivers.json").write_bytes(canonical([bench.waiver(judged, days=2 / 86400)]))  # two seconds

    first, _ = released(bench, 2, excepted)
    end = json.loads((first / "waivers.json").read_bytes())[0]["envelope"]
    assert end  # it was in force when the first version went live
    while recall(bench)[0].code == 0:
        pass  # until it has ended
    ended, verdict = recall(bench)
    assert ended.code == 3, ended.log
    (reason,) = said(verdict, bench)["reasons"]
    assert (reason["rule"], "expired" in reason["message"]) == ("recall:waivers", True)


def changed(bench: Bench) -> None:
    key = bench.get("history/1.json")["bundle"].removeprefix("sha256:")
    bench.store.put(f"models/{bench.model}/bundles/{key}/policy.toml", b"# nothing is refused")


def without_key(bench: Bench) -> None:
    trust = json.loads((bench.environment / "trust.json").read_bytes())
    trust["keys"] = [key for key in trust["keys"] if "bias-audit" not in json.dumps(key)]
    (bench.environment / "trust.json").write_bytes(canonical(trust))


def lost(bench: Bench) -> None:
    key = bench.get("history/1.json")["bundle"].removeprefix("sha256:")
    for name in list(bench.store.list(f"models/{bench.model}/bundles/{key}/")):
        bench.store.delete(name, bench.store.read(name).version)


def history_lost(bench: Bench) -> None:
    key = f"models/{bench.model}/history/1.json"
    bench.store.delete(key, bench.store.read(key).version)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed, "policy.toml was changed"),
        (without_key, "bias-audit"),
        (lost, "not found in the store"),
        (history_lost, "has no generation 1"),
    ],
)
def test_a_version_that_does_not_verify_any_more_is_refused(bench: Bench, change: Change, says: str) -> None:
    released(bench, 2)
    change(bench)
    ended, verdict = recall(bench)
    assert (ended.code, verdict) == (3, None), ended.log
    assert says in ended.error["message"]
    assert ended.error["fix"]


# Whoever submits a run brings files of their own. --------------------------------------------------------------------


def forged(bench: Bench, folder: Path, *, key: str = "recall", **changes: Any) -> bytes:
    """Make a verdict of recall by hand; key and content can be wrong on purpose."""
    live = bench.get("live.json")
    base = {"bundle": live["bundle"], "generation": live["generation"]} | changes.pop("live", {})
    subjects = {
        "bundle": bench.digest(folder),
        "base": base_digest(base["bundle"], base["generation"]),
        "spec": file_digest(bench.spec),
        "policy": file_digest(bench.policy),
        **changes.pop("subjects", {}),
    }
    return bench.verdict("recall", subjects, key=key, measurements={"live": base}, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"key": "bias-audit"}, "not signed"),
        ({"key": "stranger"}, "not signed"),
        ({"result": "refused"}, "recall did not pass"),
        ({"result": "not_judged"}, "recall did not pass"),
        ({"model": "credit"}, "not of recall on adult-income"),
        ({"subjects": {"bundle": sha256(b"x")}}, "the bundle's bundle is"),
        ({"subjects": {"policy": sha256(b"x")}}, "recall judged another policy"),
        ({"subjects": {"spec": sha256(b"x")}}, "recall judged another spec"),
        ({"subjects": {"base": sha256(b"x")}}, "does not state which version"),
        ({"live": {"generation": 1}}, "live has moved"),
        ({"live": {"generation": 2.0}}, "does not state which version"),
    ],
)
def test_a_verdict_that_recall_did_not_give_on_this_version_brings_nothing_back(
    bench: Bench, changes: dict[str, Any], says: str
) -> None:
    first, _ = released(bench, 2)
    before = bench.records()
    verdict = forged(bench, first, **changes)
    for ended in roll_out(bench, first, recalled=verdict):
        assert ended.code == 3, ended.log
        assert says in ended.error["message"], ended.error
    assert bench.records() == before


def test_a_verdict_from_before_live_moved_brings_nothing_back(bench: Bench) -> None:
    first, second = released(bench, 2)
    _, verdict = recall(bench)
    third = bench.bundle({"bundle": bench.digest(second), "generation": 2}, mark="v3")
    release(bench, third, "r3")
    for ended in roll_out(bench, first, recalled=verdict):
        assert (ended.code, "live has moved" in ended.error["message"]) == (3, True), ended.log
    assert bench.get("live.json")["bundle"] == bench.digest(third)


def test_the_template_of_an_earlier_policy_brings_nothing_back(bench: Bench) -> None:
    first, _ = released(bench, 2)
    earlier = bench.policy.read_text()
    stricter(bench)
    bench.policy.write_text(earlier)  # the template on the cluster still has it
    ended, verdict = recall(bench)
    assert (ended.code, verdict) == (3, None), ended.log
    assert "but the current policy is" in ended.error["message"]
    for ended in roll_out(bench, first, recalled=forged(bench, first)):
        assert (ended.code, "but the current policy is" in ended.error["message"]) == (3, True), ended.log
