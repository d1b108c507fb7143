"""The local engine: execute rendered manifests on this machine, with the semantics of the Argo controller."""

from lockgate.engine.engine import Engine
from lockgate.engine.errors import ManifestError, Problem, RunInUse
from lockgate.engine.manifest import Json, load_manifests, name_of, spec_of
from lockgate.engine.record import Node, Run, ask_to_stop
from lockgate.engine.runtime import ENGINES, ContainerRuntime, Environment, Place, ProcessRuntime, Runtime

__all__ = [
    "ENGINES",
    "ContainerRuntime",
    "Engine",
    "Environment",
    "Json",
    "ManifestError",
    "Node",
    "Place",
    "Problem",
    "ProcessRuntime",
    "Run",
    "RunInUse",
    "Runtime",
    "ask_to_stop",
    "load_manifests",
    "name_of",
    "spec_of",
]
