"""Assemble a page: insert what a marker names, and make links work on the site as they do in the repository."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from docs.generate import api, programs, schemas, spec, verbs
from docs.generate.place import DOCS, ROOT, repository

GENERATED: dict[str, Callable[[], str]] = {
    "api": api.composer,
    "steps": api.steps,
    "sdk": api.sdk,
    "spec": spec.text,
    "programs": programs.text,
    "verbs": verbs.text,
    "exit-codes": verbs.exit_codes,
    "schemas": schemas.text,
}
# Pages that show a file from elsewhere in the repository.
SHOWN_AS = {
    ROOT / "README.md": DOCS / "start.md",
    ROOT / "CONTRIBUTING.md": DOCS / "contributing.md",
    ROOT / "CHANGELOG.md": DOCS / "changelog.md",
    DOCS / "README.md": DOCS / "index.md",
}
MARKER = re.compile(r"(?m)^<!-- (?P<kind>include|generated): (?P<what>\S+) -->$")
FENCED = re.compile(r"(?ms)^(```|~~~).*?^\1\s*$")
LINK = re.compile(r"(?P<before>\]\()(?P<target>[^()\s#]+)(?P<anchor>#[^()\s]*)?(?=\))")


class BrokenLink(ValueError):
    """A link to a file that does not exist; the message names the page and the target."""


def assembled(page: Path, text: str) -> str:
    """The Markdown of a page as Sphinx reads it. Errors: BrokenLink, KeyError for an unknown marker."""

    def inserted(marker: re.Match[str]) -> str:
        if marker["kind"] == "generated":
            return GENERATED[marker["what"]]()
        source = (page.parent / marker["what"]).resolve()
        return linked(source.read_text(encoding="utf-8"), source, page)

    return MARKER.sub(inserted, linked(text, page, page))


def linked(text: str, source: Path, page: Path) -> str:
    """The text of `source` with its links as `page` must write them; code blocks stay as they are."""
    parts, end = [], 0
    for block in FENCED.finditer(text):
        parts += [_links(text[end : block.start()], source, page), block[0]]
        end = block.end()
    return "".join([*parts, _links(text[end:], source, page)])


def _links(text: str, source: Path, page: Path) -> str:
    return LINK.sub(lambda link: "](" + _target(link["target"], source, page) + (link["anchor"] or ""), text)


def _target(target: str, source: Path, page: Path) -> str:
    if re.match(r"[a-z]+:", target):
        return target
    path = (source.parent / target).resolve()
    if not path.exists():
        msg = f"{source.relative_to(ROOT)} links to {target}, which does not exist"
        raise BrokenLink(msg)
    path = SHOWN_AS.get(path, path)
    if path.is_relative_to(DOCS) and path.suffix in (".md", ".svg", ".png"):
        return Path(os.path.relpath(path, page.parent)).as_posix()
    return repository(path)
