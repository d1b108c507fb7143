"""Reads the contract of a program from its source, without importing it.

Positional parameters are files, keyword-only parameters are settings, the docstring is the help. The renderer and the
running program both read the contract here, so the two cannot differ.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lockgate_step import _files

PROTOCOL = 1

EXIT_CODES: Mapping[str, str] = {
    "0": "done or passed",
    "1": "a bug",
    "2": "invalid call (settings or files; do not retry)",
    "3": "refused or inconclusive",
    "4": "an external service failed; retry",
}

USES = ("store", "registry", "platform")
SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_KINDS: dict[str, type[_files.Kind]] = {
    name: kind
    for name, kind in vars(_files).items()
    if isinstance(kind, type) and issubclass(kind, _files.Kind) and kind is not _files.Kind
}
ADDITIONAL = "AdditionalVerdict"
SIGNED_FILES = (
    "DataRecord", "DataVerdict", "QualityVerdict", "BiasVerdict", "SmokeVerdict", "CanaryVerdict", "RecallVerdict",
    "Staged", "PromotionRecord",
)  # fmt: skip


class ContractError(ValueError):
    """The source does not state a valid contract; the message names file, line and what to write instead."""


def is_folder(kind: str) -> bool:
    """Return whether files of this kind are folders."""
    return _KINDS[kind].folder


def read_contract(source: Path) -> list[dict[str, Any]]:
    """Return the contract of each `@program` in a source file, in the order of the source.

    A contract has JSON values: program, function, help, gate, signs, uses, image, inputs, outputs, parameters,
    exit_codes.
    Errors: ContractError, naming the line.
    """
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"), filename=str(source))
    except SyntaxError as error:
        msg = f"{source.name}:{error.lineno}: not valid Python: {error.msg}"
        raise ContractError(msg) from error
    found = [
        _program(source, node, call)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and (call := _decorator(node)) is not None
    ]
    if not found:
        msg = f"{source.name}: no function is marked @program()"
        raise ContractError(msg)
    return found


def _decorator(node: ast.FunctionDef) -> ast.Call | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "program":
            return decorator
    return None


def _program(source: Path, node: ast.FunctionDef, call: ast.Call) -> dict[str, Any]:
    marks = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    if node.args.vararg or node.args.kwarg:
        raise _error(source, node, "a contract cannot have *args or **kwargs; name each file and setting")
    summary, helps = _docstring(ast.get_docstring(node) or "")
    if not summary:
        raise _error(source, node, f"{node.name} needs a docstring: its first sentence is the help")
    inputs, outputs = [], []
    for argument in [*node.args.posonlyargs, *node.args.args]:
        way, kind, optional = _file(source, argument)
        if way == "In":
            inputs.append({"name": argument.arg, "type": kind, "optional": optional})
        else:
            outputs.append({"name": argument.arg, "type": kind})
    parameters = [
        _parameter(source, argument, default, helps.get(argument.arg, ""))
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]
    unknown = [use for use in marks.get("uses", ()) if use not in USES]
    if unknown:
        raise _error(source, node, f"unknown use {unknown[0]!r}; known: {', '.join(USES)}")
    contract = {
        "program": node.name.replace("_", "-"),
        "function": node.name,
        "help": summary,
        "gate": bool(marks.get("gate", False)),
        "signs": bool(marks.get("signs", False)),
        "uses": list(marks.get("uses", ())),
        "image": str(marks.get("image", "")),
        "inputs": inputs,
        "outputs": outputs,
        "parameters": parameters,
        "exit_codes": dict(EXIT_CODES),
    }
    if contract["signs"]:
        signed_place(contract)
    return contract


def is_additional(contract: Mapping[str, Any]) -> bool:
    """Return whether a program is an additional gate: a model's own step, marked `gate=True` alone.

    It signs its verdict, and nothing else.
    """
    kinds = [output["type"] for output in contract["outputs"]]
    return bool(contract["gate"] and not contract["signs"] and kinds.count(ADDITIONAL) == 1)


def signed_place(contract: Mapping[str, Any]) -> str:
    """Return the place of a signing program's record below the outputs: its signed file, or record.json in a folder."""
    outputs: Sequence[Mapping[str, str]] = contract["outputs"]
    if is_additional(contract):
        return next(output["name"] for output in outputs if output["type"] == ADDITIONAL)
    for output in outputs:
        if output["type"] in SIGNED_FILES:
            return output["name"]
    for output in outputs:
        if is_folder(output["type"]):
            return f"{output['name']}/record.json"
    msg = f"{contract['program']} signs, so it needs an Out of one of {', '.join(SIGNED_FILES)}, or a folder"
    raise ContractError(msg)


def _file(source: Path, argument: ast.arg) -> tuple[str, str, bool]:
    annotation, optional = argument.annotation, False
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        annotation, optional = annotation.left, True
    match annotation:
        case ast.Subscript(value=ast.Name(id="In" | "Out" as way), slice=ast.Name(id=kind)) if kind in _KINDS:
            return way, kind, optional
    raise _error(
        source,
        argument,
        f"{argument.arg}: a positional parameter is a file, written In[Kind] or Out[Kind] with a Kind of "
        f"{', '.join(sorted(_KINDS))}; a setting comes after the *",
    )


def _parameter(source: Path, argument: ast.arg, default: ast.expr | None, text: str) -> dict[str, Any]:
    enum: list[str] | None = None
    match argument.annotation:
        case ast.Name(id=name) if name in SCALARS:
            kind = SCALARS[name]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=options):
            values = ast.literal_eval(options)
            enum = [str(value) for value in (values if isinstance(values, tuple) else (values,))]
            kind = "string"
        case _:
            raise _error(source, argument, f"{argument.arg}: a setting is str, int, float, bool or Literal[...]")
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError:
        raise _error(source, argument, f"{argument.arg}: its default must be a literal") from None
    return {"name": argument.arg, "type": kind, "default": value, "enum": enum, "help": text}


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the first paragraph, and the `name: help` lines after it (indented lines continue)."""
    lines = text.splitlines()
    summary = " ".join(line.strip() for line in _until_blank(lines))
    helps: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        head, colon, rest = line.partition(": ")
        if colon and head.isidentifier():
            name, helps[head] = head, rest.strip()
        elif name and line.startswith(" ") and line.strip():
            helps[name] += f" {line.strip()}"
        else:
            name = ""
    return summary, helps


def _until_blank(lines: list[str]) -> list[str]:
    return lines[: next((index for index, line in enumerate(lines) if not line.strip()), len(lines))]


def _error(source: Path, node: ast.AST, message: str) -> ContractError:
    return ContractError(f"{source.name}:{getattr(node, 'lineno', '?')}: {message}")
