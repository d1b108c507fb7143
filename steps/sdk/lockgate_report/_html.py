"""Markup that is safe from injection, and the frame of a page."""

from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path

from lockgate_step import visible

from lockgate_report._words import say

# No script, no font, no image, no request: the page sets this policy itself, wherever it is served from.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# The two leaves of a closed mitre gate, seen from above.
_LOGO = (
    '<svg class="logo" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">'
    '<path d="M3 4v24M29 4v24" class="wall"/><path d="M4 20L16 11L28 20" class="leaf"/>'
    '<path d="M8 27q2-2 4 0t4 0t4 0t4 0" class="water"/></svg>'
)
_VOID = {"meta", "line", "rect", "circle", "path", "br"}


class Html(str):
    """Text that is already markup, so it is not escaped."""

    __slots__ = ()


def el(name: str, /, *children: str | None, **attributes: str | int | float | None) -> Html:
    """Build one element; escape a child that is not `Html`, skip None.

    `class_` and `aria_label` stand for `class` and `aria-label`.
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    written = "".join(f' {key}="{_safe(str(value))}"' for key, value in pairs)
    if name in _VOID:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[str | None]) -> Html:
    """Concatenate pieces; escape a piece that is not `Html`, skip None."""
    return Html("".join(each if isinstance(each, Html) else _safe(each) for each in children if each is not None))


def page(title: str, body: str, *, about: str = "", lang: str = "en", foot: str = "") -> str:
    """Build a whole page.

    body: `Html`, or text to be escaped. about: the subject, shown in the header, e.g. `bias-audit · adult-income`.
    foot: the footer, if it is not that of a page that Lockgate's programs made.
    """
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        Html(f"<style>{_css()}</style>"),
    )
    header = el("header", Html(_LOGO), el("span", "Lockgate", class_="brand"), el("span", about, class_="about"))
    footer = el("footer", el("p", foot or say("page.footer", lang)))
    return f"<!doctype html>\n{el('html', head, el('body', header, el('main', body), footer), lang=lang)}\n"


def cite(whole: str, foot: str, *, top: str = "") -> str:
    """Add to a finished page which run it belongs to: `foot` in its footer, `top` above its content.

    The program that writes the page cannot do this: the same inputs must give the same bytes in every run. A page
    without Lockgate's frame is returned unchanged.
    """
    for frame, line in (("<footer>", foot), ("<main>", top)):
        if line:
            whole = whole.replace(frame, frame + el("p", line, class_="cite"), 1)
    return whole


def _safe(text: str) -> str:
    """Escape markup, and show the characters that nobody can see."""
    return escape(visible(text, keep="\n"))


@cache
def _css() -> str:
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
