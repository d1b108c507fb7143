"""The metrics of a running server: their counts are right, no caller can add series, and users' port has none."""

import http.client
import json
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_model_server.check import Fault, Reason
from lockgate_model_server.metrics import Metrics
from lockgate_step import layout, read_columns
from lockgate_wire import metrics as named
from prometheus_client.parser import text_string_to_metric_families
from test_bug import OVERFLOW, overflowing
from tiny_bundle.child import Server, launch, serving

from tests.wire import SECRET, closed

ROWS = tiny_bundle.ROWS
GOOD = tiny_bundle.request(ROWS)
Series = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture(scope="module")
def counted(bundle: Path, io: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serving(bundle, io, log, "--metrics-port", "0") as running:
        yield running


def parsed(text: str) -> dict[Series, float]:
    """Return each series of an exposition; its name and labels -> its value."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series is shown twice"
    return found


def counts(server: Server) -> dict[Series, float]:
    answer = server.scrape()
    assert answer.status == 200, answer.text
    return parsed(answer.text)


def value(found: Mapping[Series, float], server: Server, name: str, **labels: str) -> float:
    own = {"model": tiny_bundle.NAME, "bundle": server.bundle[7:19], **labels}
    return found.get((name, frozenset(own.items())), 0.0)


class Change:
    """What one or more calls add to the counts of a server."""

    def __init__(self, server: Server) -> None:
        self._server, self._before = server, counts(server)

    def of(self, name: str, **labels: str) -> float:
        now = counts(self._server)
        return value(now, self._server, name, **labels) - value(self._before, self._server, name, **labels)

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """Return what changed of one metric; values of its own labels, sorted by label -> increase."""
        now, found = counts(self._server), {}
        for series, amount in now.items():
            increase = amount - self._before.get(series, 0.0)
            if series[0] == name and increase:
                own = sorted((key, text) for key, text in series[1] if key not in named.LABELS)
                found[tuple(text for _, text in own)] = increase
        return found


def changed(name: str, /, **fields: object) -> dict[str, Any]:
    inputs = [{**tensor, **fields} if tensor["name"] == name else tensor for tensor in GOOD["inputs"]]
    return {"inputs": inputs}


# What is counted -----------------------------------------------------------------------------------------------------


def test_the_metrics_are_those_that_the_sdk_names_with_their_labels(counted: Server) -> None:
    counted.infer(GOOD)
    counted.infer(changed("age", data=[50, 25, 91]))
    found = counts(counted)
    wanted = {sample: metric for metric in named.METRICS for sample in metric.samples}
    assert {name for name, _ in found} == set(wanted)
    for name, labels in found:
        own = {key for key, _ in labels} - ({"le"} if name.endswith("_bucket") else set())
        assert own == {*named.LABELS, *wanted[name].labels}
        assert {("model", "tiny"), ("bundle", counted.bundle[7:19])} <= labels
    kinds = {family.name: family.type for family in text_string_to_metric_families(counted.scrape().text)}
    assert kinds == {metric.name.removesuffix("_total"): metric.kind for metric in named.METRICS}
    for metric in named.METRICS:
        limits = {float(dict(labels)["le"]) for name, labels in found if name == f"{metric.name}_bucket"}
        assert limits == ({*metric.buckets, float("inf")} if metric.buckets else set())


def test_an_answer_is_counted_with_its_rows_labels_and_scores(counted: Server) -> None:
    change, right = Change(counted), [tiny_bundle.answer(row) for row in ROWS]
    for _ in range(4):
        assert counted.infer(GOOD).status == 200
    assert change.all("lockgate_requests_total") == {("200",): 4}
    assert change.of("lockgate_rows_total") == 4 * len(ROWS)
    positive = sum(answer["label"] == "high" for answer in right)
    assert change.all("lockgate_answers_total") == {("high",): 4 * positive, ("low",): 4 * (len(ROWS) - positive)}
    assert change.of("lockgate_request_seconds_count") == change.of("lockgate_request_seconds_bucket", le="+Inf") == 4
    assert change.of("lockgate_request_seconds_sum") > 0
    assert change.of("lockgate_score_sum") == pytest.approx(4 * sum(answer["score"] for answer in right), abs=1e-4)
    for limit in named.SCORES.buckets:
        until = 4 * sum(answer["score"] <= limit for answer in right)
        assert change.of("lockgate_score_bucket", le=str(limit)) == until
    assert change.of("lockgate_refused_inputs_total") == 0


def test_a_large_request_is_counted_as_exactly(counted: Server) -> None:
    change = Change(counted)
    assert counted.infer(tiny_bundle.request(ROWS * 1000)).status == 200
    assert change.of("lockgate_rows_total") == change.of("lockgate_score_count") == 3000
    assert sum(change.all("lockgate_answers_total").values()) == 3000


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (changed("age", data=[50, 25, 91]), {("age", Reason.ABOVE_RANGE)}),
        (changed("age", data=[1, 25, 91]), {("age", Reason.ABOVE_RANGE), ("age", Reason.BELOW_RANGE)}),
        (changed("age", data=[50, None, 38]), {("age", Reason.MISSING_VALUE)}),
        (changed("age", data=[50, "x", 38]), {("age", Reason.WRONG_TYPE)}),
        (changed("age", data=[50, 25, 38.5]), {("age", Reason.NOT_WHOLE)}),
        (changed("age", data=[50, 25, 1e300]), {("age", Reason.NOT_FINITE)}),
        (changed("age", datatype="BYTES"), {("age", Reason.WRONG_DATATYPE)}),
        (changed("age", shape=[2]), {("age", Reason.WRONG_SHAPE)}),
        (changed("age", data=[50, 25], shape=[2]), {("age", Reason.WRONG_SHAPE)}),
        (changed("age", data=[[[50]], 25, 38]), {("age", Reason.WRONG_TYPE)}),
        (changed("age", data=[[[[[]]]]] * 3), {("age", Reason.WRONG_SHAPE)}),
        (changed("occupation", data=["Exec", SECRET, "Clerk"]), {("occupation", Reason.UNKNOWN_CATEGORY)}),
        (
            changed("hours", name=SECRET),
            {(named.OTHER, Reason.UNKNOWN_COLUMN), ("hours", Reason.MISSING_COLUMN)},
        ),
        (
            {"inputs": [*GOOD["inputs"], GOOD["inputs"][0], *({**GOOD["inputs"][0], "name": f"x{n}"} for n in "ab")]},
            {("age", Reason.GIVEN_TWICE), (named.OTHER, Reason.UNKNOWN_COLUMN)},
        ),
        (tiny_bundle.request([]), {(column, Reason.NO_ROWS) for column in ("age", "hours", "occupation")}),
    ],
)
def test_a_refused_request_is_counted_once_for_each_fault(
    counted: Server, body: object, faults: set[tuple[str, str]]
) -> None:
    change = Change(counted)
    assert counted.infer(body).status == 400
    assert change.all("lockgate_requests_total") == {("400",): 1}
    assert change.all("lockgate_refused_inputs_total") == {(column, str(reason)): 1 for column, reason in faults}
    assert change.of("lockgate_rows_total") == change.of("lockgate_score_count") == 0


def test_more_rows_than_a_request_may_have_are_counted(counted: Server) -> None:
    change = Change(counted)
    assert counted.infer(tiny_bundle.request(ROWS * 11_000)).status == 413
    assert change.all("lockgate_requests_total") == {("413",): 1}
    assert change.all("lockgate_refused_inputs_total") == {("age", str(Reason.TOO_MANY_ROWS)): 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "code"),
    [
        ("POST", "/v2/models/tiny/infer", b'{"inputs": [', "application/json", "400"),
        ("POST", "/v2/models/tiny/infer", b"\xff", "application/json", "400"),
        ("POST", "/v2/models/tiny/infer", b" " * (9 * 2**20), "application/json", "413"),
        ("POST", "/v2/models/tiny/infer", b"{}", "text/plain", "415"),
        ("POST", "/v2/models/other/infer", b"{}", "application/json", "404"),
        ("GET", "/v2/models/tiny/infer", None, "", "405"),
    ],
)
def test_a_malformed_request_is_counted_by_its_code(
    counted: Server, method: str, path: str, body: bytes | None, kind: str, code: str
) -> None:
    change = Change(counted)
    assert counted.call(method, path, body, content_type=kind).status == int(code)
    assert change.all("lockgate_requests_total") == {(code,): 1}
    assert change.of("lockgate_request_seconds_count") == 1
    assert change.all("lockgate_refused_inputs_total") == {}


def test_what_is_not_a_request_for_answers_is_not_counted(counted: Server) -> None:
    """The kubelet asks for health all the time: with its requests, a share of errors would say little."""
    change = Change(counted)
    for path in ("/v2/health/live", "/v2/models/tiny/ready", "/v2/models/tiny", "/metrics", "/nothing"):
        counted.call("GET", path)
    assert change.all("lockgate_requests_total") == change.all("lockgate_request_seconds_count") == {}


def test_a_caller_who_leaves_is_counted_and_is_no_longer_in_flight(counted: Server) -> None:
    change = Change(counted)
    head = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: localhost\r\n"
    with socket.create_connection((counted.host, counted.port)) as leaver:
        leaver.sendall(head + b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        until(lambda: change.of("lockgate_requests_in_flight") == 1)
    until(lambda: change.of("lockgate_requests_in_flight") == 0)
    assert change.all("lockgate_requests_total") == {(str(named.GONE),): 1}
    assert change.of("lockgate_request_seconds_count") == 0


def until(holds: Any) -> None:
    for _ in range(600):
        if holds():
            return
        threading.Event().wait(0.05)
    pytest.fail("did not happen within 30 seconds")


def test_concurrent_requests_are_all_counted(counted: Server) -> None:
    """Large requests are answered in threads, and refused ones beside them."""
    change, each = Change(counted), 25
    bodies = [GOOD, tiny_bundle.request(ROWS * 200), changed("age", data=[50, 25, 91]), b"{"]

    def calls(body: object) -> None:
        for _ in range(each):
            counted.infer(body)

    threads = [threading.Thread(target=calls, args=(body,)) for body in bodies * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert change.all("lockgate_requests_total") == {("200",): 4 * each, ("400",): 4 * each}
    assert change.of("lockgate_rows_total") == change.of("lockgate_score_count") == 2 * each * (3 + 600)
    assert change.all("lockgate_refused_inputs_total") == {("age", str(Reason.ABOVE_RANGE)): 2 * each}
    assert change.of("lockgate_requests_in_flight") == 0


def test_an_unexpected_failure_counts_as_500(authority: tiny_bundle.Authority, io: Path, tmp_path: Path) -> None:
    authority.write_bundle(tmp_path / "bundle", other=overflowing(tmp_path / "model"))
    with serving(tmp_path / "bundle", io, tmp_path / "log", "--metrics-port", "0") as server:
        change = Change(server)
        assert server.infer(tiny_bundle.request([OVERFLOW])).status == 500
        assert change.all("lockgate_requests_total") == {("500",): 1}
        assert change.of("lockgate_rows_total") == change.of("lockgate_requests_in_flight") == 0


# No caller can add series --------------------------------------------------------------------------------------------


def test_ten_thousand_hostile_requests_add_no_series_and_leave_no_value(counted: Server) -> None:
    """Odd names, paths, methods, versions and values. One connection, so that it takes seconds."""
    for body in (GOOD, changed("age", data=[50, 25, 91]), changed("hours", name="x"), b"{"):
        counted.infer(body)
    draw = random.Random(14)
    before: set[Series] = set()
    with closing(http.client.HTTPConnection(counted.host, counted.port, timeout=60)) as connection:
        for number in range(10_000):
            method, path, odd = hostile(draw, number)
            connection.request(method, path, odd, {"content-type": "application/json"})
            connection.getresponse().read()
            if number == 200:
                before = set(counts(counted))
    after = counted.scrape()
    assert set(parsed(after.text)) == before
    assert SECRET not in after.text


def hostile(draw: random.Random, number: int) -> tuple[str, str, bytes | None]:
    odd = f"{SECRET}-{number}"
    match number % 5:
        case 0:
            tensor = {"name": odd, "datatype": "FP64", "shape": [1], "data": [1.0]}
            return "POST", "/v2/models/tiny/infer", json.dumps({"inputs": [tensor]}).encode()
        case 1:
            return draw.choice(["POST", "GET", "PUT", "DELETE", f"M{number}"]), f"/v2/models/{odd}/infer", b"{}"
        case 2:
            return "POST", f"/v2/models/tiny/versions/{number}/infer", b"{}"
        case 3:
            body = changed("occupation", data=["Exec", odd, "Clerk"])
            return "POST", "/v2/models/tiny/infer", json.dumps({**body, "id": odd}).encode()
        case _:
            return "GET", f"/{odd}?{odd}", None


names = st.text(max_size=80) | st.sampled_from(["age", "hours", named.OTHER])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(names, st.sampled_from(Reason)), max_size=30))
def test_series_of_refused_inputs_are_of_the_models_inputs_alone(faults: list[tuple[str, Reason]]) -> None:
    metrics = made()
    metrics.refused(Fault(column, reason, "x") for column, reason in faults)
    series = [dict(labels) for name, labels in parsed(metrics.text().decode()) if "refused" in name]
    known = {"age", "hours", "occupation", named.OTHER}
    assert {each["column"] for each in series} <= known
    assert {(each["column"], each["reason"]) for each in series} == {
        (column if column in known else named.OTHER, str(reason)) for column, reason in faults
    }


def made() -> Metrics:
    metrics = Metrics("tiny", "0" * 12)
    metrics.loaded(read_columns(tiny_bundle.INPUTS), ("low", "high"))
    return metrics


def test_what_alerts_look_at_exists_before_the_first_request() -> None:
    """Prometheus sees an increase only from the second value of a series on."""
    found = parsed(made().text().decode())
    shown = {(name, dict(labels).get("code"), dict(labels).get("label")) for name, labels in found}
    assert {("lockgate_requests_total", code, None) for code in ("200", "400", "500", "503")} <= shown
    assert {("lockgate_answers_total", None, label) for label in ("low", "high")} <= shown
    assert sum(found.values()) == 1, "of build_info"


scores = st.floats(0, 1) | st.sampled_from(named.SCORES.buckets)


@settings(max_examples=50, deadline=None)
@given(st.lists(scores, min_size=65, max_size=200))
def test_many_scores_at_once_are_counted_as_one_by_one(values: list[float]) -> None:
    labels = ["high" if value >= 0.5 else "low" for value in values]
    at_once, alone = made(), made()
    at_once.answered(labels, values)
    for label, value in zip(labels, values, strict=True):
        alone.answered([label], [value])
    first, second = (parsed(metrics.text().decode()) for metrics in (at_once, alone))
    for series, amount in first.items():
        assert amount == pytest.approx(second[series], abs=1e-9)
    assert first.keys() == second.keys()


# Its own port --------------------------------------------------------------------------------------------------------


def test_users_port_has_no_metrics_and_the_metrics_port_nothing_else(counted: Server) -> None:
    assert counted.call("GET", "/metrics").status == 404
    for path in ("/", "/v2", "/v2/models/tiny", "/v2/models/tiny/infer", "/v2/health/live", "/metrics/", "//metrics"):
        answer = counted.scrape(path=path)
        assert (answer.status, set(answer.json)) == (404, {"error"}), path
    for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert counted.scrape(method).status == 405


def test_a_request_cannot_choose_its_port(counted: Server) -> None:
    for host in (counted.metrics, f"localhost:{counted.metrics.rsplit(':', 1)[1]}"):
        assert counted.call("GET", "/metrics", host=host, x_forwarded_port="9090").status == 404


def test_it_answers_to_the_same_host_names(counted: Server) -> None:
    assert counted.scrape(host="localhost").status == 200
    assert counted.scrape(host="10.0.0.7:9090").status == 200
    assert counted.scrape(host="evil.example").status == 421


def test_a_scraper_keeps_no_connection_open(counted: Server) -> None:
    assert counted.scrape().headers["connection"] == "close"
    assert "server" not in counted.scrape().headers


def test_its_connections_have_the_limits_of_the_server(bundle: Path, io: Path, tmp_path: Path) -> None:
    more = ("--metrics-port", "0", "--header-seconds", "2", "--connections", "5")
    with serving(bundle, io, tmp_path / "log", *more) as server:
        host, port = server.metrics.rsplit(":", 1)
        with ExitStack() as stack:
            idle = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(30)]
            assert server.infer(GOOD).status == 200
            assert server.scrape().status == 200
            assert closed(idle, within=60)


def test_without_the_option_there_is_no_port_and_nothing_is_counted(server: Server) -> None:
    assert server.metrics == ""
    assert "metrics" not in server.log.splitlines()[0]


def test_pods_choose_the_port_by_a_variable_that_earlier_servers_ignore(
    bundle: Path, io: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(layout.METRICS_VARIABLE, "0")
    with serving(bundle, io, tmp_path / "log") as server:
        assert server.scrape().status == 200


def test_a_taken_port_names_its_own_option(bundle: Path, io: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        process = launch(bundle, io, tmp_path / "log", "--port", "0", "--metrics-port", port)
        assert process.wait(60) == 4
    said = json.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert port in said["message"]
    assert "--metrics-port" in said["fix"]


def test_every_reason_is_counted_by_a_test_above() -> None:
    text = Path(__file__).read_text()
    assert [reason for reason in Reason if f"Reason.{reason.name}" not in text] == []
