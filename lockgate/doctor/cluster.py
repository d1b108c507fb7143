"""`lockgate doctor --cluster`: check what a cluster needs to run a model, by asking the cluster."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from lockgate_proof import Trust
from lockgate_step import layout

from lockgate.cluster.api import NotAllowed, connect
from lockgate.cluster.manifests import controller as argo
from lockgate.cluster.manifests.accounts import ACCOUNTS, ARGO, EVENTS, EXECUTOR, NEEDS, SUBMITTER, Right
from lockgate.cluster.manifests.files import CREDENTIALS, cluster_files
from lockgate.cluster.manifests.network import closed, opened_by
from lockgate.cluster.manifests.objects import LABELS
from lockgate.cluster.manifests.settings import Cluster
from lockgate.cluster.objects import ClusterObjects, within
from lockgate.definition.project import Project
from lockgate.doctor import running
from lockgate.doctor.checks import Finding, check_key, examined, keeps_dots, race
from lockgate.errors import BadCall
from lockgate.images.pins import built
from lockgate.images.registry import absent
from lockgate.records.store import store_of
from lockgate.rendering.files import model_files
from lockgate.rendering.labels import PART_OF

_APPLY = "kubectl apply --server-side -k kubernetes"
_APPLY_KEYS = "kubectl apply --server-side -k .lockgate/kubernetes"
_PATCH_ARGO = "kubectl patch configmap {} -n {} --patch-file kubernetes/argo-controller/configmap.yaml"
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)\b")
_WRITE = ("create", "update", "patch", "delete", "deletecollection")
_KERNEL = re.compile(r"(\d+)\.(\d+)")
_LANDLOCK = (5, 19)
# Only the namespace's owner may do these; each of them gives every right in the namespace.
_DENIED = (
    Right("", ("secrets",), ("get", "list", "watch", *_WRITE)),
    Right("", ("pods", "pods/exec", "serviceaccounts/token"), ("create",)),
    Right("", ("configmaps",), _WRITE),
    Right("rbac.authorization.k8s.io", ("roles", "rolebindings"), _WRITE),
    Right("networking.k8s.io", ("networkpolicies",), _WRITE),
    Right(
        "admissionregistration.k8s.io",
        ("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        _WRITE,
    ),
    Right(ARGO, ("workflowtemplates", "cronworkflows", "workfloweventbindings"), ("create", "update", "patch")),
)
_DENIED_TO_SUBMITTERS = (Right(ARGO, ("workflows",), ("update", "patch", "delete")),)


def examine(
    project: Project, context: str | None, namespace: str | None, *, for_tests: bool
) -> tuple[int, list[str], dict[str, Any]]:
    """Check a cluster; return exit code, lines, JSON values.

    for_tests: whether to accept an Argo with known vulnerabilities.
    Errors: NotRendered without `kubernetes/`, BadCall without a client or a context.
    """
    cluster = Cluster(project)
    settings = cluster.settings
    if namespace not in (None, settings.namespace):
        msg = f"kubernetes/ is for the namespace {settings.namespace}, not {namespace}"
        raise BadCall(msg, fix=f"lockgate render --kubernetes --namespace {namespace}, or omit -n")
    live = ClusterObjects(connect(context, settings.namespace), settings)
    checks: dict[str, Callable[[], Finding]] = {
        "argo": lambda: _version(live, for_tests=for_tests),
        "controller": lambda: _controller(live),
        "project": lambda: _project(live),
        "manifests": lambda: _manifests(live, cluster),
        "network": lambda: _network(live, cluster),
        "nodes": lambda: _nodes(live, project),
        "rights": lambda: _rights(live),
        "secrets": lambda: _secrets(live, project),
        "keys": lambda: _keys(cluster),
        "store": lambda: _store(cluster),
        "images": lambda: _images(project),
        "workflows": lambda: _workflows(live, project),
        "templates": lambda: running.templates(live, project),
        "schedules": lambda: running.schedules(live, project),
    }
    return examined(checks)


def _version(live: ClusterObjects, *, for_tests: bool) -> Finding:
    """Check the versions of the controller and the server, by their images."""
    place, minor = live.settings.argo_namespace, live.settings.argo
    deployments = {name: live.find("apps/v1", "Deployment", name, place) for name in (argo.CONTROLLER, "argo-server")}
    found = {name: _version_of(deployment, name) for name, deployment in deployments.items() if deployment}
    if argo.CONTROLLER not in found:
        fix = "install Argo, or set its namespace: lockgate render --kubernetes --set argo_namespace=NAME"
        return Finding("argo", f"Deployment {argo.CONTROLLER} not found in {place}", fix)
    shown = ", ".join(f"{name} {'.'.join(map(str, version))}" for name, version in found.items())
    here = ".".join(map(str, found[argo.CONTROLLER][:2]))
    if here != minor:
        return Finding("argo", f"{shown}; kubernetes/ is for {minor}", f"lockgate render --kubernetes --argo {here}")
    flaws = {flaw.name: flaw.what for version in found.values() for flaw in argo.flaws(version)}
    if not flaws:
        return Finding("argo", shown)
    known = f"{shown}: known vulnerabilities: " + "; ".join(f"{name}, {what}" for name, what in flaws.items())
    if for_tests:
        return Finding("argo", f"accepted for tests only: {known}")
    fix = f"upgrade Argo to {argo.ADVISED[minor]} or later (--for-tests accepts it on a test cluster)"
    return Finding("argo", known, fix)


def _version_of(deployment: Mapping[str, Any], name: str) -> argo.Version:
    """Return the version of a Deployment: its image's tag, or the usual label if the image is named by digest.

    Errors: BadCall if neither holds a version.
    """
    containers = deployment["spec"]["template"]["spec"]["containers"]
    image = next((c["image"] for c in containers if c["name"] == name), containers[0]["image"])
    label = (deployment["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
    for text in (image.split("@")[0].rsplit("/", 1)[-1].partition(":")[2], label):
        if match := _VERSION.match(text):
            return int(match[1]), int(match[2]), int(match[3])
    msg = f"cannot find the version of {name} in its image {image}"
    raise BadCall(msg, fix=f"label the Deployment {name} with app.kubernetes.io/version")


def _controller(live: ClusterObjects) -> Finding:
    """Check the controller's settings, and that its account is the one the admission policy exempts."""
    place = live.settings.argo_namespace
    config = live.find("v1", "ConfigMap", argo.CONFIG, place) or {}
    data: Mapping[str, str] = config.get("data") or {}
    read = argo.read(data)
    if missing := [name for name, value in argo.REQUIRED.items() if not within(value, read.get(name))]:
        # With an entry `config` there must be no other entry, or the controller does not start.
        patch = _PATCH_ARGO.format(argo.CONFIG, place)
        fix = f"write them into its entry `config`, as in {_SHOWN}" if "config" in data else patch
        return Finding("controller", f"{argo.CONFIG} in {place} differs in {', '.join(missing)}", fix)
    deployment = live.find("apps/v1", "Deployment", argo.CONTROLLER, place) or {}
    pod = deployment.get("spec", {}).get("template", {}).get("spec", {})
    user = f"system:serviceaccount:{place}:{pod.get('serviceAccountName', 'default')}"
    if pod and user != live.settings.controller_user:
        found = f"the controller's user is {user}; the admission policy exempts {live.settings.controller_user}"
        return Finding("controller", found, f"lockgate render --kubernetes --set controller={user}, then {_APPLY}")
    return Finding("controller", "runs only templates; its own containers are locked down")


_SHOWN = "kubernetes/argo-controller/configmap.yaml"


def _manifests(live: ClusterObjects, cluster: Cluster) -> Finding:
    """Check that each object of `kubernetes/` is on the cluster as rendered."""
    rendered = cluster_files(cluster)
    wanted = [*_objects(rendered), _environment(cluster, rendered)]
    if different := list(live.different(wanted)):
        return Finding("manifests", f"different from the rendered files: {', '.join(different)}", _again(_APPLY))
    return Finding("manifests", f"{len(wanted)} objects match the rendered files")


def _project(live: ClusterObjects) -> Finding:
    """Check that the namespace belongs to this project."""
    ours, place = live.settings.owner, live.settings.namespace
    found = live.find("v1", "Namespace", place)
    if found is None:
        return Finding("project", f"the namespace {place} does not exist", _APPLY)
    owner = (found["metadata"].get("labels") or {}).get(layout.PROJECT, "")
    if owner != ours:
        whose = f"belongs to the project {owner}" if owner else f"has no label {layout.PROJECT}"
        other = "use another namespace: lockgate render --kubernetes --namespace NAME"
        fix = f"{other}; if it is yours: lockgate render --kubernetes --set project={owner}" if owner else _APPLY
        return Finding("project", f"the namespace {place} {whose}, not to {ours}", fix)
    kind, names = "ValidatingAdmissionPolicyBinding", re.compile(rf"lockgate-[a-z]+\.{place}\.(?!{ours}$).+")
    bindings = live.listed("admissionregistration.k8s.io/v1", kind, {PART_OF: "lockgate"})
    if left := [name for each in bindings if names.fullmatch(name := each["metadata"]["name"])]:
        fix = f"kubectl delete {kind.lower()} {' '.join(left)}"
        return Finding("project", f"another project's apply left policies for the namespace {place}", fix)
    return Finding("project", f"the namespace {place} belongs to the project {ours}")


def _nodes(live: ClusterObjects, project: Project) -> Finding:
    """Check that each node can deny symbolic links to models' own steps: its kernel may have Landlock."""
    own = sorted({name for model in project.models.values() for name in model.own_programs})
    if not own:
        return Finding("nodes", "no model has a step of its own")
    try:
        found = {each["metadata"]["name"]: each for each in live.listed("v1", "Node", {})}
    except NotAllowed:
        return Finding("nodes", "you may not list nodes: those of models' own steps need Linux 5.19 with Landlock")
    kernels = {name: str(node["status"]["nodeInfo"]["kernelVersion"]) for name, node in found.items()}
    if old := [f"{name} ({kernel})" for name, kernel in kernels.items() if _older(kernel)]:
        what = f"without Landlock, so that {', '.join(own)} can leave a link which Argo's own container follows"
        fix = "run workflows on nodes with Linux 5.19 or newer: nodeSelector in an overlay (docs/kubernetes.md)"
        return Finding("nodes", f"{', '.join(old)}: {what}", fix)
    return Finding("nodes", f"{len(kernels)} nodes have a kernel with Landlock")


def _older(kernel: str) -> bool:
    match = _KERNEL.match(kernel)
    return match is None or (int(match[1]), int(match[2])) < _LANDLOCK


def _network(live: ClusterObjects, cluster: Cluster) -> Finding:
    """Show what no pod can reach; whether policies are enforced depends on the network plug-in."""
    policies = live.listed("networking.k8s.io/v1", "NetworkPolicy", {})
    if wide := {str(each["metadata"]["name"]): found for each in policies if (found := opened_by(each))}:
        shown = "; ".join(f"NetworkPolicy {name} opens {' and '.join(found)} to all" for name, found in wide.items())
        fix = f"name addresses in it, or kubectl delete networkpolicy -n {live.settings.namespace} {' '.join(wide)}"
        return Finding("network", shown, fix)
    if shut := closed(cluster):
        return Finding("network", f"closed where policies are enforced: {', '.join(shut)} (--set NAME=RANGE opens it)")
    return Finding("network", "pods may reach only the addresses in the settings")


def _again(apply: str) -> str:
    """Return how to apply over what somebody else has changed or added."""
    return f"find out who changed it, then lockgate render and {apply} --force-conflicts"


def _workflows(live: ClusterObjects, project: Project) -> Finding:
    """Check that the templates, schedules and bindings of every model are on the cluster as rendered."""
    models = project.models.values()
    wanted = [found for model in models for found in _objects(model_files(project, model, check=True))]
    if different := list(live.different(wanted)):
        apply = f"kubectl apply --server-side -n {live.settings.namespace} -R -f workflows"
        return Finding("workflows", f"different from the rendered files: {', '.join(different)}", _again(apply))
    local = [f"{m.spec.name} ({m.spec.source.uri})" for m in models if not m.spec.source.in_reach_of_pods]
    note = f"; pods cannot read the data of {', '.join(local)}: use --data; the schedule is suspended" if local else ""
    return Finding("workflows", f"{len(wanted)} objects of {len(models)} models match the rendered files{note}")


def _objects(files: Mapping[Any, bytes]) -> list[dict[str, Any]]:
    """Return the objects in rendered files, without those for kustomize and those of Argo's controller."""
    chosen = [c for path, c in files.items() if path.suffix == ".yaml" and path.parent.name != "argo-controller"]
    found = [document for content in chosen for document in yaml.safe_load_all(content)]
    return [document for document in found if document["kind"] != "Kustomization"]


def _environment(cluster: Cluster, rendered: Mapping[Path, bytes]) -> dict[str, Any]:
    """Return the ConfigMap that kustomize makes from the environment's files."""
    paths = (cluster.environment / key for key in cluster.keys)
    data = {path.name: (rendered.get(path) or path.read_bytes()).decode() for path in paths}
    metadata = {"name": layout.CONFIG_MAP, "labels": {**LABELS, layout.PROJECT: cluster.settings.owner}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _rights(live: ClusterObjects) -> Finding:
    """Check that each account may do what it needs, and nothing that it must not."""
    wrong = []
    for account in ACCOUNTS:
        needed = [right for need in NEEDS if account in need.accounts for right in need.rights]
        wrong += [f"{account} may not {what}" for what, may in live.may(account, needed) if not may]
        denied = [*_DENIED, *(_DENIED_TO_SUBMITTERS if account in (SUBMITTER, EVENTS) else ())]
        wrong += [f"{account} may {what}" for what, may in live.may(account, denied) if may]
    if wrong:
        given = f"kubectl get rolebindings -n {live.settings.namespace} -o wide"
        return Finding("rights", "; ".join(wrong), f"{_APPLY}; show bindings from other sources: {given}")
    return Finding("rights", f"{len(ACCOUNTS)} accounts have the rights they need, and none that gives more")


def _secrets(live: ClusterObjects, project: Project) -> Finding:
    """Check that each Secret has its keys; their values are not read."""
    wanted = {layout.key_secret(signer): [layout.PRIVATE_KEY] for signer in project.signers}
    wanted |= {layout.STORE_SECRET: list(CREDENTIALS), f"{EXECUTOR}.service-account-token": ["token"]}
    missing = []
    for name, keys in wanted.items():
        secret = live.find("v1", "Secret", name) or {}
        filled = {key for key, value in (secret.get("data") or {}).items() if value}
        missing += [f"{name}/{key}" for key in keys if key not in filled]
    if missing:
        return Finding("secrets", f"missing or empty: {', '.join(missing)}", f"{_APPLY_KEYS}, or {_APPLY}")
    return Finding("secrets", f"{len(wanted)} Secrets have all their keys")


def _keys(cluster: Cluster) -> Finding:
    """Check that the trust file has a key for each signer, and that the private keys on this machine match."""
    trust, signers = Trust.read(cluster.environment / layout.TRUST), cluster.project.signers
    if missing := sorted(set(signers) - {name for key in trust.keys for name in key.may}):
        return Finding("keys", f"no trusted key for {', '.join(missing)}", "lockgate render --kubernetes")
    keys = {signer: cluster.as_environment.key(signer) for signer in signers}
    here = {signer: key for signer, key in keys.items() if key.is_file()}
    for signer, key in here.items():
        check_key(key, trust, signer)
    return Finding("keys", f"{len(signers)} signers are trusted; {len(here)} private keys on this machine match")


def _store(cluster: Cluster) -> Finding:
    """Check the store's conditional writes from this machine."""
    credentials = cluster.private / layout.STORE_SECRET
    if any("\n" in (credentials / name).read_text() for name in CREDENTIALS if (credentials / name).is_file()):
        place = f".lockgate/kubernetes/{layout.STORE_SECRET}"
        found = f"the files in {place} end with a newline, which Argo would send with the credentials"
        return Finding("store", found, f"write each without it: printf %s VALUE > FILE, then {_APPLY_KEYS}")
    store, where = store_of(cluster.as_environment), cluster.value("store")
    raced = race(store, where)
    if raced.well and keeps_dots(store):
        what = f"{where} keeps keys with `..`: Argo writes them outside of a step's inputs, where its own program is"
        return Finding("store", what, "deny to write keys with /../ by the bucket's policy (docs/security.md)")
    return raced


def _images(project: Project) -> Finding:
    """Check that each image that the workflows name is in its registry."""
    references = built(project)
    if not references:
        fix = "lockgate images build, lockgate images push, lockgate render"
        return Finding("images", "no image has been pushed", fix)
    if missing := {name: why for name, reference in references.items() if (why := absent(reference))}:
        shown = "; ".join(f"{name}: {why}" for name, why in missing.items())
        return Finding("images", shown, "lockgate images push; if a registry requires credentials: skopeo login HOST")
    return Finding("images", f"{len(references)} images are in the registry")
