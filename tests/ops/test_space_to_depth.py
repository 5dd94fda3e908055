"""Long strides as Winograd's convolution of stride 1: what a stride steps over are the channels of a pixel."""

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
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node
from winograd_cases import TRANSFORMS


class Long(NamedTuple):
    image: tuple[int, int, int, int]  # (N, C, H, W): x, or y of the transposed convolution
    weight: tuple[int, int, int, int]  # (O, C, R, S)
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    @property
    def taps(self) -> tuple[int, int]:
        """Of the kernel of stride 1."""
        high, wide = (-(-taps // step) for taps, step in zip(self.weight[2:], self.stride, strict=True))
        return high, wide

    @property
    def outputs(self) -> list[int]:
        axes = zip(self.image[2:], self.padding, self.weight[2:], self.stride, strict=True)
        return [(size + 2 * pad - taps) // step + 1 for size, pad, taps, step in axes]

    @property
    def steps(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding}

    @property
    def transposed(self) -> dict[str, Any]:
        """What makes the transposed convolution as large as the image."""
        axes = zip(self.image[2:], self.outputs, self.padding, self.weight[2:], self.stride, strict=True)
        missing = tuple(size - ((out - 1) * step - 2 * pad + taps) for size, out, pad, taps, step in axes)
        return {**self.steps, "output_padding": missing}

    @property
    def kernel(self) -> str:
        full = [reference_winograd.full_tile(taps) for taps in self.taps]
        sizes = [f"{h}x{w}" if min(self.taps) > 1 else f"{h * w}" for h, w in (full, self.taps)]
        return f"Winograd F({sizes[0]}, {sizes[1]}), {math.prod(self.stride)} phases"


CASES = {
    "nine_taps_of_four": Long((2, 3, 161, 163), (50, 3, 9, 9), (4, 4), (4, 4)),
    "eleven_taps_of_four": Long((2, 3, 75, 71), (64, 3, 11, 11), (4, 4), (2, 3)),
    "whole_taps_without_padding": Long((8, 4, 84, 84), (48, 4, 8, 8), (4, 4)),
    "pixels_that_no_window_meets": Long((4, 5, 95, 94), (48, 5, 6, 6), (3, 3)),
    "two_strides": Long((2, 4, 80, 131), (33, 4, 9, 15), (3, 5), (1, 7)),
    "padding_of_more_than_a_stride": Long((2, 3, 66, 62), (64, 3, 11, 11), (4, 4), (9, 10)),
    "four_taps_each": Long((1, 2, 112, 115), (48, 2, 16, 16), (4, 4), (1, 1)),
    "five_taps_each": Long((4, 2, 125, 128), (48, 2, 20, 19), (4, 4), (2, 0)),
    "one_dimension": Long((2, 64, 1, 4099), (66, 64, 1, 12), (1, 4), (0, 5)),
    "one_long_row": Long((1, 64, 1, 6100), (70, 64, 1, 9), (1, 3), (0, 4)),
}
cases = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


def arrays(case: Long, layout: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Both sides of the convolution, the weight, and a bias for either side."""
    x = helpers.lay_out(helpers.normal(rng, case.image), layout)
    y = helpers.lay_out(helpers.normal(rng, (case.image[0], case.weight[0], *case.outputs)), layout)
    weight = helpers.normal(rng, case.weight)
    return [x, y, weight, helpers.normal(rng, case.weight[:1]), helpers.normal(rng, case.image[1:2])]


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


def blocks(case: Long, x: np.ndarray) -> np.ndarray:
    """|x| as the kernel of stride 1 meets it."""
    sizes = [out + taps - 1 for out, taps in zip(case.outputs, case.taps, strict=True)]
    return folded(padded(abs(x), case.padding), case.stride, sizes)


def kernels(case: Long, weight: np.ndarray) -> np.ndarray:
    return folded(weight, case.stride, list(case.taps))


def transposed_magnitude(case: Long, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
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


def assert_rms_of_plain(found: np.ndarray, plain: np.ndarray, expected: np.ndarray) -> None:
    rms, of_plain = (np.sqrt(np.square(y - expected).mean()) for y in (found, plain))
    assert rms <= 4 * of_plain


@cases
def test_forward_is_within_the_bound_of_the_method(case, isa, layout, rng):
    x, _, weight, bias, _ = arrays(case, layout, rng)
    last, pads = x.strides[1] == x.itemsize, tuple(np.repeat(case.padding, 2))
    assert _core.conv_kernel(x.shape, weight, case.stride, pads, (1, 1), 1, last) == case.kernel
    y = ops.conv2d(x, weight, bias, **case.steps)
    expected = reference.conv2d(x, weight, bias, **case.steps)
    magnitude = reference_winograd.magnitude(blocks(case, x), kernels(case, weight), (0, 0, 0, 0))
    channels = case.weight[1] * math.prod(case.stride)
    helpers.assert_within(y, expected, magnitude + abs(bias)[:, None, None], channels + TRANSFORMS)
    assert_rms_of_plain(y, ops.conv2d(x, weight, bias, algorithm="direct", **case.steps), expected)
    helpers.assert_same_layout(y, x)


@cases
def test_transposed_is_within_the_bound_of_the_method(case, isa, layout, rng):
    _, y, weight, _, bias = arrays(case, layout, rng)
    x = ops.conv_transpose2d(y, weight, bias, **case.transposed)
    assert x.shape == case.image
    with neocog.strict():
        plain = ops.conv_transpose2d(y, weight, bias, **case.transposed)
    assert x.tobytes() != plain.tobytes(), "takes another method"
    expected = reference.conv_transpose2d(y, weight, bias, **case.transposed)
    magnitude = transposed_magnitude(case, y, weight)
    helpers.assert_within(x, expected, magnitude + abs(bias)[:, None, None], case.weight[0] + TRANSFORMS)
    assert_rms_of_plain(x, plain, expected)
    helpers.assert_same_layout(x, y)
    grad_x, _, _ = ops.conv2d_backward(y, x, weight, output_mask=(True, False, False), **case.steps)
    helpers.assert_within(grad_x, expected - bias[:, None, None], magnitude, case.weight[0] + TRANSFORMS)


def weight_gradient(case: Long, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return ops.conv2d_backward(y, x, weight, output_mask=(False, True, False), **case.steps)[1]


@cases
def test_weight_gradient_is_within_the_bound_of_the_method(case, isa, layout, rng):
    x, y, weight, _, _ = arrays(case, layout, rng)
    gradient = weight_gradient(case, x, y, weight)
    with neocog.strict():
        plain = weight_gradient(case, x, y, weight)
    assert gradient.tobytes() != plain.tobytes(), "takes another method"
    _, expected, _ = reference.conv2d_backward(y, x, weight, **case.steps)
    inner = reference_winograd.weight_magnitude(blocks(case, x), abs(y), (0, 0, 0, 0), 1, case.taps)
    magnitude = unfolded(inner, case.weight[1], case.stride)[:, :, : case.weight[2], : case.weight[3]]
    tiles = len(y) * math.prod(
        len(reference_winograd.tiles(size, taps)) for size, taps in zip(case.outputs, case.taps, strict=True)
    )
    helpers.assert_within(gradient, expected, magnitude, tiles + TRANSFORMS)
    assert np.sqrt(np.square(gradient - expected).mean()) <= 2e-6 * np.sqrt(np.square(expected).mean())


@cases
def test_gradients_come_with_the_sums_of_the_bias(case, isa, layout, rng):
    x, y, weight, _, _ = arrays(case, layout, rng)
    ahead = ops.conv2d_backward(y, x, weight, **case.steps)
    back = ops.conv_transpose2d_backward(x, y, weight, **case.transposed)  # x is the result
    for sums, image in ((ahead[2], y), (back[2], x)):
        exact = image.sum((0, 2, 3), dtype=np.float64)
        np.testing.assert_allclose(sums, exact, rtol=1e-6, atol=1e-6 * abs(image).sum((0, 2, 3)).max())
    np.testing.assert_array_equal(back[0], ops.conv2d(x, weight, **case.steps))
    np.testing.assert_array_equal(back[1], weight_gradient(case, x, y, weight))


@pytest.mark.parametrize("activation", ["relu", "silu"])
@cases
def test_residual_and_activation_are_those_afterwards(case, activation, layout, rng):
    x, y, weight, bias, bias_x = arrays(case, layout, rng)
    then = getattr(ops, activation)
    fused = ops.conv2d(x, weight, bias, residual=y, activation=activation, **case.steps)
    afterwards = then(ops.conv2d(x, weight, bias, **case.steps) + y)
    assert abs(fused - afterwards).max() <= 1e-6 * abs(afterwards).max()
    fused = ops.conv_transpose2d(y, weight, bias_x, activation=activation, **case.transposed)
    afterwards = then(ops.conv_transpose2d(y, weight, bias_x, **case.transposed))
    assert abs(fused - afterwards).max() <= 1e-6 * abs(afterwards).max()


def compiled(case: Long, op: str, given: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> CompiledModel:
    pads = [[pad, pad] for pad in case.padding]
    window = {"stride": list(case.stride), "padding": pads, "dilation": [1, 1]}
    if op == "conv_transpose":
        window["output_padding"] = list(case.transposed["output_padding"])
    node = Node(op, ("x", "w", "b"), ("y",), window)
    return CompiledModel(Graph([Input("x", given.shape)], ["y"], [node], {"w": weight, "b": bias}))


@cases
def test_kept_weights_give_the_same_results(case, layout, rng):
    """Bits differ where few tiles are transformed as they are used, unless they are kept."""
    x, y, weight, bias, bias_x = arrays(case, layout, rng)
    forward = ops.conv2d(x, weight, bias, **case.steps)
    transposed = ops.conv_transpose2d(y, weight, bias_x, **case.transposed)
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
    x, y, weight, bias, bias_x = arrays(case, "NCHW", rng)

    def run(x, y):
        return (
            ops.conv2d(x, weight, bias, **case.steps),
            ops.conv_transpose2d(y, weight, bias_x, **case.transposed),
            *ops.conv2d_backward(y, x, weight, **case.steps)[1:],
            *ops.conv_transpose2d_backward(x, y, weight, **case.transposed)[1:],
        )

    many = run(x, y)
    for last, first in zip(run(helpers.lay_out(x, "NHWC"), helpers.lay_out(y, "NHWC")), many, strict=True):
        np.testing.assert_array_equal(last, first)
    neocog.set_num_threads(1)
    for one, first in zip(run(x, y), many, strict=True):
        assert one.tobytes() == first.tobytes()


@pytest.mark.parametrize(
    "case",
    [
        Long((2, 3, 161, 163), (50, 3, 5, 5), (4, 4), (2, 2)),  # too many zeros
        Long((1, 3, 64, 64), (64, 3, 9, 9), (4, 4), (4, 4)),  # too few pixels
        Long((2, 3, 161, 163), (50, 3, 27, 27), (4, 4), (4, 4)),  # too many taps
        Long((8, 1, 84, 84), (48, 1, 6, 6), (3, 3)),  # too few channels
    ],
)
def test_what_gains_nothing_is_summed_directly(case, rng):
    x, _, weight, _, _ = arrays(case, "NHWC", rng)
    pads = tuple(np.repeat(case.padding, 2))
    assert not _core.conv_kernel(x.shape, weight, case.stride, pads, (1, 1), 1, True).startswith("Winograd")
