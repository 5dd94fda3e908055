"""How arithmetic, products and normalisations become steps: compiled graphs of one operator against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from laid_out_runs import check_run, methods
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, GraphError, Input, Node
from neocog.engine.operators import ACTIVATIONS, BINARY, REDUCTIONS, UNARY
from reference_graph import run as oracle

POSITIVE = ("log", "sqrt", "rsqrt", "reciprocal", "log_sum")
NARROW = {"asin": "tanh", "acos": "tanh", "atanh": "tanh", "acosh": "cosh"}  # and what maps all numbers there
IMAGE = (2, 3, 5, 4)


def rows(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


# Element by element


@pytest.mark.parametrize("op", [op for op in UNARY if op not in NARROW])
def test_functions(op, rng):
    layouts = ("channels_last", "turned", "every_second", "expanded")
    check_run(op, IMAGE, rng=rng, layouts=layouts, positive=op in POSITIVE, bound=1e-5)


@pytest.mark.parametrize("op", NARROW)
def test_functions_of_a_part_of_the_line(op, rng):
    nodes = [Node(NARROW[op], ("x",), ("z",)), Node(op, ("z",), ("y",))]
    x = rows(rng, *IMAGE)
    (expected,) = oracle(graph := Graph([Input("x", IMAGE)], ["y"], nodes, {}), [x])
    np.testing.assert_allclose(CompiledModel(graph)(x), expected, atol=1e-4)


@pytest.mark.parametrize(("op", "attributes"), [("clip", {"min": -0.5}), ("clip", {"max": 0.5}), ("clip", {})])
def test_bounds_that_are_absent(op, attributes, rng):
    check_run(op, IMAGE, rng=rng, layouts=("rows", "channels_last"), **attributes)


OPERANDS = {
    "scalar": (),
    "one element, all axes": (1, 1, 1, 1),
    "channel": (3, 1, 1),
    "channel of all images": (1, 3, 1, 1),
    "pixel": (5, 4),
    "row of pixels": (4,),
    "image": (1, 3, 5, 4),
    "all": (2, 3, 5, 4),
    "larger": (7, 2, 3, 5, 4),
}


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("op", BINARY)
def test_two_operands_of_which_one_is_constant(op, operand, rng):
    other = abs(rows(rng, *OPERANDS[operand])) + 0.5
    check_run(op, IMAGE, other, rng=rng, layouts=("channels_last", "turned"), positive=True, bound=1e-5)


@pytest.mark.parametrize("operand", OPERANDS)
def test_two_operands_that_are_data(operand, rng):
    other = rows(rng, *OPERANDS[operand])
    for layout in ("rows", "channels_last", "turned", "reversed", "expanded"):
        check_run("sub", IMAGE, "other", rng=rng, layouts=(layout,), inputs={"other": other})


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 0.3])
def test_powers_by_one_number(exponent, rng):
    for number in (np.float32(exponent), np.full((1, 1), exponent, np.float32)):
        (model,) = check_run("pow", IMAGE, number, rng=rng, layouts=("channels_last",), positive=True, bound=1e-5)
        assert methods(model).count("unary") == (exponent in (-1.0, -0.5, 0.5, 2.0))
    check_run("pow", (3, 4), np.full((2, 1, 1), 2, np.float32), rng=rng, layouts=("rows",))


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_a_sum_applies_its_activation(activation, rng):
    numbers = {"activation": activation, "alpha": 0.3}
    other = rows(rng, 3, 1, 1)
    (model,) = check_run("add", IMAGE, other, rng=rng, layouts=("channels_last",), bound=1e-5, **numbers)
    assert methods(model) == ["binary"]


@pytest.mark.parametrize("slope", [(), (1,), (3, 1, 1), (1, 3, 1, 1), (5, 4), (2, 3, 5, 4)], ids=str)
def test_prelu(slope, rng):
    check_run("prelu", IMAGE, rows(rng, *slope), rng=rng)


def test_images_in_different_layouts_are_read_in_order(rng):
    """The one that lies otherwise is turned by a copy, which knows how; a constant when the plan is made."""
    nodes = [Node("transpose", ("w",), ("turned",), {"permutation": [0, 3, 1, 2]})]
    nodes.append(Node("add", ("x", "turned"), ("y",)))
    graph = Graph([Input("x", (2, 3, 8, 9)), Input("w", (2, 8, 9, 3))], ["y"], nodes, {})
    x, w = rows(rng, 2, 3, 8, 9), rows(rng, 2, 8, 9, 3)
    model = CompiledModel(graph)
    np.testing.assert_array_equal(model(x, w), x + w.transpose(0, 3, 1, 2))
    assert methods(model) == ["copy", "binary"]
    constant = CompiledModel(
        Graph([Input("w", (2, 8, 9, 3))], ["y"], nodes, {"x": x}),
    )
    last = w.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(constant(w), x + last)


def test_numbers_of_the_plan_are_computed_once(rng):
    """Shapes are known: arithmetic on them, and its reductions, are no steps."""
    nodes = [
        Node("shape", ("x",), ("shape",)),
        Node("mul", ("shape", "two"), ("twice",)),
        Node("prod", ("twice",), ("product",), {"axes": [0]}),
        Node("mul", ("x", "product"), ("y",)),
    ]
    graph = Graph([Input("x", ("A", "B"))], ["y"], nodes, {"two": np.array(2, np.int64)})
    model = CompiledModel(graph)
    x = rows(rng, 3, 5)
    np.testing.assert_allclose(model(x), x * 60)
    assert methods(model) == ["binary"]


# Along axes


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [None, [1], [2, 3], [-1], [0, 2], []], ids=str)
def test_reductions_over_any_axes(axes, keepdims, rng):
    for op in ("mean", "max"):
        check_run(op, IMAGE, rng=rng, axes=axes, keepdims=keepdims)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op, rng):
    layouts = ("rows", "channels_last", "reversed")
    check_run(op, IMAGE, rng=rng, layouts=layouts, axes=[2, 3], positive=op in POSITIVE, bound=1e-5)


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_softmax(op, axis, rng):
    check_run(op, IMAGE, rng=rng, axis=axis)


# Errors


def graph_of(op: str, *shapes: tuple[int, ...], **attributes: object) -> Graph:
    names = tuple(f"x{i}" for i in range(len(shapes)))
    inputs = [Input(name, shape) for name, shape in zip(names, shapes, strict=True)]
    return Graph(inputs, ["y"], [Node(op, names, ("y",), attributes, name="layer")], {})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (graph_of("add", (2, 3), (4, 3)), r"add \(layer\).*\(2, 3\) and \(4, 3\)"),
        (graph_of("prelu", (2, 3), (4, 2, 3)), "slope has the shape"),
        (graph_of("sum", (2, 3), axes=[2]), "axis 2"),
        (graph_of("sum", (2, 3), axes=[0, -2]), "twice"),
        (graph_of("max", (2, 0), axes=[1]), "at least one"),
        (graph_of("softmax", (2, 3), axis=2), "axis 2"),
        (graph_of("celu", (2, 3), alpha=-1.0), "positive"),
        (graph_of("linear", (2, 3), (4, 5)), r"\(O, I\)"),
        (graph_of("linear", (2, 3), (4, 3, 1)), r"\(O, I\)"),
        (graph_of("linear", (2, 3), (4, 3), (3,)), "bias"),
        (graph_of("matmul", (2, 3), (4, 5)), "3 and 4 differ"),
        (graph_of("matmul", (), (4, 5)), "at least one axis"),
        (graph_of("matmul", (2, 1, 3), (4, 3, 5)), "batches"),
        (graph_of("group_norm", (2, 6, 4), groups=4), "divide"),
        (graph_of("group_norm", (2, 6, 4), (5,), groups=3), "weight has the shape"),
        (graph_of("instance_norm", (6,)), r"\(N, C, \.\.\.\)"),
        (graph_of("layer_norm", (2, 6, 4), (6,), axis=2), "weight has the shape"),
        (graph_of("layer_norm", (2, 6, 4), axis=3), "axis 3"),
        (graph_of("batch_norm", (2, 6, 4), (6,), (6,), (5,), (6,)), "mean has the shape"),
    ],
)
def test_errors_name_the_node_and_what_is_wrong(graph, message):
    with pytest.raises(GraphError, match=message):
        CompiledModel(graph)(*(np.zeros(item.shape, np.float32) for item in graph.inputs))
