"""Judge the rows without a label, which ingest left out and counted by group in each share."""

from collections.abc import Iterator, Mapping
from typing import Any

from lockgate_evidence import Evidence
from lockgate_step import Reason

FEW, HIDDEN = "fewer than 10", "not shown"
_SHARES = {"test": "test rows", "train": "training rows"}


def shares(evidence: Evidence) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield each share that had rows without a label: its name, the name of its rows, and its counts."""
    for share, rows in _SHARES.items():
        if counted := (evidence.unlabelled or {}).get(share):
            yield share, rows, counted


def notes(evidence: Evidence) -> Iterator[str]:
    """Yield a note with the number of rows of each share that were left out."""
    for _, rows, counted in shares(evidence):
        part = f" ({counted['rows'] / counted['of']:.1%})" if counted["rows"] else ""
        yield f"{excluded(counted, rows)}{part} have no {evidence.spec.target.name} and were left out"


def excluded(counted: Mapping[str, Any], rows: str) -> str:
    """Return the number of rows that were left out, as people read it."""
    return f"{FEW} {rows}" if counted["rows"] is None else f"{counted['rows']:,} of the {counted['of']:,} {rows}"


def reasons(evidence: Evidence) -> Iterator[Reason]:
    """Yield a reason for each sensitive column whose groups certainly differ in a share, by rows without a label."""
    target = evidence.spec.target.name
    for share, rows, counted in shares(evidence):
        for column, found in counted["columns"].items():
            if not (differs := found["differs"]):
                continue
            groups = {each["group"]: each for each in found["groups"]}
            yield Reason(
                rule=f"data:unlabelled:{share}:{column}",
                message=f"the share of {rows} without {target}, which were left out, differs by {column}",
                lines=(
                    *(_line(groups[differs[end]], rows) for end in ("high", "low")),
                    f"the difference is at least {differs['at_least']:.1%}, at 95 % confidence",
                ),
                why=f"The model would be made for, and judged on, those whose {target} is known.",
                source="spec.json",
            )


def figures(group: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the rows, the rows without a label and their share, as people read them."""
    rows, without, rate = group["rows"], group["unlabelled"], group["rate"]
    shown = (HIDDEN if number is None else f"{number:,}" for number in (rows, without))
    return *shown, HIDDEN if rate is None else f"{rate:.1%}"  # type: ignore[return-value]


def _line(group: Mapping[str, Any], share: str) -> str:
    rows, without, rate = figures(group)
    name = group["group"]
    return f"{name}: {without} of {rows} {share} ({rate})" if group["rate"] is not None else f"{name}: counts not shown"
