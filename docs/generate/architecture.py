"""Draw docs/architecture.svg and fill the tables of docs/architecture.md, from the layers contract and the docstrings.

python -m docs.generate.architecture writes both files; a test checks that they agree with their sources.
"""

import ast
import re
import tomllib
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parents[2]
PICTURE, PAGE = ROOT / "docs" / "architecture.svg", ROOT / "docs" / "architecture.md"

WIDTH, MARGIN, GAP, TITLE, LINE = 960, 24, 12, 22, 17
PER_CHARACTER = 6.6  # pixels of the text at 12 px
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2933; } .name { font: bold 14px ui-monospace, monospace; }
.soft { fill: #52606d; } rect { fill: #f5f7fa; stroke: #9aa5b1; rx: 6px; } .sdk rect { fill: #e6f6ff; }
path { stroke: #52606d; stroke-width: 1.5px; fill: none; marker-end: url(#end); }
"""
RULE = "Each package imports only from the layers below it; packages side by side do not import each other."
MARKER = (
    '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M 0 0 L 8 4 L 0 8" style="marker-end: none"/></marker></defs>'
)


def layers() -> list[list[str]]:
    """The packages of `lockgate`, layer by layer, the top one first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (found,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in found]


def sentence(package: Path) -> str:
    """The first sentence of a package's or module's docstring."""
    source = package / "__init__.py" if package.is_dir() else package
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].split(".\n")[0].replace("\n", " ").rstrip(".") + "."


def place(name: str) -> Path:
    """The folder or file of a package of `lockgate`."""
    folder = ROOT / "lockgate" / name
    return folder if folder.is_dir() else folder.with_suffix(".py")


def modules(package: Path) -> list[str]:
    """The modules and packages in a package."""
    if not package.is_dir():
        return []
    inside = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    return sorted(inside + [path.stem for path in package.glob("*.py") if not path.stem.startswith("_")])


def folders(name: str) -> list[str]:
    """The steps, or the services."""
    return sorted(f"{path.parent.name}/" for path in (ROOT / name).glob("*/lockgate_*") if path.parent.name != "sdk")


def sdk() -> list[Path]:
    """The packages of the SDK."""
    return sorted(path.parent for path in (ROOT / "steps" / "sdk").glob("*/__init__.py"))


def picture() -> str:
    """The picture as SVG text."""
    y, shapes = 60, list[str]()
    rows = layers()
    for number, row in enumerate(rows):
        boxes = [(f"lockgate/{name}", sentence(place(name)), modules(place(name))) for name in row]
        y = _row(shapes, boxes, y)
        if number + 1 < len(rows):
            shapes.append(f'<path d="M {WIDTH / 2} {y - 22} v 16"/>')
    shapes.append(f'<text x="{MARGIN}" y="{y + 14}" class="soft">All of them may import the SDK, and no step.</text>')
    libraries = [f"{path.name}/" for path in sdk()]
    y = _row(shapes, [("steps/sdk", "The SDK of the programs; lockgate uses it too.", libraries)], y + 26, "sdk")
    y = _row(
        shapes,
        [
            ("steps", "One folder, image and lock for each step; imports only the SDK.", folders("steps")),
            ("services", "Programs that keep running; import only the SDK.", folders("services")),
        ],
        y,
        "sdk",
    )
    shapes.insert(0, f'<text x="{MARGIN}" y="34" class="soft">{RULE}</text>')
    shapes.insert(0, f'<rect x="0" y="0" width="{WIDTH}" height="{y}" style="fill: #ffffff; stroke: none"/>')
    size = f'viewBox="0 0 {WIDTH} {y}" role="img" aria-label="The layers of Lockgate"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>", MARKER, *shapes, "</svg>", ""]
    )


def _row(shapes: list[str], boxes: list[tuple[str, str, list[str]]], y: int, kind: str = "") -> int:
    """Draw boxes (name, sentence, what is inside) side by side; returns the y below them, with room for an arrow."""
    width = (WIDTH - 2 * MARGIN - GAP * (len(boxes) - 1)) / len(boxes)
    room = int((width - 24) / PER_CHARACTER)
    texts = [
        [(line, "") for line in wrap(text.replace("`", ""), room)]
        + [(line, "soft") for line in wrap("  ".join(inside), room, break_on_hyphens=False)]
        for _, text, inside in boxes
    ]
    height = TITLE + 10 + LINE * max(map(len, texts))
    for number, ((name, _, _), lines) in enumerate(zip(boxes, texts, strict=True)):
        x = MARGIN + number * (width + GAP)
        shapes.append(f'<g class="{kind}"><rect x="{x:g}" y="{y}" width="{width:g}" height="{height}"/>')
        shapes.append(f'<text x="{x + 12:g}" y="{y + TITLE - 2}" class="name">{escape(name)}</text>')
        for line, (text, kind_of) in enumerate(lines):
            at = f'x="{x + 12:g}" y="{y + TITLE + 16 + line * LINE}"'
            shapes.append(f'<text {at} class="{kind_of}" xml:space="preserve">{escape(text)}</text>')
        shapes.append("</g>")
    return y + height + 24


def tables() -> dict[str, str]:
    """The tables of the page, by the name of their block."""
    packages = ["| package | what is in it |", "|---|---|"]
    for row in layers():
        for name in row:
            path = place(name)
            packages.append(f"| `{path.relative_to(ROOT).as_posix()}` | {sentence(path)} |")
            below = [sub for sub in sorted(path.glob("*/")) if (sub / "__init__.py").is_file()] if path.is_dir() else []
            packages += [f"| `{sub.relative_to(ROOT).as_posix()}` | {sentence(sub)} |" for sub in below]
    libraries = ["| package | what is in it |", "|---|---|"]
    libraries += [f"| `{path.relative_to(ROOT).as_posix()}` | {sentence(path)} |" for path in sdk()]
    return {"packages": "\n".join(packages), "sdk": "\n".join(libraries)}


def page(text: str) -> str:
    """The page with its tables."""
    for name, table in tables().items():
        block = re.compile(rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        text = block.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
