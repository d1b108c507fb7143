"""Render the tables of the README from the contracts."""

from collections.abc import Iterable

from lockgate_step import EXIT_CODES

from lockgate.definition.catalog import Program


def with_tables(readme: str, programs: Iterable[Program]) -> str:
    """Replace the rendered blocks of the README."""
    blocks = {"steps": _steps(programs), "exit-codes": _exit_codes()}
    for name, table in blocks.items():
        before, rest = readme.split(f"<!-- begin: {name} -->\n", 1)
        readme = (
            f"{before}<!-- begin: {name} -->\n{table}\n<!-- end: {name} -->{rest.split(f'<!-- end: {name} -->', 1)[1]}"
        )
    return readme


def _steps(programs: Iterable[Program]) -> str:
    rows = [
        f"| `{p.name}` | {p.image} | {'yes' if p.contract['gate'] else ''} | {p.contract['help']} |"
        for p in sorted(programs, key=lambda p: p.name)
    ]
    return "\n".join(["| program | image | gate | what it does |", "|---|---|---|---|", *rows])


def _exit_codes() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    rows.append("| 130 | stopped by a user: Ctrl-C or `lockgate stop` (`lockgate run` only) |")
    return "\n".join(["| exit code | meaning, for every program and for `lockgate run` |", "|---|---|", *rows])
