"""Imports of programs: none for --help, and in gates no package that made the model or the data."""

import json
import sys
from collections.abc import Callable

import pytest

from lockgate.definition.catalog import Program
from lockgate.images.installed import Installed, command
from tests.workshop import CATALOG, Bench

PROGRAMS = sorted(CATALOG.programs.values(), key=lambda program: program.name)
# Runs a module as `python -m` does, and writes the imported modules at the end.
WATCH = """
import atexit, json, runpy, sys
place, module, *arguments = sys.argv[1:]
atexit.register(lambda: open(place, "w").write(json.dumps(sorted(sys.modules))))
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def imported(bench: Bench, *arguments: str) -> set[str]:
    """Return the packages outside the standard library that a valid call imports."""
    program, place = bench.program, bench.folder / "modules.json"
    argv, env = command(
        Installed(CATALOG)(program.image), ["-c", WATCH, str(place), program.command[-1], *program.args, *arguments]
    )
    done = bench.execute(argv, env)
    assert done.code == 0, done.said
    names = {name.split(".")[0] for name in json.loads(place.read_bytes())} - set(sys.stdlib_module_names)
    # Names with an underscore belong to other packages or to `site`; `cython_runtime` belongs to Cython.
    return {name for name in names if not name.startswith("_")} - {"cython_runtime"}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_help_needs_no_package(program: Program, tmp_path_factory: pytest.TempPathFactory) -> None:
    bench = Bench(program, tmp_path_factory.mktemp("io"), "run-1")
    # The entry point of programs that sign, without its library; the programs of a step have the same one.
    signs = any(each.contract["signs"] for each in PROGRAMS if each.step == program.step)
    signing = {"lockgate_proof"} if signs else set()
    assert imported(bench, "--help") <= {"lockgate_step", program.command[-1], *signing}


# What a gate may import besides our own packages: reading, computing and signing. So no scikit-learn, pandas or Great
# Expectations, and no code of a model.
JUDGING = {"cryptography", "numpy", "pyarrow", "securesystemslib"}


@pytest.mark.parametrize("name", ["validate-model", "bias-audit"])
def test_a_gate_imports_only_what_judging_takes(name: str, good: Callable[[str], Bench]) -> None:
    found = imported(good(name))
    assert {package for package in found if not package.startswith("lockgate_")} <= JUDGING
