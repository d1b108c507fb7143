"""The building blocks of pages."""

from collections.abc import Mapping, Sequence
from typing import Literal

from lockgate_report._html import Html, el, join

Tone = Literal["good", "bad", "unsure", "plain"]


def banner(tone: Tone, verdict: str, headline: str, *more: str) -> Html:
    """Build the banner at the top of a page: the verdict and what it means."""
    return el("div", el("p", verdict, class_="verdict"), el("h1", headline), *more, class_=f"banner {tone}")


def pill(tone: Tone, text: str) -> Html:
    """Build a short label for a result."""
    return el("span", text, class_=f"pill {tone}")


def section(title: str, *content: str | None) -> Html:
    """Build a section with a heading."""
    return el("section", el("h2", title), *content)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> Html:
    """Build a table with a caption; the first cell of a row is its heading, the columns in `numbers` are right-aligned.

    A cell that is an `svg` gets the width of a plot.
    """

    def kind(at: int, cell: str) -> str | None:
        return "plot" if cell.startswith("<svg") and isinstance(cell, Html) else "n" if at in numbers else None

    top = el("tr", *(el("th", cell, scope="col", class_=kind(at, cell)) for at, cell in enumerate(head)))
    body = [
        el(
            "tr",
            el("th", row[0], scope="row"),
            *(el("td", cell, class_=kind(at, cell)) for at, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    whole = el("table", el("caption", caption), el("thead", top), el("tbody", *body))
    return el("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def facts(pairs: Mapping[str, str]) -> Html:
    """Build a list of names and values in two columns."""
    return el("dl", join(join([el("dt", name), el("dd", value)]) for name, value in pairs.items()))
