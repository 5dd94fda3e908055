"""Winograd's convolution with dilated kernels: every remainder of the step is an image of its own, of channels-last
copies if need be. Held to the bounds of `test_winograd.py`."""

from __future__ import annotations

import helpers
import neocog
import numpy as np
import pytest
import reference
import reference_winograd
from neocog import ops
from winograd_cases import TRANSFORMS, Case, arrays, kernel_of, some_grad_y, tiles_of, weight_gradient

DILATED = {
    "step_divides_the_image": Case((2, 24, 16, 16), (32, 24, 3, 3), (2, 2, 2, 2), dilation=(2, 2)),
    "remainders_of_unequal_size": Case((1, 24, 29, 26), (24, 24, 3, 3), (4, 4, 3, 3), dilation=(4, 3)),
    "one_step_only": Case((3, 24, 13, 18), (27, 24, 3, 3), (1, 1, 0, 0), dilation=(1, 3)),
    "groups_uneven_padding": Case((1, 48, 19, 21), (54, 24, 3, 3), (0, 5, 2, 1), groups=2, dilation=(2, 2)),
    "one_dimension": Case((2, 48, 1, 331), (50, 48, 1, 3), (0, 0, 5, 5), dilation=(1, 5)),
    "one_dimension_in_parts_in_groups": Case((3, 96, 1, 1502), (98, 48, 1, 3), (0, 0, 3, 0), groups=2, dilation=(1, 3)),
    "one_dimension_of_many_channels": Case((1, 300, 1, 230), (260, 300, 1, 3), (0, 0, 7, 7), dilation=(1, 7)),
    "one_dimension_far_apart": Case((1, 64, 1, 2500), (64, 64, 1, 3), (0, 0, 600, 600), dilation=(1, 600)),
    "one_dimension_of_five_taps": Case((1, 96, 1, 404), (97, 96, 1, 5), (0, 0, 4, 8), dilation=(1, 3)),
    "four_by_four": Case((2, 32, 29, 28), (33, 32, 4, 4), (3, 3, 3, 4), dilation=(2, 3)),
    "five_by_five": Case((1, 32, 19, 21), (33, 32, 5, 5), (4, 4, 4, 6), dilation=(2, 3)),
}
dilated = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in DILATED.items()])


def remainders(case: Case):
    return [
        tuple(np.s_[first::step] for first, step in zip(at, case.dilation, strict=True))
        for at in np.ndindex(case.dilation)
    ]


@dilated
def test_dilated_forward_is_within_the_documented_bound(case, isa, layout, rng):
    x, weight, bias = arrays(case, layout, rng)
    assert kernel_of(case, x, weight) == case.kernel
    y = ops.conv2d(x, weight, bias, **case.steps)
    padded = np.pad(x, ((0, 0), (0, 0), case.pads[:2], case.pads[2:]))
    magnitude = np.zeros(y.shape)
    for part in remainders(case):
        magnitude[(..., *part)] = reference_winograd.magnitude(padded[(..., *part)], weight, (0, 0, 0, 0), case.groups)
    expected = reference.conv2d(x, weight, bias, **case.steps)
    helpers.assert_within(y, expected, magnitude + abs(bias)[:, None, None], case.weight[1] + TRANSFORMS)
    helpers.assert_same_layout(y, x)


@dilated
def test_dilated_weight_gradient_is_within_the_documented_bound(case, isa, layout, rng):
    x, weight, _ = arrays(case, layout, rng)
    grad_y = some_grad_y(case, x, weight, rng)
    grad_weight = weight_gradient(grad_y, x, weight, case)
    with neocog.strict():
        assert grad_weight.tobytes() != weight_gradient(grad_y, x, weight, case).tobytes(), "takes another method"
    padded = np.pad(x, ((0, 0), (0, 0), case.pads[:2], case.pads[2:]))
    magnitude, tiles = 0, 0
    for part in remainders(case):
        dy = grad_y[(..., *part)]
        magnitude = magnitude + reference_winograd.weight_magnitude(
            padded[(..., *part)], dy, (0, 0, 0, 0), case.groups, case.taps
        )
        tiles += tiles_of(case, dy)
    _, expected, _ = reference.conv2d_backward(grad_y, x, weight, **case.steps)
    helpers.assert_within(grad_weight, expected, magnitude, tiles + TRANSFORMS)


@pytest.mark.parametrize("activation", [None, "relu", "silu"])
@dilated
def test_dilated_results_are_those_of_their_remainders(case, activation, isa, layout, rng_of_its_own):
    """Forward with a residual, and the input gradient, which is a convolution by the turned kernel."""
    x, weight, bias = arrays(case, layout, rng_of_its_own)
    residual = some_grad_y(case, x, weight, rng_of_its_own)
    y = ops.conv2d(x, weight, bias, residual=residual, activation=activation, **case.steps)
    padded = np.pad(x, ((0, 0), (0, 0), case.pads[:2], case.pads[2:]))
    for part in remainders(case):
        inner = helpers.lay_out(np.ascontiguousarray(padded[(..., *part)]), layout)
        beside = helpers.lay_out(np.ascontiguousarray(residual[(..., *part)]), layout)
        alone = ops.conv2d(inner, weight, bias, residual=beside, activation=activation, groups=case.groups)
        assert abs(y[(..., *part)] - alone).max() <= 2e-6 * abs(alone).max()
    grad_x, _, _ = ops.conv2d_backward(residual, x, weight, output_mask=(True, False, False), **case.steps)
    expected, _, _ = reference.conv2d_backward(residual, x, weight, **case.steps)
    assert abs(grad_x - expected).max() <= 2e-6 * abs(expected).max()


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@dilated
def test_dilated_results_have_the_same_bits_for_any_number_of_threads(case, threads, layout, rng):
    x, weight, bias = arrays(case, layout, rng)
    y = ops.conv2d(x, weight, bias, **case.steps)
    grads = ops.conv2d_backward(y, x, weight, **case.steps)
    neocog.set_num_threads(1)
    assert y.tobytes() == ops.conv2d(x, weight, bias, **case.steps).tobytes()
    for many, one in zip(grads, ops.conv2d_backward(y, x, weight, **case.steps), strict=True):
        assert many.tobytes() == one.tobytes()
