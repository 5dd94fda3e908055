"""Images that are slices of wider ones, and graphs that are written down node by node."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import reference_graph
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node
from neocog.engine.plan import make_plan
from neocog.engine.weights import WeightStore
from one_step import in_order

Array = np.ndarray


def channels_last(x: Array) -> Array:
    y = in_order(x.shape, (0, *range(2, x.ndim), 1))
    y[...] = x
    return y


def slice_of_wider(shape: tuple[int, ...], before: int, behind: int) -> Array:
    """A slice of the channels of a channels-last image."""
    wide = in_order((shape[0], before + shape[1] + behind, *shape[2:]), (0, *range(2, len(shape)), 1))
    wide[...] = np.nan
    return wide[:, before : before + shape[1]]


def outputs(size: int, kernel: int, stride: int, lo: int, hi: int, dilation: int) -> int:
    return (size + lo + hi - dilation * (kernel - 1) - 1) // stride + 1


class Net:
    """A graph that is written down node by node."""

    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        self.rng = rng
        self.graph = Graph([Input("x", ("N", channels, "H", "W"))], [], [], {})
        self.channels = {"x": channels}

    def add(self, op: str, *names: str, channels: int, **attributes: Any) -> str:
        y = f"v{len(self.graph.nodes)}"
        self.graph.nodes.append(Node(op, names, (y,), attributes))
        self.channels[y] = channels
        return y

    def conv(self, x: str, channels: int, size: int = 3, **attributes: Any) -> str:
        y, pads = f"v{len(self.graph.nodes)}", [[size // 2] * 2] * 2
        depth = self.channels[x] // attributes.get("groups", 1)
        weight = self.rng.standard_normal((channels, depth, size, size)) / size
        self.graph.constants[f"{y}.w"] = (weight / depth**0.5).astype(np.float32)
        window = {"stride": [1, 1], "dilation": [1, 1], "padding": pads}
        return self.add("conv", x, f"{y}.w", channels=channels, **window, **attributes)

    def up(self, x: str, channels: int) -> str:
        y = f"v{len(self.graph.nodes)}"
        weight = self.rng.standard_normal((self.channels[x], channels, 2, 2)) / self.channels[x] ** 0.5
        self.graph.constants[f"{y}.w"] = weight.astype(np.float32)
        window = {"stride": [2, 2], "dilation": [1, 1], "padding": [[0, 0], [0, 0]], "output_padding": [0, 0]}
        return self.add("conv_transpose", x, f"{y}.w", channels=channels, **window)

    def pool(self, x: str, kind: str = "max_pool", size: int = 2) -> str:
        window = {"kernel": [size, size], "stride": [size, size], "padding": [[0, 0], [0, 0]]}
        dilation = {"dilation": [1, 1]} if kind == "max_pool" else {}
        return self.add(kind, x, channels=self.channels[x], **window, **dilation)

    def concat(self, *names: str) -> str:
        return self.add("concat", *names, channels=sum(self.channels[name] for name in names), axis=1)

    def check(self, *results: str, copies: int, shape: tuple[int, int, int] = (2, 16, 12)) -> None:
        """Results are those of the oracle, in both layouts; `copies` of concatenations are left."""
        self.graph.outputs = list(results)
        self.graph.validate()
        batch, *size = shape
        x = self.rng.standard_normal((batch, self.channels["x"], *size)).astype(np.float32)
        expected = reference_graph.run(self.graph, [x])
        model = CompiledModel(self.graph)
        for given in (x, channels_last(x)):
            for _ in range(2):
                for found, want in zip(model.run(given), expected, strict=True):
                    assert abs(found - want).max() <= 1e-5 * abs(want).max()
        plan = make_plan(self.graph, [(x.shape, True)], {}, WeightStore(self.graph.constants.values()))
        assert Counter(step.method for step in plan.steps if step.op == "concat")["copy"] == copies
