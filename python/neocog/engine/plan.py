"""From a graph and the sizes of its inputs to a program: where every value lies, and the steps that compute it.

A plan takes milliseconds, so sizes can change from call to call; weights are packed once for all plans of a model.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from neocog import _core
from neocog.engine.batches import split_batches
from neocog.engine.builder import Buffer, Builder, PlannedStep, Shape, View, dense_strides, last_order
from neocog.engine.graph import Array, Graph, GraphError
from neocog.engine.lowering import LOWERINGS
from neocog.engine.maxima import pool_inside
from neocog.engine.slices import write_slices
from neocog.engine.weights import WeightStore

# Values of the arena begin at cache lines.
_LINE = 16
# Steps whose result may take the memory of an argument with the same strides, if nobody needs that any more.
_IN_PLACE = ("activation", "unary", "binary", "prelu")


@dataclass(frozen=True)
class Delivery:
    """How a result of the program becomes one of the call: None, a number of the plan; else the axes of the array
    that the program makes, which has the memory's order, in the order of the result's shape."""

    axes: tuple[int, ...] | None
    number: Array | None = None


@dataclass
class Plan:
    """A program for known sizes, and what its steps are, for people."""

    program: _core.Program
    deliveries: list[Delivery]
    steps: list[PlannedStep]


def make_plan(
    graph: Graph,
    places: Sequence[tuple[Shape, bool]],
    numbers: dict[str, Array],
    weights: WeightStore,
) -> Plan:
    """Plan a graph.

    Args:
        graph: Valid and optimised.
        places: For every floating-point input its shape and whether it lies channels-last.
        numbers: The values of the other inputs.
        weights: What kernels keep of the constants; shared by all plans of the model.
    Raises:
        GraphError: Sizes that do not fit together, naming the node.
    """
    build = Builder(graph, weights)
    data = [item for item in graph.inputs if item.name not in numbers]
    build.numbers.update(numbers)
    last = False
    for position, (item, (shape, channels_last)) in enumerate(zip(data, places, strict=True)):
        order = last_order(len(shape)) if channels_last else None
        view = View(Buffer("input", 0, position), 0, shape, dense_strides(shape, order))
        view.buffer.elements = view.size
        build.views[item.name] = view
        last = last or channels_last
    if not last:
        # A result for the caller is made row-major at once, unless other steps want it channels-last.
        users = graph.users()
        build.row_major = {name for name in graph.outputs if not users[name]}
    for node in graph.nodes:
        lowering = LOWERINGS.get(node.op)
        if lowering is None:
            raise GraphError(f"{node.name or node.op}: the engine has no steps for {node.op!r}.")
        build.lower(node, lowering)
    deliveries, outputs = _deliver(graph, build, last)
    build.steps = split_batches(pool_inside(write_slices(build.steps)))
    arena = _place(build.steps)
    return Plan(_assemble(build, arena, len(data), outputs), deliveries, build.steps)


def _deliver(graph: Graph, build: Builder, last: bool) -> tuple[list[Delivery], list[tuple[View, Shape]]]:
    """Give every result of the call memory of its own; returns how they are handed out, and where they lie."""
    deliveries: list[Delivery] = []
    outputs: list[tuple[View, Shape]] = []
    taken: set[int] = set()
    for name in graph.outputs:
        if name not in build.views and build.is_known(name):
            deliveries.append(Delivery(None, build.known(name)))
            continue
        view = build.view(name)
        order = last_order(len(view.shape)) if last and len(view.shape) in (3, 4) else tuple(range(len(view.shape)))
        buffer = view.buffer
        whole = view.offset == 0 and view.size == buffer.elements and view.is_dense(order)
        if buffer.kind == "temporary" and whole and id(buffer) not in taken:
            target = view
        else:
            target = build.temporary(view.shape, order)
            build.step("copy", view, target, reads=(view,), writes=(target,))
        taken.add(id(target.buffer))
        target.buffer.kind = "output"
        target.buffer.source = len(outputs)
        outputs.append((target, order))
        inverse = tuple(order.index(axis) for axis in range(len(order)))
        deliveries.append(Delivery(inverse))
    return deliveries, outputs


def _place(steps: list[PlannedStep]) -> int:
    """Give temporaries their offsets in the arena, which they share when their lives do not overlap."""
    last_use: dict[int, int] = {}
    for index, step in enumerate(steps):
        for view in (*step.reads, *step.writes):
            last_use[id(view.buffer)] = index
    memory = _Arena()
    live: dict[int, Buffer] = {}
    for index, step in enumerate(steps):
        for view in step.writes:
            buffer = view.buffer
            if buffer.kind != "temporary" or id(buffer) in live:
                continue
            live[id(buffer)] = buffer
            donor = _donor(step, view, live, last_use, index)
            if donor is not None:
                buffer.offset = donor.offset
                del live[id(donor)]
            else:
                buffer.offset = memory.take(buffer.elements)
        for view in (*step.reads, *step.writes):
            buffer = view.buffer
            if id(buffer) in live and last_use[id(buffer)] == index:
                del live[id(buffer)]
                memory.give(buffer.offset, buffer.elements)
    return memory.size


def _donor(step: PlannedStep, y: View, live: dict[int, Buffer], last_use: dict[int, int], index: int) -> Buffer | None:
    """An argument that dies in this step and lies exactly as the result may lie."""
    if step.method not in _IN_PLACE or y.offset != 0:
        return None
    for x in step.reads:
        buffer = x.buffer
        if (
            id(buffer) in live
            and last_use[id(buffer)] == index
            and x.offset == 0
            and buffer.elements == y.buffer.elements
            and (x.shape, x.strides) == (y.shape, y.strides)
            and sum(other.buffer is buffer for other in step.reads) == 1
        ):
            return buffer
    return None


class _Arena:
    """Offsets of memory that is taken and given back: the smallest gap that is large enough."""

    def __init__(self) -> None:
        self.size = 0
        self._gaps: list[tuple[int, int]] = []  # offset, size; by offset

    def take(self, elements: int) -> int:
        wanted = max(_LINE, -(-elements // _LINE) * _LINE)
        fitting = [(size, offset) for offset, size in self._gaps if size >= wanted]
        if fitting:
            size, offset = min(fitting)
            self._gaps.remove((offset, size))
            if size > wanted:
                bisect.insort(self._gaps, (offset + wanted, size - wanted))
            return offset
        if self._gaps and sum(self._gaps[-1]) == self.size:  # grow the last gap
            offset = self._gaps.pop()[0]
        else:
            offset = self.size
        self.size = offset + wanted
        return offset

    def give(self, offset: int, elements: int) -> None:
        size = max(_LINE, -(-elements // _LINE) * _LINE)
        place = bisect.bisect(self._gaps, (offset, size))
        if place < len(self._gaps) and self._gaps[place][0] == offset + size:
            size += self._gaps.pop(place)[1]
        if place > 0 and sum(self._gaps[place - 1]) == offset:
            before = self._gaps.pop(place - 1)
            offset, size = before[0], before[1] + size
            place -= 1
        self._gaps.insert(place, (offset, size))


def _assemble(build: Builder, arena: int, inputs: int, outputs: list[tuple[View, Shape]]) -> _core.Program:
    program = _core.Program(arena)
    constants: dict[int, int] = {}
    sizes = {view.buffer.source: view.buffer.elements for view in build.views.values() if view.buffer.kind == "input"}
    input_index = [program.add_input(sizes[i]) for i in range(inputs)]
    output_index = []
    for view, order in outputs:
        output_index.append(program.add_output(tuple(view.shape[axis] for axis in order)))

    def operand(view: View) -> tuple[int, int, Shape, Shape]:
        buffer = view.buffer
        if buffer.kind == "temporary":
            return 0, buffer.offset + view.offset, view.shape, view.strides
        if buffer.kind == "constant":
            if id(buffer) not in constants:
                constants[id(buffer)] = program.add_constant(buffer.source)
            return constants[id(buffer)], view.offset, view.shape, view.strides
        index = input_index if buffer.kind == "input" else output_index
        return index[buffer.source], view.offset, view.shape, view.strides

    for step in build.steps:
        arguments = [operand(value) if isinstance(value, View) else value for value in step.arguments]
        try:
            getattr(program, step.method)(*arguments)
        except ValueError as error:
            raise GraphError(f"{step.op} ({step.node}): {error}.") from None
    return program
