"""Rendering rules: a rendered file breaks none; for each rule, a mutated manifest breaks only that one."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.rendering.canonical import dump
from lockgate.rendering.rules import BINDING_RULES, COMMON_RULES, CRON_RULES, WORKFLOW_RULES, broken

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
Manifest = dict[str, Any]


def load(name: str, model: str = "adult-income") -> Manifest:
    return dict(yaml.safe_load((WORKFLOWS / model / name).read_bytes()))


def template(manifest: Manifest, name: str) -> Manifest:
    return next(t for t in manifest["spec"]["templates"] if t["name"] == name)


def task(manifest: Manifest, name: str) -> Manifest:
    dags = [t for t in manifest["spec"]["templates"] if "dag" in t]
    return next(task for dag in dags for task in dag["dag"]["tasks"] if task["name"] == name)


def drop(*path: str) -> Callable[[Manifest], None]:
    def mutate(manifest: Manifest) -> None:
        for key in path[:-1]:
            manifest = manifest[key]
        del manifest[path[-1]]

    return mutate


def bare_edge(m: Manifest) -> None:
    task(m, "package")["depends"] = "bias-audit && predict.Succeeded && validate-model.Succeeded"


def missing_edge(m: Manifest) -> None:
    task(m, "package")["depends"] = "predict.Succeeded && validate-model.Succeeded"


def stopping(m: Manifest) -> None:
    m["spec"]["stopStrategy"] = {"expression": "cronworkflow.failed >= 3"}


def train_on_test_rows(m: Manifest) -> None:
    rows = task(m, "train")["arguments"]["artifacts"]
    next(a for a in rows if a["name"] == "rows")["from"] = "{{tasks.ingest.outputs.artifacts.test}}"


def no_command(m: Manifest) -> None:
    del template(m, "train")["container"]["command"]


def shell(m: Manifest) -> None:
    template(m, "train")["container"]["command"] = ["/bin/sh", "-c"]


def tag_as_value(m: Manifest) -> None:
    m["spec"]["arguments"]["parameters"][0]["value"] = "{{=sprig.repeat(1000000000,'A')}}"


def parameter_in_text(m: Manifest) -> None:
    template(m, "train")["container"]["args"][-1] = "--seed={{workflow.parameters.seed}}"


def parameter_in_environment(m: Manifest) -> None:
    template(m, "train")["container"]["env"].append({"name": "X", "value": "{{workflow.parameters.seed}}"})


def unknown_argument(m: Manifest) -> None:
    task(m, "bias-audit")["arguments"]["artifacts"][0]["name"] = "answer"


def unwritten_output(m: Manifest) -> None:
    task(m, "package")["arguments"]["artifacts"][0]["from"] = "{{tasks.predict.outputs.artifacts.nothing}}"


def audit_left_out(m: Manifest) -> None:
    dag = template(m, "gates")["dag"]
    dag["tasks"] = [t for t in dag["tasks"] if t["name"] != "bias-audit"]


def same_name(m: Manifest) -> None:
    m["spec"]["templates"].append(copy.deepcopy(template(m, "train")))


def retry_for_all(m: Manifest) -> None:
    m["spec"]["templateDefaults"] = {"retryStrategy": {"limit": 3}}


def retry_refusals(m: Manifest) -> None:
    template(m, "bias-audit")["retryStrategy"]["expression"] = "true"


def archived(m: Manifest) -> None:
    del template(m, "bias-audit")["outputs"]["artifacts"][0]["archive"]


def colliding_key(m: Manifest) -> None:
    first, second = template(m, "bias-audit")["outputs"]["artifacts"]
    second["s3"]["key"] = first["s3"]["key"]


def collected(m: Manifest) -> None:
    m["spec"]["artifactGC"] = {"strategy": "OnWorkflowDeletion"}


def no_mutex(m: Manifest) -> None:
    del template(m, "rollout")["synchronization"]


def as_root(m: Manifest) -> None:
    template(m, "train")["container"]["securityContext"]["readOnlyRootFilesystem"] = False


def unsized(m: Manifest) -> None:
    next(v for v in m["spec"]["volumes"] if v["name"] == "tmp")["emptyDir"] = {}


def unsecured_wait(m: Manifest) -> None:
    m["spec"]["podSpecPatch"] = m["spec"]["podSpecPatch"].replace('"wait"', '"main"')


def token(m: Manifest) -> None:
    m["spec"]["automountServiceAccountToken"] = True


def token_of_executor(m: Manifest) -> None:
    template(m, "train")["volumes"] = copy.deepcopy(template(m, "deploy")["volumes"])


def token_for_all(m: Manifest) -> None:
    m["spec"]["volumes"] += copy.deepcopy(template(m, "deploy")["volumes"])


def token_that_lasts(m: Manifest) -> None:
    volume = next(each for each in template(m, "deploy")["volumes"] if "projected" in each)
    volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] = 7 * 24 * 3600


def shared_key(m: Manifest) -> None:
    template(m, "train")["volumes"] = copy.deepcopy(template(m, "bias-audit")["volumes"])


def own_policy(m: Manifest) -> None:
    raw = next(a for a in template(m, "bias-audit")["inputs"]["artifacts"] if a["name"] == "policy")["raw"]
    raw["data"] = raw["data"].replace("0.15", "0.95")


def same_content_name(m: Manifest) -> None:
    m["spec"]["activeDeadlineSeconds"] += 1


def series_of_each_run(m: Manifest) -> None:
    template(m, "bias-audit")["metrics"]["prometheus"][0]["labels"][1]["value"] = "{{workflow.name}}"


def series_of_each_end(m: Manifest) -> None:
    template(m, "bias-audit")["metrics"]["prometheus"][0]["name"] = "ended_{{status}}"


MUTATIONS: list[tuple[str, str, Callable[[Manifest], None]]] = [
    ("explicit-edges", "release.yaml", bare_edge),
    ("edges-of-artifacts", "release.yaml", missing_edge),
    ("held-out", "release.yaml", train_on_test_rows),
    ("command-set", "release.yaml", no_command),
    ("no-script", "release.yaml", shell),
    ("whole-arguments", "release.yaml", parameter_in_text),
    ("whole-arguments", "release.yaml", tag_as_value),
    ("whole-arguments", "release.yaml", parameter_in_environment),
    ("known-names", "release.yaml", unknown_argument),
    ("known-names", "release.yaml", unwritten_output),
    ("known-names", "release.yaml", audit_left_out),
    ("unique-templates", "release.yaml", same_name),
    ("retries", "release.yaml", retry_for_all),
    ("retries", "release.yaml", retry_refusals),
    ("artifacts-apart", "release.yaml", archived),
    ("artifacts-apart", "release.yaml", colliding_key),
    ("artifacts-apart", "release.yaml", collected),
    ("ends", "release.yaml", drop("spec", "activeDeadlineSeconds")),
    ("ends", "release.yaml", drop("spec", "onExit")),
    ("one-rollout", "release.yaml", no_mutex),
    ("hardened-pods", "release.yaml", as_root),
    ("hardened-pods", "release.yaml", unsized),
    ("hardened-pods", "release.yaml", drop("spec", "securityContext", "runAsUser")),
    ("secured-executor", "release.yaml", unsecured_wait),
    ("no-token", "release.yaml", token),
    ("no-token", "release.yaml", token_of_executor),
    ("no-token", "release.yaml", token_for_all),
    ("no-token", "release.yaml", token_that_lasts),
    ("key-of-its-own", "release.yaml", shared_key),
    ("pinned-files", "release.yaml", own_policy),
    ("named-by-content", "release.yaml", same_content_name),
    ("bounded-series", "release.yaml", series_of_each_run),
    ("bounded-series", "release.yaml", series_of_each_end),
    ("scheduled", "retrain.yaml", drop("spec", "timezone")),
    ("scheduled", "retrain.yaml", drop("spec", "concurrencyPolicy")),
    ("scheduled", "retrain.yaml", drop("spec", "startingDeadlineSeconds")),
    ("scheduled", "retrain.yaml", stopping),
    ("never-pruned", "release.yaml", drop("metadata", "annotations", "argocd.argoproj.io/sync-options")),
    ("bound", "on-registry-event.yaml", drop("spec", "submit", "metadata")),
    ("labelled", "release.yaml", drop("metadata", "labels")),
]


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_rendered_breaks_no_rule(path: Path) -> None:
    assert broken(yaml.safe_load(path.read_bytes())) == []


@pytest.mark.parametrize(("rule", "name", "mutate"), MUTATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_a_mutated_manifest_breaks_its_rule(rule: str, name: str, mutate: Callable[[Manifest], None]) -> None:
    manifest = load(name)
    mutate(manifest)
    # Any change of content also makes the name wrong, and a copied template may break more rules.
    found = {line.split(":")[0] for line in broken(manifest)} - ({"named-by-content"} - {rule})
    assert rule in found
    assert found <= {rule, "known-names", "edges-of-artifacts", "artifacts-apart", "key-of-its-own"}


def test_every_rule_has_a_mutation() -> None:
    rules = {*WORKFLOW_RULES, *CRON_RULES, *BINDING_RULES, *COMMON_RULES}
    assert {rule for rule, _, _ in MUTATIONS} == rules


@pytest.mark.parametrize("name", ["release.yaml", "review.yaml", "rollback.yaml"])
def test_the_bytes_are_canonical(name: str) -> None:
    content = (WORKFLOWS / "adult-income" / name).read_text()
    assert content.split("\n", 1)[1] == dump(load(name))
