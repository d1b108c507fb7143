"""A cluster's manifests: rendered files agree with their source; for each rule, a mutated set breaks only that one."""

import copy
import json
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import codecs
from lockgate_proof import Trust, sign, verify

from lockgate.cluster.manifests.controller import ADVISED, REQUIRED, configuration, flaws, read
from lockgate.cluster.manifests.files import cluster_files
from lockgate.cluster.manifests.monitoring import GROUP as MONITORING
from lockgate.cluster.manifests.network import documents as network
from lockgate.cluster.manifests.rules import RULES, broken
from lockgate.cluster.manifests.settings import ARGO, Cluster
from lockgate.cluster.prepare import prepare
from lockgate.commands.render import render_project
from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.errors import BadCall, LockgateError, NotRendered
from tests import workshop
from tests.gates import SIGNER, add_gate

EXAMPLE = Path(__file__).resolve().parent / "example"
Manifest = dict[str, Any]
TOLD = {"store": "s3://lockgate/models", "endpoint": "https://s3.example.org"}


def manifests(folder: Path = EXAMPLE / "kubernetes") -> list[Manifest]:
    """Return every object of a rendered folder."""
    files = [p for p in sorted(folder.rglob("*.yaml")) if p.name != "kustomization.yaml"]
    return [document for path in files for document in yaml.safe_load_all(path.read_bytes())]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    (tmp_path / "pipelines").mkdir()
    return Project(tmp_path)


def test_the_example_agrees_with_its_source() -> None:
    render_project(Project(EXAMPLE), [], check=True)


def test_a_changed_setting_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "kubernetes" / "environment" / "store").write_text("s3://another/models\n")
    with pytest.raises(NotRendered, match=r"kubernetes/artifacts\.yaml"):
        render_project(Project(tmp_path), [], check=True)


def test_runs_leave_a_part_of_the_quota_to_what_serves() -> None:
    """A served version has no deadline, so the quota of pods with a deadline is of runs alone."""
    total, of_runs = (named(manifests(), "ResourceQuota", name)["spec"] for name in ("lockgate", "lockgate-runs"))
    assert of_runs["scopes"] == ["Terminating"]
    assert of_runs["hard"].keys() == {"limits.memory", "pods", "requests.cpu", "requests.memory"}
    for resource, most in of_runs["hard"].items():
        assert int(most.removesuffix("Gi")) * 4 == int(total["hard"][resource].removesuffix("Gi")) * 3


def test_each_object_is_one_that_kubernetes_knows() -> None:
    """Read each object with the types of lightkube, which drop unknown fields."""
    for manifest in manifests():
        # Not the patch of the controller's Deployment, and not what test_monitoring.py checks.
        if manifest["kind"] != "Deployment" and not manifest["apiVersion"].startswith(MONITORING):
            known: Any = codecs.from_dict(manifest)
            assert known.to_dict() == manifest


def test_all_files_are_applied_and_no_others() -> None:
    folder = EXAMPLE / "kubernetes"
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_bytes())
    assert set(kustomization["resources"]) == {p.name for p in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert kustomization["generatorOptions"]["disableNameSuffixHash"] is True, "workflows use these names unchanged"


def named(found: list[Manifest], kind: str, name: str) -> Manifest:
    return next(m for m in found if m["kind"] == kind and m["metadata"]["name"].startswith(name))


def put(kind: str, name: str, *path: str, value: object) -> Callable[[list[Manifest]], None]:
    def mutate(found: list[Manifest]) -> None:
        place = named(found, kind, name)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return mutate


def drop(kind: str, name: str, *path: str) -> Callable[[list[Manifest]], None]:
    def mutate(found: list[Manifest]) -> None:
        place = named(found, kind, name)
        if not path:
            found.remove(place)
            return
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return mutate


def right(role: str, resource: str, *verbs: str) -> Callable[[list[Manifest]], None]:
    def mutate(found: list[Manifest]) -> None:
        group = "argoproj.io" if resource.startswith("workflow") else ""
        rule = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        named(found, "Role", role)["rules"].append(rule)

    return mutate


def cluster_role(found: list[Manifest]) -> None:
    role = copy.deepcopy(named(found, "Role", "lockgate-start-runs"))
    found.append({**role, "kind": "ClusterRole"})


def cluster_admin(found: list[Manifest]) -> None:
    named(found, "RoleBinding", "lockgate-start-runs")["roleRef"]["kind"] = "ClusterRole"


def another_token(found: list[Manifest]) -> None:
    token = copy.deepcopy(named(found, "Secret", "lockgate-executor"))
    token["metadata"]["annotations"]["kubernetes.io/service-account.name"] = "lockgate-platform"
    found.append(token)


def key_in_the_open(found: list[Manifest]) -> None:
    named(found, "ConfigMap", "artifact-repositories")["data"]["key"] = "-----BEGIN PRIVATE KEY-----"


def anybody_in(found: list[Manifest]) -> None:
    del named(found, "NetworkPolicy", "lockgate-model-server")["spec"]["ingress"][0]["from"]


def anything_out(found: list[Manifest]) -> None:
    named(found, "NetworkPolicy", "lockgate-store")["spec"]["egress"].append({})


def in_the_clear(found: list[Manifest]) -> None:
    data = named(found, "ConfigMap", "artifact-repositories")["data"]
    data["lockgate"] = data["lockgate"].replace("insecure: false", "insecure: true")


def loose_controller(found: list[Manifest]) -> None:
    named(found, "ConfigMap", "workflow-controller")["data"]["workflowRestrictions"] = "templateReferencing: Strict\n"


def root_executor(found: list[Manifest]) -> None:
    named(found, "ConfigMap", "workflow-controller")["data"]["executor"] = "imagePullPolicy: Always\n"


def unjudged(found: list[Manifest]) -> None:
    policy = named(found, "ValidatingAdmissionPolicy", "lockgate-runs")
    policy["spec"]["matchConstraints"]["resourceRules"][0]["operations"] = ["CREATE"]


_ENFORCE = "pod-security.kubernetes.io/enforce"
_VAP, _BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
MUTATIONS: list[tuple[str, Callable[[list[Manifest]], None]]] = [
    ("restricted", put("Namespace", "lockgate", "metadata", "labels", _ENFORCE, value="baseline")),
    ("one-namespace", drop("ServiceAccount", "lockgate-platform", "metadata", "namespace")),
    ("no-cluster-rights", cluster_role),
    ("no-cluster-rights", cluster_admin),
    ("least-rights", right("lockgate-serve-models", "*", "get")),
    ("least-rights", right("lockgate-watch-runs", "secrets", "get")),
    ("least-rights", right("lockgate-watch-runs", "pods", "create")),
    ("least-rights", right("lockgate-stop-runs", "workflowtemplates", "patch")),
    ("submitters-only-create", right("lockgate-start-runs", "workflows", "patch")),
    ("submitters-only-create", right("lockgate-watch-runs", "workflows", "delete")),
    ("no-tokens", drop("ServiceAccount", "lockgate-model-server", "automountServiceAccountToken")),
    ("no-tokens", another_token),
    ("no-tokens", drop("Secret", "lockgate-executor")),
    ("nothing-private", put("Secret", "lockgate-executor", "stringData", value={"token": "x"})),
    ("nothing-private", key_in_the_open),
    ("closed-network", drop("NetworkPolicy", "lockgate-deny-all")),
    ("closed-network", anybody_in),
    ("closed-network", anything_out),
    ("limited", drop("ResourceQuota", "lockgate")),
    ("limited", put("ResourceQuota", "lockgate", "spec", "hard", "services.nodeports", value="5")),
    ("limited", drop("ResourceQuota", "lockgate-runs")),
    ("limited", drop("ResourceQuota", "lockgate-runs", "spec", "scopes")),
    ("limited", put("ResourceQuota", "lockgate-runs", "spec", "scopes", value=["NotTerminating"])),
    ("limited", drop("LimitRange", "lockgate")),
    ("fail-closed", put(_VAP, "lockgate-runs", "spec", "failurePolicy", value="Ignore")),
    ("fail-closed", put(_BINDING, "lockgate-versions", "spec", "validationActions", value=["Warn"])),
    ("fail-closed", drop(_BINDING, "lockgate-triggers")),
    ("fail-closed", drop(_BINDING, "lockgate-runs", "spec", "matchResources")),
    ("fail-closed", unjudged),
    ("safe-artifacts", in_the_clear),
    ("safe-artifacts", drop("ConfigMap", "artifact-repositories", "metadata", "annotations")),
    ("secure-controller", loose_controller),
    ("secure-controller", root_executor),
    ("labelled", drop("Role", "lockgate-start-runs", "metadata", "labels")),
]


def test_what_is_rendered_breaks_no_rule() -> None:
    assert broken(manifests()) == []


@pytest.mark.parametrize(
    ("rule", "mutate"), MUTATIONS, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(MUTATIONS)]
)
def test_a_mutated_set_breaks_its_rule(rule: str, mutate: Callable[[list[Manifest]], None]) -> None:
    found = manifests()
    mutate(found)
    assert {line.split(":")[0] for line in broken(found)} == {rule}


def test_every_rule_has_a_mutation() -> None:
    assert {rule for rule, _ in MUTATIONS} == set(RULES)


# The settings --------------------------------------------------------------------------------------------------------


def test_the_first_time_makes_keys_that_sign_for_one_program_each(project: Project) -> None:
    notes = prepare(project, TOLD)
    cluster = Cluster(project)
    trust = Trust.read(cluster.environment / "trust.json")
    assert not trust.untrusted_elsewhere
    assert sorted(key.may for key in trust.keys) == sorted((name,) for name in Catalog.find().signers)
    for signer in Catalog.find().signers:
        key = cluster.private / f"lockgate-key-{signer}" / "private.pem"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        verify(sign("verdict", {}, {}, key), trust, signer=signer, kind="verdict")
    assert notes[:1] == [
        "fill .lockgate/kubernetes/lockgate-store/{access_key_id,secret_access_key}: the store's credentials"
    ]
    applied = yaml.safe_load((cluster.private / "kustomization.yaml").read_bytes())
    assert {g["name"] for g in applied["secretGenerator"]} == {p.name for p in cluster.private.iterdir() if p.is_dir()}
    assert all(g["namespace"] == cluster.settings.namespace for g in applied["secretGenerator"])


def test_an_additional_gate_has_its_own_key_and_only_its_image_may_mount_it(project: Project) -> None:
    made = workshop.Project.make(project.root / "own")
    add_gate(made.pipeline)
    names = {p.image for p in Catalog.find().programs.values()} | {"grants-calibration"}
    images = {name: f"registry.example.org/own/{name}@sha256:{'0' * 64}" for name in names}
    (made.root / "images").mkdir()
    (made.root / "images" / "images.lock.json").write_text(json.dumps(images))
    prepare(Project(made.root), TOLD)
    render_project(Project(made.root), [], check=False)
    cluster = Cluster(Project(made.root))
    (mine,) = (key for key in Trust.read(cluster.environment / "trust.json").keys if SIGNER in key.may)
    assert mine.may == (SIGNER,)
    assert (cluster.private / f"lockgate-key-{SIGNER}" / "private.pem").is_file()
    applied = yaml.safe_load((cluster.private / "kustomization.yaml").read_bytes())
    assert f"lockgate-key-{SIGNER}" in {generator["name"] for generator in applied["secretGenerator"]}
    current = json.loads((cluster.environment / "current.json").read_bytes())["models"]["grants"]
    assert current["images"]["calibration"] == images["grants-calibration"]
    policies = [m for m in manifests(made.root / "kubernetes") if m["kind"] == "ValidatingAdmissionPolicy"]
    # Only the policy that holds the rendered templates names its key, with its image.
    (rendered,) = (m for m in policies if SIGNER in json.dumps(m))
    assert images["grants-calibration"] in json.dumps(rendered)


def test_credentials_are_taken_from_where_tools_of_s3_look(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(project, TOLD)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "what")
    assert prepare(project, {"api_server": "10.0.0.1/32", "store_egress": "10.0.0.9/32"}) == []
    folder = Cluster(project).private / "lockgate-store"
    assert {p.name: p.read_text() for p in folder.iterdir()} == {"access_key_id": "who", "secret_access_key": "what"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else")
    prepare(project, {})
    assert (folder / "access_key_id").read_text() == "who", "existing credentials stay"


def test_a_second_time_changes_nothing(project: Project) -> None:
    prepare(project, TOLD)
    render_project(project, [], check=False)
    before = snapshot(project.root)
    prepare(project, {})
    render_project(project, [], check=True)
    assert snapshot(project.root) == before


def test_whoever_has_no_keys_makes_none_and_may_still_render(project: Project) -> None:
    prepare(project, TOLD)
    render_project(project, [], check=False)
    shutil.rmtree(project.state)
    trust = (Cluster(project).environment / "trust.json").read_bytes()
    prepare(project, {})
    assert (Cluster(project).environment / "trust.json").read_bytes() == trust
    assert not list(project.state.rglob("private.pem"))


def test_a_key_that_nobody_trusts_is_not_trusted_by_rendering(project: Project) -> None:
    prepare(project, TOLD)
    (Cluster(project).environment / "trust.json").unlink()
    with pytest.raises(BadCall, match=r"does not contain the key \.lockgate/kubernetes/lockgate-key-"):
        prepare(project, {})


def test_a_setting_is_kept_until_another_is_given(project: Project) -> None:
    prepare(project, TOLD | {"namespace": "models", "registry": "https://mlflow.example.org"})
    prepare(project, {"region": "ca-central-1", "argo": "4.1"})
    settings, store = Cluster(project).settings, Cluster(project).store
    assert (settings.namespace, settings.argo) == ("models", "4.1")
    assert (store.bucket, store.endpoint, store.region) == ("lockgate", "https://s3.example.org", "ca-central-1")
    assert {m["metadata"].get("namespace") for m in texts(project) if m["kind"] == "Role"} == {"models"}


def texts(project: Project) -> Iterator[Manifest]:
    for path, content in cluster_files(Cluster(project)).items():
        if path.suffix == ".yaml" and path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(content)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "a cluster needs a store"),
        ({"store": "s3://b", "shop": "x"}, "unknown setting 'shop'"),
        (TOLD | {"store": "file:///srv/store"}, "cannot be used by a cluster"),
        (TOLD | {"endpoint": "http://s3.example.org"}, "would send credentials unencrypted"),
        (TOLD | {"argo": "3.6"}, r"unknown version of Argo '3\.6'"),
        (TOLD | {"namespace": "Lock Gate"}, "'Lock Gate' is not a valid name of a namespace"),
        (TOLD | {"namespace": "kube-system"}, "belongs to the cluster"),
        (TOLD | {"namespace": "argo"}, "belongs to the cluster"),
        (TOLD | {"project": "Lock Gate"}, "'Lock Gate' is not a valid name of a namespace or project"),
        (TOLD | {"controller": 'x"\ny = "'}, "is not a valid user name"),
        (TOLD | {"api_server": "everywhere"}, "is neither an address range nor a namespace"),
        (TOLD | {"store_egress": "*"}, "is neither an address range nor a namespace"),
        (TOLD | {"store_egress": "999.1.1.1/77"}, "is neither an address range nor a namespace"),
        (TOLD | {"registry_egress": "10.0.0.1/32,1:/5"}, "is neither an address range nor a namespace"),
        (TOLD | {"store_egress": "0.0.0.0/0"}, "opens addresses"),
        (TOLD | {"api_server": "::/0"}, "opens addresses"),
        (TOLD | {"store_egress": "0.0.0.0/1,128.0.0.0/1"}, "opens addresses"),
        (TOLD | {"registry_egress": "10.0.0.0/7"}, "opens addresses"),
        (TOLD | {"registry_egress": "::/1"}, "opens addresses"),
        (TOLD | {"api_server": "::ffff:0.0.0.0/96"}, "opens addresses"),
        (TOLD | {"api_server": "0.0.0.0/00"}, "is neither an address range nor a namespace"),
        (TOLD | {"api_server": "0.0.0.0/0.0.0.0"}, "is neither an address range nor a namespace"),
        (TOLD | {"registry": "https://mlflow.example.org:99999"}, "registry .* is not the address of a server"),
        (TOLD | {"registry": "https://mlflow.example.org:0"}, "registry .* is not the address of a server"),
        (TOLD | {"gateway": "http://models.example.org:65536"}, "gateway .* is not the address of a server"),
        (
            TOLD | {"namespace": "m", "controller": "system:serviceaccount:m:lockgate-submitter"},
            "account of this names",
        ),
        (TOLD | {"endpoint": "https://s3.example.org:99999"}, "is not the address of a server alone"),
        (TOLD | {"endpoint": "https://s3.example.org/other?x=y"}, "is not the address of a server alone"),
        (TOLD | {"addressing_style": "sideways"}, "unknown addressing_style"),
        (TOLD | {"ca": "nowhere.pem"}, r"cannot read nowhere\.pem"),
        (TOLD | {"ca": __file__}, "is not a PEM certificate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_cluster_takes_is_refused_before_anything_is_written(
    project: Project, given: dict[str, str], says: str
) -> None:
    with pytest.raises(LockgateError, match=says) as error:
        prepare(project, given)
    assert error.value.fix
    assert snapshot(project.root) == {}


def test_settings_edited_by_hand_are_read_strictly(project: Project) -> None:
    prepare(project, TOLD)
    file, registry = Cluster(project).file, Cluster(project).environment / "registry"
    registry.write_text("http://mlflow.example.org:70000\n")
    with pytest.raises(BadCall, match=r"registry .* is not the address of a server"):
        list(network(Cluster(project), ["package"]))
    file.write_text('store_egress = "128.0.0.0/1"\n')
    with pytest.raises(BadCall, match=r"store_egress '128\.0\.0\.0/1' opens addresses"):
        _ = Cluster(project).settings
    file.write_text('namespaces = "x"\n')
    with pytest.raises(BadCall, match=r"settings\.toml does not contain valid cluster settings"):
        _ = Cluster(project).settings


_HTTPS = [{"port": 443, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("address", "opened", "way"),
    [
        ("https://s3.example.org", "", None),
        ("https://s3.example.org", "192.0.2.0/24", {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": _HTTPS}),
        (
            "https://10.0.0.9:9000",
            "",
            {"to": [{"ipBlock": {"cidr": "10.0.0.9/32"}}], "ports": [{"port": 9000, "protocol": "TCP"}]},
        ),
        (
            "https://s3.storage.svc.cluster.local:8333",
            "",
            {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}]},
        ),
    ],
)
def test_the_way_to_the_store_is_as_narrow_as_its_address(
    project: Project, address: str, opened: str, way: Manifest | None
) -> None:
    prepare(project, TOLD | {"endpoint": address, "store_egress": opened, "api_server": "10.1.0.1/32,namespace/kube"})
    policies = {p["metadata"]["name"]: p["spec"] for p in network(Cluster(project), ["package"])}
    assert policies.get("lockgate-store", {}).get("egress") == ([way] if way else None)
    api = policies["lockgate-api-server"]["egress"][0]["to"]
    assert api == [
        {"ipBlock": {"cidr": "10.1.0.1/32"}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube"}}},
    ]
    assert "lockgate-registry" not in policies


def test_nothing_is_open_to_any_address_by_default(project: Project) -> None:
    notes = prepare(project, TOLD | {"registry": "https://mlflow.example.org"})
    for policy in network(Cluster(project), ["package"]):
        assert all(rule["to"] for rule in policy["spec"].get("egress", []))
    assert all(any(name in note for note in notes) for name in ("api_server", "store_egress", "registry_egress"))


def test_the_first_namespace_has_the_name_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "Pension_Grants" / "pipelines").mkdir(parents=True)
    project = Project(tmp_path / "Pension_Grants")
    prepare(project, TOLD)
    settings = Cluster(project).settings
    assert settings.namespace == "pension-grants"
    assert re.fullmatch(r"pension-grants-[0-9a-f]{6}", settings.owner)
    assert {m["metadata"]["labels"]["lockgate.io/project"] for m in texts(project) if "labels" in m["metadata"]} == {
        settings.owner
    }


# Argo's versions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ((3, 7, 2), {"62156", "28229", "31892", "40886", "42294", "42296", "54526"}),
        ((3, 7, 4), {"28229", "31892", "40886", "42294", "42296", "54526"}),
        ((3, 7, 14), {"54526"}),
        ((3, 7, 15), set()),
        ((3, 6, 12), {"28229", "31892", "40886", "42294", "42296", "54526"}),
        ((4, 0, 4), {"40886", "42294", "42296", "42297", "54526"}),
        ((4, 0, 6), set()),
        ((4, 1, 0), set()),
    ],
)
def test_known_flaws_of_a_version(version: tuple[int, int, int], names: set[str]) -> None:
    assert {flaw.name.rsplit("-", 1)[1] for flaw in flaws(version)} == names


def test_the_advised_versions_have_no_known_flaw() -> None:
    assert tuple(ADVISED) == ARGO
    for version in ADVISED.values():
        major, minor, patch = (int(part) for part in version.split("."))
        assert flaws((major, minor, patch)) == []


def test_settings_of_the_controller_are_those_its_version_knows() -> None:
    """Argo reads its settings strictly: it does not start with an unknown one."""
    old, *later = [set(configuration(minor)) for minor in ARGO]
    assert old == {"workflowRestrictions", "executor"}
    assert later == [old | {"failedPodRestart"}] * 2


@pytest.mark.parametrize(
    ("data", "holds"),
    [
        ({"workflowRestrictions": "templateReferencing: Secure\n"}, True),
        ({"workflowRestrictions": "templateReferencing: Secure"}, False),  # `a: b: c` is not YAML, so it does not start
        ({"config": "workflowRestrictions:\n  templateReferencing: Secure\n"}, True),
        ({"workflowRestrictions": "templateReferencing: Strict\n"}, False),
        ({"config": "- a list\n"}, False),
        ({}, False),
    ],
)
def test_settings_of_the_controller_are_read_as_it_reads_them(data: dict[str, str], holds: bool) -> None:
    restrictions = REQUIRED["workflowRestrictions"]
    assert (read(data).get("workflowRestrictions") == restrictions) is holds


def test_what_is_rendered_for_the_controller_is_what_it_reads() -> None:
    data = named(manifests(), "ConfigMap", "workflow-controller")["data"]
    assert read(data) == configuration("3.7")


def test_json_of_the_environment_is_what_the_store_reads(project: Project) -> None:
    prepare(project, TOLD | {"addressing_style": "path"})
    told = json.loads((Cluster(project).environment / "s3.json").read_bytes())
    assert told == {"endpoint": "https://s3.example.org", "addressing_style": "path"}
