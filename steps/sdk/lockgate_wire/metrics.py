"""The metrics of a served model: their names, labels and buckets, for the server that counts and for what reads them.

Whoever reads them writes these names into queries, alerts and dashboards, so a change here is a change of an interface.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

LABELS = ("model", "bundle")  # of every metric; `bundle`: the first 12 digits of the digest, as in every answer
OTHER = "other"  # in the label `column`: a name that is not an input of the model
GONE = 499  # in the label `code`: the caller left, or was cut off, before the answer began


@dataclass(frozen=True)
class Metric:
    """One metric.

    name: as Prometheus stores it; a histogram is stored as `name_bucket`, `name_sum` and `name_count`.
    labels: beside `LABELS`.
    buckets: upper limits of a histogram, without +Inf.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    what: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def samples(self) -> Iterator[str]:
        """The names under which Prometheus stores it."""
        suffixes = ("_bucket", "_sum", "_count") if self.kind == "histogram" else ("",)
        yield from (f"{self.name}{suffix}" for suffix in suffixes)


REQUESTS = Metric(
    "lockgate_requests_total",
    "counter",
    f"Requests for answers, by HTTP code. {GONE}: the caller left before the answer began.",
    ("code",),
)
SECONDS = Metric(
    "lockgate_request_seconds",
    "histogram",
    "Seconds from the header of a request for answers to the end of its answer, with the time in which its body came.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
IN_FLIGHT = Metric("lockgate_requests_in_flight", "gauge", "Requests for answers that are not answered yet.")
ROWS = Metric("lockgate_rows_total", "counter", "Rows that the model answered.")
ANSWERS = Metric("lockgate_answers_total", "counter", "Rows that the model answered, by label.", ("label",))
SCORES = Metric(
    "lockgate_score",
    "histogram",
    "Scores of the rows that the model answered.",
    buckets=tuple(step / 20 for step in range(1, 21)),
)
REFUSED_INPUTS = Metric(
    "lockgate_refused_inputs_total",
    "counter",
    f"Faults of refused requests, once for each request, column and reason. Column {OTHER}: not an input of the model.",
    ("column", "reason"),
)
BUILD = Metric(
    "lockgate_build_info", "gauge", "Always 1; the versions are labels.", ("version", "onnxruntime", "python")
)

# Of a shadow: not the server counts these, but whoever copies the requests and sees both answers.
COMPARED = Metric("lockgate_compared_total", "counter", "Answers of a shadow that were compared with those of live.")
DISAGREED = Metric("lockgate_disagreed_total", "counter", "Compared answers of a shadow with another label in a row.")
# Argo's controller counts these, if its metrics are on: the first part of the name is its own.
GATE_RESULTS = Metric(
    "argo_workflows_lockgate_gate_results_total",
    "counter",
    "Attempts of a gate by result: passed, refused (or inconclusive), error.",
    ("workflow_namespace", "gate", "result"),
)

METRICS = (REQUESTS, SECONDS, IN_FLIGHT, ROWS, ANSWERS, SCORES, REFUSED_INPUTS, BUILD)


def table() -> str:
    """Return the metrics as a table in Markdown."""
    rows = [(f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels) or "-", m.what) for m in METRICS]
    heads = [("metric", "kind", "labels", "what"), ("---", "---", "---", "---")]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*heads, *rows])
