"""The local engine: executes rendered manifests on this machine, with the semantics of the real controller."""

from lockgate.local.engine import Engine
from lockgate.local.manifest import load_manifests
from lockgate.local.process import Environment, ProcessRuntime
from lockgate.local.record import Run, ask_to_stop

__all__ = ["Engine", "Environment", "ProcessRuntime", "Run", "ask_to_stop", "load_manifests"]
