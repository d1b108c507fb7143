"""Parse the expressions of a manifest: a subset of expr-lang, and of govaluate in `when`.

Anything outside the subset is an `ExpressionError`. Names and operators follow
https://expr-lang.org/docs/language-definition as the controller compiles it; `when` follows govaluate,
where a bare word is a string.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn


class ExpressionError(ValueError):
    """An expression that cannot be parsed, or cannot be evaluated with the given values."""


class Unfinished(ExpressionError):
    """An expression that ends too early."""


@dataclass(frozen=True)
class Literal:
    """A number, a string, true, false or nil."""

    value: str | int | float | bool | None


@dataclass(frozen=True)
class Name:
    """A variable."""

    name: str


@dataclass(frozen=True)
class Member:
    """`of.key`, or `of[key]` with a literal key."""

    of: "Node"
    key: str | int


@dataclass(frozen=True)
class Call:
    """A function and its arguments."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True)
class Unary:
    """`!x`, `-x` or `+x`."""

    operator: str
    operand: "Node"


@dataclass(frozen=True)
class Binary:
    """Two operands and their operator."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True)
class Conditional:
    """`condition ? then : otherwise`."""

    condition: "Node"
    then: "Node"
    otherwise: "Node"


@dataclass(frozen=True)
class Array:
    """`[a, b]`, or `(a, b)` in `when`."""

    items: tuple["Node", ...]


Node = Literal | Name | Member | Call | Unary | Binary | Conditional | Array

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`)
    |(?P<word>[A-Za-z_$][A-Za-z0-9_$]*)
    |(?P<mark>\?\?|==|!=|<=|>=|&&|\|\||\*\*|=~|!~|[-<>!+*/%^?:.,()\[\]]))""",
    re.VERBOSE | re.DOTALL,
)
_BINDING = {"||": 10, "&&": 15, "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60, "**": 100, "??": 500}
_COMPARISONS = ("==", "!=", "<", ">", ">=", "<=", "=~", "!~", "in", "matches", "contains", "startsWith", "endsWith")
_BINDING |= dict.fromkeys(_COMPARISONS, 20)
_NEGATABLE = ("in", "matches", "contains", "startsWith", "endsWith")
_SYNONYMS = {"and": "&&", "or": "||", "not": "!", "^": "**"}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


def parse(text: str) -> Node:
    """Parse one expression; anything after it is an error."""
    return _Parser(text).whole()


def parse_when(text: str) -> Node:
    """Parse a `when`, in which a bare word is a string and `(a, b)` a list."""
    return _Parser(text, words_are_text=True).whole()


def show(node: Node) -> str:
    """Write an expression so that `parse` returns it unchanged."""
    match node:
        case Literal(value):
            constants = {True: "true", False: "false", None: "nil"}
            return (
                constants[value] if value is None or isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
            )
        case Name(name):
            return name
        case Member(of, key):
            return f"{_wrapped(of)}[{json.dumps(key, ensure_ascii=False)}]"
        case Call(function, arguments):
            return f"{function}({', '.join(map(show, arguments))})"
        case Unary(operator, operand):
            return f"{operator}{_wrapped(operand)}"
        case Binary(operator, left, right):
            return f"{_wrapped(left)} {operator} {_wrapped(right)}"
        case Conditional(condition, then, otherwise):
            return f"{_wrapped(condition)} ? {_wrapped(then)} : {_wrapped(otherwise)}"
        case Array(items):
            return f"[{', '.join(map(show, items))}]"


def _wrapped(node: Node) -> str:
    return show(node) if isinstance(node, Name | Call | Member | Array) else f"({show(node)})"


def children(node: Node) -> tuple[Node, ...]:
    """Return the direct child nodes of an expression."""
    match node:
        case Call(_, nodes) | Array(nodes):
            return nodes
        case Member(of, _) | Unary(_, of):
            return (of,)
        case Binary(_, left, right):
            return (left, right)
        case Conditional(condition, then, otherwise):
            return (condition, then, otherwise)
        case Literal() | Name():
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield an expression and every node within it."""
    yield node
    for child in children(node):
        yield from walk(child)


def paths(node: Node) -> Iterator[str]:
    """Yield every variable that an expression reads, with its keys as far as they are literal.

    On the left of `??` only the first name: what is missing there is not an error.
    """
    match node:
        case Name(name):
            yield name
        case Member():
            yield _dotted(node)
        case Binary("??", left, right):
            yield from (path.partition(".")[0] for path in paths(left))
            yield from paths(right)
        case _:
            for child in children(node):
                yield from paths(child)


def _dotted(node: Member) -> str:
    match node.of:
        case Member() as outer:
            return f"{_dotted(outer)}.{node.key}"
        case Name(name):
            return f"{name}.{node.key}"
        case other:
            return next(paths(other), "")


class _Parser:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, text: str, *, words_are_text: bool = False) -> None:
        self._text = text
        self._words_are_text = words_are_text
        self._tokens = list(_tokens(text))
        self._at = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if self._peek() != ("end", ""):
            self._unexpected()
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _take(self, *marks: str) -> bool:
        kind, value = self._peek()
        if kind in ("mark", "word") and value in marks:
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            self._unexpected()

    def _unexpected(self) -> NoReturn:
        kind, value = self._peek()
        if kind == "end":
            message = f"expression {self._text!r} cannot be parsed: it ends too early"
            raise Unfinished(message)
        message = f"expression {self._text!r} cannot be parsed at {value!r}"
        raise ExpressionError(message)

    def _operator(self) -> tuple[str, bool]:
        """Return the next binary operator (or an empty string), and whether `not` precedes it."""
        kind, value = self._peek()
        if kind not in ("mark", "word"):
            return "", False
        if value == "not" and self._tokens[self._at + 1][1] in _NEGATABLE:
            return self._tokens[self._at + 1][1], True
        value = _SYNONYMS.get(value, value)
        return (value if value in _BINDING else ""), False

    def _expression(self, binding: int) -> Node:
        left = self._primary()
        compared = coalesced = False
        while True:
            operator, negated = self._operator()
            if not operator or _BINDING[operator] < binding:
                break
            if coalesced and operator != "??":  # expr-lang requires parentheses around either
                self._unexpected()
            coalesced = operator == "??"
            if operator in ("<", ">", "<=", ">="):
                if compared:  # expr-lang chains these, govaluate does not: refuse the ambiguity
                    self._unexpected()
                compared = True
            self._at += 2 if negated else 1
            right = self._expression(_BINDING[operator] + (0 if operator == "**" else 1))
            left = Binary(operator, left, right)
            left = Unary("!", left) if negated else left
        if binding == 0 and self._take("?"):
            then = self._expression(0)
            self._expect(":")
            return Conditional(left, then, self._expression(0))
        return left

    def _primary(self) -> Node:
        kind, value = self._peek()
        for sign, binding in (("!", 50), ("not", 50), ("-", 90), ("+", 90)):
            if self._take(sign):
                return Unary(_SYNONYMS.get(sign, sign), self._expression(binding))
        self._at += 1
        node: Node
        match kind, value:
            case "number", _:
                node = Literal(int(value) if value.isdecimal() else float(value))
            case "text", _:
                node = Literal(_unquoted(value))
            case "word", _ if value in _CONSTANTS:
                node = Literal(_CONSTANTS[value])
            case "word", _ if self._words_are_text:
                node = Literal(value)
            case "word", _ if self._take("("):
                node = Call(value, self._items(")"))
            case "word", _:
                node = Name(value)
            case "mark", "(":
                items = self._items(")")
                if len(items) != 1 and not self._words_are_text:
                    self._unexpected()
                node = items[0] if len(items) == 1 else Array(items)
            case "mark", "[":
                node = Array(self._items("]"))
            case _:
                self._at -= 1
                self._unexpected()
        return self._members(node)

    def _items(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._take(closing):
            if items:
                self._expect(",")
            items.append(self._expression(0))
        return tuple(items)

    def _members(self, node: Node) -> Node:
        while True:
            if self._take("."):
                kind, value = self._peek()
                if kind != "word":
                    self._unexpected()
                self._at += 1
                node = Member(node, value)
            elif self._take("["):
                kind, value = self._peek()
                if kind == "text":
                    node = Member(node, _unquoted(value))
                elif kind == "number" and value.isdecimal():
                    node = Member(node, int(value))
                else:
                    self._unexpected()
                self._at += 1
                self._expect("]")
            else:
                return node


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if not found or found.lastgroup is None:
            message = f"expression {text!r} cannot be parsed at {text[at:].strip()[:12]!r}"
            raise ExpressionError(message)
        yield found.lastgroup, found.group(found.lastgroup)
        at = found.end()
    yield "end", ""


def _unquoted(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]

    def plain(escape: re.Match[str]) -> str:
        code = escape[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", plain, token[1:-1], flags=re.DOTALL)
