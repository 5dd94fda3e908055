"""Runs one step of a program on NumPy views, whatever their strides, and checks that it writes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from neocog import _core
from neocog.engine.graph import Graph, Input, Node
from reference_graph import run as run_graph

EPS = float(np.finfo(np.float32).eps)
LAST = (0, 2, 3, 1)  # the axes of a channels-last image, outermost first
UNTOUCHED = 12345.0


def oracle(op: str, *inputs: np.ndarray, **attributes: Any) -> np.ndarray:
    """The results of one operator in float64."""
    names = [f"x{i}" for i in range(len(inputs))]
    graph = Graph([Input(n, x.shape) for n, x in zip(names, inputs, strict=True)], ["y"], [], {})
    graph.nodes.append(Node(op, tuple(names), ("y",), attributes))
    return run_graph(graph, inputs)[0]


def root_of(view: np.ndarray) -> np.ndarray:
    """The array that owns the memory, as one run."""
    while isinstance(view.base, np.ndarray):
        view = view.base
    assert view.flags.c_contiguous
    assert view.dtype == np.float32
    return view.reshape(-1)


def operand(buffer: int, view: np.ndarray, root: np.ndarray) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    offset = (view.__array_interface__["data"][0] - root.__array_interface__["data"][0]) // 4
    return buffer, offset, view.shape, tuple(stride // 4 for stride in view.strides)


def in_order(shape: Sequence[int], order: Sequence[int] | None = None) -> np.ndarray:
    """Memory for a result, dense in this order of its axes, outermost first."""
    order = list(range(len(shape)) if order is None else order)
    memory = np.empty([shape[axis] for axis in order], np.float32)
    return memory.transpose(np.argsort(order)) if order else memory


def place(x: Any, order: Sequence[int] | None = None) -> np.ndarray:
    """float32 numbers, dense in this order of the axes."""
    x = np.asarray(x, np.float32)
    view = in_order(x.shape, order)
    view[...] = x
    return view


def run_step(method: str, *arguments: Any, y: np.ndarray, threads: int = 0) -> np.ndarray:
    """Call `program.<method>(*arguments)` and run it.

    Args:
        arguments: Arrays become operands that are inputs of the program; Ellipsis stands for the result.
        y: Says where the result lies: a view of an array that is not read.
    """
    (values,) = run_results(method, *(y if a is ... else a for a in arguments), results=[y], threads=threads)
    return values


def run_results(method: str, *arguments: Any, results: Sequence[np.ndarray], threads: int = 0) -> list[np.ndarray]:
    """The same for any number of results, each in an array of its own; among the arguments these very views."""
    roots: list[np.ndarray] = []
    program = _core.Program(0)

    def place_of(view: np.ndarray) -> Any:
        root = root_of(view)
        roots.append(root)
        return operand(program.add_input(root.size), view, root)

    background = program.add_constant(np.full(1, UNTOUCHED, np.float32))
    targets = {}
    for y in results:
        size = root_of(y).size
        buffer = program.add_output((size,))
        program.copy((background, 0, (size,), (0,)), (buffer, 0, (size,), (1,)))
        targets[id(y)] = operand(buffer, y, root_of(y))

    def argument(a: Any) -> Any:
        return a if not isinstance(a, np.ndarray) else targets[id(a)] if id(a) in targets else place_of(a)

    getattr(program, method)(*map(argument, arguments))
    found = []
    for y, memory in zip(results, program.run(roots, threads=threads), strict=True):
        offset = targets[id(y)][1]
        view = np.lib.stride_tricks.as_strided(memory[offset:], y.shape, y.strides) if y.size else np.empty(y.shape)
        found.append(view.copy())
        if y.size:
            view[...] = UNTOUCHED
        assert (memory == UNTOUCHED).all(), "the step wrote beyond its result"
    return found


def run_in_place(method: str, arguments: Callable[[Any], Sequence[Any]], x: np.ndarray, *others: np.ndarray) -> Any:
    """The same with a result that takes the place of x: `arguments(x's operand, *the others' operands)`."""
    root = root_of(x)
    program = _core.Program(root.size)
    inputs = [root, *map(root_of, others)]
    buffers = [program.add_input(array.size) for array in inputs]
    whole, arena = (0, 0, (root.size,), (1,)), operand(0, x, root)
    program.copy((buffers[0], 0, (root.size,), (1,)), whole)
    places = [operand(b, view, r) for b, view, r in zip(buffers[1:], others, inputs[1:], strict=True)]
    getattr(program, method)(*arguments(arena, *places))
    out = program.add_output((root.size,))
    program.copy(whole, (out, 0, (root.size,), (1,)))
    (result,) = program.run(inputs)
    return np.lib.stride_tricks.as_strided(result[arena[1] :], x.shape, x.strides)


def strided(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same (A, B, C, D) array in memory in every way that matters to a loop over it."""
    a, b, c, d = x.shape
    wide = np.empty((a, b, c + 2, 3 * d), np.float32)
    wide[:, :, 1:-1, 1::3] = x
    backwards = np.ascontiguousarray(x[:, ::-1, :, ::-1])
    return {
        "rows": place(x),
        "last": place(x, LAST),
        "turned": place(x, (3, 2, 1, 0)),
        "narrow": wide[:, :, 1:-1, 1::3],
        "backwards": backwards[:, ::-1, :, ::-1],
    }
