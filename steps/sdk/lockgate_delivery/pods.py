"""The state of pods: ready, or the reason why they will not become ready."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lockgate_step import LockgateError, OutsideFailed, Refusal, layout

from lockgate_delivery.objects import Object, annotation

_PULL = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_AGAIN = "then run again"


@dataclass(frozen=True)
class Rollout:
    """A version's Deployment and its pods, as they were read."""

    deployment: Object
    pods: Sequence[Object]

    @property
    def replicas(self) -> int:
        """The number of pods that the Deployment asks for."""
        return int(self.deployment["spec"]["replicas"])

    @property
    def lease(self) -> str:
        """The lease of the attempt it was created for; empty until all objects that it owns exist."""
        return annotation(self.deployment, layout.LEASE)

    @property
    def ready(self) -> frozenset[str]:
        """The names of the pods that can receive requests."""
        return frozenset(name_of(pod) for pod in self.pods if _condition(pod, "Ready") == "True" and not _ends(pod))

    @property
    def complete(self) -> bool:
        """Whether each of its pods is ready and of the Deployment's present template."""
        status, wanted = self.deployment.get("status", {}), self.replicas
        seen = status.get("observedGeneration") == self.deployment["metadata"]["generation"]
        counts = (status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas"))
        return seen and all(count == wanted for count in counts) and len(self.ready) == wanted

    def problem(self) -> LockgateError | None:
        """Return why waiting longer will not help, or None."""
        for condition in self.deployment.get("status", {}).get("conditions", []):
            if (condition["type"], condition["status"]) == ("ReplicaFailure", "True"):
                msg = f"the cluster does not admit its pods: {condition.get('message', '')}"
                return OutsideFailed(msg, fix=f"correct the cause it names, {_AGAIN}")
        found = (_problem(pod, status) for pod in self.pods if not _ends(pod) for status in _statuses(pod))
        return next((problem for problem in found if problem), None)

    def awaited(self) -> str:
        """Return what it still waits for, in a few words."""
        unplaced = [c.get("message", "") for pod in self.pods for c in _conditions(pod) if _is_unplaced(c)]
        said = f"{len(self.ready)} of {self.replicas} pods are ready"
        return f"{said}; {unplaced[0]}" if unplaced else said


def name_of(found: Object) -> str:
    """Return an object's name."""
    return str(found["metadata"]["name"])


def asked(slices: Sequence[Object]) -> frozenset[str]:
    """Return the names of the pods to which a Service routes requests."""
    endpoints = [endpoint for each in slices for endpoint in each.get("endpoints") or ()]
    return frozenset(
        str(endpoint["targetRef"]["name"])
        for endpoint in endpoints
        if "targetRef" in endpoint and endpoint.get("conditions", {}).get("ready") is not False
    )


def _problem(pod: Object, status: Object) -> LockgateError | None:
    container = status["name"]
    waiting = status.get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    if reason in _PULL:
        msg = f"cannot pull the image of container {container}: {waiting.get('message', reason)}"
        return OutsideFailed(
            msg, fix=f"push it, or set imagePullSecrets of ServiceAccount {layout.SERVER_ACCOUNT}, {_AGAIN}"
        )
    if reason in _CONFIG:
        msg = f"cannot create container {container}: {waiting.get('message', reason)}"
        return OutsideFailed(msg, fix=f"kubectl apply -k kubernetes, {_AGAIN}")
    ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated")
    if not ended or ended["exitCode"] == 0:
        return None
    said, fix = _last_words(ended.get("message", ""))
    if ended["exitCode"] == 3:
        return Refusal(f"container {container} refuses the bundle: {said}", fix=fix or "run the workflow again")
    if ended.get("reason") == "OOMKilled":
        msg = f"container {container} needs more memory than its limit"
        return OutsideFailed(
            msg, fix="raise Serving(memory=...) in pipeline.py, lockgate render, and run the workflow again"
        )
    # One failure may be the store's or the node's: the kubelet retries, and reports CrashLoopBackOff between retries.
    if reason != "CrashLoopBackOff":
        return None
    msg = f"container {container} does not start: exit {ended['exitCode']}{f': {said}' if said else ''}"
    return OutsideFailed(msg, fix=fix or f"kubectl logs {name_of(pod)} -c {container} --previous, {_AGAIN}")


def _last_words(message: str) -> tuple[str, str]:
    """Return a program's last message and its `fix`; the termination message is JSON lines, like the log."""
    for line in reversed(message.splitlines()):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and (words := said.get("message") or said.get("error")):
            return str(words), str(said.get("fix", ""))
    return "", ""


def _statuses(pod: Object) -> Iterator[Object]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses", ())
    yield from status.get("containerStatuses", ())


def _conditions(pod: Object) -> Sequence[Object]:
    return list(pod.get("status", {}).get("conditions", ()))


def _condition(pod: Object, kind: str) -> str:
    return next((str(c["status"]) for c in _conditions(pod) if c["type"] == kind), "")


def _is_unplaced(condition: Object) -> bool:
    return (condition["type"], condition["status"]) == ("PodScheduled", "False")


def _ends(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]
