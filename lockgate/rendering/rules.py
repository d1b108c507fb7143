"""Rules that every manifest must follow, each from a known bug; `render` writes no manifest that breaks one.

A rule reads the manifest as Argo does and yields each violation, so it also checks a manifest edited by hand.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lockgate_step import canonical, layout, sha256

Manifest = Mapping[str, Any]
Rule = Callable[[Manifest], Iterator[str]]

_TAG = re.compile(r"\{\{")
_WHOLE_TAG = re.compile(r"\{\{[a-z][\w.-]*\}\}")
_OUTPUT = re.compile(r"\{\{tasks\.([\w-]+)\.outputs\.artifacts\.([\w-]+)\}\}")
_EDGES = re.compile(r"[\w-]+\.Succeeded( && [\w-]+\.Succeeded)*")
# What ingest writes of the rows that a model is judged on, and of the live version.
_HELD_OUT = ("test", "truth", "sensitive", "base")
_RUN_TAGS = {"{{workflow.name}}", "{{workflow.uid}}", "{{workflow.status}}"}


def broken(manifest: Manifest) -> list[str]:
    """List each violation in a manifest as `rule: what`, sorted."""
    kind = manifest["kind"]
    rules = WORKFLOW_RULES if kind == "WorkflowTemplate" else CRON_RULES if kind == "CronWorkflow" else BINDING_RULES
    return sorted(f"{name}: {what}" for name, rule in {**rules, **COMMON_RULES}.items() for what in rule(manifest))


def _templates(manifest: Manifest) -> list[dict[str, Any]]:
    return list(manifest["spec"].get("templates", []))


def _pods(manifest: Manifest) -> list[dict[str, Any]]:
    return [t for t in _templates(manifest) if "dag" not in t]


def _dags(manifest: Manifest) -> list[dict[str, Any]]:
    return [t for t in _templates(manifest) if "dag" in t]


def explicit_edges(manifest: Manifest) -> Iterator[str]:
    """With a bare `depends: gate`, Argo continues after a skipped gate."""
    for dag in _dags(manifest):
        for task in dag["dag"]["tasks"]:
            if "dependencies" in task or not _EDGES.fullmatch(task.get("depends", "x.Succeeded")):
                yield f"{dag['name']}.{task['name']} must depend only on `x.Succeeded`"


def edges_of_artifacts(manifest: Manifest) -> Iterator[str]:
    """A task that reads another task's output, such as a gate's verdict, must depend on that task."""
    for dag in _dags(manifest):
        for task in dag["dag"]["tasks"]:
            edges = set(re.findall(r"([\w-]+)\.Succeeded", task.get("depends", "")))
            for artifact in task.get("arguments", {}).get("artifacts", []):
                match = re.fullmatch(r"\{\{tasks\.([\w-]+)\.outputs\..*", artifact.get("from", ""))
                if match and match[1] not in edges:
                    yield f"{dag['name']}.{task['name']} reads {match[1]} without depending on it"


def held_out(manifest: Manifest) -> Iterator[str]:
    """Only what judges may read the rows that a model is judged on; a model that has seen them passes every gate."""
    for dag in _dags(manifest):
        programs = {task["name"]: task["template"] for task in dag["dag"]["tasks"]}
        for task in dag["dag"]["tasks"]:
            if task["template"] in ("validate-data", "gates"):
                continue
            for artifact in task.get("arguments", {}).get("artifacts", []):
                match = _OUTPUT.fullmatch(artifact.get("from", ""))
                if match and programs.get(match[1]) == "ingest" and match[2] in _HELD_OUT:
                    yield f"{dag['name']}.{task['name']} reads {match[2]}, which only the gates may read"


def command_set(manifest: Manifest) -> Iterator[str]:
    """Without a command, Argo reads the image's own from the registry, which an isolated cluster cannot reach."""
    for pod in _pods(manifest):
        if "container" not in pod or not pod["container"].get("command"):
            yield f"{pod['name']} has no container command"


def no_script(manifest: Manifest) -> Iterator[str]:
    """A parameter inside a script is executed as code."""
    for pod in _pods(manifest):
        command = pod.get("container", {}).get("command", [])
        if "script" in pod or any(part.rsplit("/", 1)[-1] in ("sh", "bash", "dash") for part in command):
            yield f"{pod['name']} runs a script or a shell"


def whole_arguments(manifest: Manifest) -> Iterator[str]:
    """A parameter is a whole argument, never part of a text that something parses. Its value has no expression."""
    for parameter in manifest["spec"].get("arguments", {}).get("parameters", []):
        if _TAG.search(str(parameter.get("value", ""))):
            yield f"the value of {parameter['name']} contains '{{{{', which Argo would replace"
    for pod in _pods(manifest):
        container = pod.get("container", {})
        for part in [*container.get("command", []), *container.get("args", [])]:
            if _TAG.search(part) and not _WHOLE_TAG.fullmatch(part):
                yield f"{pod['name']} builds an argument from a parameter"
        for variable in container.get("env", []):
            if _TAG.search(variable.get("value", "")) and variable["value"] not in _RUN_TAGS:
                yield f"{pod['name']} puts a parameter into {variable['name']}"


def known_names(manifest: Manifest) -> Iterator[str]:
    """Argo's own lint does not check that an argument's name is an input of its template."""
    by_name = {t["name"]: t for t in _templates(manifest)}
    for dag in _dags(manifest):
        inside = {t["name"]: t for t in dag["dag"]["tasks"]}
        for task in inside.values():
            target = by_name.get(task["template"])
            if target is None:
                yield f"{dag['name']}.{task['name']} runs {task['template']}, which does not exist"
                continue
            yield from _arguments(dag, task, target, inside, by_name)


def _arguments(
    dag: Manifest, task: Manifest, target: Manifest, inside: Mapping[str, Any], by_name: Mapping[str, Any]
) -> Iterator[str]:
    where = f"{dag['name']}.{task['name']}"
    for what in ("artifacts", "parameters"):
        taken = {i["name"]: i for i in target.get("inputs", {}).get(what, [])}
        given = {a["name"]: a for a in task.get("arguments", {}).get(what, [])}
        for name in sorted(set(given) - set(taken)):
            yield f"{where} passes {name}, which {target['name']} does not accept"
        for name, entry in taken.items():
            if name not in given and not ({"raw", "value", "default"} & set(entry) or entry.get("optional")):
                yield f"{where} does not pass {name}"
    for artifact in task.get("arguments", {}).get("artifacts", []):
        if match := _OUTPUT.fullmatch(artifact.get("from", "")):
            source = by_name.get(inside.get(match[1], {}).get("template", ""), {})
            if match[2] not in {o["name"] for o in source.get("outputs", {}).get("artifacts", [])}:
                yield f"{where} reads {match[2]} of {match[1]}, which does not write it"
        elif artifact.get("from", "").removeprefix("{{inputs.artifacts.").removesuffix("}}") not in {
            i["name"] for i in dag.get("inputs", {}).get("artifacts", [])
        }:
            yield f"{where} reads {artifact.get('from')}, which is not an input of {dag['name']}"


def unique_templates(manifest: Manifest) -> Iterator[str]:
    """If two templates have the same name, Argo silently uses only one of them."""
    names = [t["name"] for t in _templates(manifest)]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"two templates are named {name}"


def retries(manifest: Manifest) -> Iterator[str]:
    """Only infrastructure failures are retried: a refused gate that is retried may pass by chance."""
    if "retryStrategy" in manifest["spec"].get("templateDefaults", {}) or "retryStrategy" in manifest["spec"]:
        yield "a retry for every template would retry whole graphs"
    for template in _templates(manifest):
        retry = template.get("retryStrategy")
        if "dag" in template:
            if retry:
                yield f"{template['name']} is a graph and must not be retried"
        elif not retry or "asInt(lastRetry.exitCode) == 4" not in retry.get("expression", ""):
            yield f"{template['name']} must be retried only on exit code 4 and on lost nodes"
        elif retry.get("retryPolicy") != "Always" or "limit" not in retry:
            yield f"{template['name']} needs retryPolicy Always and a limit with its expression"


def artifacts_apart(manifest: Manifest) -> Iterator[str]:
    """Two tasks with the same key overwrite each other's artifact; an archived report cannot be opened."""
    seen: set[str] = set()
    for pod in _pods(manifest):
        for artifact in pod.get("outputs", {}).get("artifacts", []):
            key = artifact.get("s3", {}).get("key", "")
            if "none" not in artifact.get("archive", {}):
                yield f"{pod['name']}.{artifact['name']} is archived"
            if "{{workflow.uid}}" not in key or key in seen:
                yield f"{pod['name']}.{artifact['name']} has a key that may collide"
            if "artifactGC" in artifact:
                yield f"{pod['name']}.{artifact['name']} is evidence and must not be garbage-collected"
            seen.add(key)
    if "artifactGC" in manifest["spec"]:
        yield "spec.artifactGC is set, but evidence must not be garbage-collected"


def ends(manifest: Manifest) -> Iterator[str]:
    """Every run and every pod has a deadline, and its objects on the cluster are deleted."""
    spec = manifest["spec"]
    for field in ("activeDeadlineSeconds", "ttlStrategy", "podGC", "onExit"):
        if field not in spec:
            yield f"spec.{field} is missing"
    for pod in _pods(manifest):
        if "activeDeadlineSeconds" not in pod:
            yield f"{pod['name']} has no deadline"


def one_rollout(manifest: Manifest) -> Iterator[str]:
    """Only one run at a time deploys and promotes. Compare-and-swap makes it safe; the mutex avoids wasted work."""
    for dag in _dags(manifest):
        tasks = {task["template"] for task in dag["dag"]["tasks"]}
        if "promote" in tasks and not dag.get("synchronization", {}).get("mutexes"):
            yield f"{dag['name']} promotes without a mutex"


def hardened_pods(manifest: Manifest) -> Iterator[str]:
    """Pods meet the `restricted` Pod Security level, with a read-only root and size-limited scratch volumes."""
    spec = manifest["spec"]
    pod_level = spec.get("securityContext", {})
    if not pod_level.get("runAsNonRoot") or pod_level.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "spec.securityContext must run as non-root with seccomp RuntimeDefault"
    if not pod_level.get("runAsUser"):
        yield "spec.securityContext must set runAsUser: Argo's own image would run as root"
    for volume in spec.get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} has no size limit"
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a hostPath"
    for pod in _pods(manifest):
        container = pod.get("container", {})
        security = container.get("securityContext", {})
        if (
            security.get("allowPrivilegeEscalation") is not False
            or security.get("readOnlyRootFilesystem") is not True
            or security.get("capabilities", {}).get("drop") != ["ALL"]
        ):
            yield f"{pod['name']} does not have the locked-down securityContext"
        if not {"requests", "limits"} <= set(container.get("resources", {})):
            yield f"{pod['name']} has no resource requests and limits"


def secured_executor(manifest: Manifest) -> Iterator[str]:
    """Argo's init and wait containers violate `restricted` unless they are secured too."""
    patch = json.loads(manifest["spec"].get("podSpecPatch", "{}"))
    containers = [*patch.get("initContainers", []), *patch.get("containers", [])]
    secured = {c["name"] for c in containers if c.get("securityContext", {}).get("capabilities") == {"drop": ["ALL"]}}
    for name in sorted({"init", "wait"} - secured):
        yield f"spec.podSpecPatch does not secure the container {name}"


def no_token(manifest: Manifest) -> Iterator[str]:
    """Only a program that deploys has an API token, and that token expires soon."""
    spec = manifest["spec"]
    if spec.get("automountServiceAccountToken") is not False or not spec.get("executor", {}).get("serviceAccountName"):
        yield "spec must set automountServiceAccountToken: false and executor.serviceAccountName"
    if any(_tokens(spec)):
        yield "a token is mounted in every pod"
    for pod in _pods(manifest):
        if pod.get("automountServiceAccountToken"):
            yield f"{pod['name']} mounts a token"
        for token in _tokens(pod):
            if pod.get("serviceAccountName") in (None, spec.get("serviceAccountName")):
                yield f"{pod['name']} mounts a token of the account that every pod has"
            if not 0 < token.get("expirationSeconds", 0) <= 3600:
                yield f"{pod['name']} mounts a token that does not expire within an hour"


def _tokens(holder: Manifest) -> Iterator[dict[str, Any]]:
    for volume in holder.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", []):
            if "serviceAccountToken" in source:
                yield source["serviceAccountToken"]


def key_of_its_own(manifest: Manifest) -> Iterator[str]:
    """If two programs can read a key, its signature identifies neither."""
    for volume in manifest["spec"].get("volumes", []):
        if str(volume.get("secret", {}).get("secretName", "")).startswith(layout.KEY_SECRETS):
            yield f"{volume['secret']['secretName']} is mounted in every pod"
    seen: dict[str, str] = {}
    for pod in _pods(manifest):
        for volume in pod.get("volumes", []):
            if "secret" not in volume:
                continue
            name = volume["secret"].get("secretName", "")
            if name in seen:
                yield f"{name} is mounted in {seen[name]} and in {pod['name']}"
            seen[name] = pod["name"]


def pinned_files(manifest: Manifest) -> Iterator[str]:
    """A submitter can replace a raw artifact, but not its digest in the environment."""
    for pod in _pods(manifest):
        raw = {a["name"]: a["raw"]["data"] for a in pod.get("inputs", {}).get("artifacts", []) if "raw" in a}
        environment = {e["name"]: e.get("value", "") for e in pod.get("container", {}).get("env", [])}
        pins = json.loads(environment.get("LOCKGATE_PINS") or "{}")
        for name, text in raw.items():
            if _TAG.search(text):
                yield f"{pod['name']}.{name} contains '{{{{', which Argo would replace"
            if pins.get(name) != sha256(text.encode()):
                yield f"{pod['name']}.{name} is not pinned by its digest"


def bounded_series(manifest: Manifest) -> Iterator[str]:
    """A label with a value of the run adds a series to the controller's metrics for each run."""
    for holder in (manifest["spec"], *_templates(manifest)):
        for metric in holder.get("metrics", {}).get("prometheus", []):
            texts = {"name": metric["name"], **{label["key"]: label["value"] for label in metric.get("labels", [])}}
            for key, text in texts.items():
                if _TAG.search(text) and text != "{{workflow.namespace}}":
                    yield f"{metric['name']} has a value of the run as its {key}"


def never_pruned(manifest: Manifest) -> Iterator[str]:
    """A GitOps tool that deletes an earlier template fails the runs that use it."""
    if manifest["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-options") != "Prune=false":
        yield "Argo CD would delete it under its runs: the sync option Prune=false is missing"


def named_by_content(manifest: Manifest) -> Iterator[str]:
    """Under `Secure`, changing a template breaks the runs that use it, so new content needs a new name."""
    name = manifest["metadata"]["name"]
    stem, _, digits = name.rpartition("-")
    content = {**manifest, "metadata": {**manifest["metadata"], "name": stem}}
    if sha256(canonical(content)).removeprefix("sha256:")[:8] != digits:
        yield f"{name} does not end in the digest of its content"


def scheduled(manifest: Manifest) -> Iterator[str]:
    """By default, a missed run is lost and two runs may overlap."""
    spec = manifest["spec"]
    if not spec.get("timezone"):
        yield "spec.timezone is missing"
    if spec.get("concurrencyPolicy") != "Forbid":
        yield "runs may overlap"
    if not spec.get("startingDeadlineSeconds"):
        yield "a run missed while the controller is down is lost"
    if "stopStrategy" in spec:
        # Argo counts the failures since the schedule was created, refusals too; a success does not reset the count.
        yield "it would stop for ever after a few refusals: spec.stopStrategy"
    if not spec.get("schedules") or "schedule" in spec:
        yield "Argo 4 accepts only `schedules`"
    if "workflowTemplateRef" not in spec.get("workflowSpec", {}):
        yield "it must run a template by reference"


def bound(manifest: Manifest) -> Iterator[str]:
    """A repeated event must collide with its first run, and may set only the version."""
    submit = manifest["spec"].get("submit", {})
    if "x-mlflow-delivery-id" not in submit.get("metadata", {}).get("name", ""):
        yield "a repeated delivery would run twice"
    names = [p["name"] for p in submit.get("arguments", {}).get("parameters", [])]
    if names != ["version"]:
        yield f"an event may set only the version, not {', '.join(names)}"


def labelled(manifest: Manifest) -> Iterator[str]:
    """Every object on a cluster has the standard labels."""
    labels = manifest["metadata"].get("labels", {})
    wanted = {f"app.kubernetes.io/{key}" for key in ("name", "component", "part-of", "managed-by")}
    missing = sorted(wanted - set(labels))
    if missing:
        yield f"label {missing[0]} is missing"


COMMON_RULES: Mapping[str, Rule] = {"labelled": labelled}
CRON_RULES: Mapping[str, Rule] = {"scheduled": scheduled}
BINDING_RULES: Mapping[str, Rule] = {"bound": bound}
WORKFLOW_RULES: Mapping[str, Rule] = {
    "explicit-edges": explicit_edges,
    "edges-of-artifacts": edges_of_artifacts,
    "held-out": held_out,
    "command-set": command_set,
    "no-script": no_script,
    "whole-arguments": whole_arguments,
    "known-names": known_names,
    "unique-templates": unique_templates,
    "retries": retries,
    "artifacts-apart": artifacts_apart,
    "ends": ends,
    "one-rollout": one_rollout,
    "hardened-pods": hardened_pods,
    "secured-executor": secured_executor,
    "no-token": no_token,
    "key-of-its-own": key_of_its_own,
    "pinned-files": pinned_files,
    "named-by-content": named_by_content,
    "bounded-series": bounded_series,
    "never-pruned": never_pruned,
}
