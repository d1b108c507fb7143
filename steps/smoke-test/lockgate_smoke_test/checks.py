"""What is asked of a deployed version, one function a question; each yields what it found."""

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
_OVERSIZE = 16 * 2**20  # twice what the server reads
_STRANGER = "lockgate-smoke-test"


@dataclass(frozen=True)
class Failed:
    """A reason to refuse."""

    reason: Reason


@dataclass(frozen=True)
class Measured:
    """Evidence: counts and times, never a value that was sent or answered."""

    name: str
    value: object


Finding = Failed | Measured


@dataclass(frozen=True)
class Version:
    """The deployed version, and what its bundle says it must be."""

    client: httpx.Client
    name: str
    bundle: str
    schema: Mapping[str, Any]
    columns: Sequence[Mapping[str, Any]]
    golden: Mapping[str, Any]

    @classmethod
    def of(cls, client: httpx.Client, folder: Path, name: str, bundle: str) -> "Version":
        """What a bundle folder says of itself."""
        schema, card, golden = (
            json.loads((folder / path).read_bytes()) for path in ("schema.json", "model/model.json", "golden.json")
        )
        return cls(client, name, bundle, schema, card["inputs"], golden)

    def is_ready(self) -> bool:
        """Whether it says so itself."""
        try:
            return self.client.get(f"/v2/models/{self.name}/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def request(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The Open Inference request of some rows."""
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
        """Send a request; bytes go as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        return self.client.post(f"/v2/models/{self.name}/infer", content=content, headers=headers)


Check = Callable[[Version], Iterator[Finding]]


def ready(version: Version) -> Iterator[Finding]:
    """It is live and ready, as a server and as a model."""
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{version.name}/ready"):
        status = version.client.get(path).status_code
        if status != httpx.codes.OK:
            yield _failed("ready", f"GET {path} answers {status}", "What is not ready must not be promoted.")


def metadata(version: Version) -> Iterator[Finding]:
    """It describes itself as the bundle's schema does."""
    why = "Callers write their requests from this description."
    answer = version.client.get(f"/v2/models/{version.name}")
    said = _object(answer)
    if answer.status_code != httpx.codes.OK:
        yield _failed("metadata", f"the model's metadata answers {answer.status_code}", why)
        return
    for key in ("name", "platform", "inputs", "outputs"):
        if said.get(key) != version.schema[key]:
            yield _failed("metadata", f"the model's metadata and the bundle's schema differ in {key}", why)


def digest(version: Version) -> Iterator[Finding]:
    """Its answers name the very bundle that was judged."""
    said = _object(version.infer(version.request(version.golden["requests"][:1])))
    named = (said.get("model_name"), said.get("model_version"), (said.get("parameters") or {}).get("bundle"))
    if named != (version.name, version.bundle.removeprefix("sha256:")[:12], version.bundle):
        message = f"its answers do not name the bundle {version.bundle} that was deployed"
        yield _failed("digest", message, "A decision must be traceable to the model that made it.")


def golden(version: Version) -> Iterator[Finding]:
    """It answers the golden requests as the native model did, one by one and all at once."""
    requests, wanted, tolerance = (version.golden[key] for key in ("requests", "answers", "tolerance"))
    batch = _answers(version.infer(version.request(requests)), len(requests))
    single = [given for row in requests for given in _answers(version.infer(version.request([row])), 1)]
    for how, given in (("all in one request", batch), ("one by one", single)):
        wrong = sum(not _agree(g, w, tolerance) for g, w in zip(given, wanted, strict=True))
        yield Measured(f"golden_{how.replace(' ', '_')}", {"rows": len(wanted), "wrong": wrong})
        if wrong:
            message = f"{wrong} of {len(wanted)} golden answers are wrong when sent {how}"
            yield _failed("golden", message, "What serves must answer as what was trained and judged.")


def malformed(version: Version) -> Iterator[Finding]:
    """What is no inference request is refused."""
    for what, body in (
        ("malformed JSON", b'{"inputs": ['),
        ("JSON that is no request", {"rows": []}),
        ("a request without inputs", {"inputs": []}),
        ("an empty batch", version.request([])),
    ):
        yield from _refused(version, "malformed", what, body)


def columns(version: Version) -> Iterator[Finding]:
    """Other columns than the schema's are refused."""
    good = version.request(version.golden["requests"][:1])["inputs"]
    stranger = {"name": _STRANGER, "datatype": "FP64", "shape": [1], "data": [1.0]}
    yield from _refused(version, "columns", "a missing column", {"inputs": good[1:]})
    yield from _refused(version, "columns", "an unknown column", {"inputs": [*good, stranger]})
    yield from _refused(version, "columns", "a column given twice", {"inputs": [*good, good[0]]})


def values(version: Version) -> Iterator[Finding]:
    """Values that the schema does not allow are refused, column by column."""
    row = version.golden["requests"][0]
    for column in version.columns:
        for what, value in _wrong_values(column):
            body = version.request([{**row, column["name"]: value}])
            yield from _refused(version, "values", f"{what} in column {column['name']!r}", body, secret=str(value))


def oversize(version: Version) -> Iterator[Finding]:
    """A body without measure is refused, not read."""
    what = f"a body of {_OVERSIZE // 2**20} MiB"
    yield from _refused(version, "oversize", what, b'{"inputs":[' + b" " * _OVERSIZE + b"]}")


def repository(version: Version) -> Iterator[Finding]:
    """Nobody can load another model into it."""
    for path in ("index", f"models/{version.name}/load", f"models/{version.name}/unload"):
        status = version.client.post(f"/v2/repository/{path}", json={}).status_code
        if status not in (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            message = f"its repository API is open: POST /v2/repository/{path} answers {status}"
            yield _failed("repository", message, "Only deploy, with its proofs, may decide what is served.")


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
    ready,  # again: none of the above may have hurt it
)


def _wrong_values(column: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if column["kind"] == "number":
        if column.get("high") is not None:
            yield "a number above the range", column["high"] + 7919
        if column.get("low") is not None:
            yield "a number below the range", column["low"] - 7919
        if column.get("whole"):
            yield "a fraction", (column.get("low") or 0) + 0.4375
        yield "a text", _STRANGER
    else:
        yield "an unknown category", _STRANGER
        yield "a number", 7919
    if not column.get("missing"):
        yield "no value", None


def _refused(version: Version, check: str, what: str, body: object, secret: str = "") -> Iterator[Finding]:
    answer = version.infer(body)
    why = "A caller's mistake must be answered with what is wrong, and show neither code nor what was sent."
    if not 400 <= answer.status_code < 500:
        yield _failed(check, f"{what} is answered with {answer.status_code}, not refused with a 4xx", why)
    elif not isinstance(_object(answer).get("error"), str):
        yield _failed(check, f"the refusal of {what} is not JSON with an error", why)
    elif _LEAKS.search(answer.text):
        yield _failed(check, f"the refusal of {what} shows code or a path", why)
    elif secret not in ("", "None") and secret in answer.text:
        yield _failed(check, f"the refusal of {what} repeats the value", why)


def _answers(answer: httpx.Response, rows: int) -> list[tuple[object, object]]:
    """Label and score of each row; pairs of None where the answer has another form."""
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
