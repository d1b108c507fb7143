"""Lockgate: from data to an audited, served model, through gates that cannot be skipped.

A model is a `ModelSpec` in `pipelines/<model>/pipeline.py`; a chain of its own is a function that returns a `Candidate`
of typed steps from `lockgate.steps`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate import steps as steps  # in the cycle of these imports mypy must meet it first
    from lockgate.model import (
        Category,
        Data,
        ModelSpec,
        Number,
        Schedule,
        Serving,
        Split,
        Target,
        category,
        label,
        number,
    )
    from lockgate.workflows import Candidate, brought, frozen_data, tuned

__all__ = [
    "Candidate",
    "Category",
    "Data",
    "ModelSpec",
    "Number",
    "Schedule",
    "Serving",
    "Split",
    "Target",
    "brought",
    "category",
    "frozen_data",
    "label",
    "number",
    "tuned",
]


if not TYPE_CHECKING:  # a type checker would otherwise let every misspelt name pass

    def __getattr__(name: str) -> object:
        # The typed steps need the rendered contracts, which a spec alone does not; `lockgate --help` needs neither.
        if name in __all__:
            home = "workflows" if name in ("Candidate", "brought", "frozen_data", "tuned") else "model"
            return getattr(import_module(f"lockgate.{home}"), name)
        msg = f"module 'lockgate' has no attribute {name!r}"
        raise AttributeError(msg)
