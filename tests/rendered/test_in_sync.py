"""Every rendered file agrees with its source, byte for byte, and there are no other files."""

import shutil
from pathlib import Path

import pytest
import yaml

from lockgate.commands.render import render_project
from lockgate.definition.project import Project
from lockgate.errors import NotRendered
from lockgate.rendering.files import model_files

ROOT = Path(__file__).resolve().parents[2]


def test_everything_rendered_agrees_with_its_source() -> None:
    render_project(Project(ROOT), [], check=True)


def test_a_schedule_fires_only_where_pods_can_read_the_data(tmp_path: Path) -> None:
    suspended = {}
    for name, data in (("local", "data/rows.csv"), ("store", "s3://evidence/rows.csv")):
        shutil.copytree(ROOT / "pipelines" / "adult_income", tmp_path / name / "pipelines" / "adult_income")
        source = tmp_path / name / "pipelines" / "adult_income" / "pipeline.py"
        source.write_text(source.read_text().replace('"data/adult.data.gz"', f'"{data}"'))
        (found,) = Project(tmp_path / name).models.values()
        files = model_files(Project(tmp_path / name), found, check=False)
        [cron] = [yaml.safe_load(content) for path, content in files.items() if path.name == "retrain.yaml"]
        suspended[name] = cron["spec"].get("suspend", False)
    assert suspended == {"local": True, "store": False}


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    for name in ("pipelines", "workflows"):
        shutil.copytree(ROOT / name, tmp_path / name)
    changed = tmp_path / "workflows" / "credit" / "release.yaml"
    changed.write_text(changed.read_text().replace("limit: 3", "limit: 4", 1))
    (tmp_path / "workflows" / "credit" / "extra.yaml").write_text("kind: Secret")
    with pytest.raises(NotRendered) as error:
        render_project(Project(tmp_path), [], check=True)
    assert "workflows/credit/release.yaml" in error.value.message
    assert "workflows/credit/extra.yaml" in error.value.message
