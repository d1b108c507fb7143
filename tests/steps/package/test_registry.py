"""Registers in a real registry: a SQLite file, a server over HTTP, and one that is down."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lockgate_package.registry import _check_inside
from lockgate_proof import predicate
from lockgate_step import BadCall, Refusal, tree_digest

from tests.steps.package.chain import Chain, last, make_chain, run
from tests.steps.package.mlflow_server import free_port, mlflow_server

# Runs in a separate process, like any client of the registry: lists the versions and downloads each.
READ = """
import json, sys
from mlflow.tracking import MlflowClient
from mlflow.artifacts import download_artifacts
uri, folder = sys.argv[1:]
client = MlflowClient(tracking_uri=uri, registry_uri=uri)
found = [
    {
        "name": v.name, "version": str(v.version), "tags": v.tags,
        "folder": download_artifacts(
            artifact_uri=client.get_model_version_download_uri(v.name, v.version), dst_path=folder, tracking_uri=uri
        ),
    }
    for v in client.search_model_versions()
]
print(json.dumps({"versions": found, "models": [m.name for m in client.search_registered_models()]}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(params=["file", "server"])
def registry(request: pytest.FixtureRequest, chain: Chain) -> str:
    """Set up a registry of each type and name it in the environment."""
    file = f"sqlite:///{chain.root}/registry.db"
    uri = file if request.param == "file" else str(request.getfixturevalue("server"))
    (chain.root / "environment" / "registry").write_text(f"{uri}\n")
    return uri


def read(uri: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    done = subprocess.run(
        [sys.executable, "-c", READ, uri, str(folder)], env={**os.environ, **quiet}, capture_output=True, check=True
    )
    return dict(json.loads(done.stdout))


def half_migrated(path: Path) -> None:
    """Write what a killed migration leaves: some of its tables."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table _alembic_tmp_tags (key text)")
        database.commit()


def registered(chain: Chain) -> Any:
    return predicate(json.loads((chain.root / "out" / "bundle" / "record.json").read_bytes()))["registered"]


def test_registers_once_and_what_it_registers_can_be_fetched(chain: Chain, registry: str) -> None:
    done = run(chain)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["sealed", "registered"]
    first = registered(chain)
    assert run(chain).returncode == 0
    assert registered(chain) == first

    bundle = json.loads(done.stderr.splitlines()[0])["bundle"]
    found = read(registry, chain.root / "fetched")
    assert found["models"] == ["adult-income"]
    (version,) = [v for v in found["versions"] if v["tags"]["lockgate.bundle"] == bundle]
    assert {"name": version["name"], "version": version["version"]} == first
    assert version["tags"] == {
        "lockgate.bundle": bundle,
        "lockgate.run": "run-1",
        "lockgate.data": chain.subjects()["data"],
        "lockgate.policy": chain.subjects()["policy"],
        "lockgate.origin": "package",
    }
    assert tree_digest(version["folder"]) == chain.subjects()["model"]


def test_two_first_registrations_at_once_after_one_that_was_killed(tmp_path: Path) -> None:
    half_migrated(tmp_path / ".registry.db.part")
    chains = [make_chain(tmp_path / name) for name in ("one", "other")]
    for chain in chains:
        (chain.root / "environment" / "registry").write_text(f"sqlite:///{tmp_path}/registry.db")
    with ThreadPoolExecutor(len(chains)) as pool:
        assert [done.returncode for done in pool.map(run, chains)] == [0, 0]
    assert {registered(chain)["version"] for chain in chains} == {"1", "2"}  # two bundles: signed by other keys
    with closing(sqlite3.connect(tmp_path / "registry.db")) as database:
        assert database.execute("select count(*) from model_versions").fetchone() == (2,)


def test_a_registry_that_is_down_is_tried_again_and_loses_nothing(chain: Chain) -> None:
    registry = chain.root / "environment" / "registry"
    registry.write_text(f"http://127.0.0.1:{free_port()}")
    done = run(chain)
    assert done.returncode == 4, done.stderr
    assert "the bundle is safe in the store" in last(done)["fix"]
    (manifest,) = chain.store.rglob("manifest.json")
    assert not manifest.with_name("record.json").exists()

    registry.write_text(f"sqlite:///{chain.root}/registry.db")
    assert run(chain).returncode == 0
    assert registered(chain) == {"name": "adult-income", "version": "1"}
    assert manifest.with_name("record.json").read_bytes() == (chain.root / "out/bundle/record.json").read_bytes()


@pytest.mark.parametrize(
    ("uri", "fix"),
    [
        ("postgresql://user:canary@db/registry", "write the address alone to `registry` of lockgate-environment"),
        ("http://someone:canary@127.0.0.1:1", "write the address alone to `registry` of lockgate-environment"),
        ("sqlite:///relative.db", "environment/registry"),
        ("mlruns", "environment/registry"),
    ],
)
def test_another_kind_of_registry_is_a_bad_call(chain: Chain, uri: str, fix: str) -> None:
    (chain.root / "environment" / "registry").write_text(uri)
    done = run(chain)
    assert done.returncode == BadCall.exit_code
    assert fix in last(done)["fix"]
    assert "canary" not in done.stderr


def test_a_registry_file_that_is_not_a_database_is_an_outside_failure(chain: Chain) -> None:
    (chain.root / "registry.db").write_text("not a database")
    (chain.root / "environment" / "registry").write_text(f"sqlite:///{chain.root}/registry.db")
    done = run(chain)
    assert done.returncode == 4, done.stderr


def test_a_registry_file_does_not_steer_where_the_model_is_written(chain: Chain) -> None:
    """Whoever can write the file of the registry could otherwise choose any folder of package."""
    (chain.root / "environment" / "registry").write_text(f"sqlite:///{chain.root}/registry.db")
    assert run(chain).returncode == 0
    elsewhere = chain.root / "elsewhere"
    with closing(sqlite3.connect(chain.root / "registry.db")) as database:
        database.execute("delete from model_version_tags")  # so that it is registered again
        database.execute("update experiments set artifact_location = ?", (elsewhere.as_uri(),))
        database.commit()
    done = run(chain)
    assert done.returncode == 3, done.stderr
    assert "the registry wants the model's files outside it" in (chain.root / "termination").read_text()
    assert not elsewhere.exists()


@pytest.mark.parametrize("address", ["mlflow-artifacts:/7/a/artifacts", "file:///r/artifacts/a b", "/r/artifacts/7"])
def test_places_in_the_registry(address: str) -> None:
    _check_inside(address, None if address.startswith("mlflow") else "file:///r/artifacts")


@pytest.mark.parametrize(
    ("address", "artifacts"),
    [
        *((each, None) for each in ("mlflow-artifacts://other/7", "file:///srv", "/srv", "s3://bucket/7", "")),
        *(
            (each, "file:///r/artifacts")
            for each in (
                "file:///r/artifacts/../keys", "file:///r/artifacts/%2e%2e/keys", "/r/keys", "/r/artifacts-2/7", "s3://b/7",
                "file://host/r/artifacts/7", "mlflow-artifacts:/r/artifacts/7", "",
            )
        ),
    ],
)  # fmt: skip
def test_places_outside_the_registry(address: str, artifacts: str | None) -> None:
    with pytest.raises(Refusal, match="outside it"):
        _check_inside(address, artifacts)
