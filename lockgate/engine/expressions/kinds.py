"""Refuse what the controller's compiler refuses before an expression runs, even in a part that is never evaluated."""

from collections.abc import Mapping
from typing import Any

from lockgate.engine.expressions.parser import (
    Array,
    Binary,
    Call,
    Conditional,
    ExpressionError,
    Literal,
    Name,
    Node,
    Unary,
    walk,
)

FUNCTIONS = frozenset({"asInt", "int", "asFloat", "float", "string", "len", "trim", "lower", "upper"})
_COMPARES = ("==", "!=", "<", ">", "<=", ">=")
# The kinds that each operator takes; both sides must be of one set.
_TAKES = {
    **dict.fromkeys(("&&", "||"), ({"boolean"},)),
    **dict.fromkeys(("<", ">", "<=", ">="), ({"number"}, {"string"})),
    **dict.fromkeys(("-", "*", "/", "%", "**"), ({"number"},)),
    **dict.fromkeys(("matches", "contains", "startsWith", "endsWith"), ({"string"},)),
    **dict.fromkeys(("==", "!="), ({"boolean"}, {"number"}, {"string"}, {"list"})),
    "+": ({"number"}, {"string"}),
}


def check(node: Node, values: Mapping[str, Any]) -> None:
    """Refuse unknown names, unknown functions, and operators on kinds they do not take.

    Errors: ExpressionError.
    """
    for each in walk(node):
        match each:
            case Name(name) if name not in values:
                _refuse(f"unknown name {name}")
            case Call(function, _) if function not in FUNCTIONS:
                _refuse(f"unknown function {function}; known here: {', '.join(sorted(FUNCTIONS))}")
            case Binary("in", _, right) if _kind(right, values) in ("boolean", "number", "string"):
                _refuse(f"in needs a list on its right, not a {_kind(right, values)}")
            case Binary(operator, left, right) if operator in _TAKES:
                _fit(operator, {_kind(left, values), _kind(right, values)} - {""}, _TAKES[operator])
            case Unary(operator, operand):
                _fit(operator, {_kind(operand, values)} - {""}, ({"boolean" if operator == "!" else "number"},))
            case Conditional(condition, _, _):
                _fit("?", {_kind(condition, values)} - {""}, ({"boolean"},))
            case _:
                pass


def kind_of(value: object) -> str:
    """Return the kind of a value if operators distinguish it, else an empty string."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else ""


def _kind(node: Node, values: Mapping[str, Any]) -> str:
    """Return the kind of a node before it is evaluated; unknown for a member or a call."""
    match node:
        case Literal(value):
            return kind_of(value)
        case Name(name):
            return kind_of(values.get(name))
        case Array():
            return "list"
        case Unary("!", _):
            return "boolean"
        case Binary(operator, _, _) if operator in _COMPARES or operator in ("&&", "||", "in"):
            return "boolean"
        case Conditional(_, then, otherwise):
            return _kind(then, values) if _kind(then, values) == _kind(otherwise, values) else ""
        case _:
            return ""


def _fit(operator: str, kinds: set[str], taken: tuple[set[str], ...]) -> None:
    if not any(kinds <= each for each in taken):
        _refuse(f"{operator} does not take {' and '.join(sorted(kinds))}: convert one, for example with asInt()")


def _refuse(message: str) -> None:
    raise ExpressionError(message)
