"""Somebody who can write the store cannot make a bundle live, nor set live back, without `promote`'s key."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lockgate_delivery.pointers import Pointers
from lockgate_proof import Accepted, ProofError
from lockgate_step import OutsideFailed, canonical, sha256
from lockgate_store import Store

from tests.promotions import make_live, signed_pointer
from tests.steps.version_bench import Bench

REFUSED = sha256(b"a bundle that smoke-test refused")
AT = "2027-01-01T00:00:00+00:00"
Change = Callable[[Bench], object]


def edited(**changes: object) -> Change:
    """Change the live pointer and leave its signed promotion."""
    return lambda bench: bench.put("live.json", {**bench.get("live.json"), **changes})


def without_promotion(bench: Bench) -> None:
    live = bench.get("live.json")
    del live["promotion"]
    bench.put("live.json", {**live, "bundle": REFUSED})


def payload_changed(bench: Bench) -> None:
    live = bench.get("live.json")
    said = json.loads(base64.b64decode(live["promotion"]["payload"]))
    said["subject"][0]["digest"]["sha256"] = REFUSED.removeprefix("sha256:")
    live["promotion"]["payload"] = base64.b64encode(canonical(said)).decode()
    bench.put("live.json", {**live, "bundle": REFUSED})


def signed_by(signer: str) -> Change:
    def change(bench: Bench) -> None:
        live = signed_pointer(
            bench.model, bench.keys[signer], bundle=REFUSED, generation=4, run="r", at=AT,
            before=bench.get("history/3.json"),
        )  # fmt: skip
        bench.put("live.json", live)

    return change


def of_another_model(bench: Bench) -> None:
    make_live(bench.store, "credit", bench.keys["promote"], REFUSED, 3)
    bench.store.put(f"models/{bench.model}/live.json", bench.store.read("models/credit/live.json").data)


def set_back(bench: Bench) -> None:
    bench.put("live.json", bench.get("history/2.json"))


def removed(bench: Bench) -> None:
    key = f"models/{bench.model}/live.json"
    bench.store.delete(key, bench.store.read(key).version)


def history_cut(bench: Bench) -> None:
    key = f"models/{bench.model}/history/2.json"
    bench.store.delete(key, bench.store.read(key).version)


def history_replaced(bench: Bench) -> None:
    bench.put("history/2.json", {**bench.get("history/1.json")})


ATTACKS: dict[str, tuple[Change, str]] = {
    "another bundle": (edited(bundle=REFUSED), "its bundle is not the one in its signed promotion"),
    "another generation": (edited(generation=9), "its generation is not"),
    "the generation as another type": (edited(generation=3.0), "its generation is not"),
    "another run": (edited(run="r1"), "its run is not"),
    "no promotion": (without_promotion, "has no signed promotion"),
    "a changed payload": (payload_changed, "is not signed by a key that may sign as promote"),
    "signed by package": (signed_by("package"), "is not signed by a key that may sign as promote"),
    "signed by smoke-test": (signed_by("smoke-test"), "is not signed by a key that may sign as promote"),
    "signed by an unknown key": (signed_by("stranger"), "is not signed by a key that may sign as promote"),
    "a promotion of another model": (of_another_model, "carries a promotion of credit"),
    "an older promotion": (set_back, "was set back to generation 2: its history has generation 3"),
    "no pointer": (removed, "live.json"),
    "a gap in the history": (history_cut, "has no generation 2"),
    "another history": (history_replaced, "does not follow on generation 2"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_whoever_can_write_the_store_cannot_set_live(bench: Bench, attack: str) -> None:
    base = bench.live(sha256(b"honest"), 3)
    folder = bench.bundle(base)
    change, says = ATTACKS[attack]
    change(bench)
    before = bench.records()
    ended = [bench.deploy(folder, "--wait", "1"), bench.promote(folder, bench.smoke(folder))]
    for each in ended:
        assert each.code == 3, each.log
        assert says in each.error["message"]
        assert each.error["fix"]
    written = {key for key, content in bench.records().items() if before.get(key) != content}
    assert written <= {f"models/{bench.model}/runs/r1/u1/summary.json"}
    assert bench.run("conclude", "--model", bench.model, "--status", "Failed").code == 3


def test_a_later_run_of_the_same_name_changes_no_record_of_the_first(bench: Bench) -> None:
    folder, conclude = bench.bundle(), ("conclude", "--model", bench.model, "--status")
    with bench.platform():
        assert bench.deploy(folder).code == 0
        assert bench.promote(folder, bench.smoke(folder)).code == 0
    assert bench.run(*conclude, "Succeeded").code == 0
    released = bench.records()
    with bench.platform():
        assert bench.run(*conclude, "Failed", uid="u2").code == 0
    assert released.items() <= bench.records().items()
    first, later = (bench.get(f"runs/r1/{uid}/summary.json") for uid in ("u1", "u2"))
    assert (first["status"], first["promoted"]["generation"]) == ("Succeeded", 1)
    assert (later["status"], later["promoted"], later["records"]) == ("Failed", None, [])


@pytest.mark.parametrize("uid", ["", "../u1", ".u1"])
def test_a_run_without_a_uid_is_a_bad_call(bench: Bench, uid: str) -> None:
    ended = bench.run("conclude", "--model", bench.model, "--status", "Failed", uid=uid)
    assert ended.code == 2 and "LOCKGATE_UID" in ended.error["message"]


def test_the_generation_as_a_boolean_is_another_generation(bench: Bench) -> None:
    bench.live(sha256(b"honest"), 1)
    edited(generation=True)(bench)
    with pytest.raises(ProofError, match="its generation is not"):
        Pointers(bench.store, bench.model, bench.trust).live()


class TestMemory:
    """What a platform remembers outside the store shows a replaced history, however well it is made."""

    def pointers(self, bench: Bench, seen: Accepted | None) -> Pointers:
        return Pointers(bench.store, bench.model, bench.trust, seen)

    def seen(self, bench: Bench) -> Accepted:
        live = bench.get("live.json")
        return Accepted(live["generation"], sha256(canonical(live["promotion"])))

    def rewind(self, bench: Bench, generation: int) -> None:
        """Set the store back to a generation, with no trace of what came after it."""
        live = bench.get("live.json")
        bench.put("live.json", bench.get(f"history/{generation}.json"))
        for number in range(generation + 1, live["generation"] + 1):
            key = f"models/{bench.model}/history/{number}.json"
            bench.store.delete(key, bench.store.read(key).version)

    def test_a_store_set_back_without_a_trace_is_refused_by_whoever_saw_more(self, bench: Bench) -> None:
        bench.live(sha256(b"honest"), 3)
        seen = self.seen(bench)
        self.rewind(bench, 2)
        assert self.pointers(bench, None).live().generation == 2  # nobody can tell who has seen nothing else
        with pytest.raises(ProofError, match="set back to generation 2: generation 3 was accepted before"):
            self.pointers(bench, seen).live()

    def test_a_history_that_went_another_way_is_refused(self, bench: Bench) -> None:
        bench.live(sha256(b"honest"), 3)
        seen = self.seen(bench)
        self.rewind(bench, 2)
        bench.live(sha256(b"another"), 4)
        with pytest.raises(ProofError, match=r"another generation 3 .* was accepted before"):
            self.pointers(bench, seen).live()

    def test_the_same_generation_of_another_promotion_is_refused(self, bench: Bench) -> None:
        bench.live(sha256(b"honest"), 3)
        seen = self.seen(bench)
        self.rewind(bench, 2)
        bench.live(sha256(b"another"), 3)
        with pytest.raises(ProofError, match="another generation 3"):
            self.pointers(bench, seen).live()

    def test_only_what_came_after_the_seen_one_is_read(self, bench: Bench) -> None:
        bench.live(sha256(b"honest"), 2)
        seen = self.seen(bench)
        bench.live(sha256(b"next"), 4)
        key = f"models/{bench.model}/history/1.json"
        bench.store.delete(key, bench.store.read(key).version)
        assert self.pointers(bench, seen).live().generation == 4

    def test_a_store_that_lost_everything_is_not_a_new_one(self, bench: Bench) -> None:
        with pytest.raises(ProofError, match=r"live\.json"):
            self.pointers(bench, Accepted(3, REFUSED)).live()


def test_a_store_from_before_says_what_to_do(bench: Bench) -> None:
    bench.put("live.json", {"bundle": REFUSED, "generation": 3, "previous": None, "run": "r", "at": AT})
    bench.put("history/3.json", {"bundle": REFUSED, "generation": 3, "run": "r"})
    folder = bench.bundle({"bundle": REFUSED, "generation": 3})
    ended = bench.deploy(folder, "--wait", "1")
    assert ended.code == 3
    assert "has no signed promotion: another version of Lockgate or somebody else wrote it" in ended.error["message"]
    assert "move models/adult-income/live.json and models/adult-income/history/ out of the store" in ended.error["fix"]


@pytest.mark.parametrize(
    "until", [None, 3, "soon", "2027-01-01", "2027-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z"]
)
def test_a_lease_without_a_time_is_damaged(bench: Bench, until: Any) -> None:
    bench.put("candidate.json", {"bundle": REFUSED, "run": "r", "base": None, "generation": 0, "lease_until": until})
    store: Store = bench.store
    with pytest.raises(OutsideFailed, match="a pointer in the store is damaged"):
        Pointers(store, bench.model, bench.trust).lease()


# Nothing goes live that its own run did not deploy ---------------------------------------------------------------


def by_hand(bench: Bench, folder: Path, **changes: object) -> bytes:
    """Write `staged` without a key, about an address of the attacker's own."""
    said = {"model": bench.model, "bundle": bench.digest(folder), "address": "http://127.0.0.1:9", "replicas": 1}
    return canonical({**said, "run": "r1", "uid": "u1", **changes})


def another_address(bench: Bench, folder: Path) -> bytes:
    """Change the address in what deploy signed."""
    envelope = json.loads(bench.staged(folder))
    said = json.loads(base64.b64decode(envelope["payload"]))
    said["predicate"]["address"] = "http://192.0.2.1:8080"
    return canonical({**envelope, "payload": base64.b64encode(canonical(said)).decode()})


STAGED: dict[str, tuple[Callable[[Bench, Path], bytes], str]] = {
    "written by hand": (by_hand, "staged is not signed by a key that may sign as deploy"),
    "written by hand, of another run": (lambda b, f: by_hand(b, f, run="r0"), "may sign as deploy"),
    "of another address": (another_address, "may sign as deploy"),
    "signed by an unknown key": (lambda b, f: b.staged(f, key="stranger"), "may sign as deploy"),
    "signed by smoke-test": (lambda b, f: b.staged(f, key="smoke-test"), "may sign as deploy"),
    "signed by promote": (lambda b, f: b.staged(f, key="promote"), "may sign as deploy"),
    "another record of deploy": (lambda b, f: b.staged(f, kind="promotion"), "its type is urn:lockgate:promotion:v1"),
    "of another run": (lambda b, f: b.staged(f, run="r0"), "staged in run r0, not in this run"),
    "of an earlier run of that name": (lambda b, f: b.staged(f, uid="u0"), "staged in another run named r1"),
    "of no run": (lambda b, f: b.staged(f, run=""), "its record does not state a staged version"),
    "of a run without uid": (lambda b, f: b.staged(f, uid=None), "its record does not state a staged version"),
    "of another bundle": (lambda b, f: b.staged(f, bundle=REFUSED), f"another bundle was staged: {REFUSED}"),
    "of another model": (lambda b, f: b.staged(f, model="credit"), "another bundle was staged: .* of credit"),
    "without replicas": (lambda b, f: b.staged(f, replicas=0), "its record does not state a staged version"),
    "without an address": (lambda b, f: b.staged(f, address=None), "its record does not state a staged version"),
}


@pytest.mark.parametrize(("forge", "says"), STAGED.values(), ids=STAGED)
def test_what_deploy_did_not_stage_in_this_run_is_not_promoted(
    bench: Bench, forge: Callable[[Bench, Path], bytes], says: str
) -> None:
    folder = bench.bundle()
    staged = forge(bench, folder)
    smoke = bench.smoke(folder, staged=staged)  # passed, about this very file
    with bench.platform():
        ended = bench.promote(folder, smoke, staged=staged)
    assert ended.code == 3, ended.log
    assert re.search(says, ended.error["message"])
    assert ended.error["fix"]
    assert (bench.get("live.json"), bench.get("runs/r1/promotion.json")) == (None, None)


@pytest.mark.parametrize("changes", [{"address": "http://127.0.0.1:10"}, {"replicas": 2}, {"run": "r0"}, {"uid": "u0"}])
def test_smoke_test_must_have_tested_what_this_run_staged(bench: Bench, changes: dict[str, Any]) -> None:
    folder = bench.bundle()
    smoke = bench.smoke(folder, staged=bench.staged(folder, **changes))
    with bench.platform():
        ended = bench.promote(folder, smoke, staged=bench.staged(folder))
    assert (ended.code, "judged another staged" in ended.error["message"]) == (3, True), ended.log
    assert bench.get("live.json") is None


def test_the_records_of_an_earlier_run_promote_nothing(bench: Bench) -> None:
    """A run that was stopped before it promoted: its signed records do not stand for another run's deploy."""
    folder = bench.bundle()
    with bench.platform():
        earlier = bench.deploy(folder)
        assert earlier.code == 0, earlier.log
        assert bench.run("conclude", "--model", bench.model, "--status", "Failed").code == 0
        smoke = bench.smoke(folder, staged=earlier.staged)
        ended = bench.promote(folder, smoke, staged=earlier.staged, run="r2")
    assert (ended.code, "was staged in run r1, not in this run" in ended.error["message"]) == (3, True), ended.log
    assert bench.get("live.json") is None


@pytest.mark.parametrize(
    "address", ["http://192.0.2.1:8080", "http://127.0.0.1.example.org:80", "http://[::1]:9", "", 9]
)
def test_the_local_platform_is_on_this_machine(bench: Bench, address: object) -> None:
    """Whoever can write the store can write the status that names the candidate's address."""
    folder = bench.bundle()
    bench.trouble = {"address": address}
    with bench.platform():
        ended = bench.deploy(folder)
    assert (ended.code, "is not on this machine" in ended.error["message"]) == (3, True), ended.log
    assert (ended.staged, bench.get("candidate.json")) == (None, None)
