"""What a cluster's Prometheus Operator and Grafana read: which pods to scrape, when to alert, and a dashboard.

Every query takes the names of metrics from the SDK, as the model server does.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lockgate_policy import read as read_policy
from lockgate_step import layout, sha256
from lockgate_wire import metrics
from lockgate_wire.metrics import Metric

from lockgate.cluster.manifests.objects import LABELS, document
from lockgate.cluster.manifests.settings import Cluster, Settings
from lockgate.definition.project import Model
from lockgate.rendering.labels import COMPONENT

FILE = "monitoring.yaml"
GROUP = "monitoring.coreos.com"
NAME = "lockgate-models"
SLOW_SECONDS = 0.25  # for a model whose policy has no limit of p99_ms
_ERRORS = 0.01  # of the requests
_REFUSED, _FAULTS, _TIMES = 0.05, 20, 3  # of the requests; in 15 minutes; as often as in the day before
_FAILURES, _HOURS = 2, "6h"  # attempts of a gate that ended with an error
_LOGS = "kubectl logs -n {place} -l app.kubernetes.io/name={model},app.kubernetes.io/component=model-server --tail=50"
_MODEL = "{{ $labels.model }}"


def documents(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Yield the objects; none unless the settings ask for them. Errors: PolicyError."""
    settings = cluster.settings
    if not settings.monitored:
        return
    place = settings.namespace
    chosen = {"matchLabels": {**LABELS, COMPONENT: "model-server"}}
    endpoint = {"port": layout.METRICS, "path": "/metrics", "interval": "30s", "scrapeTimeout": "10s"}
    why = "Prometheus reads the metrics of every pod that serves a model"
    yield document(
        f"{GROUP}/v1", "PodMonitor", NAME, place, why, spec={"selector": chosen, "podMetricsEndpoints": [endpoint]}
    )
    limits = {name: _slow(model) for name, model in sorted(cluster.project.models.items())}
    rules = [*_alerts(settings, limits)]
    why = "alerts about served models; to change a limit, write an overlay"
    yield document(
        f"{GROUP}/v1",
        "PrometheusRule",
        NAME,
        place,
        why,
        spec={"groups": [{"name": f"{NAME}.{place}", "rules": rules}]},
    )
    text = json.dumps(dashboard(settings), indent=1) + "\n"
    shown = document("v1", "ConfigMap", "lockgate-dashboard", place, "Grafana shows it", data={f"{NAME}.json": text})
    shown["metadata"]["labels"]["grafana_dashboard"] = "1"
    yield shown


def _slow(model: Model) -> float:
    """Return the seconds above which the slowest hundredth of answers is slow: the limit in the model's policy."""
    rules = read_policy(model.folder / "policy.toml").smoke
    return next((rule.limit.value / 1000 for rule in rules if rule.measure == "p99_ms"), SLOW_SECONDS)


def _series(settings: Settings, metric: Metric, suffix: str = "", **labels: str) -> str:
    """Return the selector of a metric's series in this namespace; a label that begins with ~ is an expression."""
    wanted = {"namespace": settings.namespace, **labels}
    shown = ",".join(
        f'{key}{"=~" if text.startswith("~") else "="}"{text.lstrip("~")}"' for key, text in wanted.items()
    )
    return f"{metric.name}{suffix}{{{shown}}}"


def _rate(series: str, by: str = "model", window: str = "5m", offset: str = "") -> str:
    return f"sum by ({by}) (rate({series}[{window}]{offset and f' offset {offset}'}))"


def _alerts(settings: Settings, limits: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Yield the alerts. limits: model -> seconds in which its answers must come."""
    place, logs = settings.namespace, _LOGS.format(place=settings.namespace, model=_MODEL)
    requests = _series(settings, metrics.REQUESTS)
    failed = _series(settings, metrics.REQUESTS, code="~5..")
    yield _alert(
        "LockgateServerErrors",
        f"{_rate(failed)} / {_rate(requests)} > {_ERRORS}",
        "critical",
        "5m",
        f"{_MODEL} fails to answer",
        f"{{{{ $value | humanizePercentage }}}} of the requests to {_MODEL} got a server error in the last 5 minutes"
        f" (limit: {_ERRORS:.0%}). The log names the place in the code. Next: {logs}",
    )
    build = _series(settings, metrics.BUILD)
    yield _alert(
        "LockgateNoReplicaReady",
        # A server listens only when its model is loaded, so a version that shows its build serves.
        f"count by (model) (last_over_time({build}[1d])) unless count by (model) ({build})",
        "critical",
        "2m",
        f"no replica of {_MODEL} answers",
        f"{_MODEL} was served in the last day, and none of its pods shows metrics now. If nobody removed the model on"
        f" purpose, find out why its pods do not start. Next: kubectl get deployments,pods -n {place}"
        f" -l app.kubernetes.io/name={_MODEL},app.kubernetes.io/component=model-server",
    )
    for model, seconds in limits.items():
        buckets = _rate(_series(settings, metrics.SECONDS, "_bucket", model=model), "model, le")
        yield _alert(
            "LockgateSlowAnswers",
            f"histogram_quantile(0.99, {buckets}) > {seconds:g}",
            "warning",
            "10m",
            f"{model} answers slowly",
            f"One request in a hundred to {model} takes longer than {{{{ $value | humanizeDuration }}}}"
            f" (limit: {seconds:g} s). Its pods may need more CPU, or more of them: `Serving` in its pipeline.py."
            f" Next: kubectl top pods -n {place} -l app.kubernetes.io/name={model}",
        )
    refused = _series(settings, metrics.REFUSED_INPUTS)
    shares = ({"window": "15m"}, {"window": "1d", "offset": "15m"})
    now, before = (f"{_rate(refused, **when)} / {_rate(requests, **when)}" for when in shares)
    bad = _series(settings, metrics.REQUESTS, code="400")
    yield _alert(
        "LockgateRefusedInputs",
        # `or 0 * ...`: a model whose inputs were never refused before.
        f"({now} > {_TIMES} * ({before} or 0 * ({now})))"
        f" and ({_rate(bad, window='15m')} / {_rate(requests, window='15m')} > {_REFUSED})"
        f" and (sum by (model) (increase({refused}[15m])) > {_FAULTS})",
        "warning",
        "5m",
        f"{_MODEL} refuses more inputs than usual",
        f"Requests to {_MODEL} have {_TIMES} times as many invalid inputs as in the day before, and more than"
        f" {_REFUSED:.0%} of them are refused. A caller or the data changed. The dashboard shows columns and"
        f" reasons. Next: lockgate status {_MODEL} -n {place}, to see whether a new version went live",
    )

    ended = f'{metrics.GATE_RESULTS.name}{{workflow_namespace="{place}",result="error"}}'
    failures, earlier = (f"sum by (model, gate) ({ended}{offset})" for offset in ("", f" offset {_HOURS}"))
    yield _alert(
        "LockgateGateErrors",
        # Not increase(): Argo shows a counter only when it is 1 or more, and retries follow each other within seconds.
        f"{failures} - ({earlier} or 0 * {failures}) > {_FAILURES}",
        "warning",
        "5m",
        f"the gate {{{{ $labels.gate }}}} of {_MODEL} does not come to a verdict",
        f"{{{{ $labels.gate }}}} of {_MODEL} ended {{{{ $value }}}} times with an error in {_HOURS}, neither passed nor"
        f" refused, so no new version can go live. Next: lockgate status {_MODEL} -n {place}, which names the error",
    )


def _alert(name: str, expression: str, severity: str, after: str, summary: str, description: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": after,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def dashboard(settings: Settings) -> dict[str, Any]:
    """Return the dashboard in Grafana's JSON."""
    own = {"model": "~$model", "bundle": "~$bundle"}

    def series(metric: Metric, suffix: str = "", **labels: str) -> str:
        return _series(settings, metric, suffix, **own, **labels)

    def rate(metric: Metric, by: str, suffix: str = "", **labels: str) -> str:
        return _rate(series(metric, suffix, **labels), by, "$__rate_interval")

    def quantile(share: float) -> str:
        return f"histogram_quantile({share}, {rate(metrics.SECONDS, 'bundle, le', '_bucket')})"

    errors = f"{rate(metrics.REQUESTS, 'bundle', code='~5..')} / {rate(metrics.REQUESTS, 'bundle')}"
    shares = f"{rate(metrics.ANSWERS, 'bundle, label')} / on (bundle) group_left {rate(metrics.ROWS, 'bundle')}"
    scores = rate(metrics.SCORES, "le", "_bucket")
    codes = rate(metrics.REQUESTS, "bundle, code")
    panels = [
        _panel("Requests per second, by code", "reqps", [(codes, "{{bundle}} {{code}}")]),
        _panel("Share of requests with a server error", "percentunit", [(errors, "{{bundle}}")]),
        _panel("Seconds to answer", "s", [(quantile(0.5), "{{bundle}} p50"), (quantile(0.99), "{{bundle}} p99")]),
        _panel("Requests in flight", "short", [(f"sum by (pod) ({series(metrics.IN_FLIGHT)})", "{{pod}}")]),
        _panel("Rows answered per second", "short", [(rate(metrics.ROWS, "bundle"), "{{bundle}}")]),
        _panel("Share of each label in the answers", "percentunit", [(shares, "{{bundle}} {{label}}")]),
        _panel("Scores", "short", [(scores, "{{le}}")], "heatmap"),
        _panel("Refused inputs per second", "short",
               [(rate(metrics.REFUSED_INPUTS, "column, reason"), "{{column}}: {{reason}}")]),
        _panel("Versions", "short", [(f"sum by (model, bundle, version) ({series(metrics.BUILD)})", "")], "table"),
    ]  # fmt: skip
    for number, panel in enumerate(panels):
        panel |= {"id": number + 1, "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)}}
    build = _series(settings, metrics.BUILD)
    return {
        "uid": f"lockgate-{sha256(settings.namespace.encode())[7:19]}",
        "title": f"Lockgate: models served in {settings.namespace}",
        "tags": ["lockgate"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                _variable("model", f"label_values({build}, model)"),
                _variable("bundle", f"label_values({_series(settings, metrics.BUILD, model='~$model')}, bundle)"),
            ]
        },
        "panels": panels,
    }


_FORMS: Mapping[str, dict[str, Any]] = {
    "heatmap": {"format": "heatmap"},
    "table": {"format": "table", "instant": True},
}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _variable(name: str, query: str) -> dict[str, Any]:
    chosen = {"includeAll": True, "multi": True, "current": {"text": "All", "value": "$__all"}}
    return {"name": name, "type": "query", "datasource": _SOURCE, "query": query, "refresh": 2, **chosen}


def _panel(title: str, unit: str, queries: Sequence[tuple[str, str]], kind: str = "timeseries") -> dict[str, Any]:
    form = _FORMS.get(kind, {})
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": expression, "legendFormat": legend, **form}
        for number, (expression, legend) in enumerate(queries)
    ]
    return {
        "title": title,
        "type": kind,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {"calculate": False} if kind == "heatmap" else {},
        "targets": targets,
    }
