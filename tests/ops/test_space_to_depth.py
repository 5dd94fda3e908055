"""Long strides as Winograd's convolution of stride 1: what a stride steps over are the channels of a pixel."""

from __future__ import annotations

import math

import helpers
import neocog
import numpy as np
import pytest
import reference
import reference_winograd
from neocog import _core, ops
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node
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


def kernel_name(case: Strided) -> str:
    full = [reference_winograd.full_tile(taps) for taps in case.taps]
    sizes = [f"{h}x{w}" if min(case.taps) > 1 else f"{h * w}" for h, w in (full, case.taps)]
    return f"Winograd F({sizes[0]}, {sizes[1]}), {math.prod(case.stride)} phases"


CASES = {
    "nine_taps_of_four": Strided((2, 3, 161, 163), (50, 3, 9, 9), (4, 4), every=(4, 4)),
    "eleven_taps_of_four": Strided((2, 3, 75, 71), (64, 3, 11, 11), (2, 3), every=(4, 4)),
    "whole_taps_without_padding": Strided((8, 4, 84, 84), (48, 4, 8, 8), (0, 0), every=(4, 4)),
    "pixels_that_no_window_meets": Strided((4, 5, 95, 94), (48, 5, 6, 6), (0, 0), every=(3, 3)),
    "two_strides": Strided((2, 4, 80, 131), (33, 4, 9, 15), (1, 7), every=(3, 5)),
    "padding_of_more_than_a_stride": Strided((2, 3, 66, 62), (64, 3, 11, 11), (9, 10), every=(4, 4)),
    "four_taps_each": Strided((1, 2, 112, 115), (48, 2, 16, 16), (1, 1), every=(4, 4)),
    "five_taps_each": Strided((4, 2, 125, 128), (48, 2, 20, 19), (2, 0), every=(4, 4)),
    "one_dimension": Strided((2, 64, 1, 4099), (66, 64, 1, 12), (0, 5), every=(1, 4)),
    "one_long_row": Strided((1, 64, 1, 6100), (70, 64, 1, 9), (0, 4), every=(1, 3)),
}
cases = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


def folded(x: np.ndarray, stride: tuple[int, int], sizes: list[int]) -> np.ndarray:
    """(N, C, H, W) as (N, C * stride, *sizes), with zeros behind x."""
    room = np.zeros((*x.shape[:2], sizes[0] * stride[0], sizes[1] * stride[1]))
    rows, columns = (min(a, b) for a, b in zip(x.shape[2:], room.shape[2:], strict=True))
    room[:, :, :rows, :columns] = x[:, :, :rows, :columns]
    split = room.reshape(*x.shape[:2], sizes[0], stride[0], sizes[1], stride[1])
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(len(x), -1, *sizes)


def unfolded(x: np.ndarray, channels: int, stride: tuple[int, int]) -> np.ndarray:
    split = x.reshape(len(x), channels, *stride, *x.shape[2:]).transpose(0, 1, 4, 2, 5, 3)
    return split.reshape(len(x), channels, x.shape[2] * stride[0], x.shape[3] * stride[1])


def padded(x: np.ndarray, padding: tuple[int, int]) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, 0), *((pad, pad) for pad in padding)])


def blocks(case: Strided, x: np.ndarray) -> np.ndarray:
    """|x| as the kernel of stride 1 meets it."""
    sizes = [out + taps - 1 for out, taps in zip(case.outputs, case.taps, strict=True)]
    return folded(padded(abs(x), case.padding), case.stride, sizes)


def kernels(case: Strided, weight: np.ndarray) -> np.ndarray:
    return folded(weight, case.stride, list(case.taps))


def transposed_magnitude(case: Strided, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    turned = kernels(case, weight)[:, :, ::-1, ::-1].swapaxes(0, 1)
    margin = [taps - 1 for taps in case.taps]
    # As far as the image reaches, beyond the last window too.
    axes = zip(case.image[2:], case.padding, case.stride, strict=True)
    sizes = [-(-(size + pad) // step) for size, pad, step in axes]
    sides = [max(size + gap, out + 2 * gap) for size, gap, out in zip(sizes, margin, y.shape[2:], strict=True)]
    room = np.zeros((*y.shape[:2], *sides))
    room[:, :, margin[0] :, margin[1] :][:, :, : y.shape[2], : y.shape[3]] = abs(y)
    inner = reference_winograd.magnitude(room, turned, (0, 0, 0, 0))
    top, left = case.padding
    image = unfolded(inner, case.image[1], case.stride)[:, :, top:, left:]
    return image[:, :, : case.image[2], : case.image[3]]


@cases
def test_forward_is_within_the_bound_of_the_method(case, isa, layout, rng):
    x, _, weight, bias, _ = strided_arrays(case, layout, rng)
    last, pads = x.strides[1] == x.itemsize, tuple(np.repeat(case.padding, 2))
    assert _core.conv_kernel(x.shape, weight, case.stride, pads, (1, 1), 1, last) == kernel_name(case)
    y = ops.conv2d(x, weight, bias, **case.steps)
    expected = reference.conv2d(x, weight, bias, **case.steps)
    magnitude = reference_winograd.magnitude(blocks(case, x), kernels(case, weight), (0, 0, 0, 0))
    channels = case.weight[1] * math.prod(case.stride)
    helpers.assert_within(y, expected, magnitude + abs(bias)[:, None, None], channels + TRANSFORMS)
    assert_rms_of_plain(y, ops.conv2d(x, weight, bias, algorithm="direct", **case.steps), expected)
    helpers.assert_same_layout(y, x)


@cases
def test_transposed_is_within_the_bound_of_the_method(case, isa, layout, rng):
    _, y, weight, _, bias = strided_arrays(case, layout, rng)
    x = ops.conv_transpose2d(y, weight, bias, **case.steps, output_padding=output_padding(case))
    assert x.shape == case.image
    with neocog.strict():
        plain = ops.conv_transpose2d(y, weight, bias, **case.steps, output_padding=output_padding(case))
    assert x.tobytes() != plain.tobytes(), "takes another method"
    expected = reference.conv_transpose2d(y, weight, bias, **case.steps, output_padding=output_padding(case))
    magnitude = transposed_magnitude(case, y, weight)
    helpers.assert_within(x, expected, magnitude + abs(bias)[:, None, None], case.weight[0] + TRANSFORMS)
    assert_rms_of_plain(x, plain, expected)
    helpers.assert_same_layout(x, y)
    grad_x, _, _ = ops.conv2d_backward(y, x, weight, output_mask=(True, False, False), **case.steps)
    helpers.assert_within(grad_x, expected - bias[:, None, None], magnitude, case.weight[0] + TRANSFORMS)


@cases
def test_weight_gradient_is_within_the_bound_of_the_method(case, isa, layout, rng):
    x, y, weight, _, _ = strided_arrays(case, layout, rng)
    gradient = weight_gradient(case, x, y, weight)
    with neocog.strict():
        plain = weight_gradient(case, x, y, weight)
    assert gradient.tobytes() != plain.tobytes(), "takes another method"
    _, expected, _ = reference.conv2d_backward(y, x, weight, **case.steps)
    inner = reference_winograd.weight_magnitude(blocks(case, x), abs(y), (0, 0, 0, 0), 1, tuple(case.taps))
    magnitude = unfolded(inner, case.weight[1], case.stride)[:, :, : case.weight[2], : case.weight[3]]
    tiles = len(y) * math.prod(
        len(reference_winograd.tiles(size, taps)) for size, taps in zip(case.outputs, case.taps, strict=True)
    )
    helpers.assert_within(gradient, expected, magnitude, tiles + TRANSFORMS)
    assert np.sqrt(np.square(gradient - expected).mean()) <= 2e-6 * np.sqrt(np.square(expected).mean())


@cases
def test_gradients_come_with_the_sums_of_the_bias(case, isa, layout, rng):
    check_sums_of_the_bias(case, layout, rng)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@cases
def test_residual_and_activation_are_those_afterwards(case, activation, layout, rng):
    check_residual_and_activation(case, activation, layout, rng)


def compiled(case: Strided, op: str, given: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> CompiledModel:
    pads = [[pad, pad] for pad in case.padding]
    window = {"stride": list(case.stride), "padding": pads, "dilation": [1, 1]}
    if op == "conv_transpose":
        window["output_padding"] = list(output_padding(case))
    node = Node(op, ("x", "w", "b"), ("y",), window)
    return CompiledModel(Graph([Input("x", given.shape)], ["y"], [node], {"w": weight, "b": bias}))


@cases
def test_kept_weights_give_the_same_results(case, layout, rng):
    """Bits differ where few tiles are transformed as they are used, unless they are kept."""
    x, y, weight, bias, bias_x = strided_arrays(case, layout, rng)
    forward = ops.conv2d(x, weight, bias, **case.steps)
    transposed = ops.conv_transpose2d(y, weight, bias_x, **case.steps, output_padding=output_padding(case))
    for op, given, sums, expected in (("conv", x, bias, forward), ("conv_transpose", y, bias_x, transposed)):
        model = compiled(case, op, given, weight, sums)
        model.prepare(given)
        kept = model._weights.kept_bytes
        assert kept > 4 * weight.size
        found = model(given)
        assert abs(found - expected).max() <= 2e-6 * abs(expected).max()
        np.testing.assert_array_equal(model(given), found)
        assert model._weights.kept_bytes == kept


def test_kept_weights_of_one_array_with_two_strides(rng):
    """Kernels of as many taps and channels, which are not the same ones."""
    x, weight = helpers.normal(rng, (2, 1, 180, 180)), helpers.normal(rng, (64, 1, 15, 15))
    nodes = [
        Node("conv", ("x", "w"), (name,), {"stride": list(stride), "padding": [[0, 0], [0, 0]], "dilation": [1, 1]})
        for name, stride in (("a", (5, 6)), ("b", (6, 5)))
    ]
    graph = Graph([Input("x", x.shape)], ["a", "b"], nodes, {"w": weight})
    for found, stride in zip(CompiledModel(graph).run(x), ((5, 6), (6, 5)), strict=True):
        expected = ops.conv2d(x, weight, stride=stride)
        assert abs(found - expected).max() <= 2e-6 * abs(expected).max()


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@cases
def test_results_have_the_same_bits_for_any_number_of_threads_and_layout(case, threads, isa, rng):
    check_threads_and_layouts(case, rng)


@pytest.mark.parametrize(
    "case",
    [
        Strided((2, 3, 161, 163), (50, 3, 5, 5), (2, 2), every=(4, 4)),  # too many zeros
        Strided((1, 3, 64, 64), (64, 3, 9, 9), (4, 4), every=(4, 4)),  # too few pixels
        Strided((2, 3, 161, 163), (50, 3, 27, 27), (4, 4), every=(4, 4)),  # too many taps
        Strided((8, 1, 84, 84), (48, 1, 6, 6), (0, 0), every=(3, 3)),  # too few channels
    ],
)
def test_what_gains_nothing_is_summed_directly(case, rng):
    x, _, weight, _, _ = strided_arrays(case, "NHWC", rng)
    pads = tuple(np.repeat(case.padding, 2))
    assert not _core.conv_kernel(x.shape, weight, case.stride, pads, (1, 1), 1, True).startswith("Winograd")
