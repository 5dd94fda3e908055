"""ops.separable_conv2d against the float64 oracle, and against its two halves, on every instruction set."""

from __future__ import annotations

from math import prod

import cases
import convolution_checks as checks
import helpers
import neocog
import numpy as np
import pytest
import reference
from cases import Separable
from convolution_checks import Problem
from neocog import ops

CUT = {
    "many_strips_and_panels": Separable((2, 40, 29, 31), (40, 1, 3, 3), padding=1, out_channels=70),
    "odd_number_of_rows_in_pairs": Separable((2, 17, 7, 9), (17, 1, 3, 3), padding=1, out_channels=5),
    "rows_wider_than_the_cache": Separable((1, 90, 3, 450), (90, 1, 3, 3), padding=1, out_channels=7),
    "many_strips_strided": Separable((1, 24, 35, 34), (24, 1, 5, 5), stride=2, padding=2, out_channels=33),
    "weights_beyond_the_cache": Separable((1, 520, 6, 7), (520, 1, 3, 3), padding=1, out_channels=512),
    "weights_beyond_the_cache_multiplier_2": Separable(
        (2, 300, 5, 4), (600, 1, 3, 3), stride=(2, 1), padding=1, out_channels=450
    ),
    "many_strips_multiplier_2": Separable((1, 12, 27, 20), (24, 1, 3, 3), padding=1, out_channels=18),
}
NAMED = (
    cases.SEPARABLE
    | CUT
    | {
        "stride_exceeds_kernel": Separable((1, 5, 12, 11), (5, 1, 2, 2), stride=(5, 3), out_channels=4),
        "stride_along_rows_only": Separable((2, 6, 11, 8), (6, 1, 3, 3), stride=(2, 1), padding=1, out_channels=9),
        "kernel_exceeds_image_within_padding": Separable((1, 4, 3, 2), (4, 1, 5, 5), padding=2, out_channels=3),
        "asymmetric_padding": Separable((1, 4, 6, 5), (4, 1, 3, 3), padding=((0, 2), (3, 1)), out_channels=3),
    }
)
named = pytest.mark.parametrize("case", NAMED.values(), ids=NAMED)


def problem(case: Separable, rng, dtype=np.float32, layout: str = "NCHW") -> Problem:
    x = helpers.lay_out(helpers.normal(rng, case.x, dtype), layout)
    filters, mixing = (helpers.normal(rng, shape, dtype) for shape in (case.weight, case.pointwise_weight))
    bias = helpers.normal(rng, (case.out_channels,), dtype)
    taps, middle = prod(case.weight[2:]), case.weight[0]
    outputs = ops.depthwise_conv2d(x, filters, **case.steps).size // middle
    # Two sums, one after the other: their lengths add up, and so does what each may round beside them.
    lengths = (
        (taps, middle),
        (case.out_channels, taps * middle // case.x[1]),
        (case.out_channels, outputs),
        (taps, outputs),
    )
    terms = tuple(first + second + 2 for first, second in lengths)
    return Problem("separable_conv2d", (x, filters, mixing), bias, case.steps, terms)


@named
def test_forward_is_within_the_documented_bound(case, isa, layout, rng):
    checks.check_forward(problem(case, rng, np.float32, layout))


@named
def test_backward_is_within_the_documented_bound(case, isa, layout, rng):
    checks.check_backward(problem(case, rng, np.float32, layout), rng)


@named
def test_float64_is_within_the_documented_bounds(case, layout, rng):
    """Without the instruction sets: float64 runs the portable kernels on every CPU."""
    given = problem(case, rng, np.float64, layout)
    checks.check_forward(given)
    checks.check_backward(given, rng)


@named
def test_backward_is_the_adjoint(case, layout, rng):
    checks.check_adjoint(problem(case, rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", ["multiplier_2", "same_stride_2", "dilated"])
def test_gradients_are_those_of_finite_differences(name, layout, rng):
    checks.check_finite_differences(problem(NAMED[name], rng, np.float64, layout), rng)


@pytest.mark.parametrize("threads", [2, 3, 5], indirect=True)
@pytest.mark.parametrize("case", CUT.values(), ids=CUT)
def test_any_number_of_threads_gives_the_same_bits(case, threads, isa, layout, rng):
    checks.check_same_bits(problem(case, rng, np.float32, layout), rng, neocog.set_num_threads)


@pytest.mark.parametrize("out_channels", [1, 3, 17])
@pytest.mark.parametrize("channels", [1, 3, 17, 728])
def test_every_count_of_channels_meets_every_other(channels, out_channels, isa, layout, rng):
    """On an image one wide and one high too."""
    for size in ((5, 7), (6, 1), (1, 9)):
        case = Separable((1, channels, *size), (channels, 1, 3, 3), padding=1, out_channels=out_channels)
        given = problem(case, rng, np.float32, layout)
        checks.check_forward(given)
        checks.check_backward(given, rng)


@named
def test_one_pass_is_its_two_halves(case, isa, layout, rng):
    """The same products in the same order of channels: only the depthwise part may sum its taps otherwise."""
    given = problem(case, rng, np.float32, layout)
    x, filters, mixing = given.arrays
    halves = ops.conv2d(ops.depthwise_conv2d(x, filters, **given.steps), mixing, given.bias)
    magnitude = reference.magnitude(reference.separable_conv2d, *given.arrays, given.bias, **given.steps)
    helpers.assert_within(given.forward(), halves, magnitude, 2 * given.terms[0])


def test_output_mask_skips_what_it_says_and_changes_nothing_else(layout, rng):
    checks.check_output_mask(problem(NAMED["multiplier_2"], rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", [name for name in NAMED if NAMED[name].x[0] and NAMED[name].x[1] > 1])
def test_data_format_orders_the_axes_and_nothing_else(name, layout, rng):
    case = NAMED[name]
    checks.check_data_format(problem(case, rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", ["xception", "image_one_wide"])
def test_one_image_needs_no_batch_axis(name, layout, rng):
    checks.check_unbatched(problem(NAMED[name], rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", ["xception", "odd_channels", "multiplier_2"])
def test_a_fused_activation_is_the_activation_afterwards(name, isa, layout, rng):
    checks.check_activations(problem(NAMED[name], rng, np.float32, layout))


GIVEN = {
    "x": np.ones((2, 6, 5, 5), np.float32),
    "depthwise_weight": np.ones((12, 1, 3, 3), np.float32),
    "pointwise_weight": np.ones((4, 12, 1, 1), np.float32),
}
REJECTED = [
    ({"x": np.ones((6, 6), np.float32)}, ValueError, r"`x` has 2 axes, shape \(6, 6\); it must have 4"),
    (
        {"x": np.ones((2, 5, 5, 5), np.float32)},
        ValueError,
        "`x` has 5 channels, but `depthwise_weight` has shape",
    ),
    ({"depthwise_weight": np.ones((12, 2, 3, 3), np.float32)}, ValueError, "`depthwise_weight` has shape"),
    ({"depthwise_weight": np.ones((12, 1, 3), np.float32)}, ValueError, "`depthwise_weight` has 3 axes"),
    ({"depthwise_weight": np.ones((12, 1, 3, 3))}, TypeError, "`depthwise_weight` has dtype float64"),
    (
        {"pointwise_weight": np.ones((4, 6, 1, 1), np.float32)},
        ValueError,
        r"`pointwise_weight` has shape \(4, 6, 1, 1\), but .* makes 12 channels; .* \(out, 12, 1, 1\)",
    ),
    ({"pointwise_weight": np.ones((4, 12, 3, 3), np.float32)}, ValueError, "`pointwise_weight` has shape"),
    ({"pointwise_weight": np.ones((4, 12), np.float32)}, ValueError, "`pointwise_weight` has 2 axes"),
    ({"pointwise_weight": np.ones((4, 12, 1, 1))}, TypeError, "`pointwise_weight` has dtype float64"),
    ({"dilation": 3}, ValueError, "exceeds the padded height 5 of `x`"),
    ({"stride": -1}, ValueError, "`stride` is -1; it must be at least 1"),
    ({"padding": (1, 2, 3)}, ValueError, "`padding` is"),
    ({"data_format": "HWC"}, ValueError, "`data_format` is 'HWC'"),
]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        *REJECTED,
        ({"bias": np.ones(12, np.float32)}, ValueError, r"`bias` has shape \(12,\); it must be \(4,\)"),
        ({"activation": "prelu"}, ValueError, "`activation` is 'prelu'; it must be one of"),
    ],
)
def test_a_rejection_names_the_argument_its_value_and_the_repair(changes, error, message):
    with pytest.raises(error, match=message):
        ops.separable_conv2d(**(GIVEN | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        *REJECTED,
        (
            {"grad_y": np.ones((2, 12, 3, 3), np.float32)},
            ValueError,
            r"`grad_y` has shape .* y has \(2, 4, 3, 3\)",
        ),
        ({"grad_y": np.ones((2, 4, 3, 3))}, TypeError, "`grad_y` has dtype float64"),
        ({"output_mask": (True, True, True)}, ValueError, "`output_mask` is .* it must be 4 bools"),
    ],
)
def test_backward_rejects_by_the_same_rules(changes, error, message):
    with pytest.raises(error, match=message):
        ops.separable_conv2d_backward(**({"grad_y": np.ones((2, 4, 3, 3), np.float32)} | GIVEN | changes))
