"""The reference of every program of the steps, from their contracts."""

import json
from typing import Any

from docs.generate.place import ROOT
from docs.generate.tables import code, table


def contracts() -> list[dict[str, Any]]:
    """The contract of every program, sorted by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in ROOT.glob("steps/*/contract.json")]
    return sorted((program for step in found for program in step["programs"]), key=lambda p: str(p["program"]))


def text() -> str:
    """One section for each program: what it does, its files and its settings."""
    return "\n\n".join(map(section, contracts()))


def section(program: dict[str, Any]) -> str:
    """What one program does, its files and its settings. Errors: ValueError where a setting has no help."""
    traits = [f"Image `{program['image']}`"]
    traits += ["a gate"] if program["gate"] else ["signs its record"] if program["signs"] else []
    traits += [f"uses the {' and the '.join(program['uses'])}"] if program["uses"] else []
    files = [(code(f["name"]), "input, optional" if f["optional"] else "input", f["type"]) for f in program["inputs"]]
    files += [(code(f["name"]), "output", f["type"]) for f in program["outputs"]]
    parts = [f"## {program['program']}", program["help"], f"{'; '.join(traits)}."]
    parts += [table(("file", "direction", "kind"), files)] if files else []
    settings = [_setting(program["program"], parameter) for parameter in program["parameters"]]
    parts.append(table(("setting", "type", "default", "meaning"), settings) if settings else "It has no settings.")
    return "\n\n".join(parts)


def _setting(program: str, parameter: dict[str, Any]) -> tuple[str, str, str, str]:
    if not parameter["help"]:
        msg = f"setting {parameter['name']} of {program} has no help: add a line to the program's docstring"
        raise ValueError(msg)
    default = "required" if parameter["default"] is None else code(json.dumps(parameter["default"]))
    choices = ", ".join(map(code, parameter["enum"] or []))
    return code(parameter["name"]), choices or str(parameter["type"]), default, str(parameter["help"])
