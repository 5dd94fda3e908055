"""Winograd's convolution, which conv2d, its gradients and conv_transpose2d take for float32 kernels of 2 to 5 taps:
held to its own documented bounds against the float64 oracle, on every instruction set this CPU runs."""

from __future__ import annotations

import math
import threading

import convolution_checks as checks
import helpers
import neocog
import numpy as np
import pytest
import reference
import reference_winograd
from neocog import _core, ops
from winograd_cases import (
    TRANSFORMS,
    Case,
    arrays,
    check_weight_gradient,
    check_weight_gradient_errs_little,
    kernel_of,
    some_grad_y,
    turned,
    weight_gradient,
)

CASES = {
    "whole_tiles": Case((2, 16, 16, 20), (16, 16, 3, 3)),
    "last_tiles_of_three_and_two": Case((2, 17, 15, 14), (19, 17, 3, 3)),
    "last_tiles_of_one_row_and_column": Case((4, 24, 13, 9), (24, 24, 3, 3)),
    "tiles_of_two_by_three_only": Case((17, 64, 2, 3), (66, 64, 3, 3)),
    "one_block_of_several_images": Case((5, 41, 7, 7), (70, 41, 3, 3)),
    "many_blocks": Case((3, 64, 28, 30), (80, 64, 3, 3)),
    "blocks_that_end_inside_an_image": Case((4, 130, 14, 14), (65, 130, 3, 3)),
    "wider_than_a_block": Case((1, 96, 6, 410), (16, 96, 3, 3)),
    "groups": Case((3, 48, 12, 13), (51, 16, 3, 3), groups=3),
    "groups_in_one_block": Case((2, 82, 8, 9), (84, 41, 3, 3), groups=2),
    "no_padding": Case((3, 16, 18, 12), (24, 16, 3, 3), (0, 0, 0, 0)),
    "uneven_padding": Case((3, 16, 11, 12), (16, 16, 3, 3), (0, 2, 5, 1)),
    "padding_wider_than_a_tile": Case((2, 16, 5, 6), (16, 16, 3, 3), (7, 9, 8, 6)),
    "one_dimension": Case((2, 48, 1, 130), (50, 48, 1, 3), (0, 0, 1, 1)),
    "one_dimension_in_blocks": Case((1, 128, 1, 1501), (65, 128, 1, 3), (0, 0, 1, 1)),
    "one_dimension_of_uneven_padding": Case((3, 49, 1, 90), (48, 49, 1, 3), (0, 0, 9, 0)),
    "one_dimension_of_five_taps": Case((2, 97, 1, 151), (100, 97, 1, 5), (0, 0, 2, 2)),
    "rows": Case((2, 48, 11, 14), (51, 48, 1, 3), (0, 0, 1, 1)),
    "columns": Case((2, 48, 14, 11), (51, 48, 3, 1), (1, 1, 0, 0)),
    "columns_of_five_taps": Case((1, 96, 16, 15), (96, 96, 5, 1), (2, 1, 0, 0)),
    "five_by_five": Case((1, 32, 14, 13), (33, 32, 5, 5), (2, 2, 2, 2)),
    "five_by_five_in_blocks_of_groups": Case((2, 68, 28, 27), (66, 34, 5, 5), (0, 4, 2, 2), groups=2),
    "three_by_five": Case((1, 32, 13, 14), (35, 32, 3, 5), (1, 1, 2, 2)),
    "five_by_three": Case((1, 33, 14, 15), (32, 33, 5, 3), (2, 2, 1, 1)),
    "two_by_two": Case((1, 32, 48, 48), (33, 32, 2, 2), (0, 0, 0, 0)),
    "four_by_four": Case((2, 32, 20, 19), (33, 32, 4, 4), (1, 2, 1, 2)),
    "four_by_four_in_one_block_of_groups": Case((1, 130, 15, 14), (128, 65, 4, 4), (0, 0, 2, 1), groups=2),
    "four_by_four_in_blocks": Case((2, 17, 41, 45), (20, 17, 4, 4), (2, 2, 2, 2)),
    "two_by_two_last_tiles_of_one_and_two": Case((2, 64, 37, 34), (66, 32, 2, 2), (1, 1, 0, 1), groups=2),
    "two_by_two_last_tiles_of_three": Case((3, 40, 29, 36), (32, 40, 2, 2), (1, 0, 0, 0)),
    "one_dimension_of_two_taps": Case((2, 64, 1, 4101), (70, 64, 1, 2), (0, 0, 1, 0)),
}
named = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


@pytest.mark.parametrize(("m", "taps"), [(2, 3), (3, 3), (4, 3), (2, 5), (1, 2), (2, 2), (4, 2), (1, 1)])
def test_the_oracles_matrices_give_the_correlation(m, taps, rng):
    a, g, b = reference_winograd.matrices(m, taps)
    d, w = rng.standard_normal(m + taps - 1), rng.standard_normal(taps)
    np.testing.assert_allclose(a @ ((g @ w) * (b @ d)), np.correlate(d, w), rtol=1e-13, atol=1e-14)


@named
def test_forward_is_within_the_documented_bound(case, isa, layout, rng):
    x, weight, bias = arrays(case, layout, rng)
    assert kernel_of(case, x, weight) == case.kernel
    y = ops.conv2d(x, weight, bias, **case.steps)
    expected = reference.conv2d(x, weight, bias, **case.steps)
    magnitude = reference_winograd.magnitude(x, weight, case.pads, case.groups) + abs(bias)[:, None, None]
    helpers.assert_within(y, expected, magnitude, case.weight[1] + TRANSFORMS)
    helpers.assert_same_layout(y, x)


@named
def test_input_gradient_is_within_the_documented_bound(case, isa, layout, rng):
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    grad_x, _, _ = ops.conv2d_backward(grad_y, x, weight, output_mask=(True, False, False), **case.steps)
    expected, _, _ = reference.conv2d_backward(grad_y, x, weight, **case.steps)
    magnitude = reference_winograd.magnitude(grad_y, *turned(case, weight), case.groups)
    helpers.assert_within(grad_x, expected, magnitude, weight.shape[0] // case.groups + TRANSFORMS)
    helpers.assert_same_layout(grad_x, x)


SUMMED = {
    "whole_tiles": Case((2, 24, 16, 20), (24, 24, 3, 3)),
    "tiles_that_reach_past_the_edges": Case((3, 25, 15, 13), (30, 25, 3, 3)),
    "many_passes": Case((1, 256, 66, 65), (200, 256, 3, 3)),
    "more_channels_than_a_block": Case((2, 130, 14, 14), (70, 130, 3, 3)),
    "many_parts": Case((9, 32, 37, 41), (56, 32, 3, 3)),
    "strips_narrower_than_the_image": Case((2, 40, 9, 401), (48, 40, 3, 3)),
    "groups": Case((2, 96, 12, 13), (99, 32, 3, 3), groups=3),
    "no_padding": Case((2, 24, 18, 16), (32, 24, 3, 3), (0, 0, 0, 0)),
    "uneven_padding": Case((1, 24, 21, 18), (24, 24, 3, 3), (0, 2, 5, 1)),
    "one_dimension": Case((2, 48, 1, 130), (50, 48, 1, 3), (0, 0, 1, 1)),
    "one_dimension_in_parts": Case((3, 64, 1, 1501), (65, 64, 1, 3), (0, 0, 1, 1)),
    "one_dimension_of_many_channels": Case((1, 300, 1, 230), (260, 300, 1, 3), (0, 0, 1, 1)),
    "one_dimension_of_five_taps": Case((2, 50, 1, 151), (48, 50, 1, 5), (0, 0, 2, 2)),
    "rows": Case((2, 48, 11, 14), (51, 48, 1, 3), (0, 0, 1, 1)),
    "columns": Case((2, 48, 14, 11), (51, 48, 3, 1), (1, 1, 0, 0)),
    "five_by_five": Case((1, 32, 14, 13), (33, 32, 5, 5), (2, 2, 2, 2)),
    "five_by_five_in_parts": Case((2, 34, 38, 47), (66, 34, 5, 5), (0, 4, 2, 2)),
    "three_by_five": Case((1, 32, 13, 14), (35, 32, 3, 5), (1, 1, 2, 2)),
    "two_by_two": Case((1, 200, 49, 47), (150, 200, 2, 2), (0, 0, 0, 0)),
    "four_by_four": Case((2, 70, 15, 14), (66, 70, 4, 4), (1, 2, 1, 2)),
    "four_by_four_in_parts": Case((3, 32, 32, 31), (40, 32, 4, 4), (2, 1, 2, 1)),
    "two_by_two_in_parts": Case((3, 34, 38, 35), (40, 34, 2, 2), (1, 0, 0, 1)),
    "one_dimension_of_two_taps": Case((2, 64, 1, 4101), (70, 64, 1, 2), (0, 0, 1, 0)),
}
summed = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in SUMMED.items()])


@summed
def test_weight_gradient_is_within_the_documented_bound(case, isa, layout, rng):
    check_weight_gradient(case, layout, rng)


@summed
def test_weight_gradient_errs_by_a_millionth_of_its_size(case, isa, rng):
    check_weight_gradient_errs_little(case, "NHWC", rng)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@summed
def test_weight_gradient_has_the_same_bits_for_any_number_of_threads(case, threads, isa, layout, rng):
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    many = weight_gradient(grad_y, x, weight, case).tobytes()
    neocog.set_num_threads(1)
    assert many == weight_gradient(grad_y, x, weight, case).tobytes()


# Stride one the other way round


def test_transposed_convolution_of_stride_one_takes_it_too(isa, layout, rng):
    x = helpers.lay_out(helpers.normal(rng, (5, 24, 9, 11)), layout)
    weight, bias = helpers.normal(rng, (24, 20, 3, 3)), helpers.normal(rng, (20,))
    y = ops.conv_transpose2d(x, weight, bias, padding=1)
    with neocog.strict():
        assert y.tobytes() != ops.conv_transpose2d(x, weight, bias, padding=1).tobytes()
    turned = weight.swapaxes(0, 1)[..., ::-1, ::-1]
    magnitude = reference_winograd.magnitude(x, turned, (1, 1, 1, 1)) + abs(bias)[:, None, None]
    helpers.assert_within(y, reference.conv_transpose2d(x, weight, bias, padding=1), magnitude, 24 + TRANSFORMS)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@named
def test_any_number_of_threads_gives_the_same_bits(case, threads, isa, layout, rng):
    x, weight, bias = arrays(case, layout, rng)
    y = ops.conv2d(x, weight, bias, **case.steps)
    grad_x, *_ = ops.conv2d_backward(y, x, weight, **case.steps)
    neocog.set_num_threads(1)
    assert y.tobytes() == ops.conv2d(x, weight, bias, **case.steps).tobytes()
    assert grad_x.tobytes() == ops.conv2d_backward(y, x, weight, **case.steps)[0].tobytes()


@named
def test_both_layouts_give_the_same_bits(case, isa, rng):
    x, weight, bias = arrays(case, "NCHW", rng)
    y = ops.conv2d(x, weight, bias, **case.steps)
    np.testing.assert_array_equal(ops.conv2d(helpers.lay_out(x, "NHWC"), weight, bias, **case.steps), y)


@pytest.mark.parametrize(
    "name", ["last_tiles_of_three_and_two", "one_block_of_several_images", "many_blocks", "groups"]
)
def test_activation_and_residual_are_those_afterwards(name, isa, layout, rng):
    case = CASES[name]
    x, weight, bias = arrays(case, layout, rng)
    size = math.prod(case.taps)
    terms = (case.weight[1] * size, case.weight[0] // case.groups * size, x.size)
    problem = checks.Problem("conv2d", (x, weight), bias, case.steps, terms)
    residual = problem.some_grad_y(rng)
    np.testing.assert_array_equal(problem.forward(residual=residual), problem.forward() + residual)
    checks.check_activations(problem)
    checks.check_activations(problem, residual=residual)


@pytest.mark.parametrize(
    ("channels", "taps"),
    [
        (64, (3, 3)),
        (128, (3, 3)),
        (256, (3, 3)),
        (64, (1, 3)),
        (256, (3, 1)),
        (128, (1, 5)),
        (64, (5, 5)),
        (256, (5, 5)),
    ],
)
@pytest.mark.parametrize("positive", [False, True], ids=["normal", "after_relu"])
def test_errors_stay_near_those_of_the_plain_sum(channels, taps, positive, isa, rng):
    """As documented: RMS at most 4 times direct's, the largest error at most 4e-6 of the largest value."""
    pads = tuple(np.repeat([taps[0] // 2, taps[1] // 2], 2).tolist())
    case = Case((1, channels, 15, 14), (96, channels, *taps), pads)
    x, weight, _ = arrays(case, "NCHW", rng)
    x = np.maximum(x, 0) if positive else x
    assert kernel_of(case, x, weight) == case.kernel
    expected = reference.conv2d(x, weight, **case.steps)
    errors = [
        abs(ops.conv2d(x, weight, algorithm=name, **case.steps) - expected) / abs(expected).max()
        for name in ("auto", "direct")
    ]
    auto, direct = (np.sqrt((error**2).mean()) for error in errors)
    assert auto <= 4 * direct
    assert errors[0].max() <= 4e-6


def test_float64_is_summed_directly(layout, rng):
    case = CASES["many_blocks"]
    x, weight, bias = arrays(case, layout, rng, np.float64)
    assert kernel_of(case, x, weight) == "direct, vectors of channels"
    y = ops.conv2d(x, weight, bias, **case.steps)
    np.testing.assert_array_equal(y, ops.conv2d(x, weight, bias, algorithm="direct", **case.steps))


# Switching it off


def test_strict_gives_the_bits_of_direct_and_lasts_as_long_as_its_context(layout, rng):
    case = CASES["many_blocks"]
    x, weight, bias = arrays(case, layout, rng)
    auto, direct = (ops.conv2d(x, weight, bias, algorithm=name, **case.steps).tobytes() for name in ("auto", "direct"))
    assert auto != direct
    with neocog.strict():
        assert kernel_of(case, x, weight) == helpers.direct_kernel()
        with neocog.strict():
            assert ops.conv2d(x, weight, bias, **case.steps).tobytes() == direct
        assert ops.conv2d(x, weight, bias, **case.steps).tobytes() == direct
    assert ops.conv2d(x, weight, bias, **case.steps).tobytes() == auto


def test_strict_ends_with_an_exception():
    with pytest.raises(KeyError), neocog.strict():
        raise KeyError
    assert not _core.strict()


def test_strict_holds_until_the_last_thread_has_left():
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with neocog.strict():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with neocog.strict():
        pass
    assert _core.strict()
    leave.set()
    thread.join()
    assert not _core.strict()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_image_and_tile(bad, isa, layout, rng):
    x, weight = helpers.normal(rng, (2, 16, 12, 12)), helpers.normal(rng, (16, 16, 3, 3))
    clean = ops.conv2d(x, weight, padding=1)
    x[1, 3, 5, 6] = bad
    y = ops.conv2d(helpers.lay_out(x, layout), weight, padding=1)
    assert not np.isfinite(y[1, :, 4:7, 5:8]).any()
    np.testing.assert_array_equal(y[0], clean[0])
    np.testing.assert_array_equal(y[1, :, 8:], clean[1, :, 8:])
