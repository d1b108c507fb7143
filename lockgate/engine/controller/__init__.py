"""The semantics of the Argo controller: which node runs next, with which inputs, and how it ends."""

from lockgate.engine.controller.calls import PodStart
from lockgate.engine.controller.operate import Controller
from lockgate.engine.controller.variables import Identity

__all__ = ["Controller", "Identity", "PodStart"]
