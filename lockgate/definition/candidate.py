"""The candidate: what a model's chain passes to the gates."""

from dataclasses import dataclass

from lockgate_step import Base, DataRecord, DataVerdict, ModelFile, Table

from lockgate.definition.graph import Artifact


@dataclass(frozen=True)
class Candidate:
    """What a chain must pass to the gates: a model, the frozen data to judge it on, and the verdict on these data."""

    model: Artifact[ModelFile]
    test: Artifact[Table]
    truth: Artifact[Table]
    sensitive: Artifact[Table]
    train_sensitive: Artifact[Table]
    data: Artifact[DataRecord]
    base: Artifact[Base]
    data_verdict: Artifact[DataVerdict]
