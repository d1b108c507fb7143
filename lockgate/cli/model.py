"""The verbs for whoever makes a model."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockgate.cli.app import app
from lockgate.cli.options import (
    YOURS,
    Json,
    ModelName,
    RunName,
    Settings,
    cluster_options,
    find_environment,
    find_project,
    find_runs,
    given_settings,
    print_json,
    print_result,
    say,
)

if TYPE_CHECKING:
    from lockgate.cluster.workflows import Where


@app.command(rich_help_panel=YOURS)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the model, e.g. claims-triage.")],
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="A CSV file with a header, plain or .gz.")],
    target: Annotated[str, typer.Option("--target", metavar="COLUMN", help="The column to predict.")],
    positive: Annotated[str | None, typer.Option(help="The label that counts as selected; by default guessed.")] = None,
    sensitive: Annotated[
        str | None, typer.Option(help="Columns to audit by, comma-separated; by default guessed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a model from a CSV file; it runs at once.

    Example: lockgate new claims-triage --data claims.csv --target approved
    """
    from lockgate import new as maker

    print_result(*maker.command(find_project(), name, data, target, positive, sensitive), as_json)


@app.command(rich_help_panel=YOURS)
def run(
    model: ModelName,
    workflow: Annotated[
        str, typer.Option(help="release (from data) or review (from a registered version).")
    ] = "release",
    settings: Settings = None,
    data: Annotated[str | None, typer.Option(metavar="URI", help="Other data: a file, file:///… or s3://…")] = None,
    version: Annotated[str | None, typer.Option(help="For review: the registered version.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run that was interrupted.")] = None,
    engine: Annotated[str, typer.Option("--in", metavar="podman|docker", help="Run each step as its very image.")] = "",
    serve_: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Start the local platform if it is not up.")
    ] = True,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Also show what is inert locally, and each log line.")
    ] = False,
    welcome: Annotated[bool, typer.Option("--welcome", hidden=True)] = False,
    as_json: Json = False,
) -> int:
    """Run a model's workflow here, as Argo would: the rendered manifest, step by step.

    Example: lockgate run adult-income --set mitigation=none
    """
    from lockgate.commands.run import Request, Session

    given = given_settings(settings, data, version)
    session = Session(find_project(), verbose=verbose, quiet=as_json)
    result = session.run(Request(model, workflow, given, resume=resume, serve=serve_, engine=engine))
    if as_json:
        print_json(result.to_json())
    else:
        for line in result.lines(welcome=welcome):
            say(line)
    return result.exit_code


@app.command(rich_help_panel=YOURS)
@cluster_options
def report(
    *,
    where: "Where",
    run_: RunName = "last",
    as_json: Json = False,
) -> None:
    """Where the reports of a run lie: verdicts, groups with intervals, the model card; here, or of a run on a cluster.

    Example: lockgate report last
    """
    from lockgate.commands import cluster as clustered
    from lockgate.report.pages import write_index

    project, gone = find_project(), list[str]()
    if where.elsewhere:
        record, files, gone = clustered.report(project, where, run_)
        pages = {name: path.as_uri() for name, path in files.items()}
    else:
        record = find_runs(project).find(run_)
        pages = write_index(record, find_environment(project))
    if as_json:
        print_json({"run": record.id, "pages": pages, "gone": gone})
        return
    for name, link in pages.items():
        say(f"  {name:<16} {link}")
    if gone:
        say(f"The store no longer has: {', '.join(gone)}.", err=True)


@app.command(rich_help_panel=YOURS)
def predict(
    model: ModelName,
    rows: Annotated[
        Path, typer.Argument(metavar="ROWS.CSV", help="A CSV file with the inputs as columns; - reads standard input.")
    ],
    as_json: Json = False,
) -> None:
    """Ask the live model: CSV in, the same rows with label and score out.

    Example: lockgate predict adult-income rows.csv > answers.csv
    """
    from lockgate.commands.predict import predict_csv, predict_json

    project = find_project()
    environment, spec = find_environment(project), project.model(model).spec
    if as_json:
        print_json(predict_json(environment, spec, rows))
    else:
        predict_csv(environment, spec, rows, sys.stdout)


@app.command(rich_help_panel=YOURS)
@cluster_options
def status(
    *,
    where: "Where",
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    as_json: Json = False,
) -> None:
    """What is live, what is being tried, and the last runs; here, or with -n on a cluster.

    Example: lockgate status
    """
    from lockgate.commands import cluster as clustered
    from lockgate.commands.status import status_of

    project = find_project()
    if where.elsewhere:
        value, lines = clustered.status(project, where, model)
    else:
        value, lines = status_of(project, find_environment(project), find_runs(project), model)
    print_result(lines, value, as_json)


@app.command(rich_help_panel=YOURS)
@cluster_options
def logs(
    *,
    where: "Where",
    run_: RunName = "last",
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Only this step.")] = None,
    as_json: Json = False,
) -> None:
    """The log of a run, one line an event; here, or with -n of a run on a cluster.

    Example: lockgate logs last train
    """
    from lockgate.commands import cluster as clustered
    from lockgate.errors import UnknownName
    from lockgate.report.lines import why_no_log

    missing = list[str]()
    if where.elsewhere:
        record, missing = clustered.logs(find_project(), where, run_, step)
    else:
        record = find_runs(find_project()).find(run_)
    steps = [s for s in record.steps if step in (None, s.name)]
    if not steps:
        raise UnknownName("step", step or "", [s.name for s in record.steps])
    for one in steps:
        lines = list(one.log_lines())
        if step and not lines and not missing:
            say(why_no_log(record, one), err=True)
        for line in lines:
            if as_json:
                say(json.dumps({"step": one.name, **line}, ensure_ascii=False))
            else:
                rest = {k: v for k, v in line.items() if k not in ("time", "event")}
                words = " ".join(f"{k}={json.dumps(v, ensure_ascii=False, default=str)}" for k, v in rest.items())
                say(f"{line.get('time', ''):<20} {one.name:<16} {line.get('event', '')} {words}".rstrip())
    for note in missing:
        say(note, err=True)


@app.command(rich_help_panel=YOURS)
def serve(
    stop_: Annotated[bool, typer.Option("--stop", help="Stop the local platform; live models stop answering.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal.")] = False,
    as_json: Json = False,
) -> int:
    """Start the local platform: every live model answers on one address.

    Example: lockgate serve
    """
    from lockgate.platform import control as platform

    project = find_project()
    environment = find_environment(project)
    if stop_:
        lines, value = platform.stop(project, environment)
    elif foreground:
        return platform.foreground(project, environment)
    else:
        lines, value = platform.start(project, environment)
    print_result(lines, value, as_json)
    return 0


@app.command(rich_help_panel=YOURS)
@cluster_options
def stop(
    *,
    where: "Where",
    run_: RunName = "last",
    as_json: Json = False,
) -> None:
    """Stop a run, here or with -n on a cluster: its steps end, its candidate is released, what is live stays live.

    Example: lockgate stop 7f3b
    """
    from lockgate.commands import cluster as clustered
    from lockgate.commands.run import stop_run

    if where.elsewhere:
        print_result(*clustered.stop(find_project(), where, run_), as_json)
        return
    record = find_runs(find_project()).find(run_)
    print_result([stop_run(record)], {"run": record.id}, as_json)


@app.command(rich_help_panel=YOURS)
@cluster_options
def waive(
    *,
    where: "Where",
    run_: RunName,
    reason: Annotated[str, typer.Argument(metavar="GATE/N", help="The reason to except, as the verdict numbers it.")],
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who approved it; asked for where there is a terminal.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="When it ends, e.g. 2027-01-31.")] = None,
    why: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why it can be defended; it stands on the model card.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The approver's private key; here by default this machine's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign an exception to one reason of one verdict, here or of a run on a cluster.

    The next run of the same model and data honours it.

    Example: lockgate waive 7f3b bias-audit/1 --by "Ana Diaz, director" --until 2027-01-31 --why "Pilot with 40 cases"
    """
    from lockgate.commands import cluster as clustered
    from lockgate.commands.waive import Waiving, write_waiver

    project = find_project()
    record = None if where.elsewhere else find_runs(project).find(run_)
    if by is None and sys.stdin.isatty():
        by = typer.prompt("Who approved this exception", err=True)
    asked = Waiving(reason, by, why, until, key)
    if record is None:
        print_result(*clustered.waive(project, where, run_, asked), as_json)
        return
    print_result(*write_waiver(project, find_environment(project), record, asked, where), as_json)


@app.command(rich_help_panel=YOURS)
def verify(
    what: Annotated[
        str, typer.Argument(metavar="MODEL|BUNDLE", help="A model (its live bundle) or a bundle's folder.")
    ],
    cluster: Annotated[bool, typer.Option("--cluster", help="What is live on the cluster of kubernetes/.")] = False,
    as_json: Json = False,
) -> None:
    """Prove a bundle again: every file, signature, subject and waiver; here, or with --cluster of the cluster's.

    Example: lockgate verify adult-income
    """
    from lockgate.cluster.manifests.settings import Cluster
    from lockgate.commands.verify import verify_what

    project = find_project()
    environment = Cluster(project).as_environment if cluster else find_environment(project)
    value, lines = verify_what(project, environment, what)
    print_result(lines, value, as_json)
