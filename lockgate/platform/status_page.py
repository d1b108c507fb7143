"""The status page of the local platform: static HTML without scripts; relative links work behind a proxy."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as markup

from lockgate_step import visible

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.5rem .75rem;border-bottom:1px solid #bbb}
code{font-size:.9em;overflow-wrap:anywhere}a{color:#0b4f9e}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}a{color:#8ec1ff}th,td{border-color:#555}}
"""


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """One model on the status page; digests as `sha256:<hex>`, None if there is none."""

    model: str
    bundle: str | None
    since: str | None
    ready: bool
    candidate: str | None
    problem: str | None


def page(models: Sequence[ModelView]) -> str:
    """Return the page that lists the served models."""
    body = _table(models) if models else "<p>No model is served yet. Next: <code>lockgate run &lt;model&gt;</code></p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Lockgate: served models</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>Served models</h1>{body}"
        '<p><a href="v2">View as JSON</a></p></main></body></html>\n'
    )


def _table(models: Sequence[ModelView]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Model", "Live bundle", "Since", "State", "Candidate"))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(_row(model) for model in models)}</tbody></table>"


def _row(view: ModelView) -> str:
    name = escape(view.model)
    cells = (
        f'<a href="v2/models/{name}">{name}</a>',
        _digest(view.bundle),
        escape(view.since or ""),
        escape(_state(view)),
        _digest(view.candidate),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _state(view: ModelView) -> str:
    state = "ready" if view.ready else "starting" if view.bundle else "no live bundle"
    return f"{state}: {view.problem}" if view.problem else state


def escape(text: str) -> str:
    """Escape markup, and show the characters that nobody can see."""
    return markup(visible(text))


def _digest(digest: str | None) -> str:
    return f'<code title="{escape(digest)}">{escape(digest[:19])}</code>' if digest else "none"
