"""The Kubernetes API of a cluster, reached as kubeconfig says or as a pod's own account, and its errors in our words.

The client is lightkube, in the extra `kubernetes`; nothing here is imported before a cluster is asked for.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import BadCall, LockgateError, OutsideFailed

if TYPE_CHECKING:
    from httpx2 import HTTPStatusError
    from lightkube import Client
    from lightkube.config.kubeconfig import KubeConfig, SingleConfig

EXTRA = "pip install 'lockgate[kubernetes]'"


@dataclass(frozen=True)
class Cluster:
    """A connection: lightkube's client, the namespace that is meant, and the cluster's name in messages."""

    client: "Client"
    namespace: str
    name: str

    def kubectl(self, *arguments: str) -> str:
        """The same command for kubectl, as a next action names it."""
        context = [] if self.name == "in-cluster" else [f"--context={self.name}"]
        return " ".join(["kubectl", *context, "-n", self.namespace, *arguments])

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Round every call of the client: what the API refuses becomes an error with its next action.

        Errors: BadCall (not allowed, not known, refused by admission), OutsideFailed (nothing answers).
        """
        with explained(f"the cluster {self.name}", f"look at it with: {self.kubectl('get', 'pods')}"):
            yield


class NotThere(BadCall):
    """What a server was asked for does not exist."""


class NotAllowed(BadCall):
    """A server knows who asks, and does not allow it."""


def connect(context: str | None = None, namespace: str | None = None) -> Cluster:
    """Connect as kubectl would: kubeconfig's context, or in a pod the pod's own account. Nothing is sent yet.

    namespace: by default the context's own.
    Errors: BadCall when the client is not installed, or kubeconfig has no such context.
    """
    with installed():
        from lightkube import Client
        from lightkube.core.exceptions import ConfigError

    try:
        config = _config(context)
        if config.user is None:
            msg = f"the context {config.context_name} names no user"
            raise BadCall(msg, fix="add one: kubectl config set-context --current --user=NAME")
        _as_known(config)
        client = Client(config=config, namespace=namespace or config.namespace)
    except (ConfigError, OSError, KeyError) as error:
        msg = f"kubeconfig: {error}"
        raise BadCall(msg, fix="kubectl config get-contexts shows what there is") from error
    return Cluster(client, namespace or config.namespace, config.context_name)


def _config(context: str | None) -> "SingleConfig":
    from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, KubeConfig
    from lightkube.core.exceptions import ConfigError

    named = os.environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG
    files = [Path(file).expanduser() for file in str(named).split(os.pathsep) if file]
    found = [_read(file) for file in files if file.is_file()]
    if not found and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config = KubeConfig.from_service_account().get(context)
        assert config is not None
        return config._replace(context_name="in-cluster")
    if not found:
        msg = f"there is no file {named}"
        raise ConfigError(msg)
    wanted = context or next((config.current_context for config in found if config.current_context), None)
    chosen = next((config for config in found if wanted in config.contexts), found[0])
    config = chosen.get(wanted)
    assert config is not None
    return config


def _read(file: Path) -> "KubeConfig":
    import yaml
    from lightkube.config.kubeconfig import KubeConfig

    try:
        return KubeConfig.from_file(file)
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        msg = f"{file} is no kubeconfig"
        raise BadCall(msg, fix="kubectl config view shows how it is read") from error


def _as_known(config: "SingleConfig") -> None:
    """Let lightkube run plugins that speak v1: it knows the older names alone, and the credential has the same form."""
    if config.user and config.user.exec and config.user.exec.apiVersion == "client.authentication.k8s.io/v1":
        config.user.exec.apiVersion = "client.authentication.k8s.io/v1beta1"


@contextmanager
def installed() -> Iterator[None]:
    """Round the imports of the client. Errors: BadCall where it is not installed."""
    try:
        yield
    except ImportError as error:
        msg = f"this needs a client for clusters, which is not installed ({error.name})"
        raise BadCall(msg, fix=EXTRA) from error


@contextmanager
def explained(server: str, look: str) -> Iterator[None]:
    """Turn an error of the HTTP client into one of ours; `look` is the next action where nothing else is known.

    Errors: BadCall, OutsideFailed.
    """
    with installed():
        from httpx2 import HTTPError, HTTPStatusError, InvalidURL
        from lightkube.core.exceptions import ConfigError
    try:
        yield
    except HTTPStatusError as error:
        raise _refused(server, look, error.response.status_code, _said(error)) from error
    except HTTPError as error:
        msg = f"{server} does not answer: {error or type(error).__name__}"
        raise OutsideFailed(msg, fix=look) from error
    except (ConfigError, InvalidURL, FileNotFoundError) as error:  # also a plugin that is not there, or fails
        msg = f"{server} cannot be asked: {error}"
        raise BadCall(msg, fix="kubectl config view shows how it is reached") from error


def _refused(server: str, look: str, code: int, said: str) -> LockgateError:
    match code:
        case 401:
            msg = f"{server} does not know who asks: {said}"
            return BadCall(msg, fix="log in again, or give a token that is valid now")
        case 403:
            return NotAllowed(
                f"{server} does not allow it: {said}",
                fix="ask the platform's owner for the role it needs (docs/operating.md)",
            )
        case 404:
            return NotThere(f"{server} has no such thing: {said}", fix=look)
        case _ if code < 500 and code != 429:
            return BadCall(f"{server} refuses it: {said}", fix=look)
        case _:
            return OutsideFailed(f"{server} fails with {code}: {said}", fix=look)


def _said(error: "HTTPStatusError") -> str:
    """What a server's error says: `message` of a Kubernetes Status and of Argo's answers alike."""
    try:
        error.response.read()
        return str(error.response.json()["message"])
    except (ValueError, KeyError, TypeError, RuntimeError):  # no JSON, or a stream that was closed before it was read
        return str(error.response.reason_phrase)
