"""Winograd's convolution of groups of few channels, a tile in every lane, which conv2d and its input gradient take for
channels-first images in float32: held to the bound of `test_winograd.py` with whole tiles. The weight gradient has
channels in the lanes, and takes both layouts."""

from __future__ import annotations

import math

import convolution_checks as checks
import helpers
import neocog
import numpy as np
import pytest
import reference
import reference_winograd
from neocog import ops
from winograd_cases import (
    TRANSFORMS,
    Case,
    arrays,
    check_weight_gradient,
    check_weight_gradient_errs_little,
    kernel_of,
    some_grad_y,
    weight_gradient,
)

CASES = {
    "resnext": Case((2, 64, 28, 28), (64, 8, 3, 3), groups=8),
    "images_that_share_vectors": Case((9, 40, 7, 7), (40, 8, 3, 3), groups=5),
    "several_images_to_a_block": Case((9, 24, 14, 14), (24, 8, 3, 3), groups=3),
    "whole_tiles": Case((3, 32, 16, 24), (32, 16, 3, 3), groups=2),
    "groups_of_5_to_8": Case((2, 15, 17, 31), (24, 5, 3, 3), groups=3),
    "groups_of_8_to_5": Case((2, 24, 18, 15), (15, 8, 3, 3), groups=3),
    "groups_of_16_to_5": Case((1, 48, 19, 33), (15, 16, 3, 3), groups=3),
    "groups_of_5_to_15": Case((2, 15, 15, 13), (45, 5, 3, 3), groups=3),
    "groups_of_12": Case((1, 36, 15, 14), (36, 12, 3, 3), groups=3),
    "groups_of_5": Case((2, 35, 29, 11), (35, 5, 3, 3), groups=7),
    "fewest_rows": Case((5, 16, 3, 33), (16, 8, 3, 3), groups=2),
    "fewest_columns": Case((5, 16, 33, 3), (16, 8, 3, 3), groups=2),
    "wider_than_a_block": Case((1, 16, 5, 1037), (16, 8, 3, 3), groups=2),
    "no_padding": Case((3, 16, 18, 13), (16, 8, 3, 3), (0, 0, 0, 0), groups=2),
    "uneven_padding": Case((3, 18, 11, 12), (18, 6, 3, 3), (0, 2, 5, 1), groups=3),
    "padding_wider_than_a_tile": Case((2, 16, 5, 6), (16, 8, 3, 3), (7, 9, 8, 6), groups=2),
}
named = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


def suffixed(case: Case) -> str:
    return f"{case.kernel}, vectors of tiles"


def input_gradient(case: Case, grad_y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return ops.conv2d_backward(grad_y, x, weight, output_mask=(True, False, False), **case.steps)[0]


@named
def test_forward_is_within_the_documented_bound(case, isa, rng):
    x, weight, bias = arrays(case, "NCHW", rng)
    assert kernel_of(case, x, weight) == suffixed(case)
    y = ops.conv2d(x, weight, bias, **case.steps)
    expected = reference.conv2d(x, weight, bias, **case.steps)
    magnitude = reference_winograd.magnitude(x, weight, case.pads, case.groups, whole=True) + abs(bias)[:, None, None]
    helpers.assert_within(y, expected, magnitude, case.weight[1] + TRANSFORMS)
    helpers.assert_same_layout(y, x)


@named
def test_input_gradient_is_within_the_documented_bound(case, isa, rng):
    x, weight, _ = arrays(case, "NCHW", rng)
    grad_y = some_grad_y(case, x, weight, rng)
    grad_x = input_gradient(case, grad_y, x, weight)
    expected, _, _ = reference.conv2d_backward(grad_y, x, weight, **case.steps)
    grouped = weight.reshape(case.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    turned = grouped.reshape(-1, weight.shape[0] // case.groups, 3, 3)[..., ::-1, ::-1]
    pads = tuple(2 - pad for pad in case.pads)
    magnitude = reference_winograd.magnitude(grad_y, turned, pads, case.groups, whole=True)
    helpers.assert_within(grad_x, expected, magnitude, weight.shape[0] // case.groups + TRANSFORMS)
    helpers.assert_same_layout(grad_x, x)


def test_the_input_gradient_takes_another_method_than_the_plain_sum(isa, rng):
    case = CASES["resnext"]
    x, weight, _ = arrays(case, "NCHW", rng)
    grad_y = some_grad_y(case, x, weight, rng)
    grad_x = input_gradient(case, grad_y, x, weight)
    with neocog.strict():
        assert grad_x.tobytes() != input_gradient(case, grad_y, x, weight).tobytes()


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@named
def test_any_number_of_threads_gives_the_same_bits(case, threads, isa, rng):
    x, weight, bias = arrays(case, "NCHW", rng)
    y = ops.conv2d(x, weight, bias, **case.steps)
    grad_x = input_gradient(case, y, x, weight)
    neocog.set_num_threads(1)
    assert y.tobytes() == ops.conv2d(x, weight, bias, **case.steps).tobytes()
    assert grad_x.tobytes() == input_gradient(case, y, x, weight).tobytes()


# The weight gradient

SUMMED = {
    **CASES,
    "narrow_rows": Case((40, 16, 9, 3), (16, 8, 3, 3), groups=2),
    "one_group_to_a_block": Case((3, 33, 13, 12), (45, 11, 3, 3), groups=3),
    "blocks_of_unequal_groups": Case((4, 50, 10, 9), (50, 10, 3, 3), groups=5),
    "more_groups_than_share_a_block": Case((2, 91, 16, 17), (65, 7, 3, 3), groups=13),
}
summed = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in SUMMED.items()])


@summed
def test_weight_gradient_is_within_the_documented_bound(case, isa, layout, rng):
    check_weight_gradient(case, layout, rng)


@summed
def test_weight_gradient_errs_by_a_millionth_of_its_size(case, isa, rng):
    check_weight_gradient_errs_little(case, "NCHW", rng)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@summed
def test_weight_and_bias_gradients_have_the_same_bits_for_any_number_of_threads(case, threads, isa, layout, rng):
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    _, *many = ops.conv2d_backward(grad_y, x, weight, **case.steps)
    assert many[0].tobytes() == weight_gradient(grad_y, x, weight, case).tobytes()
    neocog.set_num_threads(1)
    _, *one = ops.conv2d_backward(grad_y, x, weight, **case.steps)
    assert [part.tobytes() for part in many] == [part.tobytes() for part in one]


@summed
def test_bias_gradient_is_summed_in_float64(case, isa, layout, rng):
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    grad_bias = ops.conv2d_backward(grad_y, x, weight, output_mask=(False, True, True), **case.steps)[2]
    sums, sizes = (np.sum(part, axis=(0, 2, 3), dtype=np.float64) for part in (grad_y, abs(grad_y)))
    in_double = grad_y.size // len(grad_bias) * sizes * np.finfo(np.float64).eps / np.finfo(np.float32).eps
    helpers.assert_within(grad_bias, sums, abs(sums) + in_double, terms=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_the_weights_of_its_channel(bad, isa, layout, rng):
    case = Case((2, 24, 13, 13), (24, 8, 3, 3), groups=3)
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    clean = weight_gradient(grad_y, x, weight, case)
    x[1, 11, 5, 6] = bad
    grad_weight = weight_gradient(grad_y, x, weight, case)
    assert not np.isfinite(grad_weight[8:16, 3]).any()
    grad_weight[8:16, 3] = clean[8:16, 3]
    np.testing.assert_array_equal(grad_weight, clean)


@pytest.mark.parametrize("name", ["images_that_share_vectors", "whole_tiles", "groups_of_5_to_8"])
def test_activation_and_residual_are_those_afterwards(name, isa, rng):
    case = CASES[name]
    x, weight, bias = arrays(case, "NCHW", rng)
    terms = (case.weight[1] * math.prod(case.taps), case.weight[0] // case.groups * math.prod(case.taps), x.size)
    problem = checks.Problem("conv2d", (x, weight), bias, case.steps, terms)
    residual = problem.some_grad_y(rng)
    np.testing.assert_array_equal(problem.forward(residual=residual), problem.forward() + residual)
    checks.check_activations(problem)
    checks.check_activations(problem, residual=residual)


@pytest.mark.parametrize("of_group", [5, 8, 16])
@pytest.mark.parametrize("positive", [False, True], ids=["normal", "after_relu"])
def test_errors_stay_near_those_of_the_plain_sum(of_group, positive, isa, rng):
    """As documented: RMS at most 4 times direct's, the largest error at most 4e-6 of the largest value."""
    case = Case((2, 8 * of_group, 27, 26), (8 * of_group, of_group, 3, 3), groups=8)
    x, weight, _ = arrays(case, "NCHW", rng)
    x = np.maximum(x, 0) if positive else x
    assert kernel_of(case, x, weight) == suffixed(case)
    expected = reference.conv2d(x, weight, **case.steps)
    errors = [
        abs(ops.conv2d(x, weight, algorithm=name, **case.steps) - expected) / abs(expected).max()
        for name in ("auto", "direct")
    ]
    auto, direct = (np.sqrt((error**2).mean()) for error in errors)
    assert auto <= 4 * direct
    assert errors[0].max() <= 4e-6


@pytest.mark.parametrize(
    ("case", "layout", "dtype"),
    [
        (CASES["resnext"], "NHWC", np.float32),
        (CASES["resnext"], "NCHW", np.float64),
        (Case((2, 32, 28, 28), (32, 4, 3, 3), groups=8), "NCHW", np.float32),
        (Case((1, 32, 12, 12), (32, 8, 3, 3), groups=4), "NCHW", np.float32),
        (Case((2, 32, 28, 28), (32, 8, 3, 3), (2, 2, 2, 2), groups=4, dilation=(2, 2)), "NCHW", np.float32),
    ],
    ids=["channels_last", "float64", "groups_of_4", "few_pixels", "dilated"],
)
def test_others_are_summed_directly(case, layout, dtype, rng):
    x, weight, bias = arrays(case, layout, rng, dtype)
    assert kernel_of(case, x, weight).startswith("direct")
    y = ops.conv2d(x, weight, bias, **case.steps)
    np.testing.assert_array_equal(y, ops.conv2d(x, weight, bias, algorithm="direct", **case.steps))


def test_strict_gives_the_bits_of_direct(rng):
    case = CASES["resnext"]
    x, weight, bias = arrays(case, "NCHW", rng)
    auto, direct = (ops.conv2d(x, weight, bias, algorithm=name, **case.steps).tobytes() for name in ("auto", "direct"))
    assert auto != direct
    with neocog.strict():
        assert kernel_of(case, x, weight).startswith("direct")
        assert ops.conv2d(x, weight, bias, **case.steps).tobytes() == direct


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_image_group_and_tile(bad, isa, rng):
    case = Case((2, 24, 13, 13), (24, 8, 3, 3), groups=3)
    x, weight, _ = arrays(case, "NCHW", rng)
    clean = ops.conv2d(x, weight, **case.steps)
    x[1, 11, 5, 6] = bad
    y = ops.conv2d(x, weight, **case.steps)
    assert not np.isfinite(y[1, 8:16, 4:7, 5:8]).any()
    np.testing.assert_array_equal(y[0], clean[0])
    np.testing.assert_array_equal(y[1, :8], clean[1, :8])
    np.testing.assert_array_equal(y[1, 16:], clean[1, 16:])
    np.testing.assert_array_equal(y[1, :, 8:], clean[1, :, 8:])
