"""The verbs for the maker of a model."""

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockgate.cli.app import app
from lockgate.cli.options import (
    YOURS,
    Data,
    Json,
    ModelName,
    RunName,
    Screen,
    Settings,
    Version,
    cluster_options,
    find_environment,
    find_project,
    given_settings,
    print_json,
    print_result,
    say,
)

if TYPE_CHECKING:
    from lockgate.cluster.workflows import Where


@app.command(rich_help_panel=YOURS)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the model, e.g. claims-triage.")],
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="A CSV file with a header, plain or .gz.")],
    target: Annotated[str, typer.Option("--target", metavar="COLUMN", help="The column to predict.")],
    positive: Annotated[
        str | None, typer.Option(metavar="LABEL", help="The label that counts as selected; by default guessed.")
    ] = None,
    sensitive: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Columns to audit by, comma-separated; by default guessed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a model from a CSV file, ready to run.

    Example: lockgate new claims-triage --data claims.csv --target approved
    """
    from lockgate.new import command

    print_result(*command(find_project(), name, data, target, positive, sensitive), as_json)


@app.command(rich_help_panel=YOURS)
def run(
    model: ModelName,
    workflow: Annotated[
        str, typer.Option(metavar="NAME", help="release (from data) or review (from a registered version).")
    ] = "release",
    settings: Settings = None,
    data: Data = None,
    version: Version = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Continue an interrupted run.")] = None,
    engine: Annotated[
        str, typer.Option("--in", metavar="podman|docker", help="Run each step in its container image.")
    ] = "",
    serve_: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Start the local platform if it is not running.")
    ] = True,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the steps' inputs and outputs when the run has ended; they have rows.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Also show the fields without effect here, and each log line.")
    ] = False,
    welcome: Annotated[bool, typer.Option("--welcome", hidden=True)] = False,
    as_json: Json = False,
) -> int:
    """Run a model's workflow on this machine: the manifest that Argo runs, step by step.

    Example: lockgate run adult-income --set mitigation=none
    """
    from lockgate.commands.run import Request, Session

    given = given_settings(settings, data, version)
    session = Session(find_project(), verbose=verbose, quiet=as_json)
    result = session.run(Request(model, workflow, given, resume=resume, serve=serve_, engine=engine, keep=keep))
    print_result(result.lines(welcome=welcome), result.to_json(), as_json)
    return result.exit_code


@app.command(rich_help_panel=YOURS)
@cluster_options
def report(*, where: "Where", run_: RunName = "last", as_json: Json = False) -> int:
    """Show links to a run's reports: verdicts, groups with intervals, the model card.

    Example: lockgate report last
    """
    from lockgate.commands import runs
    from lockgate.commands.target import target_of

    with target_of(find_project(), where) as target:
        found = runs.report(target, run_)
    print_result(found.lines(), found.to_json(), as_json)
    if found.missing and not as_json:
        say(f"The store no longer has: {', '.join(found.missing)}.", err=True)
    if found.withheld and not as_json:
        again = "Next: find out who can write the store and .lockgate, then run the model again"
        for line in (*found.withheld, again):
            say(line, err=True)
    return found.exit_code


@app.command(rich_help_panel=YOURS)
def predict(
    model: ModelName,
    rows: Annotated[
        Path, typer.Argument(metavar="ROWS.CSV", help="A CSV file with the inputs as columns; - reads standard input.")
    ],
    as_json: Json = False,
) -> None:
    """Call the live model: CSV in, the same rows with label and score out.

    Example: lockgate predict adult-income rows.csv > answers.csv
    """
    from lockgate.commands.predict import predict_csv, predict_json

    project = find_project()
    environment, spec = find_environment(project), project.model(model).spec
    if as_json:
        print_json(predict_json(environment, spec, rows))
    else:
        predict_csv(environment, spec, rows, Screen())


@app.command(rich_help_panel=YOURS)
@cluster_options
def status(
    *,
    where: "Where",
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only this model.")] = None,
    as_json: Json = False,
) -> None:
    """Show what is live, what is being tried, and the last runs.

    Example: lockgate status
    """
    from lockgate.commands.status import status as status_of
    from lockgate.commands.target import target_of

    with target_of(find_project(), where) as target:
        found = status_of(target, model)
        print_result(found.lines(), found.to_json(), as_json)


@app.command(rich_help_panel=YOURS)
@cluster_options
def runs(
    *,
    where: "Where",
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only this model.")] = None,
    as_json: Json = False,
) -> None:
    """List the runs, the newest first, each with its settings and outcome.

    Example: lockgate runs adult-income
    """
    from lockgate.commands.runs import listed
    from lockgate.commands.target import target_of

    with target_of(find_project(), where) as target:
        found = listed(target, model)
        print_result(found.lines(), found.to_json(), as_json)


@app.command(rich_help_panel=YOURS)
@cluster_options
def compare(
    *,
    where: "Where",
    one: Annotated[str, typer.Argument(metavar="RUN", help="The id of a run, its first characters, or 'last'.")],
    other: Annotated[str, typer.Argument(metavar="RUN", help="Another run.")],
    as_json: Json = False,
) -> None:
    """Compare two runs: settings, data, each measure with its interval, verdicts.

    Example: lockgate compare 7f3b last
    """
    from lockgate.commands.compare import compare as compared
    from lockgate.commands.target import target_of

    with target_of(find_project(), where) as target:
        found = compared(target, one, other)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print_result(found.lines(width), found.to_json(), as_json)


@app.command(rich_help_panel=YOURS)
@cluster_options
def history(
    *,
    where: "Where",
    model: ModelName,
    most: Annotated[int, typer.Option("--last", metavar="N", help="The number of generations to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the versions of a model that were live, as the signed promotions prove them.

    Example: lockgate history adult-income
    """
    from lockgate.commands.history import history as history_of
    from lockgate.commands.target import target_of

    project = find_project()
    with target_of(project, where) as target:
        found = history_of(target, project.model(model).spec.name, most)
        print_result(found.lines(), found.to_json(), as_json)


@app.command(rich_help_panel=YOURS)
@cluster_options
def rollback(
    *,
    where: "Where",
    model: ModelName,
    to: Annotated[
        str, typer.Option(metavar="DIGEST|GENERATION", help="The version; by default the one before the present one.")
    ] = "previous",
    as_json: Json = False,
) -> int:
    """Bring back a version that was live before: it is verified, tested, and promoted as a new generation.

    Example: lockgate rollback adult-income --to 3
    """
    from lockgate.commands.rollback import rollback as bring_back

    result = bring_back(find_project(), model, to, where, quiet=as_json)
    print_result(result.lines(), result.to_json(), as_json)
    return result.exit_code


@app.command(rich_help_panel=YOURS)
@cluster_options
def logs(
    *,
    where: "Where",
    run_: RunName = "last",
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Only this step.")] = None,
    as_json: Json = False,
) -> None:
    """Show the log of a run, one line per event.

    Example: lockgate logs last train
    """
    from lockgate.commands import runs
    from lockgate.commands.target import target_of

    with target_of(find_project(), where) as target:
        found = runs.logs(target, run_, step)
    for one in found.steps:
        for line in one.log_lines():
            if as_json:
                say(json.dumps({"step": one.name, **line}, ensure_ascii=False))
            else:
                rest = {k: v for k, v in line.items() if k not in ("time", "event")}
                words = " ".join(f"{k}={json.dumps(v, ensure_ascii=False, default=str)}" for k, v in rest.items())
                say(f"{line.get('time', ''):<20} {one.name:<16} {line.get('event', '')} {words}".rstrip())
    for note in found.notes:
        say(note, err=True)


@app.command(rich_help_panel=YOURS)
def serve(
    stop_: Annotated[bool, typer.Option("--stop", help="Stop the local platform; live models stop answering.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal.")] = False,
    as_json: Json = False,
) -> int:
    """Start the local platform: each live model answers at one address.

    Example: lockgate serve
    """
    from lockgate.platform import control

    project = find_project()
    environment = find_environment(project)
    if foreground and not stop_:
        return control.foreground(project, environment)
    print_result(*(control.stop if stop_ else control.start)(project, environment), as_json)
    return 0


@app.command(rich_help_panel=YOURS)
@cluster_options
def stop(*, where: "Where", run_: RunName = "last", as_json: Json = False) -> None:
    """Stop a run: its steps end and its candidate is released; what is live stays live.

    Example: lockgate stop 7f3b
    """
    from lockgate.commands import runs
    from lockgate.commands.target import target_of

    with target_of(find_project(), where) as target:
        print_result(*runs.stop(target, run_), as_json)


@app.command(rich_help_panel=YOURS)
@cluster_options
def waive(
    *,
    where: "Where",
    run_: RunName,
    reason: Annotated[str, typer.Argument(metavar="GATE/N", help="The reason to except, as the verdict numbers it.")],
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who approved it; in a terminal you are asked for it.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="The last day, e.g. 2027-01-31.")] = None,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="The justification; the model card shows it.")] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The approver's private key; by default this machine's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign an exception to one reason of one verdict.

    The next run of the same model and data uses it.

    Example: lockgate waive 7f3b bias-audit/1 --by "Ana Diaz, director" --until 2027-01-31 --why "Pilot with 40 cases"
    """
    from lockgate.commands.target import find, target_of
    from lockgate.commands.waive import Waiving
    from lockgate.commands.waive import waive as sign

    with target_of(find_project(), where) as target:
        record = find(target, run_)
        if by is None and sys.stdin.isatty():
            by = typer.prompt("Who approved this exception", err=True)
        print_result(*sign(target, record, Waiving(reason, by, why, until, key)), as_json)


@app.command(rich_help_panel=YOURS)
def verify(
    what: Annotated[
        str, typer.Argument(metavar="MODEL|BUNDLE", help="A model (its live bundle) or the folder of a bundle.")
    ],
    cluster: Annotated[bool, typer.Option("--cluster", help="What is live on the cluster of kubernetes/.")] = False,
    as_json: Json = False,
) -> None:
    """Verify a bundle's files, signatures and waivers.

    Example: lockgate verify adult-income
    """
    from lockgate.cluster.manifests.settings import Cluster
    from lockgate.commands.verify import verify_what

    project = find_project()
    users = None
    if cluster:
        from lockgate.cluster.api import connect
        from lockgate.cluster.objects import ClusterObjects
        from lockgate.cluster.served import Users

        settings = Cluster(project).settings
        users = Users(ClusterObjects(connect(None, settings.namespace), settings))
    environment = Cluster(project).as_environment if cluster else find_environment(project)
    value, lines = verify_what(project, environment, what, users)
    print_result(lines, value, as_json)
