"""What a cluster's manifests leave open: earlier templates, additions to objects, schedules that stop in silence."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.cli.main import run_app
from lockgate.cluster.manifests.files import cluster_files
from lockgate.cluster.manifests.network import opened_by
from lockgate.cluster.manifests.overlays import differences
from lockgate.cluster.manifests.settings import Cluster
from lockgate.cluster.prepare import prepare
from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.doctor.cluster import _older
from lockgate.images.pins import record
from lockgate.records.schedule import Schedule
from lockgate.rendering.files import model_files
from tests import workshop

Manifest = dict[str, Any]
Change = Callable[[Manifest], object]
SETTINGS = {"project": "pensions", "store": "s3://lockgate/models", "endpoint": "https://s3.example.org"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a model and a cluster."""
    made = workshop.Project.make(tmp_path / "pensions")
    images = {p.image: f"registry.example.org/{p.image}@sha256:{'0' * 64}" for p in Catalog.find().programs.values()}
    record(Project(made.root), images)
    prepare(Project(made.root), SETTINGS)
    return Project(made.root)


def rendered(project: Project, name: str) -> Manifest:
    files = {path.name: content for path, content in model_files(project, project.model("grants"), check=True).items()}
    return dict(yaml.safe_load(files[name]))


def policies(project: Project) -> dict[str, Manifest]:
    files = {path.name: content for path, content in cluster_files(Cluster(project)).items()}
    found = [d for d in yaml.safe_load_all(files["policy.yaml"]) if not d["kind"].endswith("Binding")]
    return {d["metadata"]["name"]: d for d in found}


# An earlier policy ----------------------------------------------------------------------------------------------------


def test_a_stricter_policy_makes_the_earlier_template_stale_everywhere(project: Project) -> None:
    before = rendered(project, "release.yaml")["metadata"]["name"]
    assert before in json.dumps(policies(project))
    policy = project.model("grants").folder / "policy.toml"
    policy.write_text(policy.read_text(encoding="utf-8").replace("0.25", "0.05"), encoding="utf-8")
    later = Project(project.root)
    after = rendered(later, "release.yaml")["metadata"]["name"]
    files = cluster_files(Cluster(later))
    current = json.loads(files[Cluster(later).environment / "current.json"])["models"]["grants"]
    assert after in current["templates"] and before not in json.dumps(current)
    shown = json.dumps(policies(later))
    assert after in shown and before not in shown


def test_a_run_in_progress_sees_that_the_policy_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = workshop.Project.make(tmp_path)
    environment = tmp_path / ".lockgate" / "environment" / "lockgate-environment"
    environment.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    said = []
    for limit in ("0.25", "0.05"):
        policy = made.pipeline / "policy.toml"
        policy.write_text(workshop.POLICY.replace("0.25", limit), encoding="utf-8")
        assert run_app(["render"]) == 0
        said.append(json.loads((environment / "current.json").read_bytes())["models"]["grants"]["policy"])
    assert said[0] != said[1]


# Additions on the cluster ---------------------------------------------------------------------------------------------


def host_network(found: Manifest) -> None:
    found["spec"]["hostNetwork"] = True


def hook(found: Manifest) -> None:
    found["spec"]["hooks"] = {"exit": {"template": "train"}}


def init_container(found: Manifest) -> None:
    found["spec"]["templates"][-1]["initContainers"] = [{"name": "x", "image": "x"}]


def volume(found: Manifest) -> None:
    found["spec"]["volumes"].append({"name": "key", "secret": {"secretName": "lockgate-key-bias-audit"}})


def of_argo(found: Manifest) -> None:
    found["metadata"].setdefault("annotations", {})["workflows.argoproj.io/scheduled-time"] = "x"


def of_another(found: Manifest) -> None:
    found["metadata"]["labels"]["lockgate.io/project"] = "another"


@pytest.mark.parametrize("change", [host_network, hook, init_container, volume, of_argo, of_another])
def test_an_addition_to_a_template_is_a_difference(project: Project, change: Change) -> None:
    wanted = rendered(project, "release.yaml")
    found = copy.deepcopy(wanted)
    assert list(differences(wanted, wanted, found)) == []
    change(found)
    assert list(differences(wanted, wanted, found))


def test_an_exception_in_a_policy_is_a_difference(project: Project) -> None:
    wanted = policies(project)["lockgate-runs.pensions.pensions"]
    found = copy.deepcopy(wanted)
    rule = {"apiGroups": ["argoproj.io"], "apiVersions": ["*"], "operations": ["*"], "resources": ["workflows"]}
    found["spec"]["matchConstraints"]["excludeResourceRules"] = [rule]
    assert list(differences(wanted, wanted, found)) == ["spec.matchConstraints.excludeResourceRules"]


def test_what_an_overlay_may_add_is_none(project: Project) -> None:
    wanted = rendered(project, "release.yaml")
    found = copy.deepcopy(wanted)
    found["spec"]["nodeSelector"] = {"pool": "models"}
    found["spec"]["templates"][-1]["tolerations"] = [{"key": "models"}]
    found["metadata"]["labels"]["team"] = "pensions"
    found["metadata"]["uid"] = "1"
    assert list(differences(wanted, wanted, found)) == []


# Schedules ------------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)  # a Monday


def test_refusals_never_stop_the_schedule(project: Project) -> None:
    assert "stopStrategy" not in rendered(project, "retrain.yaml")["spec"]


def test_the_next_run_is_known(project: Project) -> None:
    cron = rendered(project, "retrain.yaml")
    cron["spec"] |= {"suspend": False, "timezone": "America/Toronto"}
    cron["status"] = {"lastScheduledTime": "2026-11-23T08:00:00Z"}
    schedule = Schedule.of(cron, NOW)
    assert (schedule.state, schedule.next) == ("active", "2026-12-07T03:00:00-05:00")
    assert "last run 2026-11-23T08:00:00Z" in schedule.line


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"status": {"phase": "Stopped"}}, "stopped"),
        ({"metadata": {"labels": {"workflows.argoproj.io/cron-workflow-completed": "true"}}}, "stopped"),
        ({"spec": {"suspend": True}}, "suspended"),
    ],
)
def test_a_schedule_that_starts_nothing_has_no_next_run(project: Project, change: Manifest, state: str) -> None:
    cron = rendered(project, "retrain.yaml")
    cron["spec"]["suspend"] = False
    for part, fields in change.items():
        for name, value in fields.items():
            entry = cron.setdefault(part, {})
            entry[name] = {**entry.get(name, {}), **value} if isinstance(value, dict) else value
    schedule = Schedule.of(cron, NOW)
    assert (schedule.state, schedule.next) == (state, "")
    assert f"is {state}" in schedule.line and "no next run" in schedule.line


@pytest.mark.parametrize(
    ("last", "changed", "active", "missed"),
    [
        (None, "2026-10-01T00:00:00Z", [], "2026-11-30T03:00:00-05:00"),  # another run had the name, every week
        ("2026-11-23T08:00:00Z", "2026-10-01T00:00:00Z", [], "2026-11-30T03:00:00-05:00"),
        ("2026-11-30T08:00:00Z", "2026-10-01T00:00:00Z", [], ""),
        (None, "2026-11-30T09:00:00Z", [], ""),  # created or resumed after that
        ("2026-11-23T08:00:00Z", "2026-10-01T00:00:00Z", [{"name": "grants-retrain-1795420800"}], ""),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_schedule_that_started_no_run_in_time_says_so(
    project: Project, last: str | None, changed: str, active: list[Manifest], missed: str, resumed: bool
) -> None:
    cron = rendered(project, "retrain.yaml")
    cron["spec"] |= {"suspend": False, "timezone": "America/Toronto"}
    cron["status"] = {"lastScheduledTime": last, "active": active}
    created = "2026-09-01T00:00:00Z" if resumed else changed
    entries: list[tuple[str, dict[str, Any], str]] = [
        ("argo", {"f:spec": {}}, changed if resumed else created),
        ("controller", {"f:status": {}}, "2026-11-30T11:00:00Z"),
    ]
    fields = [{"manager": who, "fieldsV1": owned, "time": time} for who, owned, time in entries]
    cron["metadata"] |= {"creationTimestamp": created, "managedFields": fields}
    schedule = Schedule.of(cron, NOW)
    assert schedule.missed == missed
    assert ("it started no run at" in schedule.line) == bool(missed)
    assert not missed or schedule.run_missed == "grants-retrain-1796025600"
    at_the_moment = Schedule.of(cron, datetime(2026, 11, 30, 8, 1, tzinfo=UTC))  # the controller may still do it
    assert at_the_moment.missed in ("", "2026-11-23T03:00:00-05:00")


# Whose objects --------------------------------------------------------------------------------------------------------


def test_every_object_carries_its_project_and_no_policy_is_replaced_by_anothers(project: Project) -> None:
    for path, content in cluster_files(Cluster(project)).items():
        if path.suffix == ".yaml" and path.parent.name != "argo-controller" and path.name != "kustomization.yaml":
            for document in yaml.safe_load_all(content):
                assert document["metadata"]["labels"]["lockgate.io/project"] == "pensions"
    for name in ("release.yaml", "review.yaml", "rollback.yaml", "retrain.yaml", "on-registry-event.yaml"):
        assert rendered(project, name)["metadata"]["labels"]["lockgate.io/project"] == "pensions"
    assert all(name.endswith(".pensions.pensions") for name in policies(project))


def test_two_clones_in_folders_of_one_name_are_two_projects(tmp_path: Path) -> None:
    store = {name: value for name, value in SETTINGS.items() if name != "project"}
    clones = [Project(workshop.Project.make(tmp_path / parent / "lockgate").root) for parent in "ab"]
    for clone in clones:
        prepare(clone, store | {"namespace": "lockgate"})
    owners = [Cluster(clone).settings.owner for clone in clones]
    assert len(set(owners)) == 2 and all(owner.startswith("lockgate-") for owner in owners)
    assert not policies(clones[0]).keys() & policies(clones[1]).keys()
    for clone, owner in zip(clones, owners, strict=True):
        prepare(Project(clone.root), {"region": "ca-central-1"})  # written once
        assert Cluster(Project(clone.root)).settings.owner == owner


def test_settings_from_before_keep_their_project(project: Project) -> None:
    file = Cluster(project).file
    prepare(Project(project.root), {"argo": "4.0"})
    assert Cluster(Project(project.root)).settings.owner == "pensions"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("project")))
    assert Cluster(Project(project.root)).settings.owner == "pensions"  # the namespace's name


# Networks that another policy opens -----------------------------------------------------------------------------------

_DNS = {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}


@pytest.mark.parametrize(
    ("rules", "opened"),
    [
        ({"egress": [{}]}, ["egress"]),
        ({"egress": [{"ports": [{"port": 443}]}]}, ["egress"]),
        ({"egress": [{"to": []}], "ingress": [{"from": []}]}, ["egress", "ingress"]),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}]}, ["egress"]),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}, {"ipBlock": {"cidr": "::/0"}}]}]}, ["egress"]),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "128.0.0.0/1"}}]}]}, ["egress"]),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "::ffff:0:0/96"}}]}]}, ["egress"]),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "nowhere"}}]}]}, ["egress"]),
        ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, ["ingress"]),
        ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {}}, "podSelector": {}}]}]}, ["ingress"]),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, []),  # of this namespace
        ({"egress": [{"to": [{"namespaceSelector": {}, **_DNS}]}]}, []),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "169.254.20.10/32"}}]}]}, []),
        ({}, []),
    ],
)
def test_a_policy_that_opens_the_network_is_named(rules: Manifest, opened: list[str]) -> None:
    assert opened_by({"spec": {"podSelector": {}, **rules}}) == opened


def test_no_rendered_policy_opens_the_network(project: Project) -> None:
    files = {path.name: content for path, content in cluster_files(Cluster(project)).items()}
    found = list(yaml.safe_load_all(files["network.yaml"]))
    assert found and [each["metadata"]["name"] for each in found if opened_by(each)] == []


@pytest.mark.parametrize(("kernel", "old"), [("4.18.0-553.el8", True), ("5.18.9", True), ("5.19.0-50-generic", False),
                                             ("6.1.0", False), ("10.0", False), ("", True), ("x", True)])  # fmt: skip
def test_a_kernel_without_landlock_is_known(kernel: str, old: bool) -> None:
    assert _older(kernel) is old
