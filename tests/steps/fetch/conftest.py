"""A registry with real versions, as a SQLite file and as a server, and the program's LOCKGATE_IO folder."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lockgate_fetch.registry import _QUIET

from tests.steps.package.mlflow_server import mlflow_server

os.environ.update(_QUIET)  # mlflow reads it at import, and the tests import it before the program does
MODELS = Path(__file__).parent / "models"
NAME = "tiny"


def spec(**target: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "classification": "unclassified",
        "data": {"uri": "data/rows.csv"},
        "split": {"test_share": 0.25, "key": [], "seed": NAME},
        "target": {"name": "paid", "positive": "yes", "negative": "no", **target},
        "inputs": [
            {"name": "job", "kind": "category", "values": ["clerk", "nurse"], "missing": True},
            {"name": "income", "kind": "number", "low": 0, "high": 90, "whole": True, "missing": False, "unit": ""},
        ],
        "sensitive": [],
    }


MLMODEL = """
artifact_path: model
flavors:
  onnx:
    code: ../../evil.py
    data: {data}
    onnx_version: 1.23.2
    providers: [CUDAExecutionProvider]
  python_function:
    loader_module: evil
    code: code
    data: {data}
mlflow_version: 3.17.2
"""

POLICY = """
[[quality]]
measure = "accuracy"
at_least = 0.5
why = "Better than a coin."
"""


@dataclass(frozen=True)
class Registry:
    """A registry, and the registration that a data scientist does."""

    uri: str
    artifacts: str | None

    def register(self, files: Mapping[str, bytes], folder: Path, *, logged: bool = False) -> str:
        """Register a version with these files; return its number. `logged`: as MLflow 3's own log_model does."""
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        experiment = client.create_experiment(f"{folder}", artifact_location=self.artifacts)
        try:
            client.create_registered_model(NAME)
        except MlflowException as error:
            assert error.error_code == "RESOURCE_ALREADY_EXISTS"
        if logged:
            model = client.create_logged_model(experiment)
            client.log_model_artifacts(model.model_id, str(folder))
            return str(client.create_model_version(NAME, f"models:/{model.model_id}", model_id=model.model_id).version)
        run = client.create_run(experiment)
        client.log_artifacts(run.info.run_id, str(folder), "model")
        return str(client.create_model_version(NAME, f"{run.info.artifact_uri}/model", run.info.run_id).version)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder}/registry.db", (folder / "artifacts").as_uri())


@pytest.fixture(params=["file", "server"])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "file":
        return request.getfixturevalue("database")  # type: ignore[no-any-return]
    return Registry(request.getfixturevalue("server"), None)


@dataclass(frozen=True)
class Workspace:
    """The folder that LOCKGATE_IO names."""

    root: Path

    def prepare(self, uri: str, value: Mapping[str, Any]) -> None:
        for folder in ("in", "out/model", "environment", "tmp"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "environment" / "registry").write_text(f"{uri}\n")
        (self.root / "in" / "spec").write_text(json.dumps(value))
        (self.root / "in" / "policy").write_text(POLICY)

    def fetch(self, registry: Registry, version: str, value: Mapping[str, Any] | None = None) -> Path:
        """Fetch in this process; return the model folder."""
        from lockgate_fetch.fetch import fetch_version

        self.prepare(registry.uri, value or spec())
        given = self.root / "in"
        fetch_version(given / "spec", given / "policy", self.root / "out" / "model", version=version)
        return self.root / "out" / "model"

    def run(self, uri: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the program as a process."""
        self.prepare(uri, spec())
        return subprocess.run(
            [sys.executable, "-m", "lockgate_fetch", *arguments],
            env={**os.environ, "LOCKGATE_IO": str(self.root)}, capture_output=True, text=True,
        )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path / "io"))
    return Workspace(tmp_path / "io")
