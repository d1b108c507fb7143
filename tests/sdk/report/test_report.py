"""Pages contain no script, nothing remote, and no value that became markup."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lockgate_report import Html, Mark, axis, cite, el, facts, page, say, scale, section, strip, table

VOID = {"meta", "br", "line", "rect", "circle", "path"}


class Tags(HTMLParser):
    """Every tag with its attributes; fails on one that is closed out of order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
def test_no_text_becomes_markup(one: str, other: str) -> None:
    hostile = f"<script>{one}</script>\" onload='x' <svg {other}"
    whole = page(
        hostile, section(hostile, table(hostile, [hostile], [[hostile]]), facts({hostile: hostile})), about=hostile
    )
    tags = Tags(whole).found
    assert "script" not in {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_a_page_asks_nothing_of_anybody() -> None:
    along = scale([0.1, 0.4], percent=True)
    body = section(
        "t", table("c", ["a", axis(along, "scale")], [["b", strip(Mark(0.2, 0.1, 0.3), along, "alt", limit=0.25)]])
    )
    whole = page("title", body)
    policy = next(a["content"] for tag, a in Tags(whole).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not re.search(r"https?:|//|url\(|@import|src=|href=", whole.split("<style>")[0] + whole.split("</style>")[1])
    assert not re.search(r"url\(|@import", whole)


def test_what_a_screen_reader_needs() -> None:
    along = scale([0.1])
    body = table("Groups", ["Group", axis(along, "from 0 to 0.1")], [["A", strip(Mark(0.1, 0, 0.2), along, "A: 10 %")]])
    tags = Tags(page("t", body)).found
    named = dict(tags)
    assert named["html"]["lang"] == "en"
    assert "caption" in named
    assert {attributes["scope"] for tag, attributes in tags if tag == "th"} == {"col", "row"}
    assert all(
        a["role"] == "img" and a["aria-label"] for tag, a in tags if tag == "svg" and a.get("aria-hidden") != "true"
    )


@given(st.lists(st.floats(-1, 1).filter(lambda v: abs(v) > 1e-6), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_a_scale_holds_its_values_between_few_round_ticks(values: list[float], percent: bool, zero: bool) -> None:
    along = scale(values, percent=percent, zero=zero)
    assert along.low <= min(values) <= max(values) <= along.high
    assert not zero or along.low <= 0 <= along.high
    assert 1 <= len(along.ticks) <= 8
    assert all(along.low - 1e-9 <= tick <= along.high + 1e-9 for tick in along.ticks)
    assert len({along.label(tick) for tick in along.ticks}) == len(along.ticks)


def test_marks_are_at_their_values() -> None:
    along = scale([0.0, 0.94], zero=True)
    drawn = strip(Mark(along.high / 2, 0, along.high), along, "alt", limit=along.high / 4)
    assert 'cx="50.00%"' in drawn
    assert 'x1="0.00%" x2="100.00%"' in drawn
    assert 'x1="25.00%" x2="25.00%"' in drawn
    assert "circle" not in strip(Mark(None, 0, 1), along, "alt")


@given(st.text())
def test_a_page_is_cited_at_its_foot_and_where_wanted_at_its_top(text: str) -> None:
    whole = page("t", el("h1", "<footer> & <main>"), about="a")
    cited = cite(whole, f"Run 1 {text}", top=f"Run 2 {text}")
    assert "script" not in {tag for tag, _ in Tags(cited).found}
    top, _, foot = cited.partition("</h1>")
    assert (top.count('class="cite"'), foot.count('class="cite"')) == (1, 1)
    assert (
        cited.replace(el("p", f"Run 1 {text}", class_="cite"), "").replace(el("p", f"Run 2 {text}", class_="cite"), "")
        == whole
    )
    assert cite(whole, "Run 1").count('class="cite"') == 1
    assert cite("<p>a page of somebody else</p>", "Run 1", top="Run 2") == "<p>a page of somebody else</p>"


def test_escaped_once() -> None:
    assert el("p", "a & b", Html("<b>c</b>")) == "<p>a &amp; b<b>c</b></p>"


def test_an_unknown_word_is_an_error() -> None:
    with pytest.raises(KeyError):
        say("no.such.word")
