"""An additional gate of a model is asked for like the gates of every model, and its key signs nothing else."""

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from lockgate_proof import (
    ProofError,
    Trust,
    TrustedKey,
    bundle_digest,
    new_key,
    predicate,
    sign,
    verify,
    verify_bundle,
    verify_verdict,
)
from lockgate_step import canonical, file_digest, sha256

from lockgate.definition import workflows
from lockgate.definition.catalog import Catalog
from lockgate.definition.contract import own_step
from lockgate.definition.project import Project
from lockgate.engine import isolates
from lockgate.errors import SpecError
from lockgate.records.environment import Environment
from lockgate.records.runs import additional_gates
from lockgate.rendering.current import Current
from lockgate.rendering.files import model_files
from lockgate.rendering.manifest import workflow_template
from tests import workshop
from tests.gates import GATE, PAGE, SIGNER, add_gate

MODEL = workshop.MODEL
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[workshop.Project]:
    """A project whose model has an additional gate, and a release that passed it."""
    with workshop.platform(workshop.Project.make(tmp_path_factory.mktemp("gates"))) as project:
        add_gate(project.pipeline)
        workshop.release(project)
        yield project


@pytest.fixture
def rendered(tmp_path: Path) -> workshop.Project:
    """A project whose model has an additional gate, and no runs."""
    project = workshop.Project.make(tmp_path / "project")
    add_gate(project.pipeline)
    return project


def manifests(project: workshop.Project) -> dict[str, dict[str, Any]]:
    """Return the rendered workflows by file name."""
    here = Project(project.root)
    files = model_files(here, here.model(MODEL), check=True)
    return {path.name: yaml.safe_load(text) for path, text in files.items() if path.suffix == ".yaml"}


@pytest.mark.parametrize("workflow", ["release.yaml", "review.yaml"])
def test_each_workflow_asks_for_the_gate_and_only_the_gate_has_its_key(
    rendered: workshop.Project, workflow: str
) -> None:
    whole = manifests(rendered)[workflow]["spec"]
    assert additional_gates(whole) == (GATE,)
    pods = {each["name"]: each for each in whole["templates"]}
    secrets = {name: [v["secret"]["secretName"] for v in pod.get("volumes", ()) if "secret" in v]
               for name, pod in pods.items()}  # fmt: skip
    assert [name for name, has in secrets.items() if f"lockgate-key-{SIGNER}" in has] == [GATE]
    assert secrets[GATE] == [f"lockgate-key-{SIGNER}"]
    (taken,) = (a for a in pods["package"]["inputs"]["artifacts"] if a["name"].startswith("additional"))
    assert (taken["path"], taken.get("optional")) == (f"/lockgate/in/additional/{GATE}", None)
    (asked,) = (t for t in pods["gates"]["dag"]["tasks"] if t["name"] == "package")
    assert f"{GATE}.Succeeded" in asked["depends"]
    (spec,) = (a["raw"]["data"] for a in pods["package"]["inputs"]["artifacts"] if a["name"] == "spec")
    assert list(json.loads(spec)["gates"]) == [GATE]


def test_a_workflow_that_leaves_it_out_is_not_rendered(rendered: workshop.Project) -> None:
    here = Project(rendered.root)
    model, catalog = here.model(MODEL), Catalog.find()
    programs = {**model.own_programs, **catalog.programs}
    for whole in (workflows.release(model.spec), workflows.review(model.spec)):
        with pytest.raises(SpecError, match="package does not get the verdict of the additional gate calibration"):
            workflow_template(model, whole, programs, {})


def test_a_task_that_takes_its_key_beside_it_is_not_rendered(rendered: workshop.Project) -> None:
    rendered.give_chain(
        "model = steps.train(data.rows)",
        "found = steps.predict(model, data.rows, data.record, None, name='early')",
        "given = {'answers': found, 'truth': data.rows, 'data': data.record}",
        f"add('{GATE}', 'mine', given, {{'at_most': 9.0}})",
        "return brought(model, data, checked)",
    )
    with pytest.raises(SpecError, match=r"key-of-its-own: lockgate-key-grants\.calibration is mounted in"):
        manifests(rendered)


def test_a_changed_gate_is_another_spec(rendered: workshop.Project) -> None:
    before = Current.of(Project(rendered.root).model(MODEL)).spec
    add_gate(rendered.pipeline, at_most=0.9)
    assert Current.of(Project(rendered.root).model(MODEL)).spec != before


def test_without_the_file_the_spec_is_another(rendered: workshop.Project) -> None:
    before = manifests(rendered)["release.yaml"]["metadata"]["name"]
    (rendered.pipeline / f"{GATE}.py").unlink()
    project = Project(rendered.root)
    assert manifests(rendered)["release.yaml"]["metadata"]["name"] != before
    assert "gates" not in json.loads(project.model(MODEL).raw["spec"])


BAD = {
    "signs": ("@program(gate=True)", "@program(gate=True, signs=True)", "signs, so it needs an Out of one of Data"),
    "the store": ("@program(gate=True)", "@program(gate=True, uses=['store'])", "uses store"),
    "the platform": ("@program(gate=True)", "@program(gate=True, uses=['platform'])", "uses platform"),
    "an image": ("@program(gate=True)", "@program(gate=True, image='bias-audit')", "names the image bias-audit"),
    "a shipped verdict": ("Out[AdditionalVerdict]", "Out[BiasVerdict]", "writes verdict: Out"),
    "another output": ("    verdict: Out", "    more: Out[Table],\n    verdict: Out", "writes verdict: Out"),
    "training rows": ("truth: In[Table]", "rows: In[Table]", "cannot read rows: Table"),
    "a wrong type": ("truth: In[Table]", "truth: In[Answers]", "cannot read truth: Answers"),
    "a setting that a run gives": ("at_most: float = 0.2", "at_most: float", "has no default"),
    "a shipped name": (f"def {GATE}", "def bias_audit", "Lockgate's own bias-audit"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_no_other_right_comes_with_a_gate(tmp_path: Path, case: str) -> None:
    old, new, says = BAD[case]
    source = add_gate(tmp_path)
    text = source.read_text(encoding="utf-8")
    assert old in text
    source.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(SpecError, match=rf"{GATE}.*{re.escape(says)}"):
        own_step(source, MODEL)


def test_its_key_has_no_name_of_another(tmp_path: Path) -> None:
    """Model and gate are joined by a dot, which no name has: two of them never share a key."""
    one = own_step(add_gate(tmp_path, name="b_c"), "a")
    (tmp_path / "other").mkdir()
    other = own_step(add_gate(tmp_path / "other", name="c"), "a-b")
    assert (one.signer, other.signer) == ("a.b-c", "a-b.c")
    assert not any("." in signer for signer in Catalog.find().signers)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trust, dict[str, Path]]:
    """A trust file with the keys of two additional gates of two models, and of two of Lockgate's own."""
    folder = tmp_path_factory.mktemp("keys")
    found = {who: folder / who for who in (SIGNER, f"{MODEL}.other", f"loans.{GATE}", "bias-audit", "promote")}
    trusted = (TrustedKey(new_key(path), (who,), who) for who, path in found.items())
    return Trust.from_json(json.loads(Trust(tuple(trusted)).to_bytes())), found


def said(model: str = MODEL, gate: str = GATE, **more: object) -> dict[str, Any]:
    return {"model": model, "gate": gate, "result": "passed", "reasons": [], "notes": [], "measurements": {}, **more}


SUBJECTS = {"data": sha256(b"data")}


def judged(trust: Trust, envelope: Mapping[str, Any], gate: str = GATE, *, additional: bool = True) -> None:
    verify_verdict(envelope, trust, gate=gate, model=MODEL, subjects=SUBJECTS, now=NOW, additional=additional)


@pytest.mark.parametrize(
    ("who", "kind", "verdict", "says"),
    [
        (f"{MODEL}.other", "additional-verdict", said(), "not signed by a key that may sign as grants.calibration"),
        (f"loans.{GATE}", "additional-verdict", said(), "not signed by a key that may sign as grants.calibration"),
        ("bias-audit", "additional-verdict", said(), "not signed by a key that may sign as grants.calibration"),
        (SIGNER, "verdict", said(), "its type is urn:lockgate:verdict:v1, not additional-verdict"),
        (SIGNER, "promotion", said(), "its type is urn:lockgate:promotion:v1, not additional-verdict"),
        (SIGNER, "additional-verdict", said(model="loans"), "the verdict of calibration on loans"),
        (SIGNER, "additional-verdict", said(gate="other"), "the verdict of other on grants"),
        (SIGNER, "additional-verdict", said(result="not_judged"), "did not pass: not_judged"),
        (SIGNER, "additional-verdict", said(result="refused"), "did not pass: refused"),
    ],
)  # fmt: skip
def test_only_its_key_signs_its_verdict(
    keys: tuple[Trust, dict[str, Path]], who: str, kind: str, verdict: dict[str, Any], says: str
) -> None:
    trust, found = keys
    judged(trust, sign("additional-verdict", SUBJECTS, said(), found[SIGNER]))
    with pytest.raises(ProofError, match=re.escape(says)):
        judged(trust, sign(kind, SUBJECTS, verdict, found[who]))


def test_its_key_signs_no_record_of_lockgate(keys: tuple[Trust, dict[str, Path]]) -> None:
    trust, found = keys
    for signer, kind in (("bias-audit", "verdict"), ("promote", "promotion")):
        forged = sign(kind, SUBJECTS, said(gate=signer), found[SIGNER])
        with pytest.raises(ProofError, match=f"not signed by a key that may sign as {signer}"):
            verify(forged, trust, signer=signer)
    with pytest.raises(ProofError, match="its type is urn:lockgate:additional-verdict:v1, not verdict"):
        judged(trust, sign("additional-verdict", SUBJECTS, said(gate="bias-audit"), found["bias-audit"]),
               "bias-audit", additional=False)  # fmt: skip
    with pytest.raises(ProofError, match=r"its type is urn:lockgate:verdict:v1, not additional-verdict"):
        verify(sign("verdict", SUBJECTS, said(), found[SIGNER]), trust, signer=SIGNER, kind="verdict")


@pytest.mark.parametrize("entries", [1, 2])
def test_a_trust_file_gives_its_key_no_second_role(keys: tuple[Trust, dict[str, Path]], entries: int) -> None:
    trust, _ = keys
    mine = next(key for key in trust.keys if key.may == (SIGNER,))
    more = (
        (replace(mine, may=(SIGNER, "bias-audit")),)
        if entries == 1
        else (mine, replace(mine, public=mine.public.replace("\n", "\r\n"), may=("bias-audit",)))
    )
    with pytest.raises(ProofError, match=r"the key of the additional gate grants\.calibration sign as bias-audit too"):
        Trust.from_json(json.loads(Trust(more).to_bytes()))


# From here on with a version that was really released.


class Bundle:
    """A copy of the live bundle that somebody with every key but one changes and seals again."""

    def __init__(self, released: workshop.Project, folder: Path) -> None:
        self.environment = Environment.below(released.state / "environment")
        self.folder = folder
        bundles = released.state / "store" / "models" / MODEL / "bundles"
        shutil.copytree(bundles / released.bundle.removeprefix("sha256:"), folder)

    def key(self, signer: str) -> Path:
        return self.environment.key(signer)

    @property
    def verdict(self) -> Path:
        return self.folder / "verdicts" / f"{GATE}.json"

    @property
    def statement(self) -> dict[str, Any]:
        return dict(json.loads(base64.b64decode(json.loads(self.verdict.read_bytes())["payload"])))

    def write(self, kind: str, key: Path, **more: object) -> None:
        """Sign the verdict again, as another kind, with another key or about something else."""
        said = self.statement
        subjects = {each["name"]: f"sha256:{each['digest']['sha256']}" for each in said["subject"]}
        self.verdict.write_bytes(canonical(sign(kind, subjects, {**said["predicate"], **more}, key)))

    def seal(self) -> None:
        """Write the manifest, and the record that package signs."""
        files = {
            path.relative_to(self.folder).as_posix(): file_digest(path)
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in ("manifest.json", "record.json")
        }
        manifest = {"protocol": 1, "model": MODEL, "files": files}
        (self.folder / "manifest.json").write_bytes(canonical(manifest))
        sealed = verify(self.folder / "record.json", self.environment.trust, signer="package")
        spec = file_digest(self.folder / "spec.json")
        subjects = {**sealed.subjects, "bundle": bundle_digest(manifest), "spec": spec}
        (self.folder / "record.json").write_bytes(
            canonical(sign("bundle", subjects, sealed.predicate, self.key("package")))
        )


def test_its_verdict_is_in_the_bundle_and_everybody_shows_it(released: workshop.Project, tmp_path: Path) -> None:
    shown = json.loads(released.lockgate("verify", MODEL, "--json").out)
    (check,) = (each for each in shown["checks"] if each["check"] == GATE)
    assert (check["result"], check["signer"]) == ("passed", f"this machine ({SIGNER} key)")
    assert sorted(check["subjects"]) == ["base", "data", "model", "policy", "spec"]
    assert f"  {GATE:<16} passed" in released.lockgate("verify", MODEL).out
    promotion = predicate(json.loads(released.live() or b"")["promotion"])
    assert promotion["verdicts"][GATE] == check["digest"]
    run = str(promotion["run"])
    index = released.state / "runs" / run / "report" / "index.html"
    assert released.lockgate("report", run).code == 0
    assert GATE in index.read_text(encoding="utf-8")
    bundle = Bundle(released, tmp_path / "bundle")
    spec = json.loads((bundle.folder / "spec.json").read_bytes())
    assert bundle.statement["predicateType"] == "urn:lockgate:additional-verdict:v1"
    for name, value in (("verdict", bundle.statement), ("spec", spec)):
        schema = json.loads((PAGE.parents[1] / "schemas" / f"{name}.schema.json").read_bytes())
        jsonschema.Draft202012Validator(schema).validate(value)
    assert "additional gates" in (bundle.folder / "card.md").read_text(encoding="utf-8")


def other_key(bundle: Bundle) -> None:
    bundle.write("additional-verdict", bundle.key("bias-audit"))


def shipped_type(bundle: Bundle) -> None:
    bundle.write("verdict", bundle.key(SIGNER))


def another_model(bundle: Bundle) -> None:
    bundle.write("additional-verdict", bundle.key(SIGNER), model="loans")


def another_gate(bundle: Bundle) -> None:
    bundle.write("additional-verdict", bundle.key(SIGNER), gate="other")


def refused_it(bundle: Bundle) -> None:
    bundle.write("additional-verdict", bundle.key(SIGNER), result="refused")


def left_out(bundle: Bundle) -> None:
    bundle.verdict.unlink()


def not_named(bundle: Bundle) -> None:
    spec = bundle.folder / "spec.json"
    spec.write_bytes(canonical({k: v for k, v in json.loads(spec.read_bytes()).items() if k != "gates"}))


def in_place_of_a_shipped_gate(bundle: Bundle) -> None:
    audit = bundle.folder / "verdicts" / "bias-audit.json"
    honest = verify(audit, bundle.environment.trust, signer="bias-audit")
    audit.write_bytes(canonical(sign("verdict", honest.subjects, honest.predicate, bundle.key(SIGNER))))


def not_named_and_left_out(bundle: Bundle) -> None:
    not_named(bundle)
    left_out(bundle)


def other_code(bundle: Bundle) -> None:
    """As an earlier version of the gate, with a looser limit, would sign it."""
    bundle.write("additional-verdict", bundle.key(SIGNER), program={"name": GATE, "image": "", "code": sha256(b"")})


def one_more(bundle: Bundle) -> None:
    (bundle.folder / "verdicts" / "other.json").write_bytes(bundle.verdict.read_bytes())


def named_like_a_shipped_gate(bundle: Bundle) -> None:
    """As ingest itself would sign another spec."""
    spec, data = bundle.folder / "spec.json", bundle.folder / "data.json"
    spec.write_bytes(canonical({**json.loads(spec.read_bytes()), "gates": {"bias-audit": sha256(b"")}}))
    frozen = verify(data, bundle.environment.trust, signer="ingest")
    subjects = {**frozen.subjects, "spec": file_digest(spec)}
    data.write_bytes(canonical(sign("data", subjects, frozen.predicate, bundle.key("ingest"))))


CHANGES: dict[Callable[[Bundle], None], str] = {
    left_out: "calibration.json is missing",
    other_key: "calibration.json is not signed by a key that may sign as grants.calibration",
    shipped_type: "its type is urn:lockgate:verdict:v1, not additional-verdict",
    another_model: "the verdict of calibration on loans",
    another_gate: "the verdict of other on grants",
    refused_it: "calibration did not pass: refused",
    not_named: "the data record is about another spec",
    not_named_and_left_out: "the data record is about another spec",
    other_code: "the verdict of calibration is not of the code that the model spec names",
    one_more: "a verdict of other, which is not a gate of the model spec",
    in_place_of_a_shipped_gate: "bias-audit.json is not signed by a key that may sign as bias-audit",
    named_like_a_shipped_gate: "names bias-audit, a gate of Lockgate, as an additional gate",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_sealed_bundle_without_its_verdict_is_refused(
    released: workshop.Project, tmp_path: Path, change: Callable[[Bundle], None]
) -> None:
    bundle = Bundle(released, tmp_path / "bundle")
    bundle.seal()
    verify_bundle(bundle.folder, bundle.environment.trust, now=NOW)
    change(bundle)
    bundle.seal()
    with pytest.raises(ProofError, match=re.escape(CHANGES[change])):
        verify_bundle(bundle.folder, bundle.environment.trust, now=NOW)


def test_the_programs_and_verify_refuse_such_a_bundle(released: workshop.Project, tmp_path: Path) -> None:
    bundle = Bundle(released, tmp_path / "bundle")
    left_out(bundle)
    bundle.seal()
    released.lockgate("verify", str(bundle.folder)).check(3, r"calibration\.json is missing")
    run = str(predicate(json.loads(released.live() or b"")["promotion"])["run"])
    for step in ("deploy", "promote"):
        bench = released.bench(run, step, tmp_path / step)
        shutil.rmtree(bench.input("bundle"))
        shutil.copytree(bundle.folder, bench.input("bundle"))
        done = bench.call()
        assert (done.code, "calibration.json is missing" in bench.termination) == (3, True), done.said
    bench = released.bench(run, "package", tmp_path / "package")
    (bench.input("additional") / GATE).unlink()
    done = bench.call()
    assert (done.code, "calibration.json is missing" in bench.termination) == (3, True), done.said


def spying(text: str, keys: Path) -> str:
    """Return the gate's source, which counts the signing keys that it can read."""
    spy = f"""
def readable(key: str) -> bool:
    try:
        return bool(open(key).read())
    except OSError:
        return False


KEYS = [f"{keys}/lockgate-key-{{who}}/private.pem" for who in ("bias-audit", "promote", "package", "{SIGNER}")]


@program("""
    counted = '    judged["measurements"]["keys"] = sum(map(readable, KEYS))\n    if gap <='
    return text.replace("@program(", spy, 1).replace("    if gap <=", counted)


def test_one_that_refuses_stops_the_release_until_it_is_waived(released: workshop.Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    source = add_gate(project.pipeline, at_most=0.0)
    source.write_text(spying(source.read_text(encoding="utf-8"), project.state.resolve() / "environment"))
    before = project.live()
    done = project.lockgate("run", MODEL, "--set", "seed=1", "--keep")
    assert (done.code, project.live()) == (3, before), done.said
    assert f"Refused by {GATE}" in done.said
    assert re.search(rf"(?m)^  {GATE} +[\d.]+ s +refused$", done.said), done.said
    assert re.search(r"(?m)^  package, .*not reached$", done.said), done.said
    (run,) = re.findall(r"(?m)^run (\w+)$", done.said)
    told = json.loads(project.lockgate("status", MODEL, "--json").out)
    assert json.dumps(told).count("refused")
    verdict = predicate(json.loads((project.node(run, GATE) / "out" / "verdict").read_bytes()))
    assert verdict["reasons"][0]["id"] == f"{GATE}/1"
    if isolates():
        assert verdict["measurements"]["keys"] == 1, "the gate read another key than its own"
    waived = project.lockgate("waive", run, f"{GATE}/1", "--by", "Ana Diaz", "--until", str(NOW.date() + timedelta(9)),
                              "--why", "Pilot with 40 cases")  # fmt: skip
    assert waived.code == 0, waived.said
    done = project.lockgate("run", MODEL, "--set", "seed=1")
    assert (done.code, "under a waiver until" in done.said) == (0, True), done.said
    assert re.search(rf"(?m)^  {GATE} +passed by waiver ", project.lockgate("verify", MODEL).out)
