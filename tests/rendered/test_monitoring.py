"""What Prometheus and Grafana read: names of the model server's metrics only, and one port for one namespace."""

import atexit
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from lockgate_step import layout
from lockgate_wire import metrics

from lockgate.cluster.manifests import monitoring, ownership
from lockgate.cluster.manifests.network import documents as network
from lockgate.cluster.manifests.settings import Cluster
from lockgate.cluster.objects import _resource
from lockgate.cluster.prepare import prepare
from lockgate.commands.render import render_project
from lockgate.definition.project import Project
from lockgate.errors import BadCall, NotRendered
from tests import workshop
from tests.pages import commands
from tests.rendered.test_kubernetes import manifests

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = Path(__file__).resolve().parent / "example"
# The CRDs of the Prometheus Operator are not in the repository: a folder with them, if there is one.
SCHEMAS = Path(os.environ.get("LOCKGATE_SCHEMAS") or ROOT.parent / "shared" / "schemas")
Manifest = dict[str, Any]
STORED = {sample: metric for metric in (*metrics.METRICS, metrics.GATE_RESULTS) for sample in metric.samples}
# Labels that Prometheus adds to each series of a pod, and to a histogram's.
ADDED = {"namespace", "pod", "le"}
FUNCTIONS = {"by", "on", "or", "and", "unless", "sum", "rate", "increase", "count", "histogram_quantile", "group_left",
             "last_over_time", "offset"}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the example, whose settings ask for monitoring."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)


@cache
def with_a_model() -> Project:
    """A project with a model and a cluster. It is removed at the end."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    made = Project(workshop.Project.make(Path(folder.name)).root)
    prepare(made, {"store": "s3://lockgate/models", "namespace": "lockgate", "monitoring": "true"})
    return made


def rendered() -> dict[str, Manifest]:
    """Return the objects by kind."""
    return {found["kind"]: found for found in monitoring.documents(Cluster(with_a_model()))}


def rules() -> list[Manifest]:
    (group,) = rendered()["PrometheusRule"]["spec"]["groups"]
    return list(group["rules"])


def panels() -> list[Manifest]:
    return list(json.loads(rendered()["ConfigMap"]["data"]["lockgate-models.json"])["panels"])


def expressions() -> Iterator[str]:
    """Yield every query: of the alerts, the panels and the variables."""
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    board = json.loads(rendered()["ConfigMap"]["data"]["lockgate-models.json"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            query = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
            assert query
            yield f"sum by ({query[2]}) ({query[1]})"


def unknown(expression: str) -> set[str]:
    """Return the names in a query that are neither a metric of the server, with its labels, nor Prometheus's own."""
    found, labels = set(), set(metrics.LABELS) | ADDED
    for name, selector in re.findall(r"([a-z_:]+)\{([^}]*)\}", expression):
        if name not in STORED:
            found.add(name)
            continue
        labels |= set(STORED[name].labels)
        own = {*metrics.LABELS, *STORED[name].labels, *ADDED}
        found |= {label for label in re.findall(r"(\w+)=~?\"", selector) if label not in own}
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", expression)
    words = set(re.findall(r"[a-z_]\w*", re.sub(r"\boffset \w+", "", bare)))
    return found | (words - FUNCTIONS - labels - set(STORED))


# Names ---------------------------------------------------------------------------------------------------------------


def test_every_query_names_metrics_and_labels_of_the_model_server() -> None:
    found = list(expressions())
    assert len(found) > 15
    assert {expression: names for expression in found if (names := unknown(expression))} == {}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('rate(lockgate_request_total{namespace="a"}[5m])', {"lockgate_request_total"}),
        ('rate(lockgate_requests_total{namespace="a",status="500"}[5m])', {"status"}),
        ('sum by (column) (rate(lockgate_rows_total{namespace="a"}[5m]))', {"column"}),
        ('lockgate_request_seconds{namespace="a"}', {"lockgate_request_seconds"}),
        ("sum(up)", {"up"}),
        ('sum by (model) (rate(lockgate_rows_total{namespace="a"}[5m] offset 1h)) or 0', set()),
    ],
)
def test_a_name_that_does_not_exist_is_found(expression: str, names: set[str]) -> None:
    assert unknown(expression) == names


def test_every_query_is_about_this_namespace() -> None:
    for expression in expressions():
        selectors = re.findall(r"\{([^}]*)\}", expression)
        assert selectors
        assert all('namespace="lockgate"' in selector for selector in selectors), expression


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    assert [m.name for m in metrics.METRICS if not any(sample in shown for sample in m.samples)] == []


def test_the_page_about_metrics_has_the_table_of_the_code() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert f"<!-- begin: metrics -->\n{metrics.table()}\n<!-- end: metrics -->" in text
    for rule in rules():
        assert f"`{rule['alert']}`" in text


# Alerts --------------------------------------------------------------------------------------------------------------


def test_every_alert_says_what_is_wrong_and_what_to_do_next() -> None:
    for rule in rules():
        said = rule["annotations"]
        assert re.search(r"Next: (kubectl|lockgate) ", said["description"]), rule["alert"]
        assert said["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch(r"\d+m", rule["for"])


@pytest.mark.parametrize(
    ("rule", "limit"), [('[[smoke]]\nmeasure = "p99_ms"\nat_most = 120\nwhy = "Callers wait."\n', "0.12"), ("", "0.25")]
)
def test_answers_are_slow_by_the_models_own_policy(rule: str, limit: str) -> None:
    ((name, model),) = with_a_model().models.items()
    policy = model.folder / "policy.toml"
    policy.write_text(re.sub(r"\[\[smoke\]\][^\[]*", "", policy.read_text()) + rule)
    (slow,) = (each["expr"] for each in rules() if each["alert"] == "LockgateSlowAnswers")
    assert f'model="{name}"' in slow
    assert slow.endswith(f"> {limit}")


# Objects and settings ------------------------------------------------------------------------------------------------


def test_prometheus_scrapes_the_port_that_pods_name() -> None:
    monitor = rendered()["PodMonitor"]["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] == layout.METRICS
    assert monitor["selector"]["matchLabels"]["app.kubernetes.io/component"] == "model-server"
    names = {m["metadata"]["name"]: m for m in manifests() if m["kind"] == "NetworkPolicy"}
    opened = names["lockgate-metrics"]["spec"]["ingress"]
    place = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert opened == [{"from": [place], "ports": [{"port": layout.METRICS_PORT, "protocol": "TCP"}]}]
    for name, policy in names.items():
        ports = [port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]]
        assert (layout.METRICS_PORT in ports) == (name == "lockgate-metrics")


def test_panels_do_not_overlap() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in panels()})


def test_without_the_setting_nothing_is_rendered_and_the_port_is_closed(project: Project) -> None:
    folder = project.root / "kubernetes"
    prepare(project, {"monitoring": "false"})
    off = Project(project.root)
    with pytest.raises(NotRendered, match=r"kubernetes/monitoring\.yaml"):
        render_project(off, [], check=True)
    (folder / "overlay.yaml").write_text("# written by hand\n")
    render_project(off, [], check=False)
    assert not (folder / "monitoring.yaml").exists()
    assert (folder / "overlay.yaml").exists()
    assert "monitoring.yaml" not in yaml.safe_load((folder / "kustomization.yaml").read_bytes())["resources"]
    policies = {policy["metadata"]["name"] for policy in network(Cluster(off), ["package"])}
    assert "lockgate-model-server" in policies
    assert "lockgate-metrics" not in policies


def test_the_command_of_the_page_renders_them(project: Project) -> None:
    prepare(project, {"monitoring": "false"})
    render_project(Project(project.root), [], check=False)
    (command,) = (
        each.text for each in commands() if each.page == "docs/metrics.md" and each.text.startswith("lockgate")
    )
    argv = [sys.executable, "-m", *shlex.split(command)]
    done = subprocess.run(argv, cwd=project.root, check=True, capture_output=True, text=True)
    assert "wrote kubernetes/monitoring.yaml" in done.stdout
    assert "monitoring.yaml" in (project.root / "kubernetes" / "kustomization.yaml").read_text()


def test_another_namespace_may_be_that_of_prometheus(project: Project) -> None:
    prepare(project, {"monitoring_namespace": "observability"})
    policies = {p["metadata"]["name"]: p for p in network(Cluster(Project(project.root)), ["package"])}
    (source,) = policies["lockgate-metrics"]["spec"]["ingress"][0]["from"]
    assert source == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}


@pytest.mark.parametrize(
    ("given", "said"),
    [({"monitoring": "yes"}, "monitoring 'yes' is neither"), ({"monitoring_namespace": "*"}, "not a valid name")],
)
def test_an_invalid_setting_is_refused(project: Project, given: dict[str, str], said: str) -> None:
    before = (project.root / "kubernetes" / "settings.toml").read_text()
    with pytest.raises(BadCall, match=said) as error:
        prepare(project, given)
    assert error.value.fix
    assert (project.root / "kubernetes" / "settings.toml").read_text() == before


def test_doctor_asks_for_the_objects_by_the_names_of_their_resources() -> None:
    for kind, plural in (("PodMonitor", "podmonitors"), ("PrometheusRule", "prometheusrules")):
        resource, of_namespace = _resource(f"{monitoring.GROUP}/v1", kind)
        assert of_namespace
        assert resource._api_info.plural == plural
        assert plural in ownership.RESOURCES
    assert monitoring.GROUP in ownership.GROUPS


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_each_object_is_one_that_the_prometheus_operator_takes(kind: str) -> None:
    schema = next((found for found in schemas() if found[0] == kind), None)
    if schema is None:
        pytest.skip(f"the CRD of {kind} is not in {SCHEMAS.name}/: $LOCKGATE_SCHEMAS names a folder with it")
    Draft202012Validator(strict(schema[1])).validate(rendered()[kind])


def schemas() -> Iterator[tuple[str, Manifest]]:
    """Yield each CRD of the Prometheus Operator at hand: its kind, and the schema of its version v1."""
    for path in sorted(SCHEMAS.glob("*.yaml")) if SCHEMAS.is_dir() else ():
        if monitoring.GROUP not in path.read_text(encoding="utf-8")[:4000]:
            continue
        for found in yaml.safe_load_all(path.read_bytes()):
            if found and found["kind"] == "CustomResourceDefinition":
                for version in found["spec"]["versions"]:
                    yield found["spec"]["names"]["kind"], version["schema"]["openAPIV3Schema"]


def strict(schema: Mapping[str, Any]) -> Manifest:
    """Return a schema that refuses unknown fields, as `kubectl apply --validate=strict` does."""
    made = {key: strict(value) if isinstance(value, Mapping) else value for key, value in schema.items()}
    named = schema.get("properties")
    if isinstance(named, Mapping) and schema.get("type") == "object" and "metadata" not in named:
        made.setdefault("additionalProperties", False)
    return made
