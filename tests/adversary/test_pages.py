"""The pages of a run, attacked by somebody who can write its files or the store, and by a step of the model."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from lockgate_proof import Trust, TrustedKey, new_key, sign
from lockgate_report import say
from lockgate_step import canonical, sha256

from lockgate.cli.main import run_app
from lockgate.definition.contract import own_step, shipped
from lockgate.errors import SpecError
from lockgate.records.environment import Environment
from lockgate.records.evidence import Evidence
from lockgate.records.leftovers import remove_data
from lockgate.records.runs import RunRecord, Step, additional_gates, declared_pages
from lockgate.report.pages import Pages, write_pages
from tests.reported import add_pages, declare, sign_again

RECORDED = Path(__file__).parents[1] / "lockgate" / "commands" / "reported" / "released"
FORGED = (
    "<html><body><h1>No group is treated differently</h1><script>document.title='script ran'</script></body></html>"
)
OWN = "explore"  # the step of the model's author in the place of `train`


class Ran:
    """A recorded run in a project, with signed pages; the model's own step `explore` takes the place of `train`."""

    def __init__(self, root: Path, own: str = OWN) -> None:
        (source,) = (path.parent for path in RECORDED.glob("*/run.json"))
        self.root, self.folder = root, root / ".lockgate" / "runs" / source.name
        shutil.copytree(source, self.folder)
        for name in ("run.json", "about.json"):
            file = self.folder / name
            text = file.read_text()
            text = re.sub(r'("(?:displayName|templateName)": ?)"train', rf'\1"{own}', text)
            file.write_text(text.replace('"train"', f'"{own}"') if name == "about.json" else text)
        self.environment = Environment.below(root / ".lockgate" / "environment")
        self.environment.config.mkdir(parents=True)
        (self.environment.config / "store").write_text((root / ".lockgate" / "store").as_uri())
        self.trust = self.environment.config / "trust.json"
        shutil.copyfile(RECORDED / "trust.json", self.trust)
        add_pages(self.folder, self.trust)
        (root / "pipelines").mkdir()

    def out(self, step: str) -> Path:
        """The outputs of a step."""
        (found,) = (s.folder / "out" for s in RunRecord.load(self.folder).steps if s.name == step)
        found.mkdir(parents=True, exist_ok=True)
        return found

    def written(self) -> Pages:
        """The pages as `lockgate report` writes them."""
        return write_pages(Evidence(RunRecord.load(self.folder), Trust.read(self.trust), None))

    def shown(self) -> str:
        """The text of all pages."""
        return "\n".join(path.read_text() for path in (self.folder / "report").iterdir())


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    return Ran(tmp_path)


def test_pages_that_were_signed_are_shown(ran: Ran) -> None:
    pages = ran.written()
    assert set(pages.files) == {"index", "validate-data", "validate-model", "bias-audit", "package-card"}
    assert (list(pages.own), list(pages.withheld)) == ([], [])
    assert say("run.withheld") not in ran.shown()


@pytest.mark.parametrize(
    ("step", "output", "name"), [("bias-audit", "report", "bias-audit"), ("package", "card", "package-card")]
)
def test_a_page_that_was_changed_is_not_shown(ran: Ran, step: str, output: str, name: str) -> None:
    assert name in ran.written().files
    (ran.out(step) / output).write_text(FORGED)
    pages = ran.written()
    problem = say("run.withheld.changed", page=output, step=step)
    assert (name in pages.files, list(pages.withheld)) == (False, [problem])
    assert "No group is treated" not in ran.shown(), "nor the page that was written before"
    assert problem in pages.files["index"].read_text()
    assert f'href="{name}.html"' not in pages.files["index"].read_text()


def test_report_ends_with_3_and_names_the_page(
    ran: Ran, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ran.root)
    assert run_app(["report", "last"]) == 0
    (ran.out("bias-audit") / "report").write_text(FORGED)
    capsys.readouterr()
    assert run_app(["report", "last"]) == 3
    said = capsys.readouterr()
    problem = say("run.withheld.changed", page="report", step="bias-audit")
    assert problem in said.err.replace("\n", " ")
    assert "Next:" in said.err
    assert run_app(["report", "last", "--json"]) == 3
    value = json.loads(capsys.readouterr().out)
    assert value["withheld"] == [problem]
    assert "bias-audit" not in value["pages"]


def test_a_page_that_no_record_names_is_not_shown(ran: Ran) -> None:
    sign_again(ran.out("bias-audit") / "verdict", "bias-audit", {"pages": {}})
    (ran.out("validate-model") / "verdict").unlink()
    pages = ran.written()
    said = [say("run.withheld.unsigned", page="report", step=step) for step in ("validate-model", "bias-audit")]
    assert sorted(pages.withheld) == sorted(said)
    assert not {"bias-audit", "validate-model"} & set(pages.files)


def test_a_page_signed_by_another_step_is_not_shown(ran: Ran) -> None:
    other = ran.out("validate-model") / "report"
    (ran.out("bias-audit") / "report").write_bytes(other.read_bytes())
    assert list(ran.written().withheld) == [say("run.withheld.changed", page="report", step="bias-audit")]


@pytest.mark.parametrize("step", ["bias-audit", OWN])
def test_a_link_in_the_place_of_a_page_is_not_read(ran: Ran, step: str, tmp_path: Path) -> None:
    secret = tmp_path / "id_ed25519"
    secret.write_text("hunter2secret")  # pragma: allowlist secret
    declare(ran.folder, {OWN: ["report"]})
    page = ran.out(step) / "report"
    page.unlink(missing_ok=True)
    page.symlink_to(secret)
    assert list(ran.written().withheld) == [say("run.withheld.unsafe", page="report", step=step)]
    assert "hunter2secret" not in ran.shown()


def test_a_file_that_a_step_did_not_declare_is_no_page(ran: Ran) -> None:
    for name in ("report", "card", "index"):
        (ran.out(OWN) / name).write_text(FORGED)
    (ran.out("promote") / "report").write_text(FORGED)
    pages = ran.written()
    assert list(pages.own) == []
    assert "No group is treated" not in ran.shown()


@pytest.mark.parametrize("name", [OWN, "index"])
def test_a_page_of_the_models_own_step_is_apart_and_can_do_nothing(tmp_path: Path, name: str) -> None:
    ran = Ran(tmp_path, name)
    declare(ran.folder, {name: ["report"]})
    (ran.out(name) / "report").write_text(FORGED + "\"><script>document.title='out of the frame'</script>")
    pages = ran.written()
    assert list(pages.own) == [f"own-{name}"]
    assert next(iter(pages.files)) == "index"
    assert "No group is treated" not in pages.files["index"].read_text()
    text = pages.files[f"own-{name}"].read_text()
    assert text.count("<script") == 0
    assert text.count('<iframe sandbox="" ') == 1
    assert "Content-Security-Policy" in text.partition("<iframe")[0]
    assert say("run.own.lead", step=name, run=ran.folder.name) in text.partition("<iframe")[0].replace("&#x27;", "'")
    assert "records signed by" not in text
    assert f'href="own-{name}.html"' in pages.files["index"].read_text()


def test_a_page_of_an_additional_gate_is_shown_only_if_it_signed_it(tmp_path: Path) -> None:
    ran, text = Ran(tmp_path, "fairness"), b"<h1>Fair</h1>"
    declare(ran.folder, {"fairness": ["report"]})
    about = json.loads((ran.folder / "about.json").read_bytes())
    (ran.folder / "about.json").write_text(json.dumps({**about, "gates": ["fairness"]}))
    mine = TrustedKey(new_key(tmp_path / "key.pem"), ("adult-income.fairness",), "somebody")
    trust = Trust.read(ran.trust)
    ran.trust.write_bytes(replace(trust, keys=(*trust.keys, mine)).to_bytes())
    (ran.out("fairness") / "report").write_bytes(text)
    pages = ran.written()
    assert list(pages.withheld) == [say("run.withheld.unsigned", page="report", step="fairness")]
    assert not {"fairness", "own-fairness"} & set(pages.files)
    said = {"run": ran.folder.name, "pages": {"report": sha256(text)}}
    signed = sign("additional-verdict", {"data": sha256(b"rows")}, said, tmp_path / "key.pem")
    (ran.out("fairness") / "verdict").write_bytes(canonical(signed))
    assert ran.written().files["fairness"].read_bytes() == text


@pytest.mark.parametrize("name", ["index", "lndex", "package_card"])
def test_a_page_of_a_run_gives_no_step_its_name(tmp_path: Path, name: str) -> None:
    assert shipped(name) is not None
    source = tmp_path / f"{name}.py"
    source.write_text(f'@program()\ndef {name}(report: Out[Report]) -> None:\n    """Explore."""\n')
    with pytest.raises(SpecError, match="Lockgate's own"):
        own_step(source, "grants")


def test_only_a_name_of_a_contract_is_a_page() -> None:
    keys = {"report": "a/report.html", "../../x": "b.html", "a b": "c.html", "rows": "a/rows", "": ".html"}
    artifacts = [{"name": name, "s3": {"key": key}} for name, key in keys.items()]
    spec = {"templates": [{"name": "explore", "outputs": {"artifacts": artifacts}}, {"name": "chain", "dag": {}}]}
    assert declared_pages(spec) == {"explore": ("report",)}


def test_only_a_step_with_a_key_of_its_own_is_an_additional_gate() -> None:
    secrets = {"fairness": "lockgate-key-grants.fairness", "bias-audit": "lockgate-key-bias-audit", "explore": "x.y"}
    spec = {"templates": [{"name": n, "volumes": [{"secret": {"secretName": s}}]} for n, s in secrets.items()]}
    assert additional_gates(spec) == ("fairness",)


def test_only_what_a_step_declared_stays(ran: Ran) -> None:
    declare(ran.folder, {OWN: ["report"]})
    own = ran.out(OWN)
    names = ("report", "card", "verdict", "record", "record.json", "model/record.json", "model/deep/report", "rows")
    for name in names:
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("17,Ana,57000")
    (own / "card").unlink()
    (own / "card").symlink_to(own / "rows")
    audit = ran.out("bias-audit")
    for name in ("record", "card", "bundle/verdict"):
        (audit / name).parent.mkdir(exist_ok=True)
        (audit / name).write_text("17,Ana,57000")
    remove_data(RunRecord.load(ran.folder))
    left = {path.relative_to(own).as_posix() for path in own.rglob("*")}
    assert left == {"report"}
    assert {path.name for path in audit.iterdir()} == {"verdict", "report"}
    assert (ran.out("package") / "bundle" / "record.json").is_file()
    assert (ran.out("ingest") / "record").is_file()


def test_a_declared_page_that_is_a_folder_goes(ran: Ran) -> None:
    declare(ran.folder, {OWN: ["report"]})
    (ran.out(OWN) / "report").mkdir()
    (ran.out(OWN) / "report" / "report").write_text("17,Ana,57000")
    remove_data(RunRecord.load(ran.folder))
    assert not (ran.out(OWN) / "report").exists()


def test_a_verdict_that_another_step_wrote_says_nothing(ran: Ran) -> None:
    shutil.copyfile(ran.out("bias-audit") / "verdict", ran.out(OWN) / "verdict")
    told = 'main: Error (exit code 3): {"result":"refused","reasons":[],"notes":[]}'
    step = next(step for step in RunRecord.load(ran.folder).steps if step.name == OWN)
    assert (step.envelope, step.verdict, step.outcome) == (None, None, "done")
    assert Step(OWN, "Failed", told, 3, 1.0, ran.folder).verdict is None
    assert Step("fairness", "Failed", told, 3, 1.0, ran.folder, additional=True).verdict is not None
    assert Step("bias-audit", "Failed", told, 3, 1.0, ran.folder).verdict is not None


FORGED_LINE = "2026-11-30T12:00:00Z bias-audit verdict result=passed"
VERBS = (["logs", "last"], ["logs", "last", "nothing"], ["status"], ["report", "last"], ["stop", "last"])


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_the_name_of_a_step_starts_no_line(
    tmp_path: Path, verb: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran(tmp_path)
    record = json.loads((ran.folder / "run.json").read_bytes())
    hostile = [node for node in record["nodes"].values() if node["templateName"] == OWN]
    for node in hostile:
        node["displayName"] = OWN + f"\n{FORGED_LINE}\r\x1b[2K{FORGED_LINE}"
        node["message"] = f"failed\n{FORGED_LINE}"
    (folder,) = (ran.folder / node["folder"] for node in hostile if node["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    event = {"time": f"now\n{FORGED_LINE}", "event": f"x\n{FORGED_LINE}"}
    (folder / "log").write_text(json.dumps(event) + "\n")
    record["message"] = f"stopped\n{FORGED_LINE}"
    (ran.folder / "run.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    run_app(verb)
    said = capsys.readouterr()
    lines = re.split(r"[\n\r]", said.out + said.err)
    assert [line for line in lines if line.startswith(FORGED_LINE)] == []
    if verb == ["logs", "last"]:
        assert rf"explore\u000a{FORGED_LINE}" in said.out
