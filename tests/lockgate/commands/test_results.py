"""The texts for people, compared with recorded runs: five outcomes of UCI Adult's release, and one killed run.

recorded/<end>/: the engine's record of a real run (run.json, about.json, verdicts), the live pointer after it, and in
shown.txt the words that followed. After a change of words: LOCKGATE_REWRITE=1 pytest, then look at the difference.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lockgate.cli.main import app
from lockgate.commands.result import Result
from lockgate.records.live import Live
from lockgate.records.runs import RunRecord, Step
from lockgate.rendering.settings import choices
from lockgate.report.lines import again, refusal_lines, settings_options, step_lines

RECORDED = Path(__file__).parent / "recorded"
ENDS = {"released": 0, "waived": 0, "refused": 3, "undecided": 3, "failed": 2, "interrupted": 1}
URL = "http://127.0.0.1:8080/v2/models/adult-income/infer"
REPORT = "file:///home/ana/models/report/index.html"
TUNABLE = {"mitigation": ["none", "grid-search", "exponentiated-gradient"], "seed": []}


def result(end: str) -> Result:
    """The result of a recorded run."""
    (folder,) = (path.parent for path in (RECORDED / end).glob("*/run.json"))
    live = json.loads((RECORDED / end / "live.json").read_bytes())
    record = RunRecord.load(folder)
    return Result(record, record.about.before, Live(live, URL), TUNABLE, report=REPORT)


@pytest.mark.parametrize("end", ENDS)
def test_a_result_is_said_in_these_words(end: str) -> None:
    found = result(end)
    shown = "\n".join([*step_lines(found.record), *found.lines()]) + "\n"
    golden = RECORDED / end / "shown.txt"
    if os.environ.get("LOCKGATE_REWRITE") == "1":
        golden.write_text(shown)
    assert shown == golden.read_text()


@pytest.mark.parametrize(("end", "code"), ENDS.items())
def test_a_result_ends_in_its_code_and_names_the_next_action(end: str, code: int) -> None:
    found = result(end)
    lines = found.lines()
    assert found.exit_code == code
    assert (f"exit {code}" in lines) == (code != 0)
    assert [line for line in lines[lines.index("Next") + 1 :] if line.startswith("  lockgate ")]


def test_the_way_out_of_a_refusal_changes_one_setting_and_keeps_the_others() -> None:
    found = result("refused")
    given = {"data": "s3://evidence/data 7.csv", "mitigation": "none", "seed": "3"}
    found = replace(found, record=replace(found.record, about=replace(found.record.about, given=given)))
    wanted = "  lockgate run adult-income --data='s3://evidence/data 7.csv' --set mitigation=grid-search --set seed=3"
    assert wanted in found.lines()


def test_an_undecided_additional_gate_has_its_rule_in_its_program() -> None:
    found = result("undecided")
    (step,) = found.record.refused
    found.record.steps[found.record.steps.index(step)] = replace(step, name="fairness", additional=True)
    said = "\n".join(found.lines())
    assert "policy.toml" not in said.partition("\nNext\n")[2]
    assert "another rule in the program of fairness; then run again" in said


@pytest.mark.parametrize(
    ("given", "tunable", "way"),
    [
        ({}, TUNABLE, "grid-search"),  # the spec's own value is as good as a given one
        ({"mitigation": "grid-search"}, TUNABLE, "exponentiated-gradient"),  # never back to none
        ({"mitigation": "grid-search"}, {"mitigation": ["none", "grid-search"]}, None),
        ({}, {"seed": []}, None),
    ],
)
def test_a_way_out_of_the_audit_is_never_to_stop_mitigating(
    given: dict[str, str], tunable: dict[str, list[str]], way: str | None
) -> None:
    found = result("refused")
    record = replace(found.record, about=replace(found.record.about, given=given))
    lines = replace(found, record=record, tunable=tunable).lines()
    assert [line.partition("mitigation=")[2] for line in lines if "lockgate run" in line] == ([way] if way else [])


def test_the_values_of_a_setting_begin_with_the_one_of_the_spec() -> None:
    parameters: dict[str, dict[str, object]] = {
        "mitigation": {"enum": ["none", "grid-search"], "value": "grid-search"},
        "seed": {"value": "0"},
    }
    assert choices(parameters, ["mitigation", "seed", "gone"]) == {"mitigation": ["grid-search", "none"], "seed": []}


def test_an_undecided_rule_beside_a_refused_one_is_not_called_refused() -> None:
    (step,) = result("refused").record.refused
    reason: dict[str, object] = {"rule": "r", "message": "m", "lines": [], "why": "", "waived_by": None}
    rules = {"r": {"standing": "beyond"}, "s": {"standing": "undecided"}}
    reasons = [reason, reason | {"rule": "s"}, reason | {"rule": "of no measurement"}]
    for measured, words in (
        ({"rules": rules}, ["Refused", "Not decided", "Refused"]),
        ({"rules": ["r"]}, ["Refused"] * 3),  # a gate of the model's own may measure anything
        ({"rules": {"r": 7}}, ["Refused"] * 3),
        ({}, ["Refused"] * 3),
    ):
        said = {"result": "refused", "reasons": reasons, "notes": [], "measurements": measured}
        shown = refusal_lines(cast(Step, SimpleNamespace(name=step.name, verdict=said, unused_waivers=[])))
        assert shown == [f"{word} by bias-audit: m" for word in words]


def test_a_run_is_started_again_where_and_as_it_was() -> None:
    record = result("refused").record
    review = replace(record, about=replace(record.about, workflow="review", given={"version": "7"}))
    assert again(review) == "lockgate run adult-income --workflow review --version=7"
    there = "lockgate submit adult-income --workflow review --version=7 --watch -n ns --context prod"
    assert again(review, "-n ns --context prod") == there


def test_settings_are_written_as_a_shell_reads_them() -> None:
    given = {"data": "a b", "version": "3", "note": "it's $HOME"}
    assert shlex.split(settings_options(given)) == ["--data=a b", "--version=3", "--set", "note=it's $HOME"]


@pytest.mark.parametrize("end", ENDS)
def test_a_result_is_json_too(end: str) -> None:
    said = json.loads(json.dumps(result(end).to_json()))
    assert said["exit_code"] == ENDS[end]
    verdicts = {step["name"]: step["verdict"]["result"] for step in said["steps"] if step["verdict"]}
    assert (verdicts.get("bias-audit") == "passed") == (end in ("released", "waived"))


def test_only_the_first_run_says_how_to_begin() -> None:
    first, ordinary = ("\n".join(result("released").lines(welcome=welcome)) for welcome in (True, False))
    for hint in ("  source .venv/bin/activate", "docs/rows.csv", "lockgate new"):
        assert (hint in first, hint in ordinary) == (True, False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without a model, with the recorded runs."""
    (tmp_path / "pipelines").mkdir()
    for end in ENDS:
        (folder,) = (path.parent for path in (RECORDED / end).glob("*/run.json"))
        shutil.copytree(folder, tmp_path / ".lockgate" / "runs" / folder.name)
    return tmp_path


def lockgate(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line without a terminal."""
    dropped = ("FORCE_COLOR", "LOCKGATE_PORT", "JUPYTERHUB_SERVICE_PREFIX", "_LOCKGATE_COMPLETE")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    command = [str(Path(sys.executable).with_name("lockgate")), *arguments]
    return subprocess.run(command, cwd=folder, env={**kept, **more}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", ["status", "images", "doctor"])
def test_json_parses(verb: str, project: Path) -> None:
    done = lockgate(project, verb, "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


def test_the_log_is_json_line_by_line(project: Path) -> None:
    (folder,) = (path.parent for path in (RECORDED / "failed").glob("*/run.json"))
    done = lockgate(project, "logs", folder.name, "ingest", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, {line["step"] for line in lines}) == (0, {"ingest"})
    assert [line["code"] for line in lines if line["event"] == "error"] == [2]


@pytest.mark.parametrize(
    ("end", "step", "why"),
    [
        ("failed", "train", "train was not reached: ingest ended as failed."),
        ("refused", "package", "package was not reached: bias-audit ended as refused."),
        ("interrupted", "promote", "promote was not reached: run {id} was interrupted."),
    ],
)
def test_the_log_of_a_step_that_never_ran_says_why(project: Path, end: str, step: str, why: str) -> None:
    (folder,) = (path.parent for path in (RECORDED / end).glob("*/run.json"))
    done = lockgate(project, "logs", folder.name, step)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "", why.format(id=folder.name))


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("status",), ("run", "nothing"), ("logs",)])
def test_no_colour_reaches_a_pipe(arguments: tuple[str, ...], project: Path) -> None:
    done = lockgate(project, *arguments)
    assert "\x1b" not in done.stdout + done.stderr


def test_help_shows_two_groups_of_verbs_with_whole_sentences(tmp_path: Path) -> None:
    said = lockgate(tmp_path, "--help").stdout
    yours, platform = said.index("Your model:"), said.index("The platform:")
    assert yours < said.index("  run ") < platform < said.index("  render ")
    assert "..." not in said.partition("Your model:")[2]


def test_nothing_asked_is_answered_by_the_help(tmp_path: Path) -> None:
    done = lockgate(tmp_path)
    assert (done.returncode, done.stderr.strip()) == (2, lockgate(tmp_path, "--help").stdout.strip().rstrip("."))


def test_it_says_its_version(tmp_path: Path) -> None:
    assert lockgate(tmp_path, "--version").stdout == f"lockgate {version('lockgate')}\n"


def test_help_imports_nothing_that_only_a_run_needs(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lockgate", "--help"], cwd=tmp_path, capture_output=True, text=True
    ).stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "typer" in loaded
    assert loaded & {"rich", "yaml", "hera", "aiohttp", "lockgate_proof", "securesystemslib"} == set()


def test_every_verb_shows_an_example(tmp_path: Path) -> None:
    verbs = [command.name or str(command.callback and command.callback.__name__) for command in app.registered_commands]
    lacking = [verb for verb in verbs if "Example: lockgate" not in lockgate(tmp_path, verb, "--help").stdout]
    assert (len(verbs) > 12, lacking) == (True, [])


def test_the_completion_script_prints(tmp_path: Path) -> None:
    done = lockgate(tmp_path, _LOCKGATE_COMPLETE="source_bash")
    assert (done.returncode, "complete -o default" in done.stdout) == (0, True)
    asked = lockgate(tmp_path, _LOCKGATE_COMPLETE="complete_bash", COMP_WORDS="lockgate sta", COMP_CWORD="1")
    assert asked.stdout.split() == ["status"]


@pytest.mark.parametrize("end", ENDS)
def test_what_must_be_put_right_stands_before_the_next_action(end: str) -> None:
    lines = replace(result(end), notes=["adult-income has no owner yet"]).lines()
    assert lines[lines.index("Next") - 1] == "Note: adult-income has no owner yet"
    assert lines.count("Note: adult-income has no owner yet") == 1
