"""Batches in parts: the bits of whole ones, in less memory, and one line for each layer where people look."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import reference_graph
from batches_in_parts import cut_all_batches
from neocog import _core
from neocog.engine import batches
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node
from neocog.engine.plan import Plan, make_plan
from neocog.engine.weights import WeightStore

Array = np.ndarray
SAME = {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1]}
HALVES = {"kernel": [2, 2], "stride": [2, 2], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]}
WHOLE = 1 << 40


def network(rng: np.random.Generator, channels: int = 6) -> Graph:
    """Convolution, activation, sum, pooling, concatenation and a separable convolution with a residual."""
    nodes = [
        Node("conv", ("x", "w"), ("a",), dict(SAME)),
        Node("sigmoid", ("a",), ("b",)),
        Node("add", ("b", "x"), ("c",)),
        Node("max_pool", ("c",), ("d",), dict(HALVES)),
        Node("avg_pool", ("c",), ("e",), {k: v for k, v in HALVES.items() if k != "dilation"}),
        Node("concat", ("d", "e"), ("f",), {"axis": 1}),
        Node("separable_conv", ("f", "depthwise", "pointwise", None, "f"), ("g",), dict(SAME)),
        Node("conv", ("g", "v"), ("y",), dict(SAME)),
    ]
    shapes = {
        "w": (channels, channels, 3, 3), "v": (channels, 2 * channels, 3, 3),
        "depthwise": (2 * channels, 1, 3, 3), "pointwise": (2 * channels, 2 * channels, 1, 1),
    }  # fmt: skip
    constants = {name: (rng.standard_normal(shape) / 5).astype(np.float32) for name, shape in shapes.items()}
    graph = Graph([Input("x", ("N", channels, "H", "W"))], ["y", "c"], nodes, constants)
    graph.validate()
    return graph


def plan(graph: Graph, shape: tuple[int, ...], last: bool = True) -> Plan:
    return make_plan(graph, [(shape, last)], {}, WeightStore(graph.constants.values()))


def parts(made: Plan) -> Counter[str]:
    """How many parts each node is done in."""
    return Counter(step.node for step in made.steps if step.origin is not None)


@pytest.mark.parametrize("batch", [2, 5, 8])
@pytest.mark.parametrize("cached", [1, 30000])
def test_the_bits_of_whole_batches(batch, cached, rng, monkeypatch, isa):
    graph = network(rng)
    x = rng.standard_normal((batch, 6, 14, 10)).astype(np.float32)
    cut_all_batches(monkeypatch, WHOLE)
    whole = CompiledModel(graph).run(x)
    for found, expected in zip(whole, reference_graph.run(graph, [x]), strict=True):
        assert abs(found - expected).max() <= 1e-5 * abs(expected).max()
    assert not parts(plan(graph, x.shape))
    cut_all_batches(monkeypatch, cached)
    assert bool(parts(plan(graph, x.shape))) == (cached == 1 or batch > 2)
    model = CompiledModel(graph)
    for given in (x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)):
        for found, expected in zip(model.run(given), whole, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_values_between_the_layers_of_a_part_take_its_memory(rng, monkeypatch):
    graph = network(rng)
    sizes = []
    for cached in (WHOLE, 1):
        cut_all_batches(monkeypatch, cached)
        sizes.append(plan(graph, (16, 6, 32, 32)).program.arena_bytes)
    assert sizes[1] < sizes[0] / 8


def test_people_see_each_layer_once(rng, monkeypatch):
    graph = network(rng)
    seen = []
    for cached in (WHOLE, 1):
        cut_all_batches(monkeypatch, cached)
        model = CompiledModel(graph)
        x = np.zeros((4, 6, 16, 16), np.float32)
        explanation, profile = model.explain(x), model.profile(x, repeat=2)
        assert [step.shape[0] for step in explanation.steps] == [4] * len(explanation.steps)
        assert all(step.seconds is not None and step.seconds >= 0 for step in profile.steps)
        assert 0 < profile.seconds <= 2 * profile.call_seconds
        seen.append([(step.layer, step.op, step.kernel, step.shape, step.operations) for step in explanation.steps])
        assert [step.layer for step in profile.steps] == [step.layer for step in explanation.steps]
    assert seen[0] == seen[1]


def test_a_plan_does_not_grow_with_the_batch(rng, monkeypatch):
    cut_all_batches(monkeypatch, 1)
    assert max(parts(plan(network(rng), (200, 6, 8, 8))).values()) <= 16


def test_only_layers_that_wait_for_memory_are_cut(rng):
    """The real limits: large images, little to do with them, small weights."""

    def pointwise(inputs: int, outputs: int) -> Graph:
        constants = {"w": np.zeros((outputs, inputs, 1, 1), np.float32), "v": np.zeros((4, outputs, 1, 1), np.float32)}
        window = {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]}
        nodes = [Node("conv", ("x", "w"), ("a",), window), Node("conv", ("a", "v"), ("y",), window)]
        return Graph([Input("x", ("N", inputs, "H", "W"))], ["y"], nodes, constants)

    assert set(parts(plan(pointwise(32, 32), (8, 32, 128, 128))).values()) == {2}
    assert not parts(plan(pointwise(32, 32), (1, 32, 512, 512)))  # one image
    assert not parts(plan(pointwise(32, 32), (4, 32, 64, 64)))  # all of it is in the caches
    assert not parts(plan(pointwise(1024, 1024), (8, 1024, 128, 128)))  # much to do
    assert not parts(plan(pointwise(64, 16384), (64, 64, 9, 9)))  # large weights


def test_weights_that_other_steps_compute_keep_a_batch_whole(rng, monkeypatch):
    cut_all_batches(monkeypatch, 1)
    nodes = [Node("conv", ("x", "w"), ("a",), dict(SAME)), Node("max_pool", ("a",), ("y",), dict(HALVES))]
    graph = Graph([Input("x", ("N", 4, "H", "W")), Input("w", (4, 4, 3, 3))], ["y"], nodes, {})
    made = make_plan(graph, [((2, 4, 8, 8), False), ((4, 4, 3, 3), False)], {}, WeightStore([]))
    assert "a" not in parts(made)


@pytest.mark.parametrize(("stride", "side", "cut"), [(1, 64, True), (1, 40, False), (2, 128, False)])
def test_kernels_that_depend_on_the_batch_keep_it_whole(stride, side, cut, rng, monkeypatch):
    """With a stride, or few pixels, a part might take another kernel than the whole."""
    monkeypatch.setattr(batches, "CACHED", 1)
    monkeypatch.setattr(batches, "_WEIGHTS", 0)
    window = {**SAME, "stride": [stride, stride]}
    nodes = [Node("conv", ("x", "w"), ("a",), window), Node("max_pool", ("a",), ("y",), dict(HALVES))]
    constants = {"w": rng.standard_normal((4, 4, 3, 3)).astype(np.float32)}
    graph = Graph([Input("x", ("N", 4, "H", "W"))], ["y"], nodes, constants)
    assert bool(parts(plan(graph, (4, 4, side, side)))) == cut


def test_a_method_that_depends_on_the_batch_keeps_it_whole(rng, monkeypatch):
    """17 to 16 channels of 57x56: one image is summed directly, eight are not."""
    monkeypatch.setattr(batches, "CACHED", 1)
    monkeypatch.setattr(batches, "_WEIGHTS", 0)
    window = ((1, 1), (1, 1, 1, 1), (1, 1), 1, 0)
    one, many = (_core.conv_counts((n, 17, 57, 56), (16, 17, 3, 3), *window)[2] for n in (1, 8))
    assert (one, many) == (False, True)
    nodes = [
        Node("conv", ("x", "w"), ("a",), dict(SAME)),
        Node("avg_pool", ("a",), ("y",), {k: v for k, v in HALVES.items() if k != "dilation"}),
    ]
    graph = Graph(
        [Input("x", ("N", 17, "H", "W"))],
        ["y"],
        nodes,
        {"w": rng.standard_normal((16, 17, 3, 3)).astype(np.float32)},
    )
    assert "a" not in parts(plan(graph, (8, 17, 57, 56)))
    assert "a" in parts(plan(graph, (8, 17, 112, 112)))
