"""Couler, another Python front end for Argo: write a release in it, or convert an existing workflow of it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate.couler.frontend import couler_steps, finish

__all__ = ["couler_steps", "finish"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # `lockgate convert` does not need Couler; only the front end imports it.
        if name in __all__:
            return getattr(import_module("lockgate.couler.frontend"), name)
        msg = f"module 'lockgate.couler' has no attribute {name!r}"
        raise AttributeError(msg)
