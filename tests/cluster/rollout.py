"""Run the programs of `deploy` against a real cluster, as processes with the token of their service account.

The bundles are the model server's small ones, signed with keys created here; the real images serve them.
"""

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lockgate_step import canonical, file_digest, sha256
from lockgate_store import Missing, Store, open_store, put_tree

from lockgate.definition.catalog import Catalog
from lockgate.images.installed import Installed, command
from tests.cluster.accounts import service_account
from tests.cluster.cluster import here
from tests.cluster.place import ACCESS_KEY, BUCKET, CA, NODE, ROOT, S3, SECRET_KEY

sys.path.insert(0, str(ROOT / "tests" / "services" / "model-server"))
import tiny_bundle

KILLED = ROOT / "tests" / "steps" / "deploy" / "killed.py"
NAMESPACE = "platform"
NAMES_KEPT = 5  # seconds that the cluster's CoreDNS caches a response
MODEL = tiny_bundle.NAME
NO_BASE = tiny_bundle.NO_BASE
ROWS = tiny_bundle.ROWS
BODY = json.dumps(tiny_bundle.request(ROWS[:1])).encode()
# The least rights that deploy, promote and conclude need; they use no others.
RULES = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["create", "patch"]},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
]


def kubectl(*arguments: str, given: str | None = None) -> str:
    """Call kubectl as the administrator, in the tests' namespace."""
    return here().kubectl(f"--namespace={NAMESPACE}", *arguments, given=given)


def read(kind: str, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return objects of the namespace."""
    selector = [f"--selector={','.join(f'{k}={v}' for k, v in labels.items())}"] if labels else []
    return list(json.loads(kubectl("get", kind, "-o", "json", *selector))["items"])


@dataclass(frozen=True)
class Ended:
    """The result of a program."""

    code: int
    log: list[dict[str, Any]]
    out: Path

    @property
    def message(self) -> str:
        """The message of its error."""
        assert self.log[-1]["fix"], self.log
        return str(self.log[-1]["message"])


@dataclass
class World:
    """A store of its own, its trusted keys, and the namespace with the two images.

    images: `deploy` and `model-server`, by digest.
    """

    root: Path
    images: Mapping[str, str]
    bundles: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authority = tiny_bundle.Authority(self.root / "keys")
        self.environment, self.credentials = self.root / "environment", self.root / "credentials"
        self.account = self.root / "serviceaccount"
        for folder in (self.environment, self.credentials, self.account):
            folder.mkdir(parents=True)
        s3 = {"endpoint": S3, "region": "us-east-1", "addressing_style": "path"}
        shutil.copy(CA, self.environment / "ca.pem")
        (self.environment / "store").write_text(f"s3://{BUCKET}/platform-{uuid.uuid4().hex[:12]}\n")
        (self.environment / "s3.json").write_text(json.dumps(s3))
        (self.environment / "platform").write_text("kubernetes\n")
        (self.environment / "trust.json").write_bytes(self.authority.trust.to_bytes())
        (self.credentials / "access_key_id").write_text(ACCESS_KEY)
        (self.credentials / "secret_access_key").write_text(SECRET_KEY)
        _configure(self.environment, self.credentials)
        shutil.copy(self.environment / "ca.pem", self.account / "ca.crt")
        (self.account / "namespace").write_text(NAMESPACE)
        (self.account / "token").write_text(kubectl("create", "token", "lockgate-platform", "--duration=1h"))

    @property
    def store(self) -> Store:
        """The store."""
        return open_store(self.environment, self.credentials)

    def get(self, name: str) -> Any:
        """Return a record of the model in the store, or None."""
        try:
            return json.loads(self.store.read(f"models/{MODEL}/{name}").data)
        except Missing:
            return None

    @property
    def base(self) -> dict[str, Any]:
        """Return the live version, as a new run records its base."""
        live = self.get("live.json") or NO_BASE
        return {"bundle": live["bundle"], "generation": live["generation"]}

    def bundle(self, *, image: str = "", stored: bool = True, spoil: bool = False, **serving: object) -> str:
        """Create a bundle on the live base, with its verdicts, and store it; return its digest.

        image: the model server that judged it, by default the real one. spoil: write a model that cannot be loaded.
        """
        folder = self.root / "bundles" / str(len(self.bundles))
        digest = self.authority.write_bundle(
            folder,
            base=self.base,
            image=image or self.images["model-server"],
            serving=serving,
            versions={"bundle": str(len(self.bundles))},
            file="no-such-file.onnx" if spoil else "model.onnx",
        )
        self.bundles[digest] = folder
        if stored:
            put_tree(self.store, folder, f"models/{MODEL}/bundles/{digest.removeprefix('sha256:')}")
        return digest

    def name(self, digest: str) -> str:
        """Return the name of a version's Deployment."""
        return f"{MODEL}-{digest.removeprefix('sha256:')[:12]}"

    def deploy(self, digest: str, *settings: str, run: str, **given: Any) -> Ended:
        """Stage a bundle."""
        return self.run("deploy", *settings, run=run, files=self._files(digest), **given)

    def promote(self, digest: str, *settings: str, run: str, **given: Any) -> Ended:
        """Make a bundle live, as if it had passed smoke-test."""
        folder = self.bundles[digest]
        record = json.loads((folder / "record.json").read_bytes())
        subjects = {entry["name"]: f"sha256:{entry['digest']['sha256']}" for entry in _statement(record)["subject"]}
        said = {
            "model": MODEL,
            "gate": "smoke-test",
            "result": "passed",
            "reasons": [],
            "notes": [],
            "measurements": {},
        }
        staged = self.root / "staged"
        staged.write_bytes(self.authority.staged(digest, "http://tiny.invalid:8080", run=run))
        smoke = self.root / "smoke"
        subjects["staged"] = file_digest(staged)
        smoke.write_bytes(self.authority.sign("smoke-test", "verdict", subjects, said))
        files = {**self._files(digest), "smoke": smoke, "staged": staged}
        return self.run("promote", *settings, run=run, files=files, **given)

    def smoke_test(self, staged: Path, *settings: str) -> Ended:
        """Run the gate on the output of deploy, with the cluster's DNS."""
        (subject,) = _statement(json.loads(staged.read_bytes()))["subject"]
        bundle = self.bundles[f"sha256:{subject['digest']['sha256']}"]
        io = self.authority.write_io(self.root / "io" / uuid.uuid4().hex[:8], "smoke-test")
        shutil.copy(staged, io / "in" / "staged")
        shutil.copytree(bundle, io / "in" / "bundle")
        shutil.copy(bundle / "policy.toml", io / "in" / "policy")
        names = self.root / "resolv.conf"
        search = f"{NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local"
        names.write_text(f"nameserver {NODE}\nsearch {search}\noptions ndots:5\n")
        argv, env = command(Installed(Catalog.find())("smoke-test"), ["-m", "lockgate_smoke_test", *settings])
        inside = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount --bind "$0" /etc/resolv.conf && exec "$@"',
            str(names),
            *argv,
        ]
        variables = {"LOCKGATE_IO": str(io), "LOCKGATE_RUN": "r1", "LOCKGATE_UID": "uid-of-r1"}
        done = subprocess.run(inside, env={**env, **variables}, capture_output=True, text=True, check=False)
        return Ended(done.returncode, tiny_bundle.parse_log(done.stderr), io / "out")

    def conclude(self, *, run: str, status: str = "Succeeded", **given: Any) -> Ended:
        """End a run."""
        return self.run("conclude", "--model", MODEL, "--status", status, run=run, **given)

    def run(
        self, program: str, *settings: str, run: str, files: Mapping[str, Path] | None = None, kill: str = ""
    ) -> Ended:
        """Run a program as its pod does.

        kill: `N` or `N+`, to kill it before or after its N-th change to the cluster.
        """
        io = self.root / "io" / uuid.uuid4().hex[:8]
        (io / "in").mkdir(parents=True)
        for name in ("environment", "credentials", "serviceaccount"):
            (io / name).symlink_to(self.root / name)
        if program in self.authority.keys:
            (io / "key").mkdir()
            (io / "key" / "private.pem").symlink_to(self.authority.keys[program])
        for name, path in (files or {}).items():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, io / "in" / name)
        module = ["-m", "lockgate_deploy"] if not kill else [str(KILLED), kill]
        argv, env = command(Installed(Catalog.find())("deploy"), [*module, program, *settings])
        variables = {
            "LOCKGATE_IO": str(io),
            "LOCKGATE_RUN": run,
            "LOCKGATE_UID": f"uid-of-{run}",
            "LOCKGATE_IMAGE": self.images["deploy"],
            "KUBERNETES_SERVICE_HOST": NODE,
            "KUBERNETES_SERVICE_PORT": "6443",
        }
        done = subprocess.run(argv, env={**env, **variables}, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, tiny_bundle.parse_log(done.stderr), io / "out")

    def release(self, digest: str, *, run: str) -> None:
        """Run a whole rollout that must succeed."""
        for ended in (self.deploy(digest, run=run), self.promote(digest, run=run), self.conclude(run=run)):
            assert ended.code == 0, ended.log

    def versions(self) -> set[str]:
        """Return the names of the existing versions."""
        return {found["metadata"]["name"] for found in read("deployments")}

    def users(self) -> dict[str, Any]:
        """Return the users' Service."""
        return dict(json.loads(kubectl("get", "service", MODEL, "-o", "json")))

    def asked(self) -> set[str]:
        """Return the pods that receive users' requests."""
        slices = read("endpointslices", {"kubernetes.io/service-name": MODEL})
        endpoints = [endpoint for each in slices for endpoint in each.get("endpoints") or ()]
        return {e["targetRef"]["name"] for e in endpoints if e["conditions"]["ready"]}

    def check_serving(self, digest: str, generation: int) -> None:
        """Check a live version: all its pods are ready, and users reach only them."""
        live = self.get("live.json")
        assert (live["bundle"], live["generation"]) == (digest, generation)
        service = self.users()
        assert service["metadata"]["annotations"]["lockgate.io/generation"] == str(generation)
        assert service["spec"]["selector"]["lockgate.io/bundle"] == digest.removeprefix("sha256:")[:12]
        pods = read("pods", {"lockgate.io/bundle": digest.removeprefix("sha256:")[:12]})
        assert pods
        assert self.asked() == {pod["metadata"]["name"] for pod in pods}

    def _files(self, digest: str) -> dict[str, Path]:
        folder = self.bundles[digest]
        answers = _statement(json.loads((folder / "answers.json").read_bytes()))
        current = {
            "policy": file_digest(folder / "policy.toml"),
            "spec": file_digest(folder / "spec.json"),
            "expectations": sha256(b"[]"),  # of every tiny bundle
            "images": {"predict": answers["predicate"]["program"]["image"]},
        }
        made = canonical({"version": 1, "models": {MODEL: current}})
        (self.environment / "current.json").write_bytes(made)
        return {"bundle": folder, "spec": folder / "spec.json", "policy": folder / "policy.toml"}


@dataclass
class Callers:
    """Clients that call continuously: some with a connection per request, some with one that stays open."""

    address: str
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Send requests while the block runs."""
        ended = threading.Event()
        threads = [threading.Thread(target=self._call, args=(ended, kept)) for kept in (False, False, True, True)]
        for thread in threads:
            thread.start()
        try:
            while not self.answers and not self.failures:
                time.sleep(0.05)
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def _call(self, ended: threading.Event, kept: bool) -> None:
        host, port = urlsplit(self.address).netloc.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        while not ended.is_set():
            try:
                connection.request("POST", f"/v2/models/{MODEL}/infer", BODY, {"content-type": "application/json"})
                answer = connection.getresponse()
                said = json.loads(answer.read())
                self.answers.append(said["parameters"]["bundle"])
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.failures.append(f"{'kept' if kept else 'new'}: {error!r}")
                connection.close()
            if not kept:
                connection.close()
            time.sleep(0.01)
        connection.close()


def prepare() -> None:
    """Create the namespace as the platform's owner does, unless it exists."""
    objects = [
        {"kind": "Namespace", "apiVersion": "v1", "metadata": {
            "name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }},
        *service_account(NAMESPACE, "lockgate-platform", *RULES),
        *service_account(NAMESPACE, "lockgate-model-server"),
    ]  # fmt: skip
    for each in objects:
        kubectl("apply", "--server-side", "-f", "-", given=json.dumps(each))


def clear() -> None:
    """Delete everything that a test deployed."""
    kubectl("delete", "deployments,services", "--all", "--cascade=foreground", "--wait=false")
    kubectl("delete", "pods", "--all", "--force", "--grace-period=0")  # no client calls them
    kubectl("wait", "deployments,services,pods", "--all", "--for=delete", "--timeout=120s")


def _configure(environment: Path, credentials: Path) -> None:
    for kind, name, folder in (
        ("configmap", "lockgate-environment", environment),
        ("secret", "lockgate-store", credentials),
    ):
        given = ["create", kind, *(["generic"] if kind == "secret" else []), name, f"--from-file={folder}"]
        made = kubectl(*given, "--dry-run=client", "-o", "json")
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=made)


def _statement(envelope: Mapping[str, Any]) -> dict[str, Any]:
    import base64

    return dict(json.loads(base64.b64decode(envelope["payload"])))
