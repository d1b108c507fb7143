"""Every verb that offers --json prints one JSON value and nothing beside it, about a real release."""

import json
from pathlib import Path

import pytest

from tests.workshop import MODEL, Project, csv


@pytest.mark.parametrize(
    "verb", ["status", "report first", f"verify {MODEL}", "images", "doctor", "serve"], ids=lambda verb: verb.split()[0]
)
def test_a_verb_prints_one_json_value(verb: str, released: Project, first: str) -> None:
    done = released.lockgate(*verb.replace("first", first).split(), "--json")
    assert (done.code, done.err) == (0, ""), done.said
    assert json.loads(done.out)


def test_a_run_prints_its_result_as_json(released: Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    (project.root / "empty.csv").write_bytes(csv([]))
    before = released.live()
    done = project.lockgate("run", MODEL, "--data", "empty.csv", "--json")
    said = json.loads(done.out)
    assert (done.code, said["exit_code"], released.live()) == (2, 2, before)
    assert {step["name"]: step["outcome"] for step in said["steps"]}["ingest"] == "failed"
    assert said["live"]["bundle"] == released.bundle
