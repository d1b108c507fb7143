"""Judge the test rows that are copies of a training row, which ingest counted."""

from collections.abc import Iterator, Mapping
from typing import Any

from lockgate_evidence import Evidence
from lockgate_step import Reason

FEW = "fewer than 10"
_NOTED = 0.05  # the share of copies that a verdict notes although chance explains it


def reasons(evidence: Evidence) -> Iterator[Reason]:
    """Yield a reason if there are more copies than a random split of the same rows would give."""
    found = evidence.copies
    if found and found["exceeds"]:
        yield Reason(
            rule="data:copies",
            message="more test rows than by chance are equal to a training row, in every input and in the label",
            lines=(
                f"{copied(found)} are equal to a training row; a random split of all rows would give {chance(found)}",
                "remove these rows from the test data, or from the training data",
            ),
            why="A model that only remembers its training rows answers their copies right.",
            source="spec.json",
        )


def notes(evidence: Evidence) -> Iterator[str]:
    """Yield a note if so many rows are copies that a reader must know it."""
    found = evidence.copies
    if found and not found["exceeds"] and found["rows"] and found["rows"] / found["of"] >= _NOTED:
        yield f"{copied(found)} are equal to a training row, as in a random split of all rows ({chance(found)})"


def copied(found: Mapping[str, Any]) -> str:
    """Return the number and share of the copies, as people read them."""
    rows, of = found["rows"], found["of"]
    return f"{FEW} of the {of:,} test rows" if rows is None else f"{rows:,} of the {of:,} test rows ({rows / of:.1%})"


def chance(found: Mapping[str, Any]) -> str:
    """Return the share of copies in a random split, as people read it."""
    return f"{FEW} rows" if found["by_chance"] is None else f"{found['by_chance']:.1%}"
