"""A client of the Kubernetes API for a program in a pod: its own namespace, with its service account's token.

It uses httpx on the REST API. lightkube is as small and typed, but cannot delete with preconditions; the official
client has 80 MB and no types.
"""

import os
import ssl
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
from lockgate_step import BadCall, OutsideFailed, layout

from lockgate_delivery.objects import Object

MANAGER = "lockgate"
_SECONDS = 10.0
_RIGHTS = f"restore the Role of ServiceAccount {layout.PLATFORM_ACCOUNT}: kubectl apply -k kubernetes"
_PATHS = {
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "EndpointSlice": "apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "Pod": "api/v1/namespaces/{}/pods",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Service": "api/v1/namespaces/{}/services",
    "Workflow": "apis/argoproj.io/v1alpha1/namespaces/{}/workflows",
}


class Conflict(Exception):
    """The object was changed or created by another client since it was read. Read it again."""


class Unreachable(OutsideFailed):
    """The API server cannot be reached, or is unavailable for now."""


class Cluster:
    """One namespace. Every call may be repeated; a missing object gives None or does nothing, it is not an error.

    Errors of every call: Unreachable, OutsideFailed when a permission is missing, BadCall when the API rejects the
    object.
    """

    def __init__(self, account: Path, address: str) -> None:
        """Use a service account's folder (`token`, `ca.crt`, `namespace`) and the API server's address."""
        try:
            self.namespace = (account / "namespace").read_text().strip()
            trusted = ssl.create_default_context(cafile=account / "ca.crt")
        except OSError as error:
            msg = f"no service account found in {account}"
            raise BadCall(msg, fix="render the workflow again, and start the program through it") from error
        # trust_env off: a proxy for external traffic must not be used between a pod and its own API server.
        self._client = httpx.Client(
            base_url=address, verify=trusted, auth=_Token(account / "token"), timeout=_SECONDS, trust_env=False
        )

    @classmethod
    def around(cls, account: Path) -> "Cluster":
        """Return the cluster in which this program runs. Errors: BadCall outside of a cluster."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            msg = "the platform is kubernetes, but this program does not run in a cluster"
            raise BadCall(msg, fix="submit the workflow to the cluster, or write local to environment/platform")
        return cls(account, f"https://{f'[{host}]' if ':' in host else host}:{port}")

    def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        answer = self._call("GET", self._path(kind, name), may_miss=True)
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.json()

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Object]:
        """Return the objects that have these labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        answer = self._call("GET", self._path(kind), params={"labelSelector": selector})
        return list(answer.json()["items"])

    def create(self, wanted: Object) -> Object:
        """Create an object that must not exist yet. Errors: Conflict when it exists."""
        answer = self._call("POST", self._path(wanted["kind"]), json=wanted, params={"fieldManager": MANAGER})
        return dict(answer.json())

    def apply(self, wanted: Object) -> Object:
        """Create an object, or update the fields that Lockgate manages (server-side apply).

        Errors: Conflict when `metadata.resourceVersion` is given and is no longer the object's.
        """
        path = self._path(wanted["kind"], wanted["metadata"]["name"])
        kind = {"content-type": "application/apply-patch+yaml"}  # JSON is YAML
        answer = self._call("PATCH", path, json=wanted, headers=kind, params={"fieldManager": MANAGER, "force": "true"})
        return dict(answer.json())

    def delete(self, kind: str, read: Object) -> None:
        """Delete an object as it was read, then what it owns. Errors: Conflict when it has changed since."""
        metadata = read["metadata"]
        as_read = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": as_read}
        options["propagationPolicy"] = "Background"
        self._call("DELETE", self._path(kind, metadata["name"]), may_miss=True, json=options)

    def _path(self, kind: str, name: str = "") -> str:
        return "/" + _PATHS[kind].format(self.namespace) + (f"/{name}" if name else "")

    def _call(self, method: str, path: str, *, may_miss: bool = False, **given: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **given)
        except httpx.TransportError as error:
            msg = f"cannot connect to the cluster's API server ({type(error).__name__})"
            raise Unreachable(msg, fix="check that the cluster is up, then run again") from error
        if answer.is_success or (may_miss and answer.status_code == httpx.codes.NOT_FOUND):
            return answer
        said = _message(answer)
        if answer.status_code == httpx.codes.CONFLICT:
            raise Conflict(said)
        what = f"the cluster rejected {method} {path.rsplit('/namespaces/', 1)[-1]}: {said}"
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise OutsideFailed(what, fix=_RIGHTS)
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise Unreachable(what, fix="check that the cluster is up, then run again")
        raise BadCall(what, fix="correct the field it names; Lockgate needs Kubernetes 1.30 or later")


class _Token(httpx.Auth):
    """The token, read for every request: the kubelet replaces it long before it expires."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["authorization"] = f"Bearer {self._path.read_text().strip()}"
        yield request


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
