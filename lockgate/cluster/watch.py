"""Read a Workflow on a cluster as the record of a run: the same tree, messages and exit codes as on this machine.

Its fetched logs and verdicts are in `.lockgate/cluster/<namespace>/<workflow>/`, in the form of a local run.
"""

import base64
import gzip
import io
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from lockgate_step import is_digest, layout, loads

from lockgate.cluster.api import NotAllowed
from lockgate.cluster.workflows import Argo
from lockgate.engine.events import Event, NodeFinished, NodeStarted, RunFinished, RunStarted, Waiting
from lockgate.engine.record import Node, Run
from lockgate.errors import BadCall, LockgateError, OutsideFailed
from lockgate.records.live import Live
from lockgate.records.runs import About, RunRecord, Step, additional_gates, declared_pages, program_steps
from lockgate.rendering.labels import COMPONENT, NAME, PART_OF
from lockgate.report.tree import LiveTree

Json = dict[str, Any]
ARGOS_OWN = re.compile(
    r"time=\S+ .*\bargo=true\b|Error: exit status \d+$"
)  # Argo's own lines in the log of a program's container
ENDED = ("Succeeded", "Failed", "Error")
ORDINARY = ("ContainerCreating", "PodInitializing")  # every pod has these for a moment
NO_IMAGE = re.compile(r'(?:ErrImagePull|ImagePullBackOff): [^"]*"([^"]+)"')
_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")  # it becomes the name of a folder
_OF_A_NODE = {
    **dict.fromkeys(("id", "name", "displayName", "type", "templateName", "phase", "boundaryID", "message"), str),
    "children": list, "inputs": dict, "outputs": dict,
}  # fmt: skip
UNPACKED = 128 << 20  # bytes of the nodes of a workflow; the controller stores at most 1 MiB of them, compressed
WHO_WRITES = "only Argo should write a workflow's status: check who else may"
PATIENCE = (1, 2, 4, 8, 16, 32)  # seconds between attempts to reach a server


@dataclass(frozen=True)
class ClusterRun(Run):
    """A Workflow's status in the form of a local record."""

    @classmethod
    def of(cls, workflow: Json, folder: Path) -> Self:
        """Convert a Workflow's status; `folder` is for its fetched files. Errors: BadCall."""
        name, status = workflow["metadata"]["name"], workflow.get("status") or {}
        given = workflow.get("spec", {}).get("arguments", {}).get("parameters") or []
        nodes = {key: _node(node, name) for key, node in _nodes(name, status).items()}
        if status.get("phase") in ENDED:
            for node in reversed(nodes.values()):
                _end(node, nodes, status)
        return cls(
            folder,
            {
                "phase": status.get("phase") or "Pending",
                "message": status.get("message") or "",
                "startedAt": status.get("startedAt") or workflow["metadata"].get("creationTimestamp"),
                "finishedAt": status.get("finishedAt"),
                "parameters": {each["name"]: str(each.get("value", "")) for each in given},
                "nodes": nodes,
            },
        )

    @property
    def alive(self) -> bool:
        """Whether it is in progress: the controller executes it, not a process of this machine."""
        return self.phase not in ENDED


def _nodes(name: str, status: Mapping[str, Any]) -> dict[str, Json]:
    """Return the nodes in the order of their start; the controller compresses those of a large workflow."""
    if status.get("offloadNodeStatusVersion"):
        msg = f"the nodes of {name} are in the controller's database"
        raise BadCall(msg, fix="read them through an Argo server: --server URL")
    nodes = status.get("nodes") or {}
    if packed := status.get("compressedNodes"):
        nodes = loads(_unpacked(packed))
    return dict(sorted(nodes.items(), key=lambda item: item[1].get("startedAt") or ""))


def _unpacked(packed: str) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(base64.b64decode(packed))) as stream:
        text = stream.read(UNPACKED + 1)
    if len(text) > UNPACKED:
        msg = f"its nodes are larger than {UNPACKED >> 20} MiB"
        raise ValueError(msg)
    return text


def _node(node: Mapping[str, Any], workflow: str) -> Json:
    """Return a node with the fields that Argo omits if they are empty."""
    if not _ID.fullmatch(str(node["id"])):
        msg = f"{workflow} has a node with an invalid id: {node['id']!r}"
        raise BadCall(msg, fix=WHO_WRITES)
    _check_types(node, _OF_A_NODE)
    if not all(isinstance(child, str) for child in node.get("children") or ()):
        raise TypeError("children")
    empty = {"templateName": "", "startedAt": None, "finishedAt": None}
    given = {key: value for key, value in node.items() if value is not None}
    place = {"folder": f"nodes/{node['id']}", "atExit": str(node["name"]).startswith(f"{workflow}.onExit")}
    return {**empty, **given, "phase": node.get("phase") or "Pending", **place}


def _end(node: Json, nodes: Mapping[str, Json], status: Mapping[str, Any]) -> None:
    """End a node that the controller left running, as it does with the parents of a pod that was stopped."""
    if node["finishedAt"] is None:
        last = next((nodes[child] for child in reversed(node.get("children") or ()) if child in nodes), status)
        node |= {"phase": last["phase"], "finishedAt": last["finishedAt"], "message": last.get("message") or ""}


def record_of(workflow: Json, kept: Path) -> RunRecord:
    """Return a Workflow as the record of a run; `kept` is the folder for the fetched files of its namespace.

    Errors: BadCall.
    """
    with as_argo_writes(workflow):
        metadata, status = workflow["metadata"], workflow.get("status") or {}
        labels = _labels(workflow)
        if not _ID.fullmatch(metadata["name"]):
            raise ValueError(metadata["name"])
        _check_types(status, {"phase": str, "message": str})
        run = ClusterRun.of(workflow, kept / metadata["name"])
        template = status.get("storedWorkflowTemplateSpec")
        steps = tuple(program_steps(template)) if template else ()
        pages, gates = declared_pages(template or {}), additional_gates(template or {})
        model, kind = labels.get(NAME, ""), labels.get(COMPONENT, "")
        record = RunRecord(run, About(model, kind, run.parameters, steps, None, pages=pages, gates=gates))
        # All of it is read now, so that what cannot be read is an error here.
        _ = record.steps, record.seconds, [output_keys(node) for node in run.nodes]
        if datetime.fromisoformat(record.started).tzinfo is None:
            raise ValueError(record.started)
        return record


@contextmanager
def as_argo_writes(workflow: object) -> Iterator[None]:
    """Wrap the reading of a Workflow, whose status others than Argo may have written.

    Errors: BadCall if it has another form than Argo's.
    """
    try:
        yield
    except (AttributeError, EOFError, LookupError, OSError, RecursionError, TypeError, ValueError, zlib.error) as error:
        named = workflow.get("metadata") if isinstance(workflow, dict) else None
        name = named.get("name") if isinstance(named, dict) else None
        msg = f"the workflow {name!r} does not have the form that Argo writes"
        raise BadCall(msg, fix=WHO_WRITES) from error


def _check_types(found: Mapping[str, Any], types: Mapping[str, type]) -> None:
    for name, kind in types.items():
        if found.get(name) is not None and not isinstance(found[name], kind):
            raise TypeError(name)


def _template(workflow: Json) -> Json:
    return dict((workflow.get("status") or {}).get("storedWorkflowTemplateSpec") or {})


def _labels(workflow: Json) -> Json:
    """Return the labels of a run. Those of its template win: whoever may stop a run may be able to change its own."""
    given = workflow["metadata"].get("labels") or {}
    kept = (_template(workflow).get("workflowMetadata") or {}).get("labels") or {}
    for labels in (given, kept):
        _check_types(labels, {NAME: str, COMPONENT: str, PART_OF: str})
    return {**given, **kept}


def is_ours(workflow: Json, model: str | None) -> bool:
    """Return whether a Workflow is a run of Lockgate, and of this model; so is one that does not tell."""
    try:
        with as_argo_writes(workflow):
            labels = _labels(workflow)
            return labels.get(PART_OF) == "lockgate" and model in (None, labels.get(NAME))
    except BadCall:
        return True


def raw_input(workflow: Json, name: str) -> bytes:
    """Return an input that is written in the template of a Workflow, empty if there is none of this name.

    Errors: BadCall.
    """
    with as_argo_writes(workflow):
        templates = _template(workflow).get("templates") or ()
        inputs = (each for template in templates for each in template.get("inputs", {}).get("artifacts") or ())
        found: str = next((each["raw"]["data"] for each in inputs if each["name"] == name and "raw" in each), "")
        return found.encode()


def output_keys(node: Node) -> dict[str, str]:
    """Return the keys in S3 of a node's outputs, by name; it is one of a record that `record_of` made."""
    written = {each["name"]: each.get("s3") or {} for each in node.outputs.get("artifacts") or ()}
    return {name: str(place["key"]) for name, place in written.items() if place.get("key")}


def watch(argo: Argo, name: str, tree: LiveTree, kept: Path) -> RunRecord:
    """Show a Workflow in the tree until it ends; return its record, with the logs of its failed steps.

    If the server cannot be reached for a while, it tries again.
    Errors: BadCall, OutsideFailed.
    """
    record: RunRecord | None = None
    for record in shown(_states(argo, name), tree, kept):
        if not record.run.alive:
            evidence(argo, record)
    assert record is not None
    return replace(record)  # a new record reads the fetched logs


def shown(states: Iterable[Json], tree: LiveTree, kept: Path) -> Iterator[RunRecord]:
    """Show the states of a Workflow in the tree, one after the other, each as the record of a run."""
    before: RunRecord | None = None
    latest: dict[Path, RunRecord] = {}
    for state in states:
        record = record_of(state, kept)
        latest[record.run.folder] = record
        # The steps are known once the controller has read the template.
        tree.expect(record.about.steps, read=latest.__getitem__)
        for event in events(before, record):
            tree(event)
        yield record
        before = record


def _states(argo: Argo, name: str) -> Iterator[Json]:
    """Yield a Workflow as it is now and at each change, until it ends."""
    failures = 0
    while True:
        try:
            for workflow in _once(argo, name):
                failures = 0
                yield workflow
                if (workflow.get("status") or {}).get("phase") in ENDED:
                    return
        except OutsideFailed:
            if failures == len(PATIENCE):
                raise
            time.sleep(PATIENCE[failures])
            failures += 1


def _once(argo: Argo, name: str) -> Iterator[Json]:
    yield argo.workflow(name)
    yield from argo.changes(name)


def events(before: RunRecord | None, now: RunRecord) -> Iterator[Event]:
    """Yield what happened between two records of a run, as events of the local engine."""
    if before is None:
        yield RunStarted(now.run)
    known = {node.id: node for node in before.run.nodes} if before else {}
    for node in now.run.nodes:
        was = known.get(node.id)
        if was and (was.fulfilled or (was.phase, _plain(was.message)) == (node.phase, _plain(node.message))):
            continue
        if not was or (was.phase == "Pending" and node.phase != "Pending"):
            yield NodeStarted(node)
        if node.fulfilled:
            yield NodeFinished(node)
        elif node.message and node.message not in ORDINARY:
            yield Waiting("conclude" if node.at_exit else re.sub(r"\(\d+\)$", "", node.name), _plain(node.message))
    if not now.run.alive and (before is None or before.run.alive):
        yield RunFinished(now.run)


def _plain(message: str) -> str:
    """Shorten the reason why a pod waits: a kubelet alternates two messages about an image that it cannot pull."""
    if (found := NO_IMAGE.match(message)) is None:
        return message
    _, _, cause = message.rpartition('": ')
    return f"the node cannot pull {found[1]}" + (f": {cause}" if cause else "")


def evidence(argo: Argo, record: RunRecord) -> None:
    """Fetch the logs of the steps that failed without a verdict, as far as it is permitted."""
    for step in record.failed:
        with suppress(LockgateError):
            fetch_log(argo, record, step)


def fetch_log(argo: Argo, record: RunRecord, step: Step) -> bool:
    """Fetch a step's log to the place of a local run; False if its pod is gone. Errors: BadCall, OutsideFailed."""
    lines = argo.log(record.id, step.folder.name)
    if lines is not None:
        text = "".join(f"{line}\n" for line in lines if not ARGOS_OWN.match(line))
        step.folder.mkdir(parents=True, exist_ok=True)
        (step.folder / "log").write_text(text, encoding="utf-8", errors="replace")
    return lines is not None


def live_on(argo: Argo, model: str) -> Live:
    """Return what users of a model reach, from the Service that they call. Errors: OutsideFailed."""
    try:
        service = argo.users_service(model)
    except NotAllowed:
        return Live(None, hidden=True)
    notes = (service or {}).get("metadata", {}).get("annotations") or {}
    if layout.BUNDLE not in notes or layout.GENERATION not in notes:
        return Live(None)
    bundle, generation = str(notes[layout.BUNDLE]), str(notes[layout.GENERATION])
    if not (is_digest(bundle) and generation.isascii() and generation.isdecimal()):
        msg = f"the Service {model} in {argo.namespace} does not name a bundle and a generation"
        raise BadCall(msg, fix=f"check who else may write it: {argo.kubectl('describe', 'service', model)}")
    url = f"http://{model}.{argo.namespace}.svc:8080/v2/models/{model}/infer"
    return Live({"bundle": bundle, "generation": int(generation)}, url)
