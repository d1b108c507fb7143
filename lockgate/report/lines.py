"""Lines for people, made from records: the same words in the terminal, in logs and in tests."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from lockgate_proof import CANARY

from lockgate.records.runs import UNREACHED, RunRecord, Step

SHORT = 6
SUBJECTS = {"bias-audit": "bias"}  # what a gate judges, in a word
_NO_LIMIT = "no rule of the policy has a limit"
_UNJUDGED = {CANARY: "no version was live to compare with"}
_OFF = "none"  # the value of train's setting `mitigation` that turns it off
STOPPED = 130  # the exit code of a shell after Ctrl-C


def short(digest: str | None) -> str:
    """The first digits of a digest: `sha256:9c41e0`."""
    return digest[: len("sha256:") + SHORT] if digest else "nothing"


def duration(seconds: float | None) -> str:
    """A duration as people read it."""
    if seconds is None:
        return ""
    seconds = max(seconds, 0.0)  # a step that a resumed run uses again has a little less
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def step_line(step: Step) -> str:
    """One step of a run: name, time, outcome."""
    return f"  {step.name:<16}{duration(step.seconds):>9}   {step.outcome}"


def step_lines(run: RunRecord) -> list[str]:
    """Each step of a run; those that were not reached are on one line."""
    reached = [step for step in run.steps if step.phase not in UNREACHED]
    unreached = [step.name for step in run.steps if step.phase in UNREACHED]
    lines = [step_line(step) for step in reached]
    if unreached:
        lines.append(f"  {', '.join(unreached)}   not reached")
    return lines


def refusal_lines(step: Step) -> list[str]:
    """Why a gate refused: each finding, with the rule's reason. A rule that it could not decide is not called refused.

    Its measurements say which they are; a cluster's short message does not have them.
    """
    verdict = step.verdict or {}
    lines: list[str] = []
    for reason in verdict["reasons"]:
        if reason["waived_by"]:
            continue
        refused = verdict["result"] == "refused" and _standing(verdict, reason["rule"]) in (None, "beyond")
        word = "Refused" if refused else "Not decided"
        lines += [f"{word} by {step.name}: {reason['message']}", *[f"  {line}" for line in reason["lines"]]]
        if reason["why"] and not any(reason["why"] in line for line in reason["lines"]):
            lines.append(f"  why: {reason['why']}")
    if left_out := verdict.get("left_out"):
        lines.append(f"  and {left_out} more; the signed verdict has them all")
    # Why a waiver was not applied; the verdict's other notes are in the report.
    return lines + [f"  {note}" for note in step.unused_waivers]


def _standing(verdict: Mapping[str, Any], rule: str) -> object:
    """The result of a rule, if the gate measured it; a gate of the model's own may measure anything."""
    rules = verdict["measurements"].get("rules")
    said = rules.get(rule) if isinstance(rules, Mapping) else None
    return said.get("standing") if isinstance(said, Mapping) else None


def waived_lines(reason: Mapping[str, Any]) -> list[str]:
    """A reason that a waiver covers: what is excepted, until when, and who approved and signed it."""
    waiver = reason["waiver"]
    return [
        f"  under a waiver until {waiver['expires'][:10]}: {reason['message']}",
        f"    approved by {waiver['approver']}; signed by {waiver['signer']}",
    ]


def unjudged_lines(gates: Iterable[str]) -> list[str]:
    """The gates that judged nothing: a release without them is not one that passed every gate."""
    return [f"  {SUBJECTS.get(gate, gate)}: not judged; {_UNJUDGED.get(gate, _NO_LIMIT)}" for gate in gates]


def open_lines(run: RunRecord) -> list[str]:
    """What a run that succeeded did not judge: gates without a rule, and groups that the policy accepts as small."""
    return unjudged_lines(step.name for step in run.unjudged) + [f"  {note}" for note in run.left_out]


def failure_message(step: Step) -> str:
    """The error message of a failed step."""
    said = (step.error or {}).get("message") or step.message or f"ended with exit code {step.exit_code}"
    return str(said)


def failure_lines(step: Step) -> list[str]:
    """The error of a failed step, and the next action that it names."""
    error = step.error or {}
    lines = [f"{step.name} {'refused' if step.exit_code == 3 else 'failed'}: {failure_message(step)}"]
    if error.get("fix"):
        lines.append(f"  next: {error['fix']}")
    return lines


def why_no_log(run: RunRecord, step: Step) -> str:
    """Why a step of a run has no log."""
    if step.phase not in UNREACHED:
        return f"{step.name} wrote no log."
    ended = ", ".join(f"{other.name} ended as {other.outcome}" for other in (*run.refused, *run.failed))
    match run.phase:
        case "Running" | "Pending":
            return f"{step.name} was not reached yet: run {run.id} is in progress."
        case "Interrupted":
            return f"{step.name} was not reached: run {run.id} was interrupted."
        case "Stopped":
            return f"{step.name} was not reached: run {run.id} was stopped."
        case _:
            return f"{step.name} was not reached: {ended or step.message or run.run.message}."


def next_lines(commands: Iterable[tuple[str, str]]) -> list[str]:
    """The next actions, each with its purpose."""
    commands = list(commands)
    width = max((len(command) for command, note in commands if note and len(command) <= 60), default=0)
    return ["Next", *[f"  {command:<{width}}  {note}".rstrip() for command, note in commands]]


def settings_options(given: Mapping[str, str]) -> str:
    """The options that pass these settings to a command, quoted for a shell, each after a space."""
    own = ("data", "version")
    options = [f"--{k}={shlex.quote(v)}" if k in own else f"--set {shlex.quote(f'{k}={v}')}" for k, v in given.items()]
    return "".join(f" {option}" for option in options)


def rule_place(step: Step) -> str:
    """Where the rules of a gate are, in words."""
    if step.additional:
        return f"the program of {step.name}"
    return "expectations.json or the spec" if step.name == "validate-data" else "policy.toml"


def again(run: RunRecord, options: str = "", given: Mapping[str, str] | None = None) -> str:
    """The command that starts such a run again, with its settings or with `given`.

    options: the options that name a cluster; empty for this machine.
    """
    about = run.about
    if about.workflow == "rollback":
        to = f" --to {shlex.quote(about.given['to'])}" if "to" in about.given else ""
        return f"lockgate rollback {about.model}{to} {options}".rstrip()
    workflow = "" if about.workflow in ("", "release") else f" --workflow {about.workflow}"
    settings = settings_options(about.given if given is None else given)
    watched = f" --watch {options}" if options else ""
    return f"lockgate {'submit' if options else 'run'} {about.model}{workflow}{settings}{watched}"


def ways_out(run: RunRecord, tunable: Mapping[str, list[str]], options: str = "") -> list[str]:
    """The command of a run that differs in one setting from a refused one, as a list of one; empty if there is none.

    tunable: as in `Result`. options: as in `again`. Without mitigation, a model's gaps only become larger; so no way
    out of bias-audit turns it off, and only the quality of a model is a reason to do so.
    """
    given, gate = run.about.given, run.refused[0].name
    ways = []
    for name, values in tunable.items():
        current, of = given.get(name, values[0] if values else ""), name == "mitigation"
        if gate == "bias-audit" and (of or name in given):
            ways += [(name, value) for value in values if value != current and not (of and value == _OFF)]
        elif gate == "validate-model" and of and _OFF in values and current != _OFF:
            ways.append((name, _OFF))
    return [again(run, options, {**given, name: value}) for name, value in ways][:1]


def ending_lines(run: RunRecord) -> list[str]:
    """Why a run did not succeed."""
    if run.phase == "Stopped":
        during = ", ".join(step.name for step in run.failed) or "its start"
        return [f"Stopped during {during}."]
    lines = [line for step in run.refused for line in refusal_lines(step)]
    if not run.refused:
        lines = [line for step in run.failed[:1] for line in failure_lines(step)]
    return lines or [f"The run ended in phase {run.phase}: {run.run.message or 'see its log'}"]


def outcome_lines(
    run: RunRecord, live: Mapping[str, Any] | None, before: Mapping[str, Any] | None, url: str
) -> list[str]:
    """How a run ended, and what it means for users.

    live: the live pointer after the run. before: the live pointer before it. url: the address of the model.
    """
    if run.phase == "Succeeded" and live:
        done = "Rolled back" if run.about.workflow == "rollback" else "Released"
        return [
            f"{done}: {run.about.model} {short(live['bundle'])} is live, generation {live['generation']}.",
            *(line for reason in run.waived for line in waived_lines(reason)),
            *open_lines(run),
            f"  {url}",
        ]
    lines = ending_lines(run)
    if (live or {}).get("bundle") == (before or {}).get("bundle"):
        still = f"{short(live['bundle'])} is still live" if live else "no version was live before, and none is now"
        lines.append(f"Nothing changed for users: {still}.")
    return lines


def run_word(run: RunRecord) -> str:
    """How a run ended, in one word."""
    if run.phase == "Succeeded":
        return "rolled back" if run.about.workflow == "rollback" else "released"
    if run.phase == "Failed" and exit_code(run) == 3:
        return str((run.refused[0].verdict or {}).get("result", "refused")) if run.refused else "refused"
    return run.phase.lower()


def exit_code(run: RunRecord) -> int:
    """0 released, 3 refused, otherwise the code of the step that failed, or 1."""
    if run.phase == "Succeeded":
        return 0
    if run.phase == "Stopped":
        return STOPPED
    if run.refused:
        return 3
    codes = [step.exit_code for step in run.failed if step.exit_code]
    return codes[0] if codes and codes[0] in (2, 3, 4) else 1
