"""Render a model's manifests: Hera objects, then canonical YAML. Each rule here comes from a known bug."""

import json
from collections.abc import Mapping
from typing import Any

from hera.workflows import (
    DAG,
    Artifact,
    Container,
    NoneArchiveStrategy,
    Parameter,
    RawArtifact,
    RetryStrategy,
    WorkflowTemplate,
)
from hera.workflows import Task as HeraTask
from hera.workflows import models as m
from hera.workflows.protocol import Templatable
from lockgate_proof import CANARY
from lockgate_step import Judged, canonical, layout, sha256

from lockgate.definition import workflows
from lockgate.definition.catalog import Catalog, Program
from lockgate.definition.contract import RAW, shipped
from lockgate.definition.graph import Graph, Setting, Task
from lockgate.definition.model import ModelSpec
from lockgate.definition.project import Model
from lockgate.errors import SpecError
from lockgate.images.pins import NOWHERE, UNBUILT
from lockgate.rendering.canonical import dump
from lockgate.rendering.labels import labels
from lockgate.rendering.results import counted
from lockgate.rendering.rules import broken
from lockgate.rendering.triggers import on_registry_event, retrain

HEADER = "# Rendered from pipelines/{folder}/ by `lockgate render`; do not edit.\n"

# Retry transient infrastructure failures only; never a refused gate (3). Match only the start of the message, which the
# kubelet or Argo writes: the rest comes from the program and may contain any words. A drained node terminates a program
# (143) or kills it (137). For a program killed for lack of memory, OOMKilled replaces Error.
RETRY = (
    "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) == 4 || lastRetry.message matches "
    "'^(Pod was (terminated|rejected)|The node |Preempted|main: Error [(]exit code (137|143)[)])'"
)
GATHERED = "additional"  # the input of `package` with the verdicts of a model's additional gates
LOCKED_DOWN = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# A platform team may own the controller's settings, so each workflow secures Argo's own containers itself.
SECURE_EXECUTOR = json.dumps(
    {
        "initContainers": [{"name": "init", "securityContext": LOCKED_DOWN}],
        "containers": [{"name": "wait", "securityContext": LOCKED_DOWN}],
    },
    sort_keys=True,
)


# A run fails if its template is deleted. So no GitOps tool may prune an earlier one; `doctor --cluster` names it when
# no run uses it any more.
_KEPT = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}


def render_model(model: Model, catalog: Catalog, images: Mapping[str, str]) -> dict[str, bytes]:
    """Render the manifests of a model: file name -> bytes. The same model always gives the same bytes.

    images: image name -> reference by digest; an image that is not listed is not built yet.
    Errors: SpecError, naming what is invalid.
    """
    model.check()
    programs = {**model.own_programs, **catalog.programs}
    built = {
        name: workflow_template(model, graph, programs, images)
        for name, graph in workflows.every(model.spec, model.gates.values()).items()
    }
    documents = {f"{name}.yaml": document for name, document in built.items()} | {
        "retrain.yaml": retrain(model, built["release"]["metadata"]["name"]),
        "on-registry-event.yaml": on_registry_event(model, built["review"]["metadata"]["name"]),
    }
    return {name: manifest_bytes(model, name, document) for name, document in documents.items()}


def manifest_bytes(model: Model, name: str, document: Mapping[str, Any]) -> bytes:
    """Render a manifest's file. Errors: SpecError when it breaks a rendering rule."""
    if wrong := broken(document):
        msg = f"{model.spec.name}/{name} breaks a rendering rule: {wrong[0]}"
        raise SpecError(msg, fix="correct the pipeline; lockgate/rendering/rules.py gives the reason of each rule")
    return (HEADER.format(folder=model.folder.name) + dump(document)).encode()


def workflow_template(
    model: Model, whole: Graph, programs: Mapping[str, Program], images: Mapping[str, str]
) -> dict[str, Any]:
    """Build one WorkflowTemplate, named by the digest of its content."""
    end = workflows.conclude(model.spec)
    tasks = [*whole.programs(), end]
    names = [task.name for task in tasks] + [graph.name for graph in whole.graphs()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{model.spec.name}: two templates would be named {twice[0]!r}"
        raise SpecError(msg, fix="give one of the tasks another name")
    for task in tasks:
        if task.program in model.own_programs and (taken := shipped(task.name)):
            msg = f"{model.spec.name}: a task of your own program {task.program} is named {task.name}"
            raise SpecError(msg, fix=f"give the task another name than that of Lockgate's own {taken}")
    _check_gates(model, whole)
    templates: list[m.Template | Templatable] = [_dag(graph) for graph in whole.graphs()]
    templates += [_container(model, task, programs, images) for task in tasks]
    spec = model.spec
    built = WorkflowTemplate(
        name=f"{spec.name}-{whole.name}",
        labels=labels(model, whole.name),
        annotations={
            "workflows.argoproj.io/title": f"{spec.name}: {whole.name}",
            "workflows.argoproj.io/description": spec.description or f"{whole.name} of {spec.name}",
            **_KEPT,
        },
        entrypoint=whole.name,
        on_exit=end.name,
        arguments=_arguments(model, whole, programs),
        templates=templates,
        active_deadline_seconds=6 * 3600 + _rollout_seconds(spec),
        ttl_strategy=m.TTLStrategy(seconds_after_completion=5 * 24 * 3600),
        pod_gc=m.PodGC(strategy="OnPodSuccess"),
        parallelism=4,
        automount_service_account_token=False,
        service_account_name=layout.EXECUTOR_ACCOUNT,
        executor=m.ExecutorConfig(service_account_name=layout.EXECUTOR_ACCOUNT),
        security_context=m.PodSecurityContext(
            run_as_non_root=True,
            run_as_user=layout.USER,
            run_as_group=layout.USER,
            fs_group=layout.USER,
            seccomp_profile=m.SeccompProfile(type="RuntimeDefault"),
        ),
        pod_spec_patch=SECURE_EXECUTOR,
        workflow_metadata=m.WorkflowMetadata(labels=labels(model, whole.name)),
    ).to_dict()
    built["spec"]["volumes"] = _volumes()
    for template in built["spec"]["templates"]:
        _as_argo_writes_it(template)
        program = next((programs[t.program] for t in tasks if t.program and t.name == template["name"]), None)
        if program is not None and (own := _own_volumes(program)):
            template["volumes"] = own
        if program is not None and (metrics := counted(spec.name, template["name"], program)):
            template["metrics"] = metrics
    return _named(built)


def _check_gates(model: Model, whole: Graph) -> None:
    """Refuse a workflow whose `package` does not get the verdict of each additional gate of the model."""
    wanted = {f"{GATHERED}-{gate}": (gate, "verdict") for gate in model.gates}
    for graph in whole.graphs():
        runs = {task.name: task.program for task in graph.tasks}
        for task in (each for each in graph.tasks if each.program == "package"):
            given = {k: (runs.get(a.task or ""), a.name) for k, a in task.artifacts.items() if k.startswith(GATHERED)}
            if wrong := sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key)):
                gate = wrong[0].removeprefix(f"{GATHERED}-")
                msg = f"{model.spec.name}: {task.name} does not get the verdict of the additional gate {gate}"
                if wrong[0] not in wanted:
                    msg = f"{model.spec.name}: {task.name} gets a verdict of {gate}, which is not an additional gate"
                raise SpecError(msg, fix="call package with additional={gate: its verdict} for each additional gate")


def _rollout_seconds(spec: ModelSpec) -> int:
    """Return the seconds for which canary holds the shares of the spec's rollout, if it has one."""
    rollout = spec.serving.rollout
    return rollout.seconds if isinstance(rollout, Judged) else 0


def _as_argo_writes_it(template: dict[str, Any]) -> None:
    """Add the empty fields that Argo's own programs write.

    `argo submit` then sends exactly this template with a run, so the admission policy can detect a forged one.
    """
    for field in ("inputs", "metadata", "outputs"):
        template.setdefault(field, {})
    if "container" in template:
        template["container"].setdefault("name", "")
    for task in template.get("dag", {}).get("tasks", ()):
        task.setdefault("arguments", {})


def _named(document: dict[str, Any]) -> dict[str, Any]:
    """Append eight digits of the content's digest to the name: under `Secure`, a changed template breaks its runs."""
    digest = sha256(canonical(document)).removeprefix("sha256:")[:8]
    document["metadata"]["name"] += f"-{digest}"
    return document


def _volumes() -> list[dict[str, Any]]:
    return [
        {"name": layout.ENVIRONMENT, "configMap": {"name": layout.CONFIG_MAP}},
        {"name": layout.CREDENTIALS, "secret": {"secretName": layout.STORE_SECRET, "optional": True}},
        {"name": layout.OUT, "emptyDir": {"sizeLimit": "8Gi"}},
        {"name": layout.TMP, "emptyDir": {"sizeLimit": "8Gi"}},
    ]


def _own_volumes(program: Program) -> list[dict[str, Any]]:
    """The volumes that only this program may read: its signing key and its token to deploy."""
    own: list[dict[str, Any]] = []
    if program.signer:
        own.append({"name": layout.KEY, "secret": {"secretName": layout.key_secret(program.signer)}})
    if "platform" in program.contract["uses"]:
        # Kubernetes mounts this by default, but that is switched off for every pod. This token expires with the pod.
        namespace = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
        sources = [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ]
        own.append({"name": layout.SERVICE_ACCOUNT, "projected": {"sources": sources}})
    return own


def _arguments(model: Model, whole: Graph, programs: Mapping[str, Program]) -> list[Parameter]:
    """The parameters of a run: only the settings that it may vary."""
    spec = model.spec
    settings = {
        value.variable.removeprefix("workflow.parameters."): parameter
        for task in whole.programs()
        for parameter in programs[task.program or ""].contract["parameters"]
        if isinstance(value := task.settings.get(parameter["name"]), Setting)
    }
    found = []
    for name in sorted(settings):
        given = spec.source.uri if name == "data" else spec.train.get(name, settings[name]["default"])
        found.append(
            Parameter(
                name=name,
                value=None if given is None else _argument(given),
                enum=settings[name]["enum"],
                description=settings[name]["help"] or None,
            )
        )
    return found


def _argument(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dag(graph: Graph) -> DAG:
    tasks: list[Any] = []
    for task in graph.tasks:
        arguments = [
            Artifact(name=name, from_=artifact.expression) for name, artifact in sorted(task.artifacts.items())
        ]
        tasks.append(
            HeraTask(
                name=task.name,
                template=task.graph.name if task.graph else task.name,
                arguments=arguments or None,
                # With a bare name, Argo would continue after a skipped gate.
                depends=" && ".join(f"{need}.Succeeded" for need in task.needs) or None,
            )
        )
    return DAG(
        name=graph.name,
        inputs=[Artifact(name=name) for name in sorted(graph.inputs)] or None,
        tasks=tasks,
        synchronization=m.Synchronization(mutexes=[m.Mutex(name=graph.mutex)]) if graph.mutex else None,
    )


def _mount(name: str, *, read_only: bool | None = None) -> m.VolumeMount:
    """Mount the volume of this name at the folder of the same name below the root."""
    return m.VolumeMount(name=name, mount_path=f"{layout.IO}/{name}", read_only=read_only)


def _container(model: Model, task: Task, programs: Mapping[str, Program], images: Mapping[str, str]) -> Container:
    program = programs.get(task.program or "")
    if program is None:
        msg = f"{model.spec.name} calls {task.program}, but no step has that program"
        raise SpecError(msg, fix="put the step's file next to pipeline.py, then run lockgate render")
    raw = {entry["name"]: entry for entry in program.inputs if entry["type"] in RAW}
    texts = {key: model.raw[entry["type"].lower()] for key, entry in raw.items()}
    pins = {key: sha256(text.encode()) for key, text in texts.items()}
    environment = [
        m.EnvVar(name="LOCKGATE_IMAGE", value=image_of(program, images)),
        m.EnvVar(name="LOCKGATE_PINS", value=canonical(pins).decode().strip()),
        m.EnvVar(name="LOCKGATE_RUN", value="{{workflow.name}}"),
        # A name may be used again when the run is deleted.
        m.EnvVar(name="LOCKGATE_UID", value="{{workflow.uid}}"),
        m.EnvVar(name="TMPDIR", value=f"{layout.IO}/{layout.TMP}"),
    ]
    mounts = [
        _mount(layout.ENVIRONMENT, read_only=True),
        _mount(layout.OUT),
        _mount(layout.TMP),
    ]
    if "store" in program.contract["uses"]:
        mounts.append(_mount(layout.CREDENTIALS, read_only=True))
    if program.signer:
        mounts.append(_mount(layout.KEY, read_only=True))
    if "platform" in program.contract["uses"]:
        mounts.append(_mount(layout.SERVICE_ACCOUNT, read_only=True))
    inputs = [
        RawArtifact(name=key, path=f"{layout.IO}/{layout.IN}/{key}", data=texts[key])
        if key in raw
        else Artifact(name=key, path=f"{layout.IO}/{layout.IN}/{key}", optional=entry["optional"] or None)
        for entry in program.inputs
        if (key := entry["name"]) in raw or key in task.artifacts
    ]
    # The verdicts of additional gates are files of one folder; no input of a contract has a hyphen in its name.
    inputs += [
        Artifact(name=name, path=f"{layout.IO}/{layout.IN}/{GATHERED}/{name.removeprefix(f'{GATHERED}-')}")
        for name in sorted(task.artifacts)
        if name.startswith(f"{GATHERED}-")
    ]
    networked = bool(program.contract["uses"])
    return Container(
        name=task.name,
        image=image_of(program, images),
        command=list(program.command),
        args=arguments_of(program, task) or None,
        inputs=inputs or None,
        outputs=[_output(task, entry) for entry in program.outputs] or None,
        env=environment,
        volume_mounts=mounts,
        labels=labels(model, task.name),
        resources=m.ResourceRequirements.model_validate(
            {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
        ),
        security_context=m.SecurityContext.model_validate(LOCKED_DOWN),
        service_account_name=layout.PLATFORM_ACCOUNT if "platform" in program.contract["uses"] else None,
        active_deadline_seconds=3600 + (_rollout_seconds(model.spec) if task.program == CANARY else 0),
        termination_message_path=f"{layout.IO}/{layout.TERMINATION}",
        retry_strategy=RetryStrategy(
            limit=3,
            retry_policy="Always",
            expression=RETRY,
            # Argo waits for the backoff before it evaluates the expression, so a program that uses no service has none.
            backoff=m.Backoff.model_validate({"duration": "2", "factor": 4, "maxDuration": "3m"})
            if networked
            else None,
        ),
    )


def arguments_of(program: Program, task: Task) -> list[str]:
    """The arguments after the command. Each setting is a whole argument, never part of a text that something parses."""
    args = list(program.args)
    for key, value in sorted(task.settings.items()):
        args += [f"--{key.replace('_', '-')}", value.expression if isinstance(value, Setting) else _argument(value)]
    return args


def _output(task: Task, entry: Mapping[str, Any]) -> Artifact:
    # The UI shows a report only if its key has an extension. A folder's key does not end in a slash: Argo requests the
    # key itself before it lists the keys below it, and a store with real folders returns an empty file for `key/`.
    ending = ".html" if entry["type"] == "Report" else ""
    key = f"lockgate/{{{{workflow.namespace}}}}/{{{{workflow.uid}}}}/{task.name}/{entry['name']}{ending}"
    artifact = Artifact(
        name=entry["name"], path=f"{layout.IO}/{layout.OUT}/{entry['name']}", archive=NoneArchiveStrategy()
    )
    return _Keyed(name=artifact.name, path=artifact.path, archive=artifact.archive, key=key)


class _Keyed(Artifact):
    """An artifact in the controller's own repository, under a key that no other task or run uses."""

    def __init__(self, *, key: str, **fields: Any) -> None:
        super().__init__(**fields)
        self._key = key

    def _build_artifact(self) -> m.Artifact:
        built = super()._build_artifact()
        built.s3 = m.S3Artifact(key=self._key)
        return built


def image_of(program: Program, images: Mapping[str, str]) -> str:
    """The image that a program runs in. If it is not built yet, a name that no registry can ever have (RFC 6761)."""
    return images.get(program.image, f"{NOWHERE}/{program.image}{UNBUILT}")
