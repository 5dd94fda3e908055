"""Nodes that do nothing are gone, rearrangements are merged, to the bit; what only looks like it stays."""

from __future__ import annotations

import numpy as np
import pytest
from neocog.engine.graph import Graph, Input, Node
from neocog.engine.passes.identities import identities
from neocog.engine.passes.linears import linears
from pass_checks import IMAGE, Net, assert_untouched, check, ops

NOTHING = {
    "identity": lambda net, x: net.node("identity", x),
    "cast_to_its_dtype": lambda net, x: net.node("cast", x, dtype="float64"),
    "transpose": lambda net, x: net.node("transpose", x, permutation=[0, 1, 2, 3]),
    "concat_of_one": lambda net, x: net.node("concat", x, axis=1),
    "pad_by_nothing": lambda net, x: net.node("pad", x, net.numbers(*[0] * 8)),
    "tile_once": lambda net, x: net.node("tile", x, net.numbers(1, 1, 1, 1)),
    "expand_to_its_shape": lambda net, x: net.node("expand", x, net.node("shape", x)),
    "expand_by_ones": lambda net, x: net.node("expand", x, net.numbers(4, 1, 1)),
    "reshape_to_its_shape": lambda net, x: net.node("reshape", x, net.numbers(0, 0, 0, -1)),
    "reshape_to_what_shape_says": lambda net, x: net.node("reshape", x, net.node("shape", x)),
    "flatten_of_one_axis": lambda net, x: net.node("flatten", x, start=2, end=2),
    "slice_of_all": lambda net, x: net.node("slice", x, net.numbers(0), net.numbers(2**31 - 1), net.numbers(2)),
    "add_zero": lambda net, x: net.node("add", net.constant(0.0), x),
    "subtract_zero": lambda net, x: net.node("sub", x, net.constant([0.0])),
    "multiply_by_one": lambda net, x: net.node("mul", x, net.constant([[[[1.0]]]])),
    "divide_by_one": lambda net, x: net.node("div", x, net.constant(1.0)),
    "power_of_one": lambda net, x: net.node("pow", x, net.constant(1.0)),
}


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_what_does_nothing_goes(nothing, rng):
    net = Net(rng)
    net.node("tanh", nothing(net, net.node("relu", "x")))
    assert ops(check(net.graph(), identities, tolerance=0)) == {"relu": 1, "tanh": 1}


SOMETHING = {
    "cast_to_another_dtype": lambda net: net.node("cast", "x", dtype="float32"),
    "transpose": lambda net: net.node("transpose", "x", permutation=[0, 1, 3, 2]),
    "concat_with_itself": lambda net: net.node("concat", "x", "x", axis=1),
    "slice_backwards": lambda net: net.node("slice", "x", *(net.numbers(n) for n in (-1, -(2**31), 1, -1))),
    "slice_by_unknown_steps": lambda net: net.node("slice", "x", *(net.numbers(n) for n in (0, 9, 1)), "sizes"),
    "pad": lambda net: net.node("pad", "x", net.numbers(0, 0, 0, 0, 0, 0, 0, 1)),
    "pad_that_shifts": lambda net: net.node("pad", "x", net.numbers(0, 0, 1, 0, 0, 0, -1, 0)),
    "expand_of_an_open_size": lambda net: net.node("expand", "x", net.numbers(1, 4, 9, 1)),
    "reshape_that_swaps_sizes": lambda net: net.node("reshape", "x", net.numbers(2, 4, 8, 9)),
    "add_zero_with_an_activation": lambda net: net.node("add", "x", net.constant(0.0), activation="tanh"),
    "multiply_by_a_one_with_more_axes": lambda net: net.node("mul", "x", net.constant([[[[[1.0]]]]])),
    "multiply_by_ones_that_broadcast": lambda net: net.node("mul", "x", net.constant(np.ones((3, 1, 1, 1, 1)))),
    "multiply_by_a_one_of_another_dtype": lambda net: net.node("mul", "x", net.constant(1.0, np.float32)),
    "one_over_x": lambda net: net.node("div", net.constant(1.0), "x"),
    "one_to_the_x": lambda net: net.node("pow", net.constant(1.0), "x"),
    "divide_by_three": lambda net: net.node("div", "x", net.constant(3.0)),
    "divide_by_powers_of_two_and_zero": lambda net: net.node("div", "x", net.constant([4.0] * 7 + [0.0])),
    "divide_by_the_smallest_number": lambda net: net.node("div", "x", net.constant(5e-324)),
    "subtract_from_a_constant": lambda net: net.node("sub", net.constant(2.0), "x"),
    "reshape_of_an_unknown_shape": lambda net: net.node("reshape", "x", "sizes"),
}


@pytest.mark.parametrize("something", SOMETHING.values(), ids=SOMETHING)
def test_what_does_something_stays(something, rng):
    net = Net(rng)
    net.inputs.append(Input("sizes", (2,), "int64"))
    something(net)
    assert_untouched(net.graph(), identities)


def test_results_keep_their_names(rng):
    net = Net(rng)
    dropped = net.node("identity", net.node("tanh", "x"))
    after = check(net.graph(dropped), identities, tolerance=0)
    assert after.outputs == [dropped]
    assert ops(after) == {"tanh": 1}


def test_a_result_that_is_an_input_goes_by_its_name(rng):
    net = Net(rng)
    twice = net.node("identity", net.node("identity", "x"))
    after = check(net.graph(twice, "x"), identities, tolerance=0)
    assert (after.outputs, after.nodes) == (["x", "x"], [])


def test_a_result_that_is_another_result_goes_by_its_name(rng):
    net = Net(rng)
    y = net.node("tanh", "x")
    after = check(net.graph(net.node("identity", y), y), identities, tolerance=0)
    assert after.outputs == [y, y]


@pytest.mark.parametrize("users", [1, 2])
def test_transposes_merge(users, rng):
    net = Net(rng)
    y = net.node("transpose", "x", permutation=[0, 2, 3, 1])
    z = net.node("transpose", y, permutation=[0, 2, 1, 3])
    after = check(net.graph(z, *[y][: users - 1]), identities, tolerance=0)
    assert len(after.nodes) == users
    assert after.makers()[z].inputs == ("x",)
    assert after.makers()[z]["permutation"] == [0, 3, 2, 1]


def test_a_transpose_there_and_back_is_none(rng):
    net = Net(rng)
    y = net.node("transpose", net.node("tanh", "x"), permutation=[0, 2, 3, 1])
    net.node("tanh", net.node("transpose", y, permutation=[0, 3, 1, 2]))
    twice = check(net.graph(), lambda graph: identities(identities(graph)), tolerance=0)
    assert ops(twice) == {"tanh": 2}


RESHAPES = {
    "of_a_reshape": lambda net: net.node("reshape", "x", net.numbers(0, 2, -1)),
    "of_a_flatten": lambda net: net.node("flatten", "x"),
    "of_an_unsqueeze": lambda net: net.node("unsqueeze", "x", axes=[0]),
    "of_a_squeeze": lambda net: net.node("squeeze", net.node("unsqueeze", "x", axes=[2]), axes=[2]),
}


@pytest.mark.parametrize("inner", RESHAPES.values(), ids=RESHAPES)
def test_a_reshape_of_a_new_shape_is_one_reshape(inner, rng):
    net = Net(rng)
    net.node("reshape", inner(net), net.numbers(-1, 8))
    after = check(net.graph(), lambda graph: identities(identities(graph)), tolerance=0)
    assert ops(after) == {"reshape": 1}


def test_a_reshape_that_copies_a_known_size_of_the_first_one_says_it(rng):
    net = Net(rng, x=("n", 4, "h", 8))
    net.node("reshape", net.node("reshape", "x", net.numbers(-1, 2)), net.numbers(-1, 0, 4))
    after = check(net.graph(), identities, tolerance=0)
    assert [after.constants[name or ""].tolist() for name in after.nodes[0].inputs[1:]] == [[-1, 2, 4]]


def test_a_reshape_that_copies_an_open_size_of_the_first_one_stays(rng):
    net = Net(rng)
    net.node("reshape", net.node("reshape", "x", net.numbers(-1, 4)), net.numbers(0, 2, 2))
    assert_untouched(net.graph(), identities)


def test_subtraction_and_division_by_powers_of_two(rng):
    net = Net(rng, "float32")
    y = net.node("sub", "x", net.weights(4, 1, 1))
    net.node(
        "div", y, net.constant(np.float32(2) ** rng.integers(-126, 127, (4, 1, 1)) * [[[-1]], [[1]], [[1]], [[1]]])
    )
    after = check(net.graph(), identities, tolerance=0)
    assert ops(after) == {"add": 1, "mul": 1}


def test_integers_are_divided_as_integers(rng):
    numbers = {"c": np.array(2, np.int64)}
    graph = Graph([Input("k", (3,), "int64")], ["y"], [Node("div", ("k", "c"), ("y",))], numbers)
    assert_untouched(graph, identities)


@pytest.mark.parametrize("shape", [("n", 4), ("n", 7, 4)])
def test_a_product_with_a_matrix_is_linear(shape, rng):
    net = Net(rng, x=shape)
    net.node("matmul", "x", net.weights(4, 5))
    assert ops(check(net.graph(), linears)) == {"linear": 1}


def test_products_with_other_things_stay(rng):
    net = Net(rng, x=IMAGE, m=("w", 5))
    net.node("matmul", net.node("matmul", "x", "m"), net.weights(4, 5, 3))
    net.node("matmul", net.weights(6, 9), net.nodes[-1].outputs[0])
    assert_untouched(net.graph(), linears)
