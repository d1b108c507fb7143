"""Every field of a manifest: executed, inert on this machine, or refused before the first step.

`FIELDS` is the only place that says so. A field that is not in it is unknown and refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union

from lockgate.engine.errors import Problem


class Executed(Enum):
    """A field that is executed, by the kind of value it takes."""

    TEXT = "a text"
    ANY = "a text, number or flag"
    NUMBER = "a whole number"
    FLAG = "true or false"
    TEXTS = "a list of texts"
    ANYS = "a list of texts, numbers or flags"
    LABELS = "a mapping of texts"
    ITEMS = "a list of texts, numbers, flags, lists or mappings"


class Inert(Enum):
    """A field that means nothing on this machine."""

    INERT = "has no meaning for processes on this machine"


@dataclass(frozen=True)
class Refused:
    """A field that would change what runs, and is not executed here."""

    instead: str


@dataclass(frozen=True)
class Named:
    """A mapping whose keys are the author's own names, and whose values all have these fields."""

    each: "Fields"


Handling = Executed | Inert | Refused
Shape = Union[Handling, Named, "Fields", tuple["Shape"]]  # a mapping, or in brackets a list of what stands in them
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
    **_refused("subPath fromExpression globalName deleted", "pass whole artifacts by from"),
    **_refused(_STORES, "let a program read it, or pass it as raw"),
}
# Where an output is stored is the cluster's business; an input that names a place in a store is refused.
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
    # The token of a pod and what goes with it; a process on this machine has its user's own rights.
    "projected": {
        "sources": (
            {**_inert("serviceAccountToken configMap downwardAPI"), **_refused("secret", "mount it by itself")},
        ),
        "defaultMode": INERT,
    },
    **_refused("persistentVolumeClaim hostPath nfs csi ephemeral downwardAPI", "use emptyDir, configMap or secret"),
}
_TEMPLATE_REF: Fields = {
    "name": TEXT,
    "template": TEXT,
    **_refused("clusterScope", "give the referenced WorkflowTemplate beside this manifest"),
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
    "inline": Refused("write it as a template"),
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
    **_refused("envFrom", "name each variable in env"),
    **_refused("workingDir", "use paths below /lockgate"),
    **_refused("lifecycle volumeDevices restartPolicy", "let the program do it"),
}
_POD = "nodeSelector affinity tolerations schedulerName serviceAccountName automountServiceAccountToken executor"
_POD += " hostAliases securityContext podSpecPatch metrics"
_TEMPLATE: Fields = {
    "name": TEXT,
    "inputs": {"parameters": (_PARAMETER,), "artifacts": (_INPUT,)},
    "outputs": {
        "parameters": (_PARAMETER,),
        "artifacts": (_OUTPUT,),
        **_refused("result exitCode", "the controller writes these"),
    },
    "container": _CONTAINER,
    "dag": {
        "tasks": (_TASK,),
        "failFast": FLAG,
        "target": Refused("leave it out: every task without a dependent is one"),
    },
    "steps": ((_STEP,),),
    "suspend": {"duration": ANY},
    "volumes": (_VOLUME,),
    "activeDeadlineSeconds": NUMBER,
    "retryStrategy": _RETRY,
    "parallelism": NUMBER,
    "synchronization": _SYNCHRONIZATION,
    **_inert(f"{_POD} metadata annotations priorityClassName archiveLocation"),
    **_refused("daemon", "start it beside the run"),
    **_refused("script resource data http plugin containerSet", "write a container"),
    **_refused("initContainers sidecars", "write a container of its own"),
    **_refused("memoize", "use lockgate run MODEL --resume RUN"),
    **_refused("failFast", "dag.failFast is executed"),
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
    "workflowMetadata": {"labels": LABELS, "annotations": LABELS, "labelsFrom": Refused("write labels")},
    "volumes": (_VOLUME,),
    "activeDeadlineSeconds": NUMBER,
    "parallelism": NUMBER,
    "retryStrategy": _RETRY,
    "synchronization": _SYNCHRONIZATION,
    **_inert(f"{_POD} podGC ttlStrategy podMetadata podPriorityClassName podDisruptionBudget priority archiveLogs"),
    **_inert("artifactRepositoryRef artifactGC imagePullSecrets dnsPolicy dnsConfig volumeClaimGC"),
    "hostNetwork": INERT,
    **_refused("suspend", "start the run when it should run"),
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
    """A field that is inert here, for those who ask what a local run leaves out."""

    place: str
    why: str


def table() -> Iterator[tuple[str, Handling]]:
    """The whole table, one line a field."""
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


def read(document: Mapping[str, Any]) -> tuple[list[Problem], list[Note]]:
    """Hold a document against the table: what cannot be executed, and what is inert."""
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        return [Problem("kind", f"{kind!r} cannot be executed; write one of {', '.join(FIELDS)}")], []
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
                    yield Problem(inside, "not executed locally; no such field is known here")
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
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "a mapping" if isinstance(value, Mapping) else "nothing")
