"""A real single-node Kubernetes with Argo for tests, on one Linux machine: `up`, `down`, `status`, `test`.

Everything runs in its own network namespace: no rule, route or address of the machine changes, and the cluster cannot
connect to anything outside. All state is in `.cluster/`.

    make cluster-up                 takes seconds once its programs are built
    export KUBECONFIG=$PWD/.cluster/admin.kubeconfig
    make cluster-down
"""

import argparse
import ipaddress
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from tests.certificates import Authority
from tests.cluster import services, tools
from tests.cluster.images import call, static_image
from tests.cluster.place import (
    CA,
    KUBECONFIG,
    NAMED,
    NODE,
    OWN,
    PAUSE,
    REGISTRY,
    SAMPLE,
    STATE,
)
from tests.cluster.processes import Processes, wait_for

NAMESPACE = "lockgate-test"  # the name of the network namespace and of its devices
HOST = "10.213.0.1"
NODES, PODS, SERVICES = "10.213.0.0/16", "10.213.64.0/20", "10.213.128.0/20"
API_SERVICE = "10.213.128.1"
API = f"https://{NODE}:6443"
PACKAGES = (
    "buildah", "busybox-static", "catatonit", "conntrack", "containerd", "containernetworking-plugins", "ipset",
    "iptables", "mmdebstrap", "podman", "runc", "socat",
)  # fmt: skip


def here() -> "Cluster":
    """Return the cluster that tests run on."""
    return OwnCluster() if OWN else Cluster()


class Trouble(SystemExit):
    """An error that keeps a cluster from running here, with the next action."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}\n  Next: {fix}")


class Cluster:
    """The cluster that tests run on, with an administrator's rights."""

    kubeconfig = KUBECONFIG
    ca = CA

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Call kubectl as the administrator. Errors: CalledProcessError with its output."""
        return call([self.program("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments], given=given)

    def program(self, name: str) -> str:
        """Return the path of `kubectl` or `argo`. Errors: Trouble if it is not installed."""
        found = shutil.which(name)
        if not found:
            raise Trouble(f"{name} is not installed.", "install it")
        return found

    def up(self) -> None:
        """Prepare for tests. Errors: Trouble with what is missing."""
        missing = [f"{name}: {what}" for name, what in NAMED.items() if not os.environ.get(name)]
        if missing:
            text = f"{self.kubeconfig} is not the cluster created here, and variables for its services are missing:"
            raise Trouble("\n  ".join([text, *missing]), "set them, or unset KUBECONFIG to create a cluster here")
        try:
            self.kubectl("get", "crd", "workflows.argoproj.io", "--request-timeout=10s")
        except subprocess.CalledProcessError as error:
            raise Trouble(f"Argo not found: {error.stderr.strip()}", "install Argo Workflows there") from error
        _pause()

    def down(self) -> None:
        """Do nothing: its owner stops it."""


@dataclass(frozen=True)
class OwnCluster(Cluster):
    """The cluster created here, with all its state in one folder."""

    state: Path = STATE

    @cached_property
    def processes(self) -> Processes:
        """Its processes."""
        return Processes(self.state)

    @cached_property
    def authority(self) -> Authority:
        """The authority that signs its certificates."""
        return Authority.make(self.state / "pki")

    @cached_property
    def programs(self) -> Path:
        """The folder of its programs."""
        return tools.build()

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.programs / name)

    def up(self) -> None:
        """Start everything that is not running."""
        _check_machine(self.state)
        self.state.mkdir(exist_ok=True)
        programs = self.programs
        began = time.monotonic()
        with FileLock(self.state / "coming-up"):  # two processes may start it at the same time
            self._network()
            self._certificates()
            self._registry()
            self._containerd()
            self._control_plane(programs)
            self._node(programs)
            services.start(self)
        print(f"cluster ready after {time.monotonic() - began:.0f} s", flush=True)

    def down(self) -> None:
        """Stop everything and delete the state."""
        if tools.made() and self.processes.running("kubelet") and self._api_ready():
            # The kubelet removes each pod's network; killing only the pods would leave it.
            self.kubectl("delete", "pods", "--all", "--all-namespaces", "--force", "--grace-period=0")
            wait_for(lambda: not _containers(self.state), 20)
        for name in reversed(self.processes.names()):
            if name != "containerd":
                self.processes.stop(name)
        _remove_containers(self.state)
        self.processes.stop("containerd")
        _unmount_below(self.state)
        for pod in _pod_networks():
            call(["ip", "netns", "delete", pod])
        if _namespace_exists():
            call(["ip", "netns", "delete", NAMESPACE])
        for hierarchy in Path("/sys/fs/cgroup").glob("*/kubepods"):
            for folder in sorted((p for p in hierarchy.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
                folder.rmdir()
            hierarchy.rmdir()
        shutil.rmtree(self.state, ignore_errors=True)

    def inside(self, *argv: str | Path) -> list[str]:
        """Return the command that runs a command in the cluster's network."""
        # nsenter, because `ip netns exec` would hide containerd's mounts from the kubelet.
        return ["nsenter", f"--net=/run/netns/{NAMESPACE}", "--", *map(str, argv)]

    def _network(self) -> None:
        if _namespace_exists():
            return
        call(["ip", "netns", "add", NAMESPACE])
        call(["ip", "link", "add", NAMESPACE, "type", "veth", "peer", "name", "node", "netns", NAMESPACE])
        call(["ip", "address", "add", f"{HOST}/18", "dev", NAMESPACE])
        call(["ip", "link", "set", NAMESPACE, "up"])
        call(["ip", "route", "add", NODES, "via", NODE])
        for command in (
            "ip link set lo up",
            f"ip address add {NODE}/18 dev node",
            "ip link set node up",
            f"ip route add default via {HOST}",
            "sysctl -qw net.ipv4.ip_forward=1",
        ):
            call(self.inside(*command.split()))

    def _certificates(self) -> None:
        authority = self.authority
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
        authority.issue("apiserver", "kube-apiserver", addresses=(NODE, API_SERVICE, "127.0.0.1", *names))
        authority.issue("node", "lockgate-node", addresses=(NODE, "lockgate-node"))
        authority.issue("accounts", "service-accounts")
        authority.issue("admin", "admin", "system:masters")
        authority.issue("kubelet", "system:node:lockgate-node", "system:nodes")
        authority.issue("apiserver-kubelet", "kube-apiserver-kubelet", "system:masters")
        authority.issue("controllers", "system:kube-controller-manager")
        authority.issue("scheduler", "system:kube-scheduler")
        authority.issue("proxy", "system:kube-proxy")
        for name in ("admin", "kubelet", "controllers", "scheduler", "proxy"):
            authority.kubeconfig(name, API)
        shutil.copyfile(authority.folder / "admin.kubeconfig", self.kubeconfig)
        self.kubeconfig.chmod(0o600)

    def _registry(self) -> None:
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(tools.CACHE.parent / "registry")},
                "delete": {"enabled": True},
            },
            "http": {
                "addr": REGISTRY,
                "tls": {"certificate": str(self.authority.path("node")), "key": str(self.authority.key("node"))},
            },
        }
        path = self._write("registry.yaml", settings)
        environment = {"OTEL_TRACES_EXPORTER": "none"}
        self.processes.start("registry", self.inside(self.programs / "registry", "serve", path), environment)
        if not wait_for(lambda: services.listens(REGISTRY), 20):
            raise self.failed("registry")

    def _containerd(self) -> None:
        hosts = self.state / "containerd" / "certs.d" / REGISTRY
        hosts.mkdir(parents=True, exist_ok=True)
        (hosts / "hosts.toml").write_text(
            f'server = "https://{REGISTRY}"\n[host."https://{REGISTRY}"]\n  ca = "{self.authority.path("ca")}"\n'
        )
        network = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "pods",
                    "isGateway": True,
                    "ipMasq": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(self.state / "cni-addresses"),
                        "ranges": [[{"subnet": PODS}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        folder = self.state / "cni"
        folder.mkdir(exist_ok=True)
        (folder / "pods.conflist").write_text(json.dumps(network))
        config = self.state / "containerd.toml"
        config.write_text(
            f"""version = 2
root = "{self.state}/containerd/root"
state = "{self.state}/containerd/state"
[grpc]
  address = "{_socket(self.state)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{self.state}/containerd/certs.d"
"""
        )
        self.processes.start("containerd", self.inside("containerd", "--config", config))
        if not wait_for(lambda: _socket(self.state).exists(), 20):
            raise self.failed("containerd")
        _pause()

    @cached_property
    def executor_image(self) -> str:
        """The image of Argo's own containers, with its single static program."""
        name = f"argoexec-{tools.digest()}"
        return static_image(name, {str(self.programs / "argoexec"): "/bin/argoexec"}, ["/bin/argoexec"])

    def _control_plane(self, programs: Path) -> None:
        pki, key = self.authority.path, self.authority.key
        self.processes.start(
            "etcd",
            self.inside(
                programs / "etcd", f"--data-dir={self.state / 'etcd'}", "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380",
                "--log-level=warn", "--unsafe-no-fsync",
            ),
        )  # fmt: skip
        self.processes.start(
            "apiserver",
            self.inside(
                programs / "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", f"--bind-address={NODE}",
                f"--advertise-address={NODE}", f"--service-cluster-ip-range={SERVICES}",
                f"--client-ca-file={pki('ca')}", f"--tls-cert-file={pki('apiserver')}",
                f"--tls-private-key-file={key('apiserver')}", "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={pki('accounts')}",
                f"--service-account-signing-key-file={key('accounts')}",
                f"--kubelet-client-certificate={pki('apiserver-kubelet')}",
                f"--kubelet-client-key={key('apiserver-kubelet')}", f"--kubelet-certificate-authority={pki('ca')}",
                "--kubelet-preferred-address-types=InternalIP", "--profiling=false",
            ),
        )  # fmt: skip
        if not wait_for(self._api_ready, 60):
            raise self.failed("apiserver")
        config = self.authority.folder
        self.processes.start(
            "controller-manager",
            self.inside(
                programs / "kube-controller-manager", f"--kubeconfig={config / 'controllers.kubeconfig'}",
                f"--service-account-private-key-file={key('accounts')}", f"--root-ca-file={pki('ca')}",
                "--use-service-account-credentials", "--leader-elect=false", "--bind-address=127.0.0.1",
            ),
        )  # fmt: skip
        self.processes.start(
            "scheduler",
            self.inside(
                programs / "kube-scheduler", f"--kubeconfig={config / 'scheduler.kubeconfig'}", "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ),
        )  # fmt: skip

    def _api_ready(self) -> bool:
        try:
            return self.kubectl("get", "--raw=/readyz", "--request-timeout=2s") == "ok"
        except subprocess.CalledProcessError:
            return False

    def _node(self, programs: Path) -> None:
        pki, key = self.authority.path, self.authority.key
        kubelet = self._write(
            "kubelet.yaml",
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "address": NODE,
                "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(pki("ca"))}},
                "cgroupDriver": "cgroupfs",
                "clusterDNS": [NODE],
                "clusterDomain": "cluster.local",
                "containerRuntimeEndpoint": f"unix://{_socket(self.state)}",
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
                "failCgroupV1": False,
                "failSwapOn": False,
                "healthzPort": 0,
                "imageGCHighThresholdPercent": 100,
                "maxOpenFiles": 20000,
                "oomScoreAdj": 0,
                "serializeImagePulls": False,
                "tlsCertFile": str(pki("node")),
                "tlsPrivateKeyFile": str(key("node")),
            },
        )
        self.processes.start(
            "kubelet",
            self.inside(
                programs / "kubelet", f"--config={kubelet}", "--hostname-override=lockgate-node", f"--node-ip={NODE}",
                f"--kubeconfig={self.authority.folder / 'kubelet.kubeconfig'}", f"--root-dir={self.state / 'kubelet'}",
                f"--cert-dir={self.state / 'kubelet' / 'pki'}",
            ),
        )  # fmt: skip
        proxy = self._write(
            "proxy.yaml",
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "bindAddress": NODE,
                "clientConnection": {"kubeconfig": str(self.authority.folder / "proxy.kubeconfig")},
                "clusterCIDR": PODS,
                "conntrack": {"maxPerCore": 0},
                "hostnameOverride": "lockgate-node",
                "mode": "iptables",
            },
        )
        self.processes.start("proxy", self.inside(programs / "kube-proxy", f"--config={proxy}"))
        corefile = self.state / "Corefile"
        corefile.write_text(
            f"""cluster.local:53 {{
  bind {NODE}
  errors
  kubernetes cluster.local {{
    kubeconfig {self.kubeconfig} lockgate-test
  }}
  cache 5
}}
.:53 {{
  bind {NODE}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""
        )
        self.processes.start("dns", self.inside(programs / "coredns", "-conf", corefile))
        if not wait_for(self._node_ready, 90):
            raise self.failed("kubelet")

    def _node_ready(self) -> bool:
        try:
            found = json.loads(self.kubectl("get", "nodes", "-o", "json", "--request-timeout=2s"))
            self.kubectl("get", "serviceaccount", "default", "--request-timeout=2s")  # without it no pod is admitted
        except subprocess.CalledProcessError:
            return False
        conditions = [c for node in found["items"] for c in node["status"]["conditions"]]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def _write(self, name: str, settings: Mapping[str, Any]) -> Path:
        path, text = self.state / name, yaml.safe_dump(dict(settings))
        if not path.exists() or path.read_text() != text:  # kube-proxy ends when its file is written again
            path.write_text(text)
        return path

    def failed(self, name: str) -> Trouble:
        """Return the error of a process that did not start, with the end of its log."""
        log = self.processes.log(name)
        return Trouble(f"{name} did not start; the end of {log}:\n{_end(log)}", "correct it, or make cluster-down")


def _pause() -> None:
    """Push the busybox image that pods pause with; some tests run commands in it."""
    assert static_image("pause", {"/bin/busybox": "/bin/busybox"}, ["/bin/busybox", "sleep", "infinity"]) == PAUSE


def _check_machine(state: Path) -> None:
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise Trouble("The tests' cluster needs Linux and root.", "set KUBECONFIG to use a cluster of yours")
    if len(str(_socket(state))) > 100:
        raise Trouble(f"{state} is too long for the path of a socket.", "work in a folder with a shorter path")
    missing = [p for p in PACKAGES if not _installed(p)]
    if missing:
        if not shutil.which("apt-get"):
            raise Trouble(f"These packages are missing: {', '.join(missing)}", "install them")
        print(f"installing {', '.join(missing)}", flush=True)
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        call(["apt-get", "update", "-qq"], quiet)
        call(["apt-get", "install", "-yqq", "--no-install-recommends", *missing], quiet)


def _installed(package: str) -> bool:
    query = subprocess.run(["dpkg-query", "-Wf", "${Status}", package], capture_output=True, text=True)
    return query.stdout.endswith("ok installed")


def _namespace_exists() -> bool:
    return Path("/run/netns", NAMESPACE).exists()


def _pod_networks() -> list[str]:
    """Return the remaining network namespaces of this cluster's pods."""
    found = [path.name for path in Path("/run/netns").glob("cni-*")]
    ours = ipaddress.ip_network(PODS)
    return [name for name in found if any(address in ours for address in _addresses(name))]


def _addresses(namespace: str) -> list[ipaddress.IPv4Address]:
    output = call(["ip", "-n", namespace, "-json", "-4", "address"])
    entries = [entry for device in json.loads(output) for entry in device.get("addr_info", ())]
    return [ipaddress.IPv4Address(entry["local"]) for entry in entries]


def _socket(state: Path) -> Path:
    return state / "containerd.sock"


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(nothing)"


def _ctr(state: Path, *action: str) -> str:
    return call(["ctr", f"--address={_socket(state)}", "-n", "k8s.io", "tasks", *action])


def _containers(state: Path) -> list[str]:
    return _ctr(state, "ls", "-q").split() if _socket(state).exists() else []


def _remove_containers(state: Path) -> None:
    for container in _containers(state):
        with suppress(subprocess.CalledProcessError):  # it may have ended meanwhile
            _ctr(state, "delete", "--force", container)


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True)


def main() -> None:
    """Run the action named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["up", "down", "status", "test", "sample"])
    action = parser.parse_args().action
    cluster = here()
    if action == "up":
        try:
            cluster.up()
        except subprocess.CalledProcessError as error:
            raise Trouble(
                f"{error.cmd[0]} failed: {error.stderr.strip()}", "correct it, or make cluster-down"
            ) from error
    elif action in ("test", "sample"):
        sys.exit(_test(cluster, sample=action == "sample"))
    elif action == "down":
        cluster.down()
    elif isinstance(cluster, OwnCluster):
        for name in cluster.processes.names():
            print(f"{name:<20}{'running' if cluster.processes.running(name) else 'ended'}")
    else:
        print(cluster.kubectl("get", "nodes"), end="")


def _test(cluster: Cluster, *, sample: bool) -> int:
    """Run the tests on the cluster, or the sample of them; start the cluster if needed, and stop it again."""
    from tests import run_all

    if sample:
        os.environ[SAMPLE] = "1"
    stays = not isinstance(cluster, OwnCluster) or cluster.processes.running("apiserver")
    cluster.up()
    try:
        return run_all.main(["cluster"])
    finally:
        if not stays:
            cluster.down()


if __name__ == "__main__":
    main()
