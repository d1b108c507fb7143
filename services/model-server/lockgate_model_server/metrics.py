"""Prometheus metrics of one server: what it counts, and the port where it shows them.

Labels are inputs and labels of the model, codes of its own answers and fixed words: a caller cannot add series, and no
value of a request becomes one.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np
from lockgate_step import VERSION, Column
from lockgate_wire import Hosts
from lockgate_wire import metrics as named
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.datastructures import Headers
from starlette.responses import Response

from lockgate_model_server.check import Fault, Tensor
from lockgate_model_server.door import App, Message, Receive, Scope, Send, error
from lockgate_model_server.runtime import InputRefused, LockgateRuntime

PATH = "/metrics"
_KINDS: dict[str, Callable[..., Any]] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
# These series exist from the start: the first error is then an increase.
_USUAL_CODES = (HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)


class Metrics:
    """The counts of one server of one bundle, in a registry of their own.

    bundle: the first 12 digits of its digest, as in every answer.
    """

    def __init__(self, model: str, bundle: str) -> None:
        # Else there is a second series for each, with the time of its start.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()

        def made(metric: named.Metric) -> Callable[..., Any]:
            """Return the function from the values of a metric's own labels to its series."""
            buckets = {"buckets": metric.buckets} if metric.buckets else {}
            labels = (*named.LABELS, *metric.labels)
            family = _KINDS[metric.kind](metric.name, metric.what, labels, registry=self.registry, **buckets)
            return cache(lambda *values: family.labels(model, bundle, *values))

        self._requests, self._refused = made(named.REQUESTS), made(named.REFUSED_INPUTS)
        self._seconds, self._in_flight, self._rows = (
            made(metric)() for metric in (named.SECONDS, named.IN_FLIGHT, named.ROWS)
        )
        self._answers = made(named.ANSWERS)
        self._scores = _Scores(model, bundle)
        self.registry.register(self._scores)
        made(named.BUILD)(VERSION, version("onnxruntime"), platform.python_version()).set(1)
        for code in _USUAL_CODES:
            self._requests(str(code.value))
        self._columns: frozenset[str] = frozenset()
        self._labels: Sequence[str] = ()

    def loaded(self, columns: Iterable[Column], labels: Sequence[str]) -> None:
        """Note the inputs and labels of the model: the only names that become labels."""
        self._columns, self._labels = frozenset(column.name for column in columns), labels
        for label in labels:
            self._answers(label)

    def answered(self, labels: Sequence[str], scores: Sequence[float]) -> None:
        """Count the answers to one request."""
        self._rows.inc(len(labels))
        for label in self._labels:
            self._answers(label).inc(labels.count(label))
        self._scores.observe(scores)

    def refused(self, faults: Iterable[Fault]) -> None:
        """Count the faults of one refused request."""
        known = self._columns
        found = {(fault.column if fault.column in known else named.OTHER, fault.reason) for fault in faults}
        for column, reason in found:
            self._refused(column, str(reason)).inc()

    async def count(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request for answers, and count it."""
        code = named.GONE

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        began = perf_counter()
        self._in_flight.inc()
        try:
            await app(scope, receive, noting)
        finally:
            self._in_flight.dec()
            self._requests(str(code)).inc()
            if code != named.GONE:
                self._seconds.observe(perf_counter() - began)

    def text(self) -> bytes:
        """Return every metric in Prometheus's text format."""
        return generate_latest(self.registry)


class _Scores(Collector):
    """A histogram that counts all scores of a request at once; the library's counts one by one."""

    def __init__(self, model: str, bundle: str) -> None:
        self._labels = (model, bundle)
        self._bounds = np.asarray(named.SCORES.buckets)
        self._counts = np.zeros(self._bounds.size + 1, dtype=np.int64)
        self._sum = 0.0
        self._lock = Lock()  # large requests are answered in threads

    def observe(self, scores: Sequence[float]) -> None:
        found = np.asarray(scores, dtype=np.float64)
        counts = np.bincount(self._bounds.searchsorted(found), minlength=self._counts.size)
        total = float(found.sum())
        with self._lock:
            self._counts += counts
            self._sum += total

    def collect(self) -> Iterator[HistogramMetricFamily]:
        with self._lock:
            until, total = self._counts.cumsum(), self._sum
        bounds = (*named.SCORES.buckets, float("inf"))
        shown = (floatToGoString(bound) for bound in bounds)  # type: ignore[no-untyped-call]
        buckets = [(limit, float(count)) for limit, count in zip(shown, until, strict=True)]
        family = HistogramMetricFamily(named.SCORES.name, named.SCORES.what, labels=named.LABELS)
        family.add_metric(self._labels, buckets, total)
        yield family


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
