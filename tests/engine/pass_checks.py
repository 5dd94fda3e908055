"""What the tests of passes share: a graph written down in a few lines, and the check that a pass keeps its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from neocog.engine.graph import Graph, Input, Node
from reference_graph import run

SIZES = {"n": 2, "h": 9, "w": 8, "l": 11}
IMAGE = ("n", 4, "h", "w")
# Results may be rounded in another order, but no further: these graphs hold their numbers in float64.
EXACT = 1e-12


class Net:
    """A graph while it is written down. Its constants cannot be written to.

    Args:
        rng: Makes the weights.
        dtype: Of inputs and weights. With float64 a folded weight is not rounded to float32.
        inputs: Shapes by name; by default one, "x", of images with 4 channels.
    """

    def __init__(self, rng: np.random.Generator, dtype: str = "float64", **inputs: Sequence[int | str]) -> None:
        self.rng, self.dtype = rng, dtype
        self.inputs = [Input(name, tuple(shape), dtype) for name, shape in (inputs or {"x": IMAGE}).items()]
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = f"c{len(self.constants)}"
        array = np.array(value, self.dtype if dtype is None else dtype)
        array.flags.writeable = False
        self.constants[name] = array
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape))

    def node(self, op: str, *inputs: str | None, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; the name of its first result. Further ones have `_1`, ... appended."""
        name = f"{op}{len(self.nodes)}"
        made = (name, *(f"{name}_{i}" for i in range(1, outputs)))
        self.nodes.append(Node(op, inputs, made, attributes, f"layer {len(self.nodes)}"))
        return name

    def conv(
        self,
        x: str,
        shape: Sequence[int],
        *,
        bias: bool = True,
        op: str = "conv",
        stride: int = 1,
        padding: Any = 0,
        dilation: int = 1,
        groups: int = 1,
        **attributes: Any,
    ) -> str:
        """A convolution with random weights of this shape."""
        axes = len(shape) - 2
        channels = shape[1] * groups if op == "conv_transpose" else shape[0]
        attributes |= {"stride": [stride] * axes, "padding": pairs(padding, axes), "dilation": [dilation] * axes}
        attributes |= {"output_padding": [0] * axes} if op == "conv_transpose" else {}
        inputs = (x, self.weights(*shape), *([self.weights(channels)] if bias else []))
        return self.node(op, *inputs, groups=groups, **attributes)

    def batch_norm(self, x: str, channels: int, **attributes: Any) -> str:
        var = self.constant(self.rng.uniform(0.2, 3, channels))
        return self.node("batch_norm", x, *(self.weights(channels) for _ in range(3)), var, **attributes)

    def pool(self, op: str, x: str, kernel: int, stride: int, padding: Any = 0, **attributes: Any) -> str:
        attributes |= {"dilation": [1, 1]} if op == "max_pool" else {}
        return self.node(op, x, kernel=[kernel] * 2, stride=[stride] * 2, padding=pairs(padding, 2), **attributes)

    def numbers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def graph(self, *outputs: str) -> Graph:
        """The graph with these results, or that of the last node."""
        return Graph(self.inputs, list(outputs or self.nodes[-1].outputs[:1]), self.nodes, self.constants)


def pairs(padding: Any, axes: int) -> Any:
    return [[padding, padding]] * axes if isinstance(padding, int) else padding


def arguments(graph: Graph, sizes: Mapping[str, int] = SIZES, seed: int = 0) -> list[np.ndarray]:
    """Standard normal inputs for a graph."""
    rng = np.random.default_rng(seed)
    shapes = [[size if isinstance(size, int) else sizes[size] for size in i.shape] for i in graph.inputs]
    return [rng.standard_normal(shape).astype(i.dtype) for i, shape in zip(graph.inputs, shapes, strict=True)]


def ops(graph: Graph) -> Counter[str]:
    """How many nodes there are of each operator."""
    return Counter(node.op for node in graph.nodes)


def check(
    graph: Graph, rewrite: Callable[[Graph], Graph], tolerance: float = EXACT, sizes: Mapping[str, int] = SIZES
) -> Graph:
    """Rewrite a graph, which must stay as it was, and compare the results of both in the oracle.

    The tolerance is relative to the largest magnitude of a result.
    """
    before = deepcopy(graph)
    after = rewrite(graph)
    assert str(graph) == str(before), "the pass changed the graph that it was given"
    for name, value in before.constants.items():
        np.testing.assert_array_equal(graph.constants[name], value)
    after.validate()
    assert rewrite(after) is after, "the pass finds more to do in what it made"
    assert_same_results(graph, after, tolerance, sizes)
    return after


def assert_same_results(a: Graph, b: Graph, tolerance: float = EXACT, sizes: Mapping[str, int] = SIZES) -> None:
    inputs = arguments(a, sizes)
    for expected, result in zip(run(a, inputs), run(b, inputs), strict=True):
        assert result.shape == expected.shape
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-30)
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * scale)


def assert_untouched(graph: Graph, rewrite: Callable[[Graph], Graph]) -> None:
    """A pass has no business with this graph."""
    assert rewrite(graph) is graph
