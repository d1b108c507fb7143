"""The verbs for the platform's operator."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockgate.cli.app import app
from lockgate.cli.options import (
    PLATFORM,
    Json,
    ModelName,
    Settings,
    Version,
    cluster_options,
    find_project,
    given_settings,
    print_json,
    print_result,
    say,
)
from lockgate.errors import BadCall

if TYPE_CHECKING:
    from lockgate.cluster.workflows import Where
    from lockgate.definition.project import Project


@app.command(rich_help_panel=PLATFORM)
def render(
    models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file differs from its source.")
    ] = False,
    kubernetes: Annotated[
        bool,
        typer.Option("--kubernetes", help="Also write the cluster's manifests: kubernetes/, and keys in .lockgate/."),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the cluster: store, endpoint, ca (a file), registry, ..."
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="The cluster's namespace; by default the project's folder.")
    ] = None,
    argo: Annotated[
        str | None, typer.Option(metavar="MINOR", help="The cluster's version of Argo: 3.7, 4.0 or 4.1.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the Argo manifests from their sources; in Lockgate's repository also contracts and step functions.

    Example: lockgate render --check
    """
    from lockgate.commands.render import render_project

    project, given = find_project(), given_settings(settings)
    given |= {name: value for name, value in (("namespace", namespace), ("argo", argo)) if value is not None}
    of_cluster = kubernetes or bool(given)
    notes = _prepared(project, given, check=check) if of_cluster else []
    lines, value = render_project(project, models or [], check=check)
    if of_cluster and not check:
        lines.append(f"  {_ownership(project)}")
        lines.append("  .lockgate/kubernetes holds private keys and the store's credentials: apply it, never commit it")
    print_result(lines + [f"  next: {note}" for note in notes], {**value, "next": notes}, as_json)


def _ownership(project: "Project") -> str:
    from lockgate.cluster.manifests.settings import Cluster

    settings = Cluster(project).settings
    return f"the namespace {settings.namespace} is for the project {settings.owner} alone (kubernetes/settings.toml)"


def _prepared(project: "Project", given: dict[str, str], *, check: bool) -> list[str]:
    from lockgate.cluster.manifests.settings import Cluster
    from lockgate.cluster.prepare import prepare

    if not check:
        return prepare(project, given)
    if given:
        msg = "--check writes nothing, so it accepts no settings"
        raise BadCall(msg, fix="lockgate render --check")
    _ = Cluster(project).settings  # fails if there is no cluster
    return []


@app.command(rich_help_panel=PLATFORM)
@cluster_options
def submit(
    *,
    where: "Where",
    model: ModelName,
    workflow: Annotated[str, typer.Option(metavar="NAME", help="release or review.")] = "release",
    settings: Settings = None,
    data: Annotated[
        str | None, typer.Option(metavar="URI", help="Data that the cluster can read, e.g. s3://bucket/key.")
    ] = None,
    version: Version = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show the run until it ends.")] = False,
    as_json: Json = False,
) -> int:
    """Start a workflow on a cluster, after checking its settings, images and manifests.

    Example: lockgate submit adult-income --data s3://labour/adult.csv.gz -n lockgate --watch
    """
    from lockgate.cluster.submit import Submission, order_of
    from lockgate.commands.result import Result
    from lockgate.commands.submit import submit as create
    from lockgate.commands.submit import submit_and_watch
    from lockgate.report.tree import LiveTree

    given = given_settings(settings, data, version)
    project = find_project()
    order = order_of(project, model, workflow, given)
    done: Submission | Result
    if watch:
        with LiveTree(quiet=as_json) as tree:
            done = submit_and_watch(project, order, where, tree)
    else:
        done = create(order, where)
    print_result(done.lines(), done.to_json(), as_json)
    return done.exit_code


@app.command(rich_help_panel=PLATFORM)
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A workflow, as Couler or kubectl prints it.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The file to write; by default standard output."),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The time zone of a schedule; Couler writes Asia/Shanghai if none is given."),
    ] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Make it a WorkflowTemplate, the only kind that a Secure platform runs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert a workflow made by Couler to Argo 3.7 to 4.1, and list each change.

    Example: lockgate convert nightly.yaml --output nightly-argo4.yaml --timezone America/Toronto
    """
    from lockgate.couler.convert import convert_file

    converted = convert_file(file, output, timezone, template=template)
    if as_json:
        print_json(converted.to_json())
        return
    for line in converted.lines():
        say(line, err=output is None)
    if output is None:
        say(converted.text.rstrip(), lines=True)


@app.command(rich_help_panel=PLATFORM)
def images(
    action: Annotated[
        str, typer.Argument(metavar="[build|push]", help="Build the images, or push those that were built.")
    ] = "",
    only: Annotated[list[str] | None, typer.Option(metavar="IMAGE", help="Only this image; may be repeated.")] = None,
    base: Annotated[str, typer.Option(metavar="REFERENCE", help="The base image: Python only, best by digest.")] = "",
    registry: Annotated[str, typer.Option(metavar="HOST/FOLDER", help="The registry and folder to push to.")] = "",
    python: Annotated[str, typer.Option(metavar="VERSION", help="The minor version of Python in the base.")] = "3.11",
    tool: Annotated[
        str, typer.Option(metavar="NAME", help="buildah, podman or docker; by default the one that is installed.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the container images and whether they are built; build them; push them by digest.

    Example: lockgate images build --base registry.example.org/python@sha256:… --registry registry.example.org/lockgate

    Then: lockgate images push --registry registry.example.org/lockgate

    CA, credentials and proxies are those of the tool: certs.d, buildah login, podman login or docker login.
    """
    from lockgate.images.build import Target, at_once, build, push
    from lockgate.images.build_tools import find_builder
    from lockgate.images.pins import chosen, describe, record

    if action not in ("", "build", "push"):
        msg = f"unknown action {action!r} of images"
        raise BadCall(msg, fix="lockgate images, lockgate images build, or lockgate images push")
    project, references = find_project(), {}
    if action:
        target, builder = Target.of(base, registry, python, action), find_builder(tool)
        work = partial(build if action == "build" else push, target=target, builder=builder)
        for done in at_once(chosen(project, only or []), work):
            references[done.image.name] = done.reference
            if action == "push":
                record(project, references)
            if not as_json:
                say(f"  {action:<5} {done.reference}  {done.seconds:.1f} s", err=True)
    if action == "build":
        print_result([f"Next: lockgate images push --registry {registry}"], references, as_json)
    elif action == "push":
        print_result(
            ["Next: lockgate render, which writes these digests into the manifests"], describe(project)[1], as_json
        )
    else:
        print_result(*describe(project), as_json)


@app.command(rich_help_panel=PLATFORM)
def doctor(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Check the cluster of kubernetes/ instead of this machine.")
    ] = False,
    context: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The cluster, by its context in kubeconfig; by default the current one."),
    ] = None,
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="The cluster's namespace.")] = None,
    for_tests: Annotated[
        bool,
        typer.Option("--for-tests", help="For a test cluster: accept a version of Argo with known vulnerabilities."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Check this machine or a cluster, name the fix of each problem, and restore missing local settings and keys.

    Example: lockgate doctor --cluster
    """
    if cluster:
        from lockgate.doctor.cluster import examine as examine_cluster

        code, lines, value = examine_cluster(find_project(), context, namespace, for_tests=for_tests)
    else:
        from lockgate.doctor.machine import examine

        code, lines, value = examine(find_project())
    print_result(lines, value, as_json)
    return code
