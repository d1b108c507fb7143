"""A platform that divides simulated requests as the record in the store says; its clock runs as fast as it can."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lockgate_delivery.platform import Staged
from lockgate_delivery.pointers import Lease, Live, Pointers
from lockgate_proof import Accepted, Traffic, VerifiedBundle
from lockgate_step import OutsideFailed, Shadow
from lockgate_wire import metrics as named


class Killed(BaseException):
    """The program was killed here."""


@dataclass
class Server:
    """What one version's server does with a request: every `errors`-th one fails, every `positive`-th is `high`."""

    errors: int = 0
    positive: int = 2
    seconds: float = 0.004
    name: str = "server/1"
    silent: bool = False
    counted: Counter[str] = field(default_factory=Counter)

    def serve(self) -> None:
        number = self.counted["all"] = self.counted["all"] + 1
        failed = self.errors and number % self.errors == 0
        self.counted["500" if failed else "200"] += 1
        self.counted["high" if number % self.positive == 0 else "low"] += not failed

    def restart(self) -> None:
        base, number = self.name.split("/")
        self.name, self.counted = f"{base}/{int(number) + 1}", Counter()

    def text(self, model: str, bundle: str) -> str:
        own = f'model="{model}",bundle="{bundle.removeprefix("sha256:")[:12]}"'
        lines = [f"# TYPE {named.REQUESTS.name} counter"]
        lines += [f'{named.REQUESTS.name}{{{own},code="{code}"}} {self.counted[code]}' for code in ("200", "500")]
        lines += [f"# TYPE {named.ANSWERS.name} counter"]
        lines += [f'{named.ANSWERS.name}{{{own},label="{each}"}} {self.counted[each]}' for each in ("high", "low")]
        lines += [f"# TYPE {named.SECONDS.name} histogram"]
        for bound in (*named.SECONDS.buckets, float("inf")):
            count = self.counted["all"] if self.seconds <= bound else 0
            lines.append(f'{named.SECONDS.name}_bucket{{{own},le="{bound if bound < 1e9 else "+Inf"}"}} {count}')
        return "\n".join([*lines, ""])


@dataclass
class World:
    """The servers of both versions, their clock, and what happens at a second (`at`) or at a call (`dies`)."""

    pointers: Pointers
    live: str
    candidate: str
    rate: int = 40
    servers: dict[str, Server] = field(default_factory=dict)
    at: dict[int, Callable[[], object]] = field(default_factory=dict)
    now: float = 0.0
    dies: int = 0
    calls: int = 0
    shares: list[int | None] = field(default_factory=list)
    compares: bool = True

    def __post_init__(self) -> None:
        self.servers = {self.live: Server(), self.candidate: Server()} | self.servers
        self._turn = itertools.count()

    def call(self) -> None:
        """Count a call to the platform or the store; the program is killed at the one that `dies` names."""
        self.calls += 1
        if self.calls == self.dies:
            raise Killed

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.call()
        for second in range(int(self.now), int(self.now + seconds)):
            if second in self.at:
                self.at.pop(second)()
        traffic = self.pointers.traffic()
        for _ in range(round(self.rate * seconds)):
            chosen = traffic is not None and next(self._turn) * 37 % 100 < traffic.share
            if not chosen or isinstance(traffic and traffic.rollout, Shadow):
                self.servers[self.live].serve()
            if chosen:
                self.servers[self.candidate].serve()
        self.now += seconds

    def until_shared(self, pointers: Pointers, traffic: Traffic | None, wait: float) -> None:
        self.call()
        found = pointers.traffic()
        assert (found and (found.bundle, found.share)) == (traffic and (traffic.bundle, traffic.share))
        self.shares.append(found.share if found else None)

    def readings(self, pointers: Pointers, bundle: str) -> Mapping[str, str]:
        self.call()
        server = self.servers[bundle]
        if server.silent:
            msg = "no server answers"
            raise OutsideFailed(msg, fix="wait")
        return {server.name: server.text(pointers.model, bundle)}

    # What canary does not use of a platform.
    def accepted(self, model: str) -> Accepted | None:
        raise NotImplementedError

    def has_ended(self, run: str) -> bool:
        raise NotImplementedError

    def until_staged(self, pointers: Pointers, proven: VerifiedBundle, lease: Lease, wait: float) -> Staged:
        raise NotImplementedError

    def until_live(self, pointers: Pointers, live: Live, wait: float) -> None:
        raise NotImplementedError

    def until_tidy(self, pointers: Pointers, wait: float) -> None:
        raise NotImplementedError
