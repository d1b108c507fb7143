"""Mistakes on the command line and in a project: each ends in its exit code and a next action."""

import base64
import gzip
import json
import os
import pty
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lockgate_proof import Trust, bundle_digest, new_key, predicate, sign, verify
from lockgate_step import canonical, file_digest

from tests.workshop import HEADER, MODEL, Bench, Done, Project, Row, csv, rows, unharmed

Arguments = Sequence[str]
RUN = ("run", MODEL, "--keep")
CANARY = "canary-4f1c-never-said"


@dataclass(frozen=True)
class Case:
    """One mistake: the function that makes it and returns the call, the exit code, and a pattern of the message."""

    name: str
    spoil: Callable[[Project], Arguments]
    code: int
    says: str


def call(*arguments: str) -> Callable[[Project], Arguments]:
    """Return a wrong call; no file changes."""
    return lambda project: arguments


def data(content: bytes, name: str = "rows.csv") -> Callable[[Project], Arguments]:
    """Write a data file with this content; the call names it."""

    def spoil(project: Project) -> Arguments:
        path = project.root / name
        path.write_bytes(content)
        return (*RUN, "--data", name)

    return spoil


def asked(content: bytes) -> Callable[[Project], Arguments]:
    """Write rows with this content; the call sends them to the live model."""

    def spoil(project: Project) -> Arguments:
        (project.root / "asked.csv").write_bytes(content)
        return ("predict", MODEL, "asked.csv")

    return spoil


def file(name: str, change: Callable[[str], str]) -> Callable[[Project], Arguments]:
    """Change a file in the model's folder."""

    def spoil(project: Project) -> Arguments:
        path = project.pipeline / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(change(path.read_text() if path.exists() else ""))
        return RUN

    return spoil


def missing_data(project: Project) -> Arguments:
    (project.pipeline / "data" / "rows.csv").unlink()
    return RUN


def edited(column: str, value: Callable[[Row], object]) -> list[Row]:
    """Return the good rows with one column changed."""
    at = HEADER.index(column)
    return [(*row[:at], value(row), *row[at + 1 :]) for row in rows()]


def without(column: str) -> bytes:
    """Return the good rows without one column, as CSV."""
    at = HEADER.index(column)
    return csv([(*row[:at], *row[at + 1 :]) for row in rows()], [*HEADER[:at], *HEADER[at + 1 :]])


def one_in(count: int, rare: object) -> Callable[[Row], object]:
    """Return a function: the row's own sector, or `rare` for about one row in `count`."""
    chance = random.Random(3)
    return lambda row: rare if chance.randrange(count) == 0 else row[HEADER.index("sector")]


def store_down(project: Project) -> Arguments:
    project.own_state("environment")
    config = project.state / "environment" / "lockgate-environment"
    (config / "store").write_text("s3://evidence/prefix\n")
    (config / "s3.json").write_text('{"endpoint": "http://127.0.0.1:1", "region": "us-east-1"}')
    credentials = project.state / "environment" / "lockgate-store"
    credentials.mkdir()
    for name in ("access_key_id", "secret_access_key"):
        (credentials / name).write_text(CANARY)
    return (*RUN, "--no-serve")


GOOD = csv(rows())
CASES = [
    Case("unknown verb", call("frobnicate"), 2, "frobnicate"),
    Case("no model", call("run"), 2, "(?i)missing argument.*MODEL"),
    Case("unknown flag", call(*RUN, "--skip-gates"), 2, "--skip-gates"),
    Case("unknown model", call("run", "grant"), 2, "unknown model 'grant'(.|\n)*grants"),
    Case("unknown workflow", call(*RUN, "--workflow", "relase"), 2, "unknown workflow 'relase'(.|\n)*release"),
    Case("unknown run", call("report", "zzz"), 2, "unknown run 'zzz'"),
    Case("unknown run to resume", call(*RUN, "--resume", "zzz"), 2, "unknown run 'zzz'"),
    Case("unknown step", call("logs", "last", "trian"), 2, "unknown step 'trian'(.|\n)*train"),
    Case("unknown reason", call("waive", "last", "bias-audit/9"), 2, "nothing to waive(.|\n)*lockgate status"),
    Case("unknown setting", call(*RUN, "--set", "colour=blue"), 2, "unknown setting 'colour'(.|\n)*threshold"),
    Case("setting without value", call(*RUN, "--set", "threshold"), 2, "NAME=VALUE"),
    Case("value not allowed", call(*RUN, "--set", "mitigation=magic"), 2, "mitigation(.|\n)*grid-search"),
    Case("value of another type", call(*RUN, "--set", "seed=soon"), 2, "seed=soon is not an integer"),
    Case("value out of range", call(*RUN, "--set", "threshold=7"), 2, "threshold(.|\n)*0 and 1"),
    Case(
        "unknown program",
        file("pipeline.py", lambda text: f"from lockgate import steps\nsteps.tarin\n{text}"),
        2,
        "tarin(.|\n)*pipeline.py|pipeline.py(.|\n)*tarin",
    ),
    Case(
        "pipeline that does not parse",
        file("pipeline.py", lambda text: text + "\n)"),
        2,
        r"pipelines/grants/pipeline.py:\d+: Syn",
    ),
    Case(
        "pipeline that names what is not there",
        file("pipeline.py", lambda text: text.replace("ModelSpec(", "ModelSpecs(")),
        2,
        r"pipelines/grants/pipeline.py:4: NameError: name 'ModelSpecs'",
    ),
    Case(
        "pipeline of a wrong model",
        file("pipeline.py", lambda text: text.replace('name="grants"', 'name="The Grants"')),
        2,
        r"pipelines/grants/pipeline.py:4: 'The Grants' is not a model name",
    ),
    Case("data missing", missing_data, 2, "data file .*rows.csv not found"),
    Case("data elsewhere missing", call(*RUN, "--data", "nowhere.csv"), 2, "data file .*nowhere.csv not found"),
    Case("data empty", data(b""), 2, "rows.csv is empty"),
    Case("data header only", data(csv([])), 2, "has no rows"),
    Case("data truncated gzip", data(gzip.compress(GOOD)[:9000], "rows.csv.gz"), 2, "ends in the middle"),
    Case("data of another delimiter", data(csv(rows(), delimiter=";")), 2, "no column .*delimiter|delimiter"),
    Case("data of another encoding", data(GOOD.replace(b"private", b"priv\xe9e")), 2, "line 2 .*utf-8"),
    Case("data without a column", data(without("income")), 2, "no column income"),
    Case("data of one class", data(csv(edited("granted", lambda row: "no"))), 2, "granted = 'yes'"),
    Case("sensitive column all null", data(csv(edited("sex", lambda row: ""))), 3, "sex"),
    Case("category never seen", data(csv(edited("sector", one_in(10, "abroad")))), 3, "sector"),
    Case(
        "policy that does not parse", file("policy.toml", lambda text: "[[bias]\n"), 2, r"policy.toml:1: not valid TOML"
    ),
    Case("policy missing", file("policy.toml", lambda text: ""), 2, "policy.toml"),
    Case(
        "policy without a sensitive column",
        file("policy.toml", lambda text: re.sub(r"(?s)\[\[bias\]\].*?\n\n", "", text)),
        2,
        "sex",
    ),
    Case("expectations that do not parse", file("expectations.json", lambda text: "[{"), 2, "expectations.json"),
    Case(
        "expectation that does not exist",
        file(
            "expectations.json",
            lambda text: (
                '[{"type": "expect_column_to_be_nice", "kwargs": {"column": "years"}, "severity": "critical"}]'
            ),
        ),
        2,
        "expect_column_to_be_nice",
    ),
    Case("waiver that does not parse", file("waivers/bias.json", lambda text: "{"), 2, "waivers/bias.json"),
    Case(
        "waiver without a signature",
        file("waivers/bias.json", lambda text: "{}"),
        3,
        "waivers/bias.json .* may sign as waive",
    ),
    Case("rows missing", call("predict", MODEL, "nowhere.csv"), 2, "nowhere.csv"),
    Case("rows without a column", asked(without("income")), 2, "income"),
    Case("rows with a value out of range", asked(csv(edited("years", lambda row: 46))), 2, "years"),
    Case("rows with an unknown category", asked(csv(edited("sector", one_in(10, CANARY)))), 2, "sector"),
    Case("store down", store_down, 4, "127.0.0.1:1"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_mistake_ends_in_its_exit_code_and_a_next_action(case: Case, released: Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    arguments = case.spoil(project)
    with unharmed(released):
        done = project.lockgate(*arguments)
    done.check(case.code, case.says)
    assert CANARY not in done.said


@pytest.mark.parametrize(
    ("right", "wrong"),
    [('"years"', '"year"'), ("LogisticRegression", "LogisticRegresion")],
    ids=["column", "estimator"],
)
def test_a_slip_in_the_pipeline_is_found_before_the_first_step(
    right: str, wrong: str, released: Project, tmp_path: Path
) -> None:
    project = released.twin(tmp_path / "project")
    before = project.run_ids()
    done = project.lockgate(*file("pipeline.py", lambda text: text.replace(right, wrong))(project))
    assert (done.code, project.run_ids()) == (2, before), done.said
    assert re.search(rf"{wrong.strip(chr(34))}(.|\n)*did you mean .*{right.strip(chr(34))}", done.err), done.said
    assert done.err.startswith(f"  rendering workflows/{MODEL}\n")


def test_a_column_nobody_asked_for_is_dropped_and_said(released: Project, first: str) -> None:
    said = [json.loads(line) for line in released.lockgate("logs", first, "ingest", "--json").out.splitlines()]
    assert [line["columns"] for line in said if line["event"] == "columns-dropped"] == [["note"]]


@dataclass(frozen=True)
class Judged:
    """A run that bias-audit refused, and waivers of its first reason."""

    project: Project
    run: str
    envelope: dict[str, Any]

    @property
    def key(self) -> Path:
        """The key that may sign waivers in this project."""
        return self.project.approver_key

    def waiver(self, key: Path, until: timedelta) -> dict[str, Any]:
        """Return a signed waiver of its first reason."""
        verdict = verify(self.envelope, self.trust, signer="bias-audit", kind="verdict")
        said = {
            "model": MODEL,
            "gate": "bias-audit",
            "reason": verdict.predicate["reasons"][0]["rule"],
            "verdict": verdict.digest,
            "approver": "Ana Diaz, director",
            "why": "A pilot, each case reviewed by hand.",
            "expires": (datetime.now(UTC) + until).isoformat(),
        }
        return sign("waiver", verdict.subjects, said, key)

    @property
    def trust(self) -> Trust:
        """The project's trust file."""
        return Trust.read(self.project.state / "environment" / "lockgate-environment" / "trust.json")


@pytest.fixture(scope="module")
def judged(released: Project, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A run that a stricter rule refused."""
    project = released.twin(tmp_path_factory.mktemp("judged") / "project")
    policy = project.pipeline / "policy.toml"
    policy.write_text(policy.read_text().replace("at_most = 0.25", "at_most = 0.0001"))
    known = released.run_ids()
    with unharmed(released):
        done = project.lockgate(*RUN)
    done.check(3, "by bias-audit: ")
    (run,) = released.run_ids() - known
    return Judged(project, run, json.loads((project.node(run, "bias-audit") / "out" / "verdict").read_bytes()))


def test_an_expired_waiver_changes_nothing(judged: Judged, released: Project, tmp_path: Path) -> None:
    project = judged.project.twin(tmp_path / "project")
    (project.pipeline / "waivers").mkdir()
    (project.pipeline / "waivers" / "old.json").write_bytes(canonical(judged.waiver(judged.key, -timedelta(days=1))))
    with unharmed(released):
        done = project.lockgate(*RUN)
    done.check(3, "(Refused|Not decided) by bias-audit")
    assert re.search(r"  waiver waivers/old.json expired on \d{4}-\d\d-\d\d\n", done.out), done.said


def test_a_waiver_that_is_written_is_said_as_json(judged: Judged, tmp_path: Path) -> None:
    project = judged.project.twin(tmp_path / "project")
    until = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    settings = ("--by", "Ana Diaz, director", "--until", until, "--why", "A pilot.")
    done = project.lockgate("waive", judged.run, "bias-audit/1", *settings, "--json")
    said = json.loads(done.out)
    assert (done.code, done.err, said["run"], said["reason_id"]) == (0, "", judged.run, "bias-audit/1"), done.said
    signed = verify(json.loads((project.root / said["file"]).read_bytes()), judged.trust, signer="waive").predicate
    assert {name: said[name] for name in signed} == signed


def test_a_waiver_of_another_key_is_refused_before_the_first_step(
    judged: Judged, released: Project, tmp_path: Path
) -> None:
    project = judged.project.twin(tmp_path / "project")
    new_key(tmp_path / "foreign" / "private.pem")
    foreign = judged.waiver(tmp_path / "foreign" / "private.pem", timedelta(days=9))
    (project.pipeline / "waivers").mkdir()
    (project.pipeline / "waivers" / "foreign.json").write_bytes(canonical(foreign))
    known = released.run_ids()
    with unharmed(released):
        done = project.lockgate(*RUN)
    done.check(3, "waivers/foreign.json")
    assert released.run_ids() == known


@pytest.mark.parametrize(("waiver", "code"), [("valid", 0), ("expired", 3), ("foreign", 3)])
def test_a_gate_honours_a_waiver_only_while_it_holds(waiver: str, code: int, judged: Judged, tmp_path: Path) -> None:
    new_key(tmp_path / "foreign" / "private.pem")
    key = tmp_path / "foreign" / "private.pem" if waiver == "foreign" else judged.key
    bench = judged.project.bench(judged.run, "bias-audit", tmp_path / "io")
    days = timedelta(days=-1 if waiver == "expired" else 9)
    listed = [{"file": "waivers/pilot.json", "envelope": judged.waiver(key, days)}]
    bench.input("waivers").write_bytes(canonical(listed))
    done = bench.call()
    assert done.code == code
    if waiver == "foreign":
        assert "waivers/pilot.json is not signed by a key that may sign as waive" in done.err
        return
    said = predicate(json.loads((bench.folder / "out" / "verdict").read_bytes()))
    assert [bool(reason["waived_by"]) for reason in said["reasons"]] == [waiver == "valid"]
    assert [reason["waiver"] and reason["waiver"]["approver"] for reason in said["reasons"]] == [
        "Ana Diaz, director" if waiver == "valid" else None
    ]
    noted = [note for note in said["notes"] if note.startswith("waiver waivers/pilot.json expired on ")]
    assert len(noted) == (waiver == "expired")


def sign_here(project: Project, run: str, *more: str) -> Done:
    """Waive the first reason of a run for a week."""
    until = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"
    return project.lockgate("waive", run, "bias-audit/1", "--until", until, "--why", "A pilot.", *more)


def test_a_waiver_names_who_approved_it_and_which_key_signed(judged: Judged, tmp_path: Path) -> None:
    project = judged.project.twin(tmp_path / "project")
    anonymous = sign_here(project, judged.run)
    assert (anonymous.code, "--by" in anonymous.err) == (2, True), anonymous.said
    assert "a waiver needs the name of its approver" in anonymous.err
    odd = sign_here(project, judged.run, "--by", "Ana\x1b[2J")
    assert (odd.code, "characters that cannot be printed" in odd.err) == (2, True), odd.said
    new_key(tmp_path / "foreign.pem")
    foreign = sign_here(project, judged.run, "--by", "Ana Diaz", "--key", str(tmp_path / "foreign.pem"))
    assert foreign.code == 3, foreign.said
    assert f"the key {tmp_path / 'foreign.pem'} may not sign waivers on this machine" in foreign.err
    assert not (project.pipeline / "waivers").exists()
    done = sign_here(project, judged.run, "--by", "Ana Diaz, director")
    assert done.code == 0, done.said
    assert "  approved by Ana Diaz, director; signed by this machine (waive key)\n" in done.out
    (path,) = (project.pipeline / "waivers").iterdir()
    assert predicate(json.loads(path.read_bytes()))["approver"] == "Ana Diaz, director"


def test_a_terminal_is_asked_who_approved(judged: Judged, tmp_path: Path) -> None:
    project = judged.project.twin(tmp_path / "project")
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "lockgate", "waive", judged.run, "bias-audit/1", "--why", "A pilot.", "--until"]
    until = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"
    os.write(mine, b"Ana Diaz\n")
    done = subprocess.run(
        [*command, until], cwd=project.root, env=project.variables, stdin=theirs, capture_output=True, text=True
    )
    assert (done.returncode, "Who approved this exception" in done.stderr) == (0, True), done.stderr
    assert "approved by Ana Diaz; signed by" in done.stdout


Forge = Callable[[Path, Path], object]


def payload(path: Path, change: Callable[[dict[str, Any]], object], key: Path | None = None) -> None:
    """Change the content of a signed record; sign it again if a key is given, else keep the signature."""
    envelope = json.loads(path.read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement["predicate"])
    if key is not None:
        subjects = {each["name"]: f"sha256:{each['digest']['sha256']}" for each in statement["subject"]}
        envelope = sign("verdict", subjects, statement["predicate"], key)
    else:
        envelope["payload"] = base64.b64encode(canonical(statement)).decode()
    path.write_bytes(canonical(envelope))


def flipped(bundle: Path, key: Path) -> None:
    payload(bundle / "verdicts" / "bias-audit.json", lambda said: said.update(result="passed", reasons=[], notes=["x"]))


def another_key(bundle: Path, key: Path) -> None:
    payload(bundle / "verdicts" / "bias-audit.json", lambda said: None, key)


def swapped(bundle: Path, key: Path) -> None:
    shutil.copyfile(bundle / "verdicts" / "validate-model.json", bundle / "verdicts" / "bias-audit.json")


def left_out(bundle: Path, key: Path) -> None:
    (bundle / "verdicts" / "bias-audit.json").unlink()


def as_it_was(bundle: Path, package: Path) -> None:
    """Change nothing else."""


def listed(bundle: Path, package: Path) -> None:
    """Make the manifest match the files, as a forger would."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    beside = (bundle / "manifest.json", bundle / "record.json")
    files = (path for path in bundle.rglob("*") if path.is_file() and path not in beside)
    manifest["files"] = {path.relative_to(bundle).as_posix(): file_digest(path) for path in files}
    (bundle / "manifest.json").write_bytes(canonical(manifest))


def sealed(bundle: Path, package: Path) -> None:
    """Sign the whole bundle again with package's key, as a thief of that key would."""
    listed(bundle, package)
    record = json.loads((bundle / "record.json").read_bytes())
    statement = json.loads(base64.b64decode(record["payload"]))
    subjects = {each["name"]: f"sha256:{each['digest']['sha256']}" for each in statement["subject"]}
    subjects["bundle"] = bundle_digest(json.loads((bundle / "manifest.json").read_bytes()))
    (bundle / "record.json").write_bytes(canonical(sign("bundle", subjects, statement["predicate"], package)))


SEALS = [(as_it_was, "do not match its manifest"), (listed, "record is about another bundle"), (sealed, "bias-audit")]


@pytest.mark.parametrize(("seal", "says"), SEALS, ids=[seal.__name__ for seal, _ in SEALS])
@pytest.mark.parametrize("forge", [flipped, swapped, another_key, left_out], ids=lambda forge: forge.__name__)
def test_deploy_refuses_a_bundle_whose_verdicts_were_touched(
    forge: Forge, seal: Forge, says: str, released: Project, first: str, tmp_path: Path
) -> None:
    bench = released.bench(first, "deploy", tmp_path / "io")
    bundle, key = bench.input("bundle"), tmp_path / "foreign" / "private.pem"
    new_key(key)
    forge(bundle, key)
    seal(bundle, package_key(released))
    refused(bench, released, says)
    if seal is sealed:
        with unharmed(released):
            released.lockgate("verify", str(bundle)).check(3, says)


def package_key(project: Project) -> Path:
    return project.state / "environment" / "lockgate-key-package" / "private.pem"


def refused(bench: Bench, released: Project, says: str) -> None:
    """Call the program; check that it refuses with a next action and writes nothing; the live version still serves."""
    store = released.records()
    with unharmed(released):
        done = bench.call()
    assert (done.code, "Traceback" in done.said) == (3, False), done.said
    said = json.loads(bench.termination)
    assert re.search(says, said["error"]), done.said
    assert said["fix"]
    assert (bench.written, released.records()) == (set(), store)


def cut_short(bundle: Path, package: Path) -> None:
    path = bundle / "manifest.json"
    path.write_bytes(path.read_bytes()[:-40])


def damaged(bundle: Path, package: Path) -> None:
    (bundle / "model" / "model.json").write_bytes(b"{")


def another_policy(bundle: Path, package: Path) -> None:
    path = bundle / "policy.toml"
    path.write_text(path.read_text().replace("0.25", "0.99"))
    sealed(bundle, package)


def unsigned_waiver(bundle: Path, package: Path) -> None:
    unsigned = {"payload": "", "payloadType": "", "signatures": []}
    (bundle / "waivers.json").write_bytes(canonical([{"file": "waivers/pilot.json", "envelope": unsigned}]))
    sealed(bundle, package)


def damaged_waivers(bundle: Path, package: Path) -> None:
    (bundle / "waivers.json").write_bytes(b"{")
    sealed(bundle, package)


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (cut_short, "manifest"),
        (damaged, "do not match its manifest"),
        (another_policy, "policy"),
        (unsigned_waiver, "waivers/pilot.json is not signed by a key that may sign as waive"),
        (damaged_waivers, "the waivers are not"),
    ],
    ids=lambda value: getattr(value, "__name__", "says"),
)
def test_a_bundle_that_is_not_what_was_judged_is_refused(
    forge: Forge, says: str, released: Project, first: str, tmp_path: Path
) -> None:
    bench = released.bench(first, "deploy", tmp_path / "io")
    forge(bench.input("bundle"), package_key(released))
    refused(bench, released, says)
    with unharmed(released):
        released.lockgate("verify", str(bench.input("bundle"))).check(3, says)


def test_a_bundle_of_another_machine_is_refused(released: Project, first: str, tmp_path: Path) -> None:
    stranger = Project.make(tmp_path / "stranger")
    assert stranger.lockgate("status").code == 0  # creates its keys
    bench = released.bench(first, "deploy", tmp_path / "io")
    (bench.folder / "environment").unlink()
    shutil.copytree(released.state / "environment" / "lockgate-environment", bench.folder / "environment")
    trust = stranger.state / "environment" / "lockgate-environment" / "trust.json"
    shutil.copyfile(trust, bench.folder / "environment" / "trust.json")
    refused(bench, released, "not signed by a key")
    stranger.lockgate("verify", str(bench.input("bundle"))).check(3, "not signed by a key")


def test_a_live_bundle_that_was_changed_in_the_store_is_refused_and_answered_on(
    released: Project, tmp_path: Path
) -> None:
    project = released.twin(tmp_path / "project")
    card = released.state / "store" / "models" / MODEL / "bundles" / released.bundle.removeprefix("sha256:") / "card.md"
    kept = card.read_bytes()
    card.write_bytes(kept + b"changed")
    try:
        with unharmed(released):
            project.lockgate("verify", MODEL).check(3, "card.md")
            project.lockgate(*RUN).check(3, "ingest refused: .*card.md")
    finally:
        card.write_bytes(kept)


@pytest.mark.parametrize("signer", ["an unknown key", "another gate"])
def test_promote_refuses_a_smoke_verdict_that_smoke_test_did_not_sign(
    signer: str, released: Project, first: str, tmp_path: Path
) -> None:
    bench = released.bench(first, "promote", tmp_path / "io")
    key = tmp_path / "foreign" / "private.pem"
    new_key(key)
    known = released.state / "environment" / "lockgate-key-bias-audit" / "private.pem"
    payload(bench.input("smoke"), lambda said: None, key if signer == "an unknown key" else known)
    refused(bench, released, "not signed by a key that may sign as smoke-test")


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    project = Project.make(tmp_path)
    with socket.create_server(("127.0.0.1", project.port)):
        done = project.lockgate(*RUN)
    done.check(4, f"port {project.port} ")
    assert project.run_ids() == set()
