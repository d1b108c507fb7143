"""What a version is on Kubernetes, and where users go: objects made of a proven bundle, and of nothing else.

A version is a Deployment, and owned by it a headless Service (its own address), a HorizontalPodAutoscaler and a
PodDisruptionBudget: whoever deletes the Deployment deletes them all. Users have one Service by model, whose selector
names the live bundle.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate_proof import VerifiedBundle
from lockgate_step import Refusal, Serving, layout, read_spec

from lockgate_deploy.pointers import Live

Object = dict[str, Any]

PORT = 8080
SERVER = "model-server"
# Until every node has learnt that a pod is not to be asked any more; it answers on in the meantime.
UNASKED_SECONDS = 15
_LINGER = "5"  # seconds in which those who keep a connection are told that it ends
_GRACE_SECONDS = UNASKED_SECONDS + int(_LINGER) + 15  # and then to finish: see `graceful.py` of the model server
_OWN_NETWORK = "0.0.0.0"  # noqa: S104 - of the pod
_START_SECONDS = 300
_SCRATCH = "1Gi"
_BUNDLE_SIZE = "8Gi"
_BUSY_PERCENT = 70
_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_LOCKED_DOWN: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Version:
    """One bundle as it is served.

    image: the model server that answered when the gates judged, as predict's signed record names it.
    bringer: the image that brings the bundle from the store.
    serving: how many pods, and what each is promised, as the spec says.
    """

    model: str
    bundle: str
    image: str
    bringer: str
    serving: Serving
    classification: str

    @classmethod
    def of(cls, proven: VerifiedBundle, bringer: str) -> "Version":
        """The version that a proven bundle is. Errors: Refusal when it was not judged in an image by digest."""
        spec = read_spec(proven.folder / "spec.json")
        image = proven.records["predict"].predicate.get("program", {}).get("image", "")
        if not by_digest(image):
            msg = f"the bundle was judged in image {image or 'nobody knows which'}, which no digest names"
            raise Refusal(msg, fix="lockgate images build, lockgate render, and run the workflow on the cluster")
        if spec.serving is None:
            msg = "the bundle's spec does not say how it is served"
            raise Refusal(msg, fix="lockgate render, and run the workflow again")
        return cls(proven.model, proven.digest, image, bringer, spec.serving, spec.classification)

    @property
    def name(self) -> str:
        """The name of its Deployment and of its headless Service."""
        return f"{self.model}-{short(self.bundle)}"

    def address(self, namespace: str) -> str:
        """Where it answers before it is live: a name that leads to each of its pods."""
        return f"http://{self.name}.{namespace}.svc:{PORT}"


def by_digest(image: str) -> bool:
    """Whether a reference names one image for ever."""
    return bool(_BY_DIGEST.fullmatch(image))


def short(bundle: str) -> str:
    """A bundle's first 12 digits, as every answer carries them."""
    return bundle.removeprefix("sha256:")[:12]


def labels_of(model: str) -> dict[str, str]:
    """What every object of a model carries, and is found by."""
    return {
        "app.kubernetes.io/name": model,
        "app.kubernetes.io/component": SERVER,
        "app.kubernetes.io/part-of": "lockgate",
        "app.kubernetes.io/managed-by": "lockgate",
    }


def pods_of(model: str, bundle: str) -> dict[str, str]:
    """What selects the pods of one version."""
    return {"app.kubernetes.io/name": model, "app.kubernetes.io/component": SERVER, layout.BUNDLE: short(bundle)}


def deployment(version: Version, *, lease: str, replicas: int) -> Object:
    """The pods of a version, so many at first; the lease's time makes every attempt a change of the object."""
    return {
        **_head("apps/v1", "Deployment", version, {layout.LEASE: lease}),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": pods_of(version.model, version.bundle)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": _pod(version),
        },
    }  # fmt: skip


def owned(version: Version, owner: Object) -> list[Object]:
    """What goes with the Deployment, in the order it is made."""
    metadata = owner["metadata"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
    found = [_headless(version), _disruption_budget(version)]
    if version.serving.max_replicas > version.serving.replicas:
        found.append(_autoscaler(version))
    for each in found:
        each["metadata"]["ownerReferences"] = [reference]
    return found


def users_service(live: Live, model: str) -> Object:
    """Where users go: the pods of what is live."""
    assert live.bundle is not None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": model,
            "labels": labels_of(model),
            "annotations": {layout.BUNDLE: live.bundle, layout.GENERATION: str(live.generation)},
        },
        "spec": {"selector": pods_of(model, live.bundle), "ports": [_port()]},
    }


def generation_of(service: Object) -> int:
    """Which generation of live a users' Service follows; 0 where somebody else made it."""
    said = annotation(service, layout.GENERATION)
    return int(said) if said.isdecimal() else 0


def moved(service: Object, live: Live, model: str) -> Object | None:
    """The users' Service after what is live, or None: it moves forward, from what was read, or not at all."""
    if generation_of(service) >= live.generation:
        return None
    wanted = users_service(live, model)
    wanted["metadata"]["resourceVersion"] = service["metadata"]["resourceVersion"]
    return wanted


def selected(service: Object | None) -> str:
    """The short bundle whose pods a Service selects."""
    return str(service["spec"].get("selector", {}).get(layout.BUNDLE, "")) if service else ""


def annotation(found: Object, name: str) -> str:
    """What an object is annotated with, or nothing."""
    return str((found["metadata"].get("annotations") or {}).get(name, ""))


def bundle_of(found: Object) -> str:
    """The short bundle that an object is labelled with."""
    return str((found["metadata"].get("labels") or {}).get(layout.BUNDLE, ""))


def _head(api: str, kind: str, version: Version, annotations: Mapping[str, str] | None = None) -> Object:
    metadata = {
        "name": version.name,
        "labels": _labels(version),
        "annotations": {**_annotations(version), **(annotations or {})},
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _labels(version: Version) -> dict[str, str]:
    return {
        **labels_of(version.model),
        layout.BUNDLE: short(version.bundle),
        "data.statcan.gc.ca/classification": version.classification,
    }


def _annotations(version: Version) -> dict[str, str]:
    return {layout.BUNDLE: version.bundle}


def _port() -> Object:
    return {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}


def _headless(version: Version) -> Object:
    spec = {"clusterIP": "None", "selector": pods_of(version.model, version.bundle), "ports": [_port()]}
    return {**_head("v1", "Service", version), "spec": spec}


def _disruption_budget(version: Version) -> Object:
    # One pod at a time, also of a single one: a budget that never lets a node be emptied is overridden by force.
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": pods_of(version.model, version.bundle)}}
    return {**_head("policy/v1", "PodDisruptionBudget", version), "spec": spec}


def _autoscaler(version: Version) -> Object:
    busy = {"type": "Utilization", "averageUtilization": _BUSY_PERCENT}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": version.name},
        "minReplicas": version.serving.replicas,
        "maxReplicas": version.serving.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": busy}}],
    }
    return {**_head("autoscaling/v2", "HorizontalPodAutoscaler", version), "spec": spec}


def _pod(version: Version) -> Object:
    nodes = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pods_of(version.model, version.bundle)},
    }
    return {
        "metadata": {"labels": _labels(version), "annotations": _annotations(version)},
        "spec": {
            "serviceAccountName": layout.SERVER_ACCOUNT,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": layout.USER,
                "runAsGroup": layout.USER,
                "fsGroup": layout.USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "topologySpreadConstraints": [nodes],
            "initContainers": [_bring(version)],
            "containers": [_serve(version)],
            "volumes": [
                {"name": "bundle", "emptyDir": {"sizeLimit": _BUNDLE_SIZE}},
                {"name": layout.TMP, "emptyDir": {"sizeLimit": _SCRATCH}},
                {"name": layout.ENVIRONMENT, "configMap": {"name": layout.CONFIG_MAP}},
                {"name": layout.CREDENTIALS, "secret": {"secretName": layout.STORE_SECRET, "optional": True}},
            ],
        },
    }


def _bring(version: Version) -> Object:
    """The one container that can read the store; it ends before the server begins."""
    return {
        **_container(version, "pull", version.bringer),
        "command": ["python", "-m", "lockgate_deploy"],
        "args": ["pull", "--model", version.model, "--digest", version.bundle],
        "volumeMounts": [
            {"name": "bundle", "mountPath": f"{layout.IO}/{layout.OUT}"},
            _mount(layout.TMP),
            {**_mount(layout.ENVIRONMENT), "readOnly": True},
            {**_mount(layout.CREDENTIALS), "readOnly": True},
        ],
    }


def _serve(version: Version) -> Object:
    def get(path: str) -> Object:
        return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 5}

    ready = get(f"/v2/models/{version.model}/ready")
    return {
        **_container(version, SERVER, version.image),
        "command": ["python", "-m", "lockgate_model_server"],
        "args": [
            "--bundle",
            f"{layout.IO}/{layout.IN}/bundle",
            "--host",
            _OWN_NETWORK,
            "--port",
            str(PORT),
            "--linger",
            _LINGER,
        ],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": _START_SECONDS},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**get("/v2/health/live"), "periodSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": UNASKED_SECONDS}}},
        "volumeMounts": [
            {"name": "bundle", "mountPath": f"{layout.IO}/{layout.IN}", "readOnly": True},
            _mount(layout.TMP),
            {**_mount(layout.ENVIRONMENT), "readOnly": True},
        ],
    }


def _mount(name: str) -> Object:
    """Mount the volume of this name at the folder of the same name below the root."""
    return {"name": name, "mountPath": f"{layout.IO}/{name}"}


def _container(version: Version, name: str, image: str) -> Object:
    """What both have in common; cpu is promised and not limited, since a limit would slow answers down."""
    promised = {"cpu": version.serving.cpu, "memory": version.serving.memory}
    return {
        "name": name,
        "image": image,
        "env": [{"name": "LOCKGATE_IO", "value": layout.IO}, {"name": "TMPDIR", "value": f"{layout.IO}/{layout.TMP}"}],
        "resources": {"requests": promised, "limits": {"memory": version.serving.memory}},
        "securityContext": dict(_LOCKED_DOWN),
        # The last lines of its log, so that whoever deploys is told why it does not start.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
