"""The files that package itself adds to a bundle: SBOM, schema, sample request, card."""

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from lockgate_package.document import Code, Document, Facts, Grid, Points, Section, Text
from lockgate_package.evidence import prove
from lockgate_package.interface import sample_request, schema
from lockgate_package.package import make
from lockgate_package.sbom import Package, read_lock, sbom
from lockgate_proof import read_waivers
from lockgate_step import canonical, sha256

from tests.steps.package.chain import GOLDEN, MEASUREMENTS, MODEL, Chain

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "steps/package/lockgate_package/model-server.lock"
SMALL = """\
numpy==2.4.6 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cc
"""


def bill(lock: str = SMALL, model_digest: str = sha256(b"model")) -> dict[str, Any]:
    text = sbom(MODEL, name="adult-income", model_digest=model_digest, file_digest=sha256(b"graph"), lock=lock)
    return dict(json.loads(text))


def made(chain: Chain) -> dict[str, str]:
    evidence = prove(chain.files, chain.trust(), now=datetime.now(UTC))
    return {name: content.decode() for name, content in make(evidence, chain.files).items()}


def test_the_lock_that_serves_is_the_lock_that_is_listed() -> None:
    assert LOCK.read_bytes() == (ROOT / "images/model-server/requirements.lock").read_bytes(), (
        "copy images/model-server/requirements.lock to steps/package/lockgate_package/model-server.lock"
    )


def test_reads_a_lock() -> None:
    assert read_lock(SMALL) == [
        Package("numpy", "2.4.6", "", ("aa", "bb")),
        Package("colorama", "0.4.6", "sys_platform == 'win32'", ("cc",)),
    ]


def test_misses_no_package_of_the_real_lock() -> None:
    pins = [line.partition("==")[0] for line in LOCK.read_text().splitlines() if line[:1].isalnum()]
    packages = read_lock(LOCK.read_text())
    assert [package.name for package in packages] == pins
    assert "mlserver" in pins
    assert all(len(digest) == 64 for package in packages for digest in package.hashes)
    assert all(package.hashes for package in packages)


def test_the_bill_names_the_model_and_every_package() -> None:
    found = bill()
    assert found["specVersion"] == "1.6"
    kinds = {component["name"]: component["type"] for component in found["components"]}
    assert kinds == {"model.onnx": "machine-learning-model", "numpy": "library", "colorama": "library"}
    numpy = next(component for component in found["components"] if component["name"] == "numpy")
    assert numpy["purl"] == "pkg:pypi/numpy@2.4.6"
    assert [digest["content"] for digest in numpy["hashes"]] == ["aa", "bb"]
    served = next(entry for entry in found["dependencies"] if entry["ref"] == "served")
    assert set(served["dependsOn"]) == {"model", "pkg:pypi/numpy@2.4.6", "pkg:pypi/colorama@0.4.6"}


def test_the_bill_depends_on_nothing_but_its_inputs() -> None:
    assert bill() == bill()
    assert "timestamp" not in bill()["metadata"]
    serials = {
        bill()["serialNumber"],
        bill(model_digest=sha256(b"other"))["serialNumber"],
        bill(SMALL + "\n")["serialNumber"],
    }
    assert len(serials) == 3


def test_the_bill_is_valid_cyclonedx() -> None:
    text = sbom(MODEL, name="m", model_digest=sha256(b"model"), file_digest=sha256(b"graph"), lock=LOCK.read_text())
    judge = JsonStrictValidator(SchemaVersion.V1_6)
    assert judge.validate_str(text) is None
    assert judge.validate_str(text.replace('"machine-learning-model"', '"oracle"')) is not None


def test_the_schema_says_what_a_caller_may_send() -> None:
    found = schema("adult-income", MODEL)
    assert [(column["name"], column["datatype"], column["shape"]) for column in found["inputs"]] == [
        ("age", "FP64", [-1]),
        ("job", "BYTES", [-1]),
    ]
    assert found["inputs"][0]["parameters"] == {
        "kind": "number", "low": 17, "high": 90, "whole": True, "missing": False, "unit": "years",
    }  # fmt: skip
    assert found["inputs"][1]["parameters"]["values"] == ["clerk", "o'brien & sons"]
    assert [column["name"] for column in found["outputs"]] == ["label", "score"]
    assert found["outputs"][0]["parameters"]["values"] == ["<=50K", ">50K"]


def test_the_sample_request_is_of_golden_rows() -> None:
    assert sample_request(MODEL, GOLDEN) == {
        "inputs": [
            {"name": "age", "datatype": "FP64", "shape": [3], "data": [30.0, 31.0, 32.0]},
            {"name": "job", "datatype": "BYTES", "shape": [3], "data": ["clerk", None, "clerk"]},
        ]
    }


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


SECTIONS = (
    "Model details", "Intended use", "Factors", "Metrics and policy", "Data", "Results by group",
    "Measured for information only", "Waivers in force", "Caveats and limits", "How to call the model", "Digests",
)  # fmt: skip


def test_the_card_says_what_the_signed_records_say(chain: Chain) -> None:
    files = made(chain)
    page = Tags()
    page.feed(files["card.html"])
    text = " ".join(" ".join(page.text).split())
    for wanted in (
        *SECTIONS,
        "labour-statistics@example.gc.ca",
        "Who earns more than $50,000 a year? <i>",
        "Below this the old form was better.",
        "Men and women must be selected at rates the programme can defend.",
        "at least 0.84", "0.871", "0.85 to 0.9", "0.08 to 0.14",
        "5,421", "8.4 %", "19.2 %",
        "40: 30 for training, 10 for testing",
        "validate-data checked the data against 12 expectations, 9 of them critical; 11 were met.",
        "clerk, o'brien & sons",
        "17 to 90 years",
        *chain.subjects().values(),
    ):  # fmt: skip
        assert wanted in text, wanted
    for section in SECTIONS:
        assert f"\n## {section}\n" in files["card.md"]
    assert "8.4 %" in files["card.md"]


def test_the_card_names_its_run_and_says_why_it_has_no_date(chain: Chain) -> None:
    card = made(chain)["card.md"]
    details = card.split("## Model details")[1].split("\n## ")[0]
    assert "- **Run**: r1\n" in details
    assert f"- **Data**: {chain.subjects()['data']}\n" in details
    assert "neither the bundle's digest nor a date" in card.split("## Digests")[1]


@pytest.mark.parametrize(
    ("standing", "how"), [("beyond", "beyond its limit"), ("undecided", "not shown to be within its limit")]
)
def test_a_waiver_is_the_first_thing_on_the_card(chain: Chain, standing: str, how: str) -> None:
    rule = "bias:sex:selection_rate_difference"
    until = (datetime.now(UTC) + timedelta(days=300)).isoformat(timespec="seconds")
    chain.waive("bias-audit", rule, expires=until)
    (waiver,) = read_waivers(chain.inputs / "waivers", chain.trust())
    reason = {
        "id": "bias-audit/1",
        "rule": rule,
        "message": "by sex, they differ",
        "lines": [],
        "why": "",
        "source": "",
    }
    measured = MEASUREMENTS["bias-audit"] | {"rules": {rule: {"standing": standing, "limit": 0.15}}}
    cited = reason | {"waived_by": waiver.statement.digest, "waiver": waiver.to_json()}
    chain.sign_verdict("bias-audit", {}, reasons=[cited], measurements=measured)
    files = made(chain)
    wanted = f"By sex, they differ: {how}, excepted until {until[:10]} by {waiver.approver}: {waiver.why}"
    assert wanted in files["card.html"].partition("<section>")[0]
    assert files["card.md"].partition("## ")[0].endswith(f"> **{wanted}**\n\n")


def test_the_card_runs_nothing_and_injects_nothing(chain: Chain) -> None:
    files = made(chain)
    page = Tags()
    page.feed(files["card.html"])
    assert not {"script", "iframe", "img", "link", "i"} & set(page.tags)
    assert "\\<i\\>" in files["card.md"]


def test_every_measure_is_shown_with_that_of_the_live_version(chain: Chain) -> None:
    lines = made(chain)["card.md"].splitlines()
    assert "| accuracy | 0.871 | 0.85 to 0.9 | 0.866 | -0.01 to 0.02 |" in lines
    assert "| brier | 0.09 | 0.08 to 0.1 |  |  |" in lines
    assert "| f1 |  |  |  |  |" in lines


def test_what_a_run_may_change_is_not_stated_as_a_fact(chain: Chain) -> None:
    spec = json.loads((chain.inputs / "spec").read_text())
    spec |= {"train": {"estimator": "x.Y", "mitigation": "none"}, "tunable": ["mitigation"]}
    (chain.inputs / "spec").write_text(json.dumps(spec))
    chain.sign_all()
    card = made(chain)["card.md"]
    assert "- **Settings of train in the spec**: estimator: x.Y, mitigation: none\n" in card
    assert "- **May differ**: a run may change mitigation\n" in card
    assert "- **Trained with**: not stated by the step that trained it\n" in card


def test_the_card_says_what_the_model_was_really_trained_with(chain: Chain) -> None:
    spec = json.loads((chain.inputs / "spec").read_text())
    spec |= {"train": {"estimator": "x.Y", "mitigation": "grid-search"}, "tunable": ["mitigation"]}
    (chain.inputs / "spec").write_text(json.dumps(spec))
    trained = {"estimator": "x.Y", "mitigation": "none", "mitigate": "", "fits": 20, "seed": 3}
    (chain.inputs / "model" / "model.json").write_bytes(canonical(MODEL | {"trained_with": trained}))
    chain.sign_all()
    card = made(chain)["card.md"]
    assert "- **Trained with**: estimator: x.Y, mitigation: none, seed: 3\n" in card  # no mitigation ran, so no fits
    assert "- **The spec says instead**: mitigation: grid-search\n" in card
    assert "May differ" not in card


def test_a_hidden_figure_is_said_to_be_hidden(chain: Chain) -> None:
    row = next(line for line in made(chain)["card.md"].splitlines() if line.startswith("| Female"))
    assert [cell.strip() for cell in row.split("|")][1:-1] == ["Female", "5,421", "8.4 %", "not shown"]


def test_rules_without_a_limit_are_on_the_card(chain: Chain) -> None:
    (chain.inputs / "policy").write_text(
        '[[quality]]\nmeasure = "accuracy"\nat_least = 0.8\nwhy = "Floor."\n'
        '[[bias]]\nbetween = ["sex"]\nmeasure = "selection_rate_ratio"\nreported_only = true\nwhy = "To be watched."\n'
        '[[unaudited]]\ncolumn = "religion"\nwhy = "Not collected."\n'
        '[[smoke]]\nmeasure = "p99_ms"\nat_most = 250\nwhy = "Clerks wait."\n'
    )
    chain.sign_all()
    card = made(chain)["card.md"]
    section = card.split("## Measured for information only")[1].split("\n## ")[0]
    assert "selection rate ratio by sex: To be watched. (policy.toml:8)" in section
    assert "religion is not audited: Not collected." in section
    assert "Clerks wait." in card


@pytest.mark.parametrize(
    ("block", "markdown", "html"),
    [
        (Text("a <b> *c*"), "a \\<b\\> \\*c\\*", "<p>a &lt;b&gt; *c*</p>"),
        (Points(["x", "y"]), "- x\n- y", "<ul><li>x</li><li>y</li></ul>"),
        (Facts({"k": "v|w"}), "- **k**: v\\|w", "<dl><dt>k</dt><dd>v|w</dd></dl>"),
        (Code("a<b"), "```\na<b\n```", "<pre>a&lt;b</pre>"),
    ],
)
def test_one_block_two_forms(block: Text | Points | Facts | Code, markdown: str, html: str) -> None:
    document = Document("Card", "m", [Section("S", [block])])
    assert document.markdown() == f"# Card: m\n\n## S\n\n{markdown}\n"
    assert html in document.html()


def test_a_warning_comes_first() -> None:
    document = Document("Card", "m", [Section("S", [Text("t")])], ["Not met, <until> May"])
    assert document.markdown().startswith("# Card: m\n\n> **Not met, \\<until\\> May**\n\n## S\n")
    banner, _, rest = document.html().partition("<section>")
    assert '<div class="banner unsure">' in banner
    assert "<strong>Not met, &lt;until&gt; May</strong>" in banner
    assert "Not met" not in rest


def test_a_table_aligns_figures_right() -> None:
    document = Document("Card", "m", [Section("S", [Grid("By sex", ["group", "rows"], [["a", "1"]], numbers=[1])])])
    assert "By sex\n\n| group | rows |\n| --- | ---: |\n| a | 1 |\n" in document.markdown()
    assert "<caption>By sex</caption>" in document.html()
