"""Residuals, separable convolutions and activations are fused where nothing else needs what lies between."""

from __future__ import annotations

import numpy as np
import pytest
from neocog.engine.graph import Graph
from neocog.engine.operators import ACTIVATIONS
from neocog.engine.passes.activations import activations
from neocog.engine.passes.prologues import prologues
from neocog.engine.passes.residuals import residuals
from neocog.engine.passes.separables import separables
from pass_checks import IMAGE, Net, assert_untouched, check, ops

# Residuals


@pytest.mark.parametrize("first", [True, False])
def test_an_addition_goes_into_the_convolution(first, rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 3, 3), padding=1, bias=first)
    net.node("add", *((y, "x") if first else ("x", y)), activation="leaky_relu", alpha=0.1)
    after = check(net.graph(), residuals)
    assert ops(after) == {"conv": 1}
    assert after.nodes[0].inputs[3] == "x"
    assert (after.nodes[0]["activation"], after.nodes[0]["alpha"]) == ("leaky_relu", 0.1)


@pytest.mark.parametrize("order", [True, False])
def test_the_later_of_two_convolutions_adds(order, rng):
    net = Net(rng)
    early, late = (net.conv("x", (6, 4, size, size), padding=size // 2, stride=2) for size in (1, 3))
    net.node("add", *((early, late) if order else (late, early)))
    after = check(net.graph(), residuals)
    assert [node.inputs[3:] for node in after.nodes] == [(), (early,)]


def test_the_convolution_waits_for_the_other_branch(rng):
    """It moves to the place of the addition: what it adds is made after it."""
    net = Net(rng)
    y = net.conv("x", (4, 4, 1, 1))
    other = net.node("tanh", net.node("neg", "x"))
    net.node("add", y, other)
    after = check(net.graph(), residuals)
    assert [node.op for node in after.nodes] == ["neg", "tanh", "conv"]


def test_a_sum_of_three_convolutions(rng):
    net = Net(rng)
    a, b, c = (net.conv("x", (4, 4, 1, 1)) for _ in range(3))
    net.node("add", net.node("add", a, b), c)
    after = check(net.graph(), residuals)
    assert ops(after) == {"conv": 3}


def test_equal_sizes_are_proved_through_downsampling_and_back(rng):
    """A U-Net that adds: two poolings, resizing by scales, concatenation, cropping to the size of the other."""
    net = Net(rng)
    down = net.pool("max_pool", net.conv("x", (4, 4, 3, 3), padding=1), 2, 2)
    also = net.conv("x", (4, 4, 2, 2), stride=2)
    low = net.node("add", net.conv(down, (4, 4, 3, 3), padding=1), also)
    sizes = net.node("shape", "x")
    options = {"mode": "nearest", "coordinates": "asymmetric"}
    up = net.node("resize", net.conv(low, (4, 4, 1, 1)), sizes, **options)
    net.node("add", net.conv(net.node("concat", up, "x", axis=1), (4, 8, 3, 3), padding="same_upper"), "x")
    assert ops(check(net.graph(), residuals))["add"] == 0


OTHER_ADDITIONS = {
    "constant_per_channel": lambda net, y: net.node("add", y, net.weights(4, 1, 1)),
    "one_channel": lambda net, y: net.node("add", y, net.conv("x", (1, 4, 1, 1), activation="relu")),
    "one_pixel": lambda net, y: net.node("add", y, net.node("adaptive_avg_pool", "x", output_size=[1, 1])),
    "other_rounding": lambda net, y: net.node(
        "add", net.conv("x", (4, 4, 2, 2), stride=2, activation="relu"), net.conv("x", (4, 4, 1, 1), stride=2)
    ),
    "another_input": lambda net, y: net.node("add", y, "z"),
    "itself": lambda net, y: net.node("add", y, y),
    "no_convolution": lambda net, y: net.node("add", net.node("tanh", "x"), "x"),
    "after_an_activation": lambda net, y: net.node("add", net.conv("x", (4, 4, 1, 1), activation="relu"), "x"),
    "a_transposed_convolution": lambda net, y: net.node("add", net.conv("x", (4, 4, 1, 1), op="conv_transpose"), "x"),
}


@pytest.mark.parametrize("written", OTHER_ADDITIONS.values(), ids=OTHER_ADDITIONS)
def test_other_additions_stay(written, rng):
    net = Net(rng, x=IMAGE, z=("n", 4, "h", "v"))
    written(net, net.conv("x", (4, 4, 1, 1)))
    assert_untouched(net.graph(), residuals)


def test_a_convolution_that_others_need_does_not_add(rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 1, 1))
    assert_untouched(net.graph(net.node("add", y, "x"), net.node("tanh", y)), residuals)


def test_a_convolution_adds_once(rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 1, 1))
    net.node("add", net.node("add", y, "x"), net.node("tanh", "x"))
    after = check(net.graph(), residuals)
    assert ops(after) == {"conv": 1, "tanh": 1, "add": 1}


@pytest.mark.parametrize("early", [True, False])
def test_who_asks_for_the_shape_of_the_sum_asks_the_other_branch(early, rng):
    net = Net(rng)
    other = net.node("tanh", "x") if early else "x"
    y = net.conv("x", (4, 4, 1, 1))
    shape = net.node("shape", y)
    after = check(net.graph(net.node("add", y, other), shape, net.node("size", y)), residuals)
    assert ops(after)["add"] == 0
    assert after.makers()[shape].inputs == (other,)


def test_who_asks_before_the_other_branch_is_there_keeps_the_addition(rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 1, 1))
    shape = net.node("shape", y)
    assert_untouched(net.graph(net.node("add", y, net.node("tanh", "x")), shape), residuals)


# Separable convolutions

SEPARABLE = {
    "plain": ({}, {}),
    "multiplier_stride_padding": ({"shape": (8, 1, 3, 5), "stride": 2, "padding": [[1, 0], [2, 2]]}, {}),
    "dilation_same": ({"dilation": 2, "padding": "same_upper"}, {"padding": "same_lower"}),
    "biases": ({"bias": True}, {"bias": True}),
    "bias_of_the_depthwise_part_alone": ({"bias": True}, {}),
    "bias_of_the_pointwise_part_alone": ({}, {"bias": True, "activation": "elu", "alpha": 0.7}),
}


def separable(net: Net, depthwise: dict, pointwise: dict) -> str:
    options = {"shape": (4, 1, 3, 3), "groups": 4, "bias": False} | depthwise
    y = net.conv("x", **options)
    return net.conv(y, **({"shape": (5, options["shape"][0], 1, 1), "bias": False} | pointwise))


@pytest.mark.parametrize(("depthwise", "pointwise"), SEPARABLE.values(), ids=SEPARABLE)
def test_depthwise_and_pointwise_are_one(depthwise, pointwise, rng):
    net = Net(rng)
    separable(net, depthwise, pointwise)
    after = check(net.graph(), separables)
    assert ops(after) == {"separable_conv": 1}
    assert after.nodes[0]["activation"] == pointwise.get("activation")
    assert len(after.nodes[0].inputs) == (4 if "bias" in depthwise or "bias" in pointwise else 3)


NOT_SEPARABLE = {
    "activation_between": ({"activation": "relu"}, {}),
    "two_channels_to_a_filter": ({"shape": (4, 2, 3, 3), "groups": 2}, {}),
    "one_group": ({"shape": (4, 4, 3, 3), "groups": 1}, {}),
    "pointwise_of_groups": ({}, {"shape": (6, 2, 1, 1), "groups": 2}),
    "pointwise_of_more_taps": ({}, {"shape": (6, 4, 1, 2)}),
    "pointwise_stride": ({}, {"stride": 2}),
    "pointwise_padding": ({}, {"padding": [[0, 0], [0, 1]]}),
}


@pytest.mark.parametrize(("depthwise", "pointwise"), NOT_SEPARABLE.values(), ids=NOT_SEPARABLE)
def test_other_pairs_stay(depthwise, pointwise, rng):
    net = Net(rng)
    separable(net, depthwise, pointwise)
    assert_untouched(net.graph(), separables)


def test_a_depthwise_result_that_others_need_stays(rng):
    net = Net(rng)
    y = separable(net, {}, {})
    assert_untouched(net.graph(y, net.nodes[0].outputs[0] or ""), separables)


def test_a_pointwise_part_keeps_its_residual(rng):
    net = Net(rng)
    net.node("add", separable(net, {"padding": 1}, {"shape": (4, 4, 1, 1)}), "x")
    after = check(residuals(net.graph()), separables)
    assert ops(after) == {"separable_conv": 1}
    assert after.nodes[0].inputs[4] == "x"


def test_unknown_weights_stay(rng):
    net = Net(rng, x=IMAGE, weight=(4, 1, 3, 3), mix=(5, 4, 1, 1), bias=(4,))
    steps = {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]}
    known = net.weights(5, 4, 1, 1)
    a = net.node("conv", net.node("conv", "x", "weight", groups=4, **steps), known, **steps)
    b = net.node("conv", net.conv("x", (4, 1, 3, 3), groups=4), "mix", **steps)
    c = net.node("conv", net.node("conv", "x", net.weights(4, 1, 3, 3), "bias", groups=4, **steps), known, **steps)
    assert_untouched(net.graph(a, b, c), separables)


def test_one_axis_stays(rng):
    net = Net(rng, x=("n", 4, "l"))
    net.conv(net.conv("x", (4, 1, 3), groups=4), (5, 4, 1))
    assert_untouched(net.graph(), separables)


# Batch norms before separable convolutions


def fused(graph: Graph) -> Graph:
    return activations(separables(graph))


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("residual", [False, True])
def test_a_batch_norm_goes_into_the_separable_convolution_after_it(activation, residual, rng):
    net = Net(rng)
    y = net.batch_norm("x", 4, eps=1e-3)
    if activation is not None:
        y = net.node(activation, y, **({"alpha": 0.7} if activation in ("leaky_relu", "elu") else {}))
    # Zeros of the padding are zeros behind the batch norm, whatever it makes of zeros.
    y = net.conv(net.conv(y, (4, 1, 3, 3), groups=4, padding=1, bias=False), (4, 4, 1, 1))
    if residual:
        net.node("add", y, "x")
    after = check(fused(residuals(net.graph())), prologues)
    assert ops(after) == {"separable_conv": 1}
    assert len(after.nodes[0].inputs) == 8
    assert after.nodes[0].inputs[4] == ("x" if residual else None)
    assert after.nodes[0]["before_activation"] == activation


def test_a_batch_norm_that_others_need_stays(rng):
    net = Net(rng)
    norm = net.batch_norm("x", 4)
    y = net.conv(net.conv(norm, (4, 1, 3, 3), groups=4, padding=1), (4, 4, 1, 1))
    assert_untouched(fused(net.graph(y, norm)), prologues)


def test_a_batch_norm_without_finite_scale_stays(rng):
    net = Net(rng)
    values = (net.weights(4), net.weights(4), net.weights(4), net.constant([1, 0, 1, 1]))
    norm = net.node("batch_norm", "x", *values, eps=0.0)
    net.conv(net.conv(norm, (4, 1, 3, 3), groups=4, padding=1), (4, 4, 1, 1))
    assert_untouched(fused(net.graph()), prologues)


# Activations

STEPS = {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1]}
TAKERS = {
    "conv": lambda net: net.conv("x", (4, 4, 3, 3)),
    "conv_transpose": lambda net: net.conv("x", (4, 4, 3, 3), op="conv_transpose"),
    "separable_conv": lambda net: net.node(
        "separable_conv", "x", net.weights(4, 1, 3, 3), net.weights(4, 4, 1, 1), **STEPS
    ),
    "batch_norm": lambda net: net.batch_norm("x", 4),
    "linear": lambda net: net.node("linear", "x", net.weights(5, 8)),
    "add": lambda net: net.node("add", "x", net.weights(4, 1, 1)),
}


@pytest.mark.parametrize("op", ACTIVATIONS)
@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
def test_an_activation_goes_into_the_node_before(taker, op, rng):
    net = Net(rng)
    attributes = {"alpha": 0.3} if op in ("leaky_relu", "elu") else {}
    net.node(op, taker(net), **attributes)
    after = check(net.graph(), activations)
    assert [node["activation"] for node in after.nodes] == [op]


def test_the_default_slope_goes_along(rng):
    net = Net(rng)
    net.node("leaky_relu", net.batch_norm("x", 4))
    assert check(net.graph(), activations).nodes[0]["alpha"] == 0.01


def test_the_activation_after_a_residual_goes_into_the_convolution(rng):
    net = Net(rng)
    net.node("relu", net.node("add", net.conv("x", (4, 4, 1, 1)), "x"))
    after = check(net.graph(), lambda graph: activations(residuals(graph)))
    assert ops(after) == {"conv": 1}


def test_who_asks_for_the_shape_alone_is_no_obstacle(rng):
    """The shape may even be needed before the activation."""
    net = Net(rng)
    y = net.conv("x", (4, 4, 3, 3), stride=2)
    shape = net.node("shape", y)
    zeros = net.node("expand", net.constant(0.0), shape)
    after = check(net.graph(net.node("relu", y), net.node("add", zeros, net.constant(1.0))), activations)
    assert ops(after) == {"conv": 1, "shape": 1, "expand": 1, "add": 1}
    assert [node.op for node in after.nodes][:2] == ["conv", "shape"]


def test_a_second_activation_stays(rng):
    net = Net(rng)
    net.node("tanh", net.node("relu", net.conv("x", (4, 4, 1, 1))))
    assert ops(check(net.graph(), activations)) == {"conv": 1, "tanh": 1}


OTHER_ACTIVATIONS = {
    "another_taker": lambda net: net.node("relu", net.node("mul", "x", "x")),
    "another_function": lambda net: net.node("softplus", net.batch_norm("x", 4)),
    "an_input": lambda net: net.node("relu", "x"),
}


@pytest.mark.parametrize("written", OTHER_ACTIVATIONS.values(), ids=OTHER_ACTIVATIONS)
def test_other_activations_stay(written, rng):
    net = Net(rng)
    written(net)
    assert_untouched(net.graph(), activations)


def test_an_activation_of_what_others_need_stays(rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 1, 1))
    swish = net.node("mul", y, net.node("sigmoid", y))
    z = net.batch_norm("x", 4)
    assert_untouched(net.graph(swish, net.node("relu", z), z), activations)


def test_an_activation_of_a_sum_of_integers_stays(rng):
    net = Net(rng, "int64", k=(3,))
    net.node("relu", net.node("add", "k", net.constant(-1, np.int64)))
    assert_untouched(net.graph(), activations)
