"""Run pods: their files, their processes or containers, their mutexes."""

from lockgate.engine.runtime.containers import ENGINES, ContainerRuntime
from lockgate.engine.runtime.keeper import NOT_ISOLATED, isolates
from lockgate.engine.runtime.process import Environment, Launch, Place, Places, ProcessRuntime, Runtime

__all__ = [
    "ENGINES",
    "NOT_ISOLATED",
    "ContainerRuntime",
    "Environment",
    "Launch",
    "Place",
    "Places",
    "ProcessRuntime",
    "Runtime",
    "isolates",
]
