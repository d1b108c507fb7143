"""The local engine: executes rendered manifests on this machine, with the semantics of the real controller."""

from lockgate.local.containers import ENGINES, ContainerRuntime, Place
from lockgate.local.engine import Engine
from lockgate.local.manifest import load_manifests
from lockgate.local.process import Environment, ProcessRuntime, Runtime
from lockgate.local.record import Run, ask_to_stop

__all__ = [
    "ENGINES",
    "ContainerRuntime",
    "Engine",
    "Environment",
    "Place",
    "ProcessRuntime",
    "Run",
    "Runtime",
    "ask_to_stop",
    "load_manifests",
]
