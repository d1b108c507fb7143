"""The reference of the command line, from the Typer application itself."""

import re
from collections.abc import Mapping
from typing import Any

import typer
from lockgate_step import EXIT_CODES

from docs.generate.tables import code, table
from lockgate.cli.main import app

STOPPED = ("130", "stopped by Ctrl-C; `lockgate run` also by `lockgate stop`")
EXAMPLE = re.compile(r"^(?:Example|Then): (?P<command>lockgate .+)$")


def commands() -> Mapping[str, Any]:
    """Every verb and its command, in the order of the help."""
    group: Any = typer.main.get_command(app)
    found: Mapping[str, Any] = group.commands
    return found


def examples(command: Any) -> list[str]:
    """The command lines that a verb's help shows."""
    return [match["command"] for line in command.help.splitlines() if (match := EXAMPLE.match(line.strip()))]


def text() -> str:
    """One section for each verb: what it does, its arguments and options, an example."""
    parts, panel = [], ""
    for name, command in commands().items():
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            parts.append(f"## {panel}")
        parts.append(_section(name, command))
    return "\n\n".join(parts)


def exit_codes() -> str:
    """The exit codes of every program and of the command line."""
    return table(("exit code", "meaning"), [*EXIT_CODES.items(), STOPPED])


def _section(name: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    usage = " ".join(["lockgate", name, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
    paragraphs = [part for part in re.split(r"\n\s*\n", command.help) if not EXAMPLE.match(part.strip())]
    parts = [f"### {name}", *(" ".join(part.split()) for part in paragraphs), f"```text\n{usage}\n```"]
    rows = [(code(_argument(argument)), _default(argument), argument.help or "") for argument in arguments]
    rows += [(_option(option), _default(option), option.help or "") for option in options]
    parts.append(table(("argument or option", "default", "meaning"), rows))
    parts.append("```console\n" + "\n".join(f"$ {line}" for line in examples(command)) + "\n```")
    return "\n\n".join(parts)


def _argument(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper()).strip("[].")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    names = ", ".join(code(name) for name in [*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag else f" {code(option.metavar or option.name.rstrip('_').upper())}"
    return names + takes


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if getattr(parameter, "is_flag", False):
        return code(parameter.opts[0]) if parameter.default else ""
    return code(str(parameter.default)) if parameter.default else ""
