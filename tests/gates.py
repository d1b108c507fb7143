"""The additional gate of the documentation, in a project of the tests."""

import re
from pathlib import Path

from lockgate_step import canonical, sha256

from lockgate.definition.catalog import Catalog
from lockgate.rendering.locks import SIGNING, packages_of
from tests.workshop import MODEL

PAGE = Path(__file__).resolve().parents[1] / "docs" / "writing-a-step.md"
GATE = "calibration"
SIGNER = f"{MODEL}.{GATE}"


def listing() -> str:
    """Return the gate in the documentation."""
    found = re.search(r"(?s)<!-- begin: calibration -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"))
    assert found
    return found[1]


def add_gate(folder: Path, *, name: str = GATE, at_most: float = 0.2) -> Path:
    """Write the gate of the documentation with another limit, and a lock that needs no package index."""
    source = folder / f"{name}.py"
    text = listing().replace("at_most: float = 0.05", f"at_most: float = {at_most}")
    assert f"= {at_most}" in text
    source.write_text(text.replace(GATE, name), encoding="utf-8")
    mark = sha256(canonical(sorted({*packages_of(source), *SIGNING})))
    lock = Catalog.find().image("bias-audit").lock.read_text(encoding="utf-8")
    source.with_suffix(".lock").write_text(f"# of {source.name}, {mark}\n{lock}", encoding="utf-8")
    return source
