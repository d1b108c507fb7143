"""The Kubernetes objects of a version, and the users' Service, all made from a verified bundle and nothing else.

A version is a Deployment that owns a headless Service (its own address), a HorizontalPodAutoscaler and a
PodDisruptionBudget: deleting the Deployment deletes them all. Users have one Service per model; its selector names
the live bundle.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate_proof import Accepted, VerifiedBundle
from lockgate_step import Refusal, Serving, layout, read_spec

from lockgate_delivery.pointers import Live

Object = dict[str, Any]

PORT = 8080
SERVER = "model-server"
# Time until every node has removed a terminating pod from the Service; the pod still answers during it.
UNASKED_SECONDS = 15
_LINGER = "5"  # seconds in which the server tells clients with open connections that it stops
_GRACE_SECONDS = UNASKED_SECONDS + int(_LINGER) + 15  # and time to finish: see `graceful.py` of the model server
_OWN_NETWORK = "0.0.0.0"  # noqa: S104 - all addresses of the pod
_START_SECONDS = 300
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
    """One bundle as it is served on Kubernetes.

    image: the model server that gave the answers the gates judged, as predict's signed record names it.
    bringer: the image that downloads the bundle from the store.
    serving: the number of pods and their resources, as in the spec.
    """

    model: str
    bundle: str
    image: str
    bringer: str
    serving: Serving
    classification: str

    @classmethod
    def of(cls, proven: VerifiedBundle, bringer: str) -> "Version":
        """Make the version of a verified bundle. Errors: Refusal when it was not judged in an image by digest."""
        spec = read_spec(proven.folder / "spec.json")
        image = proven.records["predict"].predicate.get("program", {}).get("image", "")
        if not by_digest(image):
            msg = f"the bundle was judged in image {image or 'unknown'}, not in a reference by digest"
            raise Refusal(msg, fix="lockgate images build, lockgate render, and run the workflow on the cluster")
        if spec.serving is None:
            msg = "the bundle's spec has no `serving`"
            raise Refusal(msg, fix="lockgate render, and run the workflow again")
        return cls(proven.model, proven.digest, image, bringer, spec.serving, spec.classification)

    @property
    def name(self) -> str:
        """The name of its Deployment, its headless Service and what else it owns."""
        return f"{self.model}-{short(self.bundle)}"

    def address(self, namespace: str) -> str:
        """Return its own address, which it has before it is live: a name that resolves to each of its pods."""
        return f"http://{self.name}.{namespace}.svc:{PORT}"


def by_digest(image: str) -> bool:
    """Return whether an image reference is by digest, so that it always names the same image."""
    return bool(_BY_DIGEST.fullmatch(image))


def short(bundle: str) -> str:
    """Return the first 12 digits of a bundle's digest, as every answer of the server names it."""
    return bundle.removeprefix("sha256:")[:12]


def labels_of(model: str) -> dict[str, str]:
    """Return the labels that every object of a model has."""
    return {
        "app.kubernetes.io/name": model,
        "app.kubernetes.io/component": SERVER,
        "app.kubernetes.io/part-of": "lockgate",
        "app.kubernetes.io/managed-by": "lockgate",
    }


def pods_of(model: str, bundle: str) -> dict[str, str]:
    """Return the labels that select the pods of one version."""
    return {"app.kubernetes.io/name": model, "app.kubernetes.io/component": SERVER, layout.BUNDLE: short(bundle)}


def deployment(version: Version, *, lease: str, replicas: int) -> Object:
    """Return the Deployment of a version; the lease's time makes every attempt a change of the object.

    replicas: the number of pods at first, before the autoscaler changes it.
    """
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
    """Return the objects that the Deployment owns, in the order of creation."""
    metadata = owner["metadata"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
    found = [_headless(version), _disruption_budget(version)]
    if version.serving.max_replicas > version.serving.replicas:
        found.append(_autoscaler(version))
    for each in found:
        each["metadata"]["ownerReferences"] = [reference]
    return found


def users_service(live: Live, model: str) -> Object:
    """Return the Service for users: it selects the pods of the live bundle."""
    assert live.bundle is not None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": model,
            "labels": labels_of(model),
            "annotations": _follows(live),
        },
        "spec": {"selector": pods_of(model, live.bundle), "ports": [_port()]},
    }


def generation_of(service: Object) -> int:
    """Return the generation of live that a users' Service follows; 0 if Lockgate did not create it."""
    said = annotation(service, layout.GENERATION)
    return int(said) if said.isdecimal() else 0


def accepted_by(service: Object) -> Accepted | None:
    """Return the promotion that a users' Service follows; None if Lockgate did not write one there."""
    generation, digest = generation_of(service), annotation(service, layout.PROMOTION)
    return Accepted(generation, digest) if generation and digest else None


def moved(service: Object, live: Live, model: str) -> Object | None:
    """Return the users' Service for a later generation of live, conditional on the version read; else None."""
    if generation_of(service) >= live.generation:
        return None
    wanted = users_service(live, model)
    wanted["metadata"]["resourceVersion"] = service["metadata"]["resourceVersion"]
    return wanted


def selected(service: Object | None) -> str:
    """Return the short digest of the bundle whose pods a Service selects, or an empty string."""
    return str(service["spec"].get("selector", {}).get(layout.BUNDLE, "")) if service else ""


def annotation(found: Object, name: str) -> str:
    """Return the value of an object's annotation, or an empty string."""
    return str((found["metadata"].get("annotations") or {}).get(name, ""))


def bundle_of(found: Object) -> str:
    """Return the short digest of the bundle in an object's label, or an empty string."""
    return str((found["metadata"].get("labels") or {}).get(layout.BUNDLE, ""))


def _follows(live: Live) -> dict[str, str]:
    assert live.bundle is not None and live.promotion is not None
    named = {layout.BUNDLE: live.bundle, layout.GENERATION: str(live.generation)}
    return {**named, layout.PROMOTION: live.promotion.digest}


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
    # One pod at a time, even if there is only one: administrators override a budget that blocks draining a node.
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
                {"name": layout.TMP, "emptyDir": {"sizeLimit": _BUNDLE_SIZE}},
                {"name": layout.ENVIRONMENT, "configMap": {"name": layout.CONFIG_MAP}},
                {"name": layout.CREDENTIALS, "secret": {"secretName": layout.STORE_SECRET, "optional": True}},
            ],
        },
    }


def _bring(version: Version) -> Object:
    """Return the only container with access to the store; it ends before the server starts."""
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
    container = _container(version, SERVER, version.image)
    return {
        **container,
        "env": [
            *container["env"],
            *_host_names(version),
            {"name": layout.METRICS_VARIABLE, "value": str(layout.METRICS_PORT)},
        ],
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
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": layout.METRICS, "containerPort": layout.METRICS_PORT, "protocol": "TCP"},
        ],
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


def _host_names(version: Version) -> list[Object]:
    """Return the variables with the names of the Services in this namespace; a gateway's is in the settings."""
    here = "$(LOCKGATE_NAMESPACE)"
    names = [version.model, version.name, f"{version.model}.{here}", f"{version.name}.{here}"]
    names += [f".{here}.svc", f".{here}.svc.cluster.local"]
    return [
        {"name": "LOCKGATE_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "LOCKGATE_HOSTS", "value": " ".join(names)},
    ]


def _mount(name: str) -> Object:
    """Mount the volume of this name at the folder of the same name below the root."""
    return {"name": name, "mountPath": f"{layout.IO}/{name}"}


def _container(version: Version, name: str, image: str) -> Object:
    """Return what both containers share; cpu has a request and no limit, since a limit would slow answers down."""
    promised = {"cpu": version.serving.cpu, "memory": version.serving.memory}
    return {
        "name": name,
        "image": image,
        "env": [{"name": "LOCKGATE_IO", "value": layout.IO}, {"name": "TMPDIR", "value": f"{layout.IO}/{layout.TMP}"}],
        "resources": {"requests": promised, "limits": {"memory": version.serving.memory}},
        "securityContext": dict(_LOCKED_DOWN),
        # The last lines of its log, so that deploy can report why it does not start.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
