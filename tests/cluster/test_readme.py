"""Follow the README's section on a cluster: its commands as they stand, and no others."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import services
from tests.cluster.cluster import Cluster
from tests.cluster.images import base, storage
from tests.cluster.place import BUCKET, REGISTRY, ROOT, S3
from tests.cluster.site import Site
from tests.pages import CLUSTER, ON_THE_CLUSTER, commands

COMMANDS = [command.text for command in commands() if command.page == ON_THE_CLUSTER and command.needs == CLUSTER]
NAMESPACE = "lockgate"
ASKED = {
    "age": 45, "workclass": "Private", "education_num": 14, "marital_status": "Married-civ-spouse",
    "occupation": "Exec-managerial", "relationship": "Husband", "capital_gain": 9000, "capital_loss": 0,
    "hours_per_week": 50,
}  # fmt: skip


def test_the_section_takes_at_most_ten_commands() -> None:
    assert 5 < len(COMMANDS) <= 10


def test_its_commands_lead_to_a_served_model(cluster: Cluster, images: dict[str, str], tmp_path: Path) -> None:
    del images  # built before, so that only differences are built here
    project = _clone(tmp_path / "project")
    site = Site(cluster, project, NAMESPACE, "adult-income")
    site.clean("models/")
    shutil.copyfile(cluster.ca, project / "ca.pem")
    s3 = services.store().client()
    for name in ("adult.data.gz", "adult.test.gz"):
        s3.upload_file(str(project / "pipelines/adult_income/data" / name), BUCKET, f"data/{name}")
    environment = {
        **storage(), **site.variables, "SSL_CERT_FILE": str(cluster.ca),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{site.variables['PATH']}",
    }  # fmt: skip
    try:
        for command in COMMANDS:
            done = subprocess.run(
                ["bash", "-c", _here(command)], cwd=project, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}"
        assert site.ask(ASKED)["outputs"][0]["data"] == [">50K"]
        assert site.answers_with(ASKED) == site.live()["bundle"]
        assert _changed(project) == {"image references alone"}
    finally:
        site.clean()  # a node with two processors has no room for two models and steps


def _here(command: str) -> str:
    """Return a command with this cluster's addresses instead of the examples'."""
    command = command.replace("registry.example.org/python@sha256:BASE", base())
    command = command.replace("registry.example.org", REGISTRY).replace("https://s3.example.org", S3)
    # The Argo of the tests is a version that doctor refuses for production.
    return command.replace("doctor --cluster", "doctor --cluster --for-tests")


def _changed(project: Path) -> set[str]:
    """Return how the workflows rendered here differ from the committed ones."""
    digest = re.compile(r"(?:lockgate\.invalid|[\w.:]+/lockgate)/([\w-]+)(?::unbuilt|@sha256:[0-9a-f]{64})")
    name = re.compile(r"(adult-income-(?:release|review|rollback))-[0-9a-f]{8}")
    project_label = re.compile(r" lockgate\.io/project: \S+")  # only with a cluster
    found = set()
    for path in sorted((ROOT / "workflows" / "adult-income").iterdir()):
        here = (project / "workflows" / "adult-income" / path.name).read_text()
        plain = [project_label.sub("", " ".join(text.split())) for text in (path.read_text(), here)]
        texts = [name.sub(r"\1", digest.sub(r"\1", text)) for text in plain]
        found.add("image references alone" if texts[0] == texts[1] else f"{path.name} in more")
    return found


def _clone(folder: Path) -> Path:
    """Copy the files of the repository, as in a new clone."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
