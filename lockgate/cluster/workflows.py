"""Workflows on a cluster, through the Kubernetes API or through an Argo server.

Both accept and return Argo's own JSON. The argo-workflows SDK is not used: it was removed upstream in Argo 4.0.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from lockgate_step import loads, without_credentials

from lockgate.cluster.api import Cluster, NotAllowed, NotThere, connect, explained, installed
from lockgate.errors import BadCall

if TYPE_CHECKING:
    from lightkube.resources.core_v1 import Pod

Json = dict[str, Any]
TOKEN = "ARGO_TOKEN"  # noqa: S105 - the name of the variable, the same as argo's
SECONDS = 30
QUIET = 300  # seconds without a line after which a watch is restarted, so that a dead connection is noticed
OF_WORKFLOW = "workflows.argoproj.io/workflow"
OF_NODE = "workflows.argoproj.io/node-id"


@dataclass(frozen=True)
class Where:
    """The cluster to use, from the command line; without any option it is this machine."""

    namespace: str | None = None
    context: str | None = None
    server: str | None = None
    token_file: Path | None = None
    ca: Path | None = None

    def __post_init__(self) -> None:
        fix = f"give the token by --token-file FILE, or in {TOKEN}"
        without_credentials(self.server or "", "the address of --server", fix=fix)

    @property
    def elsewhere(self) -> bool:
        """Whether a cluster is to be used."""
        return any((self.namespace, self.context, self.server))

    @property
    def options(self) -> str:
        """The same options, to repeat them in a `fix`; never a token."""
        given = {"-n": self.namespace, "--context": self.context, "--server": self.server}
        files = {"--token-file": self.token_file, "--ca": self.ca}
        return " ".join(f"{option} {value}" for option, value in {**given, **files}.items() if value)


class Argo(Protocol):
    """Operations on a cluster's workflows. Errors of all: BadCall, OutsideFailed."""

    @property
    def namespace(self) -> str:
        """The namespace of the workflows."""

    def kubectl(self, *arguments: str) -> str:
        """Return a kubectl command for that namespace, for a `fix`."""

    def template(self, name: str) -> Json:
        """Return one WorkflowTemplate. Errors: NotThere."""

    def create(self, workflow: Json) -> Json:
        """Create a Workflow, and return it with the name that the cluster gave it."""

    def workflow(self, name: str) -> Json:
        """Return one Workflow with its status. Errors: NotThere."""

    def workflows(self) -> list[Json]:
        """Return every Workflow of the namespace, with its status."""

    def crons(self, labels: Mapping[str, str]) -> list[Json]:
        """Return the CronWorkflows with these labels. Errors: NotAllowed."""

    def changes(self, name: str) -> Iterator[Json]:
        """Yield a Workflow at each change, until the server ends the stream. Errors: NotThere if it is deleted."""

    def stop(self, name: str) -> None:
        """Ask the controller to stop a Workflow; its exit handler still runs."""

    def log(self, workflow: str, node: str) -> list[str] | None:
        """Return the log of a node's program, or None if its pod was removed."""

    def users_service(self, model: str) -> Json | None:
        """Return the Service that users of a model call, or None. Errors: NotAllowed."""


@contextmanager
def reach(where: Where) -> Iterator[Argo]:
    """Open the connection to the cluster for the duration of the block. Errors: BadCall."""
    if where.server is None:
        if where.token_file or where.ca:
            msg = "--token-file and --ca apply only to an Argo server"
            raise BadCall(msg, fix="add --server URL, or omit them: kubeconfig has its own")
        cluster = connect(where.context, where.namespace)
        with closing(cluster.client):
            yield KubernetesApi(cluster)
        return
    if where.context:
        msg = "--context and --server cannot be combined"
        raise BadCall(msg, fix="use one: --context for the Kubernetes API, --server for an Argo server")
    if where.namespace is None:
        msg = "an Argo server has no default namespace"
        raise BadCall(msg, fix="add -n NAMESPACE")
    with closing(ArgoServer(where.server, where.namespace, _token(where.token_file), where.ca)) as server:
        yield server


def _token(file: Path | None) -> str | None:
    """Return the token from the file or the environment; never an argument, which every process could read."""
    try:
        text = file.read_text(encoding="utf-8") if file else os.environ.get(TOKEN, "")
    except OSError as error:
        msg = f"cannot read the token file {file}: {error.strerror}"
        raise BadCall(msg, fix=f"use another file, or set {TOKEN}") from error
    return text.strip().removeprefix("Bearer ") or None


class KubernetesApi:
    """The Kubernetes API, with the rights of kubeconfig's user."""

    def __init__(self, cluster: Cluster) -> None:
        from lightkube.generic_resource import create_namespaced_resource

        self._cluster = cluster
        self._client = cluster.client
        self._workflow = create_namespaced_resource("argoproj.io", "v1alpha1", "Workflow", "workflows")
        self._template = create_namespaced_resource("argoproj.io", "v1alpha1", "WorkflowTemplate", "workflowtemplates")
        self._cron = create_namespaced_resource("argoproj.io", "v1alpha1", "CronWorkflow", "cronworkflows")

    @property
    def namespace(self) -> str:
        return self._cluster.namespace

    def kubectl(self, *arguments: str) -> str:
        return self._cluster.kubectl(*arguments)

    def template(self, name: str) -> Json:
        with self._cluster.asked():
            return _plain(self._client.get(self._template, name))

    def create(self, workflow: Json) -> Json:
        with self._cluster.asked():
            return _plain(self._client.create(self._workflow(**workflow)))

    def workflow(self, name: str) -> Json:
        with self._cluster.asked():
            return _plain(self._client.get(self._workflow, name))

    def workflows(self) -> list[Json]:
        with self._cluster.asked():
            return [_plain(found) for found in self._client.list(self._workflow)]

    def crons(self, labels: Mapping[str, str]) -> list[Json]:
        with self._cluster.asked():
            return [_plain(found) for found in self._client.list(self._cron, labels=dict(labels))]

    def changes(self, name: str) -> Iterator[Json]:
        with self._cluster.asked():
            stream = self._client.watch(self._workflow, fields={"metadata.name": name}, server_timeout=QUIET)
            for change, found in stream:
                if change == "DELETED":
                    raise _deleted(name)
                yield _plain(found)

    def stop(self, name: str) -> None:
        from lightkube.types import PatchType

        with self._cluster.asked():
            self._client.patch(self._workflow, name, {"spec": {"shutdown": "Stop"}}, patch_type=PatchType.MERGE)

    def log(self, workflow: str, node: str) -> list[str] | None:
        from lightkube.resources.core_v1 import Pod

        try:
            with self._cluster.asked():
                pods = self._client.list(Pod, labels={OF_WORKFLOW: workflow})
                name = next((_name_of(pod) for pod in pods if _node_of(pod) == node), None)
                return list(self._client.log(name, container="main", newlines=False)) if name else None
        except NotThere:  # it was removed between the two requests
            return None

    def users_service(self, model: str) -> Json | None:
        from lightkube.resources.core_v1 import Service

        try:
            with self._cluster.asked():
                return dict(self._client.get(Service, model).to_dict())
        except NotThere:
            return None


class ArgoServer:
    """An Argo server's REST API, with the rights of the token."""

    def __init__(self, url: str, namespace: str, token: str | None, ca: Path | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"--server {url} is not a URL"
            raise BadCall(msg, fix="use e.g. --server https://argo.example.org")
        if token and parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            msg = f"the token would be sent to {url} unencrypted"
            raise BadCall(msg, fix="use https://, or kubectl port-forward and its local port")
        with installed():
            from httpx2 import Client, Timeout
        try:
            verify = ssl.create_default_context(cafile=ca) if ca else True
        except (OSError, ssl.SSLError) as error:
            msg = f"cannot read the CA {ca}: {error}"
            raise BadCall(msg, fix="use a file with PEM certificates") from error
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url, self._namespace, self._ca = url.rstrip("/"), namespace, ca
        self._http = Client(base_url=self._url, headers=headers, verify=verify, timeout=SECONDS)
        self._patient = Timeout(SECONDS, read=QUIET)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def namespace(self) -> str:
        return self._namespace

    def kubectl(self, *arguments: str) -> str:
        return " ".join(["kubectl", "-n", self._namespace, *arguments])

    def template(self, name: str) -> Json:
        return self._call("GET", "workflow-templates", name)

    def create(self, workflow: Json) -> Json:
        return self._call("POST", "workflows", body={"workflow": workflow})

    def workflow(self, name: str) -> Json:
        return self._call("GET", "workflows", name)

    def workflows(self) -> list[Json]:
        return self._list("workflows", {})

    def crons(self, labels: Mapping[str, str]) -> list[Json]:
        return self._list("cron-workflows", labels)

    def _list(self, kind: str, labels: Mapping[str, str]) -> list[Json]:
        wanted = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self._call("GET", kind, query={"listOptions.labelSelector": wanted}).get("items") or []
        return [_object(each) for each in found] if isinstance(found, list) else [_object(found)]

    def changes(self, name: str) -> Iterator[Json]:
        query = {"listOptions.fieldSelector": f"metadata.name={name}"}
        for event in self._stream("workflow-events", query=query):
            if event.get("type") == "DELETED":
                raise _deleted(name)
            yield _object(event.get("object"))

    def stop(self, name: str) -> None:
        self._call("PUT", "workflows", name, "stop", body={"namespace": self._namespace, "name": name})

    def log(self, workflow: str, node: str) -> list[str] | None:
        # The name of a pod ends in the same hash as the id of its node.
        mark = node.rpartition("-")[2]
        lines = self._stream("workflows", workflow, "log", query={"logOptions.container": "main"})
        shown = [str(line.get("content", "")) for line in lines if str(line.get("podName", "")).endswith(f"-{mark}")]
        return shown or self._archived(workflow, node)

    def _archived(self, workflow: str, node: str) -> list[str] | None:
        path = f"/artifact-files/{self._namespace}/workflows/{quote(workflow)}/{quote(node)}/outputs/main-logs"
        with self._asked():
            answer = self._http.get(path)
        # Otherwise the log is not archived, or this token has no access to it.
        return answer.text.splitlines() if answer.status_code == 200 else None

    def users_service(self, model: str) -> Json | None:
        msg = f"an Argo server cannot show the live bundle of {model}"
        raise NotAllowed(msg, fix="use the Kubernetes API: omit --server")

    def _path(self, kind: str, *names: str) -> str:
        return "/".join(["/api/v1", kind, quote(self._namespace), *map(quote, names)])

    def _call(self, method: str, kind: str, *names: str, query: Json | None = None, body: Json | None = None) -> Json:
        with self._asked():
            answer = self._http.request(method, self._path(kind, *names), params=query, json=body)
            answer.raise_for_status()
            return _object(loads(answer.content))

    def _stream(self, kind: str, *names: str, query: Json) -> Iterator[Json]:
        """Yield the results of a stream, one JSON object per line, until it ends or is silent for too long."""
        from httpx2 import ReadTimeout

        with self._asked():
            try:
                with self._http.stream("GET", self._path(kind, *names), params=query, timeout=self._patient) as answer:
                    answer.raise_for_status()
                    for line in answer.iter_lines():
                        if text := line.removeprefix("data:").strip():
                            value = _object(loads(text))
                            if "result" not in value:
                                return  # the API server has ended the watch below it
                            yield _object(value["result"])
            except ReadTimeout:
                return

    @contextmanager
    def _asked(self) -> Iterator[None]:
        own = "; if it has its own CA, add --ca FILE" if self._url.startswith("https") and not self._ca else ""
        with explained(f"the Argo server {self._url}", f"check it: curl -sS {self._url}/api/v1/version{own}"):
            try:
                yield
            except ValueError as error:
                msg = f"{self._url} is not an Argo server"
                raise BadCall(msg, fix="use the address of Argo's web pages") from error


def _object(value: object) -> Json:
    """Return a JSON object. Errors: ValueError if the value is none."""
    if not isinstance(value, dict):
        msg = "not an object"
        raise ValueError(msg)
    return value


def _plain(found: Mapping[str, Any]) -> Json:
    """Return a custom resource as plain JSON values."""
    return dict(found)


def _name_of(pod: "Pod") -> str:
    assert pod.metadata is not None and pod.metadata.name is not None
    return str(pod.metadata.name)


def _node_of(pod: "Pod") -> str:
    assert pod.metadata is not None
    return str((pod.metadata.annotations or {}).get(OF_NODE, ""))


def _deleted(name: str) -> NotThere:
    msg = f"the workflow {name} was deleted while it was watched"
    return NotThere(msg, fix="its records in the store remain; ask who deleted it")
