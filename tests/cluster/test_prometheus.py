"""The alerts by promtool, and a real Prometheus that reads real model servers: every query has an answer.

They need programs that are built with Go, as the cluster does, but no cluster.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.definition.catalog import Catalog
from lockgate.images.installed import Installed, command
from tests.cluster import tools
from tests.cluster.place import ROOT
from tests.cluster.prometheus import Prometheus, configuration, running, until
from tests.rendered.test_monitoring import expressions, panels, rendered, with_a_model

pytestmark = pytest.mark.sample
MODEL = "tests"  # of the series that are made up
ROW = {"age": 50.0, "hours": 60.0, "occupation": "Exec"}


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """None is needed."""


@pytest.fixture(scope="module")
def programs() -> Path:
    return tools.build()


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered alerts, as the operator gives them to Prometheus."""
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(rendered()["PrometheusRule"]["spec"]))
    return file


# Alerts --------------------------------------------------------------------------------------------------------------


def promtool(programs: Path, *given: str | Path) -> str:
    done = subprocess.run([programs / "promtool", *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules(programs: Path, rules: Path) -> None:
    wanted = len(rendered()["PrometheusRule"]["spec"]["groups"][0]["rules"])
    assert f"SUCCESS: {wanted} rules found" in promtool(programs, "check", "rules", "--lint-fatal", rules)


def test_promtool_finds_a_broken_rule(programs: Path, rules: Path, tmp_path: Path) -> None:
    broken = tmp_path / "rules.yaml"
    broken.write_text(rules.read_text().replace("sum by (model)", "sum by model", 1))
    done = subprocess.run([programs / "promtool", "check", "rules", broken], capture_output=True, check=False)
    assert done.returncode != 0


Made = dict[str, str]  # a series without its common labels -> its values, one a minute
QUIET: Made = {
    'lockgate_requests_total{code="200"}': "0+600x400",
    'lockgate_requests_total{code="400"}': "0+6x400",
    'lockgate_requests_total{code="500"}': "0x400",
    'lockgate_requests_total{code="503"}': "0x400",
    'lockgate_refused_inputs_total{column="age",reason="above_range"}': "0+6x400",
    'lockgate_request_seconds_bucket{le="0.1"}': "0+600x400",
    'lockgate_request_seconds_bucket{le="10.0"}': "0+600x400",
    'lockgate_request_seconds_bucket{le="+Inf"}': "0+600x400",
    'lockgate_build_info{version="1"}': "1x400",
}
GATE_ERRORS = (
    'argo_workflows_lockgate_gate_results_total{workflow_namespace="lockgate",gate="bias-audit",result="error"}'
)
CASES: Mapping[str, tuple[Made, set[str]]] = {
    "all is well": ({}, set()),
    "one in 200 fails": ({'lockgate_requests_total{code="500"}': "0+3x400"}, set()),
    "one in 20 fails": ({'lockgate_requests_total{code="500"}': "0+30x400"}, {"LockgateServerErrors"}),
    "one in 20 is sent away": ({'lockgate_requests_total{code="503"}': "0+30x400"}, {"LockgateServerErrors"}),
    "it failed an hour ago": ({'lockgate_requests_total{code="500"}': "0+30x320 9600x80"}, set()),
    "it fails for three minutes": ({'lockgate_requests_total{code="500"}': "0x397 30 60 90"}, set()),
    "one in 20 is slow": (
        {'lockgate_request_seconds_bucket{le="0.1"}': "0+570x400"},
        {"LockgateSlowAnswers"},
    ),
    "one in 200 is slow": ({'lockgate_request_seconds_bucket{le="0.1"}': "0+597x400"}, set()),
    "no pod is left": (
        {name: f"{values.split('x')[0]}x390 stale _x9" for name, values in QUIET.items()},
        {"LockgateNoReplicaReady"},
    ),
    "inputs change": (
        {
            'lockgate_requests_total{code="400"}': "0+6x360 2160+120x39",
            'lockgate_refused_inputs_total{column="age",reason="above_range"}': "0+6x360 2160+120x39",
        },
        {"LockgateRefusedInputs"},
    ),
    "inputs were always like this": (
        {
            'lockgate_requests_total{code="400"}': "0+120x400",
            'lockgate_refused_inputs_total{column="age",reason="above_range"}': "0+120x400",
        },
        set(),
    ),
    "the first ones are refused": (
        {
            'lockgate_requests_total{code="400"}': "0x360 0+120x39",
            'lockgate_refused_inputs_total{column="age",reason="above_range"}': "_x361 0+120x39",
        },
        {"LockgateRefusedInputs"},
    ),
    "a gate failed once": ({GATE_ERRORS: "_x390 1x9"}, set()),
    "a gate fails, and its retries": ({GATE_ERRORS: "_x390 4x9"}, {"LockgateGateErrors"}),
    "a gate fails every hour": ({GATE_ERRORS: "5x160 6x59 7x59 8x59 9x62"}, {"LockgateGateErrors"}),
    "gates failed before": ({GATE_ERRORS: "9x400"}, set()),
    "gates of another namespace fail": ({GATE_ERRORS.replace('lockgate"', 'other"'): "_x390 9x9"}, set()),
}


def series(made: Made, namespace: str) -> list[dict[str, str]]:
    (model,) = with_a_model().models
    own = f'namespace="{namespace}",model="{model}",bundle="0123456789ab",pod="a"'
    return [{"series": name.replace("{", f"{{{own},"), "values": values} for name, values in made.items()]


def firing(programs: Path, rules: Path, folder: Path, made: list[dict[str, str]], alerts: set[str]) -> None:
    """Let promtool check that after 400 minutes exactly these alerts fire for the model."""
    (model,) = with_a_model().models
    wanted = [{"labels": f'{{alertname="{name}", model="{model}"}}', "value": 1} for name in sorted(alerts)]
    question = {"expr": 'count by (alertname, model) (ALERTS{alertstate="firing"})', "eval_time": "400m"}
    case = {"interval": "1m", "input_series": made, "promql_expr_test": [{**question, "exp_samples": wanted}]}
    file = folder / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]}))
    assert "SUCCESS" in promtool(programs, "test", "rules", file)


@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires_when_it_should_and_only_then(programs: Path, rules: Path, tmp_path: Path, case: str) -> None:
    changed, alerts = CASES[case]
    firing(programs, rules, tmp_path, series({**QUIET, **changed}, "lockgate"), alerts)


def test_every_alert_has_a_case(rules: Path) -> None:
    named = {rule["alert"] for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]}
    assert named == {name for _, alerts in CASES.values() for name in alerts}


def test_another_namespace_has_alerts_of_its_own(programs: Path, rules: Path, tmp_path: Path) -> None:
    failing = {**QUIET, 'lockgate_requests_total{code="500"}': "0+30x400"}
    firing(programs, rules, tmp_path, series(QUIET, "lockgate") + series(failing, "elsewhere"), set())


# A real Prometheus and real servers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """A model server of the small bundle: where it answers and where it shows its metrics; `host:port` each."""

    address: str
    metrics: str
    process: "subprocess.Popen[str]"

    def infer(self, *rows: Mapping[str, Any]) -> int:
        kinds = {"age": "FP64", "hours": "FP64", "occupation": "BYTES"}
        inputs = [
            {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name, kind in kinds.items()
        ]
        connection = HTTPConnection(self.address, timeout=60)
        try:
            body = json.dumps({"inputs": inputs})
            connection.request("POST", "/v2/models/tiny/infer", body, {"content-type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


_MAKE = """
import sys
from pathlib import Path
import tiny_bundle
folder = Path(sys.argv[1])
authority = tiny_bundle.Authority(folder)
authority.write_io(folder / "io")
authority.write_bundle(folder / "bundle")
"""


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    folder.mkdir()
    environment = Installed(Catalog.find())("lockgate/model-server")
    argv, env = command(environment, ["-c", _MAKE, str(folder)])
    path = f"{env['PYTHONPATH']}:{ROOT / 'tests' / 'services' / 'model-server'}"
    subprocess.run(argv, env={**env, "PYTHONPATH": path}, check=True)
    serve = ["-m", "lockgate_model_server", "--bundle", str(folder / "bundle"), "--port", "0", "--metrics-port", "0"]
    argv, env = command(environment, serve)
    env = {**env, "LOCKGATE_IO": str(folder / "io")}
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = json.loads(process.stderr.readline())
            address, metrics = (said[key].removeprefix("http://").split("/")[0] for key in ("address", "metrics"))
            yield Served(address, metrics, process)
        finally:
            process.terminate()


def test_a_real_prometheus_reads_real_servers_and_answers_every_query(
    programs: Path, rules: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        pods = {name: stack.enter_context(served(tmp_path / name)) for name in ("one", "two")}
        config = configuration(rendered()["PodMonitor"], {n: pod.metrics for n, pod in pods.items()}, rules)
        prometheus = stack.enter_context(running(programs / "prometheus", tmp_path / "prometheus", config))

        def requests(code: int) -> list[str]:
            found = prometheus.query(f'lockgate_requests_total{{namespace="lockgate",code="{code}"}}')
            return [each["value"][1] for each in found]

        assert until(lambda: requests(200) == ["0", "0"])
        for pod in pods.values():
            assert [pod.infer(ROW, ROW), pod.infer(ROW), pod.infer({**ROW, "age": 91.0})] == [200, 200, 400]
        assert until(lambda: (requests(200), requests(400)) == (["2", "2"], ["1", "1"]))
        rows = prometheus.query("sum by (pod, model) (lockgate_rows_total)")
        assert {(r["metric"]["pod"], r["metric"]["model"]): r["value"][1] for r in rows} == {
            ("one", "tiny"): "3",
            ("two", "tiny"): "3",
        }
        until(lambda: not unanswered(prometheus))
        assert unanswered(prometheus) == []
        for expression in expressions():
            prometheus.query(for_grafana(expression))
        assert prometheus.problems() == []
        assert "firing" not in prometheus.alerts().values()
        for pod in pods.values():
            pod.stop()
        assert until(lambda: prometheus.alerts().get("LockgateNoReplicaReady") == "pending")


def unanswered(prometheus: Prometheus) -> list[str]:
    """Return the panels of the dashboard with a query that finds nothing."""
    return [
        panel["title"]
        for panel in panels()
        if any(not prometheus.query(for_grafana(target["expr"])) for target in panel["targets"])
    ]


def for_grafana(expression: str) -> str:
    """Return a query as Grafana asks it, for every model and bundle."""
    filled = expression.replace("$__rate_interval", "1m").replace("$model", "(tiny)").replace("$bundle", ".+")
    assert "$" not in filled
    return filled
