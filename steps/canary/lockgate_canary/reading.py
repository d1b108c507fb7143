"""Read what a server counted from its metrics."""

import math
from collections import Counter
from collections.abc import Mapping

from lockgate_step import OutsideFailed
from lockgate_wire import metrics as named
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from lockgate_canary.counts import Counts

_REFUSED = frozenset({"400", "422"})  # the codes of requests whose inputs were refused


def counts_of(text: str, model: str, bundle: str) -> Counts:
    """Return what one server counted, from its metrics in Prometheus's text format.

    bundle: the digest of the bundle that the server must serve.
    Errors: OutsideFailed if the metrics are not those of a server of this model and bundle.
    """
    wanted = {"model": model, "bundle": bundle.removeprefix("sha256:")[:12]}
    try:
        families = {family.name: family for family in text_string_to_metric_families(text)}
        found = [sample.labels for family in families.values() for sample in family.samples]
        if not found or any(wanted.items() - labels.items() for labels in found):
            raise ValueError(wanted)
        requests = _table(families, named.REQUESTS, "code")
        return Counts(
            requests=sum(requests.values()),
            errors=sum(count for code, count in requests.items() if code.startswith("5")),
            refused=sum(count for code, count in requests.items() if code in _REFUSED),
            latency=_buckets(families, named.SECONDS, 1000),
            answers=_table(families, named.ANSWERS, "label"),
            scores=_buckets(families, named.SCORES, 1),
            compared=sum(_table(families, named.COMPARED, "model").values()),
            disagreed=sum(_table(families, named.DISAGREED, "model").values()),
        )
    except (ValueError, KeyError) as error:
        msg = f"a server of {model} does not show the metrics of {wanted['bundle']}"
        raise OutsideFailed(msg, fix=f"lockgate status {model}, then run again") from error


def _samples(families: Mapping[str, Metric], metric: named.Metric) -> Metric | None:
    return families.get(metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name)


def _table(families: Mapping[str, Metric], metric: named.Metric, label: str) -> dict[str, int]:
    table: Counter[str] = Counter()
    for sample in family.samples if (family := _samples(families, metric)) else ():
        if sample.name == metric.name:
            table[sample.labels[label]] += round(sample.value)
    return dict(table)


def _buckets(families: Mapping[str, Metric], metric: named.Metric, unit: float) -> dict[float, int]:
    """Return the values inside each bucket by its upper bound; Prometheus counts those below it too."""
    until: dict[float, int] = {}
    for sample in family.samples if (family := _samples(families, metric)) else ():
        if sample.name == f"{metric.name}_bucket":
            until[float(sample.labels["le"])] = round(sample.value)
    found, below = {}, 0
    for bound, count in sorted(until.items()):
        found[bound * unit if math.isfinite(bound) else bound] = count - below
        below = count
    return found
