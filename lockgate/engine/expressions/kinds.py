"""What the controller's compiler refuses before an expression runs, even in a part that never would."""

from collections.abc import Mapping
from typing import Any

from lockgate.engine.expressions.expressions import (
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
# What each operator takes on both sides, of what is known.
_TAKES = {
    **dict.fromkeys(("&&", "||"), ({"flag"},)),
    **dict.fromkeys(("<", ">", "<=", ">="), ({"number"}, {"text"})),
    **dict.fromkeys(("-", "*", "/", "%", "**"), ({"number"},)),
    **dict.fromkeys(("matches", "contains", "startsWith", "endsWith"), ({"text"},)),
    **dict.fromkeys(("==", "!="), ({"flag"}, {"number"}, {"text"}, {"list"})),
    "+": ({"number"}, {"text"}),
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
            case Binary("in", _, right) if _kind(right, values) in ("flag", "number", "text"):
                _refuse(f"in looks into a list, not a {_kind(right, values)}")
            case Binary(operator, left, right) if operator in _TAKES:
                _fit(operator, {_kind(left, values), _kind(right, values)} - {""}, _TAKES[operator])
            case Unary(operator, operand):
                _fit(operator, {_kind(operand, values)} - {""}, ({"flag" if operator == "!" else "number"},))
            case Conditional(condition, _, _):
                _fit("?", {_kind(condition, values)} - {""}, ({"flag"},))
            case _:
                pass


def kind_of(value: object) -> str:
    """The kind of a value, where it is one that operators tell apart."""
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else ""


def _kind(node: Node, values: Mapping[str, Any]) -> str:
    """What is known of a value before it exists: all of a plain variable, nothing of a member or a call."""
    match node:
        case Literal(value):
            return kind_of(value)
        case Name(name):
            return kind_of(values.get(name))
        case Array():
            return "list"
        case Unary("!", _):
            return "flag"
        case Binary(operator, _, _) if operator in _COMPARES or operator in ("&&", "||", "in"):
            return "flag"
        case Conditional(_, then, otherwise):
            return _kind(then, values) if _kind(then, values) == _kind(otherwise, values) else ""
        case _:
            return ""


def _fit(operator: str, kinds: set[str], taken: tuple[set[str], ...]) -> None:
    if not any(kinds <= each for each in taken):
        _refuse(f"{operator} does not take {' and '.join(sorted(kinds))}: convert one, for example by asInt()")


def _refuse(message: str) -> None:
    raise ExpressionError(message)
