"""ops.depthwise_conv2d against the float64 oracle, on every instruction set this CPU runs."""

from __future__ import annotations

from math import prod

import cases
import convolution_checks as checks
import helpers
import neocog
import numpy as np
import pytest
from cases import Depthwise
from convolution_checks import Problem
from neocog import ops

# Large enough that rows and columns are cut, and kernels for which several rows of results are made at once.
CUT = {
    "rows_at_once_3x3": Depthwise((1, 40, 11, 67), (40, 1, 3, 3), padding=1),
    "rows_at_once_5x5": Depthwise((1, 33, 18, 29), (33, 1, 5, 5), padding=2),
    "rows_at_once_7x7": Depthwise((1, 18, 21, 35), (18, 1, 7, 7), padding=3),
    "rows_at_once_7x7_at_last_two_and_two": Depthwise((1, 40, 16, 20), (40, 1, 7, 7), padding=3),
    "rows_at_once_5x5_strided": Depthwise((1, 20, 37, 21), (20, 1, 5, 5), stride=2, padding=2),
    "rows_at_once_without_padding": Depthwise((1, 16, 15, 9), (16, 1, 3, 3)),
    "rows_at_once_padding_beyond_the_kernel": Depthwise((1, 17, 9, 6), (17, 1, 3, 3), padding=5),
    "rows_of_many_bytes": Depthwise((1, 300, 6, 41), (300, 1, 3, 3), padding=1),
    "many_rows_strided": Depthwise((2, 24, 41, 37), (24, 1, 3, 3), stride=2, padding=1),
    "many_rows_multiplier_2": Depthwise((1, 20, 23, 33), (40, 1, 3, 3), padding=1),
    "blocks_of_channels_cut_along_rows": Depthwise((3, 20, 61, 130), (20, 1, 5, 5), padding=2),
    "blocks_of_channels_strided": Depthwise((2, 25, 50, 33), (25, 1, 5, 5), stride=2, padding=(1, 2)),
    "rows_too_long_for_blocks": Depthwise((1, 18, 3, 7001), (18, 1, 3, 3), padding=1),
    "blocks_of_channels_without_padding": Depthwise((2, 20, 33, 40), (20, 1, 7, 7)),
    "blocks_of_channels_padding_beyond_the_kernel": Depthwise((2, 17, 30, 26), (17, 1, 3, 3), padding=6),
    "rows_strided_without_padding": Depthwise((2, 16, 35, 20), (16, 1, 5, 5), stride=2),
    "rows_at_once_4x4_strided": Depthwise((1, 20, 30, 23), (20, 1, 4, 4), stride=2, padding=1),
    "rows_at_once_7x7_strided": Depthwise((1, 35, 27, 26), (35, 1, 7, 7), stride=2, padding=3),
    "rows_at_once_3x3_strided_even": Depthwise((1, 16, 28, 28), (16, 1, 3, 3), stride=2, padding=(1, 0)),
    "wide_rows_of_few_channels": Depthwise((1, 3, 5, 700), (3, 1, 3, 3), padding=1),
}
NAMED = (
    cases.DEPTHWISE
    | CUT
    | {
        "stride_along_rows_only": Depthwise((2, 6, 15, 14), (12, 1, 3, 3), stride=(2, 1), padding=1),
        "stride_along_columns_only": Depthwise((2, 6, 9, 14), (6, 1, 3, 3), stride=(1, 2), padding=1),
        "multiplier_4_strided_unevenly": Depthwise((1, 3, 13, 16), (12, 1, 4, 5), stride=(3, 2), padding=(2, 1)),
    }
)
named = pytest.mark.parametrize("case", NAMED.values(), ids=NAMED)


def problem(case: Depthwise, rng, dtype=np.float32, layout: str = "NCHW") -> Problem:
    x = helpers.lay_out(helpers.normal(rng, case.x, dtype), layout)
    weight = helpers.normal(rng, case.weight, dtype)
    bias = helpers.normal(rng, case.weight[:1], dtype)
    outputs = ops.depthwise_conv2d(x, weight, **case.steps).size // case.weight[0]
    taps, multiplier = prod(case.weight[2:]), case.weight[0] // case.x[1]
    return Problem("depthwise_conv2d", (x, weight), bias, case.steps, (taps, taps * multiplier, outputs))


@named
def test_forward_is_within_the_documented_bound(case, isa, layout, rng):
    checks.check_forward(problem(case, rng, np.float32, layout))


@named
def test_backward_is_within_the_documented_bound(case, isa, layout, rng):
    checks.check_backward(problem(case, rng, np.float32, layout), rng)


@named
def test_gradients_alone_are_those_of_all_together(case, isa, layout, rng):
    given = problem(case, rng, np.float32, layout)
    grad_y = given.some_grad_y(rng)
    for i, grad in enumerate(given.backward(grad_y)):
        alone = given.backward(grad_y, output_mask=[i == j for j in range(3)])
        assert [other is None for other in alone] == [i != j for j in range(3)]
        np.testing.assert_allclose(alone[i], grad, rtol=1e-5, atol=1e-5 * float(np.abs(grad).max(initial=0)))


@named
def test_float64_is_within_the_documented_bounds(case, layout, rng):
    """Without the instruction sets: float64 runs the portable kernels on every CPU."""
    given = problem(case, rng, np.float64, layout)
    checks.check_forward(given)
    checks.check_backward(given, rng)


@named
def test_backward_is_the_adjoint(case, layout, rng):
    checks.check_adjoint(problem(case, rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", ["dilated_strided", "multiplier_3_odd", "stride_along_rows_only"])
def test_gradients_are_those_of_finite_differences(name, layout, rng):
    checks.check_finite_differences(problem(NAMED[name], rng, np.float64, layout), rng)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@pytest.mark.parametrize("case", CUT.values(), ids=CUT)
def test_any_number_of_threads_gives_the_same_bits(case, threads, isa, layout, rng):
    checks.check_same_bits(problem(case, rng, np.float32, layout), rng, neocog.set_num_threads)


@pytest.mark.parametrize("step", [1, 2], ids=["stride_1", "stride_2"])
def test_a_result_that_goes_past_the_caches_is_whole(step, isa, rng):
    """A batch of more than 24 MB against its images one by one, channels last."""
    x = rng.standard_normal((4, 160, 320, 32), dtype=np.float32)
    weight, bias = (rng.standard_normal(shape, dtype=np.float32) for shape in ((32, 1, 3, 3), (32,)))
    steps = {"stride": step, "padding": 1, "data_format": "NHWC"}
    forward = [ops.depthwise_conv2d(images, weight, bias, **steps) for images in (x, *x[:, None])]
    np.testing.assert_allclose(forward[0], np.concatenate(forward[1:]), rtol=0, atol=2e-5)
    grad_y = rng.standard_normal(forward[0].shape, dtype=np.float32)
    for mask in ((True, True, True), (True, False, False)):
        backward = [
            ops.depthwise_conv2d_backward(dy, images, weight, **steps, output_mask=mask)[0]
            for dy, images in ((grad_y, x), *zip(grad_y[:, None], x[:, None], strict=True))
        ]
        # Sums of nine products, in the order of the rows that are worked on together.
        np.testing.assert_allclose(backward[0], np.concatenate(backward[1:]), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (7, 7), (2, 4)], ids=lambda k: f"{k[0]}x{k[1]}")
@pytest.mark.parametrize("channels", [1, 3, 17, 728])
def test_every_count_of_channels_meets_every_kernel(channels, kernel, isa, layout, rng):
    """On an image one wide and one high too."""
    for size in ((6, 7), (8, 1), (1, 17)):
        case = Depthwise((1, channels, *size), (channels, 1, *kernel), padding=3)
        given = problem(case, rng, np.float32, layout)
        checks.check_forward(given)
        checks.check_backward(given, rng)


@pytest.mark.parametrize("name", ["mobilenet_3x3", "multiplier_on_one_channel"])
def test_output_mask_skips_what_it_says_and_changes_nothing_else(name, layout, rng):
    checks.check_output_mask(problem(NAMED[name], rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", [name for name in NAMED if NAMED[name].x[0] and NAMED[name].x[1] > 1])
def test_data_format_orders_the_axes_and_nothing_else(name, layout, rng):
    case = NAMED[name]
    checks.check_data_format(problem(case, rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", ["convnext_7x7", "multiplier_3_odd"])
def test_one_image_needs_no_batch_axis(name, layout, rng):
    checks.check_unbatched(problem(NAMED[name], rng, np.float32, layout), rng)


@pytest.mark.parametrize("name", ["mobilenet_3x3", "multiplier_2", "stride_leaves_a_remainder", "convnext_7x7"])
def test_a_fused_activation_is_the_activation_afterwards(name, isa, layout, rng):
    checks.check_activations(problem(NAMED[name], rng, np.float32, layout))


@named
def test_convolution_in_as_many_groups_as_channels_is_the_same(case, layout, rng):
    given = problem(case, rng, np.float32, layout)
    as_conv = given._replace(op="conv2d", steps=given.steps | {"groups": case.x[1]})
    grad_y = given.some_grad_y(rng)
    if case.x[1] > 1:  # one group is a dense convolution, with its own order of sums
        np.testing.assert_array_equal(as_conv.forward(), given.forward())
    for ours, theirs in zip(as_conv.backward(grad_y), given.backward(grad_y), strict=True):
        np.testing.assert_array_equal(ours, theirs)


X, W = np.ones((2, 6, 5, 5), np.float32), np.ones((12, 1, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": X[0, 0]}, ValueError, r"`x` has 2 axes, shape \(5, 5\); it must have 4"),
        (
            {"x": X[:, :5]},
            ValueError,
            r"`x` has 5 channels, but `weight` has shape .* be \(5 \* multiplier, 1, h",
        ),
        ({"x": X[:, :0]}, ValueError, "`x` has 0 channels"),
        (
            {"weight": np.ones((6, 2, 3, 3), np.float32)},
            ValueError,
            r"`weight` has shape \(6, 2, 3, 3\); it must be",
        ),
        ({"weight": W[:, 0]}, ValueError, "`weight` has 3 axes"),
        ({"weight": W[:, :, :0]}, ValueError, "`weight` has shape .*; no axis of it may be empty"),
        ({"weight": W.astype(np.float64)}, TypeError, "`weight` has dtype float64, the other arrays float32"),
        ({"bias": np.ones(6, np.float32)}, ValueError, r"`bias` has shape \(6,\); it must be \(12,\)"),
        (
            {"dilation": 3},
            ValueError,
            r"height 3 \(dilation 3: 7 pixels\) exceeds the padded height 5 of `x`",
        ),
        ({"stride": (0, 1)}, ValueError, "`stride` is 0; it must be at least 1"),
        ({"padding": "reflect"}, ValueError, "`padding` is 'reflect'"),
        ({"activation": "softmax"}, ValueError, "`activation` is 'softmax'; it must be one of"),
        ({"data_format": "CHWN"}, ValueError, "`data_format` is 'CHWN'; it must be 'NCHW' or 'NHWC'"),
    ],
)
def test_a_rejection_names_the_argument_its_value_and_the_repair(changes, error, message):
    with pytest.raises(error, match=message):
        ops.depthwise_conv2d(**({"x": X, "weight": W} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"grad_y": np.ones((2, 6, 3, 3), np.float32)},
            ValueError,
            r"`grad_y` has shape .* y has \(2, 12, 3, 3\)",
        ),
        ({"grad_y": np.ones((2, 12, 3, 3))}, TypeError, "`grad_y` has dtype float64"),
        ({"output_mask": ()}, ValueError, r"`output_mask` is \(\); it must be 3 bools"),
        ({"x": X[:, :5]}, ValueError, "`x` has 5 channels, but `weight` has shape"),
    ],
)
def test_backward_rejects_by_the_same_rules(changes, error, message):
    given = {"grad_y": np.ones((2, 12, 3, 3), np.float32), "x": X, "weight": W}
    with pytest.raises(error, match=message):
        ops.depthwise_conv2d_backward(**(given | changes))
