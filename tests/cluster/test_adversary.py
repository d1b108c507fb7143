"""Attacks on a namespace by people who may apply templates, submit, or own another project: the API server refuses.

The images are never run: the site names images that do not exist, so what a test starts ends without a pod.
"""

import base64
import copy
import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lockgate_proof import Promotion, ProofError, read_promotion, sign, verify, verify_bundle
from lockgate_step import Serving, canonical

from lockgate.cluster.api import connect
from lockgate.cluster.manifests.accounts import PLATFORM
from lockgate.cluster.manifests.settings import Settings
from lockgate.cluster.objects import ClusterObjects
from lockgate.cluster.served import Users
from lockgate.definition.catalog import Catalog
from tests import workshop
from tests.cluster import place, services
from tests.cluster.cluster import Cluster
from tests.cluster.images import push_image
from tests.cluster.processes import wait_for
from tests.cluster.site import OPERATOR, SUBMITTER, Site, account, pods
from tests.gates import GATE as OWN_GATE
from tests.gates import SIGNER, add_gate
from tests.steps.version_bench import Bench

sys.path.insert(0, str(place.ROOT / "steps" / "deploy"))
objects = importlib.import_module("lockgate_delivery.objects")

NAMESPACE = "lockgate-adversary"
Manifest = dict[str, Any]
Change = Callable[[Manifest], object]
DIGEST = f"sha256:{'0' * 64}"
GATE = "bias-audit"
IMAGES = {p.image: f"registry.example.org/lockgate/{p.image}@{DIGEST}" for p in Catalog.find().programs.values()}


@pytest.fixture(scope="module")
def attacked(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with an additional gate on the cluster, with references of images that nobody has pushed."""
    images = {**IMAGES, f"{workshop.MODEL}-{OWN_GATE}": f"registry.example.org/lockgate/{OWN_GATE}@{DIGEST}"}
    site = Site.make(cluster, tmp_path_factory.mktemp("adversary"), NAMESPACE, images, add_gate)
    hostile = changed(site, lambda found: found["spec"].update(hostNetwork=True))
    # The API server needs a while to notice a policy.
    assert wait_for(lambda: said_by(site, hostile) != "", 60), "the applied policies deny nothing"
    yield site
    site.kubectl("delete", "-k", str(site.root / "kubernetes"), "--ignore-not-found", "--timeout=120s")


def said_by(site: Site, *manifests: Manifest) -> str:
    """Return why the API server refuses to apply objects as the administrator; empty if it accepts all."""
    arguments = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
    try:
        site.kubectl(*arguments, given=yaml.safe_dump_all(manifests))
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return ""


def release(site: Site) -> Manifest:
    path = site.root / "workflows" / site.model / "release.yaml"
    return dict(yaml.safe_load(path.read_bytes()))


def changed(site: Site, change: Change, name: str = "hostile") -> Manifest:
    """Return the release as an attacker changes it; an empty name is the rendered one."""
    made = copy.deepcopy(release(site))
    made["metadata"]["name"] = name or made["metadata"]["name"]
    change(made)
    return made


def template(manifest: Manifest, name: str = GATE) -> Manifest:
    return next(each for each in manifest["spec"]["templates"] if each["name"] == name)


# X2, C3: keys, accounts and credentials -------------------------------------------------------------------------------


def key(signer: str) -> Manifest:
    return {"name": "key", "secret": {"secretName": f"lockgate-key-{signer}"}}


def replaced_gate(found: Manifest) -> None:
    """As a step of the model named bias_audit was rendered: its image, with the gate's key."""
    container = template(found)["container"]
    container["image"] = f"registry.example.org/lockgate/grants-bias-audit@{DIGEST}"
    container["command"] = ["python", "-m", "bias_audit"]


def same_name_other_registry(found: Manifest) -> None:
    template(found)["container"]["image"] = f"docker.io/lockgate/bias-audit@{DIGEST}"


def unbuilt(found: Manifest) -> None:
    template(found)["container"]["image"] = "lockgate.invalid/bias-audit:unbuilt"


def public_name(found: Manifest) -> None:
    template(found)["container"]["image"] = "lockgate/bias-audit:unbuilt"


def other_command(found: Manifest) -> None:
    template(found)["container"] |= {"command": ["python", "-c"], "args": ["print(open('/lockgate/key/private.pem'))"]}


def foreign_code(found: Manifest) -> None:
    template(found)["container"]["env"].append({"name": "PYTHONPATH", "value": "/lockgate/in/answers"})


def code_over_code(found: Manifest) -> None:
    file = {"name": "x", "path": "/usr/lib/python3/site.py", "raw": {"data": "x"}}
    template(found)["inputs"]["artifacts"].append(file)


def key_for_train(found: Manifest) -> None:
    template(found, "train")["volumes"] = [key(GATE)]


def another_key(found: Manifest) -> None:
    template(found)["volumes"] = [key("package")]


def own_key_for_train(found: Manifest) -> None:
    template(found, "train")["volumes"] = [key(SIGNER)]


def own_key_for_a_gate_of_lockgate(found: Manifest) -> None:
    template(found)["volumes"] = [key(SIGNER)]


def key_of_lockgate_for_own_gate(found: Manifest) -> None:
    template(found, OWN_GATE)["volumes"] = [key(GATE)]


def second_key_for_own_gate(found: Manifest) -> None:
    template(found, OWN_GATE)["volumes"].append({**key("promote"), "name": "more"})


def looser_own_gate(found: Manifest) -> None:
    template(found, OWN_GATE)["container"]["args"] = ["--at-most", "9.0"]


def other_code_in_own_gate(found: Manifest) -> None:
    template(found, OWN_GATE)["container"]["image"] = f"registry.example.org/lockgate/grants-other@{DIGEST}"


def other_image_of_own_gate(found: Manifest) -> None:
    template(found, OWN_GATE)["container"]["image"] = (
        f"registry.example.org/lockgate/grants-{OWN_GATE}@sha256:{'1' * 64}"
    )


def store_for_own_gate(found: Manifest) -> None:
    mount = {"name": "credentials", "mountPath": "/lockgate/credentials"}
    template(found, OWN_GATE)["container"]["volumeMounts"].append(mount)


def account_for_own_gate(found: Manifest) -> None:
    template(found, OWN_GATE)["serviceAccountName"] = PLATFORM


def key_for_all(found: Manifest) -> None:
    found["spec"]["volumes"].append(key(GATE))


def key_in_environment(found: Manifest) -> None:
    source = {"secretKeyRef": {"name": "lockgate-key-bias-audit", "key": "private.pem"}}
    template(found, "train")["container"]["env"].append({"name": "KEY", "valueFrom": source})


def key_as_credentials(found: Manifest) -> None:
    secret = {"name": "lockgate-key-bias-audit", "key": "private.pem"}
    place = {"endpoint": "203.0.113.1:9000", "bucket": "b", "key": "k", "accessKeySecret": secret}
    template(found)["inputs"]["artifacts"].append({"name": "x", "path": "/lockgate/in/x", "s3": place})


def account_for_train(found: Manifest) -> None:
    template(found, "train")["serviceAccountName"] = PLATFORM


def account_for_all(found: Manifest) -> None:
    found["spec"]["serviceAccountName"] = PLATFORM


def store_for_train(found: Manifest) -> None:
    mount = {"name": "credentials", "mountPath": "/lockgate/credentials"}
    template(found, "train")["container"]["volumeMounts"].append(mount)


def put(*path: str, value: object) -> Change:
    def change(made: Manifest) -> None:
        for name in path[:-1]:
            made = made[name]
        made[path[-1]] = value

    change.__name__ = ".".join(path)
    return change


def in_gate(name: str, value: object) -> Change:
    def change(made: Manifest) -> None:
        template(made)[name] = value

    change.__name__ = name
    return change


def inline(found: Manifest) -> None:
    template(found, "rollout")["dag"]["tasks"][0]["inline"] = {"container": {"image": "x"}}


def leaves(what: str, signer: str = GATE, **output: object) -> Change:
    """Return a change by which Argo itself takes a file out of a step: the program need not even start well."""

    def change(found: Manifest) -> None:
        template(found, signer)["outputs"].setdefault("artifacts", [])
        template(found, signer)["outputs"] |= output

    change.__name__ = f"outputs of {signer}: {what}"
    return change


def parameter(path: str) -> list[Manifest]:
    return [{"name": "k", "valueFrom": {"path": path}}]


def artifact(path: str, key: str = "lockgate/{{workflow.namespace}}/{{workflow.uid}}/x") -> list[Manifest]:
    return [{"name": "k", "path": path, "archive": {"none": {}}, "s3": {"key": key}}]


def variable(name: str, value: str, program: str = "predict") -> Change:
    """Return a change of the value of a variable; predict signs LOCKGATE_IMAGE, and deploy serves users from it."""

    def change(found: Manifest) -> None:
        entry = next(e for e in template(found, program)["container"]["env"] if e["name"] == name)
        entry["value"] = value

    change.__name__ = f"{name} of {program}"
    return change


def in_container(name: str, value: object) -> Change:
    def change(found: Manifest) -> None:
        template(found)["container"][name] = value

    change.__name__ = f"container.{name}"
    return change


def more_arguments(found: Manifest) -> None:
    template(found)["container"].setdefault("args", []).append("--anything")


def no_policy(found: Manifest) -> None:
    """As a gate without its policy, whose digest the environment no longer names."""
    template(found)["inputs"]["artifacts"] = [a for a in template(found)["inputs"]["artifacts"] if "raw" not in a]
    variable("LOCKGATE_PINS", "{}", GATE)(found)


def without_gate(found: Manifest) -> None:
    """As package without one of its needs."""
    tasks = template(found, "gates")["dag"]["tasks"]
    next(t for t in tasks if t["name"] == "package")["depends"] = "predict.Succeeded"


def twice(found: Manifest) -> None:
    found["spec"]["templates"][0] = copy.deepcopy(found["spec"]["templates"][-1])


def mutex_of_others(found: Manifest) -> None:
    template(found, "rollout")["synchronization"] = {"mutexes": [{"name": "x", "namespace": "other"}]}


def part_of_environment(found: Manifest) -> None:
    """As an environment without `current.json`."""
    found["spec"]["volumes"][0]["configMap"]["items"] = [{"key": "trust.json", "path": "trust.json"}]


def expanded_path(found: Manifest) -> None:
    template(found)["container"]["volumeMounts"][0]["subPathExpr"] = "x"


EVIL = f"evil.example.org/evil/model-server@{DIGEST}"
KEY, TOKEN = "/lockgate/key/private.pem", "/lockgate/serviceaccount/token"
OTHER = [{"name": "x", "image": "x"}]
HOSTILE: list[Change] = [
    leaves("the key", parameters=parameter(KEY)),
    leaves("the key as a file", artifacts=artifact(KEY)),
    leaves("the key around a corner", artifacts=artifact("/lockgate/out/../key/private.pem")),
    leaves("the token", "promote", parameters=parameter(TOKEN)),
    leaves("the credentials", "promote", parameters=parameter("/lockgate/credentials/secret_access_key")),
    leaves("an exit code", exitCode="0"),
    leaves("a result", result="x"),
    leaves("a file over another run's", artifacts=artifact("/lockgate/out/verdict", "lockgate/a/b/x/verdict")),
    variable("LOCKGATE_IMAGE", EVIL),
    variable("LOCKGATE_IMAGE", EVIL, "deploy"),
    variable("LOCKGATE_RUN", "another"),
    variable("TMPDIR", "/lockgate/key"),
    in_container("terminationMessagePath", KEY),
    in_container("securityContext", {}),
    more_arguments, no_policy, without_gate, twice, mutex_of_others, part_of_environment, expanded_path,
    put("spec", "entrypoint", value="promote"),
    put("spec", "onExit", value="train"),
    put("spec", "workflowMetadata", "annotations", value={"workflows.argoproj.io/x": "y"}),
    put("spec", "workflowMetadata", "labelsFrom", value={"x": {"expression": "'true'"}}),
    put("spec", "arguments", "artifacts", value=[{"name": "a", "raw": {"data": "x"}}]),
    replaced_gate, same_name_other_registry, unbuilt, public_name, other_command, foreign_code, code_over_code,
    key_for_train, another_key, key_for_all, key_in_environment, key_as_credentials, account_for_train, account_for_all,
    store_for_train, inline,
    own_key_for_train, own_key_for_a_gate_of_lockgate, key_of_lockgate_for_own_gate, second_key_for_own_gate,
    looser_own_gate, other_code_in_own_gate, other_image_of_own_gate, store_for_own_gate, account_for_own_gate,
    put("spec", "hostNetwork", value=True),
    put("spec", "hooks", value={"exit": {"template": "train"}}),
    put("spec", "podSpecPatch", value="{}"),
    put("spec", "templateDefaults", value={"container": {"image": "x"}}),
    in_gate("initContainers", OTHER),
    in_gate("sidecars", OTHER),
    in_gate("podSpecPatch", "{}"),
    in_gate("hostAliases", [{"ip": "203.0.113.1", "hostnames": ["s3"]}]),
]  # fmt: skip


@pytest.mark.sample
@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_no_template_takes_a_key_or_adds_a_field(attacked: Site, change: Change) -> None:
    said = said_by(attacked, changed(attacked, change), changed(attacked, change, name=""))
    assert said.count("denied request: Lockgate: ") == 2, said


def resources(found: Manifest) -> None:
    template(found)["container"] |= {"resources": {"limits": {"cpu": "9"}}, "imagePullPolicy": "Always"}
    template(found)["tolerations"] = [{"key": "models"}]


@pytest.mark.sample
def test_the_rendered_templates_and_an_overlay_are_accepted(attacked: Site) -> None:
    assert template(release(attacked), OWN_GATE)["volumes"] == [key(SIGNER)]
    for change in (lambda found: None, put("spec", "nodeSelector", value={"pool": "models"}), resources):
        assert said_by(attacked, changed(attacked, change, name="")) == ""
    review = yaml.safe_load((attacked.root / "workflows" / attacked.model / "review.yaml").read_bytes())
    assert said_by(attacked, review) == ""


def bare(change: Change = lambda found: None) -> Manifest:
    """Return a WorkflowTemplate that Lockgate did not render: it has nothing to protect."""
    step: Manifest = {
        "name": "main", "inputs": {"parameters": [{"name": "day", "value": "1"}]},
        "metadata": {"labels": {"team": "a"}},
        "container": {
            "image": "example.org/other", "command": ["copy"], "env": [{"name": "A", "value": "b"}],
            "volumeMounts": [{"name": "out", "mountPath": "/lockgate/out"}],
        },
        "outputs": {"artifacts": artifact("/lockgate/out/copy")},
    }  # fmt: skip
    spec = {"entrypoint": "main", "volumes": [{"name": "out", "emptyDir": {}}], "templates": [step]}
    made: Manifest = {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTemplate", "metadata": {"name": "bare"}, "spec": spec,
    }  # fmt: skip
    change(made)
    return made


def of_main(*path: str, value: object) -> Change:
    def change(found: Manifest) -> None:
        made = found["spec"]["templates"][0]
        for name in path[:-1]:
            made = made.setdefault(name, {})
        made[path[-1]] = value

    change.__name__ = ".".join(path)
    return change


STORE = {"name": "out", "secret": {"secretName": "lockgate-store"}}
SERVED = {"app.kubernetes.io/name": "grants", "app.kubernetes.io/component": "model-server"}


@pytest.mark.sample
@pytest.mark.parametrize(
    "change",
    [
        of_main("outputs", "parameters", value=parameter("/lockgate/out/copy")),
        of_main("outputs", "artifacts", value=artifact("/argo/secret/lockgate-store/secret_access_key")),
        of_main("outputs", "artifacts", value=artifact("/lockgate/out/../../argo/secret/x")),
        of_main("outputs", "artifacts", value=artifact("/lockgate/out/copy", "lockgate/another/run/x")),
        of_main("metadata", "labels", value=SERVED),  # the Service of the model's users would choose the pod
        of_main("metadata", "labels", value={"lockgate.io/bundle": "0123456789ab"}),
        of_main("metadata", "labels", value={"workflows.argoproj.io/completed": "true"}),
        of_main("inputs", "parameters", value=[{"name": "x", "valueFrom": {"expression": "1"}}]),
        of_main("volumes", value=[{"name": "more", "emptyDir": {}}]),
        of_main("synchronization", value={"mutexes": [{"name": "lockgate-grants"}]}),
        put("spec", "volumes", value=[STORE]),
        put("spec", "volumes", value=[{"name": "out", "hostPath": {"path": "/"}}]),
        put("spec", "executor", value={"serviceAccountName": PLATFORM}),
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_a_template_that_is_not_rendered_has_nothing_of_value(attacked: Site, change: Change) -> None:
    assert "Lockgate: " in said_by(attacked, bare(change))


@pytest.mark.sample
def test_a_template_that_is_not_rendered_may_run(attacked: Site) -> None:
    assert said_by(attacked, bare()) == ""
    attacked.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(bare()))
    assert wait_for(lambda: start(attacked, "bare") == "", 30), start(attacked, "bare")


# What a step leaves, and who reads it ---------------------------------------------------------------------------------

OF_WAIT = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # of the executor's account, in Argo's own container
# What the code of a step tries; it leaves the errors. The first process is Argo's own, and nothing limits that one.
AUTHOR = f"""
import json, os, lockgate_step, numpy
def tried(call, *arguments):
    try:
        return str(call(*arguments))
    except OSError as error:
        return type(error).__name__
said = [tried(os.symlink, {OF_WAIT!r}, place) for place in ("/lockgate/out/copy", "/var/run/argo/x")]
said += [tried(open, "/proc/1/mem", "r+b"), tried(os.readlink, "/proc/1/root")]
open("/lockgate/out/copy", "w").write(json.dumps(said))
"""


@pytest.fixture(scope="module")
def own_image(attacked: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a model's own step: any code of its author may be in it."""
    del attacked  # its cluster's registry
    folder = tmp_path_factory.mktemp("own")
    (folder / "pipelines").symlink_to(place.ROOT / "pipelines")
    return push_image(folder, "credit-balance")


def own_code(site: Site, image: str, begins: list[str], name: str) -> Manifest:
    """Run an author's code in a step; return the run when it has ended. begins: what the command begins with."""
    rendered_step = template(release(site), "train")["container"]
    kept = ("automountServiceAccountToken", "executor", "podSpecPatch", "securityContext", "serviceAccountName")
    made = bare()
    made["metadata"]["name"] = name
    made["spec"] |= {field: release(site)["spec"][field] for field in kept}
    made["spec"]["templates"][0]["container"] |= {
        "image": image, "command": begins, "args": ["-c", AUTHOR], "env": [],
        **{field: rendered_step[field] for field in ("resources", "securityContext")},
    }  # fmt: skip
    site.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(made))
    assert wait_for(lambda: start(site, name) == "", 30), start(site, name)
    run = {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": f"{name}-"},
        "spec": {"workflowTemplateRef": {"name": name}},
    }  # fmt: skip
    submitter = f"--kubeconfig={site.account(SUBMITTER)}"
    made_run = site.kubectl("create", "-f", "-", "-o", "name", submitter, given=yaml.safe_dump(run))
    return site.wait(made_run.strip().split("/")[-1])


def left_by(site: Site, run: Manifest) -> bytes:
    """Return what is in the bucket of a run's only output; empty if nothing is."""
    client, prefix = services.store().client(), f"lockgate/{site.namespace}/{run['metadata']['uid']}/"
    found = client.list_objects_v2(Bucket=place.BUCKET, Prefix=prefix).get("Contents", ())
    return b"".join(client.get_object(Bucket=place.BUCKET, Key=each["Key"])["Body"].read() for each in found)


@pytest.mark.sample
def test_a_models_own_step_leaves_no_link_that_argo_follows(attacked: Site, own_image: str) -> None:
    command = template(release(attacked), OWN_GATE)["container"]["command"]
    ended = own_code(attacked, own_image, command[: command.index("-m")], "leaves-a-link")
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    assert json.loads(left_by(attacked, ended)) == ["PermissionError"] * 4


@pytest.mark.sample
def test_an_operator_hides_no_run(attacked: Site) -> None:
    def labelled(name: str, value: str | None) -> str:
        change = json.dumps({"metadata": {"labels": {name: value}}})
        return failed(attacked, "patch", "workflow", "labelled", "--type=merge", "-p", change, operator)

    operator = f"--kubeconfig={attacked.account(OPERATOR)}"
    run = {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {"name": "labelled", "labels": release(attacked)["metadata"]["labels"]},
        "spec": {"workflowTemplateRef": {"name": release(attacked)["metadata"]["name"]}},
    }  # fmt: skip
    attacked.kubectl("create", "-f", "-", given=yaml.safe_dump(run))
    for name in ("part-of", "name", "component", "managed-by"):
        for value in (None, "other"):
            assert "may not change" in labelled(f"app.kubernetes.io/{name}", value), name
    assert "may not change" in labelled("lockgate.io/project", "other")
    stop = json.dumps({"spec": {"shutdown": "Stop"}, "metadata": {"labels": {"team": "a"}}})
    attacked.kubectl("patch", "workflow", "labelled", "--type=merge", "-p", stop, operator)


# The templates that a run brings --------------------------------------------------------------------------------------


def brought(site: Site, name: str, change: Change = lambda found: None, prefix: str = "namespaced") -> str:
    """Return why a submitter cannot start a run with the release's templates in its status, as `argo` sends them."""
    found = copy.deepcopy(release(site))
    change(found)
    stored = {f"{prefix}/{name}/{each['name']}": each for each in found["spec"]["templates"]}
    return start(site, name, status={"storedTemplates": stored})


@pytest.mark.sample
def test_a_run_brings_only_the_templates_that_are_rendered(attacked: Site) -> None:
    name = release(attacked)["metadata"]["name"]
    assert brought(attacked, name) == ""
    assert "Lockgate: " in brought(attacked, name, prefix="cluster")
    for change in (other_command, leaves("the key", parameters=parameter(KEY)), key_for_train):
        assert "Lockgate: " in brought(attacked, name, change), change.__name__


@pytest.mark.sample
def test_a_run_brings_no_templates_in_the_name_of_one_that_does_not_exist_yet(attacked: Site) -> None:
    """As while the owner applies a WorkflowTemplate whose name the commit tells: the API server notices it later."""
    assert "only a run of a template that is rendered now" in brought(
        attacked, "grants-release-00000000", other_command
    )
    name = release(attacked)["metadata"]["name"]
    attacked.kubectl("delete", "workflowtemplate", name)
    try:
        assert "Lockgate: " in brought(attacked, name, other_command)
        assert brought(attacked, name) == ""
    finally:
        attacked.apply()
    assert wait_for(lambda: start(attacked, name) == "", 30)


CONTROLLER = ("--as=system:serviceaccount:argo:argo", "--as-group=system:masters")


@pytest.mark.sample
def test_the_containers_and_labels_of_a_pod_with_a_key_do_not_change(attacked: Site) -> None:
    made = pod(volumes=[key(GATE)])
    made["metadata"] |= {"name": "keeps", "labels": {"app.kubernetes.io/component": GATE}}
    made["spec"]["initContainers"] = [{**made["spec"]["containers"][0], "name": "init"}]
    assert wait_for(lambda: _created(attacked, made), 30)  # until the namespace's quota is known
    for patch_of in (
        {"spec": {"initContainers": [{"name": "init", "image": "evil.example.org/x"}]}},
        {"spec": {"containers": [{"name": "main", "image": "evil.example.org/x"}]}},
        {"metadata": {"labels": {"app.kubernetes.io/component": "fetch"}}},
        {"metadata": {"labels": {"app.kubernetes.io/component": None}}},
        {"metadata": {"labels": {"lockgate.io/bundle": LIVE}}},
    ):
        arguments = ("patch", "pod", "keeps", "--type=strategic", "--dry-run=server", "-p", json.dumps(patch_of))
        assert "Lockgate: " in failed(attacked, *arguments), patch_of
    done = json.dumps({"metadata": {"labels": {"workflows.argoproj.io/completed": "true"}}})
    attacked.kubectl("patch", "pod", "keeps", "--type=merge", "-p", done, *CONTROLLER)
    served = pod()
    served["metadata"] |= {"labels": {**SERVED, "lockgate.io/bundle": LIVE}}
    create = ("create", "--dry-run=server", "-f", "-", *CONTROLLER)
    assert "the label of a served version" in failed(attacked, *create, given=yaml.safe_dump(served))


def _created(site: Site, manifest: Manifest) -> bool:
    try:
        site.kubectl("create", "-f", "-", *CONTROLLER, given=yaml.safe_dump(manifest))
    except subprocess.CalledProcessError as error:
        if "status unknown for quota" not in error.stderr:
            raise
        return False
    return True


def pod(**spec: object) -> Manifest:
    locked = {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    main = {"name": "main", "image": f"registry.example.org/lockgate/bias-audit@{DIGEST}", "securityContext": locked}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [main], **spec}}


@pytest.mark.sample
@pytest.mark.parametrize("spec", [{"volumes": [key(GATE)]}, {"serviceAccountName": PLATFORM}], ids=str)
def test_no_person_makes_a_pod_with_a_key_or_the_platforms_account(attacked: Site, spec: dict[str, object]) -> None:
    assert "only Argo's controller may create a pod" in said_by(attacked, pod(**spec))
    assert said_by(attacked, pod()) == ""


# X5: the platform's account -------------------------------------------------------------------------------------------


@pytest.mark.sample
def test_the_platform_changes_and_deletes_only_what_serves_a_model(attacked: Site) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "database"},
               "spec": {"selector": {"app": "database"}, "ports": [{"port": 5432}]}}  # fmt: skip
    attacked.kubectl("apply", "-f", "-", given=yaml.safe_dump(service))
    attacked.kubectl("create", "deployment", "database", "--image=example.org/database", "--replicas=0")
    who = f"--kubeconfig={attacked.account(PLATFORM)}"
    patch = json.dumps({"spec": {"selector": {"app.kubernetes.io/component": "model-server"}}})
    denied = (
        ("patch", "service", "database", "--type=merge", "-p", patch),
        ("delete", "deployment", "database", "--wait=false"),
        ("create", "service", "clusterip", "other", "--tcp=80"),
    )
    for arguments in denied:
        assert "Lockgate: " in failed(attacked, *arguments, who), arguments


LIVE = "0123456789ab"


def written(images: dict[str, str], bundle: str = LIVE) -> dict[str, Manifest]:
    """Return the objects of a version and its users' Service, as `deploy` and `promote` write them; kind -> object."""
    version = objects.Version("grants", f"sha256:{bundle}{'0' * 52}", images["model-server"], images["deploy"],
                              Serving(), "unclassified")  # fmt: skip
    deployment = objects.deployment(version, lease="now", replicas=2)
    owner = {"metadata": {"name": version.name, "uid": "5f0c1b1e-0000-4000-8000-000000000000"}}
    owned = {each["kind"]: each for each in objects.owned(version, owner)}
    spec = {"selector": objects.pods_of("grants", version.bundle), "ports": owned["Service"]["spec"]["ports"]}
    metadata = {"name": "grants", "labels": objects.labels_of("grants")}
    users = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    return {**owned, "Deployment": deployment, "users": users}


def as_platform(site: Site, manifest: Manifest) -> str:
    """Return why the platform's account may not write an object; empty if it may."""
    arguments = ("apply", "--server-side", "--dry-run=server", "-f", "-", f"--kubeconfig={site.account(PLATFORM)}")
    try:
        site.kubectl(*arguments, given=yaml.safe_dump(manifest))
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return ""


def of_pod(*path: str | int, value: object) -> Change:
    def change(found: Manifest) -> None:
        made: Any = found["spec"]["template"]["spec"]
        for name in path[:-1]:
            made = made[name]
        made[path[-1]] = value

    change.__name__ = "pod." + ".".join(map(str, path))
    return change


def pod_labels(**more: str) -> Change:
    def change(found: Manifest) -> None:
        found["spec"]["template"]["metadata"]["labels"] |= more

    change.__name__ = f"labels {more}"
    return change


def another_model(found: Manifest) -> None:
    """Another name in the namespace's DNS, e.g. that of a database."""
    for labels in (found["metadata"]["labels"], found["spec"]["selector"]):
        labels["app.kubernetes.io/name"] = "mlflow"
    found["metadata"]["name"] = "mlflow"


def more_env(found: Manifest) -> None:
    source = {"configMapKeyRef": {"name": "kube-root-ca.crt", "key": "ca.crt"}}
    found["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "X", "valueFrom": source})


SERVER, PULL = ("containers", 0), ("initContainers", 0)
TAKEN: list[tuple[str, Change]] = [
    ("Deployment", of_pod(*SERVER, "image", value=EVIL)),
    ("Deployment", of_pod(*SERVER, "image", value="registry.example.org/lockgate/model-server:latest@sha256:short")),
    ("Deployment", of_pod(*SERVER, "command", value=["python", "-c", "x"])),
    ("Deployment", of_pod(*SERVER, "lifecycle", value={"postStart": {"exec": {"command": ["x"]}}})),
    ("Deployment", of_pod(*SERVER, "ports", 0, "containerPort", value=9091)),
    ("Deployment", of_pod(*SERVER, "ports", 1, "hostPort", value=9090)),
    ("Deployment", of_pod(*PULL, "ports", value=[{"name": "more", "containerPort": 9999}])),
    ("Deployment", of_pod(*PULL, "image", value=EVIL)),
    ("Deployment", of_pod(*PULL, "command", value=["cat"])),
    ("Deployment", of_pod(*PULL, "restartPolicy", value="Always")),
    ("Deployment", of_pod("hostAliases", value=[{"ip": "203.0.113.1", "hostnames": ["s3.example.org"]}])),
    ("Deployment", of_pod("imagePullSecrets", value=[{"name": "lockgate-key-promote"}])),
    ("Deployment", more_env),
    ("Deployment", pod_labels(app="mlflow")),
    ("Deployment", pod_labels(**{"workflows.argoproj.io/workflow": "x"})),
    ("Deployment", put("metadata", "ownerReferences", value=[
        {"apiVersion": "v1", "kind": "Service", "name": "x", "uid": "5f0c1b1e-0000-4000-8000-000000000000"}])),
    ("HorizontalPodAutoscaler", put("spec", "scaleTargetRef", "name", value="mlflow")),
    ("PodDisruptionBudget", put("spec", "selector", value={})),
    ("PodDisruptionBudget", put("spec", "maxUnavailable", value=0)),
    ("users", another_model),
    ("users", put("spec", "selector", "lockgate.io/bundle", value="")),
    ("users", put("spec", "ports", value=[{"port": 8080, "targetPort": 9999}])),
    ("users", put("spec", "ports", value=[{"port": 8080, "targetPort": "metrics"}])),
    ("users", put("spec", "externalIPs", value=["203.0.113.1"])),
    ("Service", put("spec", "selector", "lockgate.io/bundle", value="ba9876543210")),
]  # fmt: skip


@pytest.mark.sample
@pytest.mark.parametrize(("what", "change"), TAKEN, ids=lambda value: getattr(value, "__name__", value))
def test_the_platforms_account_serves_this_projects_models_and_nothing_else(
    attacked: Site, what: str, change: Change
) -> None:
    made = copy.deepcopy(written(IMAGES)[what])
    change(made)
    assert "Lockgate: " in as_platform(attacked, made)


@pytest.mark.sample
def test_the_platforms_account_writes_what_deploy_and_promote_write(attacked: Site) -> None:
    for made in written(IMAGES).values():
        assert as_platform(attacked, made) == "", made["kind"]
    earlier = {**IMAGES, "model-server": IMAGES["model-server"].replace("0" * 64, "1" * 64)}
    assert as_platform(attacked, written(earlier)["Deployment"]) == "", "a live version is restored in its own image"


def failed(site: Site, *arguments: str, given: str | None = None) -> str:
    """Return why a call of kubectl failed."""
    with pytest.raises(subprocess.CalledProcessError) as error:
        site.kubectl(*arguments, given=given)
    return str(error.value.stderr)


# C1: an earlier policy ------------------------------------------------------------------------------------------------


def start(site: Site, name: str, **more: object) -> str:
    """Return why a submitter cannot start a run of a template; empty if the API server would accept it."""
    run = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "adversary-"},
        "spec": {"workflowTemplateRef": {"name": name}},
        **more,
    }
    return refused_run(site, run)


def refused_run(site: Site, run: Manifest) -> str:
    """Return why a submitter cannot create a run; empty if the API server would accept it."""
    arguments = ("create", "--dry-run=server", "-f", "-", f"--kubeconfig={site.account(SUBMITTER)}")
    try:
        site.kubectl(*arguments, given=yaml.safe_dump(run))
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return ""


@pytest.mark.sample
def test_the_template_of_an_earlier_policy_starts_no_run(attacked: Site) -> None:
    before = release(attacked)["metadata"]["name"]
    assert wait_for(lambda: start(attacked, before) == "", 60), start(attacked, before)
    policy = attacked.root / "pipelines" / attacked.model / "policy.toml"
    policy.write_text(policy.read_text().replace("at_most = 0.25", "at_most = 0.05"))
    attacked.lockgate("render").expect(0)
    attacked.apply()
    after = release(attacked)["metadata"]["name"]
    assert before != after
    assert wait_for(lambda: "is not current" in start(attacked, before), 60)
    # Whatever its labels say, it has keys.
    part = "app.kubernetes.io/part-of"
    attacked.kubectl("label", "workflowtemplate", before, f"{part}-")
    assert "part-of" not in attacked.kubectl("get", "workflowtemplate", before, "-o", "jsonpath={.metadata.labels}")
    time.sleep(2)  # until the policies see it too
    assert "is not current" in start(attacked, before)
    assert before in doctor(attacked)["templates"]["fix"]
    attacked.kubectl("label", "workflowtemplate", before, f"{part}=lockgate")
    assert wait_for(lambda: start(attacked, after) == "", 60), start(attacked, after)
    said = attacked.kubectl("get", "configmap", "lockgate-environment", "-o", "jsonpath={.data.current\\.json}")
    assert json.loads(said)["models"][attacked.model]["templates"][0] == after
    found = doctor(attacked)["templates"]["found"]
    removal = re.search(r"remove: kubectl (delete workflowtemplate .*)$", found)
    assert removal and before in removal[1] and after not in removal[1], found


def doctor(site: Site) -> dict[str, Any]:
    said = site.lockgate("doctor", "--cluster", "--json", "--for-tests", more={"SSL_CERT_FILE": str(site.cluster.ca)})
    return dict(json.loads(said.done.out))


# C2: additions on the cluster -----------------------------------------------------------------------------------------


@pytest.mark.sample
def test_doctor_names_an_exception_in_a_policy_and_a_field_that_was_added(attacked: Site) -> None:
    assert doctor(attacked)["manifests"]["well"], doctor(attacked)["manifests"]
    assert doctor(attacked)["workflows"]["well"], doctor(attacked)["workflows"]
    policies = attacked.kubectl("get", "validatingadmissionpolicies", "-o", "name").split()
    names = ("runs", "programs", "rendered-grants")
    runs, *others = (next(p for p in policies if f"/lockgate-{name}.{NAMESPACE}." in p) for name in names)
    rule = {"apiGroups": ["argoproj.io"], "apiVersions": ["*"], "operations": ["*"], "resources": ["workflows"]}
    patch(attacked, runs, {"spec": {"matchConstraints": {"excludeResourceRules": [rule]}}})
    # As on a cluster without these policies: then only doctor finds the added fields.
    attacked.kubectl("delete", "validatingadmissionpolicybinding", *(each.split("/")[1] for each in others))
    name = release(attacked)["metadata"]["name"]
    hook = {"spec": {"hostNetwork": True, "hooks": {"exit": {"template": "train"}}}}
    try:
        assert wait_for(lambda: patched(attacked, f"workflowtemplate/{name}", hook), 60)
        strange = changed(attacked, key_for_train, "strange")
        del strange["metadata"]["labels"]
        attacked.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(strange))
        # No policy kept it out, but none lets it start.
        assert wait_for(lambda: "is not current" in start(attacked, "strange"), 30)
        found = doctor(attacked)
    finally:
        attacked.kubectl("delete", "workflowtemplate", "strange", "--ignore-not-found")
        for what in ("-k", "kubernetes"), ("-f", f"workflows/{attacked.model}"):  # as doctor says
            attacked.kubectl("apply", "--server-side", "--force-conflicts", what[0], str(attacked.root / what[1]))
    assert not found["templates"]["well"] and "strange" in found["templates"]["fix"]
    assert not found["manifests"]["well"] and not found["workflows"]["well"]
    assert f"lockgate-runs.{NAMESPACE}" in found["manifests"]["found"]
    assert "excludeResourceRules" in found["manifests"]["found"]
    assert name in found["workflows"]["found"] and "spec.hooks" in found["workflows"]["found"]
    assert doctor(attacked)["manifests"]["well"] and doctor(attacked)["workflows"]["well"]
    assert wait_for(lambda: said_by(attacked, changed(attacked, put("spec", "hostNetwork", value=True))) != "", 60)


def patch(site: Site, what: str, change: Manifest) -> None:
    site.kubectl("patch", what, "--type=merge", "-p", json.dumps(change))


def patched(site: Site, what: str, change: Manifest) -> bool:
    try:
        patch(site, what, change)
    except subprocess.CalledProcessError:
        return False
    return True


# C4: another project --------------------------------------------------------------------------------------------------


@pytest.mark.sample
def test_another_projects_apply_changes_nothing(attacked: Site, tmp_path: Path) -> None:
    trust = "jsonpath={.data.trust\\.json}"
    before = attacked.kubectl("get", "configmap", "lockgate-environment", "-o", trust)
    second = Site(attacked.cluster, workshop.Project.make(tmp_path / "tenant").root, NAMESPACE, "grants")
    settings = ("--set", f"store=s3://{place.BUCKET}/tenant", "--set", f"endpoint={place.S3}")
    second.lockgate("render", "--kubernetes", "--namespace", NAMESPACE, *settings).expect(0)
    try:
        for folder in ("kubernetes", ".lockgate/kubernetes"):
            arguments = ("apply", "--server-side", "--force-conflicts", "-k", str(second.root / folder))
            assert "belongs to the project" in failed(second, *arguments)
        assert attacked.kubectl("get", "configmap", "lockgate-environment", "-o", trust) == before
        found = doctor(second)["project"]
        assert not found["well"] and "belongs to the project adversary" in found["found"], found
        assert "another project's apply left policies" in doctor(attacked)["project"]["found"]
        # They judge nothing here: not a run, and not what the owner applies.
        time.sleep(3)  # until the API server has noticed them
        assert start(attacked, release(attacked)["metadata"]["name"]) == ""
        attacked.kubectl("apply", "--server-side", "-k", str(attacked.root / "kubernetes"))
        assert "belongs to the project" in failed(second, "label", "namespace", NAMESPACE, "--overwrite",
                                                  "lockgate.io/project=tenant")  # fmt: skip
    finally:
        for document in yaml.safe_load_all((second.root / "kubernetes" / "policy.yaml").read_text()):
            attacked.kubectl("delete", document["kind"], document["metadata"]["name"], "--ignore-not-found")
    assert doctor(attacked)["project"]["well"]


# What serves ----------------------------------------------------------------------------------------------------------


def moved(site: Site, **change: object) -> None:
    patch(site, "service/grants", change)


def other_pod(site: Site, made: Manifest) -> None:
    found = copy.deepcopy(made)
    found["metadata"]["name"] = "other"
    found["spec"]["containers"][0]["image"] = EVIL
    site.kubectl("create", "-f", "-", given=yaml.safe_dump(found))


@pytest.mark.sample
def test_verify_looks_at_what_users_reach(attacked: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(attacked.cluster.kubeconfig))
    bench = Bench(tmp_path / "bench", "grants")
    proven = verify_bundle(judged_in(bench, IMAGES["model-server"]), bench.trust, now=None)
    bench.live(proven.digest)
    bench.live(proven.digest, 2)
    first, live = (prove(bench, generation) for generation in (1, 2))
    settings = Settings.read(attacked.root / "kubernetes" / "settings.toml")
    connection = connect(None, NAMESPACE)
    users = Users(ClusterObjects(connection, settings))
    digits = proven.digest.removeprefix("sha256:")[:12]
    service = written(IMAGES, digits)["users"]
    notes = {"generation": "2", "promotion": live.digest, "bundle": proven.digest}
    service["metadata"]["annotations"] = {f"lockgate.io/{name}": value for name, value in notes.items()}
    served = pod()
    served["metadata"] = {"name": "serves", "labels": service["spec"]["selector"]}
    served["spec"]["containers"][0] |= {"name": "model-server", "image": IMAGES["model-server"]}
    with connection.client:
        with pytest.raises(ProofError, match="Service grants does not exist"):
            users.check(proven, live)
        for made in (service, served):
            attacked.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(made))
        try:
            assert users.check(proven, live) == 1
            assert users.accepted("grants") == live.accepted
            with pytest.raises(ProofError, match="follows generation 2, not 1"):  # a store that was rolled back
                users.check(proven, first)
            for change, says in (
                ({"selector": {"lockgate.io/bundle": LIVE}}, "selects"),
                ({"ports": [{"name": "http", "port": 8080, "targetPort": 9999}]}, "the ports"),
                ({"externalIPs": ["203.0.113.1"]}, "outside the cluster"),
            ):
                moved(attacked, spec=change)
                with pytest.raises(ProofError, match=says):
                    users.check(proven, live)
                attacked.kubectl("replace", "-f", "-", given=yaml.safe_dump(service))
            other_pod(attacked, served)
            with pytest.raises(ProofError, match="pod other runs evil"):
                users.check(proven, live)
        finally:
            attacked.kubectl(
                "delete", "service/grants", "pod/serves", "pod/other", "--ignore-not-found", "--wait=false"
            )


def judged_in(bench: Bench, image: str) -> Path:
    """Return a bundle whose answers were given in an image."""

    def alter(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        found = verify(folder / "answers.json", bench.trust, signer="predict")
        said = {**found.predicate, "program": {"name": "predict", "image": image}}
        (folder / "answers.json").write_bytes(canonical(sign("answers", found.subjects, said, bench.keys["predict"])))

    return bench.bundle(alter=alter)


def prove(bench: Bench, generation: int) -> Promotion:
    return read_promotion(canonical(bench.get(f"history/{generation}.json")), bench.trust, model="grants")


# C5: schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.sample
def test_a_schedule_that_argo_has_stopped_is_named(attacked: Site) -> None:
    name = f"{attacked.model}-retrain"
    found = doctor(attacked)["schedules"]
    assert found["well"] and f"{name} is active" in found["found"] and "; next 20" in found["found"], found
    label = "workflows.argoproj.io/cron-workflow-completed"
    attacked.kubectl("label", "cronworkflow", name, f"{label}=true")
    try:
        found = doctor(attacked)["schedules"]
        said = json.loads(attacked.lockgate("status", "-n", NAMESPACE, "--json").done.out)
    finally:
        attacked.kubectl("delete", "cronworkflow", name)
        attacked.apply()
    assert not found["well"] and f"{name} is stopped" in found["found"]
    assert f"kubectl delete cronworkflow -n {NAMESPACE} {name}" in found["fix"]
    (schedule,) = said["models"][attacked.model]["schedules"]
    assert (schedule["state"], schedule["next"]) == ("stopped", "")


# Runs: what a submitter may put into parameters and names -------------------------------------------------------------

BOMB = "{{=sprig.repeat(1000000000,'A')}}"
GIVEN = {"name": "data", "value": "s3://evidence/A.csv"}


def submitted(site: Site, parameters: object, name: str = "") -> str:
    """Return why the API server refuses a submitter's run; empty if it would accept it."""
    run = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name} if name else {"generateName": "adversary-"},
        "spec": {
            "workflowTemplateRef": {"name": release(site)["metadata"]["name"]},
            "arguments": {"parameters": parameters},
        },
    }
    return refused_run(site, run)


HOSTILE_PARAMETERS: dict[str, tuple[object, str]] = {
    "expression": ([{"name": "data", "value": BOMB}], "Argo's controller would evaluate it"),
    "tag": ([{"name": "data", "value": "s3://x/{{pod.name}}"}], "Argo's controller would evaluate it"),
    "half a tag": ([GIVEN, {"name": "seed", "value": "{{"}], "Argo's controller would evaluate it"),
    "twice": ([GIVEN, {"name": "data", "value": "s3://evidence/B.csv"}], "a unique name"),
    "undeclared": ([GIVEN, {"name": "other", "value": "x"}], "that its WorkflowTemplate declares"),
    "no name": ([GIVEN, {"value": "x"}], "Lockgate: "),  # by two rules
    "no value": ([{"name": "data"}], "a unique name and a value"),
    "an object as name": ([{"name": {"a": "b"}, "value": "x"}], "Lockgate: "),
    "a number as value": ([{"name": "seed", "value": 5}], "both text"),
    "a text": (["data"], "denied request"),
}


@pytest.mark.sample
@pytest.mark.parametrize("hostile", HOSTILE_PARAMETERS)
def test_a_parameter_is_declared_once_and_is_no_expression(attacked: Site, hostile: str) -> None:
    parameters, why = HOSTILE_PARAMETERS[hostile]
    assert why in submitted(attacked, parameters)


def test_an_ordinary_run_is_accepted(attacked: Site) -> None:
    assert wait_for(lambda: submitted(attacked, [GIVEN, {"name": "seed", "value": "7"}]) == "", 60)
    braces = [{"name": "data", "value": "s3://evidence/{a}-%7B{.csv"}]
    for name in ("adversary-20261130", "adversary-0b1f2c3d-123456789012"):  # as an event names its run
        assert submitted(attacked, braces, name) == ""


@pytest.mark.sample
def test_a_submitter_cannot_take_the_name_of_a_scheduled_run(attacked: Site) -> None:
    said = submitted(attacked, [GIVEN], f"{attacked.model}-retrain-1796058600")
    assert "is that of a scheduled run" in said


def schedule(site: Site, **fields: object) -> Manifest:
    path = site.root / "workflows" / site.model / "retrain.yaml"
    made: Manifest = yaml.safe_load(path.read_bytes())
    made["spec"] |= fields
    return made


def test_a_schedule_gives_the_controller_no_expression(attacked: Site) -> None:
    assert said_by(attacked, schedule(attacked, schedules=["0 4 * * *"], suspend=True)) == ""
    reference = schedule(attacked)["spec"]["workflowSpec"]
    for parameters in ([{"name": "data", "value": BOMB}], [GIVEN, GIVEN], [{"value": "x"}]):
        spec = {**reference, "arguments": {"parameters": parameters}}
        assert "Lockgate: " in said_by(attacked, schedule(attacked, workflowSpec=spec)), parameters
    for field, value in (("when", "{{= 1 == 1 }}"), ("stopStrategy", {"expression": "true"})):
        assert "when its runs start" in said_by(attacked, schedule(attacked, **{field: value})), field


def on_event(site: Site, change: Change) -> Manifest:
    path = site.root / "workflows" / site.model / "on-registry-event.yaml"
    made: Manifest = yaml.safe_load(path.read_bytes())
    change(made["spec"])
    return made


CALL = "sprig.repeat(1000000000, 'A')"


@pytest.mark.parametrize("change", [
    put("event", "selector", value=f"{CALL} != ''"),
    put("submit", "metadata", "name", value=CALL),
    put("submit", "metadata", "labels", value={"a": CALL}),
    put("submit", "arguments", "parameters", value=[{"name": "version", "valueFrom": {"event": CALL}}]),
], ids=lambda change: change.__name__)  # fmt: skip
def test_an_event_gives_the_argo_server_no_call(attacked: Site, change: Change) -> None:
    assert said_by(attacked, on_event(attacked, lambda spec: None)) == ""
    assert "expressions without a call" in said_by(attacked, on_event(attacked, change))


# What deploy staged ---------------------------------------------------------------------------------------------------


def test_an_address_that_deploy_did_not_sign_is_not_called(released: Site) -> None:
    """Whoever can write the store replaces the candidate's address while the run is in progress."""
    client, before = services.store().client(), released.live()
    run = released.submit(seed=21)
    outputs = f"lockgate/{released.namespace}/{released.workflow(run)['metadata']['uid']}"
    staged = {"Bucket": place.BUCKET, "Key": f"{outputs}/deploy/staged"}

    def replaced() -> bool:
        try:
            envelope = json.loads(client.get_object(**staged)["Body"].read())
        except client.exceptions.NoSuchKey:
            return False
        said = json.loads(base64.b64decode(envelope["payload"]))
        said["predicate"].update(address=place.S3, replicas=1)
        envelope["payload"] = base64.b64encode(canonical(said)).decode()
        client.put_object(**staged, Body=canonical(envelope))
        return True

    assert wait_for(replaced, 600), account(released.workflow(run))
    ended = released.wait(run, 900)
    assert [node["outputs"]["exitCode"] for node in pods(ended, "smoke-test")] == ["3"], account(ended)
    assert list(pods(ended, "promote")) == []
    verdict = client.list_objects_v2(Bucket=place.BUCKET, Prefix=f"{outputs}/smoke-test/verdict")
    assert (ended["status"]["phase"], verdict["KeyCount"]) == ("Failed", 0)
    assert released.live() == before


@pytest.mark.parametrize("program", ["smoke-test", "promote", "train"])
def test_the_key_of_deploy_is_its_own(attacked: Site, program: str) -> None:
    def take(found: Manifest) -> None:
        template(found, program)["volumes"] = [key("deploy")]

    assert "Lockgate: keys, the platform's account" in said_by(attacked, changed(attacked, take))
