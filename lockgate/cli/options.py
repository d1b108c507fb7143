"""Options that several verbs share, and how a verb prints its result."""

import functools
import inspect
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from lockgate_step import visible

from lockgate.errors import BadCall

if TYPE_CHECKING:
    from lockgate.definition.project import Project
    from lockgate.records.environment import Environment

YOURS = "Your model"
PLATFORM = "The platform"

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="The name of a model, e.g. adult-income.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run, its first characters, or 'last'.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a tunable setting.")]
Data = Annotated[str | None, typer.Option(metavar="URI", help="Other data: a file, file:///… or s3://…")]
Version = Annotated[str | None, typer.Option(metavar="N", help="For review: the registered version.")]

Namespace = Annotated[str | None, typer.Option("-n", "--namespace", metavar="NS", help="The cluster's namespace.")]
Context = Annotated[str | None, typer.Option(metavar="NAME", help="The cluster, by its context in kubeconfig.")]
Server = Annotated[str | None, typer.Option(metavar="URL", help="An Argo server, instead of the Kubernetes API.")]
TokenFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Its bearer token; by default $ARGO_TOKEN.")]
Ca = Annotated[Path | None, typer.Option(metavar="FILE", help="The CA of its certificate, if it has its own.")]

_CLUSTER = {"namespace": Namespace, "context": Context, "server": Server, "token_file": TokenFile, "ca": Ca}


def cluster_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that name a cluster, and pass them to it as one `where`.

    Without -n, --context or --server a verb means this machine.
    """

    @functools.wraps(verb)
    def called(**given: Any) -> Any:
        from lockgate.cluster.workflows import Where

        where = Where(**{name: given.pop(name) for name in _CLUSTER})
        return verb(where=where, **given)

    # Typer reads a verb's options from its signature and annotations.
    parameters = dict(inspect.signature(verb).parameters)
    del parameters["where"]
    kind = inspect.Parameter.KEYWORD_ONLY
    options = [inspect.Parameter(name, kind, default=None, annotation=each) for name, each in _CLUSTER.items()]
    own = [parameter.replace(kind=kind) for parameter in parameters.values()]
    last = [own.pop()] if own and own[-1].name == "as_json" else []
    every = [*own, *options, *last]
    called.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
    return called


def given_settings(settings: list[str] | None, data: str | None = None, version: str | None = None) -> dict[str, str]:
    """Read `--set NAME=VALUE`, --data and --version into one mapping. Errors: BadCall."""
    found = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            msg = f"--set {setting!r} is not NAME=VALUE"
            raise BadCall(msg, fix="write e.g. --set mitigation=none")
        found[name.replace("-", "_")] = value
    own = {"data": data, "version": version}
    return found | {name: value for name, value in own.items() if value is not None}


def say(text: str = "", *, err: bool = False, lines: bool = False) -> None:
    """Print a line, with each character that nobody can see as its code: a line break inside it is data.

    err: to standard error. lines: it is a text of several lines.
    """
    typer.echo(visible(text, keep="\n" if lines else ""), err=err)


class Screen(io.TextIOBase):
    """Standard output for values of data: unchanged in a file or a pipe, visible in a terminal."""

    def write(self, text: str) -> int:
        """Write a text."""
        return sys.stdout.write(visible(text, keep="\r\n") if sys.stdout.isatty() else text)


def print_json(value: object) -> None:
    """Print one JSON value."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str), lines=True)


def print_result(lines: list[str], value: object, as_json: bool) -> None:
    """Print a result as lines, or as one JSON value."""
    if as_json:
        print_json(value)
        return
    for line in lines:
        say(line)


def find_project() -> "Project":
    """The project of the current folder."""
    from lockgate.definition.project import Project

    return Project.find()


def find_environment(project: "Project") -> "Environment":
    """The environment of this machine; created if it does not exist."""
    from lockgate.commands.machine import Machine

    return Machine.of(project).environment
