"""A Workflow on a cluster as the record of a run: the same tree, the same words and the same exit codes as here.

What is fetched of it (logs, verdicts) lies in `.lockgate/cluster/<namespace>/<workflow>/`, in the form of a local run.
"""

import base64
import gzip
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from lockgate_step import layout

from lockgate.cluster.api import NotAllowed
from lockgate.cluster.workflows import Argo
from lockgate.engine.events import Event, NodeFinished, NodeStarted, RunFinished, RunStarted, Waiting
from lockgate.engine.record import Run
from lockgate.errors import BadCall, LockgateError, OutsideFailed
from lockgate.records.live import Live
from lockgate.records.runs import About, RunRecord, Step, program_steps
from lockgate.report.tree import LiveTree

Json = dict[str, Any]
ARGOS_OWN = re.compile(
    r"time=\S+ .*\bargo=true\b|Error: exit status \d+$"
)  # what Argo says of itself in a program's container
ENDED = ("Succeeded", "Failed", "Error")
ORDINARY = ("ContainerCreating", "PodInitializing")  # every pod passes through these
NO_IMAGE = re.compile(r'(?:ErrImagePull|ImagePullBackOff): [^"]*"([^"]+)"')
NAME, COMPONENT, PART_OF = (f"app.kubernetes.io/{key}" for key in ("name", "component", "part-of"))
_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")  # it names a folder
PATIENCE = (1, 2, 4, 8, 16, 32)  # seconds between attempts at a server that does not answer


@dataclass(frozen=True)
class ClusterRun(Run):
    """A Workflow's status in the words of a local record, which are Argo's."""

    @classmethod
    def of(cls, workflow: Json, folder: Path) -> Self:
        """What a Workflow's status says; `folder` keeps what is fetched of it. Errors: BadCall."""
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
        """The controller executes it, whoever watches."""
        return self.phase not in ENDED


def _nodes(name: str, status: Mapping[str, Any]) -> dict[str, Json]:
    """The nodes, in the order they began; the controller packs those of a big workflow."""
    if status.get("offloadNodeStatusVersion"):
        msg = f"the nodes of {name} lie in the controller's own database"
        raise BadCall(msg, fix="ask an Argo server for them: --server URL")
    nodes = status.get("nodes") or {}
    if packed := status.get("compressedNodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
    return dict(sorted(nodes.items(), key=lambda item: item[1].get("startedAt") or ""))


def _node(node: Mapping[str, Any], workflow: str) -> Json:
    """A node with what a local record has and Argo leaves out where it is empty."""
    if not _ID.fullmatch(str(node["id"])):
        msg = f"{workflow} has a node whose id Argo would not give: {node['id']!r}"
        raise BadCall(msg, fix="nobody but Argo should have written its status: ask who may")
    empty = {"templateName": "", "startedAt": None, "finishedAt": None}
    said = {key: value for key, value in node.items() if value is not None}
    place = {"folder": f"nodes/{node['id']}", "atExit": str(node["name"]).startswith(f"{workflow}.onExit")}
    return {**empty, **said, "phase": node.get("phase") or "Pending", **place}


def _end(node: Json, nodes: Mapping[str, Json], status: Mapping[str, Any]) -> None:
    """End a node that the controller has left running: it does so with those above a pod that was stopped."""
    if node["finishedAt"] is None:
        last = next((nodes[child] for child in reversed(node.get("children") or ()) if child in nodes), status)
        node |= {"phase": last["phase"], "finishedAt": last["finishedAt"], "message": last.get("message") or ""}


def record_of(workflow: Json, kept: Path) -> RunRecord:
    """A Workflow as the record of a run; `kept` is the folder for what is fetched of the runs of its namespace.

    Errors: BadCall.
    """
    metadata, status = workflow["metadata"], workflow.get("status") or {}
    labels = {**_template(workflow).get("workflowMetadata", {}).get("labels", {}), **(metadata.get("labels") or {})}
    run = ClusterRun.of(workflow, kept / metadata["name"])
    template = status.get("storedWorkflowTemplateSpec")
    steps = tuple(program_steps(template)) if template else ()
    return RunRecord(run, About(labels.get(NAME, ""), labels.get(COMPONENT, ""), run.parameters, steps, None))


def _template(workflow: Json) -> Json:
    return dict((workflow.get("status") or {}).get("storedWorkflowTemplateSpec") or {})


def raw_input(workflow: Json, name: str) -> str:
    """An input that the template of a Workflow holds itself; empty where it holds none of this name."""
    templates = _template(workflow).get("templates") or ()
    inputs = (each for template in templates for each in template.get("inputs", {}).get("artifacts") or ())
    return next((each["raw"]["data"] for each in inputs if each["name"] == name and "raw" in each), "")


def watch(argo: Argo, name: str, tree: LiveTree, kept: Path) -> RunRecord:
    """Show a Workflow in the tree until it has ended; its record then, with what its failed steps left.

    A server that is away for a while is waited for.
    Errors: BadCall, OutsideFailed.
    """
    record: RunRecord | None = None
    for record in shown(_states(argo, name), tree, kept):
        if not record.run.alive:
            evidence(argo, record)
    assert record is not None
    return replace(record)  # read anew, with what was fetched


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
    """A Workflow as it is and at each change, up to its end."""
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
    """What happened between two records of a run, in the words of the local engine."""
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
    """Why a pod waits, in a few words: a kubelet says in turn that it cannot pull an image and that it tries later."""
    if (found := NO_IMAGE.match(message)) is None:
        return message
    _, _, cause = message.rpartition('": ')
    return f"the node cannot pull {found[1]}" + (f": {cause}" if cause else "")


def evidence(argo: Argo, record: RunRecord) -> None:
    """Fetch the logs of what failed without a verdict. What is hidden stays so."""
    for step in record.failed:
        with suppress(LockgateError):
            fetch_log(argo, record, step)


def fetch_log(argo: Argo, record: RunRecord, step: Step) -> bool:
    """Fetch a step's log to where a local run has it; False where its pod is gone. Errors: BadCall, OutsideFailed."""
    lines = argo.log(record.id, step.folder.name)
    if lines is not None:
        said = "".join(f"{line}\n" for line in lines if not ARGOS_OWN.match(line))
        step.folder.mkdir(parents=True, exist_ok=True)
        (step.folder / "log").write_text(said, encoding="utf-8")
    return lines is not None


def live_on(argo: Argo, model: str) -> Live:
    """What users of a model reach: the Service they call names it. Errors: OutsideFailed."""
    try:
        service = argo.users_service(model)
    except NotAllowed:
        return Live(None, hidden=True)
    said = (service or {}).get("metadata", {}).get("annotations") or {}
    if layout.BUNDLE not in said or layout.GENERATION not in said:
        return Live(None)
    url = f"http://{model}.{argo.namespace}.svc:8080/v2/models/{model}/infer"
    return Live({"bundle": said[layout.BUNDLE], "generation": int(said[layout.GENERATION])}, url)
