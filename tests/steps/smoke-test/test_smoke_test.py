"""Run smoke-test as a process against a real server, and against one that misbehaves."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from lockgate_proof import Statement, bundle_digest, verify, verify_verdict
from lockgate_step import file_digest, sha256, tree_digest
from saboteur import Exchange, Spoil, relaying
from tiny_bundle.child import Server, serving


@dataclass(frozen=True)
class Gate:
    """One LOCKGATE_IO folder, and the gate run on it."""

    authority: tiny_bundle.Authority
    io: Path

    @classmethod
    def of(cls, authority: tiny_bundle.Authority, root: Path, bundle: Path, server: Server | None = None) -> "Gate":
        gate = cls(authority, authority.write_io(root, "smoke-test"))
        shutil.copytree(bundle, gate.io / "in" / "bundle")
        shutil.copy(bundle / "policy.toml", gate.io / "in" / "policy")
        if server is not None:
            gate.stage(f"http://{server.host}:{server.port}")
        return gate

    @property
    def digest(self) -> str:
        manifest = json.loads((self.io / "in" / "bundle" / "manifest.json").read_bytes())
        return bundle_digest(manifest)

    def stage(self, address: str, *, bundle: str = "") -> None:
        staged = self.authority.staged(bundle or self.digest, address, run="run-1")
        (self.io / "in" / "staged").write_bytes(staged)

    def run(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and log."""
        argv = [sys.executable, "-m", "lockgate_smoke_test", "--requests", "10", "--patience", "1", *arguments]
        run = {"LOCKGATE_RUN": "run-1", "LOCKGATE_UID": "uid-of-run-1"}
        environment = {**os.environ, "LOCKGATE_IO": str(self.io), **run}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, tiny_bundle.parse_log(done.stderr)

    def verdict(self) -> Statement:
        return verify(self.io / "out" / "verdict", self.authority.trust, signer="smoke-test", kind="verdict")

    def refused_rules(self, *arguments: str) -> dict[str, list[str]]:
        """The messages by rule, after a run that must refuse."""
        code, log = self.run(*arguments)
        assert code == 3, log
        said = self.verdict().predicate
        assert said["result"] == "refused"
        rules: dict[str, list[str]] = {}
        for reason in said["reasons"]:
            assert reason["why"]
            rules.setdefault(reason["rule"], []).append(reason["message"])
        return rules

    def fails(self, code: int, *arguments: str) -> str:
        """The message, after a run without a verdict."""
        found, log = self.run(*arguments)
        assert found == code, log
        assert not (self.io / "out" / "verdict").exists()
        assert log[-1]["fix"]
        return str(log[-1]["message"])


@pytest.fixture
def gate(authority: tiny_bundle.Authority, bundle: Path, server: Server, tmp_path: Path) -> Gate:
    return Gate.of(authority, tmp_path / "io", bundle, server)


def test_a_sound_version_passes_and_the_verdict_is_about_everything_it_must_be(gate: Gate) -> None:
    code, log = gate.run()
    assert code == 0, log
    folder = gate.io / "in" / "bundle"
    subjects = {
        "bundle": gate.digest,
        "model": tree_digest(folder / "model"),
        "data": sha256(b"data"),
        "base": sha256(b""),
        "spec": file_digest(folder / "spec.json"),
        "policy": file_digest(folder / "policy.toml"),
        "staged": file_digest(gate.io / "in" / "staged"),
    }
    record = gate.io / "out" / "verdict"
    believed = verify_verdict(
        record, gate.authority.trust, gate="smoke-test", model="tiny", subjects=subjects, now=None
    )
    assert believed.subjects == subjects
    measured = believed.predicate["measurements"]
    assert measured["golden_one_by_one"] == measured["golden_all_in_one_request"] == {"rows": 3, "wrong": 0}
    assert measured["latency"]["requests"] == 10
    rule = measured["rules"]["smoke:p99_ms"]
    assert (rule["standing"], rule["asks"], rule["value"]) == ("within", "at_most", measured["latency"]["p99_ms"])
    assert rule["source"].startswith("policy.toml:")
    assert 0 < measured["latency"]["p50_ms"] <= measured["latency"]["p99_ms"] <= measured["latency"]["max_ms"]


def test_the_evidence_holds_neither_rows_nor_answers(gate: Gate) -> None:
    gate.run()
    said = json.dumps(gate.verdict().predicate)
    assert "Exec" not in said
    assert str(tiny_bundle.answer(tiny_bundle.ROWS[0])["score"])[:6] not in said


def test_a_version_slower_than_the_policy_allows_is_refused_by_the_policys_line(
    authority: tiny_bundle.Authority, tmp_path: Path
) -> None:
    def dawdle(exchange: Exchange) -> tuple[int, bytes]:
        time.sleep(0.01)
        return exchange.status, exchange.body

    authority.write_bundle(tmp_path / "bundle", policy=tiny_bundle.POLICY.replace("60000", "5"))
    with (
        serving(tmp_path / "bundle", authority.write_io(tmp_path / "server"), tmp_path / "log") as server,
        relaying(server, dawdle) as address,
    ):
        gate = Gate.of(authority, tmp_path / "io", tmp_path / "bundle")
        gate.stage(address)
        rules = gate.refused_rules()
    assert list(rules) == ["smoke:p99_ms"]
    assert rules["smoke:p99_ms"][0].endswith("over 10 requests; policy.toml:9 allows 5")
    (reason,) = gate.verdict().predicate["reasons"]
    assert (reason["source"], reason["why"]) == ("policy.toml:9", "Answers while the caller waits.")


def test_a_server_of_another_bundle_is_refused(authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path) -> None:
    authority.write_bundle(tmp_path / "other", threshold=0.99)
    with serving(tmp_path / "other", authority.write_io(tmp_path / "server"), tmp_path / "log") as server:
        gate = Gate.of(authority, tmp_path / "io", bundle, server)
        rules = gate.refused_rules()
    assert set(rules) == {"smoke:digest", "smoke:golden", "smoke:metadata"}


def answer_as(change: Callable[[Any], Any], *, to: str) -> Spoil:
    """Change the JSON of successful answers on one path."""

    def spoil(exchange: Exchange) -> tuple[int, bytes]:
        if exchange.status != 200 or not exchange.path.endswith(to) or not exchange.body:
            return exchange.status, exchange.body
        return exchange.status, json.dumps(change(json.loads(exchange.body))).encode()

    return spoil


def nudge_scores(said: Any) -> Any:
    for output in said["outputs"]:
        if output["name"] == "score":
            output["data"] = [score + 0.001 for score in output["data"]]
    return said


def swap_labels(said: Any) -> Any:
    for output in said["outputs"]:
        if output["name"] == "label":
            output["data"] = output["data"][::-1]
    return said


def drop_a_row(said: Any) -> Any:
    for output in said["outputs"]:
        output["data"] = output["data"][1:]
    return said


def widen_a_range(said: Any) -> Any:
    said["inputs"][0]["parameters"]["high"] = 120
    return said


def instead_of_refusing(status: int, body: bytes) -> Spoil:
    def spoil(exchange: Exchange) -> tuple[int, bytes]:
        refused = exchange.path.endswith("/infer") and exchange.status != 200
        return (status, body) if refused else (exchange.status, exchange.body)

    return spoil


def repeat_what_was_sent(exchange: Exchange) -> tuple[int, bytes]:
    if exchange.path.endswith("/infer") and exchange.status == 400:
        return 400, json.dumps({"error": "cannot take " + exchange.sent.decode(errors="replace")}).encode()
    return exchange.status, exchange.body


def open_the_repository(exchange: Exchange) -> tuple[int, bytes]:
    return (200, b"[]") if "/v2/repository" in exchange.path else (exchange.status, exchange.body)


def not_live(exchange: Exchange) -> tuple[int, bytes]:
    return (503, b"") if exchange.path == "/v2/health/live" else (exchange.status, exchange.body)


def hang_up_on_large_bodies(exchange: Exchange) -> tuple[int, bytes] | None:
    return None if len(exchange.sent) > 2**23 else (exchange.status, exchange.body)


ERROR = b'{"error": "column \'age\' is wrong"}'
TRACEBACK = b'{"error": "Traceback (most recent call last): ..."}'
PATH = b'{"error": "cannot read /srv/models/tiny/model.onnx"}'
ALL_REFUSALS = {"smoke:malformed", "smoke:columns", "smoke:values", "smoke:oversize"}


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (answer_as(nudge_scores, to="/infer"), {"smoke:golden"}),
        (answer_as(swap_labels, to="/infer"), {"smoke:golden"}),
        (answer_as(drop_a_row, to="/infer"), {"smoke:golden"}),
        (answer_as(lambda said: {**said, "parameters": {"bundle": "sha256:0"}}, to="/infer"), {"smoke:digest"}),
        (answer_as(lambda said: {**said, "parameters": None}, to="/infer"), {"smoke:digest"}),
        (answer_as(lambda said: {**said, "model_version": "1"}, to="/infer"), {"smoke:digest"}),
        (answer_as(lambda said: [said], to="/infer"), {"smoke:digest", "smoke:golden"}),
        (answer_as(widen_a_range, to="/v2/models/tiny"), {"smoke:metadata"}),
        (answer_as(lambda said: [], to="/v2/models/tiny"), {"smoke:metadata"}),
        (instead_of_refusing(500, ERROR), ALL_REFUSALS),
        (instead_of_refusing(200, ERROR), ALL_REFUSALS),
        (instead_of_refusing(400, b"no"), ALL_REFUSALS),
        (instead_of_refusing(400, TRACEBACK), ALL_REFUSALS),
        (instead_of_refusing(400, PATH), ALL_REFUSALS),
        (repeat_what_was_sent, {"smoke:values"}),
        (open_the_repository, {"smoke:repository"}),
        (not_live, {"smoke:ready"}),
        (hang_up_on_large_bodies, {"smoke:oversize"}),
    ],
)
def test_each_misbehaviour_is_refused_by_its_own_rule(
    gate: Gate, server: Server, spoil: Spoil, rules: set[str]
) -> None:
    with relaying(server, spoil) as address:
        gate.stage(address)
        assert set(gate.refused_rules()) == rules


def test_a_relay_that_spoils_nothing_passes(gate: Gate, server: Server) -> None:
    """Show that the refusals in the test above come from the spoiled answers, not from the relay."""
    with relaying(server, lambda exchange: (exchange.status, exchange.body)) as address:
        gate.stage(address)
        assert gate.run()[0] == 0


def test_a_version_that_nobody_serves_can_be_tried_again(gate: Gate) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gate.stage(f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert "is not ready at its own address" in gate.fails(4, "--patience", "0")


def test_a_version_that_never_gets_ready_can_be_tried_again(gate: Gate, server: Server) -> None:
    with relaying(server, lambda exchange: (503, b"")) as address:
        gate.stage(address)
        assert "is not ready" in gate.fails(4, "--patience", "0")


def test_a_version_that_goes_away_on_the_way_can_be_tried_again(gate: Gate, server: Server) -> None:
    answered = 0

    def spoil(exchange: Exchange) -> tuple[int, bytes] | None:
        nonlocal answered
        answered += 1
        return (exchange.status, exchange.body) if answered < 8 else None

    with relaying(server, spoil) as address:
        gate.stage(address)
        gate.fails(4)


def test_a_bundle_that_does_not_hold_gets_no_verdict(gate: Gate) -> None:
    (gate.io / "in" / "bundle" / "golden.json").write_text("{}")
    assert "golden.json was changed" in gate.fails(3)


def test_another_bundle_than_the_staged_one_gets_no_verdict(gate: Gate, server: Server) -> None:
    gate.stage(f"http://{server.host}:{server.port}", bundle=sha256(b"another"))
    gate.fails(3)


def test_another_policy_than_the_bundles_gets_no_verdict(gate: Gate) -> None:
    (gate.io / "in" / "policy").write_text(tiny_bundle.POLICY.replace("60000", "9000"))
    assert "policy" in gate.fails(3)


def test_a_policy_that_cannot_be_read_is_a_bad_call(
    authority: tiny_bundle.Authority, server: Server, tmp_path: Path
) -> None:
    authority.write_bundle(tmp_path / "bundle", policy=tiny_bundle.POLICY.replace("p99_ms", "p100_ms"))
    assert "policy" in Gate.of(authority, tmp_path / "io", tmp_path / "bundle", server).fails(2)


def test_no_requests_to_measure_is_a_bad_call(gate: Gate) -> None:
    assert "requests" in gate.fails(2, "--requests", "0")


def test_a_proxy_of_the_environment_is_not_asked(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert gate.run()[0] == 0


def test_the_gate_imports_only_what_its_image_has() -> None:
    code = "import sys, lockgate_smoke_test.gate; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    foreign = {
        name for name in loaded if name not in sys.stdlib_module_names and not name.startswith(("lockgate_", "_"))
    }
    taken_where_found = {"brotli", "click", "pygments"}  # optional imports of httpx; here the model server has them
    by_path_file = {"google"}  # protobuf's namespace package, which a .pth file imports into every process
    assert foreign - taken_where_found - by_path_file <= {
        "anyio", "certifi", "cffi", "cryptography", "h11", "httpcore", "httpx", "idna", "securesystemslib",
        "typing_extensions",
    }  # fmt: skip


def under_another_policy(gate: Gate) -> None:
    """Give the gate today's policy, by which the bundle was not judged."""
    with (gate.io / "in" / "policy").open("a") as policy:
        policy.write("\n# stricter from today\n")


def test_a_version_that_recall_brought_back_is_tested_by_todays_policy(gate: Gate) -> None:
    under_another_policy(gate)
    assert "policy" in gate.fails(3)
    today = file_digest(gate.io / "in" / "policy")
    (gate.io / "in" / "recalled").write_bytes(gate.authority.recalled(gate.digest, today))
    code, log = gate.run()
    assert code == 0, log
    judged = gate.verdict().subjects
    assert judged["policy"] == file_digest(gate.io / "in" / "bundle" / "policy.toml")  # what promote compares


@pytest.mark.parametrize(
    "change",
    [
        {"key": "bias-audit"},
        {"result": "refused"},
        {"gate": "smoke-test"},
        {"bundle": sha256(b"another")},
        {"policy": sha256(b"an earlier one")},
    ],
)
def test_a_verdict_that_recall_did_not_give_excuses_nothing(gate: Gate, change: dict[str, str]) -> None:
    under_another_policy(gate)
    said = {"bundle": gate.digest, "policy": file_digest(gate.io / "in" / "policy"), **change}
    bundle, policy = said.pop("bundle"), said.pop("policy")
    (gate.io / "in" / "recalled").write_bytes(gate.authority.recalled(bundle, policy, **said))
    gate.fails(3)
