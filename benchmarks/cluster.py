"""Measures Argo's overhead per step, compared with the same pods without a controller, on the tests' cluster.

It runs a chain of steps that do nothing with several controller settings. Not part of `make bench`: it needs Linux and
root. With --release: `argo submit` until promoted, for the small model. With --up: the start of the cluster, after its
programs are built.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from lightkube import Client, KubeConfig
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from benchmarks.harness import ROOT, AtMost, Benchmark, Figure, Measured, Stopwatch, main
from tests.cluster import services
from tests.cluster.accounts import EXECUTOR, service_account
from tests.cluster.cluster import OwnCluster
from tests.cluster.images import push_images, static_image
from tests.cluster.place import ARGO, REGISTRY
from tests.cluster.site import Site, account

NAMESPACE = "lockgate-bench"
LENGTH = 5  # steps of the chain
IDENTITY = "workflows.argoproj.io/controller-instanceid"
DEFAULT = "10s"  # Argo's default
OURS = services.CONTROLLER_SETTINGS["DEFAULT_REQUEUE_TIME"]
OTHERS = ("1s", "500ms", "100ms")
PINNED = {"argo": "3.7.4", "kubernetes": "1.34.2"}
Workflow = create_namespaced_resource("argoproj.io", "v1alpha1", "Workflow", "workflows")


@dataclass(frozen=True)
class Chain:
    """The seconds of one chain with Argo and of the same pods without it, and the controller's CPU seconds."""

    whole: float
    alone: float
    cpu: float

    @property
    def step(self) -> float:
        """Seconds per step."""
        return self.whole / LENGTH

    @property
    def over(self) -> float:
        """Seconds per step more than the same pod without a controller."""
        return (self.whole - self.alone) / LENGTH


def steps(repeats: int) -> Measured:
    """Run chains with separate controllers; the cluster's own controller keeps running other workflows."""
    cluster = OwnCluster()
    cluster.up()
    bench = Bench(cluster)
    loads: list[float] = []
    found: dict[str, list[Chain]] = {}
    complaints: dict[str, int] = {}
    with bench.namespace():
        for requeue in (OURS, DEFAULT, *(other for other in OTHERS if other != OURS)):
            with bench.controller(requeue) as controller:
                bench.by_argo()  # pulls images and fills informers before the measurement
                found[requeue] = []
                for _ in range(repeats):
                    loads.append(os.getloadavg()[0])
                    found[requeue].append(bench.run_chain(controller))
            complaints[requeue] = controller.complaints
    figures = [
        Figure(
            f"{_named(requeue)}: overhead per step over the pod alone", "s", [chain.over for chain in chains],
            AtMost(1) if requeue == OURS else None,
        )
        for requeue, chains in found.items()
    ]  # fmt: skip
    figures += [
        Figure(f"{_named(requeue)}: time per step", "s", [chain.step for chain in chains])
        for requeue, chains in found.items()
    ]
    alone = [chain.alone / LENGTH for chains in found.values() for chain in chains]
    figures.append(Figure("the same pod started without a controller", "s", alone))
    figures += [
        Figure(f"{_named(requeue)}: the controller's CPU time per step", "s", [chain.cpu / LENGTH for chain in chains])
        for requeue, chains in found.items()
    ]
    complained = ", ".join(f"{requeue} {number}" for requeue, number in complaints.items())
    notes = [
        f"Chains of {LENGTH} steps that do nothing, with their images on the node; every pod was created once.",
        f"Load while measuring: {min(loads):.1f} to {max(loads):.1f}, median {statistics.median(loads):.1f}.",
        f"Conflicts and errors in the controller's log: {complained}.",
    ]
    return Measured(figures, PINNED, notes)


def _named(requeue: str) -> str:
    said = {OURS: " (recommended)", DEFAULT: " (Argo's default)"}.get(requeue, "")
    return f"DEFAULT_REQUEUE_TIME={requeue}{said}"


@dataclass(frozen=True)
class Controller:
    """A running controller of the benchmark, and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def cpu(self) -> float:
        """The seconds of CPU time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def complaints(self) -> int:
        """The number of log lines with a conflict, an error or a stale workflow."""
        signs = ("level=error", "Conflict", "object has been modified", "stale")
        return sum(any(sign in line for sign in signs) for line in self.log.read_text().splitlines())


@dataclass(frozen=True)
class Bench:
    """A namespace for the chains, with a controller that handles only its labelled workflows."""

    cluster: OwnCluster

    @cached_property
    def client(self) -> Client:
        """A client with one connection to the API; the start time of kubectl would distort the figures."""
        return Client(KubeConfig.from_file(self.cluster.kubeconfig), namespace=NAMESPACE)

    @contextmanager
    def namespace(self) -> Iterator[None]:
        """Create the namespace with the chain's template, and delete it afterwards."""
        image = static_image("bench", {"/bin/busybox": "/bin/busybox"}, ["/bin/busybox"])
        made = yaml.safe_dump_all([*_rights(), _template(image)])
        self.cluster.kubectl("apply", "--server-side", "-f", "-", given=made)
        try:
            yield
        finally:
            self.cluster.kubectl("delete", "namespace", NAMESPACE)

    @contextmanager
    def controller(self, requeue: str) -> Iterator[Controller]:
        """Run a controller with this DEFAULT_REQUEUE_TIME and the other settings of the cluster's controller."""
        config = {
            **services.CONTROLLER, "instanceID": NAMESPACE, "metricsConfig": "{enabled: false}",
            "telemetryConfig": "{enabled: false}",
        }  # fmt: skip
        document = {"apiVersion": "v1", "kind": "ConfigMap", "data": config}
        document["metadata"] = {"name": NAMESPACE, "namespace": ARGO}
        self.cluster.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(document))
        argv = services.controller_command(
            self.cluster, "--namespaced", f"--managed-namespace={NAMESPACE}", f"--configmap={NAMESPACE}"
        )
        environment = {**os.environ, "LEADER_ELECTION_DISABLE": "true", "DEFAULT_REQUEUE_TIME": requeue}
        log = self.cluster.processes.log(f"bench-{requeue}")
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield Controller(process, log)
        finally:
            process.terminate()
            process.wait(timeout=20)
            self.cluster.kubectl("delete", "configmap", NAMESPACE, f"--namespace={ARGO}")

    def run_chain(self, controller: Controller) -> Chain:
        """Run one chain with the controller, then its pods again without."""
        used = controller.cpu
        whole, pods = self.by_argo()
        used = controller.cpu - used
        return Chain(whole, self.alone(pods), used)

    def by_argo(self) -> tuple[float, list[Pod]]:
        """Return the seconds from a chain's submission to its end, and its pods."""
        watch = Stopwatch()
        name = _name(self.client.create(_workflow()))
        phase = self._ended(Workflow, name)
        seconds = watch.seconds
        pods = list(self.client.list(Pod, labels={"workflows.argoproj.io/workflow": name}))
        assert (phase, len(pods)) == ("Succeeded", LENGTH), f"{name}: {phase}, {len(pods)} pods"
        return seconds, pods

    def alone(self, pods: Iterable[Pod]) -> float:
        """Return the seconds of the same pods, each started as soon as the previous one has ended."""
        copies = [_alone(pod) for pod in pods]
        watch = Stopwatch()
        for pod in copies:
            phase = self._ended(Pod, _name(self.client.create(pod)))
            assert phase == "Succeeded", f"{_name(pod)}: {phase}"
        return watch.seconds

    def _ended(self, kind: type[Any], name: str) -> str:
        for change, found in self.client.watch(kind, fields={"metadata.name": name}):
            status = found.status or {}
            phase = status.get("phase") if isinstance(status, Mapping) else status.phase
            if change == "DELETED" or phase in ("Succeeded", "Failed", "Error"):
                return str(phase if change != "DELETED" else "deleted by another")
        raise AssertionError  # a watch does not end


def _rights() -> Iterator[dict[str, Any]]:
    """Yield the namespace, and the permissions of Argo's own containers in it."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield from service_account(NAMESPACE, "executor", EXECUTOR)


def _template(image: str) -> dict[str, Any]:
    """Return the template of a chain of steps that do nothing."""
    tasks: list[dict[str, Any]] = [{"name": f"step-{number}", "template": "nothing"} for number in range(LENGTH)]
    for before, task in itertools.pairwise(tasks):
        task["depends"] = before["name"]
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}}
    nothing = {"image": image, "command": ["/bin/busybox", "true"], "resources": resources}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "chain", "namespace": NAMESPACE},
        "spec": {
            "entrypoint": "chain",
            "serviceAccountName": "executor",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
            "templates": [{"name": "chain", "dag": {"tasks": tasks}}, {"name": "nothing", "container": nothing}],
        },
    }


def _workflow() -> GenericNamespacedResource:
    metadata = ObjectMeta(generateName="chain-", namespace=NAMESPACE, labels={IDENTITY: NAMESPACE})
    return Workflow(metadata=metadata, spec={"workflowTemplateRef": {"name": "chain"}})


def _name(made: Any) -> str:
    return str(made.metadata.name)


def _alone(pod: Pod) -> Pod:
    """Return the pod as Argo made it, without the labels that a controller selects."""
    assert pod.metadata, "the API sets the metadata of each pod"
    assert pod.spec, "a pod from the API has a spec"
    metadata = ObjectMeta(name=f"{pod.metadata.name}-alone", namespace=NAMESPACE, annotations=pod.metadata.annotations)
    pod.spec.nodeName = None
    return Pod(metadata=metadata, spec=pod.spec)


def release(repeats: int) -> Measured:
    """Submit the small model's release in a separate namespace, each time with another seed."""
    cluster = OwnCluster()
    cluster.up()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "images")
        copy.mkdir()
        (copy / "pipelines").symlink_to(ROOT / "pipelines")
        images = push_images(copy, f"{REGISTRY}/lockgate", certificate=cluster.ca)
        site = Site.make(cluster, Path(folder, "site"), NAMESPACE, images)
        promoted, ended, loads = [], [], []
        try:
            for seed in range(repeats):
                loads.append(os.getloadavg()[0])
                watch = Stopwatch()
                run = site.submit(seed=seed)
                site.until(run, "promote", "Succeeded")
                promoted.append(watch.seconds)
                found = site.wait(run)
                assert found["status"]["phase"] == "Succeeded", account(found)
                ended.append(watch.seconds)
        finally:
            site.kubectl("delete", "namespace", NAMESPACE)
    figures = [
        Figure("argo submit, small model: until promoted", "s", promoted),
        Figure("argo submit, small model: until the run has ended", "s", ended),
    ]
    note = f"Load before each: {', '.join(f'{load:.1f}' for load in loads)}. Each release serves two replicas."
    return Measured(figures, PINNED, [note])


def up(repeats: int) -> Measured:
    """Stop the cluster of this checkout and start it again, as `make cluster-down cluster-up` does."""
    cluster = OwnCluster()
    _ = cluster.programs  # builds them, if needed, before the measurement
    seconds = []
    for _ in range(repeats):
        if cluster.state.exists():
            cluster.down()
        watch = Stopwatch()
        cluster.up()
        seconds.append(watch.seconds)
    note = (
        "Kubernetes, Argo, the S3 service and the model registry, without earlier state; "
        "programs and packages were already built."
    )
    return Measured([Figure("make cluster-up", "s", seconds, AtMost(90))], PINNED, [note])


STEPS = Benchmark("cluster_steps", "cluster.py", 3, steps)
RELEASE = Benchmark("cluster_release", "cluster.py --release", 3, release)
UP = Benchmark("cluster_up", "cluster.py --up", 1, up)

if __name__ == "__main__":
    sys.exit(main(STEPS, release=RELEASE, up=UP))
