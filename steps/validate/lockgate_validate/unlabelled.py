"""Judge the rows without a label, which ingest left out and counted by group."""

from collections.abc import Iterator, Mapping
from typing import Any

from lockgate_evidence import Evidence
from lockgate_step import Reason

FEW = "fewer than 10"


def notes(evidence: Evidence) -> Iterator[str]:
    """Yield a note with the number of rows that were left out."""
    if counted := evidence.unlabelled:
        share = f" ({counted['rows'] / counted['of']:.1%})" if counted["rows"] else ""
        target = evidence.spec.target.name
        yield f"{excluded(counted)} of the {counted['of']:,} rows{share} have no {target} and were left out"


def excluded(counted: Mapping[str, Any]) -> str:
    """Return the number of rows that were left out, as people read it."""
    return FEW if counted["rows"] is None else f"{counted['rows']:,}"


def reasons(evidence: Evidence) -> Iterator[Reason]:
    """Yield a reason for each sensitive column whose groups certainly differ in their share of rows without a label."""
    target = evidence.spec.target.name
    for column, found in (evidence.unlabelled or {"columns": {}})["columns"].items():
        if not (differs := found["differs"]):
            continue
        groups = {each["group"]: each for each in found["groups"]}
        yield Reason(
            rule=f"data:unlabelled:{column}",
            message=f"the share of rows without {target}, which were left out, differs between groups of {column}",
            lines=(
                *(_line(groups[differs[end]]) for end in ("high", "low")),
                f"the difference is at least {differs['at_least']:.1%}, at 95 % confidence",
            ),
            why=f"The model would be made for, and judged on, those whose {target} is known.",
            source="spec.json",
        )


def figures(group: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the rows, the rows without a label and their share, as people read them."""
    rows, without, rate = group["rows"], group["unlabelled"], group["rate"]
    shown = (FEW if rows is None else f"{rows:,}", "not shown" if without is None else f"{without:,}")
    return *shown, "not shown" if rate is None else f"{rate:.1%}"


def _line(group: Mapping[str, Any]) -> str:
    rows, without, rate = figures(group)
    name = group["group"]
    return f"{name}: {without} of {rows} rows ({rate})" if group["rate"] is not None else f"{name}: few of {rows} rows"
