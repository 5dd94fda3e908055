"""Numbers of the plan: computed while planning, whatever they are made of, and data where data meet them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import steps_in_numpy
from neocog.engine.graph import Graph, GraphError, Input, Node
from reference_graph import run as oracle


def plan(nodes: list[Node], outputs: list[str], constants: dict[str, Any], *inputs: np.ndarray):
    items = [Input(f"in{place}", x.shape, str(x.dtype)) for place, x in enumerate(inputs)]
    graph = Graph(items, outputs, nodes, {name: np.asarray(value) for name, value in constants.items()})
    build = steps_in_numpy.plan(graph, inputs)
    for y, expected in zip(steps_in_numpy.execute(build, inputs), oracle(graph, inputs), strict=True):
        np.testing.assert_array_equal(y, expected)
    return build


IMAGE = np.random.default_rng(0).standard_normal((2, 3, 4, 5))


@pytest.mark.parametrize(("start", "end"), [(0, None), (2, None), (-2, None), (1, -1), (3, 1)])
def test_shape_needs_no_data(start, end):
    nodes = [Node("shape", ("in0",), ("y",), {"start": start, "end": end}), Node("size", ("in0",), ("n",))]
    build = plan(nodes, ["y", "n"], {}, IMAGE)
    assert build.steps == []
    assert build.numbers["y"].dtype == build.numbers["n"].dtype == np.int64


def test_a_flatten_that_computes_its_shape():
    """What exporters write for x.view(x.size(0), -1)."""
    nodes = [
        Node("shape", ("in0",), ("shape",)),
        Node("gather", ("shape", "zero"), ("batch",)),
        Node("unsqueeze", ("batch",), ("batch1",), {"axes": [0]}),
        Node("concat", ("batch1", "rest"), ("new_shape",), {"axis": 0}),
        Node("reshape", ("in0", "new_shape"), ("y",)),
    ]
    build = plan(nodes, ["y"], {"zero": 0, "rest": [-1]}, IMAGE)
    assert build.steps == []


NUMBERS = {
    "range": (Node("range", ("a", "b", "c"), ("y",)), {"a": 1, "b": 9, "c": 3}),
    "full": (Node("full", ("a",), ("y",), {"value": 2.5, "dtype": "float32"}), {"a": [2, 3]}),
    "equal": (Node("equal", ("a", "b"), ("y",)), {"a": [1, 2, 3], "b": 2}),
    "less": (Node("less", ("a", "b"), ("y",)), {"a": [1, 2, 3], "b": 2}),
    "greater": (Node("greater", ("a", "b"), ("y",)), {"a": [1, 2, 3], "b": 2}),
    "logical_and": (Node("logical_and", ("a", "b"), ("y",)), {"a": [True, False], "b": True}),
    "logical_or": (Node("logical_or", ("a", "b"), ("y",)), {"a": [True, False], "b": True}),
    "logical_not": (Node("logical_not", ("a",), ("y",)), {"a": [True, False]}),
    "where": (Node("where", ("a", "b", "c"), ("y",)), {"a": [True, False], "b": 7, "c": [1, 2]}),
    "nonzero": (Node("nonzero", ("a",), ("y",)), {"a": [[0, 3], [1, 0]]}),
    "cast": (Node("cast", ("a",), ("y",), {"dtype": "int64"}), {"a": [1.7, -2.3]}),
    "transpose": (Node("transpose", ("a",), ("y",), {"permutation": [1, 0]}), {"a": [[1, 2], [3, 4]]}),
    "slice": (Node("slice", ("a", "b", "c"), ("y",)), {"a": [1, 2, 3], "b": [1], "c": [3]}),
    "tile": (Node("tile", ("a", "b"), ("y",)), {"a": [1, 2], "b": [2]}),
    "pad": (Node("pad", ("a", "b"), ("y",)), {"a": [1, 2], "b": [1, 0]}),
    "identity": (Node("identity", ("a",), ("y",)), {"a": [1, 2]}),
}


@pytest.mark.parametrize(("node", "constants"), NUMBERS.values(), ids=NUMBERS)
def test_known_values_are_numbers(node, constants):
    build = plan([node], ["y"], constants)
    assert "y" in build.numbers
    assert build.steps == []


def test_integer_inputs_are_numbers():
    build = plan([Node("reshape", ("in0", "in1"), ("y",))], ["y"], {}, IMAGE, np.array([6, 20]))
    assert build.steps == []
    assert build.views["y"].shape == (6, 20)


def test_numbers_become_data_where_data_meet_them():
    nodes = [
        Node("shape", ("in0",), ("shape",)),
        Node("cast", ("shape",), ("sizes",), {"dtype": "float32"}),
        Node("cast", ("in0",), ("row",), {"dtype": "float32"}),
        Node("concat", ("sizes", "row"), ("y",), {"axis": 0}),
    ]
    build = plan(nodes, ["y"], {}, np.array([0.5, 0.25]))
    assert steps_in_numpy.methods(build) == ["copy", "copy"]


def test_what_numpy_cannot_do_is_a_step_on_literals():
    """A shuffle of constants is no number of the plan, but can still be computed."""
    node = Node("pixel_shuffle", ("a",), ("y",), {"factor": 2})
    build = plan([node], ["y"], {"a": np.arange(16, dtype=np.float32).reshape(1, 4, 2, 2)})
    assert steps_in_numpy.methods(build) == ["copy"]


@pytest.mark.parametrize("op", ["equal", "less", "logical_and", "nonzero"])
def test_data_are_no_numbers(op):
    inputs = ("in0",) if op == "nonzero" else ("in0", "a")
    with pytest.raises(GraphError, match=rf"^{op} \(y\): 'in0' must be known when the plan is made"):
        plan([Node(op, inputs, ("y",))], ["y"], {"a": 1.0}, IMAGE)
