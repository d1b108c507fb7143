"""The verbs. What they do lives elsewhere; here is what they are called, what they print and how they end."""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lockgate.errors import BadCall, LockgateError

if TYPE_CHECKING:
    from lockgate.argo import Where
    from lockgate.environment import Environment
    from lockgate.project import Project
    from lockgate.runs import Runs

YOURS = "Your model"
PLATFORM = "The platform"


class Verbs(TyperGroup):
    """The verbs in help, by whom they are for, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group of verbs."""
        commands: dict[str, Any] = dict(self.commands)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in commands.items():
            said = command.get_short_help_str(formatter.width * 3)
            sections.setdefault(str(command.rich_help_panel), []).append((name, said))
        for section, verbs in sections.items():
            with formatter.section(section):
                formatter.write_dl(verbs)


app = typer.Typer(
    name="lockgate",
    cls=Verbs,
    help="From data to an audited, served model, through gates that cannot be skipped.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich draws boxes round the help, and its import takes longer than all else that help needs
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, e.g. adult-income.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or 'last'.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Vary a tunable setting.")]

# Which cluster; one of the first three given means a cluster, none of them this machine.
Namespace = Annotated[str | None, typer.Option("-n", "--namespace", metavar="NS", help="A cluster's namespace.")]
Context = Annotated[str | None, typer.Option(metavar="NAME", help="A cluster, by kubeconfig's name for it.")]
Server = Annotated[str | None, typer.Option(metavar="URL", help="An Argo server, in place of the Kubernetes API.")]
TokenFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Its bearer token; by default $ARGO_TOKEN.")]
Ca = Annotated[Path | None, typer.Option(metavar="FILE", help="The CA of its certificate, where it has its own.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        _say(f"lockgate {version('lockgate')}")
        raise typer.Exit


@app.callback()
def _every_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What can be asked without a verb; its help is the app's."""
    del version


# Typer brings a click of its own or uses the one that is installed; this is the one it raises.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run_app(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error ends in its next action.

    With --json stdout is one JSON value whatever happens: what was asked for, or the error.
    """
    as_json = "--json" in arguments
    try:
        result = app(args=arguments, standalone_mode=False)
    except LockgateError as error:
        return _fail(error.message, error.fix, error.exit_code, as_json)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except UsageError as error:
        return _misused(error, as_json)
    except Exception as error:
        if _step_error(error):
            return _fail(str(error), getattr(error, "fix", ""), getattr(error, "exit_code", 1), as_json)
        if os.environ.get("LOCKGATE_DEBUG") == "1":
            raise
        return _fail(
            f"this is a bug in Lockgate: {type(error).__name__}: {error}",
            "run again with LOCKGATE_DEBUG=1 and send the traceback to the maintainers",
            1,
            as_json,
        )
    return result if isinstance(result, int) else 0


def _misused(error: Any, as_json: bool) -> int:
    message = str(error.format_message()).rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":  # nothing was asked, and the help is its message
        _say(message, err=True)
        return 2
    command = error.ctx.command_path if error.ctx else "lockgate"
    return _fail(message[0].lower() + message[1:], f"{command} --help shows what it takes", 2, as_json)


def _step_error(error: Exception) -> bool:
    from lockgate_step import StepError

    return isinstance(error, StepError)


def _fail(message: str, fix: str, code: int, as_json: bool) -> int:
    if as_json:
        # On one line, since the log is one JSON object a line.
        _say(json.dumps({"error": {"message": message, "fix": fix}, "exit_code": code}, ensure_ascii=False))
        return code
    _say(f"Error: {message}", err=True)
    if fix:
        _say(f"Next: {fix}", err=True)
    return code


def _say(text: str = "", *, err: bool = False) -> None:
    typer.echo(text, err=err)


def _print_json(value: object) -> None:
    _say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _project() -> "Project":
    from lockgate.project import Project

    return Project.find()


def _runs(project: "Project") -> "Runs":
    from lockgate.runs import Runs

    return Runs(project.state / "runs")


def _environment(project: "Project") -> "Environment":
    from lockgate.environment import ensure_environment
    from lockgate.shelf import Shelf

    return ensure_environment(project, Shelf.find().signers)


def _where(
    namespace: str | None, context: str | None, server: str | None, token_file: Path | None, ca: Path | None
) -> "Where":
    from lockgate.argo import Where

    return Where(namespace, context, server, token_file, ca)


def _given(settings: list[str] | None) -> dict[str, str]:
    found = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            msg = f"--set {setting!r} is not NAME=VALUE"
            raise BadCall(msg, fix="write e.g. --set mitigation=none")
        found[name.replace("-", "_")] = value
    return found


# Your model --------------------------------------------------------------------------------------------------------


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

    _say_lines(maker.command(_project(), name, data, target, positive, sensitive), as_json)


def _say_lines(result: tuple[list[str], dict[str, Any]], as_json: bool) -> None:
    lines, value = result
    if as_json:
        _print_json(value)
    else:
        for line in lines:
            _say(line)


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
    from lockgate.running import Request, Session

    given = _given(settings)
    if data is not None:
        given["data"] = data
    if version is not None:
        given["version"] = version
    session = Session(_project(), verbose=verbose, quiet=as_json)
    result = session.run(Request(model, workflow, given, resume=resume, serve=serve_, engine=engine))
    if as_json:
        _print_json(result.to_json())
    else:
        for line in result.lines(welcome=welcome):
            _say(line)
    return result.exit_code


@app.command(rich_help_panel=YOURS)
def report(
    run_: RunName = "last",
    namespace: Namespace = None,
    context: Context = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Where the reports of a run lie: verdicts, groups with intervals, the model card; here, or of a run on a cluster.

    Example: lockgate report last
    """
    from lockgate import clustered
    from lockgate.reports import write_index

    project, gone = _project(), list[str]()
    where = _where(namespace, context, server, token_file, ca)
    if where.elsewhere:
        record, files, gone = clustered.report(project, where, run_)
        pages = {name: path.as_uri() for name, path in files.items()}
    else:
        record = _runs(project).find(run_)
        pages = write_index(record, _environment(project))
    if as_json:
        _print_json({"run": record.id, "pages": pages, "gone": gone})
        return
    for name, link in pages.items():
        _say(f"  {name:<16} {link}")
    if gone:
        _say(f"The store no longer has: {', '.join(gone)}.", err=True)


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
    from lockgate.calling import predict_csv, predict_json

    project = _project()
    environment, spec = _environment(project), project.model(model).spec
    if as_json:
        _print_json(predict_json(environment, spec, rows))
    else:
        predict_csv(environment, spec, rows, sys.stdout)


@app.command(rich_help_panel=YOURS)
def status(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    namespace: Namespace = None,
    context: Context = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """What is live, what is being tried, and the last runs; here, or with -n on a cluster.

    Example: lockgate status
    """
    from lockgate import clustered
    from lockgate.calling import status_of

    project = _project()
    where = _where(namespace, context, server, token_file, ca)
    if where.elsewhere:
        value, lines = clustered.status(project, where, model)
    else:
        value, lines = status_of(project, _environment(project), _runs(project), model)
    _say_lines((lines, value), as_json)


@app.command(rich_help_panel=YOURS)
def logs(
    run_: RunName = "last",
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Only this step.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """The log of a run, one line an event; here, or with -n of a run on a cluster.

    Example: lockgate logs last train
    """
    from lockgate import clustered
    from lockgate.errors import UnknownName
    from lockgate.show import why_no_log

    where, missing = _where(namespace, context, server, token_file, ca), list[str]()
    if where.elsewhere:
        record, missing = clustered.logs(_project(), where, run_, step)
    else:
        record = _runs(_project()).find(run_)
    steps = [s for s in record.steps if step in (None, s.name)]
    if not steps:
        raise UnknownName("step", step or "", [s.name for s in record.steps])
    for one in steps:
        lines = list(one.log_lines())
        if step and not lines and not missing:
            _say(why_no_log(record, one), err=True)
        for line in lines:
            if as_json:
                _say(json.dumps({"step": one.name, **line}, ensure_ascii=False))
            else:
                rest = {k: v for k, v in line.items() if k not in ("time", "event")}
                words = " ".join(f"{k}={json.dumps(v, ensure_ascii=False, default=str)}" for k, v in rest.items())
                _say(f"{line.get('time', ''):<20} {one.name:<16} {line.get('event', '')} {words}".rstrip())
    for note in missing:
        _say(note, err=True)


@app.command(rich_help_panel=YOURS)
def serve(
    stop_: Annotated[bool, typer.Option("--stop", help="Stop the local platform; live models stop answering.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal.")] = False,
    as_json: Json = False,
) -> int:
    """Start the local platform: every live model answers on one address.

    Example: lockgate serve
    """
    from lockgate import platform

    project = _project()
    environment = _environment(project)
    if stop_:
        lines, value = platform.stop(project, environment)
    elif foreground:
        return platform.foreground(project, environment)
    else:
        lines, value = platform.start(project, environment)
    _say_lines((lines, value), as_json)
    return 0


@app.command(rich_help_panel=YOURS)
def stop(
    run_: RunName = "last",
    namespace: Namespace = None,
    context: Context = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Stop a run, here or with -n on a cluster: its steps end, its candidate is released, what is live stays live.

    Example: lockgate stop 7f3b
    """
    from lockgate import clustered
    from lockgate.running import stop_run

    where = _where(namespace, context, server, token_file, ca)
    if where.elsewhere:
        _say_lines(clustered.stop(_project(), where, run_), as_json)
        return
    record = _runs(_project()).find(run_)
    _say_lines(([stop_run(record)], {"run": record.id}), as_json)


@app.command(rich_help_panel=YOURS)
def waive(
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
    namespace: Namespace = None,
    context: Context = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Sign an exception to one reason of one verdict, here or of a run on a cluster.

    The next run of the same model and data honours it.

    Example: lockgate waive 7f3b bias-audit/1 --by "Ana Diaz, director" --until 2027-01-31 --why "Pilot with 40 cases"
    """
    from lockgate import clustered
    from lockgate.waiving import Waiving, write_waiver

    project = _project()
    where = _where(namespace, context, server, token_file, ca)
    record = None if where.elsewhere else _runs(project).find(run_)
    if by is None and sys.stdin.isatty():
        by = typer.prompt("Who approved this exception", err=True)
    asked = Waiving(reason, by, why, until, key)
    if record is None:
        _say_lines(clustered.waive(project, where, run_, asked), as_json)
        return
    _say_lines(write_waiver(project, _environment(project), record, asked, where), as_json)


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
    from lockgate.kubernetes.settings import Cluster
    from lockgate.verifying import verify_what

    project = _project()
    environment = Cluster(project).as_environment if cluster else _environment(project)
    value, lines = verify_what(project, environment, what)
    _say_lines((lines, value), as_json)


# The platform ------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=PLATFORM)
def render(
    models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where a file does not agree with its source.")
    ] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Also what the cluster needs: kubernetes/, and keys below .lockgate/.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Of the cluster: store, endpoint, ca (a file), registry, ..."),
    ] = None,
    namespace: Annotated[str | None, typer.Option(metavar="NAME", help="Of the cluster; by default lockgate.")] = None,
    argo: Annotated[str | None, typer.Option(metavar="MINOR", help="Argo's version there: 3.7, 4.0 or 4.1.")] = None,
    as_json: Json = False,
) -> None:
    """Write the Argo manifests (and, in Lockgate's own repository, contracts and step functions) from their sources.

    Example: lockgate render --check
    """
    from lockgate.rendering import render_project

    project, given = _project(), _given(settings)
    given |= {name: value for name, value in (("namespace", namespace), ("argo", argo)) if value is not None}
    of_cluster = kubernetes or bool(given)
    notes = _prepared(project, given, check=check) if of_cluster else []
    lines, value = render_project(project, models or [], check=check)
    if of_cluster and not check:
        lines.append("  .lockgate/kubernetes holds private keys and the store's credentials: apply it, never commit it")
    _say_lines((lines + [f"  next: {note}" for note in notes], {**value, "next": notes}), as_json)


def _prepared(project: "Project", given: dict[str, str], *, check: bool) -> list[str]:
    from lockgate.kubernetes.prepare import prepare
    from lockgate.kubernetes.settings import Cluster

    if not check:
        return prepare(project, given)
    if given:
        msg = "--check writes nothing, so it takes no settings"
        raise BadCall(msg, fix="lockgate render --check")
    _ = Cluster(project).settings  # refuses where there is no cluster
    return []


@app.command(rich_help_panel=PLATFORM)
def submit(
    model: ModelName,
    workflow: Annotated[str, typer.Option(help="release or review.")] = "release",
    settings: Settings = None,
    data: Annotated[
        str | None, typer.Option(metavar="URI", help="Data as the cluster reaches them, e.g. s3://bucket/key.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="For review: the registered version.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it until it has ended, as run does.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: Json = False,
) -> int:
    """Start a workflow on a cluster: check what can be checked, create it, and with --watch show how it ends.

    Example: lockgate submit adult-income --data s3://labour/adult.csv.gz -n lockgate --watch
    """
    from lockgate import clustered
    from lockgate.live import LiveTree
    from lockgate.submitting import Submission, order_of

    given = _given(settings)
    if data is not None:
        given["data"] = data
    if version is not None:
        given["version"] = version
    where = _where(namespace, context, server, token_file, ca)
    project = _project()
    order = order_of(project, model, workflow, given)
    done: Submission | clustered.Watched
    if watch:
        with LiveTree(quiet=as_json) as tree:
            done = clustered.submit_and_watch(project, order, where, tree)
    else:
        done = clustered.submit(order, where)
    _say_lines((done.lines(), done.to_json()), as_json)
    return done.exit_code


@app.command(rich_help_panel=PLATFORM)
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A workflow as Couler or kubectl prints it.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where it goes; by default standard output.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a schedule; Couler writes Asia/Shanghai where none is said.")
    ] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Make it a WorkflowTemplate: all that a Secure platform runs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring a workflow that Couler made to Argo 3.7 to 4.1, listing each change.

    Example: lockgate convert nightly.yaml --output nightly-argo4.yaml --timezone America/Toronto
    """
    from lockgate.converting import convert_file

    converted = convert_file(file, output, timezone, template=template)
    if as_json:
        _print_json(converted.to_json())
        return
    for line in converted.lines():
        _say(line, err=output is None)
    if output is None:
        _say(converted.text.rstrip())


@app.command(rich_help_panel=PLATFORM)
def images(
    action: Annotated[str, typer.Argument(metavar="[build|push]", help="Build them, or push what was built.")] = "",
    only: Annotated[list[str] | None, typer.Option(metavar="IMAGE", help="Only this one; may be repeated.")] = None,
    base: Annotated[str, typer.Option(metavar="REFERENCE", help="An image with Python alone, best by digest.")] = "",
    registry: Annotated[str, typer.Option(metavar="HOST/FOLDER", help="Where they are named and pushed.")] = "",
    python: Annotated[str, typer.Option(metavar="VERSION", help="Minor version of the base's Python.")] = "3.11",
    tool: Annotated[str, typer.Option(metavar="NAME", help="buildah, podman or docker; by default what is here.")] = "",
    as_json: Json = False,
) -> None:
    """Each image: which lock it holds, and whether it was built; build them, and push them by digest.

    Example: lockgate images build --base registry.example.org/python@sha256:… --registry registry.example.org/lockgate

    Then: lockgate images push --registry registry.example.org/lockgate

    CA, credentials and proxies are those the tool has: certs.d, buildah login, podman login or docker login.
    """
    from lockgate.builders import find_builder
    from lockgate.building import Target, at_once, build, push
    from lockgate.images import chosen, describe, record

    if action not in ("", "build", "push"):
        msg = f"images cannot {action}"
        raise BadCall(msg, fix="lockgate images, lockgate images build, or lockgate images push")
    project, references = _project(), {}
    if action:
        target, builder = Target.of(base, registry, python, action), find_builder(tool)
        work = partial(build if action == "build" else push, target=target, builder=builder)
        for done in at_once(chosen(project, only or []), work):
            references[done.image.name] = done.reference
            if action == "push":
                record(project, references)
            if not as_json:
                _say(f"  {action:<5} {done.reference}  {done.seconds:.1f} s", err=True)
    if action == "build":
        _say_lines(([f"Next: lockgate images push --registry {registry}"], references), as_json)
    elif action == "push":
        _say_lines((["Next: lockgate render, which names them by these digests"], describe(project)[1]), as_json)
    else:
        _say_lines(describe(project), as_json)


@app.command(rich_help_panel=PLATFORM)
def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="Check the cluster of kubernetes/ instead.")] = False,
    context: Annotated[str | None, typer.Option(metavar="NAME", help="Of kubeconfig; by default the current.")] = None,
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="The namespace of the platform.")] = None,
    for_tests: Annotated[
        bool, typer.Option("--for-tests", help="The cluster is for tests: an Argo known to be vulnerable will do.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Check this machine: Python, installer, environment, keys, store, port, rendered files; restore what is missing.

    Example: lockgate doctor --cluster
    """
    if cluster:
        from lockgate.kubernetes.doctor import examine as examine_cluster

        code, lines, value = examine_cluster(_project(), context, namespace, for_tests=for_tests)
    else:
        from lockgate.doctor import examine

        code, lines, value = examine(_project())
    _say_lines((lines, value), as_json)
    return code
