"""A short document made of simple blocks, written as Markdown and as HTML from the same values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from lockgate_report import Html, banner, el, facts, join, page, section, table
from lockgate_step import visible

# Characters in user text that Markdown would read as markup or as HTML.
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#|~"})


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of short sentences."""

    points: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    pairs: Mapping[str, str]


@dataclass(frozen=True)
class Grid:
    """A table; the columns in `numbers` hold figures."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()


@dataclass(frozen=True)
class Code:
    """Text to copy."""

    text: str


Block = Text | Points | Facts | Grid | Code


@dataclass(frozen=True)
class Section:
    """A heading and its blocks."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """Its kind, its title, its sections, and the warnings that come before them."""

    kind: str
    title: str
    sections: Sequence[Section]
    warnings: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the document as CommonMark with tables."""
        return "\n\n".join([f"# {self.kind}: {_plain(self.title)}", *self._markdown()]) + "\n"

    def html(self) -> str:
        """Return the document as one static page."""
        parts = [section(each.title, *(_html(block) for block in each.blocks)) for each in self.sections]
        lines = [el("p", el("strong", warning)) for warning in self.warnings]
        top = banner("unsure" if lines else "plain", self.kind, self.title, *lines)
        return page(f"{self.kind}: {self.title}", join([top, *parts]), about=self.title)

    def _markdown(self) -> Iterator[str]:
        yield from (f"> **{_plain(warning)}**" for warning in self.warnings)
        for each in self.sections:
            yield f"## {each.title}"
            yield from (_markdown(block) for block in each.blocks)


def _markdown(block: Block) -> str:
    match block:
        case Text(text):
            return _plain(text)
        case Points(points):
            return "\n".join(f"- {_plain(point)}" for point in points)
        case Facts(pairs):
            return "\n".join(f"- **{_plain(name)}**: {_plain(value)}" for name, value in pairs.items())
        case Grid(caption, head, rows, numbers):
            rules = ["---:" if at in numbers else "---" for at in range(len(head))]
            lines = [head, rules, *([_plain(cell) for cell in row] for row in rows)]
            return "\n".join([f"{_plain(caption)}\n", *(f"| {' | '.join(cells)} |" for cells in lines)])
        case Code(text):
            return "\n".join(["```", visible(text, keep="\n"), "```"])
        case _ as never:
            assert_never(never)


def _html(block: Block) -> Html:
    match block:
        case Text(text):
            return el("p", text)
        case Points(points):
            return el("ul", *(el("li", point) for point in points))
        case Facts(pairs):
            return facts(pairs)
        case Grid(caption, head, rows, numbers):
            return table(caption, head, rows, numbers=numbers)
        case Code(text):
            return el("pre", text)
        case _ as never:
            assert_never(never)


def _plain(text: str) -> str:
    return visible(" ".join(text.split())).translate(_MARKS)
