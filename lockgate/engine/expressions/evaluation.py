"""Evaluate an expression, a `when` and a `depends` as the controller does."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from lockgate.engine.expressions.kinds import check, kind_of
from lockgate.engine.expressions.parser import (
    Array,
    Binary,
    Call,
    Conditional,
    ExpressionError,
    Literal,
    Member,
    Name,
    Node,
    Unary,
    Unfinished,
    parse,
    parse_when,
)

RESULTS = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed")
_RESULT = {"Error": "Errored"}
_TASK = re.compile(r"([a-zA-Z0-9][-a-zA-Z0-9]*?)\.([A-Z][a-zA-Z]+)|([a-zA-Z0-9][-a-zA-Z0-9]*)")
_BARE = ("Succeeded", "Skipped", "Daemoned")


def decide(text: str, values: Mapping[str, Any]) -> bool:
    """Return whether an expression is true; a value other than true or false is an error."""
    node = parse(text)
    check(node, values)
    return _flag(evaluate(node, values), text)


def decide_when(text: str) -> bool:
    """Return whether a `when` is true; its tags are already replaced."""
    try:
        value = evaluate(parse_when(text), {})
    except ExpressionError as error:
        why = "Unexpected end of expression" if isinstance(error, Unfinished) else error
        message = f"Invalid 'when' expression '{text}': {why}"
        raise ExpressionError(message) from error
    if not isinstance(value, bool):
        _fail(f"Expected boolean evaluation for '{text}'. Got {shown(value)}")
    return bool(value)


def continues(task: Mapping[str, Any], phase: str) -> bool:
    """Return whether `continueOn` lets the tasks or steps after this one run although it ended in this phase."""
    allowed = task.get("continueOn") or {}
    return bool((phase == "Failed" and allowed.get("failed")) or (phase == "Error" and allowed.get("error")))


def depends_logic(task: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, bool], str]:
    """Return the tasks that a task depends on, and its condition with every bare name expanded.

    tasks: the tasks of the dag, by name.
    The value of a dependency is true if the condition reads a result of its items.
    """
    text = task.get("depends") or " && ".join(task.get("dependencies") or ())
    waits: dict[str, bool] = {}

    def spelled(found: re.Match[str]) -> str:
        name, result, bare = found.groups()
        waits[name or bare] = waits.get(name or bare, False) or result in ("AnySucceeded", "AllFailed")
        if not bare:
            return f"{name}.{result}"
        results = [
            *_BARE,
            *(_RESULT.get(phase, phase) for phase in ("Error", "Failed") if continues(tasks.get(bare, {}), phase)),
        ]
        return f"({' || '.join(f'{bare}.{each}' for each in results)})"

    return waits, _TASK.sub(spelled, text)


def decide_depends(logic: str, phases: Mapping[str, str], items: Mapping[str, list[str]]) -> bool:
    """Return whether a condition from `depends_logic` is true for the phases of its tasks.

    items: the phases of a loop's items. Daemons are not executed here, so that result is always false.
    """
    values = {}
    for task, phase in phases.items():
        each = items.get(task, [])
        met = {name: name == _RESULT.get(phase, phase) for name in RESULTS}
        met |= {"AnySucceeded": "Succeeded" in each, "AllFailed": bool(each) and set(each) == {"Failed"}}
        values[task.replace("-", "_")] = met
    return decide(logic.replace("-", "_"), values)


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted names as nested mappings; `a.b` replaces `a`."""
    nested: dict[str, Any] = {}
    for name in sorted(values):
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        place[last] = values[name]
    return nested


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """Return the value of an expression with these variables."""
    match node:
        case Literal(value):
            return value
        case Name(name):
            if name not in values:
                _fail(f"unknown name {name}")
            return values[name]
        case Member(of, key):
            return _member(evaluate(of, values), key)
        case Array(items):
            return [evaluate(item, values) for item in items]
        case Call(function, arguments):
            return _call(function, [evaluate(argument, values) for argument in arguments])
        case Unary(operator, operand):
            return _unary(operator, evaluate(operand, values))
        case Conditional(condition, then, otherwise):
            return evaluate(then if _flag(evaluate(condition, values)) else otherwise, values)
        case Binary("&&" | "||" as operator, left, right):
            first = _flag(evaluate(left, values))
            return first if first == (operator == "||") else _flag(evaluate(right, values))
        case Binary("??", left, right):
            value = evaluate(left, values)
            return evaluate(right, values) if value is None else value
        case Binary(operator, left, right):
            return _binary(operator, evaluate(left, values), evaluate(right, values))


def _fail(message: str) -> None:
    raise ExpressionError(message)


def _flag(value: object, text: str = "") -> bool:
    if not isinstance(value, bool):
        message = f"{text or 'a condition'} evaluates to {shown(value)!r}, not to true or false"
        raise ExpressionError(message)
    return value


def _member(of: object, key: str | int) -> object:
    if isinstance(of, dict):
        return of.get(key)  # a key that is not in a mapping is nil
    if isinstance(of, list) and isinstance(key, int) and key < len(of):
        return of[key]
    message = f"there is no member {key}"
    raise ExpressionError(message)


def _call(function: str, arguments: list[Any]) -> Any:
    if len(arguments) != 1:
        _fail(f"{function} takes one argument")
    (value,) = arguments
    match function:
        case "asInt" | "int" if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value):
            return int(value)
        case "asInt" | "int" if kind_of(value) == "number":
            return int(value)
        case "asFloat" | "float" if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", value):
            return float(value)
        case "asFloat" | "float" if kind_of(value) == "number":
            return float(value)
        case "string" if isinstance(value, str | int | float):
            return shown(value)
        case "len" if isinstance(value, str | list | dict):
            return len(value)
        case "trim" if isinstance(value, str):
            return value.strip()
        case "lower" if isinstance(value, str):
            return value.lower()
        case "upper" if isinstance(value, str):
            return value.upper()
    message = f"{function}({shown(value)}) cannot be evaluated"
    raise ExpressionError(message)


def _unary(operator: str, value: Any) -> Any:
    if operator == "!":
        return not _flag(value)
    if kind_of(value) != "number":
        _fail(f"{operator} needs a number, not {shown(value)!r}")
    return -value if operator == "-" else value


def _binary(operator: str, left: Any, right: Any) -> Any:
    kinds = {kind_of(left), kind_of(right)}
    match operator:
        case "==":
            return kinds != {"boolean", "number"} and left == right
        case "!=":
            return kinds == {"boolean", "number"} or left != right
        case "in":
            if isinstance(right, list | dict):
                return any(_binary("==", left, each) for each in right)
        case "matches" | "=~" | "!~" if kinds == {"string"}:
            try:
                return (re.search(right, left) is not None) == (operator != "!~")
            except re.error as error:
                message = f"{right!r} is not a valid pattern: {error}"
                raise ExpressionError(message) from error
        case "contains" if kinds == {"string"}:
            return right in left
        case "startsWith" if kinds == {"string"}:
            return left.startswith(right)
        case "endsWith" if kinds == {"string"}:
            return left.endswith(right)
        case "<" | ">" | "<=" | ">=" if kinds in ({"number"}, {"string"}):
            return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[operator]
        case "+" if kinds == {"string"}:
            return left + right
        case "+" | "-" | "*" | "/" | "**" if kinds == {"number"}:
            return _arithmetic(operator, left, right)
        case "%" if type(left) is type(right) is int:
            return _arithmetic(operator, left, right)
    message = f"{shown(left)!r} {operator} {shown(right)!r} cannot be evaluated"
    raise ExpressionError(message)


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    try:
        match operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right
            case "%":
                return int(math.fmod(left, right))  # with the sign of the left operand, as in Go
            case _:
                return float(left) ** right
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        message = f"{left} {operator} {right} cannot be evaluated"
        raise ExpressionError(message) from error


def shown(value: object) -> str:
    """Return a value as the controller writes it into a string."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)
