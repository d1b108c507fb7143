"""One small real run; the inputs of its steps are the valid inputs of every program."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lockgate_step import sha256
from lockgate_store import open_store

from tests.gates import add_gate
from tests.promotions import make_live
from tests.workshop import CATALOG, MODEL, Bench, Project, platform, release


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with an additional gate and a rollout by shares, one released version and a running platform."""
    with platform(Project.make(tmp_path_factory.mktemp("chain"))) as project:
        add_gate(project.pipeline)
        project.give_rollout("Canary(hold='10s')")
        release(project)
        yield project


@pytest.fixture(scope="session")
def run(chain: Project) -> str:
    """The run of that release."""
    return next(iter(chain.run_ids()))


@pytest.fixture
def good(chain: Project, run: str, tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    """Return a program with valid inputs: those of the run."""
    records = chain.state / "store" / "models" / MODEL
    live = records / "live.json"

    def make(name: str) -> Bench:
        if name in ("deploy", "canary"):
            for record in ("live.json", "history"):  # the bundle was judged when no version was live
                (records / record).rename(tmp_path / record)
        if name == "pull":  # not a step of a run: the model server's pod runs it
            bench = Bench(CATALOG.program(name), tmp_path / name, run)
            bench.folder.mkdir()
            (bench.folder / "environment").symlink_to(chain.state / "environment" / "lockgate-environment")
            return bench
        if name == "recall":
            return _recall(chain, run, tmp_path)
        if name != "fetch":
            return chain.bench(run, name, tmp_path / name)
        # A release does not fetch. The program reads spec and policy, and the registry where package put the model.
        bench = Bench(CATALOG.program(name), tmp_path / name, run)
        bench.input("spec").parent.mkdir(parents=True)
        bench.input("spec").write_bytes((chain.node(run, "train") / "in" / "spec").read_bytes())
        bench.input("policy").write_bytes((chain.node(run, "predict") / "in" / "policy").read_bytes())
        (bench.folder / "environment").symlink_to(chain.state / "environment" / "lockgate-environment")
        return bench

    yield make
    if not live.exists():
        (records / "candidate.json").unlink(missing_ok=True)
        for name in ("live.json", "history"):
            (tmp_path / name).rename(records / name)


def _recall(chain: Project, run: str, folder: Path) -> Bench:
    """Return recall with a store of its own, in which another version is live now: the platform must not follow it."""
    bench = Bench(CATALOG.program("recall"), folder / "recall", run)
    bench.input("spec").parent.mkdir(parents=True)
    for name in ("spec", "policy", "waivers"):
        bench.input(name).write_bytes((chain.node(run, "bias-audit") / "in" / name).read_bytes())
    kept, environment = chain.state / "environment", folder / "environment"
    shutil.copytree(kept / "lockgate-environment", environment)
    (bench.folder / "environment").symlink_to(environment)
    (bench.folder / "key").symlink_to(kept / "lockgate-key-recall")
    shutil.copytree(chain.state / "store", folder / "store")
    (environment / "store").write_text((folder / "store").as_uri())
    store = open_store(environment, folder / "none")
    key = kept / "lockgate-key-promote" / "private.pem"
    make_live(store, MODEL, key, sha256(b"a bad version"), 2)
    return bench


@pytest.fixture(scope="session")
def settings(chain: Project) -> dict[str, tuple[str, ...]]:
    """The required settings of each program."""
    live = chain.state / "store" / "models" / MODEL / "live.json"
    return {
        "ingest": ("--data", (chain.pipeline / "data" / "rows.csv").as_uri()),
        "fetch": ("--version", "1"),
        "train": ("--estimator", "sklearn.linear_model.LogisticRegression"),
        "conclude": ("--model", MODEL, "--status", "Failed"),
        "pull": ("--model", MODEL, "--digest", str(json.loads(live.read_bytes())["bundle"])),
    }
