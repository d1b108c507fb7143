"""Submit runs to a real cluster, watch, stop and inspect them, with the Kubernetes API and an Argo server."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lockgate.cluster.api import NotAllowed
from lockgate.cluster.submit import Order, Submission
from lockgate.cluster.workflows import TOKEN, Argo, Where, reach
from lockgate.commands.result import Result
from lockgate.commands.submit import submit, submit_and_watch
from lockgate.definition.project import Project
from lockgate.errors import BadCall, NotRendered, OutsideFailed
from lockgate.report.tree import LiveTree
from tests.cluster import tiny
from tests.cluster.place import ARGO_SERVER, CA, ROOT
from tests.cluster.tiny import (
    MODEL,
    NAMESPACE,
    OPERATOR,
    STRANGER,
    SUBMITTER,
    Account,
    kubectl,
    options,
    order,
)

WAYS = ("kubernetes", "argo-server")
LIVE = f"sha256:{'ab' * 32}"


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> Iterator[None]:
    tiny.prepare()
    yield
    kubectl("delete", "workflows", "--all", "--wait=false")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder without models."""
    (tmp_path / "pipelines").mkdir()
    return Project(tmp_path)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """A submitter, who is also the user of kubeconfig."""
    found = Account(SUBMITTER, tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(found.kubeconfig()))
    monkeypatch.delenv(TOKEN, raising=False)
    return found


def where(way: str, account: Account) -> Where:
    """Return the cluster for functions."""
    if way == "kubernetes":
        return Where(namespace=NAMESPACE)
    return Where(namespace=NAMESPACE, server=ARGO_SERVER, token_file=account.token, ca=CA)


def watched(project: Project, asked: Where, **given: str) -> Result:
    """Submit the small release and watch it until it ends."""
    with LiveTree() as tree:
        done = submit_and_watch(project, order(**given), asked, tree)
    assert isinstance(done, Result)
    return done


def lockgate(project: Project, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a `lockgate` command."""
    argv = [str(Path(sys.executable).with_name("lockgate")), *arguments]
    return subprocess.run(
        argv, cwd=project.root, env={**os.environ, **more}, capture_output=True, text=True, check=False
    )


def users_service(annotations: Mapping[str, str]) -> None:
    """Apply the Service that users of the small model call."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": MODEL, "annotations": dict(annotations)},
        "spec": {"selector": {"app.kubernetes.io/name": MODEL}, "ports": [{"port": 8080}]},
    }
    kubectl("apply", "-f", "-", given=service)


@pytest.mark.sample
@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_watched_to_users(
    way: str, project: Project, account: Account, capfd: pytest.CaptureFixture[str]
) -> None:
    done = watched(project, where(way, account))
    shown = capfd.readouterr().err
    assert (done.exit_code, done.record.phase) == (0, "Succeeded")
    assert re.findall(r"^  (\S+) +\d.* s   (\S+)$", shown, re.MULTILINE) == [
        ("ingest", "done"), ("bias-audit", "done"), ("promote", "done"), ("conclude", "done"),
    ]  # fmt: skip
    assert "Released: tiny has a new live version." in done.lines() or way == "kubernetes"


@pytest.mark.sample
@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_is_told_as_it_is_here(
    way: str, project: Project, account: Account, capfd: pytest.CaptureFixture[str]
) -> None:
    done = watched(project, where(way, account), mitigation="none")
    lines = done.lines()
    assert (done.exit_code, done.record.phase) == (3, "Failed")
    said = lines.index("Refused by bias-audit: men are selected far more often than women")
    assert lines[said + 1 : said + 3] == [f"  {line}" for line in tiny.LINES]
    assert any(line.startswith("Nothing changed for users: ") for line in lines)
    assert any("--set mitigation=grid-search" in line for line in lines)
    assert lines[-1] == "exit 3"
    shown = capfd.readouterr().err
    assert "promote   not reached" in shown
    value = json.loads(json.dumps(done.to_json()))
    verdicts = {step["name"]: step["verdict"]["result"] for step in value["steps"] if step["verdict"]}
    assert (value["exit_code"], verdicts) == (3, {"bias-audit": "refused"})


@pytest.mark.parametrize("way", WAYS)
def test_what_a_failed_step_said_is_fetched(way: str, project: Project, account: Account) -> None:
    done = watched(project, where(way, account), code="1")
    assert (done.exit_code, [step.name for step in done.record.failed]) == (1, ["promote"])
    said = lockgate(project, "logs", done.record.id, "promote", *options(way, account), "--json")
    assert (said.returncode, [json.loads(line)["event"] for line in said.stdout.splitlines()]) == (0, ["promoted"])
    gone = lockgate(project, "logs", done.record.id, "ingest", *options(way, account))
    assert (gone.returncode, gone.stdout, "ingest: the pod no longer exists" in gone.stderr) == (0, "", True)


@pytest.mark.parametrize("way", WAYS)
def test_who_may_stops_a_run_and_who_watches_sees_it(
    way: str, project: Project, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = Account(OPERATOR, account.folder)
    found: list[Result] = []
    watcher = threading.Thread(target=lambda: found.append(watched(project, where(way, account), seconds="300")))
    watcher.start()
    try:
        asked = "jsonpath={.items[?(@.status.phase=='Running')].metadata.name}"
        name = tiny.until(lambda: kubectl("get", "workflows", "-o", asked).split()[-1:])[0]
        tiny.until(lambda: "ingest" in lockgate(project, "status", *options(way, account)).stdout)
        refused = lockgate(project, "stop", name, *options(way, account))
        assert (refused.returncode, "permission denied by" in refused.stderr) == (2, True)
    finally:
        stopped = lockgate(project, "stop", "last", *options(way, operator), KUBECONFIG=str(operator.kubeconfig()))
        watcher.join(timeout=120)
    assert stopped.returncode == 0, stopped.stderr
    (done,) = found
    assert (done.exit_code, done.record.phase, done.record.id) == (130, "Stopped", name)
    again = lockgate(project, "stop", name, *options(way, account))
    assert (again.returncode, "is not running" in again.stderr) == (2, True)


def test_what_is_live_is_what_the_users_service_says(project: Project, account: Account) -> None:
    users_service({"lockgate.io/bundle": LIVE, "lockgate.io/generation": "7"})
    try:
        lines = watched(project, Where(namespace=NAMESPACE), mitigation="none").lines()
        # Only now: a model that is not in the project is known by its runs.
        said = json.loads(lockgate(project, "status", MODEL, "-n", NAMESPACE, "--json").stdout)
    finally:
        kubectl("delete", "service", MODEL)
    assert said["models"][MODEL]["live"] == {"bundle": LIVE, "generation": 7}
    assert "Nothing changed for users: sha256:ababab is still live." in lines
    hidden = lockgate(
        project, "status", MODEL, "-n", NAMESPACE, KUBECONFIG=str(Account(OPERATOR, account.folder).kubeconfig())
    )
    assert "you have no permission to see what is live" in hidden.stdout


@pytest.mark.parametrize("way", WAYS)
def test_who_stops_watching_does_not_stop_the_run(
    way: str, project: Project, account: Account, capfd: pytest.CaptureFixture[str]
) -> None:
    def running() -> bool:
        return "Running" in kubectl("get", "workflows", "-o", "jsonpath={.items[*].status.phase}").split()

    def interrupt() -> None:
        tiny.until(running)
        os.kill(os.getpid(), signal.SIGINT)

    someone = threading.Thread(target=interrupt)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # the parent process may have set it to be ignored
    try:
        someone.start()
        with pytest.raises(KeyboardInterrupt):
            watched(project, where(way, account), seconds="20")
        someone.join()
    finally:
        signal.signal(signal.SIGINT, before)
    name = re.search(r"(?m)^(\S+) continues; it is no longer watched\.$", capfd.readouterr().err)
    assert name
    phase = ("get", "workflow", name[1], "-o", "jsonpath={.status.phase}")
    assert kubectl(*phase) == "Running"
    assert tiny.until(lambda: (found := kubectl(*phase)) != "Running" and found) == "Succeeded"


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_or_changed_template_is_said_with_the_line_that_applies_it(way: str, account: Account) -> None:
    asked, wanted = where(way, account), order()
    other = replace(wanted, manifest=tiny.manifest("tiny-release-deadbeef"))
    with pytest.raises(NotRendered, match="workflow template tiny-release-deadbeef not found") as missing:
        submit(other, asked)
    assert re.fullmatch(r"kubectl .*-n submit apply --server-side -f workflows/tiny/", missing.value.fix)
    spec = {**wanted.manifest["spec"], "parallelism": 1}
    with pytest.raises(NotRendered, match="differs from the rendered one"):
        submit(replace(wanted, manifest={**wanted.manifest, "spec": spec}), asked)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workflow", ["release", "review"])
def test_a_rendered_template_is_known_again(way: str, workflow: str, account: Account) -> None:
    rendered = ROOT / "workflows" / "credit" / f"{workflow}.yaml"
    manifest = yaml.safe_load(rendered.read_bytes())
    kubectl("apply", "-f", str(rendered))
    try:
        with reach(where(way, account)) as argo:
            wanted = Order("credit", manifest, "workflows/credit", {})
            tiny.until(lambda: _known(wanted, argo))  # an Argo server notices a template a moment later
    finally:
        kubectl("delete", "-f", str(rendered))


def _known(wanted: Order, argo: Argo) -> bool:
    try:
        wanted.check_template(argo)
    except NotRendered as error:
        assert f"workflow template {wanted.template} not found" in error.message
        return False
    return True


@pytest.mark.parametrize("way", WAYS)
def test_who_has_no_right_is_told_which(way: str, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = Account(STRANGER, account.folder)
    monkeypatch.setenv("KUBECONFIG", str(stranger.kubeconfig()))
    # An Argo server reads templates with its own rights.
    first = {"kubernetes": 'get resource "workflowtemplates"', "argo-server": 'create resource "workflows"'}
    with pytest.raises(NotAllowed, match=first[way]) as refused:
        submit(order(), where(way, stranger))
    assert "role" in refused.value.fix


def test_a_token_that_does_not_hold_is_said_without_saying_it(project: Project, account: Account) -> None:
    secret = "not.a.token"
    config = account.kubeconfig({"token": secret})
    by_api = lockgate(project, "status", "-n", NAMESPACE, KUBECONFIG=str(config))
    server = ("-n", NAMESPACE, "--server", ARGO_SERVER, "--ca", str(CA))
    by_server = lockgate(project, "status", *server, **{TOKEN: secret})
    without = lockgate(project, "status", *server)
    for done in (by_api, by_server, without):
        assert (done.returncode, "authentication failed for" in done.stderr) == (2, True), done.stderr
        assert secret not in done.stderr + done.stdout


def test_a_token_in_the_environment_is_as_good_as_one_in_a_file(project: Project, account: Account) -> None:
    token = f"Bearer {account.token.read_text()}"  # as `argo auth token` prints it
    done = lockgate(project, "status", "-n", NAMESPACE, "--server", ARGO_SERVER, "--ca", str(CA), **{TOKEN: token})
    assert (done.returncode, MODEL in done.stdout) == (0, True), done.stderr


def test_a_server_whose_certificate_nobody_vouches_for_is_not_asked(project: Project, account: Account) -> None:
    done = lockgate(project, "status", "-n", NAMESPACE, "--server", ARGO_SERVER, "--token-file", str(account.token))
    assert (done.returncode, "add --ca FILE" in done.stderr) == (4, True), done.stderr


def test_a_login_plugin_of_the_current_protocol_is_run(project: Project, account: Account, tmp_path: Path) -> None:
    plugin = tmp_path / "login"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": account.token.read_text().strip()},
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    plugin.chmod(0o700)
    user = {"exec": {"apiVersion": credential["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}}
    done = lockgate(project, "status", "-n", NAMESPACE, KUBECONFIG=str(account.kubeconfig(user)))
    assert done.returncode == 0, done.stderr
    plugin.unlink()
    missing = lockgate(project, "status", "-n", NAMESPACE, KUBECONFIG=str(account.kubeconfig(user)))
    assert (missing.returncode, "cannot connect to" in missing.stderr) == (2, True), missing.stderr


def test_without_watching_the_next_commands_are_said(project: Project, account: Account) -> None:
    done = submit(order(), Where(namespace=NAMESPACE))
    assert isinstance(done, Submission)
    assert done.lines()[0] == f"Submitted: {done.workflow} in {NAMESPACE}."
    for verb in ("status", "logs", "stop"):
        assert any(line.strip().startswith(f"lockgate {verb} ") for line in done.lines())
    found = json.loads(lockgate(project, "status", MODEL, "-n", NAMESPACE, "--json").stdout)
    assert done.workflow in {run["run"] for run in found["models"][MODEL]["runs"]}


def test_a_server_that_is_not_there_may_be_tried_again(account: Account) -> None:
    with pytest.raises(OutsideFailed, match="no response from"):
        submit(order(), Where(namespace=NAMESPACE, server="https://127.0.0.1:1", token_file=account.token))
    with pytest.raises(BadCall, match="unencrypted"):
        submit(order(), Where(namespace=NAMESPACE, server="http://10.213.0.2:2746", token_file=account.token))
