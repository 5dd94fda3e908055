"""A graph under change: who makes and who takes each value, kept up to date while nodes come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, wraps

from neocog.engine.graph import Array, Graph, Node
from neocog.engine.passes.shapes import Shapes

Pass = Callable[[Graph], Graph]


@dataclass
class _Known:
    """The shapes of a graph, or of what it was before some changes, which made these names."""

    graph: Graph
    shapes: Shapes
    new: frozenset[str] | None = None


_last: ContextVar[list[_Known] | None] = ContextVar("_last", default=None)


@contextmanager
def shared_shapes() -> Iterator[None]:
    """Passes inside take what is known of a graph from the pass before: of all that it did not change."""
    token = _last.set([])
    try:
        yield
    finally:
        _last.reset(token)


def shapes_of(graph: Graph) -> Shapes:
    """What is known of the values of a graph, within `shared_shapes` by what was known before."""
    last = _last.get()
    if last is None:
        return Shapes(graph)
    known = last[0] if last and last[0].graph is graph else None
    if known is None:
        known = _Known(graph, Shapes(graph))
    elif known.new is not None:
        known = _Known(graph, Shapes(graph, known.shapes, known.new))
    last[:] = [known]
    return known.shapes


def carry_shapes(graph: Graph, changed: Graph, new: AbstractSet[str] = frozenset()) -> Graph:
    """`changed`, to which the shapes of `graph` apply but for values of these names."""
    last = _last.get()
    if last and last[0].graph is graph:
        last[:] = [_Known(changed, last[0].shapes, (last[0].new or frozenset()) | new)]
    return changed


def looks_for(*operators: str) -> Callable[[Pass], Pass]:
    """Make a pass that finds nothing in graphs without any of these operators, and does not look there."""

    def decorate(run: Pass) -> Pass:
        @wraps(run)
        def looking(graph: Graph) -> Graph:
            return run(graph) if any(node.op in operators for node in graph.nodes) else graph

        return looking

    return decorate


class Editor:
    """A copy of a graph's lists, to be changed by one pass; the graph, its nodes and its constants stay as they are.

    A pass goes through the nodes in order and puts what it found in place of the *last* node of a pattern. The earlier
    ones go away on their own when nothing else takes their results, and the order stays one in which nodes can run.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._changed = False
        self._outputs = list(graph.outputs)
        self._constants = dict(graph.constants)
        # Nodes are copied, since `drop` changes the names of their inputs and outputs; attributes are shared.
        self._slots = [[Node(n.op, n.inputs, n.outputs, n.attributes, n.name)] for n in graph.nodes]
        self._slot: dict[str, int] = {}
        self._makers: dict[str, Node] = {}
        self._users: dict[str, list[Node]] = {}  # a node is listed once for every use
        for place, nodes in enumerate(self._slots):
            self._enter(nodes[0], place)
        self._taken = {i.name for i in graph.inputs} | set(self._constants) | set(self._makers)
        self._new: set[str] = set()

    @cached_property
    def shapes(self) -> Shapes:
        """Of the graph as it came: a value that is still there has the shape it had."""
        return shapes_of(self._graph)

    def __iter__(self) -> Iterator[Node]:
        """The nodes in order, without those that are gone or new by the time that their turn comes."""
        for nodes in self._slots:
            for node in list(nodes):
                if any(other is node for other in nodes):
                    yield node

    def maker(self, name: str | None) -> Node | None:
        """The node that makes a value; None for inputs and constants."""
        return None if name is None else self._makers.get(name)

    def place(self, name: str) -> int:
        """A number that is larger for values made later; -1 for inputs and constants."""
        return self._slot.get(name, -1)

    def is_output(self, name: str) -> bool:
        return name in self._outputs

    def only_user(self, name: str) -> Node | None:
        """The node that takes a value, once, if nothing else does: no other node, and it is no result of the graph."""
        users = self._users.get(name, [])
        return users[0] if len(users) == 1 and name not in self._outputs else None

    def only_taker(self, name: str) -> Node | None:
        """The same, but for nodes that ask for the shape of the value alone: those `fuse` serves with its result's."""
        users = [user for user in self._users.get(name, []) if user.op not in ("shape", "size")]
        return users[0] if len(users) == 1 and name not in self._outputs else None

    def users(self, name: str) -> list[Node]:
        """The nodes that take a value, once for every use."""
        return list(self._users.get(name, []))

    def ask_instead(self, old: str, new: str) -> None:
        """Let nodes that ask for the shape of one value ask for that of another one, made earlier than they are."""
        for user in self.users(old):
            if user.op in ("shape", "size"):
                self._users[old].remove(user)
                self._users.setdefault(new, []).append(user)
                user.inputs = (new,)

    def has_users(self, name: str) -> bool:
        return bool(self._users.get(name)) or name in self._outputs

    def constant(self, name: str | None) -> Array | None:
        """The value of a constant; None for what is not known before the graph runs."""
        return None if name is None else self._constants.get(name)

    def new_name(self, like: str) -> str:
        """A name that no value has or had."""
        name, count = like, 0
        while name in self._taken:
            count += 1
            name = f"{like}_{count}"
        self._taken.add(name)
        self._new.add(name)
        return name

    def new_constant(self, like: str, value: Array) -> str:
        """The name of a new constant."""
        name = self.new_name(like)
        self._constants[name] = value
        self._changed = True
        return name

    def make_constant(self, node: Node, values: list[Array]) -> None:
        """Put constants, which take the names of a node's results, in the place of the node."""
        self._remove(node)
        for name, value in zip(node.outputs, values, strict=True):
            if name is not None:
                self._constants[name] = value
        self._release(node)

    def replace(self, node: Node, *new: Node) -> None:
        """Put nodes in the place of one; they make all of its results that are wanted."""
        place = next(self._slot[name] for name in node.made())
        nodes = self._slots[place]
        index = next(i for i, other in enumerate(nodes) if other is node)
        self._remove(node)
        nodes[index:index] = new
        for made in new:
            self._enter(made, place)
        self._release(node)

    def fuse(self, first: Node, last: Node, fused: Node) -> None:
        """Put one node in the place of two, of which the last is the `only_taker` of the first one's only result.

        The fused node makes the last one's result, whose shape is the first one's. It stands where the first one stood,
        and takes nothing that is made later.
        """
        (between,), (name,) = first.made(), last.made()
        nodes, place = self._slots[self._slot[between]], self._slot[between]
        index = next(i for i, other in enumerate(nodes) if other is first)
        self._remove(last)
        self._remove(first)
        self._rename(between, name)
        nodes.insert(index, fused)
        self._enter(fused, place)
        self._release(last)
        self._release(first)

    def drop(self, node: Node, *values: str) -> None:
        """Remove a node whose results are these values, which are there already.

        Results of the graph keep their names unless such a value is an input, a constant or another result.
        """
        self._remove(node)
        for old, value in zip(node.made(), values, strict=True):
            if old in self._outputs and value in self._makers and value not in self._outputs:
                maker = self._makers.pop(value)
                maker.outputs = tuple(old if name == value else name for name in maker.outputs)
                self._makers[old], self._slot[old] = maker, self._slot.pop(value)
                self._rename(value, old)
            else:
                self.substitute(old, value)
        self._release(node)

    def substitute(self, old: str, new: str) -> None:
        """Let all that takes one value take another one, made earlier; results of the graph too."""
        self._changed = True
        self._rename(old, new)
        self._outputs = [new if name == old else name for name in self._outputs]

    def graph(self) -> Graph:
        """What became of the graph; the very same object if nothing changed."""
        if not self._changed:
            return self._graph
        nodes = [node for nodes in self._slots for node in nodes]
        return carry_shapes(
            self._graph, Graph(list(self._graph.inputs), self._outputs, nodes, self._constants), self._new
        )

    def _enter(self, node: Node, place: int) -> None:
        # Not by `made` and `used`: every pass enters every node, and generators take time.
        for name in node.outputs:
            if name is not None:
                self._makers[name], self._slot[name] = node, place
        for name in node.inputs:
            if name is not None:
                self._users.setdefault(name, []).append(node)

    def _remove(self, node: Node) -> None:
        """Take a node out of the lists, without a thought for its inputs."""
        self._changed = True
        for name in node.made():
            self._slots[self._slot[name]][:] = [n for n in self._slots[self._slot[name]] if n is not node]
            self._makers.pop(name)
        for name in node.used():
            self._users[name] = [user for user in self._users[name] if user is not node]

    def _release(self, node: Node) -> None:
        """Remove what made the inputs of a node that is gone, unless something else takes its results."""
        gone = [node]
        while gone:
            for name in gone.pop().used():
                maker = self._makers.get(name)
                if maker is not None and not any(map(self.has_users, maker.made())):
                    self._remove(maker)
                    gone.append(maker)

    def _rename(self, old: str, new: str) -> None:
        users = self._users.pop(old, [])
        for user in users:
            user.inputs = tuple(new if name == old else name for name in user.inputs)
        self._users.setdefault(new, []).extend(users)
