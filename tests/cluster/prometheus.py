"""A real Prometheus: its configuration from our PodMonitor and PrometheusRule, and its answers to queries."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.processes import wait_for

QUICK = "250ms"  # between two scrapes and two evaluations of the rules
_LISTENS = re.compile(r'msg="Listening on".* address=(\S+)')


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus at an address."""

    address: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that a query finds now: `metric` (its labels) and `value`."""
        return list(self._ask("query", query=expression)["result"])

    def alerts(self) -> dict[str, str]:
        """Return the state of each alert that is not inactive: name -> pending or firing."""
        return {each["labels"]["alertname"]: each["state"] for each in self._ask("alerts")["alerts"]}

    def problems(self) -> list[str]:
        """Return what is wrong with a target or a rule."""
        targets = self._ask("targets")["activeTargets"]
        rules = [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]
        return [found["lastError"] for found in (*targets, *rules) if found.get("lastError")]

    def _ask(self, what: str, **given: str) -> dict[str, Any]:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(given)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return dict(said["data"])


def configuration(monitor: Mapping[str, Any], pods: Mapping[str, str], rules: Path) -> dict[str, Any]:
    """Return what the Prometheus Operator makes of a PodMonitor: a job, with its labels of each pod's series.

    pods: name -> address of the port that the monitor names. The operator finds them itself, by the selector.
    """
    place, name = monitor["metadata"]["namespace"], monitor["metadata"]["name"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = {"namespace": place, "job": f"{place}/{name}", "endpoint": endpoint["port"]}
    return {
        "global": {"scrape_interval": QUICK, "scrape_timeout": QUICK, "evaluation_interval": QUICK},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": f"podMonitor/{place}/{name}/0",
                "metrics_path": endpoint["path"],
                "static_configs": [{"targets": [at], "labels": {**labels, "pod": pod}} for pod, at in pods.items()],
            }
        ],
    }


@contextmanager
def running(program: Path, folder: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run Prometheus on a free port until the block ends; its log is in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    log, file = folder / "log", folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    argv: Sequence[str] = [
        str(program),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with log.open("w") as output, subprocess.Popen(argv, cwd=folder, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + 120
            while not (said := _LISTENS.search(log.read_text())):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield Prometheus(said[1])
        finally:
            process.terminate()


def until(holds: Any, seconds: float = 120) -> bool:
    """Wait until something holds, and retry while Prometheus does not answer yet."""

    def quietly() -> bool:
        try:
            return bool(holds())
        except OSError:
            return False

    return wait_for(quietly, seconds)
