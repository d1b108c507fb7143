"""The nodes of a run: how they come into being, what they are called, whose children they are, how they end."""

import re
from collections.abc import Callable, Iterable, Iterator

from lockgate.engine.controller.variables import node_id
from lockgate.engine.events import Event, NodeFinished, NodeStarted, Waiting
from lockgate.engine.record import Node, Phase, Type

_SEPARATOR = re.compile(r"^(\[\d+\])?\.")


class Nodes:
    """Nodes by name, in the order they came into being, and the news of them."""

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
        """The node of this name, if it exists."""
        return self._nodes.get(name)

    def by_id(self, node: str) -> Node | None:
        """The node of this id, if it exists."""
        return self._ids.get(node)

    def children(self, node: Node) -> list[Node]:
        """The children of a node that exist."""
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
        """A new node."""
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
        """A node's program runs, or its dag is entered."""
        node.phase, node.message, node.started_at = "Running", "", self._clock()
        self.news.append(NodeStarted(node))

    def end(self, node: Node, phase: Phase, message: str) -> None:
        """Nothing more will happen to this node."""
        node.phase, node.message, node.finished_at = phase, message, self._clock()
        self.news.append(NodeFinished(node))

    def waits(self, node: Node, message: str) -> None:
        """Say, once, what a node waits for."""
        if node.message != message:
            node.message = message
            self.news.append(Waiting(node.name, message))

    def count(self, boundary: str, *kinds: Type) -> int:
        """How many nodes of these types are under way within a node."""
        inside = node_id(self._workflow, boundary)
        return sum(node.boundary_id == inside and node.type in kinds and not node.fulfilled for node in self)

    def tried(self, node: Node) -> list[Node]:
        """The attempts of a retry node, or the items of a loop."""
        return [child for child in self.children(node) if node.has_tried(child)]

    def outcome(self, node: Node) -> Node:
        """The node whose outputs count: of a retry node the last attempt."""
        return (self.tried(node) or [node])[-1] if node.type == "Retry" else node

    def hooks_ended(self, node: Node) -> bool:
        """Whether no hook of a node is under way."""
        return all(child.fulfilled for child in self.children(node) if child.hooked)

    def add_child(self, parent: Node, child: str) -> None:
        """Make a node the child of another, once."""
        made = node_id(self._workflow, child)
        if made not in parent.children:
            parent.children.append(made)

    def connect(self, node: str, before: Iterable[str], otherwise: str) -> None:
        """Make a node the child of the last nodes of those before it, or else of another."""
        parents = [each for name in before for each in self._outbound(self._nodes[name])]
        for parent in parents or [self._nodes[otherwise]]:
            self.add_child(parent, node)

    def end_with(self, name: str, last: Iterable[str]) -> None:
        """Say which nodes are the last of a dag or of steps: what follows are their children."""
        self._ends[name] = [each for each in last if each in self._nodes]

    def _outbound(self, node: Node) -> list[Node]:
        """Whose child is what follows a node: getOutboundNodes."""
        match node.type:
            case "Retry" if node.children:
                return self.children(node)[-1:]
            case "TaskGroup" if node.children:
                return [each for child in self.children(node) for each in self._outbound(child)]
            case "DAG" | "Steps":
                return [each for name in self._ends.get(node.name, ()) for each in self._outbound(self._nodes[name])]
            case _:
                return [node]
