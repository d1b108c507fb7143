"""The packages in every image name no module outside the standard library, in an import or in a string."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[3] / "steps" / "sdk"
ALLOWED = {*sys.stdlib_module_names, "lockgate_step"}
MODULES = sorted(path for name in ("lockgate_step", "lockgate_policy") for path in (SDK / name).rglob("*.py"))


def named(source: str) -> Iterator[str]:
    """Yield the top-level name of each module that a source imports, or `?` if only a run would show it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                match node.args:
                    case [ast.Constant(value=str(module)), *_]:
                        yield module.partition(".")[0]
                    case _:
                        yield "?"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_it_names_only_the_standard_library(path: Path) -> None:
    assert set(named(path.read_text(encoding="utf-8"))) <= ALLOWED | {path.parent.name}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import numpy.linalg as n", "numpy"),
        ("def f():\n    from lockgate_proof import seal", "lockgate_proof"),
        ("import importlib\nimportlib.import_module('lockgate_proof._seal')", "lockgate_proof"),
        ("from importlib import import_module\nimport_module('yaml')", "yaml"),
        ("__import__('boto3')", "boto3"),
        ("__import__(name)", "?"),
    ],
)
def test_every_way_to_name_a_module_is_seen(source: str, found: str) -> None:
    assert set(named(source)) - ALLOWED == {found}
