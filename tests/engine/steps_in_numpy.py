"""A planned graph run step by step in NumPy: what the engine does with a plan, for steps that only move or weight
elements. Memory is float64; every element of it is written once before it is read, and read only where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from neocog.engine.builder import Buffer, Builder, View
from neocog.engine.graph import Graph
from neocog.engine.lowering import LOWERINGS

Array = np.ndarray


def plan(graph: Graph, inputs: Sequence[Array]) -> Builder:
    """The steps of a graph; floating-point inputs lie as these arrays do, which must be dense in some order."""
    graph.validate()
    build = Builder(graph, {})
    users = graph.users()
    build.row_major = {name for name in graph.outputs if not users[name]}
    for position, (item, x) in enumerate(zip(graph.inputs, inputs, strict=True)):
        if x.dtype.kind == "f":
            strides = tuple(stride // x.itemsize for stride in x.strides)
            build.views[item.name] = View(Buffer("input", x.size, position), 0, x.shape, strides)
            assert not x.size or build.views[item.name].is_packed(), f"{item.name} is not dense: {x.strides}"
        else:
            build.numbers[item.name] = x
    for node in graph.nodes:
        build.lower(node, LOWERINGS[node.op])
    return build


def execute(build: Builder, inputs: Sequence[Array]) -> list[Array]:
    """The results of a plan; each lies as the plan has it."""
    memory = _Memory(inputs)
    for step in build.steps:
        for view in step.reads:
            assert memory.is_written(view), f"{step} reads what no step wrote"
        used = [value for value in step.arguments if isinstance(value, View)]
        assert set(map(id, used)) == set(map(id, (*step.reads, *step.writes))), f"{step} hides a view"
        arguments = [memory.array(value) if isinstance(value, View) else value for value in step.arguments]
        _METHODS[step.method](*arguments)
        for view in step.writes:
            memory.mark_written(view)
    results = []
    for name in build.graph.outputs:
        if name in build.views:
            assert memory.is_written(build.views[name]), f"{name} has elements that no step wrote"
            results.append(memory.array(build.views[name]))
        else:
            results.append(build.known(name))
    return results


def run(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    return execute(plan(graph, inputs), inputs)


def methods(build: Builder) -> list[str]:
    return [step.method for step in build.steps]


class _Memory:
    """The buffers of a plan, and which of their elements were written."""

    def __init__(self, inputs: Sequence[Array]) -> None:
        self._inputs = inputs
        self._data: dict[Buffer, tuple[Array, Array]] = {}

    def _buffer(self, buffer: Buffer) -> tuple[Array, Array]:
        if buffer not in self._data:
            if buffer.kind == "input":
                data = np.asarray(self._inputs[buffer.source], np.float64).ravel(order="K")
            elif buffer.kind == "constant":
                data = np.asarray(buffer.source, np.float64).ravel()
            else:
                data = np.full(buffer.elements, np.nan)
            assert data.size == buffer.elements
            self._data[buffer] = data, np.full(data.shape, buffer.kind in ("input", "constant"))
        return self._data[buffer]

    @staticmethod
    def _strided(data: Array, view: View) -> Array:
        if view.size == 0:
            return np.empty(view.shape, data.dtype)
        reach = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
        low, high = view.offset + sum(min(r, 0) for r in reach), view.offset + sum(max(r, 0) for r in reach)
        assert 0 <= low <= high < data.size, f"{view} reaches beyond its buffer of {data.size}"
        strides = [stride * data.itemsize for stride in view.strides]
        return np.lib.stride_tricks.as_strided(data[view.offset :], view.shape, strides)

    def array(self, view: View) -> Array:
        return self._strided(self._buffer(view.buffer)[0], view)

    def is_written(self, view: View) -> bool:
        return bool(self._strided(self._buffer(view.buffer)[1], view).all())

    def mark_written(self, view: View) -> None:
        assert view.buffer.kind in ("temporary", "output"), f"a step writes to {view}"
        written = self._strided(self._buffer(view.buffer)[1], view)
        assert not written.any(), f"a step writes elements of {view} that were written before"
        before = np.count_nonzero(self._buffer(view.buffer)[1])
        written[...] = True
        after = np.count_nonzero(self._buffer(view.buffer)[1])
        assert view.size == 0 or after - before == view.size, f"{view} names elements twice"


def _copy(x: Array, y: Array) -> None:
    assert x.shape == y.shape
    assert not np.shares_memory(x, y)
    y[...] = x


def _order(x: Array) -> list[int]:
    return sorted((axis for axis in range(x.ndim) if x.shape[axis] > 1), key=lambda axis: -x.strides[axis])


def _interpolate(x: Array, y: Array, axis: int, taps: int, indices: list[int], weights: list[float]) -> None:
    """y[..., o, ...] = sum of weights[o, t] * x[..., indices[o, t], ...] over the taps t."""
    places, weighted = np.array(indices).reshape(-1, taps), np.array(weights).reshape(-1, taps)
    assert places.shape[0] == y.shape[axis]
    assert 0 <= places.min() <= places.max() < x.shape[axis]
    for a in (x, y):
        step = a.itemsize
        for along in reversed(_order(a)):
            assert a.strides[along] == step, f"strides {a.strides} of shape {a.shape} are not dense"
            step *= a.shape[along]
    common = [along for along in _order(x) if y.shape[along] > 1]
    assert common == [along for along in _order(y) if x.shape[along] > 1], "x and y lie in different orders"
    terms = np.moveaxis(x, axis, -1)[..., places] * weighted
    y[...] = np.moveaxis(terms.sum(-1), -1, axis)


def _resize(x: Array, y: Array, mode: int, align_corners: bool) -> None:
    """What ops/resample does, which is what PyTorch does."""
    import torch

    last = (0, *range(2, x.ndim), 1)
    assert any(_dense(x, order) and _dense(y, order) for order in (range(x.ndim), last)), "images lie differently"
    name = ("nearest", "linear" if x.ndim == 3 else "bilinear")[mode]
    assert mode == 1 or not align_corners
    settings: dict[str, Any] = {"align_corners": align_corners} if mode == 1 else {}
    images = torch.from_numpy(np.ascontiguousarray(x))
    y[...] = torch.nn.functional.interpolate(images, y.shape[2:], mode=name, **settings).numpy()


def _dense(x: Array, order: Sequence[int]) -> bool:
    return x.transpose(order).flags.c_contiguous


_METHODS = {"copy": _copy, "interpolate": _interpolate, "resize": _resize}
