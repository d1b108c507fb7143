"""The nodes of a run: their names, their parents and children, how they start and end."""

import re
from collections.abc import Callable, Iterable, Iterator

from lockgate.engine.controller.variables import node_id
from lockgate.engine.events import Event, NodeFinished, NodeStarted, Waiting
from lockgate.engine.record import Node, Phase, Type

_SEPARATOR = re.compile(r"^(\[\d+\])?\.")


class Nodes:
    """Nodes by name in the order of their creation, and their new events."""

    def __init__(self, workflow: str, clock: Callable[[], float]) -> None:
        self.news: list[Event] = []
        self._workflow = workflow
        self._clock = clock
        self._nodes: dict[str, Node] = {}
        self._ids: dict[str, Node] = {}
        self._ends: dict[str, list[str]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, name: str) -> Node | None:
        """Return the node of this name, if it exists."""
        return self._nodes.get(name)

    def by_id(self, node: str) -> Node | None:
        """Return the node of this id, if it exists."""
        return self._ids.get(node)

    def children(self, node: Node) -> list[Node]:
        """Return the existing children of a node."""
        return [self._ids[child] for child in node.children if child in self._ids]

    def add(
        self,
        name: str,
        kind: Type,
        phase: Phase,
        template: str,
        boundary: str,
        *,
        at_exit: bool = False,
        hooked: bool = False,
    ) -> Node:
        """Add a node."""
        inside = self._nodes.get(boundary)
        node = Node(
            id=node_id(self._workflow, name),
            name=name,
            display_name=_SEPARATOR.sub("", name.removeprefix(boundary)) if inside else name,
            type=kind,
            template_name=template,
            phase=phase,
            boundary_id=inside.id if inside else "",
            started_at=self._clock(),
            at_exit=at_exit,
            hooked=hooked,
        )
        self._nodes[name] = self._ids[node.id] = node
        return node

    def begin(self, node: Node) -> None:
        """Set a node to Running: its program runs, or its dag was entered."""
        node.phase, node.message, node.started_at = "Running", "", self._clock()
        self.news.append(NodeStarted(node))

    def end(self, node: Node, phase: Phase, message: str) -> None:
        """End a node."""
        node.phase, node.message, node.finished_at = phase, message, self._clock()
        self.news.append(NodeFinished(node))

    def waits(self, node: Node, message: str) -> None:
        """Report, once, what a node waits for."""
        if node.message != message:
            node.message = message
            self.news.append(Waiting(node.name, message))

    def count(self, boundary: str, *kinds: Type) -> int:
        """Count the nodes of these types within a node that have not ended."""
        inside = node_id(self._workflow, boundary)
        return sum(node.boundary_id == inside and node.type in kinds and not node.fulfilled for node in self)

    def tried(self, node: Node) -> list[Node]:
        """Return the attempts of a retry node, or the items of a loop."""
        return [child for child in self.children(node) if node.has_tried(child)]

    def outcome(self, node: Node) -> Node:
        """Return the node whose outputs are used: the last attempt of a retry node, else the node."""
        return (self.tried(node) or [node])[-1] if node.type == "Retry" else node

    def hooks_ended(self, node: Node) -> bool:
        """Return whether no hook of a node is running."""
        return all(child.fulfilled for child in self.children(node) if child.hooked)

    def add_child(self, parent: Node, child: str) -> None:
        """Make a node the child of another, once."""
        child_id = node_id(self._workflow, child)
        if child_id not in parent.children:
            parent.children.append(child_id)

    def connect(self, node: str, before: Iterable[str], otherwise: str) -> None:
        """Make a node the child of the last nodes of those before it; if there are none, of `otherwise`."""
        parents = [each for name in before for each in self._outbound(self._nodes[name])]
        for parent in parents or [self._nodes[otherwise]]:
            self.add_child(parent, node)

    def end_with(self, name: str, last: Iterable[str]) -> None:
        """Set the last nodes of a dag or of steps: the nodes that follow are their children."""
        self._ends[name] = [each for each in last if each in self._nodes]

    def _outbound(self, node: Node) -> list[Node]:
        """Return the parents of the nodes that follow a node: getOutboundNodes of the controller."""
        match node.type:
            case "Retry" if node.children:
                return self.children(node)[-1:]
            case "TaskGroup" if node.children:
                return [each for child in self.children(node) for each in self._outbound(child)]
            case "DAG" | "Steps":
                return [each for name in self._ends.get(node.name, ()) for each in self._outbound(self._nodes[name])]
            case _:
                return [node]
