"""The pages of recorded runs, for a director who has a minute and for an auditor who cites them."""

import base64
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from re import sub
from typing import Any

import pytest

from lockgate.commands.machine import Machine
from lockgate.commands.runs import report_of
from lockgate.definition.project import Project
from lockgate.records.environment import Environment
from lockgate.records.evidence import Evidence
from lockgate.records.runs import RunRecord
from lockgate.records.store import store_of
from lockgate.report.index import index
from lockgate.report.lines import refusal_lines
from tests.promotions import sign_recorded
from tests.reported import add_pages

RECORDED = Path(__file__).parent / "reported"  # as recorded/, and every signed record with the keys to check it
MINE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


class Pages:
    """A recorded run in its own project, and its pages as text."""

    def __init__(self, end: str, root: Path) -> None:
        (source,) = (path.parent for path in (RECORDED / end).glob("*/run.json"))
        self.root = root
        self.folder = root / ".lockgate" / "runs" / source.name
        shutil.copytree(source, self.folder)
        self.environment = Environment.below(root / ".lockgate" / "environment")
        self.environment.config.mkdir(parents=True)
        store = root / ".lockgate" / "store"
        (self.environment.config / "store").write_text(store.as_uri())
        shutil.copyfile(RECORDED / end / "trust.json", self.environment.config / "trust.json")
        self.pointer = store / "models" / "adult-income" / "live.json"
        self.promote(json.loads((RECORDED / end / "live.json").read_bytes()))
        add_pages(self.folder, self.environment.config / "trust.json")

    @property
    def record(self) -> RunRecord:
        return RunRecord.load(self.folder)

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.record, self.environment.trust, json.loads(self.pointer.read_bytes()))

    def live(self, bundle: str) -> None:
        said = json.loads(self.pointer.read_bytes())
        self.promote({**said, "bundle": bundle, "at": "2026-12-01T08:00:00+00:00"})

    def promote(self, said: dict[str, Any]) -> None:
        store = store_of(self.environment)
        sign_recorded(self.environment.config, self.root / "promote.pem", store, "adult-income", said)

    def html(self, name: str = "index") -> str:
        report_of(Machine(Project(self.root), self.environment), self.record)
        return (self.folder / "report" / f"{name}.html").read_text()

    def text(self, name: str = "index") -> str:
        body = self.html(name).partition("</style>")[2]
        return " ".join(unescape(sub(r"<[^>]+>", " ", body)).split())


def statement(path: Path) -> dict[str, Any]:
    """Return the statement in a recorded envelope."""
    return dict(json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"])))


def test_a_record_brought_from_another_run_proves_nothing(released: Pages) -> None:
    other = released.folder.with_name("0a0a0a")
    released.folder.rename(other)
    released.folder = other
    assert not released.evidence.statements
    assert set(released.evidence.unproven) == {"validate-data", "validate-model", "bias-audit", "smoke-test"}


@pytest.fixture
def released(tmp_path: Path) -> Pages:
    return Pages("released", tmp_path)


@pytest.fixture
def refused(tmp_path: Path) -> Pages:
    return Pages("refused", tmp_path)


@pytest.fixture
def waived(tmp_path: Path) -> Pages:
    return Pages("waived", tmp_path)


def test_the_first_page_says_when_what_and_who(released: Pages) -> None:
    text = released.text()
    subjects = {
        each["name"]: f"sha256:{each['digest']['sha256']}"
        for each in statement(released.folder / "nodes/gates.package.0/out/bundle/record.json")["subject"]
    }
    for wanted in (
        "Released", "adult-income: every gate passed",
        released.record.started[:10], f"Run {released.record.id}", "Workflow release",
        "Who earns more than $50,000 a year? UCI Adult, 1994.",
        "adult.data.gz, 48,842 rows (32,561 to train, 16,281 to test)",
        "ingest, validate-data, predict, validate-model, bias-audit, package, smoke-test",
        "These keys were made on one machine; other machines do not trust them.",
        f"Users get {subjects['bundle'][:13]} since", "before it, sha256:302c4b",
        *subjects.values(),
    ):  # fmt: skip
        assert wanted in text, wanted
    assert f'title="{subjects["bundle"]}"' in released.html()


def test_each_figure_stands_beside_its_limit_and_the_policys_line(released: Pages) -> None:
    text, seen = released.text(), 0
    for figure in released.evidence.judged:
        said = figure.said
        if "source" in said:
            seen += 1
            assert f"{said['limit']:g}" in text
            assert said["source"] in text
        if said.get("low") is not None:
            assert text.count(f"{said['low']:.3f} to {said['high']:.3f}") + text.count(f"{said['low']:+.3f}") >= 1
    assert seen == 5
    assert "Response time, 99th percentile (ms)" in text
    assert "Difference in selection rate by sex" in text
    gain = "Accuracy, compared with live within +0.000 +0.000 to +0.000 at most 0.01 worse than live policy.toml:15"
    assert gain in text
    assert "Data expectations within 128 of 128 met all 105 critical ones" in text


def test_what_has_no_limit_is_counted_and_named(released: Pages) -> None:
    text = released.text()
    assert "3 gaps are measured for information only and have no limit; see bias-audit :" in text
    judged, open_ = text.split("3 gaps are measured")
    for name in ("true positive rate by sex", "selection rate by race", "selection rate by sex and race"):
        assert f"Difference in {name}:" in open_
        assert f"Difference in {name} " not in judged
    assert "No waiver was used." in text


def test_a_refusal_says_what_the_terminal_says(refused: Pages) -> None:
    text = refused.text()
    (step,) = refused.record.refused
    headline, *figures, why = refusal_lines(step)
    assert headline.lower() in text.replace("bias-audit ", "bias-audit: ").lower()
    for line in (*figures, why.replace("why:", "Why this rule:")):
        assert " ".join(line.split()) in text
    assert "Bundle not created" in text
    assert "No verdict from: smoke-test." in text
    assert f"lockgate waive {refused.record.id} bias-audit/1" in text
    assert "by sex beyond 0.173 0.162 to 0.184 at most 0.15 policy.toml:21" in text


@pytest.mark.parametrize(
    ("gate", "additional", "place"),
    [
        ("bias-audit", False, "policy.toml"),
        ("fairness", True, "the program of fairness"),
        ("validate-data", False, "expectations.json or the spec"),
    ],
)
def test_the_place_of_a_rule_is_that_of_its_gate(refused: Pages, gate: str, additional: bool, place: str) -> None:
    """The rule of an additional gate is in its program, those of the data are in expectations.json."""
    evidence = refused.evidence
    (step,) = evidence.record.refused
    evidence.record.steps[evidence.record.steps.index(step)] = replace(step, name=gate, additional=additional)
    found = re.findall(r"Or change the rule in ([^;]+);", index(evidence, {}))
    assert found == [place]


def test_a_waiver_is_the_first_thing_that_is_said(waived: Pages) -> None:
    text = waived.text()
    (reason,) = waived.record.waived
    waiver = reason["waiver"]
    end, name = waiver["expires"][:10], waiver["approver"]
    assert "every gate passed" not in text
    banner = text.partition("Who earns more")[0]
    assert "Released under a waiver" in banner
    assert f"Waived until {end}, approved by {name}, signed by {waiver['signer']}: {waiver['why']}" in banner
    assert f"waived until {end} by {name}" in text.split("What was judged")[1]
    assert f"Waivers used: {reason['id']}: Waived until {end}, approved by {name}" in text
    assert 'class="pill bad"' not in waived.html()


@pytest.mark.parametrize(
    ("end", "bundle", "wanted"),
    [
        ("released", OTHER, "; now users get sha256:222222 since 2026-12-01 08:00 UTC"),
        ("refused", OTHER, "This run changed nothing; users now get sha256:222222 since 2026-12-01 08:00 UTC"),
        ("refused", "", "Nothing changed: users still get sha256:"),
    ],
)
def test_what_users_get_is_said_as_it_is_now(end: str, bundle: str, wanted: str, tmp_path: Path) -> None:
    pages = Pages(end, tmp_path)
    if bundle:
        pages.live(bundle)
    assert wanted in pages.text()


def test_every_page_can_be_cited(released: Pages) -> None:
    subjects = released.evidence.subjects
    line = (
        f"Run {released.record.id} of {released.record.started[:10]} {released.record.started[11:16]} UTC; model "
        f"adult-income; data {subjects['data']}; bundle {subjects['bundle']}; records signed by {{}}."
    )
    (owner,) = {key.owner for key in released.environment.trust.for_signer("bias-audit")}
    for name in ("index", "bias-audit", "package-card"):
        assert line.format(owner) in released.text(name).split("the body")[-1], name
    top = line.split(";")[0] + f"; bundle {subjects['bundle']}."
    assert top in released.text("package-card").split("the body")[0], "a card begins with it"
    assert top not in released.text("bias-audit")


def test_a_verdict_that_was_changed_is_not_said_to_be_signed(released: Pages) -> None:
    path = released.folder / "nodes/gates.bias-audit.0/out/verdict"
    envelope, said = json.loads(path.read_bytes()), statement(path)
    said["predicate"]["notes"] = ["all is well"]
    envelope["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    path.write_text(json.dumps(envelope))
    text = released.text()
    assert "No trusted key: bias-audit" in text
    assert "The report of bias-audit is not shown: no record of bias-audit in this run has a trusted signature" in text
    assert not (released.folder / "report" / "bias-audit.html").exists()


def test_a_release_without_trusted_verdicts_is_not_said_to_have_passed(released: Pages) -> None:
    text = released.text()
    assert "every gate passed" in text
    path = released.folder / "nodes/gates.bias-audit.0/out/verdict"
    envelope, said = json.loads(path.read_bytes()), statement(path)
    (rule,) = (key for key in said["predicate"]["measurements"]["rules"] if key.startswith("bias:sex:selection"))
    said["predicate"]["measurements"]["rules"][rule]["value"] = 0.0123
    envelope["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    path.write_text(json.dumps(envelope))
    text = released.text()
    assert "every gate passed" not in text
    assert "No verdict with a trusted signature from: bias-audit" in text
    assert "0.012" not in text
    assert {figure.gate for figure in released.evidence.judged} == {"validate-data", "validate-model", "smoke-test"}
    path.unlink()
    assert "No verdict with a trusted signature from: bias-audit" in released.text()
