"""No text that a program shows contains a character that nobody can see."""

import json
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lockgate_step import visible

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
texts = st.text(st.characters(codec=None, categories=("L", "M", "N", "P", "S", "Z", "C")))


@settings(deadline=None)
@given(texts)
@example("\x1b]0;pwn\x07")
@example("a\u202egpj.exe")
@example("\ud800")
@example("\U000e0041\u3164\ufe0f\u2800")
def test_no_control_format_or_blank_character_is_left(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(each) for each in shown} & HIDDEN
    assert visible(shown) == shown


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3)))
def test_json_stays_the_same_value(value: object) -> None:
    written = json.dumps(value, ensure_ascii=False, indent=1)
    assert json.loads(visible(written, keep="\n")) == json.loads(written)


@pytest.mark.parametrize(
    "text", ["Montréal", "Élodie L'Heureux", "10\u00a0000\u202f$", "日本語", "नमस्ते", "עברית", "😀"]
)
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible(text) == text


def test_the_log_shows_them_as_codes() -> None:
    code = "from lockgate_step import log; log('data', file='a\\u202eb\\x1b[2J\\x7f')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr)["file"] == "a\u202eb\x1b[2J\x7f"
    assert r"a\u202eb\u001b[2J\u007f" in done.stderr
