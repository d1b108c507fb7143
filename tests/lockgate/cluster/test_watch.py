"""The states of a Workflow from a real controller, read as a run on this machine.

watched/<end>.jsonl.gz: each state of a run of `tests/cluster/tiny.py` under Argo 3.7.4, from a watch of the Kubernetes
API, without managedFields.
"""

import base64
import gzip
import json
import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from lockgate_step import layout

from lockgate.cluster.watch import UNPACKED, events, live_on, raw_input, record_of, shown
from lockgate.cluster.workflows import Argo
from lockgate.commands.result import Result
from lockgate.engine.events import NodeFinished, NodeStarted, RunFinished, RunStarted, Waiting
from lockgate.errors import BadCall
from lockgate.records.live import Live
from lockgate.records.runs import RunRecord, Step
from lockgate.report.lines import exit_code, failure_lines, refusal_lines, run_word
from lockgate.report.tree import LiveTree

WATCHED = Path(__file__).parent / "watched"
STEPS = ("ingest", "bias-audit", "promote", "conclude")
# Without its verdict, whether bias-audit passed or judged nothing is not known: it is done.
OUTCOMES = {
    "released": (0, "released", ("done", "done", "done", "done")),
    "refused": (3, "refused", ("done", "refused", "not reached", "done")),
    "failed": (4, "failed", ("done", "done", "failed", "done")),
    "stopped": (130, "stopped", ("failed", "not reached", "not reached", "done")),
}
Json = dict[str, Any]


@cache
def lines(end: str) -> tuple[str, ...]:
    """Return the states of a recorded run, one JSON object per line."""
    return tuple(gzip.decompress((WATCHED / f"{end}.jsonl.gz").read_bytes()).decode().splitlines())


def states(end: str) -> list[Json]:
    return [json.loads(line) for line in lines(end)]


def records(end: str) -> list[RunRecord]:
    return [record_of(state, WATCHED) for state in states(end)]


@pytest.mark.parametrize("end", OUTCOMES)
def test_a_run_ends_as_on_this_machine(end: str) -> None:
    last = records(end)[-1]
    code, word, outcomes = OUTCOMES[end]
    assert (exit_code(last), run_word(last)) == (code, word)
    assert tuple((step.name, step.outcome) for step in last.steps) == tuple(zip(STEPS, outcomes, strict=True))
    assert (last.about.model, last.about.workflow) == ("tiny", "release")
    assert all((step.seconds is None) == (step.outcome == "not reached") for step in last.steps)


@pytest.mark.parametrize("end", OUTCOMES)
def test_each_step_has_a_start_and_an_end(end: str) -> None:
    seen = []
    for before, now in zip([None, *records(end)], records(end), strict=False):
        seen += list(events(before, now))
    assert [isinstance(event, RunStarted) for event in seen] == [True, *[False] * (len(seen) - 1)]
    assert isinstance(seen[-1], RunFinished)
    # Once when its pod is created and once when it runs, which ends its waiting.
    pods = [event.node.id for event in seen if isinstance(event, NodeStarted) and event.node.type == "Pod"]
    assert {pods.count(each) for each in pods} == {2}
    ended: list[str] = []
    begun: set[str] = set()
    for event in seen:
        if isinstance(event, NodeStarted):
            begun.add(event.node.id)
        elif isinstance(event, NodeFinished):
            assert event.node.id in begun
            ended.append(event.node.id)
    assert sorted(ended) == sorted(node.id for node in records(end)[-1].run.nodes)


@pytest.mark.parametrize("end", OUTCOMES)
def test_the_tree_shows_the_same_as_on_this_machine(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    with LiveTree() as tree:
        *_, last = shown(states(end), tree, WATCHED)
    assert last == records(end)[-1]
    err = capsys.readouterr().err
    reached = {name: word for name, word in zip(STEPS, OUTCOMES[end][2], strict=True) if word != "not reached"}
    assert dict(re.findall(r"(?m)^  (\S+) +\d\S* s   (\w+)$", err)) == reached
    unreached = [name for name in STEPS if name not in reached]
    assert not unreached or f"  {', '.join(unreached)}   not reached" in err.splitlines()


def test_a_retried_step_shows_what_it_waits_for() -> None:
    seen = [
        event
        for before, now in zip(records("failed"), records("failed")[1:], strict=False)
        for event in events(before, now)
    ]
    waits = {
        (event.node.split(".")[-1], re.sub(r"\d+", "N", event.message)) for event in seen if isinstance(event, Waiting)
    }
    assert ("promote", "Backoff for N seconds") in waits
    attempts = {event.node.display_name for event in seen if isinstance(event, NodeStarted)}
    assert {"promote(0)", "promote(1)", "promote(2)", "promote(3)"} <= attempts


def test_an_image_that_cannot_be_pulled_is_named_once() -> None:
    image = "registry.example.org/lockgate/train@sha256:aa"
    head = f'Head "https://{image}"'
    no = f'failed to pull and unpack image "{image}": failed to do request: {head}: dial tcp: connection refused'
    before, state = states("released")[2:4]
    seen = [record_of(before, WATCHED)]
    for message in (f"ErrImagePull: {no}", f'ImagePullBackOff: Back-off pulling image "{image}": ErrImagePull: {no}'):
        changed = json.loads(json.dumps(state))
        pod = next(node for node in changed["status"]["nodes"].values() if node["type"] == "Pod")
        pod |= {"phase": "Pending", "message": message}
        seen.append(record_of(changed, WATCHED))
    waits = [e for was, now in pairwise(seen) for e in events(was, now) if isinstance(e, Waiting)]
    assert [wait.message for wait in waits] == [f"the node cannot pull {image}: dial tcp: connection refused"]


def test_a_refusal_is_read_from_the_message_of_its_node() -> None:
    (step,) = records("refused")[-1].refused
    assert step.verdict is not None
    (reason,) = step.verdict["reasons"]
    assert (step.name, step.verdict["result"]) == ("bias-audit", "refused")
    assert (reason["id"], reason["message"]) == ("bias-audit/1", "men are selected far more often than women")
    assert refusal_lines(step) == [
        "Refused by bias-audit: men are selected far more often than women",
        "  0.20 [0.10, 0.30], at most 0.12",
        "  policy.toml:7",
        "  why: law of the land",
    ]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "main: Error (exit code 3)",
        'main: Error (exit code 3): {"notes":[],"reasons":[{"id":"bias-audit/1","lines":["men are',
        "main: Error (exit code 1): {}",
        'main: Error (exit code 1): {"result":"refused"}',
    ],
)
def test_a_message_that_is_not_a_verdict_gives_none(message: str, tmp_path: Path) -> None:
    assert Step("bias-audit", "Failed", message, 3, 1.0, tmp_path).verdict is None


def test_reasons_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    reason: Json = {"id": "bias-audit/1", "rule": "r", "message": "m", "lines": [], "why": "", "waived_by": None}
    said = json.dumps({"result": "refused", "reasons": [reason], "notes": [], "left_out": 7})
    step = Step("bias-audit", "Failed", f"main: Error (exit code 3): {said}", 3, 1.0, tmp_path)
    assert refusal_lines(step) == ["Refused by bias-audit: m", "  and 7 more; the signed verdict has them all"]


@pytest.mark.parametrize("name", ["../../elsewhere/q", "/etc/q", ".hidden", ""])
def test_a_node_that_names_another_folder_is_refused(name: str) -> None:
    state = json.loads(lines("refused")[-1])
    node = next(iter(state["status"]["nodes"].values()))
    node["id"] = name
    with pytest.raises(BadCall, match="has a node with an invalid id"):
        record_of(state, WATCHED)


def test_an_error_is_read_from_the_message_if_the_log_is_gone(tmp_path: Path) -> None:
    message = 'main: Error (exit code 4): {"error":"cannot connect to the store","fix":"wait"}'
    lines = failure_lines(Step("package", "Failed", message, 4, 1.0, tmp_path))
    assert lines == ["package failed: cannot connect to the store", "  next: wait"]


def test_the_nodes_of_a_large_workflow_are_decompressed() -> None:
    state = states("released")[-1]
    plain = record_of(state, WATCHED)
    nodes = json.dumps(state["status"].pop("nodes")).encode()
    state["status"]["compressedNodes"] = base64.b64encode(gzip.compress(nodes)).decode()  # as Argo's packer does
    packed = record_of(state, WATCHED)
    assert packed.run.nodes == plain.run.nodes
    assert len(plain.run.nodes) > len(STEPS)


def test_nodes_in_the_controllers_database_need_a_server() -> None:
    state = states("released")[-1]
    state["status"]["offloadNodeStatusVersion"] = "fnv:1"
    with pytest.raises(BadCall, match="are in the controller's database") as refused:
        record_of(state, WATCHED)
    assert "--server" in refused.value.fix


def test_a_workflow_that_no_controller_has_seen_is_pending() -> None:
    state = states("released")[0]
    state.pop("status", None)
    record = record_of(state, WATCHED)
    assert (record.phase, record.steps, record.about.model) == ("Pending", [], "tiny")
    assert record.started == state["metadata"]["creationTimestamp"]


POINTER = {"bundle": f"sha256:{'ab' * 32}", "generation": 7}


@pytest.mark.parametrize(
    ("end", "live", "says"),
    [
        ("released", Live(POINTER, "http://tiny"), "Released: tiny sha256:ababab is live, generation 7."),
        ("released", Live(None, hidden=True), "Released: tiny has a new live version."),
        ("refused", Live(POINTER, "http://tiny"), "Nothing changed for users: sha256:ababab is still live."),
        ("refused", Live(None), "Nothing changed for users: no version was live before, and none is now."),
        ("refused", Live(None, hidden=True), "Nothing changed for users: promote did not succeed."),
        ("failed", Live(None, hidden=True), "promote failed: main: Error (exit code 4)"),
        ("stopped", Live(None), "Stopped during ingest."),
    ],
)
def test_the_result_for_users_is_shown_as_far_as_it_is_visible(end: str, live: Live, says: str) -> None:
    record = records(end)[-1]
    done = Result(record, live.pointer, live, {"mitigation": ["none", "grid-search"]}, "-n ns")
    said = done.lines()
    assert says in said
    assert (said[-1] == f"exit {done.exit_code}") == (done.exit_code != 0)
    commands = [line.strip() for line in said[said.index("Next") + 1 :] if line.startswith("  ")]
    assert commands
    assert all(command.startswith("lockgate ") and "-n ns" in command for command in commands)
    assert json.loads(json.dumps(done.to_json()))["exit_code"] == done.exit_code


def _first(state: Json) -> Json:
    return next(node for node in state["status"]["nodes"].values() if node["type"] == "Pod")


def _packed(text: bytes) -> str:
    return base64.b64encode(gzip.compress(text)).decode()


CYCLE = {"entrypoint": "x", "templates": [{"name": "x", "dag": {"tasks": [{"template": "x"}]}}]}


WRONG_ARTIFACTS: list[object] = [5, [5], [{}], [{"name": []}], [{"name": "verdict", "s3": "x"}]]


def wrong_values(key: str) -> list[object]:
    return [5, [[]] if key == "children" else ["x"], {"exitCode": "x"}]


@pytest.mark.parametrize(
    "alter",
    [
        *(
            lambda state, name=name: state["metadata"].update(name=name)
            for name in ("../../elsewhere", "/etc/q", "..", "", "a/b", 5, None, "\x1b]0;pwn\x07")
        ),
        lambda state: state.pop("metadata"),
        *(lambda state, v=v: state.update(status=v) for v in ([1], "x", {"nodes": [1]}, {"nodes": {"a": "x"}})),
        *(
            lambda state, key=key, value=value: _first(state).update({key: value})
            for key in ("id", "name", "displayName", "type", "phase", "message", "startedAt", "children", "outputs")
            for value in wrong_values(key)
        ),
        *(lambda state, value=value: _first(state).update(outputs={"artifacts": value}) for value in WRONG_ARTIFACTS),
        *(
            lambda state, text=text: state["status"].update(compressedNodes=text)
            for text in ("xxxx", _packed(b"{}")[:-8], _packed(b"5"), _packed(b"[" * 100_000), 5)
        ),
        *(lambda state, at=at: state["status"].update(startedAt=at) for at in ("yesterday", "2026-01-01", 5)),
        lambda state: state["spec"].update(arguments={"parameters": [5]}),
        *(lambda state, v=v: state["metadata"].update(labels=v) for v in (5, {"app.kubernetes.io/name": ["x"]})),
        *(
            lambda state, spec=spec: state["status"].update(storedWorkflowTemplateSpec=spec)
            for spec in (5, {"templates": 5}, {"templates": [], "entrypoint": "x"}, CYCLE)
        ),
    ],
)
def test_a_workflow_of_another_form_than_argos_is_refused(alter: Callable[[Json], object]) -> None:
    state = json.loads(lines("refused")[-1])
    alter(state)
    with pytest.raises(BadCall, match=r"does not have the form that Argo writes|has a node with an invalid id") as bad:
        record_of(state, WATCHED)
    assert bad.value.message.isprintable()
    assert "check who else may" in bad.value.fix


def test_nodes_that_decompress_to_too_much_are_refused() -> None:
    state = states("released")[-1]
    state["status"]["compressedNodes"] = _packed(b" " * (UNPACKED + 1))
    with pytest.raises(BadCall, match="does not have the form"):
        record_of(state, WATCHED)


@pytest.mark.parametrize("data", ["\ud800", 5, None, ["x"]])
def test_an_input_that_is_not_text_is_refused(data: object) -> None:
    state = states("released")[-1]
    artifact = {"name": "spec", "raw": {"data": data}}
    state["status"]["storedWorkflowTemplateSpec"] = {"templates": [{"inputs": {"artifacts": [artifact]}}]}
    with pytest.raises(BadCall, match="does not have the form"):
        raw_input(state, "spec")


REASON: Json = {"id": "g/1", "rule": "r", "message": "m", "lines": [], "why": "", "waived_by": None}


@pytest.mark.parametrize(
    "said",
    [
        {"result": "refused", "reasons": 5, "notes": []},
        {"result": "refused", "reasons": [5], "notes": []},
        {"result": "refused", "reasons": [{}], "notes": []},
        {"result": "refused", "reasons": [REASON | {"lines": "x"}], "notes": []},
        {"result": "refused", "reasons": [REASON | {"waived_by": 5}], "notes": []},
        {"result": "refused", "reasons": [REASON | {"waiver": {}}], "notes": []},
        {"result": "refused", "reasons": [REASON], "notes": [5]},
        {"result": "refused", "reasons": [REASON], "notes": None},
        {"result": ["refused"], "reasons": [], "notes": []},
        {"result": "fine", "reasons": [], "notes": []},
    ],
)
def test_what_has_not_the_form_of_a_verdict_is_none(said: Json, tmp_path: Path) -> None:
    message = f"main: Error (exit code 3): {json.dumps(said)}"
    assert Step("bias-audit", "Failed", message, 3, 1.0, tmp_path).to_json()["verdict"] is None
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicate": said}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    envelope = {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": []}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "verdict").write_text(json.dumps(envelope))
    assert Step("bias-audit", "Failed", "", 3, 1.0, tmp_path).to_json()["verdict"] is None


@pytest.mark.parametrize("text", ["5", "[1]", '"x"', "[" * 100_000, "\udcff", '{"payload": 5}'])
def test_a_file_that_is_not_a_verdict_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "verdict").write_text(text, errors="surrogateescape")
    (tmp_path / "log").write_text(text, errors="surrogateescape")
    step = Step("bias-audit", "Failed", "", 1, 1.0, tmp_path)
    assert (step.to_json()["verdict"], step.error) == (None, None)


@pytest.mark.parametrize(("bundle", "generation"), [("sha256:../x", "7"), (POINTER["bundle"], "x"), ("", "1")])
def test_a_service_that_names_no_bundle_is_an_error(bundle: str, generation: str) -> None:
    class Answers:
        namespace = "ns"

        def kubectl(self, *arguments: str) -> str:
            return " ".join(arguments)

        def users_service(self, model: str) -> Json:
            return {"metadata": {"annotations": {layout.BUNDLE: bundle, layout.GENERATION: generation}}}

    with pytest.raises(BadCall, match="does not name a bundle and a generation"):
        live_on(cast(Argo, Answers()), "tiny")
