"""Every rendered file agrees with its source, byte for byte, and nothing else lies beside them."""

from pathlib import Path

import pytest

from lockgate.errors import NotRendered
from lockgate.project import Project
from lockgate.rendering import render_project

ROOT = Path(__file__).resolve().parents[2]


def test_everything_rendered_agrees_with_its_source() -> None:
    render_project(Project(ROOT), [], check=True)


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    import shutil

    for name in ("pipelines", "workflows"):
        shutil.copytree(ROOT / name, tmp_path / name)
    changed = tmp_path / "workflows" / "credit" / "release.yaml"
    changed.write_text(changed.read_text().replace("limit: 3", "limit: 4", 1))
    (tmp_path / "workflows" / "credit" / "extra.yaml").write_text("kind: Secret")
    with pytest.raises(NotRendered) as error:
        render_project(Project(tmp_path), [], check=True)
    assert "workflows/credit/release.yaml" in error.value.message
    assert "workflows/credit/extra.yaml" in error.value.message
