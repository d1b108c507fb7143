"""Runs a program: arguments and files in, exit code out. Only this module of the SDK exits."""

import argparse
import errno
import inspect
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar, assert_never

from lockgate_step import layout
from lockgate_step._contract import EXIT_CODES, is_additional, is_folder, read_contract, signed_place
from lockgate_step._digest import canonical, file_digest, sha256
from lockgate_step._errors import BadCall, LockgateError, OutsideFailed
from lockgate_step._files import In, Out
from lockgate_step._log import log
from lockgate_step._outcome import Inconclusive, NotJudged, Outcome, Passed, Record, Refused
from lockgate_step._private import no_core_files
from lockgate_step._visible import visible

F = TypeVar("F", bound=Callable[..., object])

_TERMINATION_BYTES = 4096
_SHOWN = ("id", "rule", "message", "lines", "why", "waived_by")  # the part of a reason in the termination message
# Readers raise these if a file is damaged or of the wrong kind. Names, because the SDK imports no reader.
_UNREADABLE = {"ArrowInvalid", "JSONDecodeError", "TOMLDecodeError", "BadZipFile", "BadGzipFile", "UnicodeDecodeError"}


def program(*, gate: bool = False, signs: bool = False, uses: Sequence[str] = (), image: str = "") -> Callable[[F], F]:
    """Mark a function as a program; its contract is read from the source, so the marks must be literals.

    gate: it can refuse; its function returns Passed, Refused, Inconclusive or NotJudged. A model's own step with this
        mark alone is an additional gate: its verdict is signed with a key of its own, and it cannot return NotJudged.
    signs: what it returns is signed with its own key and written to its signed output; `lockgate_proof.main` runs it.
    uses: the external services it connects to, of `store`, `registry` and `platform`.
    image: the image it runs in, if it is not its own step's.
    """
    del gate, signs, uses, image
    return lambda function: function


def io_root() -> Path:
    """Return the only folder that a program reads or writes: `$LOCKGATE_IO`, by default `/lockgate`."""
    return Path(os.environ.get("LOCKGATE_IO", layout.IO))


class Sealer(Protocol):
    """Signs an outcome. `lockgate_proof` provides it, because signing needs more than the standard library."""

    def __call__(self, outcome: Outcome, contract: Mapping[str, Any], root: Path) -> tuple[bytes, Mapping[str, Any]]:
        """Return the bytes of the signed record, and its predicate."""


def main(*functions: Callable[..., object], sealer: Sealer | None = None) -> NoReturn:
    """Run the program that the arguments name, and exit with its code.

    sealer: signs what the program returns. A program that signs is run by `lockgate_proof.main`, which passes it.
    """
    no_core_files()
    try:
        source = Path(inspect.getsourcefile(functions[0]) or "")
        contracts = {contract["function"]: contract for contract in read_contract(source)}
        programs = [(function, contracts[function.__name__]) for function in functions]
        if sealer is None:
            _check_unsigned(contract for _, contract in programs)
        code = _main(programs, sys.argv[1:], sealer)
    except LockgateError as error:
        code = _failed(error)
    except MemoryError:  # it would come again, as for a step that the kernel ends
        code = _failed(BadCall("out of memory", fix="give the step more memory, or fewer rows"))
    except Exception as error:
        code = _bug(error)
    sys.exit(code)


def _failed(error: LockgateError) -> int:
    """Say what is wrong in the log and in the termination message; return the exit code."""
    code, meaning = error.exit_code, EXIT_CODES[str(error.exit_code)]
    log("error", code=code, meaning=meaning, message=error.message, fix=error.fix)
    _terminate({"error": error.message, "fix": error.fix})
    return code


def _check_unsigned(contracts: Iterable[Mapping[str, Any]]) -> None:
    """Refuse programs that sign: without a sealer their result would stay unsigned."""
    for contract in contracts:
        if contract["signs"] or contract["gate"]:
            msg = f"{contract['program']} signs what it returns, and lockgate_step.main cannot sign"
            raise BadCall(msg, fix="import main from lockgate_proof in the program's file, not from lockgate_step")


def _main(
    programs: Sequence[tuple[Callable[..., object], Mapping[str, Any]]], arguments: list[str], sealer: Sealer | None
) -> int:
    function, contract, settings = _parse(programs, arguments)
    root = io_root()
    scratch = root / layout.TMP
    if scratch.is_dir():
        tempfile.tempdir = str(scratch)
    files: list[In[Any] | Out[Any] | None] = []
    _check_pins(root / layout.IN)
    order = _positional(function)
    inputs = {entry["name"]: entry for entry in contract["inputs"]}
    outputs = {entry["name"]: entry for entry in contract["outputs"]}
    for name in order:
        files.append(_input(root, inputs[name]) if name in inputs else _output(root, outputs[name]))
    try:
        outcome = function(*files, **settings)
        return _finish(outcome, contract, root, sealer)
    except SystemExit as error:
        if not contract["signs"] and not contract["gate"]:
            raise
        msg = f"{contract['program']} exited with {error.code} before it returned a result to sign"
        raise RuntimeError(msg) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            msg = f"{contract['program']}: the disk is full"
            raise OutsideFailed(msg, fix="free space or give the step a larger volume, then run again") from error
        raise
    except Exception as error:
        if type(error).__name__ in _UNREADABLE and not isinstance(error, LockgateError):
            log("unreadable", kind=type(error).__name__, where=_position(error))
            kind = type(error).__name__
            msg = f"{contract['program']}: an input file is damaged or of the wrong kind ({kind})"
            raise BadCall(
                msg, fix="check the step that wrote it; the log line before this one shows where reading failed"
            ) from error
        raise


class _Parser(argparse.ArgumentParser):
    """Reports an invalid call as other errors are reported: in the log, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise BadCall(message, fix=f"show the files and settings with: {self.prog} --help")


def _parse(
    programs: Sequence[tuple[Callable[..., object], Mapping[str, Any]]], arguments: list[str]
) -> tuple[Callable[..., object], Mapping[str, Any], dict[str, Any]]:
    parser = _Parser(
        prog=f"python -m {_module()}",
        epilog="exit codes: " + " · ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()),
        allow_abbrev=False,
    )
    if len(programs) == 1:
        _describe(parser, programs[0][1])
        chosen = programs[0]
        namespace = parser.parse_args(arguments)
    else:
        commands = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
        for _, contract in programs:
            sub = commands.add_parser(
                contract["program"], help=contract["help"], epilog=parser.epilog, allow_abbrev=False
            )
            _describe(sub, contract)
        namespace = parser.parse_args(arguments)
        chosen = next(pair for pair in programs if pair[1]["program"] == namespace.program)
    function, contract = chosen
    return function, contract, {p["name"]: getattr(namespace, p["name"]) for p in contract["parameters"]}


def _describe(parser: argparse.ArgumentParser, contract: Mapping[str, Any]) -> None:
    files = [
        f"  {layout.IN}/{i['name']}  {i['type']}{'  (optional)' if i['optional'] else ''}" for i in contract["inputs"]
    ]
    files += [f"  {layout.OUT}/{o['name']}  {o['type']}" for o in contract["outputs"]]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "\n".join([contract["help"], "", f"files below $LOCKGATE_IO ({io_root()}):", *files])
    readers: dict[str, Callable[[str], object]] = {
        "string": str, "integer": int, "number": float, "boolean": _boolean,
    }  # fmt: skip
    for parameter in contract["parameters"]:
        default = parameter["default"]
        parser.add_argument(
            f"--{parameter['name'].replace('_', '-')}",
            type=readers[parameter["type"]],
            default=default,
            required=default is None,
            choices=parameter["enum"],
            help=f"{parameter['help']} (default: {default!r})".replace("%", "%%").strip(),
        )


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    msg = f"{text!r} is neither true nor false"
    raise argparse.ArgumentTypeError(msg)


def _module() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec is not None else Path(sys.argv[0]).stem
    return name.removesuffix(".__main__")


def _positional(function: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _check_pins(folder: Path) -> None:
    """Refuse an input that differs from the one the template was rendered with."""
    for name, wanted in json.loads(os.environ.get("LOCKGATE_PINS") or "{}").items():
        path = folder / name
        found = file_digest(path) if path.is_file() else "nothing"
        if found != wanted:
            msg = f"input {name} is not the one this workflow was rendered with: {found}, not {wanted}"
            raise BadCall(msg, fix="start the rendered workflow without your own artifact for this input")


def _input(root: Path, entry: Mapping[str, Any]) -> In[Any] | None:
    path = root / layout.IN / entry["name"]
    present = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if not present:
        if entry["optional"]:
            return None
        msg = f"input {entry['name']} ({entry['type']}) is missing"
        raise BadCall(msg, fix=f"put it at {path}")
    if path.is_dir() != is_folder(entry["type"]):
        wanted = "a folder" if is_folder(entry["type"]) else "a file"
        msg = f"input {entry['name']} ({entry['type']}) must be {wanted}"
        raise BadCall(msg, fix=f"check the program that wrote {path}")
    return In(path)


def _output(root: Path, entry: Mapping[str, Any]) -> Out[Any]:
    path = root / layout.OUT / entry["name"]
    (path if is_folder(entry["type"]) else path.parent).mkdir(parents=True, exist_ok=True)
    return Out(path)


def _finish(outcome: object, contract: Mapping[str, Any], root: Path, sealer: Sealer | None) -> int:
    match outcome:
        case None if not contract["signs"] and not contract["gate"]:
            return 0
        case Record() | Passed() | NotJudged() | Refused() | Inconclusive() if contract["signs"] and sealer is not None:
            pass
        case Passed() | Refused() | Inconclusive() if is_additional(contract) and sealer is not None:
            pass
        case _:
            msg = f"{contract['program']} returned {type(outcome).__name__}, which its contract does not allow"
            raise TypeError(msg)
    content, predicate = sealer(outcome, contract, root)
    place = root / layout.OUT / signed_place(contract)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    if isinstance(outcome, Record):
        return 0
    return _verdict(predicate, sha256(content))


def _verdict(predicate: Mapping[str, Any], digest: str) -> int:
    """Report the signed result; it differs from the gate's own result if waivers cover every reason."""
    result = predicate["result"]
    reasons, notes = predicate["reasons"], predicate["notes"]
    log("verdict", result=result, digest=digest, reasons=[f"{r['id']}: {r['message']}" for r in reasons], notes=notes)
    shown = [{key: reason[key] for key in _SHOWN} for reason in reasons]
    _terminate({"result": result, "verdict": digest, "reasons": shown, "notes": notes})
    match result:
        case "passed" | "not_judged":
            return 0
        case "refused" | "inconclusive":
            return 3
        case _ as never:
            assert_never(never)


def _terminate(message: Mapping[str, Any]) -> None:
    """Write the result as the termination message of Kubernetes, so that it is kept even if the store is down."""
    try:
        (io_root() / layout.TERMINATION).write_bytes(_fitting(message))
    except OSError as error:
        log("no-termination-message", problem=error.strerror or "")


def _fitting(message: Mapping[str, Any]) -> bytes:
    """Shorten a message to what Kubernetes keeps, as JSON: without explanations, then without the last reasons."""
    while len(data := visible(canonical(message).decode(), keep="\n").encode()) > _TERMINATION_BYTES:
        reasons = list(message.get("reasons", ()))
        explained = [at for at, reason in enumerate(reasons) if reason["lines"] or reason["why"]]
        if message.get("notes"):
            message = {**message, "notes": []}
        elif explained:
            reasons[explained[-1]] = {**reasons[explained[-1]], "lines": [], "why": ""}
            message = {**message, "reasons": reasons}
        elif reasons:
            message = {**message, "reasons": reasons[:-1], "left_out": message.get("left_out", 0) + 1}
        else:
            return data[:_TERMINATION_BYTES]
    return data


def _position(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _bug(error: BaseException) -> int:
    if os.environ.get("LOCKGATE_DEBUG") == "1":
        traceback.print_exception(error)
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    log(
        "bug",
        kind=type(error).__name__,
        at=frames,
        fix="run again with LOCKGATE_DEBUG=1 to see the message; it may contain data",
    )
    return 1


__all__ = ["Sealer", "io_root", "main", "program"]
