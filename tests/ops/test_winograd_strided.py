"""Winograd's convolution with stride 2: four taps along an axis are two phases of two, three are two and one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import helpers
import neocog
import numpy as np
import pytest
import reference
import reference_winograd
from neocog import _core, ops
from winograd_cases import TRANSFORMS


class Strided(NamedTuple):
    image: tuple[int, int, int, int]  # (N, C, H, W): x, or y of the transposed convolution
    weight: tuple[int, int, int, int]  # (O, C / groups, R, S)
    padding: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def stride(self) -> tuple[int, int]:
        return tuple(1 if taps == 1 else 2 for taps in self.weight[2:])

    @property
    def taps(self) -> list[int]:
        """Of a phase."""
        return [-(-taps // step) for taps, step in zip(self.weight[2:], self.stride, strict=True)]

    @property
    def steps(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    @property
    def outputs(self) -> list[int]:
        sizes = zip(self.image[2:], self.padding, self.weight[2:], self.stride, strict=True)
        return [(size + 2 * pad - taps) // step + 1 for size, pad, taps, step in sizes]


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


def strided_arrays(case: Strided, layout: str, rng: np.random.Generator) -> list[np.ndarray]:
    """x, its gradient's side and weight, and a bias for either side."""
    x = helpers.lay_out(helpers.normal(rng, case.image), layout)
    y = helpers.lay_out(helpers.normal(rng, (case.image[0], case.weight[0], *case.outputs)), layout)
    weight = helpers.normal(rng, case.weight)
    return [x, y, weight, helpers.normal(rng, case.weight[:1]), helpers.normal(rng, case.image[1:2])]


def output_padding(case: Strided) -> tuple[int, ...]:
    """What makes the transposed convolution as large as the image."""
    sizes = zip(case.image[2:], case.outputs, case.padding, case.weight[2:], case.stride, strict=True)
    return tuple(size - ((out - 1) * step - 2 * pad + taps) for size, out, pad, taps, step in sizes)


def assert_rms_of_plain(found: np.ndarray, plain: np.ndarray, expected: np.ndarray) -> None:
    rms, of_plain = (np.sqrt(np.square(y - expected).mean()) for y in (found, plain))
    assert rms <= 4 * of_plain


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


def weight_gradient(case: Strided, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return ops.conv2d_backward(y, x, weight, output_mask=(False, True, False), **case.steps)[1]


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
    x, y, weight, _, _ = strided_arrays(case, layout, rng)
    wide = {**case.steps, "output_padding": output_padding(case)}
    ahead = ops.conv2d_backward(y, x, weight, **case.steps)
    # Of the transposed convolution x is the result, whose pixels lie under overlapping windows.
    back = ops.conv_transpose2d_backward(x, y, weight, **wide)
    for sums, image in ((ahead[2], y), (back[2], x)):
        exact = image.sum((0, 2, 3), dtype=np.float64)
        np.testing.assert_allclose(sums, exact, rtol=1e-6, atol=1e-6 * abs(image).sum((0, 2, 3)).max())
    np.testing.assert_array_equal(back[1], weight_gradient(case, x, y, weight))


@pytest.mark.parametrize("activation", ["relu", "silu"])
@strided
def test_strided_residual_and_activation_are_those_afterwards(case, activation, layout, rng):
    x, y, weight, bias, bias_x = strided_arrays(case, layout, rng)
    then = getattr(ops, activation)
    fused = ops.conv2d(x, weight, bias, residual=y, activation=activation, **case.steps)
    afterwards = then(ops.conv2d(x, weight, bias, **case.steps) + y)
    assert abs(fused - afterwards).max() <= 1e-6 * abs(afterwards).max()
    wide = {**case.steps, "output_padding": output_padding(case)}
    fused = ops.conv_transpose2d(y, weight, bias_x, activation=activation, **wide)
    afterwards = then(ops.conv_transpose2d(y, weight, bias_x, **wide))
    assert abs(fused - afterwards).max() <= 1e-6 * abs(afterwards).max()


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@strided
def test_strided_results_have_the_same_bits_for_any_number_of_threads_and_layout(case, threads, isa, rng):
    x, y, weight, bias, bias_x = strided_arrays(case, "NCHW", rng)
    wide = {**case.steps, "output_padding": output_padding(case)}

    def run(x, y):
        return (
            ops.conv2d(x, weight, bias, **case.steps),
            ops.conv_transpose2d(y, weight, bias_x, **wide),
            *ops.conv2d_backward(y, x, weight, **case.steps)[1:],
            *ops.conv_transpose2d_backward(x, y, weight, **wide)[1:],
        )

    many = run(x, y)
    for last, first in zip(run(helpers.lay_out(x, "NHWC"), helpers.lay_out(y, "NHWC")), many, strict=True):
        np.testing.assert_array_equal(last, first)
    neocog.set_num_threads(1)
    for one, first in zip(run(x, y), many, strict=True):
        assert one.tobytes() == first.tobytes()
