"""Attacks on a namespace by people who may apply templates, submit, or own another project: the API server refuses.

The images are never run: the site names images that do not exist, so what a test starts ends without a pod.
"""

import copy
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.cluster.manifests.accounts import PLATFORM
from lockgate.definition.catalog import Catalog
from tests import workshop
from tests.cluster import place
from tests.cluster.cluster import Cluster
from tests.cluster.processes import wait_for
from tests.cluster.site import SUBMITTER, Site

NAMESPACE = "lockgate-adversary"
Manifest = dict[str, Any]
Change = Callable[[Manifest], object]
DIGEST = f"sha256:{'0' * 64}"
GATE = "bias-audit"


@pytest.fixture(scope="module")
def attacked(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project on the cluster, with references of images that nobody has pushed."""
    images = {p.image: f"registry.example.org/lockgate/{p.image}@{DIGEST}" for p in Catalog.find().programs.values()}
    site = Site.make(cluster, tmp_path_factory.mktemp("adversary"), NAMESPACE, images)
    hostile = changed(site, lambda found: found["spec"].update(hostNetwork=True))
    # The API server needs a while to notice a policy.
    assert wait_for(lambda: said_by(site, hostile) != "", 60), "the applied policies deny nothing"
    yield site
    site.kubectl("delete", "-k", str(site.root / "kubernetes"), "--ignore-not-found", "--timeout=120s")


def said_by(site: Site, manifest: Manifest, *options: str) -> str:
    """Return why the API server refuses to apply an object as the administrator; empty if it accepts it."""
    arguments = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", *options, "-f", "-")
    try:
        site.kubectl(*arguments, given=yaml.safe_dump(manifest))
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return ""


def release(site: Site) -> Manifest:
    path = site.root / "workflows" / site.model / "release.yaml"
    return dict(yaml.safe_load(path.read_bytes()))


def changed(site: Site, change: Change) -> Manifest:
    """Return the release as an attacker changes it, under a name of its own."""
    made = copy.deepcopy(release(site))
    made["metadata"]["name"] = "hostile"
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


OTHER = [{"name": "x", "image": "x"}]
HOSTILE: list[Change] = [
    replaced_gate, same_name_other_registry, unbuilt, public_name, other_command, foreign_code, code_over_code,
    key_for_train, another_key, key_for_all, key_in_environment, key_as_credentials, account_for_train, account_for_all,
    store_for_train, inline,
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
    assert "Lockgate: " in said_by(attacked, changed(attacked, change))


def test_the_rendered_templates_and_an_overlay_are_accepted(attacked: Site) -> None:
    assert said_by(attacked, changed(attacked, lambda found: None)) == ""
    assert said_by(attacked, changed(attacked, put("spec", "nodeSelector", value={"pool": "models"}))) == ""


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


def failed(site: Site, *arguments: str, given: str | None = None) -> str:
    """Return why a call of kubectl failed."""
    with pytest.raises(subprocess.CalledProcessError) as error:
        site.kubectl(*arguments, given=given)
    return str(error.value.stderr)


# C1: an earlier policy ------------------------------------------------------------------------------------------------


def start(site: Site, name: str) -> str:
    """Return why a submitter cannot start a run of a template; empty if the API server would accept it."""
    run = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "adversary-"},
        "spec": {"workflowTemplateRef": {"name": name}},
    }
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
    runs, programs = (next(p for p in policies if f"/lockgate-{n}.{NAMESPACE}." in p) for n in ("runs", "programs"))
    rule = {"apiGroups": ["argoproj.io"], "apiVersions": ["*"], "operations": ["*"], "resources": ["workflows"]}
    patch(attacked, runs, {"spec": {"matchConstraints": {"excludeResourceRules": [rule]}}})
    # As on a cluster without this policy: then only doctor finds the added fields.
    attacked.kubectl("delete", "validatingadmissionpolicybinding", programs.split("/")[1])
    name = release(attacked)["metadata"]["name"]
    hook = {"spec": {"hostNetwork": True, "hooks": {"exit": {"template": "train"}}}}
    try:
        assert wait_for(lambda: patched(attacked, f"workflowtemplate/{name}", hook), 60)
        found = doctor(attacked)
    finally:
        for what in ("-k", "kubernetes"), ("-f", f"workflows/{attacked.model}"):  # as doctor says
            attacked.kubectl("apply", "--server-side", "--force-conflicts", what[0], str(attacked.root / what[1]))
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
    finally:
        for document in yaml.safe_load_all((second.root / "kubernetes" / "policy.yaml").read_text()):
            attacked.kubectl("delete", document["kind"], document["metadata"]["name"], "--ignore-not-found")
    assert doctor(attacked)["project"]["well"]


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
    arguments = ("create", "--dry-run=server", "-f", "-", f"--kubeconfig={site.account(SUBMITTER)}")
    try:
        site.kubectl(*arguments, given=yaml.safe_dump(run))
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return ""


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
