"""Shows text that came from data: a character that nobody can see is written as its code.

A category or a column name may contain an escape sequence that changes a terminal, or a character that reverses the
order of the text after it (Unicode Technical Report 36). Whatever prints or writes a page passes its text through here.
"""

import unicodedata

# Blank, although Unicode does not call them control, format or separator characters (Default_Ignorable_Code_Point).
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


def visible(text: str, *, keep: str = "") -> str:
    r"""Write each control, format or blank character as `\uXXXX`, so that a reader sees it and a terminal does not.

    JSON stays the same JSON value: its strings have these codes too. Spaces of any width stay, as French needs them.
    keep: the characters to leave, e.g. a newline in a text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if each in keep or not _hidden(each) else _coded(each) for each in text)


def _hidden(character: str) -> bool:
    if character.isprintable():
        return character in _BLANK
    return unicodedata.category(character) != "Zs"


def _coded(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
