"""What a plan is made of while it is made: places of values in memory, and steps that read and write them.

Places are views: a buffer, an offset, a shape and strides in elements, so that transposes, slices and reshapes cost
nothing. Images of three or four axes are made channels-last; a step that needs another order asks for it, and gets a
copy only where the view does not have it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neocog._core import LayerWeights
from neocog.engine.graph import Array, Graph, GraphError, Node
from neocog.engine.weights import WeightStore

Shape = tuple[int, ...]


class Buffer:
    """Memory of float32 elements: of the arena (temporary), or a constant, an input or an output of the call."""

    __slots__ = ("elements", "index", "kind", "offset", "source")

    def __init__(self, kind: str, elements: int, source: Any = None) -> None:
        self.kind = kind  # "temporary", "constant", "input", "output"
        self.elements = elements
        self.source = source  # a constant's array; the position of an input or output
        self.offset = 0  # of a temporary in the arena
        self.index = 0  # of the others among the program's buffers


@dataclass(frozen=True)
class View:
    """A tensor in memory; strides in elements."""

    buffer: Buffer
    offset: int
    shape: Shape
    strides: Shape

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def is_dense(self, order: Sequence[int] | None = None) -> bool:
        """Whether it is dense in this order of its axes, outermost first; row-major by default."""
        step = 1
        for axis in reversed(order if order is not None else range(len(self.shape))):
            if self.shape[axis] != 1 and self.strides[axis] != step:
                return False
            step *= self.shape[axis]
        return True

    def is_packed(self) -> bool:
        """Whether its elements are a gapless stretch of memory, in whatever order of the axes."""
        step = 1
        for stride, size in sorted((t, s) for s, t in zip(self.shape, self.strides, strict=True) if s != 1):
            if stride != step:
                return False
            step *= size
        return True


def dense_strides(shape: Sequence[int], order: Sequence[int] | None = None) -> Shape:
    """Strides of a dense array with this order of the axes, outermost first; row-major by default."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order if order is not None else range(len(shape))):
        strides[axis] = step
        step *= max(1, shape[axis])
    return tuple(strides)


def last_order(ndim: int) -> tuple[int, ...]:
    """The order of the axes of a channels-last image, outermost first."""
    return (0, *range(2, ndim), 1)


@dataclass
class PlannedStep:
    """One call of a method of `_core.Program`; views among the arguments become operands."""

    method: str
    arguments: tuple[Any, ...]
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    node: str
    op: str
    operations: int = 0  # a multiply-add is two
    origin: PlannedStep | None = None  # the step that this one does a part of


def users_of(steps: Sequence[PlannedStep]) -> dict[int, list[int]]:
    """For the `id` of each buffer, the steps that read or write it, in order."""
    users: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        for key in {id(view.buffer) for view in (*step.reads, *step.writes)}:
            users.setdefault(key, []).append(index)
    return users


@dataclass
class Builder:
    """Collects the steps of one graph for known sizes.

    Args:
        graph: Optimised and valid.
        weights: What kernels keep of the constants.
    """

    graph: Graph
    weights: WeightStore
    views: dict[str, View] = field(default_factory=dict)
    numbers: dict[str, Array] = field(default_factory=dict)  # values that are known while planning
    steps: list[PlannedStep] = field(default_factory=list)
    _node: Node | None = None
    _constants: dict[str, View] = field(default_factory=dict)
    _reordered: dict[tuple[str, Any], View] = field(default_factory=dict)
    row_major: set[str] = field(default_factory=set)  # images that are not to be channels-last

    def error(self, message: str) -> GraphError:
        """An error about the node that is being lowered."""
        node = self._node
        where = f"{node.op} ({node.name or ', '.join(node.made())})" if node is not None else "the graph"
        return GraphError(f"{where}: {message}")

    def lower(self, node: Node, lowering: Any) -> None:
        self._node = node
        lowering(node, self)

    # What is known

    def is_known(self, name: str | None) -> bool:
        """Whether the value is a number of the plan, or a constant."""
        return name is not None and (name in self.numbers or name in self.graph.constants)

    def known(self, name: str) -> Array:
        """The value of a constant or of a number of the plan."""
        if name in self.numbers:
            return self.numbers[name]
        if name in self.graph.constants:
            return self.graph.constants[name]
        raise self.error(f"{name!r} must be known when the plan is made, but it depends on the data of an input.")

    def integers(self, name: str) -> list[int]:
        """A known vector of integers (or one integer) as a list."""
        return [int(value) for value in np.atleast_1d(self.known(name)).tolist()]

    def shape(self, name: str) -> Shape:
        if name in self.views:
            return self.views[name].shape
        return tuple(self.known(name).shape)

    # Where values lie

    def view(self, name: str) -> View:
        """The place of a value, in whatever order it lies; constants get one when they are first asked for."""
        if name in self.views:
            return self.views[name]
        if name not in self._constants:
            self._constants[name] = self.literal(self.known(name))
        return self._constants[name]

    def literal(self, array: Array) -> View:
        """A place for numbers that the lowering made; float32, row-major."""
        if array.dtype.kind not in "fiub":
            raise self.error(f"an array of dtype {array.dtype} cannot be data; the engine computes in float32.")
        data = np.asarray(array, dtype=np.float32, order="C")  # ascontiguousarray would give a number an axis
        return View(Buffer("constant", data.size, data), 0, tuple(data.shape), dense_strides(data.shape))

    def layer_weights(self, name: str) -> LayerWeights | View:
        """What kernels keep of a constant; a view, row-major, where other steps compute the weight."""
        return self.weights.of(self.known(name)) if self.is_known(name) else self.ordered(name)

    def ordered(self, name: str, order: Sequence[int] | None = None) -> View:
        """The value dense in this order of its axes (outermost first, row-major by default); a copy if it is not."""
        return self.ordered_view(self.view(name), order)

    def ordered_view(self, view: View, order: Sequence[int] | None = None) -> View:
        """The same for a view."""
        if view.is_dense(order):
            return view
        key: Any = (view, None if order is None else tuple(order))
        if key not in self._reordered:
            to = self.temporary(view.shape, order)
            self.step("copy", view, to, reads=(view,), writes=(to,))
            self._reordered[key] = to
        return self._reordered[key]

    def image(self, name: str) -> View:
        """An image as kernels take it: channels-last, or channels-first if it lies so and no copy is worth it."""
        view = self.view(name)
        if len(view.shape) not in (3, 4):
            raise self.error(
                f"{name!r} has the shape {view.shape}; images are (N, C, L) or (N, C, H, W): one or two spatial axes."
            )
        return view if view.is_dense() else self.ordered_view(view, last_order(len(view.shape)))

    def temporary(self, shape: Sequence[int], order: Sequence[int] | None = None) -> View:
        """New memory of the arena, dense in this order of the axes."""
        shape = tuple(shape)
        return View(Buffer("temporary", math.prod(shape)), 0, shape, dense_strides(shape, order))

    def result(self, name: str | None, shape: Sequence[int], order: Sequence[int] | None = None) -> View:
        """Bind a result of the node to new memory, dense in this order; by default channels-last for images.

        Results of the call are row-major if no other node wants them.
        """
        if order is None and len(shape) in (3, 4) and name not in self.row_major:
            order = last_order(len(shape))
        view = self.temporary(shape, order)
        if name is not None:
            self.views[name] = view
        return view

    def like(self, name: str | None, view: View) -> View:
        """Bind a result to new memory that is dense in the order in which the axes of `view` lie."""
        strides = view.strides
        order = sorted(range(len(strides)), key=lambda axis: (-strides[axis], view.shape[axis] == 1, axis))
        return self.result(name, view.shape, order)

    def bind(self, name: str | None, view: View) -> None:
        """Make a result a view of memory that is there."""
        if name is not None:
            self.views[name] = view

    def bind_number(self, name: str | None, value: Array) -> None:
        """Make a result a number of the plan."""
        if name is not None:
            self.numbers[name] = value

    # Steps

    def step(
        self,
        method: str,
        *arguments: Any,
        reads: Sequence[View],
        writes: Sequence[View],
        operations: int = 0,
    ) -> None:
        """Add a call `program.<method>(*arguments)`; every view among the arguments is in `reads` or `writes`."""
        node = self._node
        name, op = (node.name or next(node.made(), ""), node.op) if node is not None else ("", method)
        self.steps.append(PlannedStep(method, arguments, tuple(reads), tuple(writes), name, op, operations))

    def reshaped(self, view: View, shape: Sequence[int]) -> View:
        """A view of the same elements in another shape, row-major counted; copied first if strides do not allow it."""
        strides = reshaped_strides(view.shape, view.strides, tuple(shape))
        if strides is None:
            view = self.ordered_view(view)
            strides = dense_strides(shape)
        return replace(view, shape=tuple(shape), strides=strides)


def reshaped_strides(shape: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Strides of the same memory in another shape, or None where no strides say it."""
    if 0 in shape:
        return dense_strides(new)
    old = [(size, stride) for size, stride in zip(shape, strides, strict=True) if size != 1]
    axes = [axis for axis, size in enumerate(new) if size != 1]
    result = [1] * len(new)
    i = j = 0
    while i < len(old) and j < len(axes):
        # The smallest groups of old axes and of new ones that have as many elements.
        i_end, j_end, old_count, new_count = i + 1, j + 1, old[i][0], new[axes[j]]
        while old_count != new_count:
            if new_count < old_count:
                new_count *= new[axes[j_end]]
                j_end += 1
            else:
                old_count *= old[i_end][0]
                i_end += 1
        if any(old[k][1] != old[k + 1][0] * old[k + 1][1] for k in range(i, i_end - 1)):
            return None
        step = old[i_end - 1][1]
        for k in reversed(range(j, j_end)):
            result[axes[k]] = step
            step *= new[axes[k]]
        i, j = i_end, j_end
    return tuple(result)
