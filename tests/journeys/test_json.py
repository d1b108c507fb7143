"""Every verb with --json prints exactly one JSON value; the project has a real release."""

import json
from pathlib import Path

import pytest

from tests.workshop import HEADER, MODEL, Project, csv, rows


@pytest.mark.parametrize(
    "verb", ["status", "report first", f"verify {MODEL}", "images", "doctor", "serve"], ids=lambda verb: verb.split()[0]
)
def test_a_verb_prints_one_json_value(verb: str, released: Project, first: str) -> None:
    done = released.lockgate(*verb.replace("first", first).split(), "--json")
    assert (done.code, done.err) == (0, ""), done.said
    assert json.loads(done.out)


def test_answers_are_json_too(released: Project, tmp_path: Path) -> None:
    asked = dict(zip(HEADER, map(str, rows(1)[0]), strict=True))
    (released.root / "one.csv").write_bytes(csv(rows(1)))
    table = released.lockgate("predict", MODEL, "one.csv").out.splitlines()
    said = json.loads(released.lockgate("predict", MODEL, "one.csv", "--json").out)
    (answer,) = said["answers"]
    assert (said["model"], answer["row"]) == (MODEL, asked)
    assert table[1] == f"{','.join(asked.values())},{answer['label']},{answer['score']:.6g}"


def test_rendering_and_submitting_are_json_too(released: Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    first, again = (json.loads(project.lockgate("render", "--json").out)["written"] for _ in range(2))
    assert (f"workflows/{MODEL}/release.yaml" in first, again) == (True, [])
    done = project.lockgate("submit", MODEL, "--data", "s3://bucket/rows.csv", "--json")
    said = json.loads(done.out)
    assert (said["command"][:2], said["submitted"], said["exit_code"]) == (["argo", "submit"], False, done.code)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("run", "grant"), 2, "unknown model 'grant'"),
        (("predict", MODEL, "nowhere.csv"), 2, "file nowhere.csv not found"),
        (("render", "--chek"), 2, "--chek"),
        (("logs", "zzz"), 2, "unknown run 'zzz'"),
        (("submit", MODEL), 2, ""),
    ],
)
def test_an_error_is_one_json_object_on_stdout(
    arguments: tuple[str, ...], code: int, says: str, released: Project
) -> None:
    done = released.lockgate(*arguments, "--json")
    said = json.loads(done.out)
    assert (done.code, said["exit_code"], done.err) == (code, code, "")
    assert says in json.dumps(said.get("error", ""))
    assert "error" not in said or said["error"]["fix"]


def test_a_run_prints_its_result_as_json(released: Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    (project.root / "empty.csv").write_bytes(csv([]))
    before = released.live()
    done = project.lockgate("run", MODEL, "--data", "empty.csv", "--json")
    said = json.loads(done.out)
    assert (done.code, said["exit_code"], released.live()) == (2, 2, before)
    assert {step["name"]: step["outcome"] for step in said["steps"]}["ingest"] == "failed"
    assert said["live"]["bundle"] == released.bundle
