"""Paths, object names and the user id are defined only in `lockgate_step.layout`; all other code refers to them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from lockgate_step import layout

ROOT = Path(__file__).resolve().parents[2]
OWNER = ROOT / "steps" / "sdk" / "lockgate_step" / "layout.py"
SOURCES = sorted(
    path for name in ("lockgate", "steps", "services") for path in (ROOT / name).rglob("*.py") if path != OWNER
)
DISTINCT = {
    value
    for name, value in vars(layout).items()
    if name.isupper() and isinstance(value, str) and ("lockgate" in value or name.endswith("_KEY"))
}
# A NetworkPolicy has the name of what its pods may reach.
NETWORK = {"lockgate/cluster/manifests/network.py": {layout.STORE_SECRET, layout.SERVER_ACCOUNT}}


def repeated(source: str) -> Iterator[object]:
    """Return the constants of a source that the layout defines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=layout.USER):
                yield node.value
            case ast.Constant(value=str(text)) if text in DISTINCT or text.startswith(f"{layout.IO}/"):
                yield text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_source_repeats_a_name(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    assert set(repeated(path.read_text(encoding="utf-8"))) <= NETWORK.get(name, set())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("IO = '/lockgate'", "/lockgate"),
        ("path = f'/lockgate/in/{name}'", "/lockgate/in/"),
        ("secret = f'lockgate-key-{signer}'", "lockgate-key-"),
        ("{'configMap': {'name': 'lockgate-environment'}}", "lockgate-environment"),
        ("key / 'private.pem'", "private.pem"),
        ("{'runAsUser': 65532}", 65532),
    ],
)
def test_a_repeated_name_is_seen(source: str, found: object) -> None:
    assert list(repeated(source)) == [found]


def test_the_images_run_as_the_user_of_the_pods() -> None:
    lines = (ROOT / "images" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == [f"USER {layout.USER}:{layout.USER}"]
