"""Constants are folded, equal ones and equal nodes merged, and what is needed by nobody goes."""

from __future__ import annotations

import numpy as np
import pytest
from neocog.engine.graph import Graph, GraphError, Input, Node
from neocog.engine.passes.constants import constants
from neocog.engine.passes.dead_code import dead_code
from pass_checks import IMAGE, Net, assert_untouched, check, ops


def test_nodes_of_constants_are_constants(rng):
    net = Net(rng)
    weight = net.node("mul", net.weights(5, 4), net.node("exp", net.weights(5, 1)))
    net.node("linear", "x", net.node("transpose", net.node("reshape", weight, net.numbers(4, 5)), permutation=[1, 0]))
    net.inputs = [Input("x", ("n", 4), "float64")]
    assert ops(check(net.graph(), constants)) == {"linear": 1}


def test_float32_stays_float32_and_is_rounded_once(rng):
    net = Net(rng, "float32")
    net.node("mul", "x", net.node("exp", net.weights(4, 1, 1)))
    after = check(net.graph(), constants, tolerance=1e-7)
    folded = after.constants[after.nodes[0].inputs[1] or ""]
    assert folded.dtype == np.float32
    exact = np.exp(net.constants["c0"].astype(np.float64))
    np.testing.assert_array_equal(folded, exact.astype(np.float32))


def test_a_result_that_is_constant_keeps_its_name(rng):
    net = Net(rng)
    y = net.node("neg", net.weights(3))
    after = check(net.graph(y), constants)
    assert (after.outputs, after.nodes) == ([y], [])


def test_fixed_sizes_are_constants(rng):
    """The number of channels is known for all images; so is the shape that is made of it."""
    net = Net(rng, x=("n", 4, "h", 8))
    shape = net.node("shape", "x")
    batch, channels = (net.node("gather", shape, net.numbers(axis)) for axis in (0, 1))
    half = net.node("div", channels, net.numbers(2))
    target = net.node("concat", batch, net.numbers(2), half, net.numbers(-1), net.node("shape", "x", start=3), axis=0)
    net.node("reshape", "x", target)
    # Twice: constants that were made may be equal to others.
    after = check(net.graph(), lambda graph: constants(constants(graph)))
    assert ops(after) == {"shape": 1, "gather": 1, "concat": 1, "reshape": 1}
    concat = next(node for node in after.nodes if node.op == "concat")
    assert [after.constants[name].tolist() for name in concat.used() if name in after.constants] == [
        [2],
        [2],
        [-1],
        [8],
    ]


def test_open_sizes_stay(rng):
    net = Net(rng)
    net.node("reshape", "x", net.node("mul", net.node("shape", "x", start=0, end=1), net.numbers(1)))
    kept = [node.op for node in constants(net.graph()).nodes]
    assert kept == ["shape", "mul", "reshape"]


def test_what_would_be_large_stays(rng):
    """An expansion costs nothing when the graph runs, and much memory as a constant."""
    net = Net(rng)
    net.node(
        "add", net.node("mul", "x", net.constant(2.0)), net.node("expand", net.constant(1.0), net.numbers(1, 4, 1, 1))
    )
    huge = net.node("expand", net.weights(1, 1), net.numbers(10_000, 10_000))
    unknown = net.node(
        "tile", net.node("range", *(net.constant(n, np.int64) for n in (0, 3_000_000, 1))), net.numbers(1)
    )
    after = constants(net.graph(net.nodes[2].outputs[0] or "", huge, unknown))
    assert ops(after)["expand"] == 1
    assert ops(after)["tile"] + ops(after)["range"] == 2


def test_equal_small_constants_are_one(rng):
    net = Net(rng)
    ones = [net.constant(np.ones((4, 1, 1))) for _ in range(3)]
    y = net.node("add", net.node("mul", "x", ones[0]), ones[1])
    net.node("sub", y, ones[2])
    after = dead_code(check(net.graph(), constants))
    assert list(after.constants) == ones[:1]


def test_constants_that_differ_in_sign_shape_or_dtype_are_not(rng):
    net = Net(rng)
    zeros = [net.constant(0.0), net.constant(-0.0), net.constant([0.0]), net.constant(0.0, np.float32)]
    zeros.append(net.numbers(0))
    net.constants[zeros[-1]] = np.array(0, np.int64)  # the very bytes of the first
    assert_untouched(net.graph(*(net.node("add", "x", zero) for zero in zeros)), constants)


EQUAL = {
    "attributes_given_or_not": (("clip", {"min": 0.0}), ("clip", {"min": 0.0, "max": None})),
    "lists_and_tuples": (("mean", {"axes": [2, 3]}), ("mean", {"axes": (2, 3)})),
}


@pytest.mark.parametrize(("first", "second"), EQUAL.values(), ids=EQUAL)
def test_equal_nodes_are_one(first, second, rng):
    net = Net(rng)
    y, z = (net.node(op, "x", **attributes) for op, attributes in (first, second))
    net.node("add", y, z)
    after = check(net.graph(), constants)
    assert ops(after) == {first[0]: 1, "add": 1}
    assert after.nodes[1].inputs == (y, y)


def test_sums_in_any_order_are_one(rng):
    net = Net(rng, x=IMAGE, z=IMAGE)
    y = net.node("mul", net.node("add", "x", "z"), net.node("add", "z", "x"))
    assert ops(check(net.graph(y), constants)) == {"add": 1, "mul": 1}


def test_differences_in_another_order_are_not(rng):
    net = Net(rng, x=IMAGE, z=IMAGE)
    assert_untouched(net.graph(net.node("sub", "x", "z"), net.node("sub", "z", "x")), constants)


def test_equal_trees_are_one_with_both_results(rng):
    net = Net(rng)
    tops = [net.node("tanh", net.node("pad", "x", net.numbers(*[0] * 7, 1))) for _ in range(3)]
    after = check(net.graph(*tops), constants)
    assert ops(after) == {"pad": 1, "tanh": 1}
    assert len(set(after.outputs)) == 1


def test_pools_with_and_without_indices_are_not_one(rng):
    net = Net(rng)
    pools = [net.pool("max_pool", "x", 2, 2, outputs=count) for count in (1, 2)]
    graph = net.graph(*pools, f"{pools[1]}_1")
    assert_untouched(graph, constants)


def test_a_constant_that_does_not_fit_is_an_error(rng):
    net = Net(rng)
    net.node("add", "x", net.node("reshape", net.weights(6), net.numbers(4, 2)))
    with pytest.raises(GraphError, match="reshape"):
        constants(net.graph())


def test_dead_code_goes(rng):
    net = Net(rng)
    y = net.node("tanh", "x")
    net.batch_norm(net.conv(y, (4, 4, 1, 1)), 4)
    after = check(net.graph(y), dead_code)
    assert ops(after) == {"tanh": 1}
    assert after.constants == {}
    assert after.inputs == net.inputs


def test_indices_that_nobody_wants_are_not_made(rng):
    net = Net(rng)
    y = net.pool("max_pool", "x", 2, 2, outputs=2)
    assert dead_code(net.graph(y)).nodes[0].outputs == (y,)
    indices = dead_code(net.graph(f"{y}_1")).nodes[0]
    assert indices.outputs == (None, f"{y}_1")


def test_what_is_needed_stays(rng):
    net = Net(rng, x=IMAGE, unused=(3,))
    net.conv("x", (4, 4, 1, 1))
    assert_untouched(net.graph(), dead_code)


def test_a_node_without_results_goes():
    graph = Graph([Input("x", (1,))], ["x"], [Node("relu", ("x",), (None,))], {})
    assert dead_code(graph).nodes == []
    assert dead_code(constants(graph)).nodes == []
