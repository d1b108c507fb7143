"""Expressions: parse, show and evaluate; `depends` against an oracle that does not use the parser."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.engine.expressions.evaluation import decide, decide_depends, decide_when, depends_logic, evaluate, expand
from lockgate.engine.expressions.kinds import check
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
    parse,
    show,
)
from lockgate.rendering.manifest import RETRY

RESERVED = {"true", "false", "nil", "and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith"}
WORDS = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True).filter(lambda word: word not in RESERVED)
NUMBERS = st.integers(0, 10**12) | st.floats(0, 1e300, allow_nan=False).filter(lambda x: not x.is_integer() or x < 1e15)
LITERALS = st.builds(Literal, st.text(max_size=8) | NUMBERS | st.booleans() | st.none())
OPERATORS = ["||", "&&", "==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "**", "??"]
OPERATORS += ["in", "matches", "contains", "startsWith", "endsWith"]


def grown(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """Return a strategy of expressions built from smaller ones."""
    several = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Member, inner, st.text(max_size=5) | st.integers(0, 99)),
        st.builds(Call, WORDS, several),
        st.builds(Unary, st.sampled_from("!-+"), inner),
        st.builds(Binary, st.sampled_from(OPERATORS), inner, inner),
        st.builds(Conditional, inner, inner, inner),
        st.builds(Array, several),
    )


@given(st.recursive(LITERALS | st.builds(Name, WORDS), grown, max_leaves=12))
def test_what_is_written_is_read_back(node: Node) -> None:
    assert repr(parse(show(node))) == repr(node)


@given(st.text(alphabet="ab1.'\"()[]!&|=<>?: ,\\+-", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        node = parse(text)
    except ExpressionError:
        return
    assert repr(parse(show(node))) == repr(node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ** 3 ** 2", 512.0),
        ("10 - 4 - 3", 3),
        ("-2 + 3", 1),
        ("7 / 2", 3.5),
        ("-7 % 3", -1),
        ("a.none == 'x'", False),
        ("!true || true", True),
        ("not true == false", True),
        ("true || false && false", True),
        ("1 < 2 && 'a' != \"b\"", True),
        ("'it\\'s' == \"it's\"", True),
        ("`a\\n`", "a\\n"),
        ("'node shutdown' matches '(?i)NODE SHUT'", True),
        ("'abc' contains 'b' and 'abc' startsWith 'a' and 'abc' endsWith 'c'", True),
        ("'a' in ['a', 'b']", True),
        ("'c' not in ['a', 'b']", True),
        ("1 in ['1']", False),
        ("false ? 1 : true ? 2 : 3", 2),
        ("nil ?? 'x'", "x"),
        ("a.b['c-d']", "deep"),
        ("a.none ?? 'x'", "x"),
        ("asInt('-1') + int(2.9)", 1),
        ("asFloat('1.5') * 2", 3.0),
        ("string(3) + string(true) + string(2.0)", "3true2"),
        ("len('four')", 4),
        ("a.b == 4", False),
        ("[1, 2][1]", 2),
        ("4 == 4.0", True),
        ("nil == nil", True),
    ],
)
def test_values(text: str, value: object) -> None:
    values = expand({"a.b.c-d": "deep"})
    found = evaluate(parse(text), values)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "a b",
        "'open",
        "1 < 2 < 3",
        "f(",
        "a.1",
        "a ? b",
        "(1, 2)",
        "@",
        "not",
        "1 2",
        "a..b",
        "true &&",
        "x |",
    ],
)
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("asInt('4.5')", "asInt(' 4')", "asInt('')", "asInt(1, 2)", "1 && true", "!1", "- 'a'", "a.c.d", "3.5 % 2"),
        *("'a' - 1", "'a' < 1", "1 / 0", "'a' matches '('", "'1' contains 1", "1 in 'a'"),
    ],
)
def test_what_has_no_value(text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(parse(text), {"a": {"b": "1"}})


@pytest.mark.parametrize(
    "text",
    [
        "retries == 1",
        "'a' == 1",
        "!retries",
        "flag || 1",
        "1 in 'a'",
        "nil ?? 1 == 1",
        "unknown",
        "jsonpath(retries) == 'a'",
    ],
)
def test_what_the_controllers_compiler_refuses(text: str) -> None:
    with pytest.raises(ExpressionError):
        check(parse(f"true || {text}"), {"retries": "1", "flag": True})


def test_a_condition_is_true_or_false() -> None:
    with pytest.raises(ExpressionError, match="evaluates to '2', not to true or false"):
        decide("1 + 1", {})


@pytest.mark.parametrize(
    ("status", "code", "message", "again"),
    [
        ("Error", "-1", "", True),
        ("Failed", "4", "", True),
        ("Failed", "3", "", False),
        ("Failed", "3", "main: Error (exit code 3): eviction-risk: Preempted is below its limit", False),
        ("Failed", "1", "main: Error (exit code 1): Pod was terminated", False),
        ("Failed", "-1", "Pod was terminated in response to imminent node shutdown.", True),
        ("Failed", "-1", "Pod was rejected as the node is shutting down.", True),
        ("Failed", "137", "The node was low on resource: memory. Threshold quantity: 100Mi", True),
        ("Failed", "-1", "Preempted in order to admit critical pod", True),
        ("Failed", "137", "main: Error (exit code 137): a last line", True),
        ("Failed", "143", "main: Error (exit code 143)", True),
        ("Failed", "137", "main: OOMKilled (exit code 137)", False),
        ("Failed", "143", "Pod was active on the node longer than the specified deadline", False),
    ],
)
def test_a_retry_expression(status: str, code: str, message: str, again: bool) -> None:
    last = {"lastRetry.status": status, "lastRetry.exitCode": code, "lastRetry.message": message}
    assert decide(RETRY, expand(last)) is again


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a == a", True),
        ("a != 'a'", False),
        ("1 == '1'", False),
        ("2 > 10", False),
        ("'2' > '10'", True),
        ("true", True),
        ("!false && (a == b || 1 <= 1)", True),
        ("a in ('a', b)", True),
        ("abc =~ 'b' && abc !~ 'd'", True),
    ],
)
def test_when(text: str, value: bool) -> None:
    assert decide_when(text) is value


def test_the_longer_of_two_names_stays() -> None:
    assert expand({"a": "x", "a.b": "y", "c": "z"}) == {"a": {"b": "y"}, "c": "z"}


# The oracle for `depends`: conditions as nested tuples, written as a string and decided with Python's operators.
TASKS = ("ant", "two-b", "kiwi")
PHASES = ("Succeeded", "Failed", "Error", "Skipped", "Omitted")
ASKED = st.sampled_from(["", "Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned"])
LEAVES = st.tuples(st.just("is"), st.sampled_from(TASKS), ASKED)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.just("not"), inner) | st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=8,
)


def written(condition: Any) -> str:
    match condition:
        case ("is", name, result):
            return f"{name}.{result}" if result else str(name)
        case ("not", inner):
            return f"!({written(inner)})"
        case (word, left, right):
            return f"({written(left)} {'&&' if word == 'and' else '||'} {written(right)})"
    raise AssertionError(condition)


def holds(condition: Any, phases: dict[str, str]) -> bool:
    match condition:
        case ("is", name, ""):
            return phases[name] in ("Succeeded", "Skipped")
        case ("is", name, "Errored"):
            return phases[name] == "Error"
        case ("is", name, result):
            return bool(phases[name] == result)
        case ("not", inner):
            return not holds(inner, phases)
        case ("and", left, right):
            return holds(left, phases) and holds(right, phases)
        case ("or", left, right):
            return holds(left, phases) or holds(right, phases)
    raise AssertionError(condition)


@given(CONDITIONS, st.tuples(*[st.sampled_from(PHASES)] * 3))
def test_depends_agrees_with_the_oracle(condition: Any, ended: tuple[str, ...]) -> None:
    waits, logic = depends_logic({"depends": written(condition)}, {})
    phases = dict(zip(TASKS, ended, strict=True))
    assert set(waits) == set(re.findall("|".join(TASKS), written(condition)))
    assert decide_depends(logic, {name: phases[name] for name in waits}, {}) is holds(condition, phases)


def test_dependencies_need_each_to_succeed_or_be_skipped() -> None:
    waits, logic = depends_logic({"dependencies": ["ant", "two-b"]}, {})
    assert list(waits) == ["ant", "two-b"]
    for first, second in itertools.product(PHASES, repeat=2):
        good = {first, second} <= {"Succeeded", "Skipped"}
        assert decide_depends(logic, {"ant": first, "two-b": second}, {}) is good
