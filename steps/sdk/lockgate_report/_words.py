"""The texts of the pages by language: `en.toml`, and one such file for each further language."""

import tomllib
from functools import cache
from pathlib import Path


def say(key: str, lang: str = "en", /, **values: object) -> str:
    """Return the text of a key, with values inserted."""
    return _words(lang)[key].format(**values)


@cache
def _words(lang: str) -> dict[str, str]:
    return tomllib.loads((Path(__file__).parent / f"{lang}.toml").read_text(encoding="utf-8"))
