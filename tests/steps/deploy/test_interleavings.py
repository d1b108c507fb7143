"""Releases, rollbacks and rollouts at the same time, with kills and repeated programs, in any order of their calls."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lockgate_delivery.platform import Staged
from lockgate_delivery.pointers import NOTHING_LIVE, Lease, Live, Pointers
from lockgate_deploy.conclude import tidy
from lockgate_deploy.deploy import stage
from lockgate_deploy.promote import go_live
from lockgate_proof import LIFETIME, Accepted, Statement, Traffic, VerifiedBundle, sign, traffic
from lockgate_step import Canary, OutsideFailed, Record, Refusal, canonical, sha256
from lockgate_store import Store

from tests.faults import SECONDS, seeds
from tests.promotions import make_live
from tests.steps.deploy.turns import Actor, Killed, Memory, Turned
from tests.steps.version_bench import Bench

GATES = ("validate-data", "validate-model", "bias-audit", "smoke-test", "canary")


@dataclass
class Ready:
    """A platform that follows at once. ended: the runs that Argo knows to have ended."""

    ended: set[str] = field(default_factory=set)
    compares: bool = False

    def accepted(self, model: str) -> Accepted | None:
        return None

    def has_ended(self, run: str) -> bool:
        return run in self.ended

    def until_staged(self, pointers: Pointers, proven: VerifiedBundle, lease: Lease, wait: float) -> Staged:
        return Staged("http://127.0.0.1:9", 1)

    def until_live(self, pointers: Pointers, live: Live, wait: float) -> None:
        pass

    def until_tidy(self, pointers: Pointers, wait: float) -> None:
        pass

    def until_shared(self, pointers: Pointers, traffic: Traffic | None, wait: float) -> None:
        pass

    def readings(self, pointers: Pointers, bundle: str) -> Mapping[str, str]:
        return {}


class World:
    """One model in a store in memory, and the runs that change it."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.memory, self.platform = bench, Memory(), Ready()
        self.good: set[str] = set()
        self.bases: dict[str, Live] = {}
        self.made: dict[int, tuple[str, str]] = {}
        self.generation = 0

    def with_history(self, generations: int) -> None:
        """Let versions be live before the runs begin."""
        for generation in range(1, generations + 1):
            run, bundle = f"before-{generation}", sha256(f"before {generation}".encode())
            base = Live(self.made[generation - 1][0], generation - 1, None, "", "") if self.made else NOTHING_LIVE
            live = make_live(self.memory, self.bench.model, self.bench.keys["promote"], bundle, generation, run=run)
            self.memory.put(f"models/{self.bench.model}/history/{generation}.json", canonical(live))
            self.memory.put(_manifest(self.bench.model, bundle), b"{}")
            self.made[generation], self.bases[run] = (bundle, run), base
            self.good.add(bundle)
        self.generation = generations

    def sign(self, signer: str) -> Callable[[Record], dict[str, Any]]:
        def signed(record: Record) -> dict[str, Any]:
            return sign(record.kind, record.subjects, {**record.predicate, "program": {}}, self.bench.keys[signer])

        return signed

    def pointers(self, store: Store, run: str) -> Pointers:
        return Pointers(store, self.bench.model, self.bench.trust, uid=run)

    def run(self, name: str, draw: random.Random) -> Callable[[Turned], None]:
        """Return a run: of a new version, or the way back to one that was live."""
        passes, back, share = draw.random() < 0.7, draw.random() < 0.3, Canary(shares=(draw.randint(1, 99),))
        gives_up = draw.random() < 0.2

        def work(store: Turned) -> None:
            pointers, status = self.pointers(store, name), "Succeeded"
            try:
                for step in self.steps(pointers, name, share, passes=passes, back=back):
                    self.tried(step)
            except (Refusal, OutsideFailed):
                status = "Failed"
            except Killed:
                if gives_up:  # its node is lost, and nobody concludes it
                    self.platform.ended.add(name)
                    return
                status = "Error"
            self.tried(lambda: tidy(pointers, self.platform, run=name, status=status, wait=0), often=99)
            self.platform.ended.add(name)

        return work

    def steps(
        self, pointers: Pointers, name: str, share: Canary, *, passes: bool, back: bool
    ) -> Iterator[Callable[[], object]]:
        """Yield the programs of a run in their order; each takes what the one before found."""
        yield lambda: self.bases.setdefault(name, pointers.live())
        base = self.bases[name]
        returns = back and base.previous is not None
        bundle = base.previous if returns and base.previous else sha256(name.encode())
        if not returns:
            self.memory.put(_manifest(self.bench.model, bundle), b"{}")
        if passes:
            self.good.add(bundle)
        compared = {"bundle": base.bundle, "generation": base.generation}
        proven = VerifiedBundle(Path(), bundle, self.bench.model, {"bundle": bundle}, compared, {}, {}, ())
        yield lambda: stage(pointers, self.platform, proven, run=name, wait=-1)
        if not returns:
            if base.bundle is not None:
                yield lambda: pointers.share(self.shared(proven, name, share))
            if not passes:
                yield lambda: pointers.withdraw(name)
                msg = "canary refused it"
                raise Refusal(msg, fix="")
        judged, signed = verdicts(bundle), self.sign("promote")
        yield lambda: go_live(pointers, self.platform, proven, judged, run=name, wait=0, signed=signed)

    def tried(self, step: Callable[[], object], often: int = 2) -> None:
        """Run a program, again if it is killed, as Argo does. Errors: Killed the last time."""
        for attempt in range(often):
            try:
                step()
            except Killed:
                if attempt == often - 1:
                    raise
            else:
                return

    def shared(self, proven: VerifiedBundle, run: str, share: Canary) -> Mapping[str, Any]:
        """Return the signed record of a share."""
        until = datetime.now(UTC) + LIFETIME
        record = traffic(Traffic(self.bench.model, proven.digest, share, dict(proven.base), run, run, until))
        return self.sign("canary")(replace(record, predicate={**record.predicate, "run": run}))

    def check(self) -> None:
        """Check what must be true after every call to the store."""
        kept = self.memory.kept.get(f"models/{self.bench.model}/live.json")
        if kept is None:
            return
        live = json.loads(kept.data)
        generation, found = live["generation"], (live["bundle"], live["run"])
        assert generation >= self.generation, "live went back"
        if generation > self.generation:
            base = self.bases[live["run"]]
            assert (base.generation, base.bundle) == (generation - 1, live["previous"]), "compared with another version"
        self.generation = generation
        assert self.made.setdefault(generation, found) == found, "two promotions of one generation"
        assert live["bundle"] in self.good, "a refused version is live"

    def check_at_rest(self) -> None:
        """Check what must be true when every run has ended: the chain is whole, and nothing is left of a rollout."""
        pointers = self.pointers(self.memory, "last")
        live = pointers.live()  # verifies the whole chain
        assert sorted(self.made) == list(range(1, live.generation + 1))
        runs = [run for _, run in self.made.values()]
        assert len(runs) == len({*runs}), "a run was promoted twice"
        lease = pointers.lease()
        assert lease is None or lease.run in self.platform.ended
        if lease is None:
            assert pointers.traffic() is None


def _manifest(model: str, bundle: str) -> str:
    return f"models/{model}/bundles/{bundle.removeprefix('sha256:')}/manifest.json"


def verdicts(bundle: str) -> dict[str, Statement]:
    return {gate: Statement({}, "verdict", {}, sha256(f"{gate} of {bundle}".encode())) for gate in GATES}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("interleavings"))


@pytest.mark.faults
def test_in_any_order_a_refused_version_never_goes_live_and_no_generation_is_given_twice(bench: Bench) -> None:
    done = 0
    for seed in seeds(100, least=10_000):
        interleave(bench, seed)
        done += 1
    print(f"{done} interleavings in {SECONDS or 'a few'} seconds")


def interleave(bench: Bench, seed: int) -> None:
    """Let two to four runs go at the same time; some have a second process, as after a lost node that comes back."""
    draw, world = random.Random(seed), World(bench)
    world.with_history(draw.choice((0, 2, 2)))
    actors = []
    for number in range(draw.randint(2, 4)):
        work = world.run(f"r{number}", draw)
        actors += [Actor(world.memory, f"r{number}", work) for _ in range(draw.choice((1, 1, 1, 2)))]
    for actor in actors:
        actor.start()
    lost = draw.choice((0.0, 0.01, 0.1))
    if draw.random() < 0.5:  # no lease protects anybody: what is left is the compare-and-swap
        world.platform.ended |= {actor.name for actor in actors}
    patience = draw.choice((0.0, 0.9))
    deadliness = draw.choice((0.0, 0.02, 0.1))
    while waiting := [actor for actor in actors if not actor.ended]:
        # Whoever is about to move live often has to wait until the others have done the same.
        others = [actor for actor in waiting if not actor.writes.endswith("/live.json")]
        actor = draw.choice(others if others and draw.random() < patience else waiting)
        for _ in range(draw.choice((1, 1, 5, 20, 60))):
            if draw.random() < lost:  # Argo takes its node for lost, and it goes on
                world.platform.ended.add(actor.name)
            actor.turn(dies=draw.random() < deadliness)
            world.check()
            if actor.ended or actor.writes.endswith("/live.json"):
                break
    world.check_at_rest()
