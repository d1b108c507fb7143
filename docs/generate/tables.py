"""Markdown tables, and the parts of this repository's docstrings."""

import inspect
import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a `|` inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def code(text: str) -> str:
    """Inline code; empty for an empty text."""
    return f"`{text}`" if text else ""


def explained(docstring: str, names: Iterable[str]) -> dict[str, str]:
    """What a docstring says about each of these names, written `name: text` at a line's or a sentence's begin."""
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    body = re.split(r"(?m)^Errors:", docstring)[0]
    parts = re.split(rf"(?:(?m:^)|(?<=\. ))({known}): ", body)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def summary(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
