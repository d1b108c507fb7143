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
