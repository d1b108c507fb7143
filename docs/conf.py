"""Build the documentation site with Sphinx. Neither the build nor a reader's browser fetches anything."""

import re
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from docs.generate import docstrings, pages  # noqa: E402 - the repository's root must be on the path first

PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project, release = "Lockgate", PROJECT["version"]
copyright = "the Lockgate maintainers, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md", "generate", "requirements.*"]
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
html_theme = "furo"
html_title = f"Lockgate {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

# What a browser fetches by itself, unlike a link that a reader follows.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*\bhref="(?:https?:)?//"""
)
IMPORTED = re.compile(r"""(?:url\(|@import\s+)["']?(?:https?:)?//""")


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = pages.assembled(Path(app.env.doc2path(name)), source[0])


def _needs_no_network(app: Sphinx, error: Exception | None) -> None:
    if error is not None:
        return
    for pattern, form in (("*.html", FETCHED), ("*.css", IMPORTED)):
        for path in Path(app.outdir).rglob(pattern):
            if found := form.search(path.read_text(encoding="utf-8")):
                msg = f"{path.name} fetches from another host: {found[0]}"
                raise SphinxError(msg)


def setup(app: Sphinx) -> None:
    """Connect the generated parts to the build."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", docstrings.as_fields)
    app.connect("autodoc-process-signature", docstrings.with_defaults)
    app.connect("build-finished", _needs_no_network)
