"""The verbs for whoever runs the platform."""

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
    from lockgate.commands.render import render_project

    project, given = find_project(), given_settings(settings)
    given |= {name: value for name, value in (("namespace", namespace), ("argo", argo)) if value is not None}
    of_cluster = kubernetes or bool(given)
    notes = _prepared(project, given, check=check) if of_cluster else []
    lines, value = render_project(project, models or [], check=check)
    if of_cluster and not check:
        lines.append("  .lockgate/kubernetes holds private keys and the store's credentials: apply it, never commit it")
    print_result(lines + [f"  next: {note}" for note in notes], {**value, "next": notes}, as_json)


def _prepared(project: "Project", given: dict[str, str], *, check: bool) -> list[str]:
    from lockgate.cluster.manifests.settings import Cluster
    from lockgate.cluster.prepare import prepare

    if not check:
        return prepare(project, given)
    if given:
        msg = "--check writes nothing, so it takes no settings"
        raise BadCall(msg, fix="lockgate render --check")
    _ = Cluster(project).settings  # refuses where there is no cluster
    return []


@app.command(rich_help_panel=PLATFORM)
@cluster_options
def submit(
    *,
    where: "Where",
    model: ModelName,
    workflow: Annotated[str, typer.Option(help="release or review.")] = "release",
    settings: Settings = None,
    data: Annotated[
        str | None, typer.Option(metavar="URI", help="Data as the cluster reaches them, e.g. s3://bucket/key.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="For review: the registered version.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it until it has ended, as run does.")] = False,
    as_json: Json = False,
) -> int:
    """Start a workflow on a cluster: check what can be checked, create it, and with --watch show how it ends.

    Example: lockgate submit adult-income --data s3://labour/adult.csv.gz -n lockgate --watch
    """
    from lockgate.cluster.submit import Submission, order_of
    from lockgate.commands import cluster as clustered
    from lockgate.report.tree import LiveTree

    given = given_settings(settings, data, version)
    project = find_project()
    order = order_of(project, model, workflow, given)
    done: Submission | clustered.Watched
    if watch:
        with LiveTree(quiet=as_json) as tree:
            done = clustered.submit_and_watch(project, order, where, tree)
    else:
        done = clustered.submit(order, where)
    print_result(done.lines(), done.to_json(), as_json)
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
    from lockgate.couler.convert import convert_file

    converted = convert_file(file, output, timezone, template=template)
    if as_json:
        print_json(converted.to_json())
        return
    for line in converted.lines():
        say(line, err=output is None)
    if output is None:
        say(converted.text.rstrip())


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
    from lockgate.images.build import Target, at_once, build, push
    from lockgate.images.builders import find_builder
    from lockgate.images.pins import chosen, describe, record

    if action not in ("", "build", "push"):
        msg = f"images cannot {action}"
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
        print_result(["Next: lockgate render, which names them by these digests"], describe(project)[1], as_json)
    else:
        print_result(*describe(project), as_json)


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
        from lockgate.doctor.cluster import examine as examine_cluster

        code, lines, value = examine_cluster(find_project(), context, namespace, for_tests=for_tests)
    else:
        from lockgate.doctor.machine import examine

        code, lines, value = examine(find_project())
    print_result(lines, value, as_json)
    return code
