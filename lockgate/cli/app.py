"""The command `lockgate`: its verbs in help, and its options without a verb."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lockgate.cli.options import say


class Verbs(TyperGroup):
    """The verbs in help, grouped by who needs them, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group of verbs."""
        commands: dict[str, Any] = dict(self.commands)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in commands.items():
            first = command.get_short_help_str(formatter.width * 3)
            sections.setdefault(str(command.rich_help_panel), []).append((name, first))
        for section, verbs in sections.items():
            with formatter.section(section):
                formatter.write_dl(verbs)


app = typer.Typer(
    name="lockgate",
    cls=Verbs,
    help="From data to an audited, served model, through gates that cannot be skipped.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich draws boxes around the help, and its import takes longer than the rest
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"lockgate {version('lockgate')}")
        raise typer.Exit


@app.callback()
def _every_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that need no verb; the help is the app's."""
    del version
