"""What the command line prints about data has no control character and none that changes the order of text."""

import contextlib
import io
import json
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.cli.main import run_app
from lockgate.cli.options import print_json, print_result, say
from lockgate.platform.status_page import ModelView, page
from lockgate.report.tree import LiveTree

HIDDEN = {"Cc", "Cf", "Zl", "Zp"}
texts = st.text(st.characters(codec="utf-8"))


def hidden(shown: str) -> set[str]:
    return {unicodedata.category(each) for each in shown if each != "\n"} & HIDDEN


@settings(deadline=None)
@given(texts)
def test_no_printer_prints_a_hidden_character(text: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        say(text)
        say(text, err=True)
        print_result([text], {}, as_json=False)
        print_json({text: text})
        tree = LiveTree()
        tree.note(text)
        tree.doing(text)
        run_app(["report", f"--{text}"])
    assert not hidden(out.getvalue() + err.getvalue())
    view = ModelView(model=text, bundle=text, since=text, ready=False, candidate=text, problem=text)
    assert not hidden(page([view]))


@settings(deadline=None)
@given(texts)
def test_json_has_the_same_value(text: str) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_json({"name": text})
    assert json.loads(out.getvalue()) == {"name": text}


@given(texts)
@settings(deadline=None)
def test_text_of_data_begins_no_line_of_its_own(text: str) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_result([f"north{text}\nReleased: everything"], {}, as_json=False)
    assert len(out.getvalue().splitlines()) == 1
