"""Workflows made by Couler run on current Argo once converted; a release written in Couler works."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.cli.main import run_app
from lockgate.definition.catalog import Catalog
from lockgate.images.installed import command, environment
from tests.cluster.accounts import EXECUTOR, service_account
from tests.cluster.cluster import Cluster
from tests.cluster.place import KUBECONFIG, PAUSE, ROOT
from tests.cluster.site import Site, account

NAMESPACE = "couler"
SUITE = ROOT / "tests" / "couler"
PROGRAMS = sorted(path.stem for path in (SUITE / "programs").glob("*.py") if path.stem != "keys")


def call(program: str, *arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Call kubectl or argo as the administrator, in the namespace of these tests."""
    argv = [program, f"--kubeconfig={KUBECONFIG}", f"--namespace={NAMESPACE}", *arguments]
    return subprocess.run(argv, input=given, capture_output=True, text=True, check=False)


def done(program: str, *arguments: str, given: str | None = None) -> str:
    """Return the output of a call that must succeed."""
    ended = call(program, *arguments, given=given)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def couler(script: str, *arguments: str) -> bytes:
    """Return the output of a program in the environment with the real Couler."""
    made = environment(SUITE / "lock.txt", (ROOT, Catalog.find().sdk))
    argv, env = command(made, ["-c", script, *arguments])
    ended = subprocess.run(argv, env={**env, "IMAGE": PAUSE}, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


@pytest.fixture(scope="module", autouse=True)
def _namespace() -> Iterator[None]:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    for made in (namespace, *service_account(NAMESPACE, "default", EXECUTOR)):  # the account of pods that name none
        done("kubectl", "apply", "-f", "-", given=json.dumps(made))
    yield
    done("kubectl", "delete", "workflows,workflowtemplates,cronworkflows", "--all", "--wait=false")


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The output of Couler for each program."""
    folder = tmp_path_factory.mktemp("printed")
    for name in PROGRAMS:
        source = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_module(sys.argv[2])"
        (folder / f"{name}.yaml").write_bytes(couler(source, str(SUITE / "programs"), name))
    return {name: folder / f"{name}.yaml" for name in PROGRAMS}


def converted(file: Path, folder: Path, *options: str) -> Path:
    """Return the file as `lockgate convert` writes it."""
    path = folder / "converted.yaml"
    assert run_app(["convert", str(file), "--output", str(path), *options]) == 0
    return path


def ran(name: str) -> dict[str, Any]:
    """Wait until the workflow has succeeded; return its nodes by display name."""
    end = time.monotonic() + 300
    while True:
        status = json.loads(done("kubectl", "get", "workflow", name, "-o", "json")).get("status") or {}
        nodes = {node["displayName"]: node for node in (status.get("nodes") or {}).values()}
        if status.get("phase") in ("Succeeded", "Failed", "Error") or time.monotonic() > end:
            said = {key: (node["phase"], node.get("message")) for key, node in nodes.items()}
            assert status.get("phase") == "Succeeded", (status.get("message"), said)
            return nodes
        time.sleep(1)


@pytest.mark.parametrize("program", PROGRAMS)
def test_argo_takes_it_only_when_it_is_converted(program: str, printed: dict[str, Path], tmp_path: Path) -> None:
    lint = ("lint", "--offline", "--strict")
    assert call("argo", *lint, str(printed[program])).returncode != 0
    done("argo", *lint, str(converted(printed[program], tmp_path)))


def test_steps_conditions_loops_and_an_exit_handler_run(printed: dict[str, Path], tmp_path: Path) -> None:
    done("kubectl", "apply", "-f", str(converted(printed["steps"], tmp_path, "--template")))
    name = done("argo", "submit", "--from", "workflowtemplate/steps", "-o", "name").strip()
    nodes = ran(name)
    given = [p["value"] for node in nodes.values() for p in node.get("inputs", {}).get("parameters", [])]
    assert {"it was heads", "one, two", "three", "7"} <= set(given)
    assert f"{name}.onExit" in nodes


def test_a_schedule_runs_a_graph_that_passes_a_text_on(printed: dict[str, Path], tmp_path: Path) -> None:
    done("kubectl", "apply", "-f", str(converted(printed["nightly"], tmp_path, "--template", "--timezone", "UTC")))
    assert json.loads(done("kubectl", "get", "cronworkflow", "nightly", "-o", "json"))["spec"]["timezone"] == "UTC"
    nodes = ran(done("argo", "submit", "--from", "cronwf/nightly", "-o", "name").strip())
    # The shell that reads it exits with 1 if the text differs.
    assert nodes["read"]["inputs"]["parameters"][1]["value"] == "two words"


RELEASE = """
import sys
from pathlib import Path
from lockgate.definition.project import Project

sys.path.insert(0, sys.argv[1])
import release_couler

sys.stdout.buffer.write(release_couler.release(Project(Path(sys.argv[2])).model(sys.argv[3])))
"""


def test_a_release_written_in_couler_reaches_users(cluster: Cluster, images: dict[str, str], tmp_path: Path) -> None:
    site = Site.make(cluster, tmp_path / "site", "lockgate-couler", images)
    manifest = couler(RELEASE, str(ROOT / "pipelines" / "adult_income"), str(site.root), site.model)
    name = yaml.safe_load(manifest)["metadata"]["name"]
    site.kubectl("delete", "workflowtemplate", name)
    site.kubectl("create", "-f", "-", given=manifest.decode())
    try:
        ended = site.wait(site.submit())
        assert ended["status"]["phase"] == "Succeeded", account(ended)
        assert site.answers() == site.live()["bundle"]
    finally:
        site.clean()
