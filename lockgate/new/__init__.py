"""`lockgate new`: create a model from a CSV file. Standard library only."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate_step import visible

from lockgate.definition.model import NOBODY
from lockgate.errors import BadCall
from lockgate.new.describing import describe
from lockgate.new.expecting import COVERED
from lockgate.new.profiling import Profile, profile
from lockgate.new.writing import check_name, outlook, write

if TYPE_CHECKING:
    from lockgate.definition.project import Project

__all__ = ["Profile", "command", "describe", "profile", "write"]


def command(
    project: "Project", name: str, data: Path, target: str, positive: str | None, sensitive: str | None
) -> tuple[list[str], dict[str, Any]]:
    """Profile the file and write the model's folder; returns the guesses as lines and as JSON values.

    sensitive: names separated by commas; if None, guessed by name.
    Errors: BadCall, before anything is written.
    """
    check_name(name)
    folder = project.root / "pipelines" / name.replace("-", "_")
    if folder.exists():
        msg = f"{folder.relative_to(project.root)} already exists, and lockgate new overwrites nothing"
        raise BadCall(msg, fix="choose another name, or remove the folder first")
    columns = None if sensitive is None else [each.strip() for each in sensitive.split(",") if each.strip()]
    found = profile(data, target, positive=positive, sensitive=columns)
    write(found, name, folder)
    written = folder.relative_to(project.root).as_posix()
    expected = [visible(line) for line in outlook(found)]
    lines = [
        *describe(found),
        *expected,
        "",
        f"Written: {written}/ (pipeline.py, policy.toml, expectations.json, README.md, data/)",
        f"  expectations.json suggests row counts, missing shares and means; {COVERED[:1].lower()}{COVERED[1:]}",
        "Next",
        f"  {written}/pipeline.py: check that {found.positive.name!r} is the label that counts as selected",
        *(
            [f"  {written}/pipeline.py: remove the inputs that are known only afterwards, if any of: {telling}"]
            if (telling := visible(", ".join(found.telling)))
            else []
        ),
        f"  lockgate run {name:<24} from data to an audited, served model",
        f"  {written}/pipeline.py: replace {NOBODY} with the owner's address",
        f"  {written}/policy.toml: decide each starting limit",
    ]
    return lines, {"model": name, "folder": written, "outlook": expected, **found.to_json()}
