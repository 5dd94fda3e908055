"""Concatenations without copies: kernels that read and write slices of channels, and when a plan lets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neocog import _core
from neocog._activations import activation_code
from neocog._core import LayerWeights
from one_step import EPS, in_order, run_step
from written_nets import Net, channels_last, outputs, slice_of_wider

Array = np.ndarray
PLAIN = ((1, 1), (0, 0, 0, 0), (1, 1))
# shape of x, weight, (stride, padding, dilation), groups; the kernel that takes it
CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "winograd": ((2, 64, 24, 23), (80, 64, 3, 3), ((1, 1), (1, 1, 1, 1), (1, 1)), 1),
    "winograd_of_few_tiles": ((1, 72, 14, 14), (64, 72, 3, 3), ((1, 1), (1, 1, 1, 1), (1, 1)), 1),
    "winograd_dilated": ((1, 64, 24, 24), (64, 64, 3, 3), ((1, 1), (2, 2, 2, 2), (2, 2)), 1),
    "winograd_strided": ((1, 64, 96, 96), (64, 64, 4, 4), ((2, 2), (1, 1, 1, 1), (1, 1)), 1),
    "winograd_signal": ((1, 96, 1, 300), (96, 96, 1, 3), ((1, 1), (0, 0, 1, 1), (1, 1)), 1),
    "pointwise": ((2, 33, 9, 7), (50, 33, 1, 1), PLAIN, 1),
    "strided": ((1, 20, 15, 14), (40, 20, 3, 3), ((2, 2), (1, 1, 0, 1), (1, 1)), 1),
    "groups": ((1, 64, 9, 10), (96, 32, 3, 3), ((1, 1), (1, 1, 1, 1), (1, 1)), 2),
    "narrow_groups": ((2, 32, 20, 21), (32, 4, 3, 3), ((1, 1), (1, 1, 1, 1), (1, 1)), 8),
    "far_taps": ((1, 24, 24, 24), (32, 24, 3, 3), ((1, 1), (9, 9, 9, 9), (9, 9)), 1),
    "few_outputs": ((2, 24, 20, 21), (5, 24, 1, 1), PLAIN, 1),
    "columns": ((1, 64, 30, 31), (3, 64, 3, 3), ((1, 1), (1, 1, 1, 1), (1, 1)), 1),
    "few_pixels": ((1, 40, 2, 2), (48, 40, 2, 2), PLAIN, 1),
    "depthwise": ((2, 24, 11, 12), (24, 1, 3, 3), ((1, 1), (1, 1, 1, 1), (1, 1)), 24),
}
# shape of x, weight, stride, groups
TRANSPOSED: dict[str, tuple[Any, ...]] = {
    "2x2": ((2, 64, 9, 8), (64, 32, 2, 2), 2, 1),
    "4x4_winograd": ((1, 64, 64, 64), (64, 64, 4, 4), 2, 1),
    "winograd": ((1, 64, 24, 24), (64, 64, 3, 3), 1, 1),
    "gaps": ((1, 32, 9, 8), (32, 20, 2, 1), 3, 1),
    "few_outputs": ((1, 48, 20, 21), (48, 3, 5, 5), 2, 1),
    "long_stride": ((1, 32, 40, 40), (32, 8, 8, 8), 8, 1),
    "depthwise": ((1, 24, 9, 8), (24, 1, 3, 3), 2, 24),
}


def assert_takes_slices(
    method: str, x: Array, middle: tuple[Any, ...], shape: tuple[int, ...], end: tuple[Any, ...], ulps: int = 0
) -> None:
    """What dense images give, to so many units in the last place, whichever of x and y is a slice."""
    y = in_order(shape, (0, 2, 3, 1))
    expected = run_step(method, channels_last(x), *middle, ..., *end, y=y)
    assert np.isfinite(expected).all()
    x_slice = slice_of_wider(x.shape, 5, 16)
    x_slice[...] = x
    for given in (channels_last(x), x_slice):
        for place in (y, slice_of_wider(shape, 16, 3), slice_of_wider(shape, 0, 1)):
            found = run_step(method, given, *middle, ..., *end, y=place)
            np.testing.assert_allclose(found, expected, rtol=ulps * EPS, atol=ulps * EPS)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case, activation, rng, isa):
    shape, weight_shape, (stride, pads, dilation), groups = CONVOLUTIONS[case]
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in (shape, weight_shape))
    bias = rng.standard_normal(weight_shape[0]).astype(np.float32)
    size = [
        outputs(shape[2 + i], weight_shape[2 + i], stride[i], *pads[2 * i : 2 * i + 2], dilation[i]) for i in (0, 1)
    ]
    assert_takes_slices(
        "conv", x, (LayerWeights(weight), bias, None), (shape[0], weight_shape[0], *size),
        (stride, pads, dilation, groups, *activation_code(activation), False),
    )  # fmt: skip


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolutions(case, activation, rng, isa):
    shape, weight_shape, stride, groups = TRANSPOSED[case]
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in (shape, weight_shape))
    bias = rng.standard_normal(weight_shape[1] * groups).astype(np.float32)
    size = [(n - 1) * stride + max(k, stride) for n, k in zip(shape[2:], weight_shape[2:], strict=True)]
    pads = [min(0, k - stride) for k in weight_shape[2:]]  # pixels behind the last tap
    assert_takes_slices(
        "conv_transpose", x, (LayerWeights(weight), bias, None), (shape[0], bias.size, *size),
        ((stride, stride), (0, pads[0], 0, pads[1]), (1, 1), groups, *activation_code(activation)),
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3, 16, 40])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_pools(kernel, stride, pad, channels, rng, isa):
    x = rng.standard_normal((2, channels, 13, 12)).astype(np.float32)
    window = ((kernel, kernel), (stride, stride), (pad, pad, pad, pad))
    shape = (2, channels, *(outputs(n, kernel, stride, pad, pad, 1) for n in x.shape[2:]))
    assert_takes_slices("max_pool", x, (), shape, (*window, (1, 1)))
    assert_takes_slices("avg_pool", x, (), shape, (*window, True, None), ulps=4)  # rows first, or all at once


def test_residuals_do_not_take_slices(rng):
    x = channels_last(rng.standard_normal((1, 16, 5, 5)).astype(np.float32))
    weight = LayerWeights(np.zeros((16, 16, 1, 1), np.float32))
    end = (*PLAIN, 1, *activation_code(None), False)
    with pytest.raises(ValueError, match="residual"):
        run_step("conv", x, weight, None, x, ..., *end, y=slice_of_wider(x.shape, 0, 16))


@pytest.mark.parametrize("strides", [(400, 1, 49, 6), (384, 1, 47, 6), (384, 2, 48, 6), (128, 1, 16, 2)])
def test_what_is_no_slice(strides):
    x, y = (0, 0, (2, 3, 8, 8), strides), (0, 0, (2, 3, 4, 4), (48, 1, 12, 3))
    with pytest.raises(ValueError, match="dense"):
        _core.Program(2000).max_pool(x, y, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1))


# Plans


def test_a_unet_copies_nothing(rng):
    net = Net(rng, 3)
    one = net.conv("x", 16)
    two = net.conv(net.pool(one), 32)
    three = net.up(net.conv(net.pool(two), 48), 32)
    four = net.up(net.conv(net.concat(two, three), 24), 16)
    net.check(net.conv(net.concat(one, four), 8), copies=0)


def test_branches_of_every_kind(rng):
    net = Net(rng, 8)
    a = net.conv("x", 16)
    parts = (net.conv(a, 5, 1), net.conv(net.conv(a, 8, 1), 24), net.pool(a, size=1), net.pool(a, "avg_pool", 1))
    net.check(net.conv(net.concat(*parts), 8), copies=0)


def test_a_concatenation_of_concatenations(rng):
    net = Net(rng, 8)
    inner = net.concat(net.conv("x", 16), net.conv("x", 24))
    net.check(net.conv(net.concat(net.conv("x", 7), inner, net.conv("x", 3)), 8), copies=0)


def test_features_that_are_part_of_several_concatenations_lie_in_one(rng):
    net = Net(rng, 8)
    features = [net.conv("x", 16)]
    for _ in range(3):  # as in a DenseNet
        features.append(net.conv(net.concat(*features), 12) if len(features) > 1 else net.conv(features[0], 12))
    # Of two, three and four parts: each concatenation has those in place that are new in it.
    net.check(net.conv(net.concat(*features), 8), copies=0 + 2 + 3)


def test_a_part_that_is_there_twice_is_copied_once(rng):
    net = Net(rng, 8)
    a = net.conv("x", 16)
    net.check(net.conv(net.concat(a, a), 8), copies=1)


def test_other_readers_keep_a_part_dense(rng):
    net = Net(rng, 8)
    a, b = net.conv("x", 16), net.conv("x", 16)
    net.check(
        net.conv(net.concat(a, b), 8), net.add("sigmoid", a, channels=16),
        copies=1,
    )  # fmt: skip


def test_inputs_are_copied_and_results_are_written_in_place(rng):
    net = Net(rng, 8)
    net.check(net.concat("x", net.conv("x", 16)), copies=1)


def test_a_result_of_the_call_is_no_slice(rng):
    net = Net(rng, 8)
    a = net.conv("x", 16)
    net.check(a, net.conv(net.concat(a, net.conv("x", 4)), 8), copies=1)


def test_depthwise_kernels_keep_their_images(rng):
    net = Net(rng, 8)
    a = net.conv("x", 16)
    b = net.conv(a, 16, groups=16)
    net.check(net.conv(net.concat(a, b, net.conv(b, 4)), 8), copies=2)


def test_residuals_are_copied(rng):
    net = Net(rng, 16)
    a = net.conv("x", 16)
    total = net.add("add", net.conv(a, 16), a, channels=16)
    net.check(net.conv(net.concat(total, net.conv(a, 5)), 8), copies=1)


def test_other_axes_are_copied(rng):
    net = Net(rng, 8)
    a, b = net.conv("x", 16), net.conv("x", 16)
    net.check(net.add("concat", a, b, channels=16, axis=2), copies=2)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 2, 9), (3, 1, 5)])
def test_images_of_few_pixels(size, rng):
    net = Net(rng, 8)
    net.check(net.conv(net.concat(net.conv("x", 16), net.conv("x", 5), net.conv("x", 40)), 8), copies=0, shape=size)
