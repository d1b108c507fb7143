"""Static HTML pages: one self-contained file without scripts or remote content, readable by screen readers.

Build markup with `el`: it escapes every text, so that a value can never become markup.
"""

from lockgate_report._html import Html, cite, el, join, page
from lockgate_report._parts import Tone, banner, facts, pill, section, table
from lockgate_report._plot import Mark, Scale, axis, scale, strip
from lockgate_report._verdict import excepted, finding, sentence, verdict
from lockgate_report._words import say

__all__ = [
    "Html",
    "Mark",
    "Scale",
    "Tone",
    "axis",
    "banner",
    "cite",
    "el",
    "excepted",
    "facts",
    "finding",
    "join",
    "page",
    "pill",
    "say",
    "scale",
    "section",
    "sentence",
    "strip",
    "table",
    "verdict",
]
