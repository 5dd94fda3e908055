"""Folding of batch norms, scales and shifts: same results in the float64 oracle, and only where that is sure."""

from __future__ import annotations

import numpy as np
import pytest
from neocog.engine.graph import Node
from neocog.engine.passes.batch_norms import batch_norms
from neocog.engine.passes.dead_code import dead_code
from pass_checks import Net, arguments, assert_untouched, check, ops
from reference_graph import run

LAYERS = {
    "plain": ((6, 4, 3, 3), {}),
    "no_bias": ((6, 4, 3, 3), {"bias": False}),
    "padded_strided_dilated": ((6, 4, 3, 3), {"padding": [[1, 0], [2, 1]], "stride": 2, "dilation": 2}),
    "same_padding": ((6, 4, 3, 3), {"padding": "same_upper"}),
    "groups": ((6, 2, 3, 3), {"groups": 2}),
    "depthwise_multiplier": ((8, 1, 3, 3), {"groups": 4}),
    "transposed": ((4, 6, 3, 3), {"op": "conv_transpose", "stride": 2}),
    "transposed_groups": ((4, 3, 3, 3), {"op": "conv_transpose", "groups": 2, "bias": False}),
}


def channels_of(shape, options) -> int:
    return shape[1] * options.get("groups", 1) if options.get("op") == "conv_transpose" else shape[0]


def per_channel(net: Net, channels: int) -> str:
    return net.weights(channels, 1, 1)


@pytest.mark.parametrize(("shape", "options"), LAYERS.values(), ids=LAYERS)
def test_batch_norm_goes_into_the_layer_before(shape, options, rng):
    net = Net(rng)
    net.batch_norm(net.conv("x", shape, **options), channels_of(shape, options), activation="leaky_relu", alpha=0.2)
    after = check(net.graph(), batch_norms)
    assert ops(after) == {options.get("op", "conv"): 1}
    assert after.nodes[0].name == "layer 0"
    assert after.nodes[0]["activation"] == "leaky_relu"


@pytest.mark.parametrize(("shape", "options"), LAYERS.values(), ids=LAYERS)
def test_scale_and_shift_go_into_the_layer_before(shape, options, rng):
    channels, net = channels_of(shape, options), Net(rng)
    y = net.node("mul", per_channel(net, channels), net.conv("x", shape, **options))
    y = net.node("add", y, net.weights(1, channels, 1, 1))
    net.node("div", y, net.constant(7.0))
    after = check(net.graph(), batch_norms)
    assert ops(after) == {options.get("op", "conv"): 1}


def test_a_separable_convolution_takes_a_batch_norm_into_its_pointwise_part(rng):
    net = Net(rng)
    steps = {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1]}
    y = net.node("separable_conv", "x", net.weights(4, 1, 3, 3), net.weights(5, 4, 1, 1), **steps)
    net.batch_norm(y, 5)
    assert ops(check(net.graph(), batch_norms)) == {"separable_conv": 1}


def test_linear_takes_a_batch_norm_of_its_features(rng):
    net = Net(rng, x=("n", 4))
    net.batch_norm(net.node("linear", "x", net.weights(5, 4)), 5)
    assert ops(check(net.graph(), batch_norms)) == {"linear": 1}


def test_linear_takes_a_scale_and_a_shift_of_its_last_axis(rng):
    net = Net(rng, x=("n", 3, 4))
    y = net.node("mul", net.node("linear", "x", net.weights(5, 4)), net.weights(5))
    net.node("add", net.weights(1, 1, 5), y, activation="relu")
    after = check(net.graph(), batch_norms)
    assert ops(after) == {"linear": 1}
    assert after.nodes[0]["activation"] == "relu"


def test_a_chain_of_batch_norms_goes_all_the_way(rng):
    net = Net(rng)
    y = net.conv("x", (6, 4, 3, 3))
    for _ in range(3):
        y = net.batch_norm(y, 6)
    assert ops(check(net.graph(), batch_norms)) == {"conv": 1}


def test_who_asks_for_the_shape_alone_is_no_obstacle(rng):
    net = Net(rng)
    y = net.conv("x", (6, 4, 3, 3), stride=2)
    shape = net.node("shape", y)
    after = check(net.graph(net.batch_norm(y, 6), shape), batch_norms)
    assert ops(after) == {"conv": 1, "shape": 1}


def test_float32_weights_are_rounded_once(rng):
    """Within the bound of the docstring: eps / 2 times the sum of magnitudes."""
    net = Net(rng, "float32")
    net.batch_norm(net.conv("x", (6, 4, 3, 3), padding=1), 6)
    graph = net.graph()
    folded = batch_norms(graph)
    assert {value.dtype.name for value in folded.constants.values()} == {"float32"}
    x = arguments(graph)
    magnitudes = dead_code(folded)
    magnitudes.constants = {name: abs(value) for name, value in magnitudes.constants.items()}
    bound = np.finfo(np.float32).eps / 2 * run(magnitudes, [abs(x[0])])[0]
    error = abs(run(folded, x)[0] - run(graph, x)[0])
    assert (error <= bound).all()
    assert error.max() > 0, "weights in float32 must have been rounded"


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_batch_norm_goes_into_an_unpadded_convolution_after_it(groups, rng):
    net = Net(rng)
    net.conv(net.batch_norm("x", 4), (8, 4 // groups, 3, 3), groups=groups, bias=groups == 2, activation="relu")
    after = check(net.graph(), batch_norms)
    assert ops(after) == {"conv": 1}
    assert after.nodes[0]["activation"] == "relu"


def test_batch_norm_goes_into_a_pointwise_convolution_whatever_its_padding_is_called(rng):
    net = Net(rng)
    net.conv(net.batch_norm("x", 4), (8, 4, 1, 1), padding="same_lower", stride=2)
    assert ops(check(net.graph(), batch_norms)) == {"conv": 1}


def test_batch_norm_goes_into_a_linear_layer_after_it(rng):
    net = Net(rng, x=("n", 4))
    net.node("linear", net.batch_norm("x", 4), net.weights(5, 4))
    assert ops(check(net.graph(), batch_norms)) == {"linear": 1}


@pytest.mark.parametrize("padding", [[[1, 1], [0, 0]], "same_upper"])
def test_a_shift_stays_before_a_padded_convolution(padding, rng):
    """The padding is 0, not what 0 is shifted to."""
    net = Net(rng)
    net.conv(net.batch_norm("x", 4), (8, 4, 3, 3), padding=padding)
    assert_untouched(net.graph(), batch_norms)


def test_a_scale_goes_into_a_padded_convolution_after_it(rng):
    net = Net(rng)
    y = net.node("mul", net.node("div", "x", net.constant(255.0)), net.weights(4, 1, 1))
    net.conv(y, (8, 4, 3, 3), padding=1)
    folded = check(net.graph(), lambda graph: batch_norms(batch_norms(graph)))
    assert ops(folded) == {"conv": 1}


def test_what_another_node_needs_too_stays(rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 3, 3))
    assert_untouched(net.graph(net.batch_norm(y, 4), net.node("tanh", y)), batch_norms)


def test_what_is_a_result_of_the_graph_stays(rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 3, 3))
    assert_untouched(net.graph(y, net.batch_norm(y, 4)), batch_norms)


def test_an_activation_or_a_residual_between_stays(rng):
    net = Net(rng)
    a = net.conv("x", (4, 4, 1, 1), activation="relu")
    b = net.batch_norm(a, 4)
    steps = {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]}
    c = net.node("conv", "x", net.weights(4, 4, 1, 1), None, "x", **steps)
    assert_untouched(net.graph(b, net.batch_norm(c, 4)), batch_norms)


def test_unknown_weights_and_parameters_stay(rng):
    net = Net(rng, x=("n", 4, "h", "w"), weight=(4, 4, 3, 3), scale=(4,))
    steps = {"stride": [1, 1], "padding": [[0, 0], [0, 0]], "dilation": [1, 1]}
    a = net.batch_norm(net.node("conv", "x", "weight", **steps), 4)
    b = net.node("batch_norm", net.conv("x", (4, 4, 3, 3)), "scale", net.weights(4), net.weights(4), net.weights(4))
    c = net.node("mul", net.conv("x", (4, 4, 3, 3)), "scale")
    assert_untouched(net.graph(a, b, c), batch_norms)


def test_constants_of_other_axes_stay(rng):
    """The width, the batch, more channels, one more axis: none is one number per channel."""
    net = Net(rng, x=(2, 4, 6, 6))
    shapes = ((6,), (2, 1, 1, 1), (1, 4, 6, 1), (1, 1, 4, 1, 1))
    results = [net.node("mul", net.conv("x", (4, 4, 1, 1)), net.weights(*shape)) for shape in shapes]
    results.append(net.node("add", net.conv("x", (1, 4, 1, 1)), net.weights(4, 1, 1)))
    assert_untouched(net.graph(*results), batch_norms)


def test_a_scale_that_broadcasts_the_image_stays_before_a_convolution(rng):
    """x of one channel becomes one of four; the convolution cannot take that over."""
    net = Net(rng, x=("n", 1, "h", "w"))
    net.conv(net.node("mul", "x", net.weights(4, 1, 1)), (3, 4, 1, 1))
    assert_untouched(net.graph(), batch_norms)


def test_batch_norm_of_another_axis_than_the_features_stays(rng):
    """After a linear layer on (N, T, C) the channels of a batch norm are T."""
    net = Net(rng, x=("n", 5, 4))
    net.batch_norm(net.node("linear", "x", net.weights(5, 4)), 5)
    assert_untouched(net.graph(), batch_norms)


def test_weights_that_would_overflow_stay(rng):
    net = Net(rng, "float32")
    y = net.node("mul", net.conv("x", (4, 4, 1, 1)), net.constant(3e38))
    zero = net.node("div", net.conv("x", (4, 4, 1, 1)), net.constant(0.0))
    broken = net.constant(np.full(4, -1.0))
    bad = net.node("batch_norm", net.conv("x", (4, 4, 1, 1)), *(net.weights(4) for _ in range(3)), broken)
    net.constants[net.nodes[0].inputs[1] or ""] = np.full((4, 4, 1, 1), 2, np.float32)
    assert_untouched(net.graph(y, zero, bad), batch_norms)


def test_a_scale_of_another_dtype_stays(rng):
    """float32 times float64 is float64: folding would lose the digits that the result has."""
    net = Net(rng, "float32")
    net.nodes.append(Node("mul", (net.conv("x", (4, 4, 1, 1)), net.constant(1.1, np.float64)), ("y",)))
    assert_untouched(net.graph("y"), batch_norms)


def test_a_batch_norm_alone_stays(rng):
    net = Net(rng)
    net.batch_norm(net.node("relu", "x"), 4)
    assert_untouched(net.graph(), batch_norms)


def test_layers_that_share_weights_are_folded_apart(rng):
    net = Net(rng)
    y = net.conv("x", (4, 4, 3, 3), padding=1)
    steps = net.nodes[0].attributes
    again = net.node("conv", net.batch_norm(y, 4), *net.nodes[0].inputs[1:], **steps)
    net.batch_norm(again, 4)
    after = check(net.graph(), batch_norms)
    assert ops(after) == {"conv": 2}
    assert after.nodes[0].inputs[1] != after.nodes[1].inputs[1]
