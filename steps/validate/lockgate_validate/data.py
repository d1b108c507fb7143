"""Run the checks with Great Expectations and judge their results; no result contains a value of any row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from lockgate_evidence import Evidence
from lockgate_step import BadCall, Inconclusive, Passed, Reason, Refused

from lockgate_validate import copies, unlabelled
from lockgate_validate.expectations import Check, derived, read

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation


@dataclass(frozen=True)
class Checked:
    """One check, and whether the data meet it."""

    check: Check
    met: bool


def validate(evidence: Evidence, paths: Mapping[str, Path], expectations: Path) -> list[Checked]:
    """Check every table in `paths`.

    Errors: BadCall if expectations.json cannot be evaluated.
    """
    audited = bool(evidence.spec.sensitive)  # without sensitive columns their tables are empty
    tables = {name: pq.read_table(path) for name, path in paths.items() if audited or not name.endswith("sensitive")}
    counts = {name: evidence.train_rows if name in ("rows", "train_sensitive") else evidence.rows for name in tables}
    names = {name: table.column_names for name, table in tables.items()}
    checks = [*derived(evidence.spec, counts), *read(expectations, names)]
    # The checks of a table's shape refuse a missing column and a table without rows. Other checks would pass there,
    # because no value breaks them, so they are left out.
    possible = [
        c for c in checks if not c.columns or (tables[c.table].num_rows and set(c.columns) <= set(names[c.table]))
    ]
    return list(_run(tables, possible))


def judgement(evidence: Evidence, checked: Sequence[Checked], expectations: str) -> Passed | Refused | Inconclusive:
    """Return the verdict: a critical check that is not met refuses, a warning becomes a note.

    A share of rows without a label that differs between groups refuses too: the model would learn from, and be judged
    on, other people than it will be used for. So do more copies of training rows among the test rows than by chance.
    expectations: the digest of expectations.json.
    """
    failed = [each.check for each in checked if not each.met]
    reasons = (
        *(_reason(check) for check in failed if check.severity == "critical"),
        *unlabelled.reasons(evidence),
        *copies.reasons(evidence),
    )
    notes = (
        *(f"warning: {_finding(check)}" for check in failed if check.severity == "warning"),
        *unlabelled.notes(evidence),
        *copies.notes(evidence),
    )
    measurements = {
        "expectations": len(checked),
        "critical": sum(each.check.severity == "critical" for each in checked),
        "met": sum(each.met for each in checked),
        "train_rows": evidence.train_rows,
        "test_rows": evidence.rows,
        **({"unlabelled": evidence.unlabelled} if evidence.unlabelled else {}),
        **({"copies": evidence.copies} if evidence.copies else {}),
    }
    subjects = {**evidence.subjects, "expectations": expectations}
    if reasons:
        return Refused(model=evidence.model, subjects=subjects, reasons=reasons, notes=notes, measurements=measurements)
    return Passed(model=evidence.model, subjects=subjects, notes=notes, measurements=measurements)


def _reason(check: Check) -> Reason:
    return Reason(
        rule=check.rule,
        message=_finding(check),
        lines=(check.fix,) if check.fix else (),
        why=check.why,
        source=check.source or "spec.json",
    )


def _finding(check: Check) -> str:
    return f"in the table {check.table}, {check.fault}"


def _run(tables: Mapping[str, pa.Table], checks: Sequence[Check]) -> Iterator[Checked]:
    """Run the checks; a check that failed or has no result is not met."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)  # they would appear in the log
    source = context.data_sources.add_pandas("tables")
    met: dict[int, bool] = {}
    for frame, numbers in _frames(checks).items():
        data = _data(tables[frame[0]], checks, numbers, fraction=frame[1])
        asset = source.add_dataframe_asset("-".join(map(str, frame))).add_batch_definition_whole_dataframe("whole")
        suite = gx.ExpectationSuite(
            name="-".join(map(str, frame)), expectations=[_expectation(checks[number], number) for number in numbers]
        )
        # BOOLEAN_ONLY: every other format returns values and positions of rows.
        found = asset.get_batch({"dataframe": data}).validate(suite, result_format="BOOLEAN_ONLY")
        met |= {_number(result): _met(result, checks[_number(result)]) for result in found.results}
    for number, check in enumerate(checks):
        yield Checked(check, met.get(number, False))


def _frames(checks: Sequence[Check]) -> dict[tuple[str, bool], list[int]]:
    """The checks by data frame: a table, or the fractional parts of its columns of whole numbers."""
    frames: dict[tuple[str, bool], list[int]] = {}
    for number, check in enumerate(checks):
        frames.setdefault((check.table, check.fraction), []).append(number)
    return frames


def _data(table: pa.Table, checks: Sequence[Check], numbers: Sequence[int], *, fraction: bool) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    if not fraction:
        return frame
    columns = [column for number in numbers for column in checks[number].columns]
    return pd.DataFrame({column: pd.to_numeric(frame[column], errors="coerce") % 1 for column in columns})


def _expectation(check: Check, number: int) -> "Expectation":
    """Build one expectation outside a suite: a suite silently drops unknown ones."""
    from great_expectations.exceptions.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity

    meta = {"check": number}
    configuration = ExpectationConfiguration(
        type=check.type, kwargs=dict(check.kwargs), severity=FailureSeverity(check.severity), meta=meta
    )
    try:
        return configuration.to_domain_obj()
    except GreatExpectationsError as error:
        msg = f"{check.source}: Great Expectations has no `{check.type}`"
        raise BadCall(msg, fix="look up the name in its gallery of expectations") from error
    except (ValueError, TypeError) as error:
        wrong = sorted({str(part) for each in _details(error) for part in each["loc"] if part != "__root__"})
        msg = f"{check.source} ({check.type}) has wrong `kwargs`: {', '.join(wrong) or 'they do not fit together'}"
        raise BadCall(msg, fix="look up that expectation's parameters") from error


def _details(error: Exception) -> list[dict[str, Any]]:
    return list(error.errors()) if hasattr(error, "errors") else []


def _number(result: "ExpectationValidationResult") -> int:
    assert result.expectation_config is not None
    return int(result.expectation_config.meta["check"])


def _met(result: "ExpectationValidationResult", check: Check) -> bool:
    if _failed(result.exception_info) and check.source:
        msg = f"{check.source} ({check.type}) cannot be evaluated on `{check.table}`"
        raise BadCall(msg, fix="use one that fits the column's type: numbers are float64, categories are text")
    return bool(result.success)


def _failed(info: Mapping[str, Any]) -> bool:
    """Whether an expectation raised an exception: the flag is at the top level, or one level down for each metric."""
    return any(each is True or (isinstance(each, Mapping) and _failed(each)) for each in info.values())
