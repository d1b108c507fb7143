"""The entry point of the programs that sign."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import lockgate_step
from lockgate_step import Outcome, canonical

from lockgate_proof._envelope import predicate
from lockgate_proof._seal import seal


def main(*functions: Callable[..., object]) -> NoReturn:
    """Run the program that the arguments name, sign what it returns if its contract says so, and exit with its code."""
    lockgate_step.main(*functions, sealer=_sealed)


def _sealed(outcome: Outcome, contract: Mapping[str, Any], root: Path) -> tuple[bytes, Mapping[str, Any]]:
    envelope = seal(outcome, contract, root)
    return canonical(envelope), predicate(envelope)
