"""Graphs of one operator whose input lies in memory in every way that matters, planned, run and held to the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import steps_in_numpy
from neocog.engine.builder import Builder
from neocog.engine.graph import Graph, Input, Node
from reference_graph import run as oracle

Array = np.ndarray
Arranged = tuple[Array, list[Node], dict[str, Array]]  # an input, and the nodes that make "x" of it


def _rows(shape: Sequence[int], rng: np.random.Generator) -> Arranged:
    return rng.standard_normal(shape), [Node("identity", ("in",), ("x",))], {}


def _last(shape: Sequence[int], rng: np.random.Generator) -> Arranged:
    ndim = len(shape)
    order = (0, *range(2, ndim), 1) if ndim > 1 else tuple(range(ndim))
    x = rng.standard_normal([shape[axis] for axis in order]).transpose(np.argsort(order) if ndim else ())
    return x, [Node("identity", ("in",), ("x",))], {}


def _turned(shape: Sequence[int], rng: np.random.Generator) -> Arranged:
    return (
        rng.standard_normal(shape[::-1]),
        [Node("transpose", ("in",), ("x",), {"permutation": [*range(len(shape))][::-1]})],
        {},
    )


def _sliced(factor: int, step: int) -> Callable[..., Arranged]:
    def arrange(shape: Sequence[int], rng: np.random.Generator) -> Arranged:
        x, _, _ = _last([factor * size for size in shape], rng)
        every = len(shape)
        far = np.iinfo(np.int64).max
        numbers = {
            "starts": np.full(every, far if step < 0 else 1),
            "ends": np.full(every, -far if step < 0 else far),
            "axes": np.arange(every),
            "steps": np.full(every, step),
        }
        return x, [Node("slice", ("in", *numbers), ("x",))], numbers

    return arrange


def _expanded(shape: Sequence[int], rng: np.random.Generator) -> Arranged:
    x = rng.standard_normal([size if axis % 2 else 1 for axis, size in enumerate(shape)])
    return x, [Node("expand", ("in", "whole"), ("x",))], {"whole": np.array(shape, np.int64)}


LAYOUTS: dict[str, Callable[..., Arranged]] = {
    "rows": _rows,
    "channels_last": _last,
    "turned": _turned,
    "reversed": _sliced(1, -1),
    "every_second": _sliced(2, 2),
    "expanded": _expanded,
}


def one(
    op: str,
    x: Arranged,
    *others: Any,
    delivered: bool = True,
    inputs: dict[str, Array] | None = None,
    **attributes: Any,
) -> tuple[Graph, list[Array]]:
    """A graph that applies one operator to "x" and to others: numbers, or the names of further inputs.

    `delivered`: its result is one of the call; else another node takes it, and the result is "z".
    """
    array, nodes, constants = x
    given = {"in": array, **(inputs or {})}
    constants = dict(constants)
    names: list[str | None] = ["x"]
    for place, value in enumerate(others):
        if value is None or isinstance(value, str):
            names.append(value)
        else:
            names.append(f"n{place}")
            constants[f"n{place}"] = np.asarray(value)
    nodes = [*nodes, Node(op, tuple(names), ("y",), attributes)]
    if not delivered:
        nodes.append(Node("identity", ("y",), ("z",)))
    items = [Input(name, value.shape, str(value.dtype)) for name, value in given.items()]
    return Graph(items, ["y" if delivered else "z"], nodes, constants), list(given.values())


def check(op: str, x: Arranged, *others: Any, tolerance: float = 0.0, **settings: Any) -> Builder:
    """The plan of one operator, whose results, delivered or not, are those of the oracle."""
    for delivered in (False, True):
        graph, arrays = one(op, x, *others, delivered=delivered, **settings)
        build = steps_in_numpy.plan(graph, arrays)
        (y,), (expected,) = steps_in_numpy.execute(build, arrays), oracle(graph, arrays)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance)
    return build
