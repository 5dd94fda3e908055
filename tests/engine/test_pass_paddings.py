"""Padding goes into windows, and means over all pixels become pools, only where results are the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from neocog.engine.passes.global_pools import global_pools
from neocog.engine.passes.paddings import paddings
from pass_checks import Net, assert_untouched, check, ops

MORE = (0, 0, 1, 2, 0, 0, 2, 0)  # rows: 1 before, 2 after; columns: 2 before


def pad(net: Net, x: str, pads=MORE, **attributes) -> str:
    return net.node("pad", x, net.numbers(*pads), **attributes)


def kernel(net: Net, op: str, x: str, padding=0, **attributes) -> str:
    if op == "conv":
        return net.conv(x, (5, 4, 3, 3), padding=padding, stride=2, **attributes)
    return net.pool(op, x, 3, 2, padding, **attributes)


INTO = {
    "conv": lambda net: kernel(net, "conv", pad(net, "x")),
    "conv_that_pads_more": lambda net: kernel(net, "conv", pad(net, "x"), [[1, 0], [0, 3]]),
    "conv_of_groups": lambda net: net.conv(pad(net, "x"), (4, 1, 3, 3), groups=4, dilation=2),
    "conv_with_a_negative_zero": lambda net: kernel(net, "conv", pad(net, "x", value=-0.0)),
    "avg_pool": lambda net: kernel(net, "avg_pool", pad(net, "x")),
    "avg_pool_that_counts_its_own": lambda net: kernel(net, "avg_pool", pad(net, "x"), 1, count_include_pad=True),
    "avg_pool_with_a_divisor": lambda net: kernel(net, "avg_pool", pad(net, "x"), divisor=5),
    "max_pool_by_minus_infinity": lambda net: kernel(net, "max_pool", pad(net, "x", value=-math.inf), 1),
    "max_pool_of_relu": lambda net: kernel(net, "max_pool", pad(net, net.node("relu", "x"))),
    "max_pool_of_relu6_then_pool": lambda net: kernel(
        net, "max_pool", pad(net, net.pool("max_pool", net.node("relu6", "x"), 2, 1))
    ),
    "max_pool_of_a_fused_relu": lambda net: kernel(
        net, "max_pool", pad(net, net.conv("x", (4, 4, 1, 1), activation="relu"))
    ),
    "max_pool_of_relus_and_constants": lambda net: kernel(
        net,
        "max_pool",
        pad(net, net.node("add", net.node("abs", "x"), net.node("mul", net.node("exp", "x"), net.constant(2.0)))),
    ),
}


@pytest.mark.parametrize("written", INTO.values(), ids=INTO)
def test_padding_goes_into_the_window(written, rng):
    net = Net(rng)
    written(net)
    assert ops(check(net.graph(), paddings))["pad"] == 0


OUTSIDE = {
    "channels": lambda net: net.conv(pad(net, "x", (0, 1, 0, 0, 0, 0, 0, 0)), (4, 5, 3, 3)),
    "batch": lambda net: kernel(net, "conv", pad(net, "x", (1, 0, 0, 0, 0, 0, 0, 0))),
    "crop_and_border": lambda net: kernel(net, "conv", pad(net, "x", (0, 0, -1, 0, 0, 0, 0, 0)), 1),
    "border_then_crop": lambda net: kernel(net, "conv", pad(net, "x"), [[-1, 0], [0, 0]]),
    "ones": lambda net: kernel(net, "conv", pad(net, "x", value=1.0)),
    "reflection": lambda net: kernel(net, "conv", pad(net, "x", mode="reflect")),
    "same_padding": lambda net: kernel(net, "conv", pad(net, "x"), "same_upper"),
    "avg_pool_that_does_not_count_its_own": lambda net: kernel(net, "avg_pool", pad(net, "x"), 1),
    "avg_pool_in_ceil_mode": lambda net: kernel(net, "avg_pool", pad(net, "x"), ceil_mode=True),
    "max_pool_of_anything": lambda net: kernel(net, "max_pool", pad(net, "x")),
    "max_pool_of_tanh": lambda net: kernel(net, "max_pool", pad(net, net.node("tanh", "x"))),
    "max_pool_of_relu_minus_one": lambda net: kernel(
        net, "max_pool", pad(net, net.node("add", net.node("relu", "x"), net.constant(-1.0)))
    ),
    "max_pool_of_a_leaky_conv": lambda net: kernel(
        net, "max_pool", pad(net, net.conv("x", (4, 4, 1, 1), activation="leaky_relu"))
    ),
    "max_pool_with_windows_of_padding_alone": lambda net: kernel(
        net, "max_pool", pad(net, net.node("relu", "x"), (0, 0, 3, 0, 0, 0, 0, 0))
    ),
    "max_pool_in_ceil_mode": lambda net: kernel(net, "max_pool", pad(net, net.node("relu", "x")), ceil_mode=True),
    "indices": lambda net: kernel(net, "max_pool", pad(net, net.node("relu", "x")), outputs=2),
    "transposed_convolution": lambda net: net.conv(pad(net, "x"), (4, 5, 3, 3), op="conv_transpose"),
    "batch_norm": lambda net: net.batch_norm(pad(net, "x"), 4),
}


@pytest.mark.parametrize("written", OUTSIDE.values(), ids=OUTSIDE)
def test_padding_stays(written, rng):
    net = Net(rng)
    written(net)
    assert_untouched(net.graph(), paddings)


def test_windows_of_padding_alone_would_differ(rng):
    """Why the case above stays: a window that meets no pixel gives 0 before, and minus infinity after."""
    net = Net(rng)
    y = kernel(net, "max_pool", pad(net, net.node("relu", "x"), (0, 0, 3, 0, 0, 0, 0, 0)))
    merged = Net(rng)
    kernel(merged, "max_pool", merged.node("relu", "x"), [[3, 0], [0, 0]])
    with pytest.raises(AssertionError):
        check(net.graph(y), lambda graph: merged.graph())


def test_padding_stays_for_others(rng):
    net = Net(rng)
    padded = pad(net, "x")
    after = check(net.graph(kernel(net, "conv", padded), net.node("tanh", padded)), paddings)
    assert after.nodes[1].inputs[0] == "x"
    assert ops(after) == {"pad": 1, "conv": 1, "tanh": 1}


MEANS = {
    "two_axes": (("n", 4, "h", "w"), [2, 3], "mean"),
    "from_the_end": (("n", 4, "h", "w"), [-1, -2], "mean"),
    "one_axis": (("n", 4, "l"), [2], "mean"),
    "maximum": (("n", 4, "h", "w"), [3, 2], "max"),
}


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize(("shape", "axes", "op"), MEANS.values(), ids=MEANS)
def test_reductions_of_all_pixels_are_pools(shape, axes, op, keepdims, rng):
    net = Net(rng, x=shape)
    net.node(op, "x", axes=axes, keepdims=keepdims)
    after = check(net.graph(), global_pools)
    pool = "adaptive_max_pool" if op == "max" else "adaptive_avg_pool"
    assert ops(after) == ({pool: 1} if keepdims else {pool: 1, "flatten": 1})


def test_the_image_may_come_from_a_convolution_of_an_unknown_image(rng):
    """The weight tells the number of axes."""
    net = Net(rng, x=("n", "f"))
    image = net.node("reshape", "x", net.node("shape", "x"))
    net.inputs[0] = net.inputs[0].__class__("x", ("n", 4, "h", "w"), "float64")
    net.node("mean", net.conv(image, (4, 4, 1, 1)), axes=[2, 3])
    assert ops(check(net.graph(), global_pools))["adaptive_avg_pool"] == 1


OTHER_MEANS = {
    "of_channels": (("n", 4, "h", "w"), [1, 2, 3]),
    "of_rows": (("n", 4, "h", "w"), [2]),
    "of_all": (("n", 4, "h", "w"), None),
    "of_vectors": (("n", "l"), [1]),
    "of_volumes": ((1, 2, 3, 4, 5), [2, 3, 4]),
}


@pytest.mark.parametrize(("shape", "axes"), OTHER_MEANS.values(), ids=OTHER_MEANS)
def test_other_reductions_stay(shape, axes, rng):
    net = Net(rng, x=shape)
    net.node("mean", "x", axes=axes)
    assert_untouched(net.graph(), global_pools)


def test_a_mean_of_integers_stays(rng):
    net = Net(rng, "int64", x=("n", 4, "h", "w"))
    net.node("mean", "x", axes=[2, 3])
    assert_untouched(net.graph(), global_pools)
    assert np.issubdtype(net.inputs[0].dtype, np.integer)
