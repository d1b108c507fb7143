"""The tree of a run that waits."""

import io

from rich.console import Console

from lockgate.engine.events import NodeStarted, Waiting
from lockgate.engine.record import Node
from lockgate.report.tree import LiveTree


def shown(tree: LiveTree) -> dict[str, str]:
    """Return the text beside each step."""
    out = io.StringIO()
    Console(file=out, width=100).print(tree._table())
    cells = [line.split(maxsplit=1) for line in out.getvalue().replace("\u2022", " ").splitlines() if line.strip()]
    return {cell[0]: " ".join(cell[1:]).strip() for cell in cells}


def test_a_group_that_waits_for_a_mutex_is_shown_at_its_first_step() -> None:
    tree = LiveTree(quiet=True)
    tree.expect(("package", "deploy", "promote"), begin=lambda folder: None)
    package = Node("1", "r.gates.package", "package", "Pod", "package", "Running")
    tree(NodeStarted(package))
    tree(Waiting("r.gates.rollout", "Waiting for m lock"))
    assert (shown(tree)["deploy"], shown(tree)["promote"]) == ("Waiting for m lock", "")
    tree(NodeStarted(Node("2", "r.gates.rollout.deploy", "deploy", "Pod", "deploy", "Running")))
    assert shown(tree)["deploy"].endswith("running")


def test_a_step_that_waits_to_be_tried_again_says_so_until_it_is() -> None:
    tree = LiveTree(quiet=True)
    tree.expect(("ingest", "train"), begin=lambda folder: None)
    tree(NodeStarted(Node("1", "r.ingest(0)", "ingest(0)", "Pod", "ingest", "Running")))
    tree(Waiting("r.ingest", "Backoff for 2 seconds"))
    assert shown(tree)["ingest"].endswith("Backoff for 2 seconds")
    tree(NodeStarted(Node("2", "r.ingest(1)", "ingest(1)", "Pod", "ingest", "Running")))
    assert shown(tree)["ingest"].endswith("running")
