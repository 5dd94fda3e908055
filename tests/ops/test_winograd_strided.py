"""Winograd's convolution with stride 2: four taps along an axis are two phases of two, three are two and one."""

from __future__ import annotations

import math

import helpers
import neocog
import numpy as np
import pytest
import reference
import reference_winograd
from neocog import _core, ops
from strided_cases import (
    Strided,
    assert_rms_of_plain,
    check_residual_and_activation,
    check_sums_of_the_bias,
    check_threads_and_layouts,
    output_padding,
    strided_arrays,
    weight_gradient,
)
from winograd_cases import TRANSFORMS

STRIDED = {
    "whole_tiles": Strided((2, 32, 64, 64), (32, 32, 4, 4)),
    "last_tiles_of_all_sizes": Strided((3, 33, 68, 62), (40, 33, 4, 4)),
    "odd_sizes_without_padding": Strided((2, 64, 69, 71), (32, 64, 4, 4), (0, 0)),
    "wide_padding_in_groups": Strided((2, 128, 65, 66), (70, 64, 4, 4), (2, 3), groups=2),
    "many_channels": Strided((8, 130, 33, 34), (150, 130, 4, 4)),
    "one_dimension": Strided((2, 64, 1, 8200), (66, 64, 1, 4), (0, 1)),
    # Of three taps one phase has one.
    "three_taps": Strided((2, 128, 100, 97), (130, 128, 3, 3)),
    "three_taps_without_padding": Strided((4, 64, 131, 129), (70, 64, 3, 3), (0, 0)),
    "three_by_four_taps": Strided((2, 130, 96, 97), (128, 130, 3, 4), (0, 2)),
    "four_by_three_taps": Strided((2, 128, 99, 94), (128, 128, 4, 3), (2, 1)),
    "five_taps": Strided((2, 64, 40, 37), (66, 64, 5, 5), (2, 2)),
    "six_by_five_taps": Strided((3, 48, 50, 47), (40, 48, 6, 5), (2, 2)),
    "seven_taps": Strided((2, 66, 42, 40), (64, 66, 7, 7), (3, 3)),
    "seven_taps_in_groups": Strided((2, 128, 41, 43), (132, 64, 7, 7), (0, 3), groups=2),
    "eight_by_seven_taps": Strided((3, 33, 52, 51), (34, 33, 8, 7), (3, 2)),
}
# The first layer of a network: columns of two phases are one pixel. Transposed, it has too few outputs.
FEW_CHANNELS = {
    "seven_taps_of_three_channels": Strided((2, 3, 150, 151), (66, 3, 7, 7), (3, 3)),
    "eight_taps_of_four_channels_in_groups": Strided((3, 8, 122, 120), (96, 4, 8, 8), (0, 2), groups=2),
}
strided_both_ways = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in STRIDED.items()])
strided = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in (STRIDED | FEW_CHANNELS).items()]
)


@strided
def test_strided_forward_is_within_the_documented_bound(case, isa, layout, rng):
    x, _, weight, bias, _ = strided_arrays(case, layout, rng)
    last, pads = x.strides[1] == x.itemsize, tuple(np.repeat(case.padding, 2))
    kernel = _core.conv_kernel(x.shape, weight, case.stride, pads, (1, 1), case.groups, last)
    tile, taps = reference_winograd.full_tile(case.taps[1]), case.taps[1]
    one_axis = x.shape[2] == 1
    assert (
        kernel == f"Winograd F({tile}, {taps}), 2 phases"
        if one_axis
        else f"Winograd F({tile}x{tile}, {taps}x{taps}), 4 phases"
    )
    y = ops.conv2d(x, weight, bias, activation="relu", **case.steps)
    expected = reference.relu(reference.conv2d(x, weight, bias, **case.steps))
    magnitude = reference_winograd.strided_magnitude(abs(x), weight, pads, case.groups, case.outputs)
    phases = math.prod(case.stride)
    assert_rms_of_plain(y, ops.conv2d(x, weight, bias, activation="relu", algorithm="direct", **case.steps), expected)
    helpers.assert_within(y, expected, magnitude + abs(bias)[:, None, None], phases * case.weight[1] + TRANSFORMS)
    helpers.assert_same_layout(y, x)


@strided_both_ways
def test_strided_transposed_is_within_the_documented_bound(case, isa, layout, rng):
    _, y, weight, _, bias = strided_arrays(case, layout, rng)
    steps = {**case.steps, "output_padding": output_padding(case)}
    x = ops.conv_transpose2d(y, weight, bias, **steps)
    assert x.shape == case.image
    with neocog.strict():
        plain = ops.conv_transpose2d(y, weight, bias, **steps)
    assert x.tobytes() != plain.tobytes(), "takes another method"
    expected = reference.conv_transpose2d(y, weight, bias, **steps)
    assert_rms_of_plain(x, plain, expected)
    magnitude = reference_winograd.transposed_magnitude(abs(y), weight, case.padding, case.groups, case.image[2:])
    channels = case.weight[0] // case.groups
    helpers.assert_within(x, expected, magnitude + abs(bias)[:, None, None], channels + TRANSFORMS)
    helpers.assert_same_layout(x, y)
    grad_x, _, _ = ops.conv2d_backward(y, x, weight, output_mask=(True, False, False), **case.steps)
    helpers.assert_within(grad_x, expected - bias[:, None, None], magnitude, channels + TRANSFORMS)


@strided
def test_strided_weight_gradient_is_within_the_documented_bound(case, isa, layout, rng):
    x, y, weight, _, _ = strided_arrays(case, layout, rng)
    gradient = weight_gradient(case, x, y, weight)
    with neocog.strict():
        plain = weight_gradient(case, x, y, weight)
    assert gradient.tobytes() != plain.tobytes(), "takes another method"
    _, expected, _ = reference.conv2d_backward(y, x, weight, **case.steps)
    pads = tuple(np.repeat(case.padding, 2))
    magnitude = reference_winograd.strided_weight_magnitude(abs(x), abs(y), case.weight[2:], pads, case.groups)
    tiles = len(y) * math.prod(
        len(reference_winograd.tiles(size, taps)) for size, taps in zip(case.outputs, case.taps, strict=True)
    )
    helpers.assert_within(gradient, expected, magnitude, tiles + TRANSFORMS)
    if max(case.weight[2:]) <= 4:
        assert_rms_of_plain(gradient, plain, expected)
    else:
        assert np.sqrt(np.square(gradient - expected).mean()) <= 2e-6 * np.sqrt(np.square(expected).mean())


@strided
def test_strided_gradients_come_with_the_sums_of_the_bias(case, isa, layout, rng):
    check_sums_of_the_bias(case, layout, rng)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@strided
def test_strided_residual_and_activation_are_those_afterwards(case, activation, layout, rng):
    check_residual_and_activation(case, activation, layout, rng)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@strided
def test_strided_results_have_the_same_bits_for_any_number_of_threads_and_layout(case, threads, isa, rng):
    check_threads_and_layouts(case, rng)
