"""The commands in messages exist: each verb, and its required arguments."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
VERBS = {command.name or str(command.callback and command.callback.__name__) for command in app.registered_commands}
# In a command, the word after `lockgate` is a verb; these words instead continue a sentence.
TYPED = re.compile(r"(?:^|[`(:,;]|\bthen|\bor|\bafter:?)\s*lockgate (?P<verb>[a-z][a-z-]*)(?P<rest>[^`]*)")


def texts(source: Path) -> Iterator[str]:
    """Yield every text of a source, with {} for each placeholder."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


SOURCES = sorted(
    path for folder in ("lockgate", "steps", "services") for path in (ROOT / folder).rglob("*.py") if path.is_file()
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_message_names_verbs_that_exist_and_a_model_to_go_on_with(source: Path) -> None:
    for text in texts(source):
        for typed in TYPED.finditer(text):
            assert typed["verb"] in VERBS, text
            assert not typed["rest"].lstrip().startswith("--resume"), text
