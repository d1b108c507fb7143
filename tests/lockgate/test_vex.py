"""The exceptions for scanners of vulnerabilities: valid, explained, and still about a version in a lock."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATEMENTS: list[dict[str, Any]] = json.loads((ROOT / ".vex" / "lockgate.vex.json").read_bytes())["statements"]


def locked() -> set[str]:
    names = subprocess.run(["git", "ls-files", "images"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    locks = [ROOT / name for name in names.splitlines() if name.endswith(".lock")]
    return {found for lock in locks for found in re.findall(r"(?m)^[a-z0-9-]+==[^ ;\\]+", lock.read_text("utf-8"))}


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: each["vulnerability"]["name"])
def test_each_exception_is_about_a_version_in_a_lock_and_gives_its_reason(statement: dict[str, Any]) -> None:
    for product in statement["products"]:
        name, _, version = product["@id"].removeprefix("pkg:pypi/").partition("@")
        assert f"{name}=={version}" in locked(), "remove the exception: no image has this version any more"
    assert statement["status"] == "not_affected"
    assert statement["justification"] in {
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    }
    assert len(statement["impact_statement"]) > 60
