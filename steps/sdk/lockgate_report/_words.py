"""The words of the pages, by language: `en.toml`, and one more such file for each further language."""

import tomllib
from functools import cache
from pathlib import Path


def say(key: str, lang: str = "en", /, **values: object) -> str:
    """The words for a key, with values in their places."""
    return _words(lang)[key].format(**values)


@cache
def _words(lang: str) -> dict[str, str]:
    return tomllib.loads((Path(__file__).parent / f"{lang}.toml").read_text(encoding="utf-8"))
