"""Real signed bundles, a store, and a platform that follows its pointers at once, to test what moves versions."""

import json
import os
import runpy
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from lockgate_proof import Trust, TrustedKey, bundle_digest, new_key, sign, verify
from lockgate_step import canonical, file_digest, sha256, tree_digest
from lockgate_store import Missing, Store, open_store

from tests.promotions import make_live

GATES = ("validate-data", "validate-model", "bias-audit", "smoke-test", "canary")
SIGNERS = ("ingest", "predict", *GATES, "package", "recall", "deploy", "promote", "waive")


def spec_of(model: str, **more: Any) -> dict[str, Any]:
    """Make a model's spec without serving settings; `more` adds or overrides parts."""
    return {
        "name": model,
        "classification": "unclassified",
        "data": {"uri": "data/rows.csv"},
        "target": {"name": "income", "positive": "high", "negative": "low"},
        "inputs": [{"name": "age", "kind": "number", "low": 17, "high": 90}],
        "sensitive": [],
        "split": {"test_share": 0.25, "key": [], "seed": model},
        **more,
    }


JUDGED = {
    "validate-data": ("data", "spec", "policy", "expectations"),
    "validate-model": ("model", "data", "base", "spec", "policy"),
    "bias-audit": ("model", "data", "base", "spec", "policy"),
}
NO_BASE = {"bundle": None, "generation": 0}
POLICY = '[[bias]]\nbetween = ["sex"]\nmeasure = "selection_rate_difference"\nat_most = 0.15\nwhy = "fair"\n'


@dataclass
class Bench:
    """Makes signed bundles: has every key, a store, and the folders that a program reads."""

    root: Path
    model: str = "adult-income"
    keys: dict[str, Path] = field(default_factory=dict)
    trouble: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = self.root / "environment"
        self.environment.mkdir(parents=True)
        (self.environment / "store").write_text((self.root / "store").as_uri())
        (self.environment / "platform").write_text("local\n")
        public = {}
        for signer in (*SIGNERS, "stranger"):
            self.keys[signer] = self.root / "keys" / f"{signer}.pem"
            public[signer] = new_key(self.keys[signer])
        self.trust = Trust(tuple(TrustedKey(public[s], (s,), f"{s}@example.org") for s in SIGNERS))
        (self.environment / "trust.json").write_bytes(self.trust.to_bytes())
        self.policy = self.root / "policy.toml"
        self.policy.write_text(POLICY)
        self.spec = self.root / "spec.json"
        self.spec.write_bytes(canonical(spec_of(self.model)))
        self.expectations = self.root / "expectations.json"
        self.expectations.write_text("[]")
        self.make_current()

    def make_current(self) -> None:
        """Name this policy, this spec and these expectations as current, as `lockgate render` does."""
        entry = {name: file_digest(getattr(self, name)) for name in ("policy", "spec", "expectations")}
        (self.environment / "current.json").write_bytes(canonical({"version": 1, "models": {self.model: entry}}))

    @property
    def store(self) -> Store:
        return open_store(self.environment, self.root / "credentials")

    def verdict(self, gate: str, subjects: Mapping[str, str], *, key: str = "", **said: object) -> bytes:
        """Make a gate's signed verdict; `key` and the predicate's fields can be wrong on purpose."""
        predicate = {"model": self.model, "gate": gate, "result": "passed", "reasons": [], "notes": [], "run": "r1"}
        return canonical(sign("verdict", subjects, {**predicate, **said}, self.keys[key or gate]))

    def waiver(self, subjects: Mapping[str, str], *, key: str = "waive", days: float = 1, reason: str = "a") -> Any:
        said = {"model": self.model, "gate": "bias-audit", "reason": reason, "approver": "x", "why": "y"}
        expires = (datetime.now(UTC) + timedelta(days=days)).isoformat()
        envelope = sign("waiver", subjects, {**said, "expires": expires}, self.keys[key])
        return {"file": "waivers/pilot.json", "envelope": envelope}

    def bundle(self, base: Mapping[str, Any] = NO_BASE, *, mark: str = "", alter: "Alter | None" = None) -> Path:
        """Make a bundle in a folder and in the store; `alter` changes files before they are sealed, like a forger."""
        folder = self.root / "bundles" / (mark or "plain")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.onnx").write_bytes(f"a model {mark} {base}".encode())
        (folder / "policy.toml").write_bytes(self.policy.read_bytes())
        (folder / "spec.json").write_bytes(self.spec.read_bytes())
        (folder / "waivers.json").write_bytes(canonical([]))
        (folder / "golden.json").write_bytes(canonical({"tolerance": 1e-5, "requests": [], "answers": []}))
        subjects = {
            "data": sha256(b"data"),
            "base": sha256(canonical({**base, "model": self.model})),
            "model": tree_digest(folder / "model"),
            "spec": file_digest(folder / "spec.json"),
            "policy": file_digest(folder / "policy.toml"),
            "expectations": file_digest(self.expectations),
        }
        frozen = {**{name: subjects[name] for name in ("data", "base", "spec")}, "test": sha256(b"test")}
        data = {"model": self.model, "base": dict(base)}
        (folder / "data.json").write_bytes(canonical(sign("data", frozen, data, self.keys["ingest"])))
        answered = {name: {**subjects, **frozen}[name] for name in ("model", "data", "base", "test")}
        answered["golden"] = file_digest(folder / "golden.json")
        answers = sign("answers", answered, {"model": self.model}, self.keys["predict"])
        (folder / "answers.json").write_bytes(canonical(answers))
        (folder / "verdicts").mkdir()
        for gate, names in JUDGED.items():
            said = self.verdict(gate, {name: subjects[name] for name in names})
            (folder / "verdicts" / f"{gate}.json").write_bytes(said)
        if alter:
            alter(self, folder, subjects)
        self.seal(folder, subjects)
        return folder

    def seal(self, folder: Path, subjects: Mapping[str, str], *, key: str = "package") -> None:
        """Write the manifest and the signed bundle record, and store them, as package does."""
        names = [p for p in folder.rglob("*") if p.is_file() and p.name not in ("manifest.json", "record.json")]
        files = {path.relative_to(folder).as_posix(): file_digest(path) for path in names}
        manifest = {"protocol": 1, "model": self.model, "files": files}
        (folder / "manifest.json").write_bytes(canonical(manifest))
        judged = {**subjects, "bundle": bundle_digest(manifest)}
        record = sign("bundle", judged, {"model": self.model, "registered": None}, self.keys[key])
        (folder / "record.json").write_bytes(canonical(record))
        self.put("bundles/{}/manifest.json".format(self.digest(folder).removeprefix("sha256:")), manifest)

    def digest(self, folder: Path) -> str:
        return bundle_digest(json.loads((folder / "manifest.json").read_bytes()))

    def subjects(self, folder: Path) -> dict[str, str]:
        """Return the subjects of the bundle's record."""
        return dict(verify(folder / "record.json", self.trust, signer="package").subjects)

    def staged(self, folder: Path, *, key: str = "deploy", kind: str = "staged", **changes: Any) -> bytes:
        """Make deploy's record of a staged bundle; key, kind and content can be wrong on purpose."""
        said = {"model": self.model, "address": "http://127.0.0.1:9", "replicas": 1, "run": "r1", "uid": "u1"}
        subjects = {"bundle": changes.pop("bundle", self.digest(folder))}
        return canonical(sign(kind, subjects, {**said, **changes}, self.keys[key]))

    def put(self, name: str, value: object) -> None:
        self.store.put(f"models/{self.model}/{name}", canonical(value))

    def get(self, name: str) -> Any:
        """Return a record of the store, or None."""
        try:
            return json.loads(self.store.read(f"models/{self.model}/{name}").data)
        except Missing:
            return None

    def live(self, bundle: str, generation: int = 1, run: str = "earlier") -> dict[str, Any]:
        """Make a bundle live; return the base of a run that starts now."""
        live = make_live(self.store, self.model, self.keys["promote"], bundle, generation, run=run)
        self.put(f"history/{generation}.json", live)
        return {"bundle": bundle, "generation": generation}

    def records(self) -> dict[str, bytes]:
        """Return every record in the store except the platform's status."""
        keys = [key for key in self.store.list("models/") if not key.endswith("/status.json")]
        return {key: self.store.read(key).data for key in keys}

    def run(
        self,
        program: str,
        *settings: str,
        files: Mapping[str, Path | bytes] | None = None,
        run: str = "r1",
        uid: str = "u1",
    ) -> "Ended":
        """Run a program as its workflow does, with its files and environment."""
        io = self.root / "io"
        shutil.rmtree(io, ignore_errors=True)
        (io / "in").mkdir(parents=True)
        (io / "environment").symlink_to(self.environment)
        (io / "credentials").symlink_to(self.root / "credentials")
        if program in self.keys:
            (io / "key").mkdir()
            (io / "key" / "private.pem").symlink_to(self.keys[program])
        for name, content in (files or {}).items():
            if isinstance(content, bytes):
                (io / "in" / name).write_bytes(content)
            elif content.is_dir():
                shutil.copytree(content, io / "in" / name, symlinks=True)
            else:
                shutil.copy(content, io / "in" / name)
        environ = {**os.environ, "LOCKGATE_IO": str(io), "LOCKGATE_RUN": run, "LOCKGATE_UID": uid}
        argv, log = ["lockgate_deploy", program, *settings], StringIO()
        # The program's own main, in this process: a hundred refusals would take a hundred starts of Python.
        with (
            patch.dict(os.environ, environ),
            patch.object(sys, "argv", argv),
            redirect_stderr(log),
            pytest.raises(SystemExit) as ended,
        ):
            runpy.run_module("lockgate_deploy", run_name="__main__", alter_sys=True)
        staged = io / "out" / "staged"
        given = staged.read_bytes() if staged.exists() else None
        return Ended(int(ended.value.code or 0), log.getvalue(), given)

    def deploy(self, folder: Path, *settings: str, run: str = "r1", recalled: bytes | None = None) -> "Ended":
        files: dict[str, Path | bytes] = {"bundle": folder, "spec": self.spec, "policy": self.policy}
        return self.run("deploy", *settings, files=files | ({"recalled": recalled} if recalled else {}), run=run)

    def promote(
        self,
        folder: Path,
        smoke: bytes,
        *,
        staged: bytes | None = None,
        run: str = "r1",
        recalled: bytes | None = None,
    ) -> "Ended":
        files: dict[str, Path | bytes] = {"staged": staged or self.staged(folder), "smoke": smoke, "bundle": folder}
        files |= {"spec": self.spec, "policy": self.policy} | ({"recalled": recalled} if recalled else {})
        return self.run("promote", files=files, run=run)

    def smoke(self, folder: Path, *, staged: bytes | None = None, **said: Any) -> bytes:
        """Make smoke-test's verdict on a bundle as it was staged."""
        staged = staged or self.staged(folder)
        return self.verdict("smoke-test", {**self.subjects(folder), "staged": sha256(staged)}, **said)

    def obey(self) -> None:
        """Do what the supervisor does with the pointers: write that the bundles they name are ready."""
        live, candidate = self.get("live.json"), self.get("candidate.json")
        held = candidate and datetime.fromisoformat(candidate["lease_until"]) > datetime.now(UTC)
        version = {"ready": True, "address": "http://127.0.0.1:9", "pid": 1, "problem": None, "refused": False}
        version |= self.trouble
        said = {
            "live": {**version, "bundle": live["bundle"]} if live else None,
            "candidate": {**version, "bundle": candidate["bundle"], "run": candidate["run"], "lease": candidate["at"]}
            if held
            else None,
        }
        if {**(self.get("status.json") or {}), "at": None} != {**said, "at": None}:
            self.put("status.json", said)

    @contextmanager
    def platform(self) -> Iterator[None]:
        """Run a platform that follows the store while the block runs."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(0.02):
                self.obey()

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@dataclass(frozen=True)
class Ended:
    """The exit code, log and output of a program."""

    code: int
    log: str
    staged: bytes | None

    @property
    def error(self) -> dict[str, Any]:
        """The last line of the log."""
        return dict(json.loads(self.log.splitlines()[-1]))


Alter = Callable[[Bench, Path, dict[str, str]], object]
