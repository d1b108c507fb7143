"""The settings of a cluster's owner: `kubernetes/settings.toml`, and the environment of the programs next to it.

Both are written only from given settings: an existing file is changed only by a setting that is given.
"""

import ipaddress
import json
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lockgate_step import layout, without_credentials

from lockgate.definition.project import Project
from lockgate.errors import BadCall, NotRendered, UnknownName
from lockgate.records.environment import Environment

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ARGO = ("3.7", "4.0", "4.1")
EGRESS = ("api_server", "store_egress", "registry_egress")
FIRST = "lockgate render --kubernetes --set store=s3://BUCKET/PREFIX --set endpoint=https://HOST"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9:@._/-]+")
_SPACE = re.compile(r"namespace/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED = re.compile(r"default|kube-.*")
_S3 = ("endpoint", "region", "addressing_style")
_WIDEST = {4: 8, 6: 7}
_STYLES = ("auto", "path", "virtual")


@dataclass(frozen=True)
class Settings:
    """The settings of a cluster.

    namespace: where models are trained and served.
    argo: minor version of Argo Workflows.
    argo_namespace: the namespace of Argo's controller and its settings.
    controller: the controller's user name at the API server; by default its account in that namespace.
    instance_id: the controller's `instanceID`, if it has one: the only value of its label that a run may have.
    project: whose objects they are; another project's are not changed. By default the folder's name and six random
        digits, when the settings are written first.
    api_server, store_egress, registry_egress: the addresses that pods may connect to, separated by commas: ranges
        (10.0.0.1/32) or namespaces (namespace/NAME). Empty = closed, but a store or registry that is named by its IP
        address or as NAME.NAMESPACE.svc is open by itself.
    monitoring: "true" renders what Prometheus and Grafana read, and opens the port of metrics to the pods of
        `monitoring_namespace`.
    """

    namespace: str = "lockgate"
    argo: str = "3.7"
    argo_namespace: str = "argo"
    controller: str = ""
    project: str = ""
    instance_id: str = ""
    api_server: str = ""
    store_egress: str = ""
    registry_egress: str = ""
    monitoring: str = "false"
    monitoring_namespace: str = "monitoring"

    @classmethod
    def first(cls, root: Path) -> "Settings":
        """Return the settings of a project without a cluster: its folder names the namespace, and begins its own name.

        Two projects may be in folders of one name, as two clones are. So each has digits of its own, written only once.
        """
        name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:50].strip("-") or "lockgate"
        return cls(namespace=name, project=f"{name}-{secrets.token_hex(3)}")

    @property
    def owner(self) -> str:
        """The project that owns the namespace's objects."""
        return self.project or self.namespace

    def opened(self, name: str) -> list[str]:
        """Return the addresses of one setting for the network's policies."""
        return [place for place in str(getattr(self, name)).split(",") if place]

    @property
    def monitored(self) -> bool:
        """Whether the cluster's Prometheus reads the metrics of served models."""
        return self.monitoring == "true"

    @property
    def controller_user(self) -> str:
        """The controller's user name."""
        return self.controller or f"system:serviceaccount:{self.argo_namespace}:argo"

    def user(self, account: str) -> str:
        """Return the user name of one of our accounts."""
        return f"system:serviceaccount:{self.namespace}:{account}"

    def check(self) -> None:
        """Check that the settings are valid. Errors: BadCall, UnknownName."""
        if self.argo not in ARGO:
            what = "version of Argo"
            raise UnknownName(what, self.argo, ARGO)
        for name in (self.namespace, self.argo_namespace, self.monitoring_namespace, self.owner):
            if not _NAME.fullmatch(name):
                msg = f"{name!r} is not a valid name of a namespace or project"
                raise BadCall(msg, fix="use lower-case letters, digits and hyphens")
        if _RESERVED.fullmatch(self.namespace) or self.namespace == self.argo_namespace:
            msg = f"the namespace {self.namespace} belongs to the cluster"
            raise BadCall(msg, fix="give this project its own namespace: --namespace NAME")
        if self.controller and not _USER.fullmatch(self.controller):
            msg = f"controller {self.controller!r} is not a valid user name"
            raise BadCall(msg, fix="use e.g. system:serviceaccount:argo:argo")
        if self.controller.startswith(self.user("")):
            msg = f"controller {self.controller!r} is an account of this namespace: no rule for runs would hold for it"
            raise BadCall(msg, fix="give the account of Argo's controller, in a namespace of its own")
        if self.monitoring not in ("true", "false"):
            msg = f"monitoring {self.monitoring!r} is neither true nor false"
            raise BadCall(msg, fix="lockgate render --kubernetes --set monitoring=true")
        if self.instance_id and not _NAME.fullmatch(self.instance_id):
            msg = f"instance_id {self.instance_id!r} is not a valid label"
            raise BadCall(msg, fix="use the instanceID of Argo's controller")
        for name in EGRESS:
            for place in self.opened(name):
                if _SPACE.fullmatch(place):
                    continue
                if (found := _range(place)) is None:
                    msg = f"{name} {place!r} is neither an address range nor a namespace"
                    raise BadCall(msg, fix=f"use e.g. --set {name}=10.0.0.1/32,namespace/storage")
                if opens(found):
                    msg = f"{name} {place!r} opens addresses that belong to many networks"
                    raise BadCall(msg, fix=f"name the addresses that pods need, e.g. --set {name}=10.0.0.1/32")

    def to_toml(self) -> str:
        """Return the text of the settings file; only plain names are valid, so nothing needs to be escaped."""
        lines = [f'{field.name} = "{getattr(self, field.name)}"' for field in fields(self)]
        return "\n".join(["# The cluster as its owner set it up; `lockgate render` reads it.", *lines, ""])

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Return the settings of a file. Errors: BadCall."""
        try:
            read = cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, TypeError) as error:
            msg = f"{path.name} does not contain valid cluster settings: {error}"
            raise BadCall(msg, fix=f"correct it; its settings are {', '.join(f.name for f in fields(cls))}") from error
        read.check()
        return read


def _is_endpoint(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0 and address.rstrip("/") == f"https://{parts.netloc}"
    except ValueError:  # a port that does not exist
        return False


def _is_server(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _range(place: str) -> Network | None:
    """Return an address range as Kubernetes writes one: no netmask, no leading zeros; None if it is none."""
    address, _, prefix = place.partition("/")
    try:
        found = ipaddress.ip_network(place, strict=False)
    except ValueError:
        return None
    plain = prefix == str(found.prefixlen) and ipaddress.ip_address(address).version == found.version
    return found if plain else None


def opens(network: Network) -> bool:
    """Return whether a range is wider than any network that one organisation has: 10.0.0.0/8, fc00::/7."""
    if isinstance(network, ipaddress.IPv4Network):
        return network.prefixlen < _WIDEST[4]
    # IPv4 addresses as IPv6, which Kubernetes reads as IPv4.
    return network.prefixlen < _WIDEST[6] or network.network_address.ipv4_mapped is not None


@dataclass(frozen=True)
class Store:
    """The S3 store of the environment, in the form of Argo's artifact repository."""

    bucket: str
    endpoint: str
    region: str
    has_ca: bool

    @classmethod
    def of(cls, address: str, endpoint: str | None = None, region: str = "", *, has_ca: bool = False) -> "Store":
        """Return the store at an address; by default Amazon's. Errors: BadCall if a cluster cannot use it."""
        parts = urlsplit(address)
        if parts.scheme != "s3" or not parts.netloc:
            msg = f"store {address!r} cannot be used by a cluster" if address else "a cluster needs a store"
            raise BadCall(msg, fix=FIRST)
        endpoint = endpoint or "https://s3.amazonaws.com"
        if not endpoint.startswith("https://"):
            msg = f"endpoint {endpoint!r} would send credentials unencrypted"
            raise BadCall(msg, fix="lockgate render --kubernetes --set endpoint=https://HOST")
        if not _is_endpoint(endpoint):
            msg = f"endpoint {endpoint!r} is not the address of a server alone: Argo would take another one"
            raise BadCall(msg, fix="lockgate render --kubernetes --set endpoint=https://HOST:PORT")
        return cls(parts.netloc, endpoint, region, has_ca)

    @property
    def host(self) -> str:
        """Host and port, without the scheme."""
        return urlsplit(self.endpoint).netloc


@dataclass(frozen=True)
class Cluster:
    """The folder `kubernetes/` of a project."""

    project: Project

    @property
    def folder(self) -> Path:
        """The folder of the manifests."""
        return self.project.root / "kubernetes"

    @property
    def environment(self) -> Path:
        """The environment of every program: files named after the ConfigMap's keys."""
        return self.folder / "environment"

    @property
    def private(self) -> Path:
        """Keys and credentials; never committed."""
        return self.project.state / "kubernetes"

    @property
    def file(self) -> Path:
        """The settings file."""
        return self.folder / "settings.toml"

    @property
    def exists(self) -> bool:
        """Whether the project has a cluster."""
        return self.file.is_file()

    @cached_property
    def settings(self) -> Settings:
        """The settings. Errors: NotRendered if there are none, BadCall."""
        if not self.exists:
            msg = f"{self.project.root} has no kubernetes/ folder"
            raise NotRendered(msg, fix=FIRST)
        return Settings.read(self.file)

    @property
    def as_environment(self) -> Environment:
        """The environment of the programs there, from the files here. Errors: NotRendered without a cluster."""
        self.settings.check()
        return Environment(self.private, self.environment)

    def value(self, key: str) -> str:
        """Return one value of the environment; empty if it is not set."""
        path = self.environment / key
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    @cached_property
    def keys(self) -> list[str]:
        """The keys of the environment, sorted."""
        files = {p.name for p in self.environment.iterdir() if p.is_file() and not p.name.startswith(".")}
        return sorted(files | {layout.CURRENT})

    @property
    def registry(self) -> str:
        """The address of the model registry; empty if there is none. Errors: BadCall if it is not one."""
        return _server("registry", self.value("registry"))

    @cached_property
    def store(self) -> Store:
        """The store. Errors: BadCall if a cluster cannot use it."""
        s3: dict[str, Any] = json.loads(self.value("s3.json") or "{}")
        has_ca = (self.environment / "ca.pem").is_file()
        return Store.of(self.value("store"), s3.get("endpoint"), s3.get("region") or "", has_ca=has_ca)


def write_settings(cluster: Cluster, given: Mapping[str, str]) -> None:
    """Write settings and values of the environment. Errors: UnknownName, BadCall; nothing is written then."""
    own = {field.name for field in fields(Settings)}
    values = {"store", "registry", "gateway", "hosts", "platform"}
    known = own | values | set(_S3) | {"ca"}
    for name in given:
        if name not in known:
            raise UnknownName("setting", name, known)
        without_credentials(given[name], f"the setting {name}")
    before = Settings.read(cluster.file) if cluster.exists else Settings.first(cluster.project.root)
    settings = replace(before, **{name: value for name, value in given.items() if name in own})
    settings.check()
    for name in ("registry", "gateway"):
        _server(name, given.get(name, ""))
    files = {name: f"{value}\n".encode() for name, value in given.items() if name in values}
    if not cluster.value("platform"):
        files.setdefault("platform", b"kubernetes\n")
    s3 = {name: value for name, value in given.items() if name in _S3}
    all_s3 = json.loads(cluster.value("s3.json") or "{}") | s3
    if s3:
        _check_style(s3.get("addressing_style", "auto"))
        files["s3.json"] = (json.dumps(all_s3, indent=2, sort_keys=True) + "\n").encode()
    if "ca" in given:
        files["ca.pem"] = _certificate(Path(given["ca"]))
    Store.of(given.get("store") or cluster.value("store"), all_s3.get("endpoint"))
    cluster.environment.mkdir(parents=True, exist_ok=True)
    cluster.file.write_text(settings.to_toml(), encoding="utf-8")
    for name, content in files.items():
        (cluster.environment / name).write_bytes(content)


def _server(name: str, address: str) -> str:
    """Return the address of a server; it may be empty. Errors: BadCall if it is not one."""
    if address and not _is_server(address):
        msg = f"{name} {address!r} is not the address of a server"
        raise BadCall(msg, fix=f"lockgate render --kubernetes --set {name}=https://HOST:PORT, a port from 1 to 65535")
    return address


def _check_style(style: str) -> None:
    if style not in _STYLES:
        what = "addressing_style"
        raise UnknownName(what, style, _STYLES)


def _certificate(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise BadCall(msg, fix="give the CA certificate: --set ca=FILE.pem") from error
    if b"-----BEGIN CERTIFICATE-----" not in content or b"PRIVATE KEY" in content:
        msg = f"{path} is not a PEM certificate"
        raise BadCall(msg, fix="give the CA certificate without its private key")
    return content
