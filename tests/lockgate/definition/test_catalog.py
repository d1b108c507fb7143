"""What the catalog finds in the folders of an installation."""

from pathlib import Path

from lockgate.definition.catalog import Catalog


def test_a_folder_is_a_step_if_it_has_a_program(tmp_path: Path) -> None:
    for module in ("lockgate_one/__main__.py", "lockgate_two/__init__.py", "lockgate_three/__main__.py"):
        place = tmp_path / "steps" / module.split("/")[0].removeprefix("lockgate_") / module
        place.parent.mkdir(parents=True)
        place.touch()
    (tmp_path / "steps" / "sdk" / "lockgate_step").mkdir(parents=True)
    assert [folder.name for folder in Catalog(tmp_path).step_folders()] == ["one", "three"]
