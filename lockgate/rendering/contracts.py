"""Render contract.json and the typed step functions from the sources."""

from pathlib import Path
from typing import Any

from lockgate_step import PROTOCOL, canonical

from lockgate.definition.catalog import Program, module_of
from lockgate.definition.contract import RAW, _read

_WIDTH = 120  # of a line, as the formatter counts
_SEVERAL = {"AdditionalVerdicts": "AdditionalVerdict"}  # a folder with one file of each artifact
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def step_contract(folder: Path) -> dict[str, Any]:
    """Read the contract of a step folder from the source of its `__main__.py`. Errors: SpecError."""
    module = module_of(folder)
    found = _read(folder / module / "__main__.py")
    several = len(found) > 1
    programs = [
        {
            **{key: value for key, value in entry.items() if key not in ("function", "image")},
            "image": entry["image"] or folder.name,
            "command": ["python", "-m", module],
            "args": [entry["program"]] if several else [],
        }
        for entry in found
    ]
    return {"protocol": PROTOCOL, "step": folder.name, "programs": programs}


def contract_bytes(contract: dict[str, Any]) -> bytes:
    """Render a contract.json: canonical JSON, but one program per line, for readable diffs."""
    lines = [canonical(program).decode().strip() for program in contract["programs"]]
    head = f'{{"protocol":{contract["protocol"]},"step":"{contract["step"]}","programs":[\n'
    return (head + ",\n".join(lines) + "\n]}\n").encode()


def functions_source(programs: list[Program], what: str) -> str:
    """Render the Python source of one typed function per program."""
    kinds = sorted({"Kind"} | {_SEVERAL.get(f["type"], f["type"]) for p in programs for f in [*p.outputs, *_passed(p)]})
    several = any(entry["type"] in _SEVERAL for program in programs for entry in _passed(program))
    parts = [
        f'"""{what} Rendered from the contracts by `lockgate render`; do not edit."""',
        "\n".join(
            [
                *(["from collections.abc import Mapping"] if several else []),
                *(["from dataclasses import dataclass", ""] if any(len(p.outputs) > 1 for p in programs) else []),
                "from lockgate_step import (",
                *[f"    {kind}," for kind in kinds],
                ")",
                "",
                "from lockgate.definition.graph import Artifact, Setting, add",
            ]
        ),
    ]
    parts += [part for program in programs for part in _function(program)]
    return _formatted("\n\n\n".join(part for part in parts if part))


def _formatted(source: str) -> str:
    return source.replace('"""\n\n\nfrom', '"""\n\nfrom') + "\n"


def _passed(program: Program) -> list[dict[str, Any]]:
    return [entry for entry in program.inputs if entry["type"] not in RAW]


def _function(program: Program) -> list[str]:
    name = program.name.replace("-", "_")
    arguments = [
        f"    {entry['name']}: Artifact[{entry['type']}]," for entry in _passed(program) if not entry["optional"]
    ]
    arguments += [
        f"    {entry['name']}: {_argument(entry['type'])} | None = None,"
        for entry in _passed(program)
        if entry["optional"]
    ]
    arguments.append("    *,")
    for parameter in program.contract["parameters"]:
        kind = _SCALARS[parameter["type"]]
        default = "" if parameter["default"] is None else f" = {parameter['default']!r}".replace("'", '"')
        arguments.append(f"    {parameter['name']}: {kind} | Setting{default},")
    arguments += ["    after: Artifact[Kind] | None = None,", f'    name: str = "{program.name}",']
    returns, result, cls = _returns(name, program)
    artifacts = [f'"{entry["name"]}": {entry["name"]}' for entry in _passed(program)]
    settings = [f'"{p["name"]}": {p["name"]}' for p in program.contract["parameters"]]
    body = [
        f"def {name}(",
        *arguments,
        f") -> {returns}:",
        f'    """{program.contract["help"]}"""',
        "    task = add(",
        f'        "{program.name}",',
        "        name,",
        *_mapping(artifacts),
        *_mapping(settings),
        "        after,",
        "    )",
        *result,
    ]
    return [cls, "\n".join(body)]


def _argument(kind: str) -> str:
    """The type of an argument: an artifact, or several by name that become the files of a folder."""
    return f"Mapping[str, Artifact[{_SEVERAL[kind]}]]" if kind in _SEVERAL else f"Artifact[{kind}]"


def _mapping(entries: list[str]) -> list[str]:
    """A dict as an argument: on one line if it fits, as the formatter keeps it."""
    line = f"        {{{', '.join(entries)}}},"
    several = ["        {", *[f"            {entry}," for entry in entries], "        },"]
    return [line] if len(line) <= _WIDTH else several


def _returns(name: str, program: Program) -> tuple[str, list[str], str]:
    outputs = program.outputs
    if not outputs:
        return "None", ["    del task"], ""
    if len(outputs) == 1:
        return f"Artifact[{outputs[0]['type']}]", [f'    return task.output("{outputs[0]["name"]}")'], ""
    title = "".join(part.title() for part in name.split("_"))
    cls = "\n".join(
        [
            "@dataclass(frozen=True)",
            f"class {title}:",
            f'    """The outputs of {program.name}."""',
            "",
            *[f"    {entry['name']}: Artifact[{entry['type']}]" for entry in outputs],
        ]
    )
    fields = [f'{entry["name"]}=task.output("{entry["name"]}")' for entry in outputs]
    line = f"    return {title}({', '.join(fields)})"
    several = [f"    return {title}(", *[f"        {field}," for field in fields], "    )"]
    return title, [line] if len(line) <= _WIDTH else several, cls
