"""After a kill before or after any call to the store, the next program restores a consistent state."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, TypeVar

from lockgate_delivery.local import Local
from lockgate_delivery.pointers import Pointers
from lockgate_deploy.conclude import tidy
from lockgate_deploy.deploy import stage
from lockgate_deploy.promote import go_live
from lockgate_proof import Statement, Trust, VerifiedBundle, sign, verify_bundle, verify_verdict
from lockgate_step import OutsideFailed, Record, Refusal, sha256
from lockgate_store import Blob, Store

from tests.steps.version_bench import Bench

Answer = TypeVar("Answer")
FIRST = sha256(b"the first version")


class Killed(BaseException):
    """The process ends here; no code may catch it."""


@dataclass
class Mortal:
    """A store whose caller is killed before or after its n-th call; it also follows the pointers like a platform."""

    store: Store
    obey: Callable[[], None]
    kill_at: int = 0
    after: bool = False
    calls: list[str] = field(default_factory=list)

    def read(self, key: str, *, at_most: int | None = None) -> Blob:
        if key.endswith("/status.json"):
            self.obey()
        return self._call(f"read {key}", lambda: self.store.read(key, at_most=at_most))

    def create(self, key: str, data: bytes) -> str:
        return self._call(f"create {key}", lambda: self.store.create(key, data))

    def replace(self, key: str, data: bytes, version: str) -> str:
        return self._call(f"replace {key}", lambda: self.store.replace(key, data, version))

    def put(self, key: str, data: bytes) -> str:
        return self._call(f"put {key}", lambda: self.store.put(key, data))

    def delete(self, key: str, version: str) -> None:
        self._call(f"delete {key}", lambda: self.store.delete(key, version))

    def exists(self, key: str) -> bool:
        return self._call(f"exists {key}", lambda: self.store.exists(key))

    def list(self, prefix: str) -> Iterator[str]:
        return iter(self._call(f"list {prefix}", lambda: list(self.store.list(prefix))))

    def upload(self, path: str | PathLike[str], key: str) -> str:
        return self._call(f"upload {key}", lambda: self.store.upload(path, key))

    def download(self, key: str, path: str | PathLike[str]) -> None:
        self._call(f"download {key}", lambda: self.store.download(key, path))

    def _call(self, what: str, call: Callable[[], Answer]) -> Answer:
        self.calls.append(what)
        dies = len(self.calls) == self.kill_at
        if dies and not self.after:
            raise Killed
        try:
            return call()
        finally:
            if dies:
                raise Killed


@dataclass(frozen=True)
class Proof:
    """A verified bundle and smoke-test's verdict on it."""

    bench: Bench
    bundle: VerifiedBundle
    smoke: Statement

    def sign(self, record: Record) -> dict[str, Any]:
        return sign(record.kind, record.subjects, record.predicate, self.bench.keys["promote"])


def prove(bench: Bench, base: dict[str, Any], mark: str) -> Proof:
    now = datetime.now(UTC)
    folder: Path = bench.bundle(base, mark=mark)
    trust: Trust = bench.trust
    bundle = verify_bundle(folder, trust, now=now)
    smoke = verify_verdict(
        bench.smoke(folder), trust, gate="smoke-test", model=bundle.model, subjects=bundle.subjects, now=now
    )
    return Proof(bench, bundle, smoke)


def steps(store: Store, proof: Proof, run: str) -> list[Callable[[], object]]:
    """Return the three programs in the order of the workflow."""
    pointers = Pointers(store, proof.bundle.model, proof.bench.trust)
    return [
        lambda: stage(pointers, Local(), proof.bundle, run=run, wait=30),
        lambda: go_live(
            pointers, Local(), proof.bundle, {"smoke-test": proof.smoke}, run=run, wait=30, signed=proof.sign
        ),
        lambda: tidy(pointers, Local(), run=run, status="Succeeded", wait=30),
    ]


def drive(store: Store, proof: Proof, run: str, *, begin: int = 0) -> int:
    """Run the programs from number `begin` on; return the number of the killed one, or how many there are."""
    programs = steps(store, proof, run)
    for number, program in enumerate(programs[begin:], start=begin):
        try:
            program()
        except Killed:
            return number
    return len(programs)


def check_always(bench: Bench, bundles: list[str]) -> None:
    """Check what must be true at every moment, also right after a kill."""
    live = bench.get("live.json")
    assert live["bundle"] == bundles[live["generation"] - 1]
    for generation in range(1, live["generation"]):
        assert bench.get(f"history/{generation}.json")["bundle"] == bundles[generation - 1]
    after = bench.get(f"history/{live['generation'] + 1}.json")
    assert after is None, "the history is ahead of live"


def check_at_rest(bench: Bench, bundles: list[str], runs: list[str]) -> None:
    """Check what must be true when every run has ended."""
    check_always(bench, bundles)
    live = bench.get("live.json")
    assert (live["bundle"], live["generation"]) == (bundles[-1], len(bundles))
    assert bench.get("candidate.json") is None
    for generation, (bundle, run) in enumerate(zip(bundles, runs, strict=True), start=1):
        entry = bench.get(f"history/{generation}.json")
        assert (entry["bundle"], entry["run"]) == (bundle, run)
        assert run == "earlier" or len(entry["verdicts"]) == 4


def kills(bench: Bench) -> Iterator[tuple[Bench, Proof, Mortal]]:
    """Yield, for each call of a whole rollout, before and after it, a separate bench and a store that kills there."""
    for after in (False, True):
        kill_at, reached = 1, True
        while reached:
            world = type(bench)(bench.root / f"{kill_at}-{after}")
            proof = prove(world, world.live(FIRST), "second")
            mortal = Mortal(world.store, world.obey, kill_at, after)
            yield world, proof, mortal
            reached = len(mortal.calls) == kill_at
            kill_at += 1
        assert kill_at > 20, "a rollout makes more calls than that: the kills do not reach them"


def test_a_rollout_without_a_kill(bench: Bench) -> None:
    proof = prove(bench, bench.live(FIRST), "second")
    assert drive(Mortal(bench.store, bench.obey), proof, "r2") == 3
    check_at_rest(bench, [FIRST, proof.bundle.digest], ["earlier", "r2"])


def test_a_killed_program_that_runs_again_ends_as_if_it_had_not_been(bench: Bench) -> None:
    for world, proof, mortal in kills(bench):
        killed = drive(mortal, proof, "r2")
        bundles = [FIRST, proof.bundle.digest]
        check_always(world, bundles)
        assert drive(Mortal(world.store, world.obey), proof, "r2", begin=killed) == 3
        check_at_rest(world, bundles, ["earlier", "r2"])


def test_after_a_kill_conclude_alone_lets_the_next_run_proceed(bench: Bench) -> None:
    for world, proof, mortal in kills(bench):
        drive(mortal, proof, "r2")
        tidy(Pointers(world.store, proof.bundle.model, world.trust), Local(), run="r2", status="Failed", wait=30)
        live = world.get("live.json")
        done = live["run"] == "r2"
        summary = world.get("runs/r2/summary.json")
        assert (summary["promoted"] is not None) == done
        base = {"bundle": live["bundle"], "generation": live["generation"]}
        following = prove(world, base, "third")
        assert drive(Mortal(world.store, world.obey), following, "r3") == 3
        bundles = [FIRST, *([proof.bundle.digest] if done else []), following.bundle.digest]
        check_at_rest(world, bundles, ["earlier", *(["r2"] if done else []), "r3"])


def test_after_a_kill_without_conclude_the_next_run_waits_out_the_lease_only(bench: Bench) -> None:
    for world, proof, mortal in kills(bench):
        drive(mortal, proof, "r2")
        held = world.get("candidate.json")
        if held:
            assert held["run"] == "r2"
            world.put("candidate.json", {**held, "lease_until": held["at"]})
        live = world.get("live.json")
        following = prove(world, {"bundle": live["bundle"], "generation": live["generation"]}, "third")
        assert drive(Mortal(world.store, world.obey), following, "r3") == 3
        done = live["run"] == "r2"
        bundles = [FIRST, *([proof.bundle.digest] if done else []), following.bundle.digest]
        check_at_rest(world, bundles, ["earlier", *(["r2"] if done else []), "r3"])
        if done:  # the killed run runs again and finds its work done, and another run's after it
            assert drive(Mortal(world.store, world.obey), proof, "r2", begin=1) == 3
            check_at_rest(world, bundles, ["earlier", "r2", "r3"])


def test_of_many_runs_on_one_base_exactly_one_goes_live(bench: Bench) -> None:
    base = bench.live(FIRST)
    proofs = [prove(bench, base, f"of-{n}") for n in range(8)]
    barrier, ends = Barrier(len(proofs)), []

    def promote(number: int) -> None:
        pointers = Pointers(Mortal(bench.store, lambda: None), bench.model, bench.trust)
        barrier.wait()
        try:
            proof = proofs[number]
            go_live(
                pointers,
                Local(),
                proof.bundle,
                {"smoke-test": proof.smoke},
                run=f"r{number}",
                wait=0,
                signed=proof.sign,
            )
        except OutsideFailed:  # it is live, but no platform serves it here
            ends.append(number)
        except Refusal:
            pass

    threads = [Thread(target=promote, args=(number,)) for number in range(len(proofs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = ends
    live = bench.get("live.json")
    assert (live["bundle"], live["run"], live["generation"]) == (proofs[winner].bundle.digest, f"r{winner}", 2)
    assert json.loads(bench.store.read(f"models/{bench.model}/history/2.json").data)["run"] == f"r{winner}"
