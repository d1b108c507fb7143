"""The nodes of a run: how they come into being, what they are called, whose children they are, how they end."""

from collections.abc import Callable, Iterator

from lockgate.local.events import Event, NodeFinished, NodeStarted, Waiting
from lockgate.local.record import Node, Phase, Type
from lockgate.local.variables import node_id


class Nodes:
    """Nodes by name, in the order they came into being, and the news of them."""

    def __init__(self, workflow: str, clock: Callable[[], float]) -> None:
        self.news: list[Event] = []
        self._workflow = workflow
        self._clock = clock
        self._nodes: dict[str, Node] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, name: str) -> Node | None:
        """The node of this name, if it exists."""
        return self._nodes.get(name)

    def add(self, name: str, kind: Type, phase: Phase, template: str, boundary: str, *, at_exit: bool = False) -> Node:
        """A new node."""
        inside = self._nodes.get(boundary)
        node = Node(
            id=node_id(self._workflow, name),
            name=name,
            display_name=name.removeprefix(boundary).removeprefix(".") if inside else name,
            type=kind,
            template_name=template,
            phase=phase,
            boundary_id=inside.id if inside else "",
            started_at=self._clock(),
            at_exit=at_exit,
        )
        self._nodes[name] = node
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

    def attempts(self, node: Node) -> list[Node]:
        """What a retry node has tried."""
        return [node for node in map(self._nodes.get, self._attempt_names(node)) if node is not None]

    def _attempt_names(self, node: Node) -> list[str]:
        return [f"{node.name}({index})" for index in range(len(node.children))]

    def connect(self, boundary: str, node: str, before: list[str], ends: Callable[[str], list[str]]) -> None:
        """Make a task's node the child of what it waited for, or of its dag. `ends` names the last tasks of a dag."""
        parents = [each for name in before for each in self._outbound(f"{boundary}.{name}", ends)] or [boundary]
        for parent in parents:
            children = self._nodes[parent].children
            if self._nodes[node].id not in children:
                children.append(self._nodes[node].id)

    def _outbound(self, name: str, ends: Callable[[str], list[str]]) -> list[str]:
        node = self._nodes.get(name)
        if node is None:
            return []
        if node.type == "Retry" and node.children:
            return self._attempt_names(node)[-1:]
        inner = [each for task in ends(name) for each in self._outbound(f"{name}.{task}", ends)]
        return inner or [name]
