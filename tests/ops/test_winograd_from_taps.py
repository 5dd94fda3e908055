"""3x3 kernels that are transformed at each use: late layers of a network with one image, and weights of many channels
that are used once."""

from __future__ import annotations

import helpers
import neocog
import numpy as np
import pytest
import reference
import reference_winograd
from neocog import _core, ops
from neocog.engine.compiled import CompiledModel
from neocog.engine.graph import Graph, Input, Node
from winograd_cases import TRANSFORMS, Case, arrays, kernel_of, some_grad_y, turned

CASES = {
    "7x7": Case((1, 256, 7, 7), (256, 256, 3, 3)),
    "channels_that_fill_no_vectors": Case((1, 270, 8, 5), (259, 270, 3, 3)),
    "channels_that_fill_no_runs": Case((1, 67, 6, 6), (65, 67, 3, 3)),
    "many_channels": Case((1, 512, 6, 8), (272, 512, 3, 3)),
    "groups": Case((1, 512, 7, 6), (512, 256, 3, 3), groups=2),
    "four_images": Case((4, 256, 4, 3), (256, 256, 3, 3)),
    "a_row_of_tiles": Case((1, 256, 4, 15), (260, 256, 3, 3)),
    "twice_as_many_tiles": Case((2, 264, 7, 7), (256, 264, 3, 3)),
    "eight_images": Case((8, 256, 3, 4), (256, 256, 3, 3)),
    "no_padding": Case((1, 256, 10, 9), (256, 256, 3, 3), (0, 0, 0, 0)),
    "uneven_padding": Case((1, 256, 5, 6), (256, 256, 3, 3), (0, 2, 4, 0)),
    "most_tiles": Case((1, 80, 16, 16), (64, 80, 3, 3)),
    "images_whose_last_tiles_are_small": Case((2, 72, 10, 7), (80, 72, 3, 3)),
    "small_last_rows": Case((2, 64, 9, 8), (64, 64, 3, 3)),
    "small_last_columns": Case((2, 64, 8, 10), (64, 64, 3, 3)),
    "more_tiles_for_many_channels": Case((20, 512, 2, 3), (512, 512, 3, 3)),
}
# 48 tiles and more, with which kernels are transformed at each use where they are used once.
WIDE = {
    "fewest": Case((3, 160, 16, 14), (160, 160, 3, 3)),
    "channels_that_fill_no_vectors_or_runs": Case((4, 171, 13, 14), (203, 171, 3, 3)),
    "blocks_of_images": Case((20, 160, 11, 9), (176, 160, 3, 3)),
    "blocks_that_end_inside_images": Case((1, 160, 58, 45), (176, 160, 3, 3)),
    "groups": Case((4, 320, 13, 13), (352, 320 // 2, 3, 3), groups=2),
    "widest_rows": Case((1, 160, 3, 512), (160, 160, 3, 3)),
    "one_panel_for_each_thread": Case((4, 416, 14, 15), (64, 416, 3, 3)),
    "dilated": Case((2, 160, 27, 30), (160, 160, 3, 3), (2, 2, 2, 2), dilation=(2, 2)),
}
wide = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in WIDE.items()])
named = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


def bound(
    x: np.ndarray, weight: np.ndarray, pads: tuple[int, int, int, int], groups: int, run: int = 16
) -> tuple[np.ndarray, int]:
    """The magnitude and the terms of the documented bound: sums of a run of channels, their sum, rounded kernels."""
    channels = weight.shape[1]
    terms = min(run, channels) + -(-channels // run) + TRANSFORMS
    of_sums, of_kernels = (reference_winograd.magnitude(x, weight, pads, groups, rounded=r) for r in (False, True))
    return of_sums + 4 / terms * of_kernels, terms


@named
def test_forward_is_within_the_documented_bound(case, isa, layout, rng):
    x, weight, bias = arrays(case, layout, rng)
    assert kernel_of(case, x, weight) == case.kernel
    y = ops.conv2d(x, weight, bias, **case.steps)
    expected = reference.conv2d(x, weight, bias, **case.steps)
    magnitude, terms = bound(x, weight, case.pads, case.groups)
    helpers.assert_within(y, expected, magnitude + abs(bias)[:, None, None], terms)
    helpers.assert_same_layout(y, x)
    with neocog.strict():
        assert ops.conv2d(x, weight, bias, **case.steps).tobytes() != y.tobytes(), "takes another method"


@named
def test_input_gradient_is_within_the_documented_bound(case, isa, layout, rng):
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    grad_x, _, _ = ops.conv2d_backward(grad_y, x, weight, output_mask=(True, False, False), **case.steps)
    expected, _, _ = reference.conv2d_backward(grad_y, x, weight, **case.steps)
    helpers.assert_within(grad_x, expected, *bound(grad_y, *turned(case, weight), case.groups))
    helpers.assert_same_layout(grad_x, x)


@wide
def test_wide_ones_are_within_the_documented_bound(case, isa, layout, rng):
    run = 64 if isa == "avx512" else 16
    x, weight, bias = arrays(case, layout, rng)
    assert kernel_of(case, x, weight) == case.kernel
    y = ops.conv2d(x, weight, bias, **case.steps)
    expected = reference.conv2d(x, weight, bias, **case.steps)
    if case.dilation == (1, 1):
        magnitude, terms = bound(x, weight, case.pads, case.groups, run)
        helpers.assert_within(y, expected, magnitude + abs(bias)[:, None, None], terms)
    else:  # every second row and column is an image of its own
        plain = Case(case.x, case.weight)
        for i, j in np.ndindex(case.dilation):
            part = np.ascontiguousarray(x[:, :, i :: case.dilation[0], j :: case.dilation[1]])
            of_part, of_y = (array[:, :, i :: case.dilation[0], j :: case.dilation[1]] for array in (expected, y))
            magnitude, terms = bound(part, weight, plain.pads, 1, run)
            helpers.assert_within(of_y, of_part, magnitude + abs(bias)[:, None, None], terms)
    helpers.assert_same_layout(y, x)


@wide
def test_wide_ones_have_the_same_bits_for_any_number_of_threads(case, layout, threads, rng):
    x, weight, bias = arrays(case, layout, rng)
    y = ops.conv2d(x, weight, bias, activation="relu", **case.steps)
    for count in (1, 3, 8):
        neocog.set_num_threads(count)
        np.testing.assert_array_equal(ops.conv2d(x, weight, bias, activation="relu", **case.steps), y)


def errors_beside_direct(case: Case, positive: bool, rng: np.random.Generator) -> tuple[float, float, float]:
    """RMS over that of the plain sum; the largest error and that of the plain sum, as parts of the largest value."""
    x, weight, _ = arrays(case, "NCHW", rng)
    x = np.maximum(x, 0) if positive else x
    expected = reference.conv2d(x, weight, **case.steps)
    errors = [ops.conv2d(x, weight, algorithm=name, **case.steps) - expected for name in ("auto", "direct")]
    auto, direct = (np.sqrt((error**2).mean()) for error in errors)
    largest, of_direct = (abs(error).max() / abs(expected).max() for error in errors)
    return auto / direct, largest, of_direct


positive_or_not = pytest.mark.parametrize("positive", [False, True], ids=["normal", "after_relu"])


@positive_or_not
@pytest.mark.parametrize("shape", [(4, 256, 14, 14), (8, 160, 14, 14), (12, 512, 7, 7), (2, 256, 28, 28)])
def test_errors_of_wide_ones_stay_near_those_of_the_plain_sum(shape, positive, rng, without_tiles):
    """RMS at most 2.5 times direct's, the largest error at most 2e-6 of the largest value."""
    ratio, largest, _ = errors_beside_direct(Case(shape, (shape[1], shape[1], 3, 3)), positive, rng)
    assert ratio <= 2.5
    assert largest <= 2e-6


@positive_or_not
@pytest.mark.parametrize("channels", [64, 256, 512, 1024])
def test_errors_stay_near_those_of_the_plain_sum(channels, positive, rng, without_tiles):
    """RMS at most 2.5 times direct's, the largest error at most 2e-6 of the largest value, or direct's."""
    ratio, largest, of_direct = errors_beside_direct(Case((1, channels, 7, 7), (256, channels, 3, 3)), positive, rng)
    assert ratio <= 2.5
    assert largest <= max(2e-6, of_direct)


@named
def test_the_same_bits_for_any_number_of_threads_and_for_kept_weights(case, layout, threads, rng):
    x, weight, bias = arrays(case, layout, rng)
    results = [ops.conv2d(x, weight, bias, activation="relu", **case.steps)]
    neocog.set_num_threads(1)
    results.append(ops.conv2d(x, weight, bias, activation="relu", **case.steps))
    pads = [list(case.pads[:2]), list(case.pads[2:])]
    window = {"stride": [1, 1], "padding": pads, "dilation": [1, 1], "groups": case.groups, "activation": "relu"}
    graph = Graph(
        [Input("x", x.shape)], ["y"], [Node("conv", ("x", "w", "b"), ("y",), window)], {"w": weight, "b": bias}
    )
    model = CompiledModel(graph)
    results += [model(x), model(x)]
    for y in results:
        np.testing.assert_array_equal(y, results[0])


def test_residuals(layout, rng):
    case = CASES["twice_as_many_tiles"]
    x, weight, bias = arrays(case, layout, rng)
    y = ops.conv2d(x, weight, bias, **case.steps)
    window = {"stride": [1, 1], "padding": [[1, 1], [1, 1]], "dilation": [1, 1], "activation": "relu"}
    node = Node("conv", ("x", "w", "b", "r"), ("y",), window)
    graph = Graph([Input("x", x.shape), Input("r", y.shape)], ["y"], [node], {"w": weight, "b": bias})
    residual = helpers.lay_out(helpers.normal(rng, y.shape), layout)
    np.testing.assert_array_equal(CompiledModel(graph)(x, residual), np.maximum(y + residual, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_image(bad, layout, rng):
    x, weight = helpers.normal(rng, (8, 256, 4, 4)), helpers.normal(rng, (256, 256, 3, 3))
    clean = ops.conv2d(x, weight, padding=1)
    x[1, 3, 2, 2] = bad
    y = ops.conv2d(helpers.lay_out(x, layout), weight, padding=1)
    assert not np.isfinite(y[1]).any()
    np.testing.assert_array_equal(y[2:], clean[2:])


@pytest.mark.parametrize("shape", [(1, 256, 4, 4), (2, 512, 4, 4), (1, 7, 9, 9), (3, 64, 5, 2)])
def test_fewer_pixels_and_channels_are_summed_directly(shape, isa):
    weight = np.zeros((256, shape[1], 3, 3), np.float32)
    assert _core.conv_kernel(shape, weight, (1, 1), (1,) * 4, (1, 1), 1, True).startswith("direct")
