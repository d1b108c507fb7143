"""Lockgate: from data to an audited, served model, through gates that cannot be skipped.

A model is a `ModelSpec` in `pipelines/<model>/pipeline.py`; a chain of its own is a function that returns a `Candidate`
of typed steps from `lockgate.steps`.
"""

from typing import TYPE_CHECKING

from lockgate.model import Category, Data, ModelSpec, Number, Schedule, Split, Target, category, label, number

if TYPE_CHECKING:
    from lockgate.workflows import Candidate, brought, frozen_data, tuned

__all__ = [
    "Candidate",
    "Category",
    "Data",
    "ModelSpec",
    "Number",
    "Schedule",
    "Split",
    "Target",
    "brought",
    "category",
    "frozen_data",
    "label",
    "number",
    "tuned",
]


def __getattr__(name: str) -> object:
    # The typed steps need the rendered contracts; a spec alone, and `lockgate --help`, do not.
    if name in ("Candidate", "brought", "frozen_data", "tuned"):
        from lockgate import workflows

        return getattr(workflows, name)
    msg = f"module 'lockgate' has no attribute {name!r}"
    raise AttributeError(msg)
