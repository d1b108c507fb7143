"""Lockgate: from data to an audited, served model, through gates that cannot be skipped.

A model is a `ModelSpec` in `pipelines/<model>/pipeline.py`; a custom chain is a function that returns a `Candidate`
of typed steps from `lockgate.steps`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate.definition import steps as steps  # in the cycle of these imports mypy must meet it first
    from lockgate.definition.candidate import Candidate
    from lockgate.definition.model import (
        ABTest,
        AllAtOnce,
        Canary,
        Category,
        Data,
        Limits,
        ModelSpec,
        Number,
        Schedule,
        Serving,
        Shadow,
        Split,
        Target,
        category,
        label,
        number,
    )
    from lockgate.definition.workflows import brought, frozen_data, tuned

_HOMES = {
    "candidate": ("Candidate",),
    "model": (
        "ABTest",
        "AllAtOnce",
        "Canary",
        "Category",
        "Data",
        "Limits",
        "ModelSpec",
        "Number",
        "Schedule",
        "Serving",
        "Shadow",
        "Split",
        "Target",
        "category",
        "label",
        "number",
    ),
    "workflows": ("brought", "frozen_data", "tuned"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ABTest",
    "AllAtOnce",
    "Canary",
    "Candidate",
    "Category",
    "Data",
    "Limits",
    "ModelSpec",
    "Number",
    "Schedule",
    "Serving",
    "Shadow",
    "Split",
    "Target",
    "brought",
    "category",
    "frozen_data",
    "label",
    "number",
    "steps",
    "tuned",
]


if not TYPE_CHECKING:  # a type checker would otherwise let every misspelt name pass

    def __getattr__(name: str) -> object:
        # The typed steps need the rendered contracts, which a spec alone does not; `lockgate --help` needs neither.
        if name == "steps":
            return import_module("lockgate.definition.steps")
        if name in _HOME:
            return getattr(import_module(f"lockgate.definition.{_HOME[name]}"), name)
        msg = f"module 'lockgate' has no attribute {name!r}"
        raise AttributeError(msg)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
