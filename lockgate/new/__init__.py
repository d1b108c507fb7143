"""`lockgate new`: from a CSV file to a model that runs at once, and says what it guessed. Standard library only."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.definition.model import NOBODY
from lockgate.errors import BadCall
from lockgate.new.profiling import Profile, describe, profile
from lockgate.new.writing import check_name, outlook, write

if TYPE_CHECKING:
    from lockgate.definition.project import Project

__all__ = ["Profile", "command", "describe", "profile", "write"]


def command(
    project: "Project", name: str, data: Path, target: str, positive: str | None, sensitive: str | None
) -> tuple[list[str], dict[str, Any]]:
    """Profile the file, write the model's folder, and say what was guessed: as lines, and as JSON values.

    sensitive: names separated by commas; guessed by name where it is None.
    Errors: BadCall, before anything is written.
    """
    check_name(name)
    folder = project.root / "pipelines" / name.replace("-", "_")
    if folder.exists():
        msg = f"{folder.relative_to(project.root)} is there already, and nothing is overwritten"
        raise BadCall(msg, fix="choose another name, or remove that folder first")
    columns = None if sensitive is None else [each.strip() for each in sensitive.split(",") if each.strip()]
    found = profile(data, target, positive=positive, sensitive=columns)
    write(found, name, folder)
    written = folder.relative_to(project.root).as_posix()
    expected = list(outlook(found))
    lines = [
        *describe(found),
        *expected,
        "",
        f"Written: {written}/ (pipeline.py, policy.toml, expectations.json, README.md, data/)",
        "Next",
        f"  {written}/pipeline.py: check that {found.positive.name!r} is the label that counts as selected",
        f"  lockgate run {name:<24} from data to an audited, served model",
        f"  {written}/pipeline.py: put the owner's address where {NOBODY} stands",
        f"  {written}/policy.toml: make each starting limit a decision",
    ]
    return lines, {"model": name, "folder": written, "outlook": expected, **found.to_json()}
