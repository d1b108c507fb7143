"""The style page of CONTRIBUTING, as far as a pattern can check it: no phrase of the old style comes back."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Pattern -> what to write instead.
BANNED = {
    r"(?<!there )\bis no (?!longer\b|more\b|less\b|worse\b|better\b|later\b|earlier\b|need\b|way\b)[a-z]+": '"is not a ..."',
    r"\b(lies|lie) (in|at|on|beside|below|between|here|there|under)\b": '"is in"',
    r"\b(nobody|nothing) answers\b": '"cannot connect to"',
    r"\bthe outside\b": '"an external service"',
    r"\bno such thing\b": '"not found"',
    r"\b(anew|hitherto|thereby|whilst|amongst)\b": "a common word",
    r"\bunder way\b": '"in progress"',
    r"\b(one's|one’s) own\b": '"your own"',
    r"\bas it stands\b": '"as it is now"',
    r"\b(he|she|his|him|hers)\b": '"they", or name the role',
    r"\bwithout power\b|\balso to know\b": '"for information only", "Notes"',
    r"\bis told\b": '"gets"',
}
PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in BANNED), re.IGNORECASE)
SOURCES = [
    path
    for folder in ("lockgate", "steps", "services", "pipelines", "benchmarks", "tests", "docs/generate")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != Path(__file__)
]
PAGES = [
    path
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/*/README.md")])
    if path.name != "CONTRIBUTING.md"  # it shows what not to write
]
WORDS = sorted((ROOT / "steps").rglob("*.toml"))  # the words of report pages


def texts(source: Path) -> Iterator[tuple[int, str]]:
    """The comments and strings of a module, each with its line."""
    text = source.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, " ".join(node.value.split())


def found(texts: Iterator[tuple[int, str]]) -> list[str]:
    """Each banned phrase, with its line and what to write instead."""
    lines = []
    for line, text in texts:
        for match in PATTERN.finditer(text):
            instead = next(words for pattern, words in BANNED.items() if re.fullmatch(pattern, match[0], re.IGNORECASE))
            lines.append(f"{line}: {match[0]!r}: write {instead}")
    return sorted(set(lines))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_is_in_plain_english(source: Path) -> None:
    assert found(texts(source)) == []


@pytest.mark.parametrize("page", [*PAGES, *WORDS], ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_in_plain_english(page: Path) -> None:
    lines = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), page.read_text(), flags=re.DOTALL)
    assert found(iter(enumerate(lines.splitlines(), 1))) == []


@pytest.mark.parametrize(
    "text",
    ["release.yaml is no manifest", "The reports lie in a folder", "nobody answers at :8080", "the outside failed"],
)
def test_the_old_style_is_seen(text: str) -> None:
    assert found(iter([(1, text)]))


@pytest.mark.parametrize("text", ["It is no longer live.", "The model is no worse than live.", "There is no run yet."])
def test_what_is_plain_is_let_through(text: str) -> None:
    assert not found(iter([(1, text)]))
