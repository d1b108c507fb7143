"""Contracts rendered from the sources: contract.json of each step, and the typed functions of `lockgate.steps`."""

from pathlib import Path
from typing import Any

from lockgate_step import ContractError, read_contract

from lockgate.definition.shelf import Program
from lockgate.errors import SpecError

# These reach a program as raw artifacts of its template, pinned by digest; nobody passes them from task to task.
RAW = {"Spec": "spec.json", "Policy": "policy.toml", "Expectations": "expectations.json", "Waivers": "waivers.json"}


def own_step(source: Path, model: str) -> Program:
    """The program of a user's one-file step in `pipelines/<model>/`. Errors: SpecError."""
    found = _read(source)
    if len(found) != 1:
        msg = f"{source.name} holds {len(found)} programs; a step of your own is one file with one program"
        raise SpecError(msg, fix="move each into its own file")
    stem = source.stem.replace("_", "-")
    entry = {key: value for key, value in found[0].items() if key != "function"}
    return Program(entry["program"], stem, f"{model}-{stem}", ("python", "-m", source.stem), (), entry)


def _read(source: Path) -> list[dict[str, Any]]:
    try:
        return read_contract(source)
    except ContractError as error:
        raise SpecError(str(error), fix="docs/writing-a-step.md shows the form") from error
