"""A whole run: a group that no rule judges, and a policy without a limit, are said wherever a result is shown."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.workshop import MODEL, PIPELINE, POLICY, Project, csv, platform, rows

UNJUDGED = "bias: not judged; no rule of the policy has a limit"
UNTIL = datetime.now(UTC).date() + timedelta(days=30)
ACCEPTED = f"""
[[accepted_small_group]]
column = "sex"
value  = "Other"
why    = "New on the form."
until  = {UNTIL}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with platform(Project.make(tmp_path)) as made:
        yield made


def first_page(project: Project, run: str) -> str:
    assert project.lockgate("report", run).code == 0
    return (project.state / "runs" / run / "report" / "index.html").read_text(encoding="utf-8")


def newest(project: Project) -> str:
    status = json.loads(project.lockgate("status", MODEL, "--json").out)
    return str(status["models"][MODEL]["runs"][0]["run"])


def test_nothing_is_left_out_in_silence(project: Project) -> None:
    cases = rows()
    few = [(*case[:3], "Other", *case[4:]) for case in cases[:48]]
    (project.pipeline / "data" / "rows.csv").write_bytes(csv([*few, *cases[48:]]))
    pipeline = PIPELINE.replace('category("Female", "Male")', 'category("Female", "Male", "Other")')
    (project.pipeline / "pipeline.py").write_text(pipeline, encoding="utf-8")

    undecided = project.lockgate("run", MODEL)
    assert undecided.code == 3, undecided.said
    assert "Not decided by bias-audit: by sex, too small to judge: Other, with " in undecided.said
    assert re.search(r"left out: Other \((\d\d|fewer than 10) rows\)", undecided.said)
    assert "with these groups a fair model passes 0 % of the time; about " in undecided.said
    page = first_page(project, newest(project))
    assert "By sex, too small to judge: Other" in page.split("<section>")[0]
    assert "group left out" in page

    (project.pipeline / "policy.toml").write_text(POLICY + ACCEPTED, encoding="utf-8")
    released = project.lockgate("run", MODEL)
    assert released.code == 0, released.said
    assert f"accepted until {UNTIL}: New on the form." in released.said
    page = first_page(project, newest(project))
    assert "Left out by sex: Other (" in page.split("<section>")[0]
    assert "Left out of a rule with a limit: sex: Other (" in page

    open_policy = POLICY.replace("at_most = 0.25", "reported_only = true")
    (project.pipeline / "policy.toml").write_text(open_policy, encoding="utf-8")
    done = project.lockgate("run", MODEL)
    assert done.code == 0, done.said
    assert re.search(r"bias-audit +\S+ s   not judged$", done.said, re.MULTILINE)
    assert UNJUDGED in done.said
    run = newest(project)
    page = first_page(project, run)
    assert "grants: every other gate passed; bias: not judged" in page
    assert "every gate passed" not in page
    kept = project.state / "store" / "models" / MODEL
    bundle = json.loads((kept / "live.json").read_bytes())["bundle"].removeprefix("sha256:")
    card = (kept / "bundles" / bundle / "card.md").read_text(encoding="utf-8")
    assert "**Bias: not judged. No rule of the policy has a limit between groups**" in card
    for command in ("verify", "status"):
        said = project.lockgate(command, MODEL)
        assert said.code == 0
        assert UNJUDGED in said.out, command
    assert json.loads(project.lockgate("status", MODEL, "--json").out)["models"][MODEL]["unjudged"] == ["bias-audit"]


def test_a_group_without_a_test_row_is_not_left_out_in_silence(project: Project) -> None:
    """The supplier of the official test file leaves a group out; the model learned from it and will answer for it."""
    learned = [(*case[:3], "Other", *case[4:]) if at % 5 == 0 else case for at, case in enumerate(rows())]
    (project.pipeline / "data" / "rows.csv").write_bytes(csv(learned))
    (project.pipeline / "data" / "test.csv").write_bytes(csv(rows(800, seed=8)))
    pipeline = PIPELINE.replace('category("Female", "Male")', 'category("Female", "Male", "Other")')
    pipeline = pipeline.replace('uri="data/rows.csv"', 'uri="data/rows.csv", test="data/test.csv"')
    (project.pipeline / "pipeline.py").write_text(pipeline, encoding="utf-8")
    undecided = project.lockgate("run", MODEL)
    assert undecided.code == 3, undecided.said
    assert (
        "Not decided by bias-audit: by sex, too small to judge: Other, with under 1.3 % of the rows" in undecided.said
    )
    assert "left out: Other (fewer than 10 rows)" in undecided.said
    assert (
        "by sex, selection rates within 0.25: a fair model passes 0 % of the time, because of too few rows of Other"
        in (project.lockgate("render", MODEL).said)
    )
    assert "Other (fewer than 10)" in first_page(project, newest(project))

    (project.pipeline / "policy.toml").write_text(POLICY + ACCEPTED, encoding="utf-8")
    released = project.lockgate("run", MODEL)
    assert released.code == 0, released.said
    assert (
        f"left out by sex: Other (fewer than 10 rows), under 1.3 % of the rows, accepted until {UNTIL}" in released.said
    )
    kept = project.state / "store" / "models" / MODEL
    bundle = json.loads((kept / "live.json").read_bytes())["bundle"].removeprefix("sha256:")
    card = (kept / "bundles" / bundle / "card.md").read_text(encoding="utf-8")
    assert "fewer than 10 rows" in card.split("Small groups left out")[1]
    assert "| Other |" in card


def test_a_model_is_not_judged_on_its_training_rows(project: Project) -> None:
    """Labels without any pattern, and a test file of training rows: a model that remembers them would be perfect."""
    shuffled = rows(seed=9)
    noise = [(*case[:4], ("yes", "no")[at * 7 % 11 % 2], case[5]) for at, case in enumerate(shuffled)]
    data = project.pipeline / "data"
    (data / "rows.csv").write_bytes(csv(noise))
    same = PIPELINE.replace('uri="data/rows.csv"', 'uri="data/rows.csv", test="data/rows.csv"')
    (project.pipeline / "pipeline.py").write_text(same, encoding="utf-8")
    project.lockgate("run", MODEL).check(2, "names 'data/rows.csv' as the data and as the test file")
    other = PIPELINE.replace('uri="data/rows.csv"', 'uri="data/rows.csv", test="data/test.csv"')
    (project.pipeline / "pipeline.py").write_text(other, encoding="utf-8")
    (data / "test.csv").write_bytes(csv(noise))
    project.lockgate("run", MODEL).check(2, "the test file test.csv has the same content as the data file rows.csv")
    (data / "test.csv").write_bytes(csv([*noise[500:900], *rows(600, seed=10)]))
    refused = project.lockgate("run", MODEL)
    assert refused.code == 3, refused.said
    assert "Refused by validate-data: more test rows than by chance are equal to a training row" in refused.said
    assert "400 of the 1,000 test rows (40.0%) are equal to a training row; a random split" in refused.said
