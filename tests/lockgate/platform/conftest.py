"""A real store, bundles and supervisor; only the model server is a small replacement."""

import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lockgate_proof import CANARY, Traffic, Trust, TrustedKey, new_key, sign, traffic
from lockgate_step import Judged, canonical
from lockgate_store import Missing, Store, open_store

from lockgate.platform import supervisor
from lockgate.platform.supervisor import Platform, Running
from tests.promotions import make_live

FOREGROUND = Path(__file__).with_name("foreground.py")
WAIT = 30.0


@dataclass
class World:
    """One platform under test: its folders, its store, and the operations of the tests."""

    root: Path
    uri: str
    port: int = 0
    patience: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = self.root / "environment"
        self.environment.mkdir(parents=True)
        (self.environment / "store").write_text(self.uri)
        self.key = self.root / "promote.pem"
        self.judge = self.root / "canary.pem"
        keys = TrustedKey(new_key(self.key), ("promote",), "p@x.org"), TrustedKey(new_key(self.judge), (CANARY,), "c@x")
        (self.environment / "trust.json").write_bytes(Trust(keys).to_bytes())
        self.platform = Platform(state=self.root / "serve", store=self.uri, port=self.port)

    @property
    def store(self) -> Store:
        return open_store(self.environment, self.root / "credentials")

    def start(self, **patience: float) -> Running:
        wanted = {"first_pause": 0.05, "drain": 5, "stop": 5, **self.patience, **patience}
        arguments = [self.platform.state, self.environment, self.platform.port, json.dumps(wanted)]
        command = [sys.executable, str(FOREGROUND), *map(str, arguments), json.dumps(self.limits)]
        return supervisor.start(self.platform, command, env=os.environ)

    def stop(self) -> bool:
        return supervisor.stop(self.platform.state)

    def bundle(self, model: str, **behaviour: object) -> str:
        """Write a bundle into the store, its manifest last; return its digest."""
        content = {"behaviour.json": canonical(behaviour)}
        files = {name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in content.items()}
        manifest = canonical({"protocol": 1, "model": model, "files": files})
        digest = hashlib.sha256(manifest).hexdigest()
        for name, data in {**content, "manifest.json": manifest}.items():
            self.store.put(f"models/{model}/bundles/{digest}/{name}", data)
        return f"sha256:{digest}"

    def live(self, model: str, bundle: str, generation: int = 1) -> None:
        make_live(self.store, model, self.key, bundle, generation)

    def candidate(self, model: str, bundle: str, run: str = "r1", seconds: float = 600) -> None:
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        said = {"bundle": bundle, "run": run, "base": None, "generation": 0, "lease_until": until, "at": now()}
        self.store.put(f"models/{model}/candidate.json", canonical(said))

    def share(
        self,
        model: str,
        bundle: str,
        rollout: Judged,
        /,
        *,
        seconds: float = 60,
        key: Path | None = None,
        **changes: Any,
    ) -> None:
        """Give a candidate its share of the traffic, as canary does; key and content can be wrong on purpose."""
        live = json.loads(self.store.read(f"models/{model}/live.json").data)
        of = {"bundle": live["bundle"], "generation": live["generation"]}
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        record = traffic(Traffic(model, bundle, rollout, of, "r1", "u1", until))
        said = {**record.predicate, "run": "r1", **changes}
        envelope = sign(record.kind, record.subjects, said, key or self.judge)
        self.store.put(f"models/{model}/traffic.json", canonical(envelope))

    def release(self, model: str) -> None:
        key = f"models/{model}/candidate.json"
        self.store.delete(key, self.store.read(key).version)

    def status(self, model: str) -> dict[str, Any]:
        try:
            return dict(json.loads(self.store.read(f"models/{model}/status.json").data))
        except Missing:
            return {"live": None, "candidate": None}

    def until(self, true: Callable[[], object]) -> None:
        """Wait for a state; the timeout only ends a test that would hang."""
        deadline = time.monotonic() + WAIT
        while not true():
            assert time.monotonic() < deadline, f"timeout; the log:\n{self.platform.log.read_text()}"
            time.sleep(0.05)

    def ready(self, model: str, which: str, bundle: str) -> dict[str, Any]:
        def is_ready() -> bool:
            said = self.status(model)[which]
            return said is not None and said["bundle"] == bundle and said["ready"]

        self.until(is_ready)
        return dict(self.status(model)[which])


def now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    url: str, data: bytes | None = None, *, method: str | None = None, headers: dict[str, str] | None = None
) -> Answer:
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, (tmp_path / "store").as_uri())
    yield world
    world.stop()


@pytest.fixture
def http() -> Callable[..., Answer]:
    return call
