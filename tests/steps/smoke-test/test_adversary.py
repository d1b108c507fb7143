"""Somebody who can write an artifact cannot send smoke-test to a server of their own."""

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from lockgate_step import canonical, sha256
from test_smoke_test import Gate

from tests.listening import listening


@pytest.fixture
def impostor(bundle: Path) -> Iterator[tuple[str, list[str]]]:
    """A server without a model: it looks golden answers up in the bundle. Yield its address and what it was asked."""
    schema, golden, card, manifest = (
        json.loads((bundle / name).read_bytes())
        for name in ("schema.json", "golden.json", "model/model.json", "manifest.json")
    )
    digest, columns = sha256(canonical(manifest)), [column["name"] for column in card["inputs"]]
    known = {
        json.dumps([row[name] for name in columns]): answer
        for row, answer in zip(golden["requests"], golden["answers"], strict=True)
    }
    asked: list[str] = []

    def infer(body: bytes) -> Any:
        inputs = json.loads(body)["inputs"]
        data = {tensor["name"]: tensor["data"] for tensor in inputs}
        rows = [known[json.dumps(list(row))] for row in zip(*(data[name] for name in columns), strict=True)]
        assert rows and len(inputs) == len(columns)
        outputs = [{"name": name, "data": [row[name] for row in rows]} for name in ("label", "score")]
        return {
            "model_name": "tiny",
            "model_version": digest[7:19],
            "parameters": {"bundle": digest},
            "outputs": outputs,
        }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            asked.append(self.path)
            self._say(200, schema if self.path == "/v2/models/tiny" else {})

        def do_POST(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if "repository" in self.path:
                self._say(404, {"error": "not found"})
                return
            try:
                self._say(200, infer(body))
            except (ValueError, KeyError, TypeError, AssertionError):
                self._say(400, {"error": "wrong"})

        def _say(self, status: int, said: Any) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as address:
        yield address, asked


@pytest.fixture
def gate(authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path) -> Gate:
    return Gate.of(authority, tmp_path / "io", bundle)


def test_the_impostor_answers_all_that_the_gate_asks(gate: Gate, impostor: tuple[str, list[str]]) -> None:
    """Show that only the record of deploy stops it."""
    gate.stage(impostor[0])
    code, _ = gate.run()
    assert (code, gate.verdict().predicate["reasons"]) == (0, [])


def by_hand(gate: Gate, address: str) -> bytes:
    said = {"model": "tiny", "bundle": gate.digest, "address": address, "replicas": 1, "run": "run-1"}
    return canonical(said)


def another_address(gate: Gate, address: str) -> bytes:
    """Change the address in what deploy signed."""
    envelope = json.loads(gate.authority.staged(gate.digest, "http://127.0.0.1:9", run="run-1"))
    said = json.loads(base64.b64decode(envelope["payload"]))
    said["predicate"]["address"] = address
    return canonical({**envelope, "payload": base64.b64encode(canonical(said)).decode()})


def staged(**changes: Any) -> Callable[[Gate, str], bytes]:
    return lambda gate, address: gate.authority.staged(gate.digest, **{"address": address, "run": "run-1", **changes})


UNSIGNED = "staged is not signed by a key that may sign as deploy"
UNSTATED = "staged is signed, but its record does not state a staged version"
STAGED: dict[str, tuple[Callable[[Gate, str], bytes], str]] = {
    "written by hand": (by_hand, UNSIGNED),
    "of another address": (another_address, UNSIGNED),
    "signed by package": (staged(key="package"), UNSIGNED),
    "signed by the gate itself": (staged(key="smoke-test"), UNSIGNED),
    "of another run": (staged(run="run-0"), "was staged in run run-0, not in this run"),
    "of an earlier run of that name": (staged(uid="uid-0"), "was staged in another run named run-1, not in this run"),
    "of no run": (staged(run=""), UNSTATED),
    "of a run without uid": (staged(uid=None), UNSTATED),
    "of another model": (staged(model="credit"), "credit"),
    "without replicas": (staged(replicas=0), UNSTATED),
    "with a part of a replica": (staged(replicas=1.0), UNSTATED),
    "without an address": (staged(address=None), UNSTATED),
    "not JSON": (lambda gate, address: b" ", "staged is not a signed record"),
    "a list": (lambda gate, address: b"[]", "staged is not a signed record"),
}


@pytest.mark.parametrize(("forge", "says"), STAGED.values(), ids=STAGED)
def test_nothing_is_sent_to_an_address_that_deploy_did_not_sign_in_this_run(
    gate: Gate, impostor: tuple[str, list[str]], forge: Callable[[Gate, str], bytes], says: str
) -> None:
    address, asked = impostor
    (gate.io / "in" / "staged").write_bytes(forge(gate, address))
    assert says in gate.fails(3)
    assert asked == []


def test_a_staged_version_of_another_bundle_is_not_called(gate: Gate, impostor: tuple[str, list[str]]) -> None:
    address, asked = impostor
    gate.stage(address, bundle=sha256(b"another"))
    assert "bundle" in gate.fails(3)
    assert asked == []
