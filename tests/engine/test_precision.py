"""precision="bf16" of whole networks: which steps take it, what they compute, and where the choice is kept."""

from __future__ import annotations

import helpers
import neocog
import numpy as np
import pytest
import reference
from neocog import ops
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, GraphError, Input, Node
from neocog.engine.passes import optimise, precisions
from reference_bf16 import rounded

WINDOW = {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]}
SAME = {**WINDOW, "padding": [[1, 1], [1, 1]]}


def network(rng) -> Graph:
    """A convolution, a depthwise and a pointwise one, and a product with a known matrix."""
    constants = {
        "stem": helpers.normal(rng, (16, 3, 3, 3)),
        "deep": helpers.normal(rng, (16, 1, 3, 3)),
        "point": helpers.normal(rng, (24, 16, 1, 1)),
        "matrix": helpers.normal(rng, (24, 7)),
        "two": np.array([0, -1]),
    }
    nodes = [
        Node("conv", ("x", "stem"), ("a",), SAME, "stem"),
        Node("relu", ("a",), ("b",)),
        Node("conv", ("b", "deep"), ("c",), {**SAME, "groups": 16}, "deep"),
        Node("conv", ("c", "point"), ("d",), WINDOW, "point"),
        Node("adaptive_avg_pool", ("d",), ("e",), {"output_size": [1, 1]}),
        Node("reshape", ("e", "two"), ("f",)),
        Node("matmul", ("f", "matrix"), ("y",), {}, "head"),
    ]
    return Graph([Input("x", ("N", 3, "H", "W"))], ["y"], nodes, constants)


def expected(graph: Graph, x: np.ndarray) -> np.ndarray:
    w = graph.constants
    a = np.maximum(reference.conv2d(rounded(x), rounded(w["stem"]), padding=1), 0)
    c = reference.conv2d(a, w["deep"], padding=1, groups=16)
    d = reference.conv2d(rounded(c), rounded(w["point"]))
    return rounded(d.mean((2, 3))).astype(np.float64) @ rounded(w["matrix"]).astype(np.float64)


def kernels(model: CompiledModel) -> dict[str, str]:
    return {step.layer: step.kernel for step in model.explain((1, 3, 12, 11)).steps}


def test_every_layer_that_gains_takes_it(bf16_unit, rng):
    graph = network(rng)
    model = CompiledModel(graph, precision="bf16")
    named = kernels(model)
    assert [named[name].partition(",")[0] for name in ("stem", "deep", "point", "head")] == [
        "bf16",
        "depthwise",
        "bf16",
        "bf16",
    ]
    x = helpers.normal(rng, (2, 3, 12, 11))
    y, wanted = model(x), expected(graph, x)
    # A value between layers may lie on either side of a tie.
    assert abs(y - wanted).max() <= 2.0**-9 * abs(wanted).max()
    assert not np.array_equal(y, CompiledModel(graph)(x))


def test_float32_is_the_default(rng):
    graph = network(rng)
    for model in (CompiledModel(graph), CompiledModel(graph, precision="fp32")):
        assert not any(kernel.startswith("bf16") for kernel in kernels(model).values())
        assert "depthwise" in str(model.explain((1, 3, 12, 11)))


def test_a_file_keeps_the_choice_until_another_is_made(tmp_path, rng):
    x, path = helpers.normal(rng, (1, 3, 12, 11)), tmp_path / "model.neocog"
    model = neocog.compile(network(rng), precision="bf16")
    model.save(path)
    for again in (neocog.load(path), neocog.compile(path), neocog.compile(path, precision="bf16")):
        assert kernels(again) == kernels(model)
        assert (again(x) == model(x)).all()
    plain = neocog.compile(path, precision="fp32")
    assert not any(kernel.startswith("bf16") for kernel in kernels(plain).values())
    plain.save(path)
    assert not any("precision" in node.attributes for node in neocog.load(path).graph.nodes)


def test_the_graph_given_stays_as_it_is(rng):
    graph = network(rng)
    before = str(graph)
    CompiledModel(graph, precision="bf16")
    assert str(graph) == before
    assert optimise(precisions(graph, "bf16")) is not graph
    assert str(precisions(precisions(graph, "bf16"), "fp32")) == before


def test_one_graph_may_mix_them_on_the_same_weights(bf16_unit, rng):
    """What is kept of weights is kept for each precision."""
    weight = helpers.normal(rng, (16, 16, 3, 3))
    nodes = [
        Node("conv", ("x", "w"), ("a",), {**SAME, "precision": "bf16"}),
        Node("conv", ("x", "w"), ("b",), SAME),
    ]
    model = CompiledModel(Graph([Input("x", ("N", 16, 9, 9))], ["a", "b"], nodes, {"w": weight}))
    x = helpers.normal(rng, (2, 16, 9, 9))
    for _ in range(2):
        a, b = model(x)
        assert (a == ops.conv2d(x, weight, padding=1, precision="bf16")).all()
        np.testing.assert_allclose(b, reference.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-4)


def test_weights_that_a_step_computes(bf16_unit, rng):
    x, weight = helpers.normal(rng, (1, 8, 6, 6)), helpers.normal(rng, (8, 8, 3, 3))
    inputs = [Input("x", (1, 8, 6, 6)), Input("w", (8, 8, 3, 3))]
    nodes = [Node("relu", ("w",), ("v",)), Node("conv", ("x", "v"), ("y",), SAME)]
    model = CompiledModel(Graph(inputs, ["y"], nodes, {}), precision="bf16")
    y = ops.conv2d(x, np.maximum(weight, 0), padding=1, precision="bf16")
    assert (model(x, weight) == y).all()


def test_a_file_cannot_ask_for_another_precision(rng):
    graph = network(rng)
    graph.nodes[0].attributes = {**SAME, "precision": "int8"}
    with pytest.raises(GraphError, match=r"`precision` is 'int8'; it must be one of fp32, bf16"):
        CompiledModel(graph)
    with pytest.raises(ValueError, match="`precision` is 'tf32'; it must be one of 'fp32', 'bf16'"):
        CompiledModel(network(rng), precision="tf32")
