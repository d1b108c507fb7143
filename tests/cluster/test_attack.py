"""A submitter starts any template with forged artifacts, without admission policies: the live version must not change.

The namespace's admission policies are deleted meanwhile, as on a cluster without any. Only what the programs verify
remains: pins, signatures, and the base of a bundle.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from lockgate_step import canonical, sha256

from tests.cluster import place, services
from tests.cluster.processes import wait_for
from tests.cluster.site import SUBMITTER, Site, Workflow, account

FORGED_FILE = canonical({"result": "passed", "model": "grants", "gate": "bias-audit", "reasons": []}).decode()


@pytest.fixture
def unguarded(released: Site) -> Iterator[Site]:
    """The site without its admission policies."""
    bindings = [
        document
        for document in yaml.safe_load_all((released.root / "kubernetes" / "policy.yaml").read_text())
        if document["kind"] == "ValidatingAdmissionPolicyBinding"
    ]
    names = [document["metadata"]["name"] for document in bindings]
    released.kubectl("delete", "validatingadmissionpolicybinding", *names)
    name, template = next(_templates(released))
    # The API server needs a while to notice that they were deleted.
    assert wait_for(lambda: _may_start(released, name, template), 60), "the policies still deny it"
    yield released
    released.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(bindings))


@pytest.mark.sample
def test_forged_bundles_policies_and_verdicts_move_nothing(unguarded: Site) -> None:
    before = unguarded.live()
    bundle = _forged_bundle(unguarded)
    runs = {
        (template["name"], how): _start(unguarded, name, template, arguments)
        for name, template in _templates(unguarded)
        for how, arguments in _hostile(unguarded, template, bundle)
    }
    assert len(runs) >= 20
    for (template, how), run in runs.items():
        ended = unguarded.wait(run, 900)
        assert unguarded.live() == before, f"{template}, {how}: {account(ended)}"
        proofs = [n for n in ended["status"]["nodes"].values() if n.get("templateName") in ("smoke-test", "promote")]
        assert all(n["phase"] != "Succeeded" for n in proofs), f"{template}, {how}: {account(ended)}"
    assert unguarded.answers() == before["bundle"]


def _templates(site: Site) -> Iterator[tuple[str, Workflow]]:
    """Yield every template of every WorkflowTemplate except the entrypoints, which a submitter may run."""
    for workflow in ("release", "review"):
        manifest = yaml.safe_load((site.root / "workflows" / site.model / f"{workflow}.yaml").read_bytes())
        seen = {"release", "review"} if workflow == "release" else {"review", "conclude", "gates", "rollout"}
        for template in manifest["spec"]["templates"]:
            if template["name"] not in seen and (workflow == "release" or template["name"] == "fetch"):
                yield manifest["metadata"]["name"], template


def _hostile(site: Site, template: Workflow, bundle: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield artifacts for a template's inputs: forged; genuine ones of an earlier run; those with another policy."""
    inputs = template.get("inputs", {}).get("artifacts", [])
    forged = [_forged(entry, bundle) for entry in inputs]
    yield "forged", forged
    genuine = [g for entry in inputs if (g := _genuine(site, entry["name"]))]
    if genuine:
        yield "replayed", genuine
        raw = [entry for entry in forged if "raw" in entry and entry["name"] in ("policy", "spec")]
        if raw:
            yield "replayed with another policy", genuine + raw


def _forged(entry: Workflow, bundle: str) -> dict[str, Any]:
    if entry["name"] == "policy":
        return {"name": "policy", "raw": {"data": "[[quality]]\nmeasure = 'accuracy'\nat_least = 0.01\nwhy = 'x'\n"}}
    if entry["name"] in ("bundle", "model", "answers", "base"):
        return {"name": entry["name"], "s3": {"key": bundle}}
    return {"name": entry["name"], "raw": {"data": FORGED_FILE}}


def _genuine(site: Site, name: str) -> dict[str, Any] | None:
    """Return the first release's artifact of that name from the artifact store."""
    wrote = {
        "rows": "ingest/rows", "test": "ingest/test", "truth": "ingest/truth", "sensitive": "ingest/sensitive",
        "train_sensitive": "ingest/train_sensitive", "base": "ingest/base", "data": "ingest/record",
        "data_verdict": "validate-data/verdict", "model": "train/model", "answers": "predict/answers",
        "quality_verdict": "validate-model/verdict", "bias_verdict": "bias-audit/verdict", "bundle": "package/bundle",
        "staged": "deploy/staged", "smoke": "smoke-test/verdict",
    }  # fmt: skip
    if name not in wrote:
        return None
    history = json.loads(site.store.read(f"models/{site.model}/history/1.json").data)
    uid = site.workflow(history["run"])["metadata"]["uid"]
    return {"name": name, "s3": {"key": f"lockgate/{site.namespace}/{uid}/{wrote[name]}"}}


def _forged_bundle(site: Site) -> str:
    """Write the live bundle with a forged card and a matching manifest; return its key."""
    client, key = services.store().client(), f"{site.namespace}-attacker/bundle"
    prefix = f"models/{site.model}/bundles/{site.live()['bundle'].removeprefix('sha256:')}/"
    files = {name.removeprefix(prefix): site.store.read(name).data for name in site.store.list(prefix)}
    manifest = json.loads(files["manifest.json"])
    files["card.md"] = b"# Harmless\n"
    manifest["files"]["card.md"] = sha256(files["card.md"])
    files["manifest.json"] = canonical(manifest)
    for name, content in files.items():
        client.put_object(Bucket=place.BUCKET, Key=f"{key}/{name}", Body=content)
    return key


def _may_start(site: Site, name: str, template: Workflow) -> bool:
    try:
        return bool(_start(site, name, template, [], "--dry-run=server"))
    except subprocess.CalledProcessError as error:
        assert "ValidatingAdmissionPolicy" in error.stderr, error.stderr
        return False


def _start(site: Site, name: str, template: Workflow, artifacts: list[dict[str, Any]], *options: str) -> str:
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": f"attack-{template['name']}-"},
        "spec": {
            "workflowTemplateRef": {"name": name},
            "entrypoint": template["name"],
            "arguments": {"artifacts": artifacts, "parameters": [{"name": "version", "value": "1"}]},
        },
    }
    kubectl = ["create", *options, "-o", "name", "-f", "-", f"--kubeconfig={site.account(SUBMITTER)}"]
    return site.kubectl(*kubectl, given=yaml.safe_dump(workflow)).strip().split("/")[-1]
