"""Define, for every field of a manifest, whether it is executed, ignored on this machine, or refused.

`FIELDS` is the only place that defines it. A field that is not in it is unknown and refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union

from lockgate.engine.errors import Problem


class Executed(Enum):
    """A field that is executed, by the type of its value."""

    TEXT = "a string"
    ANY = "a string, number or boolean"
    NUMBER = "a whole number"
    FLAG = "a boolean"
    TEXTS = "a list of strings"
    ANYS = "a list of strings, numbers or booleans"
    LABELS = "a mapping of strings"
    ITEMS = "a list of strings, numbers, booleans, lists or mappings"


class Inert(Enum):
    """A field that has no effect on this machine."""

    INERT = "has no effect on this machine"


@dataclass(frozen=True)
class Refused:
    """A field that would change what runs, but is not executed locally."""

    instead: str


@dataclass(frozen=True)
class Named:
    """A mapping with free keys, whose values all have these fields."""

    each: "Fields"


Handling = Executed | Inert | Refused
Shape = Union[Handling, Named, "Fields", tuple["Shape"]]  # a one-element tuple is a list of that shape
Fields = Mapping[str, Shape]

TEXT, ANY, NUMBER, FLAG = Executed.TEXT, Executed.ANY, Executed.NUMBER, Executed.FLAG
TEXTS, ANYS, LABELS, ITEMS, INERT = Executed.TEXTS, Executed.ANYS, Executed.LABELS, Executed.ITEMS, Inert.INERT


def _refused(names: str, instead: str) -> dict[str, Refused]:
    return dict.fromkeys(names.split(), Refused(instead))


def _inert(names: str) -> dict[str, Inert]:
    return dict.fromkeys(names.split(), INERT)


_KEY_REFERENCE: Fields = {"name": TEXT, "key": TEXT, "optional": FLAG}
_PARAMETER: Fields = {
    "name": TEXT,
    "value": ANY,
    "enum": ANYS,
    "description": INERT,
    "default": ANY,
    "globalName": Refused("pass the output as an argument"),
    "valueFrom": {
        "path": TEXT,
        "default": ANY,
        "parameter": TEXT,
        **_refused("expression jqFilter jsonPath", "write the value to a file and use path"),
        **_refused("configMapKeyRef event supplied", "give the parameter a value"),
    },
}
_STORES = "git http artifactory hdfs oss gcs azure plugin"
_ARTIFACT: Fields = {
    "name": TEXT,
    "path": TEXT,
    "from": TEXT,
    "optional": FLAG,
    "raw": {"data": TEXT},
    "archive": {"none": INERT, "tar": INERT, "zip": INERT},
    **_inert("mode recurseMode artifactGC archiveLogs"),
    **_refused("subPath fromExpression globalName deleted", "pass whole artifacts with from"),
    **_refused(_STORES, "let a program read it, or pass it as raw"),
}
# Where an output is stored matters only on a cluster; an input that names an object of a store is refused.
_INPUT: Fields = {**_ARTIFACT, "s3": Refused("let a program read it, or pass it as raw")}
_OUTPUT: Fields = {**_ARTIFACT, "s3": INERT}
_ARGUMENTS: Fields = {"parameters": (_PARAMETER,), "artifacts": (_INPUT,)}
_RETRY: Fields = {
    "limit": NUMBER,
    "retryPolicy": TEXT,
    "expression": TEXT,
    "affinity": INERT,
    "backoff": {"duration": ANY, "factor": NUMBER, "maxDuration": ANY, "cap": ANY},
}
_MUTEX: Fields = {"name": TEXT, "namespace": TEXT, "database": INERT}
_SYNCHRONIZATION: Fields = {
    "mutex": _MUTEX,
    "mutexes": (_MUTEX,),
    **_refused("semaphore semaphores", "use a mutex"),
}
_KEYS: Fields = {"name": TEXT, "optional": FLAG, **_inert("defaultMode"), **_refused("items", "mount all keys")}
_VOLUME: Fields = {
    "name": TEXT,
    "configMap": _KEYS,
    "secret": {**_KEYS, "secretName": TEXT},
    "emptyDir": {"sizeLimit": INERT, "medium": INERT},
    # The pod's service account token and its companions; a process on this machine has the rights of its user.
    "projected": {
        "sources": (
            {**_inert("serviceAccountToken configMap downwardAPI"), **_refused("secret", "mount it as its own volume")},
        ),
        "defaultMode": INERT,
    },
    **_refused("persistentVolumeClaim hostPath nfs csi ephemeral downwardAPI", "use emptyDir, configMap or secret"),
}
_TEMPLATE_REF: Fields = {
    "name": TEXT,
    "template": TEXT,
    **_refused("clusterScope", "add the referenced WorkflowTemplate to the manifests"),
}
_CALL: Fields = {"template": TEXT, "templateRef": _TEMPLATE_REF, "arguments": _ARGUMENTS}
_HOOKS = Named({**_CALL, "expression": TEXT})
_STEP: Fields = {
    **_CALL,
    "name": TEXT,
    "when": TEXT,
    "withItems": ITEMS,
    "withParam": TEXT,
    "withSequence": {"count": ANY, "start": ANY, "end": ANY, "format": TEXT},
    "continueOn": {"failed": FLAG, "error": FLAG},
    "hooks": _HOOKS,
    "onExit": TEXT,
    "inline": Refused("define it as a template"),
}
_TASK: Fields = {**_STEP, "depends": TEXT, "dependencies": TEXTS}
_VARIABLE: Fields = {
    "name": TEXT,
    "value": TEXT,
    "valueFrom": {
        "configMapKeyRef": _KEY_REFERENCE,
        "secretKeyRef": _KEY_REFERENCE,
        **_refused("fieldRef resourceFieldRef fileKeyRef", "use a tag, for example {{workflow.name}}"),
    },
}
_MOUNT: Fields = {
    "name": TEXT,
    "mountPath": TEXT,
    **_inert("readOnly recursiveReadOnly mountPropagation"),
    **_refused("subPath subPathExpr", "mount the whole volume"),
}
_CONTAINER: Fields = {
    "name": INERT,
    "image": TEXT,
    "command": TEXTS,
    "args": TEXTS,
    "env": (_VARIABLE,),
    "volumeMounts": (_MOUNT,),
    "terminationMessagePath": TEXT,
    "terminationMessagePolicy": TEXT,
    **_inert("imagePullPolicy resources securityContext ports stdin stdinOnce tty resizePolicy"),
    **_inert("livenessProbe readinessProbe startupProbe"),
    **_refused("envFrom", "list each variable in env"),
    **_refused("workingDir", "use paths below /lockgate"),
    **_refused("lifecycle volumeDevices restartPolicy", "do it in the program"),
}
_POD = "nodeSelector affinity tolerations schedulerName serviceAccountName automountServiceAccountToken executor"
_POD += " hostAliases securityContext podSpecPatch metrics"
_TEMPLATE: Fields = {
    "name": TEXT,
    "inputs": {"parameters": (_PARAMETER,), "artifacts": (_INPUT,)},
    "outputs": {
        "parameters": (_PARAMETER,),
        "artifacts": (_OUTPUT,),
        **_refused("result exitCode", "remove it; the controller sets it"),
    },
    "container": _CONTAINER,
    "dag": {
        "tasks": (_TASK,),
        "failFast": FLAG,
        "target": Refused("remove it; every task without dependents is a target"),
    },
    "steps": ((_STEP,),),
    "suspend": {"duration": ANY},
    "volumes": (_VOLUME,),
    "activeDeadlineSeconds": NUMBER,
    "retryStrategy": _RETRY,
    "parallelism": NUMBER,
    "synchronization": _SYNCHRONIZATION,
    **_inert(f"{_POD} metadata annotations priorityClassName archiveLocation"),
    **_refused("daemon", "start it outside the run"),
    **_refused("script resource data http plugin containerSet", "use a container template"),
    **_refused("initContainers sidecars", "use a separate container template"),
    **_refused("memoize", "use lockgate run MODEL --resume RUN"),
    **_refused("failFast", "use dag.failFast"),
    **_refused("timeout", "use activeDeadlineSeconds"),
}
_METADATA: Fields = {
    "name": TEXT,
    "generateName": TEXT,
    "namespace": TEXT,
    "labels": LABELS,
    "annotations": LABELS,
    **_inert("uid resourceVersion creationTimestamp generation managedFields finalizers ownerReferences selfLink"),
}
_SPEC: Fields = {
    "entrypoint": TEXT,
    "onExit": TEXT,
    "hooks": _HOOKS,
    "arguments": _ARGUMENTS,
    "templates": (_TEMPLATE,),
    "templateDefaults": _TEMPLATE,
    "workflowTemplateRef": _TEMPLATE_REF,
    "workflowMetadata": {"labels": LABELS, "annotations": LABELS, "labelsFrom": Refused("use labels")},
    "volumes": (_VOLUME,),
    "activeDeadlineSeconds": NUMBER,
    "parallelism": NUMBER,
    "retryStrategy": _RETRY,
    "synchronization": _SYNCHRONIZATION,
    **_inert(f"{_POD} podGC ttlStrategy podMetadata podPriorityClassName podDisruptionBudget priority archiveLogs"),
    **_inert("artifactRepositoryRef artifactGC imagePullSecrets dnsPolicy dnsConfig volumeClaimGC"),
    "hostNetwork": INERT,
    **_refused("suspend", "start the run when it is needed"),
    **_refused("shutdown", "use lockgate stop"),
    **_refused("volumeClaimTemplates", "use emptyDir"),
}
_HEAD: Fields = {"apiVersion": TEXT, "kind": TEXT, "metadata": _METADATA, "status": INERT}
FIELDS: Fields = {
    "Workflow": {**_HEAD, "spec": _SPEC},
    "WorkflowTemplate": {**_HEAD, "spec": {**_SPEC, "workflowTemplateRef": Refused("refer to it from a Workflow")}},
    "CronWorkflow": {
        **_HEAD,
        "spec": {
            "workflowSpec": _SPEC,
            "workflowMetadata": {"labels": LABELS, "annotations": LABELS},
            **_inert("schedule schedules timezone concurrencyPolicy startingDeadlineSeconds suspend stopStrategy when"),
            **_inert("successfulJobsHistoryLimit failedJobsHistoryLimit"),
        },
    },
}


@dataclass(frozen=True)
class Note:
    """A field that has no effect in a local run, and why."""

    place: str
    why: str


def table() -> Iterator[tuple[str, Handling]]:
    """Yield every field of the table and how it is handled."""
    for kind, fields in FIELDS.items():
        yield from _flat(kind, fields)


def _flat(place: str, fields: Shape) -> Iterator[tuple[str, Handling]]:
    if isinstance(fields, tuple):
        yield from _flat(f"{place}[]", fields[0])
    elif isinstance(fields, Named):
        yield from _flat(f"{place}.*", fields.each)
    elif isinstance(fields, Mapping):
        for name, below in fields.items():
            yield from _flat(f"{place}.{name}", below)
    else:
        yield place, fields


def check_fields(document: Mapping[str, Any]) -> tuple[list[Problem], list[Note]]:
    """Compare a document with the table; return the fields that cannot be executed, and those without effect."""
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        return [Problem("kind", f"{kind!r} cannot be executed; use one of {', '.join(FIELDS)}")], []
    problems: list[Problem] = [] if "spec" in document else [Problem("spec", "is required")]
    notes: list[Note] = []
    for found in _walk("", document, FIELDS[kind]):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            notes.append(found)
    return problems, notes


def _walk(place: str, value: object, fields: Shape) -> Iterator[Problem | Note]:
    match fields:
        case Refused(instead):
            yield Problem(place, f"not executed locally; {instead}")
        case Inert.INERT:
            yield Note(place, INERT.value)
        case Executed():
            if not _fits(value, fields):
                yield Problem(place, f"must be {fields.value}, not {_kind(value)}")
        case (each,) if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _walk(f"{place}[{index}]", item, each)
        case (_,):
            yield Problem(place, f"must be a list, not {_kind(value)}")
        case Named(each) if isinstance(value, Mapping):
            for name, below in value.items():
                yield from _walk(f"{place}.{name}", below, each)
        case Mapping() if isinstance(value, Mapping):
            for name, below in value.items():
                inside = f"{place}.{name}" if place else str(name)
                if name in fields:
                    yield from _walk(inside, below, fields[name])
                else:
                    yield Problem(inside, "not executed locally; the field is unknown")
        case Mapping() | Named():
            yield Problem(place, f"must be a mapping, not {_kind(value)}")


def _fits(value: object, kind: Executed) -> bool:
    match kind:
        case Executed.TEXT:
            return isinstance(value, str)
        case Executed.ANY:
            return isinstance(value, str | int | float | bool)
        case Executed.NUMBER:
            number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            return number or (isinstance(value, str) and value.isdecimal())
        case Executed.FLAG:
            return isinstance(value, bool)
        case Executed.TEXTS:
            return isinstance(value, list) and all(isinstance(each, str) for each in value)
        case Executed.ANYS:
            return isinstance(value, list) and all(_fits(each, Executed.ANY) for each in value)
        case Executed.ITEMS:
            return isinstance(value, list) and all(isinstance(each, str | int | float | list | dict) for each in value)
        case Executed.LABELS:
            return isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values())


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "a mapping" if isinstance(value, Mapping) else "null")
