"""`lockgate doctor --cluster` on a real cluster: it passes if all is well, and names each thing that is broken."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.cluster.manifests.accounts import EXECUTOR, SUBMITTER
from lockgate.definition.catalog import Catalog
from tests.cluster import tools
from tests.cluster.place import ACCESS_KEY, BUCKET, CA, KUBECONFIG, NODE, PAUSE, S3, SECRET_KEY
from tests.cluster.processes import wait_for
from tests.workshop import Done
from tests.workshop import Project as Workshop

NAMESPACE, ARGO = "manifests-doctor", "manifests-argo"
MORE = f"{NAMESPACE}-more"  # cluster-wide
GOOD = "v3.7.15"


@dataclass(frozen=True)
class Site:
    """A project applied to the cluster."""

    root: Path

    def call(self, *argv: str, given: str | None = None) -> Done:
        """Run a command as the project's owner."""
        settings = {
            **os.environ, "KUBECONFIG": str(KUBECONFIG), "SSL_CERT_FILE": str(CA),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }  # fmt: skip
        done = subprocess.run(argv, cwd=self.root, env=settings, input=given, capture_output=True, text=True)
        return Done(done.returncode, done.stdout, done.stderr)

    def does(self, *argv: str, given: str | None = None) -> str:
        done = self.call(*argv, given=given)
        assert done.code == 0, done.said
        return done.out

    def kubectl(self, *arguments: str, namespace: str = NAMESPACE, given: object = None) -> str:
        text = json.dumps(given) if given else None
        return self.does("kubectl", "--namespace", namespace, *arguments, given=text)

    def lockgate(self, *arguments: str) -> Done:
        return self.call(sys.executable, "-m", "lockgate", *arguments)

    def apply(self) -> None:
        """Apply everything as in the README."""
        self.does("kubectl", "apply", "-k", "kubernetes")
        self.does("kubectl", "apply", "--server-side", "-k", ".lockgate/kubernetes")
        for kind, name in (("configmap", "workflow-controller-configmap"), ("deployment", "workflow-controller")):
            patch = f"kubernetes/argo-controller/{kind}.yaml"
            self.does("kubectl", "patch", kind, name, "--namespace", ARGO, "--patch-file", patch)
        self.kubectl("apply", "-R", "-f", "workflows")

    def doctor(self, *options: str) -> dict[str, Any]:
        """Return its findings by check; assert that its exit code agrees with them."""
        done = self.lockgate("doctor", "--cluster", "--json", *options)
        found: dict[str, Any] = json.loads(done.out)
        assert done.code == (0 if all(f["well"] for f in found.values()) else 2), done.said
        return found


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with a model, applied to the cluster, next to Argo's released manifests."""
    site = Site(tmp_path_factory.mktemp("project"))
    Workshop.make(site.root)
    (site.root / "images").mkdir()
    (site.root / "images" / "images.lock.json").write_text(json.dumps(pushed(site)))
    values = {
        "store": f"s3://{BUCKET}/doctor", "endpoint": S3, "addressing_style": "path", "ca": str(CA),
        "argo_namespace": ARGO, "api_server": f"{NODE}/32",
    }  # fmt: skip
    settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    done = site.lockgate("render", "--kubernetes", "--namespace", NAMESPACE, *settings)
    assert done.code == 0 and "next:" not in done.out, done.said
    argo(site)
    site.apply()
    yield site
    # Policies are cluster-wide, and remain when the namespace is deleted.
    site.does("kubectl", "delete", "-k", "kubernetes", "--ignore-not-found", "--timeout=120s")
    site.does("kubectl", "delete", "namespace", ARGO, "--timeout=120s")


def argo(site: Site) -> None:
    """Apply the controller's ConfigMap and Deployment, with a version without known flaws and without pods."""
    base = tools.module("argo") / "manifests" / "base" / "workflow-controller"
    created = site.call("kubectl", "create", "namespace", ARGO)
    assert created.code == 0 or "AlreadyExists" in created.err, created.said
    for name in ("configmap", "deployment", "sa"):
        site.kubectl("apply", "-f", str(base / f"workflow-controller-{name}.yaml"), namespace=ARGO)
    site.kubectl("scale", "--replicas=0", "deployment/workflow-controller", namespace=ARGO)
    version(site, GOOD)


def version(site: Site, number: str) -> None:
    image = f"workflow-controller=quay.io/argoproj/workflow-controller:{number}"
    site.kubectl("set", "image", "deployment/workflow-controller", image, namespace=ARGO)


def pause(site: Site) -> str:
    """Return the digest reference of an image in the cluster's registry."""
    host, _, name = PAUSE.partition("/")
    url = f"https://{host}/v2/{name.replace(':', '/manifests/')}"
    accept = "Accept: application/vnd.oci.image.manifest.v1+json"
    said = site.does("curl", "--silent", "--fail", "--head", "--cacert", str(CA), "--header", accept, url)
    digest = next(line.split()[1] for line in said.splitlines() if line.lower().startswith("docker-content-digest"))
    return f"{host}/{name.split(':')[0]}@{digest}"


def pushed(site: Site) -> dict[str, str]:
    """Return a reference for each image; nothing is run here."""
    return {program.image: pause(site) for program in Catalog.find().programs.values()}


def test_all_is_well_where_all_was_applied(site: Site) -> None:
    found = site.doctor()
    assert {name: f["found"] for name, f in found.items() if not f["well"]} == {}
    assert set(found) == {
        "argo", "controller", "manifests", "rights", "secrets", "keys", "store", "images", "workflows",
        "network", "nodes", "project", "schedules", "templates",
    }  # fmt: skip
    assert found["store"]["found"].endswith("exactly one of 32 concurrent writers succeeds")
    assert SECRET_KEY not in json.dumps(found)


def test_the_controllers_deployment_keeps_what_is_not_ours(site: Site) -> None:
    said = json.loads(site.kubectl("get", "deployment", "workflow-controller", "-o", "json", namespace=ARGO))
    container = said["spec"]["template"]["spec"]["containers"][0]
    names = [variable["name"] for variable in container["env"]]
    assert sorted(names) == ["DEFAULT_REQUEUE_TIME", "LEADER_ELECTION_IDENTITY"]
    assert container["image"].endswith(GOOD) and container["livenessProbe"]


@pytest.mark.parametrize(
    ("number", "options", "well", "says"),
    [
        ("v3.7.4", [], False, r"CVE-2026-31892"),
        ("v3.7.4", ["--for-tests"], True, r"CVE-2026-31892"),
        ("v4.0.6", [], False, "kubernetes/ is for 3.7"),
        ("latest", [], False, "cannot find the version of"),
    ],
)
def test_the_version_of_argo(site: Site, number: str, options: list[str], well: bool, says: str) -> None:
    version(site, number)
    try:
        found = site.doctor(*options)["argo"]
    finally:
        version(site, GOOD)
    assert (found["well"], says in found["found"]) == (well, True), found


def patch(site: Site, what: str, change: Mapping[str, object], namespace: str = NAMESPACE) -> None:
    site.kubectl("patch", *what.split(), "--type=merge", "-p", json.dumps(change), namespace=namespace)


def strict(site: Site) -> None:
    data = {"workflowRestrictions": "templateReferencing: Strict\n"}
    patch(site, "configmap workflow-controller-configmap", {"data": data}, ARGO)


def another_account(site: Site) -> None:
    spec = {"template": {"spec": {"serviceAccountName": "somebody"}}}
    patch(site, "deployment workflow-controller", {"spec": spec}, ARGO)


def baseline(site: Site) -> None:
    site.does("kubectl", "label", "--overwrite", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=baseline")


def open_network(site: Site) -> None:
    site.kubectl("delete", "networkpolicy", "lockgate-deny-all")


def unbind(site: Site, policy: str) -> None:
    """Delete the binding of a policy of this project, by the beginning of its name."""
    every = site.call("kubectl", "get", "validatingadmissionpolicybindings", "-o", "name").out.split()
    (name,) = (each for each in every if each.partition("/")[2].startswith(f"{policy}.{NAMESPACE}."))
    site.does("kubectl", "delete", name)


def unbound_policy(site: Site) -> None:
    unbind(site, "lockgate-runs")


def another_store(site: Site) -> None:
    patch(site, "configmap lockgate-environment", {"data": {"store": "s3://elsewhere"}})


def more_rights(site: Site) -> None:
    site.kubectl("create", "role", "more", "--verb=patch", "--resource=workflows.argoproj.io")
    site.kubectl("create", "rolebinding", "more", "--role=more", f"--serviceaccount={NAMESPACE}:{SUBMITTER}")


def rights_to_watch_secrets(site: Site) -> None:
    site.kubectl("create", "role", "more", "--verb=watch", "--resource=secrets")
    site.kubectl("create", "rolebinding", "more", "--role=more", f"--serviceaccount={NAMESPACE}:{EXECUTOR}")


def rights_to_delete_policies(site: Site) -> None:
    """Give them to the group of all accounts of the namespace, for the whole cluster."""
    what = ("--verb=delete", "--resource=validatingadmissionpolicybindings.admissionregistration.k8s.io")
    site.does("kubectl", "create", "clusterrole", MORE, *what)
    group = f"--group=system:serviceaccounts:{NAMESPACE}"
    site.does("kubectl", "create", "clusterrolebinding", MORE, f"--clusterrole={MORE}", group)


def rights_to_open_the_network(site: Site) -> None:
    site.kubectl("create", "role", "more", "--verb=patch", "--resource=networkpolicies.networking.k8s.io")
    site.kubectl("create", "rolebinding", "more", "--role=more", f"--serviceaccount={NAMESPACE}:{SUBMITTER}")


def wide_egress(site: Site) -> None:
    spec = {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}], "policyTypes": ["Egress"]}
    wide(site, spec)


def wide_ingress(site: Site) -> None:
    wide(site, {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}], "policyTypes": ["Ingress"]})


def wide(site: Site, spec: Mapping[str, object]) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "more"}, "spec": spec}
    site.kubectl("apply", "-f", "-", given=policy)


def less_rights(site: Site) -> None:
    site.kubectl("delete", "rolebinding", "lockgate-report-results")


def no_credentials(site: Site) -> None:
    patch(site, "secret lockgate-store", {"data": {"secret_access_key": None}})


def no_key(site: Site) -> None:
    site.kubectl("delete", "secret", "lockgate-key-bias-audit")


def another_key(site: Site) -> None:
    private = site.root / ".lockgate" / "kubernetes"
    shutil.copy(private / "lockgate-key-ingest" / "private.pem", private / "lockgate-key-bias-audit" / "private.pem")


def new_line(site: Site) -> None:
    with (site.root / ".lockgate" / "kubernetes" / "lockgate-store" / "access_key_id").open("a") as stream:
        stream.write("\n")


def another_endpoint(site: Site) -> None:
    path = site.root / "kubernetes" / "environment" / "s3.json"
    path.write_text(path.read_text().replace(":8333", ":8334"))


def another_image(site: Site) -> None:
    path = site.root / "images" / "images.lock.json"
    reference = json.loads(path.read_text())["model-server"]
    path.write_text(json.dumps(pushed(site) | {"model-server": f"{reference.split('@')[0]}@sha256:{'0' * 64}"}))


def no_images(site: Site) -> None:
    (site.root / "images" / "images.lock.json").unlink()


def no_template(site: Site) -> None:
    site.kubectl("delete", "workflowtemplates", "--all")


def own_policy(site: Site) -> None:
    """Change a template, which its policy would refuse."""
    name = site.kubectl("get", "workflowtemplates", "-o", "name").split()[0]
    unbind(site, "lockgate-rendered-grants")
    change = ("--type", "merge", "-p", json.dumps({"spec": {"onExit": "ingest"}}))
    # The API server enforces a policy some seconds after its binding was deleted.
    done = wait_for(lambda: site.call("kubectl", "-n", NAMESPACE, "patch", name, *change).code == 0, 60)
    assert done, f"the policy still refuses a change of {name}"


Break = Callable[[Site], None]
BROKEN: list[tuple[str, Break, str]] = [
    ("controller", strict, "differs in workflowRestrictions"),
    ("controller", another_account, f"system:serviceaccount:{ARGO}:somebody"),
    ("manifests", baseline, f"Namespace {NAMESPACE}"),
    ("manifests", open_network, "NetworkPolicy lockgate-deny-all"),
    ("manifests", unbound_policy, f"ValidatingAdmissionPolicyBinding lockgate-runs.{NAMESPACE}"),
    ("manifests", another_store, "ConfigMap lockgate-environment"),
    ("rights", more_rights, f"{SUBMITTER} may patch workflows"),
    ("rights", rights_to_watch_secrets, f"{EXECUTOR} may watch secrets"),
    ("rights", rights_to_delete_policies, f"{SUBMITTER} may delete validatingadmissionpolicybindings"),
    ("rights", rights_to_open_the_network, f"{SUBMITTER} may patch networkpolicies"),
    ("network", wide_egress, "NetworkPolicy more opens egress to all"),
    ("network", wide_ingress, "NetworkPolicy more opens ingress to all"),
    ("rights", less_rights, f"{EXECUTOR} may not create workflowtaskresults"),
    ("secrets", no_credentials, "lockgate-store/secret_access_key"),
    ("secrets", no_key, "lockgate-key-bias-audit/private.pem"),
    ("keys", another_key, "bias-audit"),
    ("store", new_line, "end with a newline"),
    ("store", another_endpoint, "cannot be reached"),
    ("images", another_image, "answers 404"),
    ("images", no_images, "no image has been pushed"),
    ("workflows", no_template, "WorkflowTemplate grants-release-"),
    ("workflows", own_policy, "WorkflowTemplate grants-re"),
]


@pytest.mark.parametrize(("check", "spoil", "says"), BROKEN, ids=lambda v: v.__name__ if callable(v) else "")
def test_what_is_broken_is_named(site: Site, tmp_path: Path, check: str, spoil: Break, says: str) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(site.root, kept)
    spoil(site)
    try:
        found = site.doctor()
    finally:
        shutil.copytree(kept, site.root, dirs_exist_ok=True)
        more = "role,rolebinding,networkpolicy"
        site.call("kubectl", "--namespace", NAMESPACE, "delete", more, "more", "--ignore-not-found")
        site.call("kubectl", "delete", "clusterrole,clusterrolebinding", MORE, "--ignore-not-found")
        patch(site, "deployment workflow-controller", {"spec": ACCOUNT}, ARGO)
        site.apply()
    assert not found[check]["well"]
    assert says in found[check]["found"]
    assert found[check]["fix"]
    # A change in the project also changes objects on the cluster; no unrelated check may fail.
    assert {name for name, f in found.items() if not f["well"]} <= {check, *RELATED.get(spoil, ())}


ACCOUNT = {"template": {"spec": {"serviceAccountName": "argo"}}}
RELATED: dict[Break, set[str]] = {
    less_rights: {"manifests"},
    another_endpoint: {"manifests"},
    no_images: {"manifests", "workflows", "schedules"},
    another_image: {"manifests", "workflows", "schedules"},
    own_policy: {"manifests"},
}


def test_another_namespace_than_the_rendered_one_is_refused(site: Site) -> None:
    done = site.lockgate("doctor", "--cluster", "-n", "elsewhere")
    done.check(2, f"kubernetes/ is for the namespace {NAMESPACE}, not elsewhere")


def test_a_project_without_a_cluster_says_how_to_begin(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    Site(tmp_path).lockgate("doctor", "--cluster").check(2, r"has no kubernetes/")


def test_a_context_that_does_not_exist_is_named(site: Site) -> None:
    site.lockgate("doctor", "--cluster", "--context", "nowhere").check(2, "nowhere")
