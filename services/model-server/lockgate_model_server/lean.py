"""Imports MLServer without the packages that this server does not use.

`import mlserver` imports gRPC, Kafka, tracing and pandas with any settings: half of the time and memory of every start
(1.7.1: 0.95 s without this module, 0.45 s with it). During the import, stand-in modules take their places; using one
raises an error. Afterwards they are removed from `sys.modules`, so a model that needs pandas can still import it.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NoReturn

_UNUSED = (
    "mlserver.grpc",
    "mlserver.kafka",
    "mlserver.tracing",
    "opentelemetry",
    "opentelemetry.instrumentation",
    "opentelemetry.instrumentation.fastapi",
    "pandas",
)


class _Closed(ModuleType):
    """A module in which every name is a class that cannot be instantiated."""

    __path__: list[str] = []  # noqa: RUF012 - Python treats a module with __path__ as a package

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        where = self.__name__

        def closed(*_: object, **__: object) -> NoReturn:
            msg = f"{where}.{name} is disabled in this server"
            raise RuntimeError(msg)

        return type(name, (), {"__init__": closed, "__module__": where})


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    added = {name: _Closed(name) for name in names if name not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


if "mlserver" not in sys.modules:
    with _without(_UNUSED):
        importlib.import_module("mlserver.rest")
