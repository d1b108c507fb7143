"""Read the contracts of programs from their source."""

from pathlib import Path
from typing import Any

from lockgate_step import ContractError, read_contract

from lockgate.definition.catalog import Program
from lockgate.errors import SpecError

# A program reads these as raw artifacts of its template, pinned by digest; no task passes them to another.
RAW = {"Spec": "spec.json", "Policy": "policy.toml", "Expectations": "expectations.json", "Waivers": "waivers.json"}


def own_step(source: Path, model: str) -> Program:
    """Read the program of a user's one-file step in `pipelines/<model>/`. Errors: SpecError."""
    found = _read(source)
    if len(found) != 1:
        msg = f"{source.name} contains {len(found)} programs; a step of your own is one file with one program"
        raise SpecError(msg, fix="move each program to its own file")
    stem = source.stem.replace("_", "-")
    entry = {key: value for key, value in found[0].items() if key != "function"}
    return Program(entry["program"], stem, f"{model}-{stem}", ("python", "-m", source.stem), (), entry)


def _read(source: Path) -> list[dict[str, Any]]:
    try:
        return read_contract(source)
    except ContractError as error:
        raise SpecError(str(error), fix="docs/writing-a-step.md shows the form") from error
