"""Run pods: their files, their processes or containers, their mutexes."""

from lockgate.engine.runtime.containers import ENGINES, ContainerRuntime, Place
from lockgate.engine.runtime.process import Environment, ProcessRuntime, Runtime

__all__ = ["ENGINES", "ContainerRuntime", "Environment", "Place", "ProcessRuntime", "Runtime"]
