"""Prometheus metrics of one server: what it counts, and the port where it shows them.

Labels are inputs and labels of the model, codes of its own answers and fixed words: a caller cannot add series, and no
value of a request becomes one.
"""

import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from importlib.metadata import version
from itertools import accumulate
from threading import Lock
from time import perf_counter

import numpy as np
from lockgate_step import VERSION, Column
from lockgate_wire import Hosts
from lockgate_wire import metrics as named
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Metric, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.responses import Response

from lockgate_model_server.check import Fault, Tensor
from lockgate_model_server.door import App, Message, Receive, Scope, Send, error
from lockgate_model_server.runtime import InputRefused, LockgateRuntime

PATH = "/metrics"
_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
# These series exist from the start: the first error is then an increase.
_USUAL_CODES = (HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_FEW = 64  # values that are counted faster without numpy


class Metrics(Collector):
    """The counts of one server of one bundle, in a registry of their own.

    They are plain numbers, which the library shows: its own objects cost several times as much for each request, and
    count 30,000 scores one by one.

    bundle: the first 12 digits of its digest, as in every answer.
    """

    def __init__(self, model: str, bundle: str) -> None:
        self._own = (model, bundle)
        self._columns: frozenset[str] = frozenset()
        self._labels = ("", "")
        self._lock = Lock()  # large requests are answered in threads
        self._requests = Counter({str(code.value): 0 for code in _USUAL_CODES})
        self._refused: Counter[tuple[str, str]] = Counter()
        self._answers: Counter[str] = Counter()
        self._in_flight = self._rows = 0
        self._seconds, self._scores = _Histogram(named.SECONDS), _Histogram(named.SCORES)
        self._build = (VERSION, version("onnxruntime"), platform.python_version())
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def loaded(self, columns: Iterable[Column], labels: tuple[str, str]) -> None:
        """Note the inputs and the labels of the model, the negative one first: the only names that become labels."""
        self._columns, self._labels = frozenset(column.name for column in columns), labels
        self._answers.update(dict.fromkeys(labels, 0))

    def answered(self, labels: Sequence[str], scores: Sequence[float]) -> None:
        """Count the answers to one request."""
        negative, positive = self._labels
        rows, found, scored = len(labels), labels.count(positive), self._scores.sorted(scores)
        with self._lock:
            self._rows += rows
            self._answers[positive] += found
            self._answers[negative] += rows - found
            self._scores.add(*scored)

    def refused(self, faults: Iterable[Fault]) -> None:
        """Count the faults of one refused request."""
        known = self._columns
        found = {(fault.column if fault.column in known else named.OTHER, str(fault.reason)) for fault in faults}
        with self._lock:
            self._refused.update(found)

    async def count(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request for answers, and count it."""
        code = named.GONE

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        began = perf_counter()
        self._in_flight += 1  # as all below, only in the thread of the event loop
        try:
            await app(scope, receive, noting)
        finally:
            self._in_flight -= 1
            self._requests[str(code)] += 1
            if code != named.GONE:
                self._seconds.add_one(perf_counter() - began)

    def text(self) -> bytes:
        """Return every metric in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        with self._lock:
            return [*self._numbers(), self._seconds.family(self._own), self._scores.family(self._own)]

    def _numbers(self) -> Iterator[Metric]:
        shown: dict[named.Metric, dict[tuple[str, ...], int]] = {
            named.REQUESTS: {(code,): count for code, count in self._requests.items()},
            named.IN_FLIGHT: {(): self._in_flight},
            named.ROWS: {(): self._rows},
            named.ANSWERS: {(label,): count for label, count in self._answers.items()},
            named.REFUSED_INPUTS: {(column, reason): count for (column, reason), count in self._refused.items()},
            named.BUILD: {self._build: 1},
        }
        for metric, series in shown.items():
            family = _FAMILIES[metric.kind](metric.name, metric.what, labels=(*named.LABELS, *metric.labels))
            for labels, value in series.items():
                family.add_metric((*self._own, *labels), value)
            yield family


class _Histogram:
    """Counts values by the buckets of a metric: many at once, where the library's own counts one by one."""

    def __init__(self, metric: named.Metric) -> None:
        self._metric, self._limits = metric, metric.buckets
        self._counts = [0] * (len(metric.buckets) + 1)
        self._sum = 0.0

    def sorted(self, values: Sequence[float]) -> tuple[Iterable[tuple[int, int]], float]:
        """Return the number of each value's bucket with a count, and the sum of the values."""
        if len(values) <= _FEW:
            return [(bisect_left(self._limits, value), 1) for value in values], sum(values)
        found = np.fromiter(values, np.float64, len(values))
        found.sort()
        until = [*found.searchsorted(self._limits, side="right").tolist(), len(values)]
        counts = (after - before for before, after in zip([0, *until], until, strict=False))
        return enumerate(counts), float(found.sum())

    def add(self, counts: Iterable[tuple[int, int]], total: float) -> None:
        for bucket, count in counts:
            self._counts[bucket] += count
        self._sum += total

    def add_one(self, value: float) -> None:
        self._counts[bisect_left(self._limits, value)] += 1
        self._sum += value

    def family(self, own: Sequence[str]) -> Metric:
        limits = [*map(str, self._limits), "+Inf"]
        family = HistogramMetricFamily(self._metric.name, self._metric.what, labels=named.LABELS)
        family.add_metric(own, [*zip(limits, accumulate(self._counts), strict=True)], self._sum)
        return family


class CountedRuntime(LockgateRuntime):
    """The runtime of a server that counts what it answers and what it refuses."""

    metrics: Metrics

    def _answer(self, tensors: Sequence[Tensor]) -> tuple[list[str], list[float]]:
        try:
            labels, scores = super()._answer(tensors)
        except InputRefused as refused:
            self.metrics.refused(refused.faults)
            raise
        self.metrics.answered(labels, scores)
        return labels, scores


class Ports:
    """The ASGI app of a server with two ports: users' requests are counted, the other port shows the counts.

    port: of the metrics. The kernel says on which port a connection was opened; nothing in a request decides it.
    """

    def __init__(self, app: App, metrics: Metrics, port: int, hosts: Hosts) -> None:
        self._app, self._metrics, self._port, self._hosts = app, metrics, port, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app of its port."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["server"][1] == self._port:
            await self._show(scope)(scope, receive, send)
        elif scope["path"].endswith("/infer"):
            await self._metrics.count(self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _show(self, scope: Scope) -> Response:
        if not self._hosts.allow(Headers(scope=scope).getlist("host")):
            answer = error(HTTPStatus.MISDIRECTED_REQUEST, Hosts.REFUSED)
        elif scope["path"] != PATH:
            answer = error(HTTPStatus.NOT_FOUND, f"this port has only {PATH}")
        elif scope["method"] != "GET":
            answer = error(HTTPStatus.METHOD_NOT_ALLOWED, f"this port has only GET {PATH}")
        else:
            answer = Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
        # A scraper asks every half minute. An open connection in between would hold up a server that stops.
        answer.headers["connection"] = "close"
        return answer
