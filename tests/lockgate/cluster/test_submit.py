"""Checks before a submission, and errors when no cluster can be reached."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lockgate.cluster.api import connect
from lockgate.cluster.submit import Order, _pruned
from lockgate.cluster.workflows import TOKEN, Where, reach
from lockgate.errors import BadCall

TEMPLATE: dict[str, Any] = {
    "metadata": {"name": "grants-release-0badcafe"},
    "spec": {
        "arguments": {"parameters": [{"name": "data", "value": "data/rows.csv"}, {"name": "seed", "value": "0"}]},
        "templates": [{"name": "train", "container": {"image": "registry.example.org/train@sha256:12"}}],
        "workflowMetadata": {"labels": {"app.kubernetes.io/part-of": "lockgate"}},
    },
}
CONFIG = """
apiVersion: v1
kind: Config
current-context: {current}
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:1"}}}}]
users: [{{name: u, user: {user}}}]
contexts:
- {{name: {current}, context: {{cluster: c, user: u, namespace: grants}}}}
- {{name: nobody, context: {{cluster: c}}}}
"""


def order(**given: str) -> Order:
    return Order("grants", TEMPLATE, "workflows/grants", given, ("seed",))


def config(folder: Path, current: str = "here", user: str = "{token: t}") -> str:
    """Write a kubeconfig; return its path."""
    path = folder / f"{current}.kubeconfig"
    path.write_text(CONFIG.format(current=current, user=user))
    return str(path)


def test_a_workflow_is_a_reference_with_arguments_and_nothing_else() -> None:
    workflow = order(data="s3://b/k", seed="7").workflow
    assert workflow["spec"] == {
        "workflowTemplateRef": {"name": "grants-release-0badcafe"},
        "arguments": {"parameters": [{"name": "data", "value": "s3://b/k"}, {"name": "seed", "value": "7"}]},
    }
    assert workflow["metadata"] == {
        "generateName": "grants-release-", "labels": {"app.kubernetes.io/part-of": "lockgate"},
    }  # fmt: skip


def test_data_of_this_machine_are_refused() -> None:
    with pytest.raises(BadCall, match="cannot be reached from a cluster"):
        order().refusal("ns")
    assert order(data="s3://b/k").refusal("ns") is None


def test_images_that_are_not_built_are_named_with_the_line_for_argo() -> None:
    spec = {**TEMPLATE["spec"], "templates": [{"name": "train", "container": {"image": "lockgate/train:unbuilt"}}]}
    refusal = Order("grants", {**TEMPLATE, "spec": spec}, "", {"seed": "7"}).refusal("ns")
    assert refusal is not None
    assert (refusal.exit_code, refusal.unbuilt, refusal.to_json()["run"]) == (2, ("train",), None)
    line = "  argo submit --from workflowtemplate/grants-release-0badcafe -n ns -p seed=7"
    assert refusal.lines()[0] == line


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ({"a": 1, "inputs": {}, "b": [{"c": "x", "resources": {}}]}, True),  # as an Argo server returns it
        ({"a": 1, "b": [{"c": "x"}]}, True),
        ({"a": 0, "b": [{"c": "x"}]}, False),
        ({"a": 1, "b": [{"c": "x"}], "parallelism": 1}, False),
        ({"a": 1, "b": [{"c": "x"}, {"c": "x"}]}, False),
    ],
)
def test_a_template_is_the_rendered_one_but_for_what_is_empty(found: object, same: bool) -> None:
    assert (_pruned(found) == _pruned({"a": 1, "b": [{"c": "x"}]})) is same


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (Where(ca=Path("ca.pem")), "apply only to an Argo server"),
        (Where("ns", context="c", server="https://a"), "cannot be combined"),
        (Where(server="https://a"), "has no default namespace"),
        (Where("ns", server="argo.example.org"), "is not a URL"),
        (Where("ns", server="https://a", token_file=Path("nowhere")), "cannot read the token file"),
        (Where("ns", server="https://a", ca=Path("nowhere")), "cannot read the CA"),
    ],
)
def test_a_way_that_cannot_be_is_refused(where: Where, says: str) -> None:
    with pytest.raises(BadCall, match=says) as refused, reach(where):
        pass
    assert refused.value.fix


def test_a_token_is_not_sent_where_others_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "Bearer secret-of-mine")
    with (
        pytest.raises(BadCall, match="unencrypted") as refused,
        reach(Where("ns", server="http://a.example.org")),
    ):
        pass
    assert "secret-of-mine" not in refused.value.message + refused.value.fix
    with reach(Where("ns", server="http://localhost:2746")) as argo:  # a port forwarded by kubectl
        assert argo.namespace == "ns"


def test_options_are_repeated_without_a_token() -> None:
    where = Where("ns", server="https://a", token_file=Path("t"), ca=Path("ca.pem"))
    assert where.options == "-n ns --server https://a --token-file t --ca ca.pem"
    assert [where.elsewhere, Where().elsewhere, Where(context="c").elsewhere] == [True, False, True]


def test_a_context_is_found_in_any_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [config(tmp_path), str(tmp_path / "absent"), config(tmp_path, "there")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(files))
    for context, name in ((None, "here"), ("there", "there")):
        cluster = connect(context)
        cluster.client.close()
        assert (cluster.name, cluster.namespace) == (name, "grants")
        assert cluster.kubectl("get", "pods") == f"kubectl --context={name} -n grants get pods"
    for wrong, says in (("elsewhere", "elsewhere"), ("nobody", "has no user")):
        with pytest.raises(BadCall, match=says):
            connect(wrong)


def test_a_plugin_of_the_current_protocol_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: absent-plugin}}"
    monkeypatch.setenv("KUBECONFIG", config(tmp_path, user=user))
    with reach(Where("grants")) as argo, pytest.raises(BadCall, match="absent-plugin"):
        argo.workflow("x")


@pytest.mark.parametrize("content", ["", "{", "clusters: []", "[1]"])
def test_a_kubeconfig_that_is_none_is_said(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(BadCall, match="kubeconfig"):
        connect()


def test_without_the_client_the_command_that_installs_it_is_said(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['lightkube'] = None; from lockgate.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "status", "-n", "ns", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["error"]["fix"]) == (2, "pip install 'lockgate[kubernetes]'")


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["status"]])
def test_a_cluster_costs_nothing_where_none_is_meant(arguments: list[str], tmp_path: Path) -> None:
    listed = "print([name for name in ('lightkube', 'httpx2') if name in sys.modules])"
    asked = f"import sys; from lockgate.cli.main import run_app; run_app({arguments!r}); {listed}"
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
