"""Connect to a cluster's Kubernetes API with kubeconfig or a pod's own account; translate its errors into ours.

The client is lightkube, in the extra `kubernetes`; it is imported only when a cluster is used.
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
    """A connection: lightkube's client, the namespace to use, and the cluster's name for messages."""

    client: "Client"
    namespace: str
    name: str

    def kubectl(self, *arguments: str) -> str:
        """Return a kubectl command for this cluster and namespace, for a `fix`."""
        context = [] if self.name == "in-cluster" else [f"--context={self.name}"]
        return " ".join(["kubectl", *context, "-n", self.namespace, *arguments])

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Wrap every call of the client: turn an error of the API into one with a `fix`.

        Errors: BadCall (not allowed, not found, refused by admission), OutsideFailed (no response).
        """
        with explained(f"the cluster {self.name}", f"check it: {self.kubectl('get', 'pods')}"):
            yield


class NotThere(BadCall):
    """The requested object does not exist."""


class NotAllowed(BadCall):
    """The caller is authenticated but lacks permission."""


def connect(context: str | None = None, namespace: str | None = None) -> Cluster:
    """Connect as kubectl does: with kubeconfig's context, or in a pod with the pod's account. Nothing is sent yet.

    namespace: by default the context's.
    Errors: BadCall if the client is not installed, or the context does not exist.
    """
    with installed():
        from lightkube import Client
        from lightkube.core.exceptions import ConfigError

    try:
        config = _config(context)
        if config.user is None:
            msg = f"the context {config.context_name} has no user"
            raise BadCall(msg, fix="add one: kubectl config set-context --current --user=NAME")
        _as_known(config)
        client = Client(config=config, namespace=namespace or config.namespace)
    except (ConfigError, OSError, KeyError) as error:
        msg = f"kubeconfig: {error}"
        raise BadCall(msg, fix="show the contexts: kubectl config get-contexts") from error
    return Cluster(client, namespace or config.namespace, config.context_name)


def _config(context: str | None) -> "SingleConfig":
    from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, KubeConfig
    from lightkube.core.exceptions import ConfigError

    named = os.environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG
    files = [Path(os.path.expanduser(file)) for file in str(named).split(os.pathsep) if file]
    found = [_read(file) for file in files if file.is_file()]
    if not found and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config = KubeConfig.from_service_account().get(context)
        assert config is not None
        return config._replace(context_name="in-cluster")
    if not found:
        msg = f"file not found: {named}"
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
        msg = f"{file} is not a kubeconfig file"
        raise BadCall(msg, fix="check it: kubectl config view") from error


def _as_known(config: "SingleConfig") -> None:
    """Let lightkube run plugins of v1: it accepts only the older versions, and the credential has the same form."""
    if config.user and config.user.exec and config.user.exec.apiVersion == "client.authentication.k8s.io/v1":
        config.user.exec.apiVersion = "client.authentication.k8s.io/v1beta1"


@contextmanager
def installed() -> Iterator[None]:
    """Wrap the imports of the client. Errors: BadCall if it is not installed."""
    try:
        yield
    except ImportError as error:
        msg = f"the client for clusters is not installed ({error.name} not found)"
        raise BadCall(msg, fix=EXTRA) from error


@contextmanager
def explained(server: str, look: str) -> Iterator[None]:
    """Turn an error of the HTTP client into one of ours; `look` is the default `fix`.

    Errors: BadCall, OutsideFailed.
    """
    with installed():
        from httpx2 import HTTPError, HTTPStatusError, InvalidURL
        from lightkube.core.exceptions import ConfigError
    try:
        yield
    except HTTPStatusError as error:
        raise _refused(server, look, error.response.status_code, _reason(error)) from error
    except HTTPError as error:
        msg = f"no response from {server}: {error or type(error).__name__}"
        raise OutsideFailed(msg, fix=look) from error
    except (ConfigError, InvalidURL, FileNotFoundError) as error:  # also a plugin that is missing or fails
        msg = f"cannot connect to {server}: {error}"
        raise BadCall(msg, fix="check the connection: kubectl config view") from error


def _refused(server: str, look: str, code: int, reason: str) -> LockgateError:
    match code:
        case 401:
            msg = f"authentication failed for {server}: {reason}"
            return BadCall(msg, fix="log in again, or use a valid token")
        case 403:
            return NotAllowed(
                f"permission denied by {server}: {reason}",
                fix="ask the platform's owner for the role it needs (docs/operating.md)",
            )
        case 404:
            return NotThere(f"not found on {server}: {reason}", fix=look)
        case _ if code < 500 and code != 429:
            return BadCall(f"{server} rejected the request: {reason}", fix=look)
        case _:
            return OutsideFailed(f"{server} failed with {code}: {reason}", fix=look)


def _reason(error: "HTTPStatusError") -> str:
    """Return a server's error message: `message` in a Kubernetes Status and in Argo's responses."""
    try:
        error.response.read()
        return str(error.response.json()["message"])
    except (ValueError, KeyError, TypeError, RuntimeError):  # not JSON, or a stream that was closed before it was read
        return str(error.response.reason_phrase)
