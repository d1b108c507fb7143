"""The checks of a deployed version, one function per check; each yields its findings."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from lockgate_step import Reason

Row = Mapping[str, Any]

_LEAKS = re.compile(r"Traceback|File \"|\.py\b|site-packages|(?:/[\w.-]+){3,}")
_OVERSIZE = 16 * 2**20  # twice the server's limit
_STRANGER = "lockgate-smoke-test"


@dataclass(frozen=True)
class Failed:
    """A reason to refuse."""

    reason: Reason


@dataclass(frozen=True)
class Measured:
    """Evidence: counts and times, never a value of a request or an answer."""

    name: str
    value: object


Finding = Failed | Measured


@dataclass(frozen=True)
class Version:
    """The deployed version, and the contents of its bundle that it must match."""

    client: httpx.Client
    name: str
    bundle: str
    schema: Mapping[str, Any]
    columns: Sequence[Mapping[str, Any]]
    golden: Mapping[str, Any]

    @classmethod
    def of(cls, client: httpx.Client, folder: Path, name: str, bundle: str) -> "Version":
        """Read the contents from a bundle folder."""
        schema, card, golden = (
            json.loads((folder / path).read_bytes()) for path in ("schema.json", "model/model.json", "golden.json")
        )
        return cls(client, name, bundle, schema, card["inputs"], golden)

    def is_ready(self) -> bool:
        """Whether its readiness endpoint returns 200."""
        try:
            return self.client.get(f"/v2/models/{self.name}/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def request(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Build the Open Inference request for some rows."""
        return {
            "inputs": [
                {
                    "name": column["name"],
                    "datatype": "FP64" if column["kind"] == "number" else "BYTES",
                    "shape": [len(rows)],
                    "data": [row[column["name"]] for row in rows],
                }
                for column in self.columns
            ]
        }

    def infer(self, body: object) -> httpx.Response:
        """Send an inference request; bytes are sent unchanged."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        return self.client.post(f"/v2/models/{self.name}/infer", content=content, headers=headers)


Check = Callable[[Version], Iterator[Finding]]


def ready(version: Version) -> Iterator[Finding]:
    """Check that the server is live and ready, and that the model is ready."""
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{version.name}/ready"):
        status = version.client.get(path).status_code
        if status != httpx.codes.OK:
            why = "A version that is not ready must not be promoted."
            yield _failed("ready", f"GET {path} returns {status}", why)


def metadata(version: Version) -> Iterator[Finding]:
    """Check that the model's metadata match the bundle's schema."""
    why = "Callers build their requests from these metadata."
    answer = version.client.get(f"/v2/models/{version.name}")
    said = _object(answer)
    if answer.status_code != httpx.codes.OK:
        yield _failed("metadata", f"the model's metadata endpoint returns {answer.status_code}", why)
        return
    for key in ("name", "platform", "inputs", "outputs"):
        if said.get(key) != version.schema[key]:
            yield _failed("metadata", f"the model's metadata and the bundle's schema differ in {key}", why)


def digest(version: Version) -> Iterator[Finding]:
    """Check that the answers name the bundle that was judged."""
    said = _object(version.infer(version.request(version.golden["requests"][:1])))
    named = (said.get("model_name"), said.get("model_version"), (said.get("parameters") or {}).get("bundle"))
    if named != (version.name, version.bundle.removeprefix("sha256:")[:12], version.bundle):
        message = f"its answers do not name the bundle {version.bundle} that was deployed"
        yield _failed("digest", message, "A decision must be traceable to the model that made it.")


def golden(version: Version) -> Iterator[Finding]:
    """Check that the golden requests get the answers that predict signed, however the rows are sent."""
    requests, wanted, tolerance = (version.golden[key] for key in ("requests", "answers", "tolerance"))
    for how, batches in _arrangements(len(wanted)):
        wrong = 0
        for batch in batches:
            given = _answers(version.infer(version.request([requests[i] for i in batch])), len(batch))
            wrong += sum(not _agree(g, wanted[i], tolerance) for g, i in zip(given, batch, strict=True))
        yield Measured(f"golden_{how.replace(' ', '_')}", {"rows": len(wanted), "wrong": wrong})
        if wrong:
            message = f"{wrong} of {len(wanted)} golden answers are wrong when sent {how}"
            yield _failed("golden", message, "The served model must answer like the one that was judged.")


def _arrangements(rows: int) -> Iterator[tuple[str, Sequence[Sequence[int]]]]:
    """Yield ways to send some rows: for each, the places of the rows of each request."""
    every = range(rows)
    yield "all in one request", [every]
    yield "one by one", [[i] for i in every]
    yield "in reverse order", [every[::-1]]
    yield "in three requests with other neighbours", [every[i::3] for i in every[:3]]


def malformed(version: Version) -> Iterator[Finding]:
    """Check that a body is refused if it is not an inference request."""
    for what, body in (
        ("malformed JSON", b'{"inputs": ['),
        ("JSON that is not a request", {"rows": []}),
        ("a request without inputs", {"inputs": []}),
        ("an empty batch", version.request([])),
    ):
        yield from _refused(version, "malformed", what, body)


def columns(version: Version) -> Iterator[Finding]:
    """Check that a request is refused if its columns are not the schema's."""
    good = version.request(version.golden["requests"][:1])["inputs"]
    stranger = {"name": _STRANGER, "datatype": "FP64", "shape": [1], "data": [1.0]}
    yield from _refused(version, "columns", "a missing column", {"inputs": good[1:]})
    yield from _refused(version, "columns", "an unknown column", {"inputs": [*good, stranger]})
    yield from _refused(version, "columns", "a column given twice", {"inputs": [*good, good[0]]})


def values(version: Version) -> Iterator[Finding]:
    """Check that values that the schema does not allow are refused, for each column."""
    row = version.golden["requests"][0]
    for column in version.columns:
        for what, value in _wrong_values(column):
            body = version.request([{**row, column["name"]: value}])
            yield from _refused(version, "values", f"{what} in column {column['name']!r}", body, secret=str(value))


def oversize(version: Version) -> Iterator[Finding]:
    """Check that an oversized body is refused."""
    what = f"a body of {_OVERSIZE // 2**20} MiB"
    yield from _refused(version, "oversize", what, b'{"inputs":[' + b" " * _OVERSIZE + b"]}")


def repository(version: Version) -> Iterator[Finding]:
    """Check that no model can be loaded or unloaded over the network."""
    for path in ("index", f"models/{version.name}/load", f"models/{version.name}/unload"):
        status = version.client.post(f"/v2/repository/{path}", json={}).status_code
        if status not in (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            message = f"its repository API is open: POST /v2/repository/{path} returns {status}"
            yield _failed("repository", message, "Only deploy, which verifies the bundle, may decide what is served.")


CHECKS: tuple[Check, ...] = (
    ready,
    metadata,
    digest,
    golden,
    malformed,
    columns,
    values,
    oversize,
    repository,
    ready,  # again: the checks above must not have damaged it
)


def _wrong_values(column: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if column["kind"] == "number":
        if column.get("high") is not None:
            yield "a number above the range", column["high"] + 7919
        if column.get("low") is not None:
            yield "a number below the range", column["low"] - 7919
        if column.get("whole"):
            yield "a fraction", (column.get("low") or 0) + 0.4375
        yield "a string", _STRANGER
    else:
        yield "an unknown category", _STRANGER
        yield "a number", 7919
    if not column.get("missing"):
        yield "no value", None


def _refused(version: Version, check: str, what: str, body: object, secret: str = "") -> Iterator[Finding]:
    answer = version.infer(body)
    why = "An error response must state what is wrong, and contain neither code nor values of the request."
    if not 400 <= answer.status_code < 500:
        yield _failed(check, f"{what} gets the status {answer.status_code} instead of a 4xx", why)
    elif not isinstance(_object(answer).get("error"), str):
        yield _failed(check, f"the error response to {what} is not JSON with `error`", why)
    elif _LEAKS.search(answer.text):
        yield _failed(check, f"the error response to {what} contains code or a path", why)
    elif secret not in ("", "None") and secret in answer.text:
        yield _failed(check, f"the error response to {what} repeats the value", why)


def _answers(answer: httpx.Response, rows: int) -> list[tuple[object, object]]:
    """Label and score of each row; pairs of None if the answer has another form."""
    outputs = _object(answer).get("outputs")
    data = {o.get("name"): o.get("data") for o in outputs if isinstance(o, dict)} if isinstance(outputs, list) else {}
    labels, scores = data.get("label"), data.get("score")
    if isinstance(labels, list) and isinstance(scores, list) and len(labels) == len(scores) == rows:
        return list(zip(labels, scores, strict=True))
    return [(None, None)] * rows


def _agree(given: tuple[object, object], wanted: Mapping[str, Any], tolerance: float) -> bool:
    label, score = given
    near = isinstance(score, int | float) and abs(score - wanted["score"]) <= tolerance
    return near and label == wanted["label"]


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _failed(check: str, message: str, why: str) -> Failed:
    return Failed(Reason(rule=f"smoke:{check}", message=message, why=why))
