"""Links that a browser can open, also through JupyterHub's proxy."""

from pathlib import Path

import pytest

from lockgate.commands.machine import Machine
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.records.address import address_of, page_token, public
from lockgate.records.environment import Environment, ensure_environment
from lockgate.records.runs import RunRecord


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("LOCKGATE_PORT", "8123")
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    return ensure_environment(Project(tmp_path), ["bias-audit"])


@pytest.mark.parametrize("port", ["0", "65536", "99999", "²", "٣٣٣", "8e3", "-1", "08123"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("LOCKGATE_PORT", port)
    with pytest.raises(BadCall, match="is not a port"):
        ensure_environment(Project(tmp_path), [])


def test_here_the_link_is_the_gateway(environment: Environment) -> None:
    assert address_of(environment, "adult-income") == "http://127.0.0.1:8123/v2/models/adult-income/infer"


def test_under_jupyterhub_it_goes_through_the_proxy(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ana/")
    assert public(environment) == "/user/ana/proxy/8123"
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_HUB_URL", "https://hub.example.gc.ca/hub/")
    assert public(environment) == "https://hub.example.gc.ca/user/ana/proxy/8123"


def test_the_link_to_a_page_has_the_token(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(environment.root.parents[1])
    folder = project.state / "runs" / "7f3b2a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"phase": "Succeeded", "message": "", "parameters": {}, "nodes": {}}')
    page, machine = folder / "report" / "index.html", Machine(project, environment)
    assert machine.link(page, RunRecord.load(folder)) == page.as_uri()
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ana/")
    token = page_token(project.state)
    assert machine.link(page, RunRecord.load(folder)) == f"/user/ana/proxy/8123/runs/{token}/7f3b2a/index.html"


def test_keys_are_made_once_and_only_their_owner_can_read_them(environment: Environment, tmp_path: Path) -> None:
    key = environment.key("bias-audit")
    before = key.read_bytes()
    again = ensure_environment(Project(tmp_path), ["bias-audit", "predict"])
    assert key.read_bytes() == before
    assert key.stat().st_mode & 0o077 == 0
    assert {may for trusted in again.trust.keys for may in trusted.may} == {"bias-audit", "predict"}
    assert again.trust.untrusted_elsewhere


def test_a_key_made_here_is_this_machines_and_nobodys(environment: Environment) -> None:
    owners = {key.may: key.owner for key in environment.trust.keys}
    assert owners == {("bias-audit",): "this machine (bias-audit key)"}
