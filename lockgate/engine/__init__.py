"""The local engine: executes rendered manifests on this machine, with the semantics of the real controller."""

from lockgate.engine.engine import Engine
from lockgate.engine.manifest.manifest import load_manifests
from lockgate.engine.record import Run, ask_to_stop
from lockgate.engine.runtime.containers import ENGINES, ContainerRuntime, Place
from lockgate.engine.runtime.process import Environment, ProcessRuntime, Runtime

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
