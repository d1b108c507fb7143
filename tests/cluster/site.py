"""Lockgate on the tests' cluster, set up as by its users: a project, its namespace, and data in S3."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from lockgate_store import Missing, Store, open_store

from tests import workshop
from tests.asking import infer
from tests.cluster import place, services
from tests.cluster.accounts import write_kubeconfig
from tests.cluster.cluster import Cluster, OwnCluster
from tests.cluster.processes import wait_for
from tests.workshop import ASKED, Done, ended

SUBMITTER, OPERATOR = "lockgate-submitter", "lockgate-operator"
Workflow = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """A project whose manifests are on the cluster.

    root: the project's folder. namespace: on the cluster. model: the model whose workflows run.
    """

    cluster: Cluster
    root: Path
    namespace: str
    model: str

    @classmethod
    def make(
        cls,
        cluster: Cluster,
        folder: Path,
        namespace: str,
        images: Mapping[str, str],
        more: Callable[[Path], object] = lambda pipeline: None,
    ) -> "Site":
        """Set up a project with the small model on the cluster, with its data in S3.

        more: adds files to the model's folder.
        """
        project = workshop.Project.make(folder)
        more(project.pipeline)
        site = cls(cluster, project.root, namespace, workshop.MODEL)
        data = f"s3://{place.BUCKET}/{namespace}/rows.csv"
        source = project.pipeline / "pipeline.py"
        # Two versions with two pods each, and steps at the same time, must fit on a node with two processors.
        small = 'serving=Serving(cpu="100m", memory="512Mi"),\n    train={'
        text = source.read_text().replace('"data/rows.csv"', f'"{data}"').replace("train={", small)
        source.write_text(text.replace("import Data, ModelSpec,", "import Data, ModelSpec, Serving,"))
        site.set_up(images)
        assert site.put("rows.csv", project.pipeline / "data" / "rows.csv") == data
        return site

    def clean(self, *prefixes: str) -> None:
        """Delete the namespace, and objects of an earlier session under these prefixes of the bucket."""
        # Policies are cluster-wide, and have the name of the project that an earlier session made.
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            found = self.kubectl("get", kind, "-o", "name").split()
            if left := [name for name in found if f".{self.namespace}." in name]:
                self.kubectl("delete", "--ignore-not-found", *left)
        # An API server that has just started may fail a call; so may one whose policies are being replaced.
        for last in (False, False, True):
            try:
                self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found")
                break
            except subprocess.CalledProcessError:
                if last:
                    raise
                time.sleep(5)
        client = services.store().client()
        for prefix in prefixes:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=place.BUCKET, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    client.delete_object(Bucket=place.BUCKET, Key=entry["Key"])

    def set_up(self, images: Mapping[str, str]) -> None:
        """Render everything with these images, and apply it to a clean namespace with the commands of the README."""
        self.clean(f"{self.namespace}/")
        (self.root / "images").mkdir(exist_ok=True)
        (self.root / "images" / "images.lock.json").write_text(json.dumps(dict(images), indent=2, sort_keys=True))
        values = {
            "store": f"s3://{place.BUCKET}/{self.namespace}",
            "endpoint": place.S3,
            "region": "us-east-1",
            "addressing_style": "path",
            "ca": str(self.cluster.ca),
            "registry": place.MLFLOW,
        }
        settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        self.lockgate("render", "--kubernetes", "--namespace", self.namespace, *settings).expect(0)
        self.apply()

    def apply(self) -> None:
        """Apply the rendered files with the commands of the README."""
        self.kubectl("apply", "--server-side", "-k", str(self.root / "kubernetes"))
        self.kubectl("apply", "--server-side", "-k", str(self.root / ".lockgate" / "kubernetes"))
        workflows = ("apply", "--server-side", "-f", str(self.root / "workflows" / self.model))
        # The API server needs some seconds to notice the names of new templates in a policy.
        assert wait_for(lambda: self._admitted(*workflows), 60), f"cannot apply workflows/{self.model}"

    def _admitted(self, *arguments: str) -> bool:
        try:
            self.kubectl(*arguments)
        except subprocess.CalledProcessError as error:
            if "Lockgate: keys" not in error.stderr:
                raise
            return False
        return True

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a user's commands."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")}
        cache = {"LOCKGATE_CACHE": os.environ["LOCKGATE_CACHE"]} if "LOCKGATE_CACHE" in os.environ else {}
        return {
            **kept, **cache, "KUBECONFIG": str(self.cluster.kubeconfig),
            "AWS_ACCESS_KEY_ID": place.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": place.SECRET_KEY,
        }  # fmt: skip

    def lockgate(self, *arguments: str, more: Mapping[str, str] | None = None) -> "Ended":
        """Run `lockgate ARGUMENTS` in the project."""
        process = subprocess.Popen(
            [sys.executable, "-m", "lockgate", *arguments],
            cwd=self.root, env={**self.variables, **(more or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return Ended(ended(process))

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Call kubectl in the namespace as the administrator."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, given=given)

    def account(self, name: str) -> Path:
        """Return a kubeconfig that contains only a token of one of our accounts."""
        path = self.root / ".lockgate" / f"{name}.kubeconfig"
        if not path.exists():
            token = self.kubectl("create", "token", name, "--duration=3h").strip()
            write_kubeconfig(path, self.cluster.kubeconfig, {"token": token}, self.namespace)
        return path

    def argo(self, *arguments: str, account: str = SUBMITTER) -> Done:
        """Call `argo ARGUMENTS` with the rights of an account."""
        argv = [self.cluster.program("argo"), *arguments, f"--namespace={self.namespace}"]
        environment = {**self.variables, "KUBECONFIG": str(self.account(account))}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def template(self, workflow: str) -> str:
        """Return the name of the rendered WorkflowTemplate."""
        path = self.root / "workflows" / self.model / f"{workflow}.yaml"
        return str(yaml.safe_load(path.read_bytes())["metadata"]["name"])

    def submit(self, workflow: str = "release", *options: str, **parameters: object) -> str:
        """Call `argo submit` as a submitter; return the run's name."""
        given = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
        done = self.argo(
            "submit", "--from", f"workflowtemplate/{self.template(workflow)}", "-o", "name", *given, *options
        )
        assert done.code == 0, done.said
        return done.out.strip().split("/")[-1]

    def workflow(self, run: str) -> Workflow:
        """Return a run with its current status."""
        return dict(json.loads(self.kubectl("get", "workflow", run, "-o", "json")))

    def wait(self, run: str, seconds: float = 600) -> Workflow:
        """Wait until a run has ended; return it. Errors: TimeoutError with its status."""
        end = time.monotonic() + seconds
        while (found := self.workflow(run)).get("status", {}).get("phase") not in ("Succeeded", "Failed", "Error"):
            if time.monotonic() > end:
                msg = f"{run} did not end in {seconds:g} s:\n{account(found)}"
                raise TimeoutError(msg)
            time.sleep(1)
        return found

    def until(self, run: str, step: str, phase: str = "Running", seconds: float = 300) -> dict[str, Any]:
        """Wait until a step is in this phase; return its pod node."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.workflow(run)
            for node in pods(found, step):
                if node["phase"] == phase:
                    return node
            assert found.get("status", {}).get("phase") not in ("Succeeded", "Failed", "Error"), account(found)
            time.sleep(0.3)
        msg = f"{step} of {run} was never {phase}:\n{account(found)}"
        raise TimeoutError(msg)

    @cached_property
    def store(self) -> Store:
        """The store of the platform."""
        kept = self.root / ".lockgate" / "kubernetes" / "lockgate-store"
        return open_store(self.root / "kubernetes" / "environment", kept)

    def live(self) -> dict[str, Any]:
        """Return the live pointer; empty before the first release."""
        try:
            return dict(json.loads(self.store.read(f"models/{self.model}/live.json").data))
        except Missing:
            return {}

    def candidate(self) -> dict[str, Any]:
        """Return the candidate's lease; empty if there is none."""
        try:
            return dict(json.loads(self.store.read(f"models/{self.model}/candidate.json").data))
        except Missing:
            return {}

    @cached_property
    def _port(self) -> tuple[str, int]:
        """Return the address and the port of the model's Service."""
        service = json.loads(self.kubectl("get", "service", self.model, "-o", "json"))["spec"]
        return service["clusterIP"], service["ports"][0]["port"]

    def ask(self, asked: Mapping[str, object] = ASKED) -> dict[str, Any]:
        """Send one request as a user; return the whole response."""
        address, port = self._port
        if isinstance(self.cluster, OwnCluster):
            return infer(f"http://{address}:{port}", self.model, asked, seconds=30)
        # Its Services cannot be reached from outside.
        argv = [self.cluster.program("kubectl"), f"--kubeconfig={self.cluster.kubeconfig}"]
        argv += [f"--namespace={self.namespace}", "port-forward", f"service/{self.model}", f":{port}"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as forwarding:
            try:
                assert forwarding.stdout
                there = re.search(r"127\.0\.0\.1:\d+", forwarding.stdout.readline())
                assert there, "port-forward failed; see kubectl's message above"
                return infer(f"http://{there[0]}", self.model, asked, seconds=30)
            finally:
                forwarding.terminate()

    def answers(self) -> str:
        """Return the digest of the bundle that serves users."""
        return self.answers_with(ASKED)

    def answers_with(self, asked: Mapping[str, object]) -> str:
        """Return the digest of the bundle that serves this request."""
        return str(self.ask(asked)["parameters"]["bundle"])

    def put(self, key: str, path: Path) -> str:
        """Put a file into S3; return its address."""
        services.store().client().upload_file(str(path), place.BUCKET, f"{self.namespace}/{key}")
        return f"s3://{place.BUCKET}/{self.namespace}/{key}"


@dataclass(frozen=True)
class Ended:
    """The result of a command."""

    done: Done

    def expect(self, code: int) -> str:
        """Check the exit code; return the output."""
        assert self.done.code == code, self.done.said
        return self.done.said


def pods(workflow: Workflow, step: str) -> Iterator[dict[str, Any]]:
    """Yield the pod nodes of a step, one per attempt, in the order of their start."""
    nodes = (workflow.get("status") or {}).get("nodes") or {}
    found = [n for n in nodes.values() if n["type"] == "Pod" and n["templateName"] == step]
    yield from sorted(found, key=lambda n: str(n.get("startedAt") or "9"))


def phases(workflow: Workflow) -> dict[str, str]:
    """Return the phases by display name, each attempt separately."""
    nodes = (workflow.get("status") or {}).get("nodes") or {}
    return {n["displayName"]: n["phase"] for n in nodes.values() if not n["displayName"].endswith(")")}


def account(workflow: Workflow) -> str:
    """Return the result of each node, for the output of a failed test."""
    status = workflow.get("status") or {}
    nodes = sorted((status.get("nodes") or {}).values(), key=lambda n: str(n.get("startedAt") or "9"))
    lines = [f"  {n['displayName']:<24}{n['type']:<12}{n['phase']:<10}{n.get('message', '')}" for n in nodes]
    return "\n".join([f"{status.get('phase')}: {status.get('message', '')}", *lines])
