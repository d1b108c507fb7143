"""No page contains a character that nobody can see."""

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_report import el, facts, page, table

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_no_character_of_a_page_is_hidden(text: str) -> None:
    body = [el("p", text, title=text), facts({text: text}), table(text, [text], [[text]])]
    whole = page(text, "".join(body), about=text)
    assert not {unicodedata.category(each) for each in whole if each != "\n"} & HIDDEN
