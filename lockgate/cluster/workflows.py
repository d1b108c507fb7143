"""Workflows on a cluster, asked for in one of two ways: by the Kubernetes API, or by an Argo server.

Both take and give Argo's own JSON. The argo-workflows SDK is not used: it was removed upstream in Argo 4.0.
"""

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from lockgate.cluster.api import Cluster, NotAllowed, NotThere, connect, explained, installed
from lockgate.errors import BadCall

if TYPE_CHECKING:
    from lightkube.resources.core_v1 import Pod

Json = dict[str, Any]
TOKEN = "ARGO_TOKEN"  # noqa: S105 - the variable's name, as argo itself has it
SECONDS = 30
QUIET = 300  # seconds without a line after which a watch is begun anew, so that a connection that died is noticed
OF_WORKFLOW = "workflows.argoproj.io/workflow"
OF_NODE = "workflows.argoproj.io/node-id"


@dataclass(frozen=True)
class Where:
    """Which cluster is meant, as the command line says it; nothing of it given means this machine."""

    namespace: str | None = None
    context: str | None = None
    server: str | None = None
    token_file: Path | None = None
    ca: Path | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether a cluster is meant."""
        return any((self.namespace, self.context, self.server))

    @property
    def options(self) -> str:
        """The same options once more, as a next action repeats them; never a token."""
        given = {"-n": self.namespace, "--context": self.context, "--server": self.server}
        files = {"--token-file": self.token_file, "--ca": self.ca}
        return " ".join(f"{option} {value}" for option, value in {**given, **files}.items() if value)


class Argo(Protocol):
    """What is asked of a cluster about its workflows. Errors, of all: BadCall, OutsideFailed."""

    @property
    def namespace(self) -> str:
        """Where the workflows are."""

    def kubectl(self, *arguments: str) -> str:
        """A kubectl command for that namespace, as a next action names it."""

    def template(self, name: str) -> Json:
        """One WorkflowTemplate. Errors: NotThere."""

    def create(self, workflow: Json) -> Json:
        """Create a Workflow, and give it as the cluster named it."""

    def workflow(self, name: str) -> Json:
        """One Workflow with its status. Errors: NotThere."""

    def workflows(self, labels: Mapping[str, str]) -> list[Json]:
        """The Workflows with these labels, with their status."""

    def changes(self, name: str) -> Iterator[Json]:
        """A Workflow at each of its changes, until the server ends the stream. Errors: NotThere when it is deleted."""

    def stop(self, name: str) -> None:
        """Ask the controller to stop a Workflow; what it does at the end is still done."""

    def log(self, workflow: str, node: str) -> list[str] | None:
        """What the program of a node wrote, or None when its pod is gone."""

    def users_service(self, model: str) -> Json | None:
        """The Service that users of a model call, or None where there is none. Errors: NotAllowed."""


@contextmanager
def reach(where: Where) -> Iterator[Argo]:
    """The way to the cluster that is meant, while it is needed. Errors: BadCall."""
    if where.server is None:
        if where.token_file or where.ca:
            msg = "--token-file and --ca belong to an Argo server"
            raise BadCall(msg, fix="give --server URL, or leave them out: kubeconfig has its own")
        cluster = connect(where.context, where.namespace)
        with closing(cluster.client):
            yield KubernetesApi(cluster)
        return
    if where.context:
        msg = "--context and --server name two ways to a cluster"
        raise BadCall(msg, fix="give one: --context for the Kubernetes API, --server for an Argo server")
    if where.namespace is None:
        msg = "an Argo server has no namespace of its own"
        raise BadCall(msg, fix="give -n NAMESPACE")
    with closing(ArgoServer(where.server, where.namespace, _token(where.token_file), where.ca)) as server:
        yield server


def _token(file: Path | None) -> str | None:
    """The token of the file, or else of the environment; never an argument, which every process could read."""
    try:
        said = file.read_text(encoding="utf-8") if file else os.environ.get(TOKEN, "")
    except OSError as error:
        msg = f"the token file {file} cannot be read: {error.strerror}"
        raise BadCall(msg, fix=f"name another, or put the token into {TOKEN}") from error
    return said.strip().removeprefix("Bearer ") or None


class KubernetesApi:
    """The Kubernetes API, with the rights that kubeconfig's user has."""

    def __init__(self, cluster: Cluster) -> None:
        from lightkube.generic_resource import create_namespaced_resource

        self._cluster = cluster
        self._client = cluster.client
        self._workflow = create_namespaced_resource("argoproj.io", "v1alpha1", "Workflow", "workflows")
        self._template = create_namespaced_resource("argoproj.io", "v1alpha1", "WorkflowTemplate", "workflowtemplates")

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

    def workflows(self, labels: Mapping[str, str]) -> list[Json]:
        with self._cluster.asked():
            return [_plain(found) for found in self._client.list(self._workflow, labels=dict(labels))]

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
        except NotThere:  # it went between the two questions
            return None

    def users_service(self, model: str) -> Json | None:
        from lightkube.resources.core_v1 import Service

        try:
            with self._cluster.asked():
                return dict(self._client.get(Service, model).to_dict())
        except NotThere:
            return None


class ArgoServer:
    """An Argo server's REST API, with the rights that it gives the token."""

    def __init__(self, url: str, namespace: str, token: str | None, ca: Path | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"--server {url} is no address"
            raise BadCall(msg, fix="write e.g. --server https://argo.example.org")
        if token and parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            msg = f"a token would go to {url} readable for everybody between"
            raise BadCall(msg, fix="use https://, or a port that kubectl forwards to this machine")
        with installed():
            from httpx2 import Client, Timeout
        try:
            verify = ssl.create_default_context(cafile=ca) if ca else True
        except (OSError, ssl.SSLError) as error:
            msg = f"the CA {ca} cannot be read: {error}"
            raise BadCall(msg, fix="name a file with certificates in PEM form") from error
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url, self._namespace, self._ca = url.rstrip("/"), namespace, ca
        self._http = Client(base_url=self._url, headers=headers, verify=verify, timeout=SECONDS)
        self._patient = Timeout(SECONDS, read=QUIET)

    def close(self) -> None:
        """Let its connections go."""
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

    def workflows(self, labels: Mapping[str, str]) -> list[Json]:
        wanted = ",".join(f"{key}={value}" for key, value in labels.items())
        return list(self._call("GET", "workflows", query={"listOptions.labelSelector": wanted}).get("items") or [])

    def changes(self, name: str) -> Iterator[Json]:
        query = {"listOptions.fieldSelector": f"metadata.name={name}"}
        for event in self._stream("workflow-events", query=query):
            if event.get("type") == "DELETED":
                raise _deleted(name)
            yield event["object"]

    def stop(self, name: str) -> None:
        self._call("PUT", "workflows", name, "stop", body={"namespace": self._namespace, "name": name})

    def log(self, workflow: str, node: str) -> list[str] | None:
        # A pod's name ends in the same hash as its node's id.
        mark = node.rpartition("-")[2]
        lines = self._stream("workflows", workflow, "log", query={"logOptions.container": "main"})
        said = [str(line.get("content", "")) for line in lines if str(line.get("podName", "")).endswith(f"-{mark}")]
        return said or self._archived(workflow, node)

    def _archived(self, workflow: str, node: str) -> list[str] | None:
        path = f"/artifact-files/{self._namespace}/workflows/{quote(workflow)}/{quote(node)}/outputs/main-logs"
        with self._asked():
            answer = self._http.get(path)
        # Kept nowhere, or hidden from this token, which must open the store for it.
        return answer.text.splitlines() if answer.status_code == 200 else None

    def users_service(self, model: str) -> Json | None:
        msg = f"an Argo server does not show what {model} serves"
        raise NotAllowed(msg, fix="ask the Kubernetes API: leave --server out")

    def _path(self, kind: str, *names: str) -> str:
        return "/".join(["/api/v1", kind, quote(self._namespace), *map(quote, names)])

    def _call(self, method: str, kind: str, *names: str, query: Json | None = None, body: Json | None = None) -> Json:
        with self._asked():
            answer = self._http.request(method, self._path(kind, *names), params=query, json=body)
            answer.raise_for_status()
            return dict(answer.json())

    def _stream(self, kind: str, *names: str, query: Json) -> Iterator[Json]:
        """The results of a stream, one JSON object a line; its quiet end, or an interval without any, ends it."""
        from httpx2 import ReadTimeout

        with self._asked():
            try:
                with self._http.stream("GET", self._path(kind, *names), params=query, timeout=self._patient) as answer:
                    answer.raise_for_status()
                    for line in answer.iter_lines():
                        if text := line.removeprefix("data:").strip():
                            value = json.loads(text)
                            if "result" not in value:
                                return  # the API server has ended the watch below it
                            yield dict(value["result"])
            except ReadTimeout:
                return

    @contextmanager
    def _asked(self) -> Iterator[None]:
        own = "; where it has a CA of its own, give --ca FILE" if self._url.startswith("https") and not self._ca else ""
        with explained(f"the Argo server {self._url}", f"look at it with: curl -sS {self._url}/api/v1/version{own}"):
            try:
                yield
            except ValueError as error:
                msg = f"{self._url} answers, but not as an Argo server"
                raise BadCall(msg, fix="give the address that Argo's own pages have") from error


def _plain(found: Mapping[str, Any]) -> Json:
    """A custom resource as plain JSON values."""
    return dict(found)


def _name_of(pod: "Pod") -> str:
    assert pod.metadata is not None and pod.metadata.name is not None
    return str(pod.metadata.name)


def _node_of(pod: "Pod") -> str:
    assert pod.metadata is not None
    return str((pod.metadata.annotations or {}).get(OF_NODE, ""))


def _deleted(name: str) -> NotThere:
    msg = f"the workflow {name} was deleted while it was watched"
    return NotThere(msg, fix="whoever deleted it knows why; its records in the store stay")
