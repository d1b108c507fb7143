"""One typed function per step of credit itself. Rendered from the contracts by `lockgate render`; do not edit."""

from lockgate_step import (
    Kind,
    ModelFile,
    Table,
)

from lockgate.definition.graph import Artifact, Setting, add


def balance(
    rows: Artifact[Table],
    *,
    seed: int | Setting = 0,
    after: Artifact[Kind] | None = None,
    name: str = "balance",
) -> Artifact[Table]:
    """Repeat rows of the rarer label until both labels are equally frequent."""
    task = add(
        "balance",
        name,
        {"rows": rows},
        {"seed": seed},
        after,
    )
    return task.output("balanced")


def fit(
    rows: Artifact[Table],
    *,
    strength: float | Setting = 1.0,
    after: Artifact[Kind] | None = None,
    name: str = "fit",
) -> Artifact[ModelFile]:
    """Fit a logistic regression to the credits and write it as ONNX."""
    task = add(
        "fit",
        name,
        {"rows": rows},
        {"strength": strength},
        after,
    )
    return task.output("model")
