"""Record how the real controller executes the workflows, to compare the local engine with it.

    make cluster-up
    python -m tests.conformance.record            every workflow, or the named ones

The controller of the test cluster only runs workflows that refer to a WorkflowTemplate, so each Workflow is submitted
as one, under its own name, with an image of the one program they all use. An equal record is not rewritten.
"""

import copy
import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import yaml

from lockgate.engine import load_manifests
from tests.cluster.accounts import EXECUTOR, service_account
from tests.cluster.cluster import OwnCluster
from tests.cluster.images import static_image
from tests.cluster.place import ACCESS_KEY, BUCKET, S3, SECRET_KEY
from tests.conformance.normal import Json, normal

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAMESPACE = "conformance"
AT_ONCE = 8
PATIENCE = 240  # seconds for one workflow; one that Argo does not end is recorded as it is then
USER = 65532


class Recording:
    """A namespace of the cluster where workflows are recorded."""

    def __init__(self, cluster: OwnCluster) -> None:
        self._cluster = cluster
        self._image = _image()
        version = subprocess.run(
            [cluster.programs / "workflow-controller", "version", "--short"], capture_output=True, text=True, check=True
        ).stdout
        self._version = version.split()[-1].partition("+")[0]
        self._began: dict[str, float] = {}

    def prepare(self) -> None:
        """Create the namespace and what pods need in it."""
        self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for document in (*service_account(NAMESPACE, "default", EXECUTOR), *_store(self._cluster)):
            self._apply(document)

    def record(self, files: list[Path]) -> None:
        """Run these workflows, a few in parallel, and record how they end."""
        waiting, running = list(files), dict[str, Path]()
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                file = waiting.pop(0)
                self._submit(file)
                running[file.stem] = file
                self._began[file.stem] = time.monotonic()
            time.sleep(1)
            for name, workflow in self._unfinished(running):
                status = workflow.get("status", {})
                self._stop_in_time(workflow)
                late = time.monotonic() - self._began[name] > PATIENCE
                if late or workflow["metadata"].get("labels", {}).get("workflows.argoproj.io/completed") == "true":
                    file = running.pop(name)
                    _write(HERE / "recorded" / f"{name}.json", self._version, normal(_whole(status), name))
                    self._kubectl("delete", "-f", "-", "--wait=false", given=_documents(self._submitted(file)))
                    print(f"{'endless' if late else status['phase']:<10}{name}", flush=True)

    def _submit(self, file: Path) -> None:
        documents = self._submitted(file)
        self._kubectl("delete", "-f", "-", "--ignore-not-found", given=_documents(documents))
        for document in documents:  # a template before the workflow that refers to it
            self._kubectl("create", "-f", "-", given=json.dumps(document))

    def _submitted(self, file: Path) -> list[Json]:
        documents = [copy.deepcopy(document) for document in load_manifests(file)]
        workflow = documents[-1]
        if "workflowTemplateRef" not in workflow["spec"]:
            template = {**copy.deepcopy(workflow), "kind": "WorkflowTemplate"}
            # Argo reads the arguments of onExit only from the Workflow, so they stay in it.
            given = {field: value for field, value in workflow["spec"].items() if field == "arguments"}
            workflow["spec"] = {"workflowTemplateRef": {"name": file.stem}, **given}
            documents.insert(-1, template)
        for document in documents:
            if document["kind"] == "WorkflowTemplate":
                document["spec"]["securityContext"] = {"runAsUser": USER, "runAsNonRoot": True, "fsGroup": USER}
            for template in document["spec"].get("templates", []):
                if "container" in template:
                    template["container"]["image"] = self._image
        return documents

    def _unfinished(self, running: dict[str, Path]) -> Iterator[tuple[str, Json]]:
        found: list[Json] = json.loads(self._kubectl("get", "workflows", "-o", "json"))["items"]
        yield from ((each["metadata"]["name"], each) for each in found if each["metadata"]["name"] in running)

    def _stop_in_time(self, workflow: Json) -> None:
        name, annotations = workflow["metadata"]["name"], workflow["metadata"].get("annotations", {})
        strategy = annotations.get("conformance/strategy")
        nodes = workflow.get("status", {}).get("nodes", {}).values()
        named = name + annotations.get("conformance/when-runs", "")
        if strategy and any(node["name"] == named and node["phase"] == "Running" for node in nodes):
            patch = json.dumps({"spec": {"shutdown": strategy}})
            self._kubectl("patch", "workflow", name, "--type=merge", f"--patch={patch}")

    def _apply(self, document: Json) -> None:
        self._kubectl("apply", "-f", "-", given=json.dumps(document))

    def _kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self._cluster.kubectl(f"--namespace={NAMESPACE}", *arguments, given=given)


def _whole(status: Json) -> Json:
    """Return a status with nodes; a workflow that never started a node has none."""
    return {"nodes": {}, **status}


def _documents(documents: list[Json]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})


def _write(path: Path, version: str, status: Json) -> None:
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if (held.get("controller"), held.get("status")) != (version, status):
        today = dt.datetime.now(dt.UTC).date().isoformat()
        record = {"controller": version, "recorded": today, "status": status}
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _store(cluster: OwnCluster) -> Iterator[Json]:
    """Yield the manifests of the artifact store."""
    authority = cluster.ca.read_text(encoding="utf-8")
    keys = {"access": ACCESS_KEY, "secret": SECRET_KEY, "ca.pem": authority}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}, "stringData": keys}
    place = {
        "bucket": BUCKET,
        "endpoint": S3.removeprefix("https://"),
        "accessKeySecret": {"name": "store", "key": "access"},
        "secretKeySecret": {"name": "store", "key": "secret"},
        "caSecret": {"name": "store", "key": "ca.pem"},
        "keyFormat": "conformance/{{workflow.uid}}/{{pod.name}}",
    }
    default = {"workflows.argoproj.io/default-artifact-repository": "default"}
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "artifact-repositories", "annotations": default},
        "data": {"default": yaml.safe_dump({"s3": place})},
    }


def _image() -> str:
    """Return the image of the program, with Debian's Python; pushed once for each content."""
    program, base = HERE / "program" / "conformance_program.py", ROOT / "images" / "base" / "debian.sh"
    digest = sha256(program.read_bytes() + base.read_bytes()).hexdigest()[:12]
    with tempfile.TemporaryDirectory() as scratch:
        root, archive = Path(scratch, "root"), Path(scratch, "base.tar")
        (root / "lockgate").mkdir(parents=True)
        (root / "lockgate").chmod(0o777)
        subprocess.run(["sh", base, archive], check=True)
        # Without the devices: copying one never ends, and a pod has its own.
        subprocess.run(["tar", "-C", root, "--exclude=./dev/*", "-xf", archive], check=True)
        code = root / "usr/lib/python3/dist-packages"
        code.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(program, code / program.name)
        return static_image(f"conformance-{digest}", {f"{root}/": "/"}, ["/usr/bin/python3"])


def main(names: list[str]) -> None:
    """Record the named workflows, or all."""
    files = sorted((HERE / "workflows").glob("*.yaml"))
    chosen = [file for file in files if not names or file.stem in names]
    recording = Recording(OwnCluster())
    recording.prepare()
    recording.record(chosen)


if __name__ == "__main__":
    main(sys.argv[1:])
