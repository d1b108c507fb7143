"""The local engine: execute rendered manifests on this machine, with the semantics of the Argo controller."""

from lockgate.engine.engine import Engine
from lockgate.engine.errors import ManifestError, Problem, RunInUse
from lockgate.engine.manifest import Json, load_manifests, name_of, spec_of
from lockgate.engine.record import Node, Run, ask_to_stop
from lockgate.engine.runtime import (
    ENGINES,
    NOT_ISOLATED,
    ContainerRuntime,
    Environment,
    Launch,
    Place,
    Places,
    ProcessRuntime,
    Runtime,
    isolates,
)

__all__ = [
    "ENGINES",
    "NOT_ISOLATED",
    "ContainerRuntime",
    "Engine",
    "Environment",
    "Json",
    "Launch",
    "ManifestError",
    "Node",
    "Place",
    "Places",
    "Problem",
    "ProcessRuntime",
    "Run",
    "RunInUse",
    "Runtime",
    "ask_to_stop",
    "isolates",
    "load_manifests",
    "name_of",
    "spec_of",
]
