"""MLServer without what this server never uses.

`import mlserver` brings gRPC, Kafka, tracing and pandas with it, whatever the settings say: half of its time and memory
at every start (1.7.1: 0.95 s without this module, 0.45 s with it). While it is imported, stand-ins take
their places; whoever uses one learns that it is closed here. Afterwards they are gone from `sys.modules`, so the real
pandas can still be imported by a model that needs it.
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
    """A module whose every name is a class that cannot be made."""

    __path__: list[str] = []  # noqa: RUF012 - what makes it a package, by Python's own convention

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        where = self.__name__

        def closed(*_: object, **__: object) -> NoReturn:
            msg = f"{where}.{name} is closed in this server"
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
