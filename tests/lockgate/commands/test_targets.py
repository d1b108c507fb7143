"""The contract of a target: each verb reports one recorded run in the same words, here and on a cluster.

The cluster's side is the same record as an Argo controller keeps it: the nodes in a Workflow's status, the outputs in
S3 (a real SeaweedFS). `tests/cluster/test_targets.py` runs the verbs against a real cluster.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lockgate_proof import GATES_OF_A_BUNDLE, ProofError, Trust, TrustedKey, new_key

from lockgate.cluster.api import NotThere
from lockgate.cluster.manifests.settings import Settings
from lockgate.cluster.prepare import prepare
from lockgate.cluster.workflows import Where
from lockgate.commands import runs as verbs
from lockgate.commands.cluster import OnCluster
from lockgate.commands.machine import Machine
from lockgate.commands.render import render_project
from lockgate.commands.result import Result
from lockgate.commands.status import LAST, status
from lockgate.commands.target import Target, find
from lockgate.commands.verify import verify_what
from lockgate.commands.waive import Waiving, waive
from lockgate.definition.project import Project
from lockgate.errors import BadCall, UnknownName
from lockgate.records.environment import Environment
from lockgate.records.store import store_of
from lockgate.report.pages import LARGEST
from tests.promotions import sign_recorded
from tests.reported import add_pages
from tests.seaweed import BUCKET, SeaweedFS, seaweed

Json = dict[str, Any]
ROOT = Path(__file__).parents[3]
RECORDED = Path(__file__).parent / "reported"
ENDS = ("released", "waived", "refused")
NAMESPACE, MODEL = "ns", "adult-income"
OPTIONS = f"-n {NAMESPACE}"
SCHEMA = json.loads((ROOT / "schemas" / "status.schema.json").read_bytes())


@dataclass
class RecordedArgo:
    """The Workflows of a namespace, as a controller has left them."""

    found: list[Json] = field(default_factory=list)
    service: Json | None = None
    stopped: list[str] = field(default_factory=list)
    namespace: str = NAMESPACE

    def kubectl(self, *arguments: str) -> str:
        return " ".join(["kubectl", "-n", self.namespace, *arguments])

    def template(self, name: str) -> Json:
        raise NotThere(name)

    def create(self, workflow: Json) -> Json:
        raise NotThere(str(workflow))

    def workflow(self, name: str) -> Json:
        return next(each for each in self.found if each["metadata"]["name"] == name)

    def workflows(self) -> list[Json]:
        return list(self.found)

    def crons(self, labels: Mapping[str, str]) -> list[Json]:
        return []

    def changes(self, name: str) -> Iterator[Json]:
        yield from ()

    def stop(self, name: str) -> None:
        self.stopped.append(name)

    def log(self, workflow: str, node: str) -> list[str] | None:
        return None

    def users_service(self, model: str) -> Json | None:
        return self.service if model == MODEL else None


def recorded(end: str) -> Path:
    """The folder of a recorded run."""
    (folder,) = (path.parent for path in (RECORDED / end).glob("*/run.json"))
    return folder


def as_workflow(folder: Path, upload: Callable[[str, Path], str]) -> Json:
    """A recorded run as the Workflow that an Argo controller would keep; upload: file of an output -> its key in S3."""
    run, about = (json.loads((folder / name).read_bytes()) for name in ("run.json", "about.json"))
    nodes = {}
    for node in run["nodes"].values():
        outputs = {key: value for key, value in node["outputs"].items() if key == "exitCode"}
        artifacts = [
            {"name": each["name"], "s3": {"key": upload(f"{node['id']}/{each['name']}", folder / each["local"])}}
            for each in node["outputs"].get("artifacts", ())
            if "local" in each and (folder / each["local"]).exists()  # the recording leaves out what nobody reads
        ]
        kept = ("id", "name", "displayName", "type", "templateName", "phase", "boundaryID", "message", "startedAt")
        said = {key: node[key] for key in (*kept, "finishedAt", "children")}
        nodes[node["id"]] = said | {"outputs": outputs | ({"artifacts": artifacts} if artifacts else {})}
    spec = next(path for path in folder.glob("nodes/*/in/spec")).read_text()
    raw = {"name": "spec", "raw": {"data": spec}}
    pages = {
        step: {"artifacts": [{"name": name, "s3": {"key": f"{step}/{name}.html"}} for name in names]}
        for step, names in about["pages"].items()
    }
    templates = [
        {"name": name, "container": {}, "inputs": {"artifacts": [raw]}, "outputs": pages.get(name, {})}
        for name in about["steps"]
    ]
    chain = {"name": "chain", "dag": {"tasks": [{"template": name} for name in about["steps"][:-1]]}}
    labels = {"app.kubernetes.io/part-of": "lockgate", "app.kubernetes.io/name": about["model"]}
    return {
        "metadata": {
            "name": run["name"],
            "labels": labels | {"app.kubernetes.io/component": about["workflow"]},
            "creationTimestamp": run["startedAt"],
        },
        "spec": {"arguments": {"parameters": [{"name": k, "value": v} for k, v in about["given"].items()]}},
        "status": {
            **{key: run[key] for key in ("phase", "message", "startedAt", "finishedAt")},
            "nodes": nodes,
            "storedWorkflowTemplateSpec": {
                "entrypoint": "chain", "onExit": about["steps"][-1], "templates": [chain, *templates],
                "workflowMetadata": {"labels": labels},
            },
        },
    }  # fmt: skip


@dataclass
class Place:
    """A target, and how the tests change its state."""

    target: Target
    argo: RecordedArgo | None
    s3: SeaweedFS | None = None

    def plain(self, text: str) -> str:
        """Return the text of a target without its own name."""
        for name in (f" {OPTIONS}", f" in namespace {NAMESPACE}", " on this machine"):
            text = text.replace(name, "")
        return text.replace("lockgate submit", "lockgate run").replace(" --watch", "")

    def set_phase(self, phase: str) -> None:
        """Set the phase of the run."""
        if self.argo is None:
            (file,) = self.target.project.state.glob("runs/*/run.json")
            value = json.loads(file.read_bytes())
        else:
            value = self.argo.found[0]["status"]
        value["phase"] = phase
        if self.argo is None:
            file.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweed(tmp_path_factory.mktemp("s3")) as service:
        yield service


def sources(root: Path) -> Project:
    """A project with one model, rendered as it is in this repository."""
    for part in ("pipelines/adult_income", "workflows/adult-income"):
        shutil.copytree(ROOT / part, root / part)
    return Project(root)


def with_pages(run: Path, end: str, root: Path) -> Trust:
    """Add pages to the recorded run; return the keys that are trusted for it."""
    trust = Path(shutil.copyfile(RECORDED / end / "trust.json", root / "trust.json"))
    add_pages(run, trust)
    return Trust.read(trust)


def here(root: Path, end: str) -> Place:
    """The recorded run on this machine."""
    project, source = sources(root), recorded(end)
    run = Path(shutil.copytree(source, project.state / "runs" / source.name))
    machine = Machine.of(project)
    trust = machine.environment.config / "trust.json"
    theirs, mine = with_pages(run, end, root), Trust.read(trust)
    trust.write_bytes(Trust((*theirs.keys, *mine.for_signer("waive"))).to_bytes())
    live = json.loads((RECORDED / end / "live.json").read_bytes())
    place = machine.environment
    sign_recorded(place.config, root / "promote.pem", store_of(place), MODEL, live)
    return Place(machine, None)


def there(root: Path, end: str, s3: SeaweedFS) -> Place:
    """The same run on a cluster."""
    project, client, prefix = sources(root), s3.client(), f"{root.parent.name}-{root.name}"

    def upload(name: str, path: Path) -> str:
        key = f"{prefix}/{name}"
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            client.upload_file(str(file), BUCKET, key if file == path else f"{key}/{file.relative_to(path)}")
        return key

    (project.root / "kubernetes" / "environment").mkdir(parents=True)
    (project.root / "kubernetes" / "settings.toml").write_text(Settings(namespace=NAMESPACE).to_toml())
    environment = Environment(project.state / "kubernetes", project.root / "kubernetes" / "environment")
    environment.root.mkdir(parents=True)
    s3.lead(environment.config, environment.root / "lockgate-store", f"s3://{BUCKET}/{prefix}/models")
    (environment.config / "platform").write_text("kubernetes\n")
    key = new_key(environment.key("waive"))
    run = Path(shutil.copytree(recorded(end), root / "recorded"))
    theirs = with_pages(run, end, root)
    approver = TrustedKey(key, ("waive",), "approver@example.org")
    (environment.config / "trust.json").write_bytes(Trust((*theirs.keys, approver)).to_bytes())
    live = json.loads((RECORDED / end / "live.json").read_bytes())
    store = store_of(environment)
    before = json.loads((recorded(end) / "about.json").read_bytes())["before"]
    for pointer in (before, live):
        if pointer:
            sign_recorded(environment.config, root / "promote.pem", store, MODEL, pointer)
            key = f"models/{MODEL}/live.json"
            store.put(f"models/{MODEL}/history/{pointer['generation']}.json", store.read(key).data)
    workflow = as_workflow(run, upload)
    notes = {"lockgate.io/bundle": live["bundle"], "lockgate.io/generation": str(live["generation"])}
    argo = RecordedArgo([workflow], {"metadata": {"annotations": notes}})
    return Place(OnCluster(project, argo, Where(namespace=NAMESPACE)), argo, s3)


@pytest.fixture(params=["machine", "cluster"])
def build(request: pytest.FixtureRequest, tmp_path: Path, s3: SeaweedFS) -> Callable[[str], Place]:
    """Makes one of the two targets, with a recorded run."""
    if request.param == "machine":
        return lambda end: here(tmp_path, end)
    return lambda end: there(tmp_path, end, s3)


@pytest.mark.parametrize("end", ENDS)
def test_status_has_one_form(end: str, build: Callable[[str], Place]) -> None:
    place = build(end)
    value = json.loads(json.dumps(status(place.target, MODEL).to_json()))
    Draft202012Validator(SCHEMA).validate(value)
    live = json.loads((RECORDED / end / "live.json").read_bytes())
    (model,) = value["models"].values()
    assert {key: live[key] for key in ("bundle", "generation")}.items() <= model["live"].items()
    (run,) = model["runs"]
    assert (run["run"], run["workflow"]) == (recorded(end).name, "release")
    assert run["outcome"] == {"released": "released", "waived": "released", "refused": "refused"}[end]
    lines = [place.plain(line) for line in status(place.target, MODEL).lines()]
    assert lines[0].startswith(f"{MODEL}: {live['bundle'][:13]}, generation {live['generation']}")
    assert lines[-1].startswith(f"  run {run['run']}   release  {run['outcome']}")


def test_status_shows_the_newest_runs_and_names_what_it_does_not_know(build: Callable[[str], Place]) -> None:
    place = build("released")
    with pytest.raises(UnknownName, match="'no-model'"):
        status(place.target, "no-model")
    first = find(place.target, "last")
    for number in range(LAST + 2):
        _again(place, f"{number}aaaaa", f"2026-12-0{number + 1}T00:00:00Z")
    (shown,) = status(place.target, MODEL).models
    assert [run.id for run in shown.runs] == [f"{number}aaaaa" for number in reversed(range(2, LAST + 2))]
    assert find(place.target, first.id[:3]).id == first.id


def _again(place: Place, name: str, started: str) -> None:
    """Return a copy of the run under another name."""
    if place.argo is None:
        (folder,) = list(place.target.project.state.glob("runs/??????"))[:1]
        other = shutil.copytree(folder, folder.with_name(name))
        value = json.loads((other / "run.json").read_bytes()) | {"name": name, "startedAt": started}
        (other / "run.json").write_text(json.dumps(value))
    else:
        copied = json.loads(json.dumps(place.argo.found[0]))
        copied["metadata"]["name"], copied["status"]["startedAt"] = name, started
        place.argo.found.append(copied)


@pytest.mark.parametrize("name", ["last", "zzz"])
def test_a_run_that_does_not_exist_is_an_error_with_the_next_action(name: str, build: Callable[[str], Place]) -> None:
    place = build("released")
    with pytest.raises(UnknownName, match="'nothing'"):
        find(place.target, "nothing")
    if place.argo is None:
        shutil.rmtree(place.target.project.state / "runs")
    else:
        place.argo.found.clear()
    with pytest.raises(BadCall, match=r"^no run found") as caught:
        find(place.target, name)
    assert place.plain(caught.value.message) == "no run found"
    assert place.plain(caught.value.fix) == "start one: lockgate run MODEL"


def nameless(workflow: Json) -> None:
    workflow["spec"]["arguments"]["parameters"] = [{"value": "x"}]


def of_another_form(workflow: Json) -> None:
    workflow["spec"]["arguments"]["parameters"] = [5]


def without_nodes(workflow: Json) -> None:
    workflow["status"]["offloadNodeStatusVersion"] = "1"


@pytest.mark.parametrize("change", [nameless, of_another_form, without_nodes])
def test_a_run_that_cannot_be_read_hides_no_other(
    change: Callable[[Json], None], tmp_path: Path, s3: SeaweedFS
) -> None:
    place = there(tmp_path, "released", s3)
    assert place.argo
    first = find(place.target, "last")
    hostile = json.loads(json.dumps(place.argo.found[0]))
    hostile["metadata"]["name"], hostile["status"]["startedAt"] = "z1", "2026-12-31T00:00:00Z"
    change(hostile)
    place.argo.found.append(hostile)
    shown = status(place.target)
    value = json.loads(json.dumps(shown.to_json()))
    Draft202012Validator(SCHEMA).validate(value)
    assert list(value["unread"]) == ["z1"]
    assert [run["run"] for run in value["models"][MODEL]["runs"]] == [first.id]
    assert shown.lines()[-1].startswith("run z1 is left out: ")
    assert find(place.target, "last").id == first.id
    assert verbs.logs(place.target, "last").record.id == verbs.report(place.target, "last").record.id == first.id
    for verb in (verbs.logs, verbs.report, verbs.stop):
        with pytest.raises(BadCall, match="z1"):
            verb(place.target, "z1")


@pytest.mark.parametrize("labels", [None, {}, {"app.kubernetes.io/part-of": "x", "app.kubernetes.io/name": "other"}])
def test_a_run_with_changed_labels_is_shown(labels: Json | None, tmp_path: Path, s3: SeaweedFS) -> None:
    place = there(tmp_path, "released", s3)
    assert place.argo
    first = find(place.target, "last")
    place.argo.found[0]["metadata"]["labels"] = labels
    place.argo.found.append({"metadata": {"name": "backup"}, "spec": {}, "status": {"phase": "Succeeded"}})
    shown = json.loads(json.dumps(status(place.target, MODEL).to_json()))
    assert [run["run"] for run in shown["models"][MODEL]["runs"]] == [first.id]
    assert find(place.target, "last").about.model == MODEL
    assert [run.id for run in place.target.found().runs] == [first.id]


def test_logs_are_those_of_the_steps_and_say_what_is_missing(build: Callable[[str], Place]) -> None:
    place = build("refused")
    with pytest.raises(UnknownName, match="'tarin'"):
        verbs.logs(place.target, "last", "tarin")
    every = verbs.logs(place.target, "last")
    assert [step.name for step in every.steps] == [step.name for step in find(place.target, "last").steps]
    unreached = verbs.logs(place.target, "last", "package")
    assert unreached.notes == ["package was not reached: bias-audit ended as refused."]
    record = find(place.target, "last")
    (train,) = (step for step in record.steps if step.name == "train")
    train.folder.mkdir(parents=True, exist_ok=True)
    (train.folder / "log").write_text('{"event": "fitted"}\n')
    found = verbs.logs(place.target, "last", "train")
    assert [line for step in found.steps for line in step.log_lines()] == [{"event": "fitted"}]
    assert found.notes == []


def test_stop_stops_a_run_in_progress_only(build: Callable[[str], Place]) -> None:
    place = build("refused")
    name = recorded("refused").name
    with pytest.raises(BadCall, match=f"^run {name} is not running: failed$") as caught:
        verbs.stop(place.target, "last")
    assert place.plain(caught.value.fix) == "lockgate status shows which runs are"
    if place.argo is not None:  # on this machine a process is needed: tests/journeys/test_interruptions.py
        place.set_phase("Running")
        lines, value = verbs.stop(place.target, "last")
        assert (place.argo.stopped, value) == ([name], {"run": name})
        assert lines == [f"Stopping run {name}: its candidate is released; what is live stays live."]


@pytest.mark.parametrize("end", ENDS)
def test_a_report_has_the_same_pages_with_the_same_facts(end: str, tmp_path: Path, s3: SeaweedFS) -> None:
    first, second = here(tmp_path / "here", end), there(tmp_path / "there", end, s3)
    pages = []
    for place in (first, second):
        found = verbs.report(place.target, "last")
        assert found.missing == []
        assert all(link.startswith("file://") for link in found.pages.values())
        assert found.lines() == [f"  {name:<16} {link}" for name, link in found.pages.items()]
        folder = found.record.run.folder / "report"
        pages.append({name: place.plain((folder / f"{name}.html").read_text()) for name in found.pages})
    assert next(iter(pages[0])) == "index"
    assert set(GATES_OF_A_BUNDLE) & set(pages[0])
    assert pages[0] == pages[1]


def test_a_page_that_was_changed_is_not_shown(build: Callable[[str], Place]) -> None:
    place = build("released")
    assert verbs.report(place.target, "last").exit_code == 0
    forged = b"<h1>No group is treated differently</h1><script>"
    if place.argo is None:
        (page,) = place.target.project.state.glob("runs/*/nodes/*bias-audit.0/out/report")
        page.write_bytes(forged)
    else:
        audits = [n for n in place.argo.found[0]["status"]["nodes"].values() if n["templateName"] == "bias-audit"]
        assert place.s3 is not None
        for key in {a["s3"]["key"] for n in audits for a in n["outputs"].get("artifacts", ()) if a["name"] == "report"}:
            place.s3.client().put_object(Bucket=BUCKET, Key=key, Body=forged)
    found = verbs.report(place.target, "last")
    problem = "The report of bias-audit is not shown: it was changed after bias-audit signed it."
    assert (found.exit_code, found.withheld, "bias-audit" in found.pages) == (3, [problem], False)
    texts = [path.read_text() for path in (found.record.run.folder / "report").iterdir()]
    assert [problem in text for text in texts].count(True) == 1
    assert not any("No group is treated" in text for text in texts)


def test_a_report_names_what_the_store_no_longer_has(tmp_path: Path, s3: SeaweedFS) -> None:
    place = there(tmp_path, "refused", s3)
    client = s3.client()
    for each in client.list_objects_v2(Bucket=BUCKET, Prefix=f"{tmp_path.parent.name}-{tmp_path.name}")["Contents"]:
        if each["Key"].endswith("/report"):
            client.delete_object(Bucket=BUCKET, Key=each["Key"])
    with pytest.raises(BadCall, match="has no report"):
        verbs.report(place.target, "last")


def test_an_output_that_is_too_large_is_not_read(tmp_path: Path, s3: SeaweedFS) -> None:
    place = there(tmp_path, "refused", s3)
    assert place.argo is not None
    pods = [node for node in place.argo.found[0]["status"]["nodes"].values() if node["type"] == "Pod"]
    key = next(a["s3"]["key"] for n in pods for a in n["outputs"].get("artifacts", ()) if a["name"] == "report")
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=bytes(LARGEST + 1))
    with pytest.raises(BadCall, match=r"names an invalid artifact: .*report is larger than expected"):
        verbs.report(place.target, "last")


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a//b", "x\n", "\x1b[2J"])
def test_an_output_with_an_invalid_key_is_not_read(key: str, tmp_path: Path, s3: SeaweedFS) -> None:
    place = there(tmp_path, "refused", s3)
    assert place.argo is not None
    for node in place.argo.found[0]["status"]["nodes"].values():
        for artifact in node["outputs"].get("artifacts", ()):
            artifact["s3"]["key"] = key
    with pytest.raises(BadCall, match="names an invalid artifact") as caught:
        verbs.report(place.target, "last")
    assert caught.value.message.isprintable()


POINTER = {"bundle": f"sha256:{'ab' * 32}", "generation": 1, "at": "2026-11-30T00:00:00+00:00"}


@pytest.mark.parametrize(
    "pointer",
    [
        b"5",
        b"[[1, 2]]",
        b"[" * 100_000,
        b"\xff",
        b"{}",
        *(
            json.dumps(POINTER | change).encode()
            for change in (
                {"bundle": "sha256:../../../elsewhere"},
                {"bundle": "sha256:/elsewhere"},
                {"bundle": 5},
                {"generation": "1"},
                {"at": "yesterday"},
                {"at": "2026-11-30T00:00:00"},
                {"at": None},
            )
        ),
    ],
)
def test_a_damaged_pointer_is_named_and_nothing_is_written(pointer: bytes, tmp_path: Path) -> None:
    place = here(tmp_path / "project", "released")
    (tmp_path / "project/.lockgate/store/models" / MODEL / "live.json").write_bytes(pointer)
    before = sorted(tmp_path.rglob("*"))
    alert = place.target.live(MODEL).alert
    assert f"models/{MODEL}/live.json" in alert
    assert any(alert in line for line in status(place.target, MODEL).lines())
    with pytest.raises(ProofError, match=rf"models/{MODEL}/live\.json"):
        verify_what(place.target.project, place.target.environment, MODEL)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_live_bundle_that_the_store_does_not_have_cannot_be_verified(tmp_path: Path) -> None:
    place = here(tmp_path, "released")
    with pytest.raises(ProofError, match="the live bundle in the store cannot be verified"):
        verify_what(place.target.project, place.target.environment, MODEL)


def test_a_waiver_is_signed_for_a_refusal_of_either(build: Callable[[str], Place]) -> None:
    place = build("refused")
    record = find(place.target, "last")
    key = place.target.environment.key("waive") if place.argo else None  # on this machine it is made when needed
    asked = Waiving("bias-audit/1", "Ana Diaz, director", "Pilot", _soon(), key)
    with pytest.raises(UnknownName, match="'bias-audit/9'"):
        waive(place.target, record, Waiving("bias-audit/9", "A", "B", _soon(), None))
    with pytest.raises(BadCall, match="needs the name of its approver") as caught:
        waive(place.target, record, Waiving("bias-audit/1", None, "B", _soon(), None))
    assert place.plain(caught.value.fix).startswith(f"lockgate waive {record.id} bias-audit/1 --by ")
    lines, value = waive(place.target, record, asked)
    assert lines[0].startswith("Waived until ")
    assert (value["run"], value["reason_id"], value["approver"]) == (record.id, "bias-audit/1", "Ana Diaz, director")
    assert (place.target.project.root / value["file"]).is_file()
    following = lines[lines.index("Next") + 1 :]
    assert place.plain(following[-1]) == f"  lockgate run {MODEL} --set mitigation=none"
    applied = ["-k kubernetes", f"-f workflows/{MODEL}"]  # the policy that admits the manifests first
    assert [line.partition("--server-side ")[2] for line in following[:-1]] == ([] if place.argo is None else applied)


def test_a_waiver_leaves_nothing_to_render(tmp_path: Path) -> None:
    """On a cluster, a policy admits only the templates that it contains."""
    place = here(tmp_path, "refused")
    record, root = find(place.target, "last"), place.target.project.root
    prepare(Project(root), {"store": "s3://bucket/prefix", "namespace": NAMESPACE})
    render_project(Project(root), [], check=False)
    waive(place.target, record, Waiving("bias-audit/1", "Ana Diaz, director", "Pilot", _soon(), None))
    lines, _ = render_project(Project(root), [], check=True)
    assert "agrees with its source" in lines[0]


def _soon() -> str:
    return str(datetime.now(UTC).date() + timedelta(days=20))


@pytest.mark.parametrize("end", ENDS)
def test_a_result_is_said_and_written_in_one_form(end: str, build: Callable[[str], Place]) -> None:
    place = build(end)
    record, _ = place.target.fetch_evidence(find(place.target, "last"))
    tunable = {"mitigation": ["none", "grid-search"]}
    result = Result(record, record.about.before, place.target.live(MODEL), tunable, place.target.options)
    lines, value = [place.plain(line) for line in result.lines()], result.to_json()
    assert set(value) == {"run", "model", "phase", "exit_code", "live", "url", "steps"}
    assert value["exit_code"] == (3 if end == "refused" else 0)
    live = json.loads((RECORDED / end / "live.json").read_bytes())
    if end == "refused":
        assert f"Nothing changed for users: {live['bundle'][:13]} is still live." in lines
        commands = [line.split("  ")[1] for line in lines[lines.index("Next") + 1 : -1]]
        assert [command.replace(" --key FILE", "") for command in commands] == [
            f"lockgate report {record.id}",
            f"lockgate run {MODEL} --set mitigation=grid-search",
            f"lockgate waive {record.id} bias-audit/1",
        ]
    else:
        assert lines[1] == f"Released: {MODEL} {live['bundle'][:13]} is live, generation {live['generation']}."
