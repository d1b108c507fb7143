"""Read the contracts of programs from their source."""

import re
from pathlib import Path
from typing import Any

from lockgate_step import ContractError, layout, read_contract

from lockgate.definition.catalog import Catalog, Program
from lockgate.errors import SpecError

# A program reads these as raw artifacts of its template, pinned by digest; no task passes them to another.
RAW = {"Spec": "spec.json", "Policy": "policy.toml", "Expectations": "expectations.json", "Waivers": "waivers.json"}


# What an additional gate may read, by name and type: what every workflow has before `package`, so that it also runs in
# a review. The raw artifacts come beside.
JUDGED = {
    "model": "ModelFile",
    "answers": "Answers",
    "test": "Table",
    "truth": "Table",
    "sensitive": "Table",
    "data": "DataRecord",
    "base": "Base",
}
_OF_A_GATE = {"verdict": "AdditionalVerdict", "report": "Report"}

# Only these characters: other letters can look like the name of another program.
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LOOK_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "-": None, "_": None, ".": None})
_RESERVED = {"waive", "index", "package-card"}  # the signer of waivers, and the pages of a run that no step is named by
# A model's own step reads and writes files. The credentials of the store and the platform's token can move `live`.
_USES_OF_OWN = ("registry",)
# The text and not a file of the image: the step's own packages could replace that one. -I: they replace no module here.
_START = ("python", "-I", "-S", "-c", Path(__file__).with_name("no_links.py").read_text(encoding="utf-8"))
_GUIDE = "docs/writing-a-step.md describes what a step may be"


def own_step(source: Path, model: str) -> Program:
    """Read the program of a user's one-file step in `pipelines/<model>/`.

    Errors: SpecError, also if the step could be taken for one of Lockgate's programs, or asks for a right of theirs.
    """
    found = _read(source)
    if len(found) != 1:
        msg = f"{source.name} contains {len(found)} programs; a step of your own is one file with one program"
        raise SpecError(msg, fix="move each program to its own file")
    stem = source.stem.replace("_", "-")
    entry = {key: value for key, value in found[0].items() if key != "function"}
    signer = layout.additional_signer(model, entry["program"]) if entry["gate"] else ""
    program = Program(entry["program"], stem, f"{model}-{stem}", (*_START, "-m", source.stem), (), entry, signer)
    _check_own(program, source)
    if signer:
        _check_gate(program, source)
    return program


def shipped(name: str) -> str | None:
    """Return the program, image or page of Lockgate that a name is, or looks like; None if there is none."""
    catalog = Catalog.find()
    known = sorted({name for each in catalog.programs.values() for name in (each.name, each.image)} | _RESERVED)
    return next((each for each in known if _looks(each) == _looks(name)), None)


def _looks(name: str) -> str:
    return name.casefold().translate(_LOOK_ALIKE)


def _check_own(program: Program, source: Path) -> None:
    """Keys, accounts and credentials belong to Lockgate's own programs; a step must not get one by its name."""
    for name in (program.name, program.step):
        if not _NAME.fullmatch(name):
            msg = f"{source.name}: {name!r} is not a valid name of a step"
            raise SpecError(msg, fix="use lower case letters a to z, digits and single underscores, e.g. balance_rows")
    for name in (program.name, program.step, program.image):
        if (taken := shipped(name)) is not None:
            what = f"has the name of Lockgate's own {taken}" if name == taken else f"looks like Lockgate's own {taken}"
            msg = f"{source.name}: {name} {what}; a step of yours cannot replace it"
            raise SpecError(msg, fix=f"give the function and the file another name than {taken}")
    if program.contract["signs"]:
        msg = f"{source.name}: {program.name} is marked signs=True; only Lockgate's own programs sign records"
        raise SpecError(msg, fix="remove signs=True; an additional gate is marked gate=True alone")
    if denied := [use for use in program.contract["uses"] if use not in _USES_OF_OWN]:
        msg = f"{source.name}: {program.name} uses {denied[0]}, which only Lockgate's own programs may use"
        raise SpecError(msg, fix=f"remove {denied[0]!r} from uses; {_GUIDE}")
    if program.contract["image"]:
        msg = f"{source.name}: {program.name} names the image {program.contract['image']}"
        raise SpecError(msg, fix="remove image=...: each step of your own has an image of its name")


def _check_gate(program: Program, source: Path) -> None:
    """An additional gate judges what the gates of every model judge, and its settings are those of its source."""
    for entry in program.inputs:
        if entry["type"] not in RAW and JUDGED.get(entry["name"]) != entry["type"]:
            known = ", ".join(f"{name}: In[{kind}]" for name, kind in JUDGED.items())
            asked = f"{entry['name']}: {entry['type']}"
            msg = f"{source.name}: {program.name} is an additional gate and cannot read {asked}"
            raise SpecError(msg, fix=f"read one of {known}, or {', '.join(RAW)}")
    written = {entry["name"]: entry["type"] for entry in program.outputs}
    if "verdict" not in written or not written.items() <= _OF_A_GATE.items():
        msg = f"{source.name}: {program.name} is an additional gate, so it writes verdict: Out[AdditionalVerdict]"
        raise SpecError(msg, fix="write it beside nothing but report: Out[Report]")
    if unset := [each["name"] for each in program.contract["parameters"] if each["default"] is None]:
        msg = f"{source.name}: the setting {unset[0]} of the gate {program.name} has no default"
        raise SpecError(msg, fix="give it its value there: no run may vary the settings of a gate")


def _read(source: Path) -> list[dict[str, Any]]:
    try:
        return read_contract(source)
    except ContractError as error:
        raise SpecError(str(error), fix="docs/writing-a-step.md shows the form") from error
