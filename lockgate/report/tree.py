"""The live tree of a run: each step with its time, as events arrive; plain lines without a terminal."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lockgate_step import visible
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lockgate.engine.events import (
    Event,
    LogLine,
    NodeFinished,
    NodeStarted,
    Preparing,
    RunFinished,
    RunStarted,
    Stopping,
    Waiting,
)
from lockgate.engine.record import Node
from lockgate.images.pins import image_name
from lockgate.records.runs import RunRecord
from lockgate.report.lines import duration, step_lines

STYLES = {
    "done": "green", "passed": "green", "refused": "red", "failed": "red", "error": "red", "running": "cyan",
    "not judged": "yellow", "inconclusive": "yellow",
}  # fmt: skip


class LiveTree:
    """Shows the preparation and the progress of a run.

    On a terminal the tree is redrawn; otherwise each step is one line when it ends, without colour.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._begin: Callable[[Path], None] = lambda folder: None
        self._steps: tuple[str, ...] = ()
        self._console = Console(file=sys.stderr, highlight=False)
        self._verbose = verbose
        self._quiet = quiet
        self._drawn = self._console.is_terminal and not quiet
        self._started: dict[str, float] = {}
        self._ended: dict[str, tuple[float, str]] = {}
        self._notes: dict[str, str] = {}
        self._headline = ""
        self._read: Callable[[Path], RunRecord] = RunRecord.load
        self._folder: Path | None = None
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=8, transient=True)

    def __enter__(self) -> "LiveTree":
        if self._drawn:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._drawn:
            self._live.stop()
        if self._folder is not None and not self._quiet:
            lines = step_lines(self._read(self._folder))
            for line in lines if self._drawn else [line for line in lines if line.endswith("not reached")]:
                self._console.print(_styled(line), soft_wrap=True)

    def expect(
        self,
        steps: tuple[str, ...],
        begin: Callable[[Path], None] = lambda folder: None,
        read: Callable[[Path], RunRecord] = RunRecord.load,
    ) -> None:
        """Show these steps from now on.

        begin: called with the run's folder when it exists. read: reads the record in that folder.
        """
        self._steps, self._begin, self._read = steps, begin, read

    def doing(self, what: str) -> None:
        """Show what is being prepared."""
        self._headline = what
        self._say(f"  {what}")

    def note(self, line: str) -> None:
        """Print a line that stays."""
        if not self._quiet:
            self._console.print(_text(line), soft_wrap=True)

    def __call__(self, event: Event) -> None:
        """Show one event of the engine."""
        match event:
            case Preparing(what=what):
                self.doing(f"installing the packages of {image_name(what)} (once)")
            case RunStarted(run=run):
                self._folder = run.folder
                self._headline = f"run {run.id}"
                self._begin(run.folder)
                self._say(f"run {run.id}")
            case NodeStarted(node=node) if (name := self._name(node)) is not None:
                self._started.setdefault(name, time.monotonic())
                self._notes.pop(name, None)
            case NodeFinished(node=node) if (name := self._name(node)) is not None:
                self._end(name, node)
            case LogLine(node=node, values=values):
                self._log(node, values)
            case Waiting(node=where, message=message):
                name = where.split(".")[-1]
                # A group of steps waits for a mutex; people see that its next step waits.
                ahead = [step for step in self._steps if step not in self._started]
                self._notes[name if name in self._steps else next(iter(ahead), name)] = message
                self._say(f"  {name}: {message}")
            case Stopping(why=why):
                self._headline = f"stopping: {why}"
                self._say(f"  stopping: {why}")
            case RunFinished() | NodeStarted() | NodeFinished():
                pass

    def _name(self, node: Node) -> str | None:
        name = "conclude" if node.at_exit and node.type != "DAG" else node.display_name.split("(")[0]
        return name if name in self._steps else None

    def _end(self, name: str, node: Node) -> None:
        attempt = node.display_name.endswith(")") and node.type == "Pod"
        if attempt or node.phase in ("Omitted", "Skipped"):
            return
        took = time.monotonic() - self._started.get(name, time.monotonic())
        word = "done" if node.phase == "Succeeded" else "failed"
        if self._folder is not None:
            word = next((s.outcome for s in self._read(self._folder).steps if s.name == name), word)
        self._ended[name] = (took, word)
        if not self._drawn:
            self._say(f"  {name:<16}{duration(took):>9}   {word}")

    def _log(self, node: Node, values: dict[str, object]) -> None:
        name = self._name(node) or node.display_name
        if values.get("event") == "progress":
            self._notes[name] = f"{values.get('done')} of {values.get('total')} {values.get('what', '')}"
        if self._verbose:
            rest = " ".join(f"{key}={value}" for key, value in values.items() if key not in ("time", "event"))
            self.note(f"    {name}: {values.get('event', '')} {rest}")

    def _say(self, line: str) -> None:
        if not self._quiet and not self._drawn:
            self._console.print(_text(line), soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 1), title=_text(self._headline), title_justify="left")
        table.add_column(width=1)
        table.add_column(width=17)
        table.add_column(justify="right", width=11)
        table.add_column()
        for name in self._steps:
            if name in self._ended:
                took, word = self._ended[name]
                table.add_row(_mark(word), _text(name), duration(took), _text(word, STYLES.get(word, "")))
            elif name in self._started:
                took = time.monotonic() - self._started[name]
                table.add_row(
                    Text("•", "cyan"), _text(name), duration(took), _text(self._notes.get(name, "running"), "cyan")
                )
            else:
                table.add_row("", _text(name, "dim"), "", _text(self._notes.get(name, ""), "dim"))
        return table


def _mark(word: str) -> Text:
    if word == "not judged":
        return Text("–", "yellow")
    return Text("✓", "green") if word in ("done", "passed", "passed by waiver") else Text("✗", "red")


def _text(line: str, style: str = "") -> Text:
    return Text(visible(line), style)


def _styled(line: str) -> Text:
    text = _text(line)
    for word, style in STYLES.items():
        if line.endswith(word):
            text.stylize(style, len(text) - len(word))
    return text
