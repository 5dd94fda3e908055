"""ops.conv1d and conv2d against the float64 oracle, on every instruction set this CPU runs."""

from __future__ import annotations

from math import ceil, prod

import cases
import convolution_checks as checks
import helpers
import neocog
import numpy as np
import pytest
from cases import Conv
from convolution_checks import Problem
from neocog import _core, ops


@pytest.fixture(autouse=True)
def _directly():
    """The plain sum of products; Winograd's method has a file of its own."""
    with neocog.strict():
        yield


# Large enough that the work is cut: into tiles, panels of output channels, and partial sums.
CUT2D = {
    "many_tiles_and_panels": Conv((2, 16, 28, 33), (70, 16, 3, 3), padding=1),
    "strip_of_rows_exceeds_the_cache": Conv((1, 400, 3, 100), (5, 400, 3, 3), padding=1),
    "few_outputs_of_few_inputs_cut": Conv((1, 24, 3, 3000), (5, 24, 3, 3), padding=1),
    "few_outputs_added_up": Conv((2, 66, 21, 19), (3, 66, 3, 3), padding=1),
    "few_outputs_added_up_in_groups": Conv((1, 140, 13, 15), (4, 70, 5, 5), padding=2, groups=2),
    "few_outputs_added_up_without_padding": Conv((1, 65, 41, 9), (5, 65, 7, 2)),
    "few_outputs_added_up_padding_beyond": Conv((2, 64, 12, 11), (2, 64, 3, 5), padding=(4, 6)),
    "few_inputs_of_many_outputs": Conv((1, 3, 31, 26), (64, 3, 3, 3), padding=1),
    "patches_of_three_channels": Conv((2, 3, 40, 44), (40, 3, 4, 4), stride=4),
    "long_sums_in_parts": Conv((1, 2310, 5, 9), (70, 2310, 1, 1)),
    "many_tiles_strided": Conv((1, 5, 81, 83), (20, 5, 7, 7), stride=2, padding=3),
    "many_tiles_grouped": Conv((2, 24, 33, 35), (36, 6, 3, 3), padding=1, groups=4),
    "groups_of_8_share_vectors": Conv((2, 136, 30, 29), (136, 8, 3, 3), padding=1, groups=17),
    "groups_of_4_share_vectors_strided": Conv((1, 48, 41, 38), (48, 4, 3, 3), stride=2, padding=1, groups=12),
    "groups_of_5_share_vectors_dilated": Conv((1, 35, 20, 33), (35, 5, 3, 3), padding=2, dilation=2, groups=7),
    "groups_widen_from_4_to_8": Conv((2, 16, 12, 40), (32, 4, 1, 5), stride=3, padding=(0, 2), groups=4),
    "groups_of_2_share_vectors": Conv((1, 26, 50, 45), (26, 2, 2, 2), stride=(1, 2), groups=13),
    "taps_far_apart": Conv((2, 20, 30, 33), (70, 20, 3, 3), padding=12, dilation=12),
    "taps_far_apart_in_groups": Conv((1, 40, 61, 70), (40, 20, 3, 3), stride=2, padding=24, dilation=24, groups=2),
    "taps_far_apart_along_rows": Conv((1, 18, 5, 60), (17, 18, 3, 5), padding=(1, 36), dilation=(1, 18)),
    "padding_that_no_tap_crosses": Conv((1, 18, 9, 12), (17, 18, 3, 3), padding=20, dilation=2),
    "taps_far_apart_in_many_tiles": Conv((1, 17, 70, 130), (19, 17, 3, 3), padding=40, dilation=40),
    "many_tiles_without_padding": Conv((1, 16, 40, 41), (40, 16, 3, 3)),
    "columns_shared_by_threads": Conv((1, 8, 7, 7), (300, 8, 3, 3), padding=1),
    "weights_exceed_the_cache": Conv((1, 330, 3, 5), (900, 330, 1, 1)),
    "few_pixels": Conv((2, 20, 3, 5), (70, 10, 3, 3), stride=2, padding=1, groups=2),
    "few_pixels_with_odd_ends": Conv((3, 7, 2, 2), (35, 7, 2, 2), padding=1, dilation=2),
    "one_pixel_wide_channels": Conv((1, 300, 1, 1), (65, 300, 1, 1)),
    "stride_along_rows_only": Conv((2, 6, 15, 14), (12, 1, 3, 3), stride=(2, 1), padding=1, groups=6),
}
CUT1D = {
    "long": Conv((1, 6, 3000), (9, 6, 3), stride=2, padding=1),
    "long_groups_of_8": Conv((2, 64, 2100), (64, 8, 6), stride=2, padding=2, groups=8),
    "long_taps_far_apart": Conv((2, 18, 900), (33, 18, 3), padding=300, dilation=300),
    "long_depthwise": Conv((1, 24, 700), (24, 1, 31), padding=15, groups=24),
}


def named(tables: dict[int, dict[str, Conv]]) -> list:
    return [
        pytest.param(f"conv{axes}d", case, id=f"{axes}d-{name}")
        for axes, table in tables.items()
        for name, case in table.items()
    ]


NAMED = named({2: cases.CONV2D | CUT2D, 1: cases.CONV1D | CUT1D})
CUT = named({2: CUT2D, 1: CUT1D})


def problem(op: str, case: Conv, rng, dtype=np.float32, layout: str = "NCHW") -> Problem:
    x = helpers.lay_out(helpers.normal(rng, case.x, dtype), layout)
    weight = helpers.normal(rng, case.weight, dtype)
    bias = helpers.normal(rng, case.weight[:1], dtype)
    outputs = getattr(ops, op)(x, weight, **case.steps).size // case.weight[0]
    sums = prod(case.weight[1:]), case.weight[0] // case.groups * prod(case.weight[2:]), outputs
    return Problem(op, (x, weight), bias, case.steps, sums)


@pytest.mark.parametrize(("op", "case"), NAMED)
def test_forward_is_within_the_documented_bound(op, case, isa, layout, rng):
    checks.check_forward(problem(op, case, rng, np.float32, layout))


@pytest.mark.parametrize(("op", "case"), NAMED)
def test_backward_is_within_the_documented_bound(op, case, isa, layout, rng):
    checks.check_backward(problem(op, case, rng, np.float32, layout), rng)


@pytest.mark.parametrize(("op", "case"), NAMED)
def test_float64_is_within_the_documented_bounds(op, case, layout, rng):
    """Without the instruction sets: float64 runs the portable kernels on every CPU."""
    given = problem(op, case, rng, np.float64, layout)
    checks.check_forward(given)
    checks.check_backward(given, rng)


@pytest.mark.parametrize(("op", "case"), NAMED)
def test_backward_is_the_adjoint(op, case, layout, rng):
    checks.check_adjoint(problem(op, case, rng, np.float32, layout), rng)


@pytest.mark.parametrize(
    ("op", "case"),
    [
        ("conv2d", cases.CONV2D["stride_leaves_a_remainder"]),
        ("conv2d", cases.CONV2D["dilated_strided_rectangular"]),
        ("conv2d", cases.CONV2D["asymmetric_padding_one_side_only"]),
        ("conv2d", cases.CONV2D["groups_of_unequal_widths"]),
        ("conv1d", cases.CONV1D["causal_padding"]),
    ],
)
def test_gradients_are_those_of_finite_differences(op, case, layout, rng):
    checks.check_finite_differences(problem(op, case, rng, np.float64, layout), rng)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@pytest.mark.parametrize(("op", "case"), CUT)
def test_any_number_of_threads_gives_the_same_bits(op, case, threads, isa, layout, rng):
    checks.check_same_bits(problem(op, case, rng, np.float32, layout), rng, neocog.set_num_threads)


@pytest.mark.parametrize("out_channels", [1, 3, 17, 728])
@pytest.mark.parametrize("channels", [1, 3, 17, 728])
def test_every_count_of_channels_meets_every_other(channels, out_channels, isa, layout, rng):
    """Both sides of a vector, of a panel and of a merged run of taps; on images one wide and one high too."""
    kernel = (1, 1) if channels == out_channels == 728 else (3, 3)  # 9 * 728 * 728 would take the oracle a second
    for size in ((5, 9), (7, 1), (1, 6)):
        case = Conv((1, channels, *size), (out_channels, channels, *kernel), stride=(1, 2), padding=1)
        given = problem("conv2d", case, rng, np.float32, layout)
        checks.check_forward(given)
        checks.check_backward(given, rng)


@pytest.mark.parametrize(("op", "case"), [("conv2d", cases.CONV2D["batch_5"]), ("conv1d", cases.CONV1D["k3"])])
def test_output_mask_skips_what_it_says_and_changes_nothing_else(op, case, layout, rng):
    checks.check_output_mask(problem(op, case, rng, np.float32, layout), rng)


UNAMBIGUOUS = [p for p in NAMED if p.values[1].x[0] and p.values[1].x[1] > 1 and prod(p.values[1].x[2:]) > 1]


@pytest.mark.parametrize(("op", "case"), UNAMBIGUOUS)
def test_data_format_orders_the_axes_and_nothing_else(op, case, layout, rng):
    checks.check_data_format(problem(op, case, rng, np.float32, layout), rng)


def test_one_channel_is_dense_in_both_layouts_and_follows_its_shape(rng):
    x, weight = helpers.normal(rng, (2, 1, 5, 6)), helpers.normal(rng, (4, 1, 3, 3))
    helpers.assert_laid_out(ops.conv2d(x, weight), "NCHW")
    y = ops.conv2d(helpers.channels_last(x), weight, data_format="NHWC")
    helpers.assert_laid_out(helpers.channels_first(y), "NHWC")


@pytest.mark.parametrize(
    ("op", "case"),
    [("conv2d", cases.CONV2D["asymmetric_padding_one_side_only"]), ("conv1d", cases.CONV1D["dilated"])],
)
def test_one_image_needs_no_batch_axis(op, case, layout, rng):
    checks.check_unbatched(problem(op, case, rng, np.float32, layout), rng)


# Padding


def smallest_same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Keras' rule as its purpose: the least padding with which ceil(size / stride) windows fit."""
    total, reach = 0, dilation * (kernel - 1) + 1
    while size + total < reach or (size + total - reach) // stride + 1 < ceil(size / stride):
        total += 1
    return total // 2, total - total // 2


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_is_the_rule_of_keras_for_any_stride(stride, dilation, rng):
    for size in range(1, 12):
        for kernel in range(1, 6):
            x, weight = helpers.normal(rng, (1, 2, size)), helpers.normal(rng, (3, 2, kernel))
            steps = {"stride": stride, "dilation": dilation}
            y = ops.conv1d(x, weight, padding="same", **steps)
            assert y.shape == (1, 3, ceil(size / stride))
            padded = np.pad(x, ((0, 0), (0, 0), smallest_same(size, kernel, stride, dilation)))
            # "same" may leave pixels at the end that no window reaches, and so may explicit padding.
            np.testing.assert_array_equal(y, ops.conv1d(padded, weight, **steps)[..., : y.shape[-1]])


@pytest.mark.parametrize(
    ("padding", "sides"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 3), ((1, 1), (3, 3))),
        (((0, 4), (2, 0)), ((0, 4), (2, 0))),
        ([[5, 0], [0, 7]], ((5, 0), (0, 7))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((0, 1), (1, 1))),
    ],
    ids=str,
)
def test_padding_is_zeros_around_the_image(padding, sides, isa, layout, rng):
    x, weight = helpers.lay_out(helpers.normal(rng, (2, 5, 6, 7)), layout), helpers.normal(rng, (4, 5, 3, 3))
    y = ops.conv2d(x, weight, stride=2, padding=padding)
    np.testing.assert_array_equal(y, ops.conv2d(np.pad(x, ((0, 0), (0, 0), *sides)), weight, stride=2))


def test_one_int_one_pair_and_numpy_ints_say_the_same(rng):
    x, weight = helpers.normal(rng, (1, 3, 9, 9)), helpers.normal(rng, (4, 3, 3, 3))
    y = ops.conv2d(x, weight, stride=2, padding=1, dilation=2)
    for spell in (lambda n: (n, n), lambda n: [n, n], np.int64, lambda n: (n,)):
        again = ops.conv2d(x, weight, stride=spell(2), padding=spell(1), dilation=spell(2))
        np.testing.assert_array_equal(again, y)


# What an op fuses, and what it equals


ENDS = ["resnet_3x3", "channels_not_a_vector_multiple", "groups_of_one_input_channel", "pointwise_wide"]
FUSED = [*(pytest.param("conv2d", cases.CONV2D[name], id=name) for name in ENDS), *CUT]


@pytest.mark.parametrize(("op", "case"), FUSED)
def test_a_fused_activation_is_the_activation_afterwards(op, case, isa, layout, rng):
    checks.check_activations(problem(op, case, rng, np.float32, layout))


@pytest.mark.parametrize(("op", "case"), FUSED)
def test_a_fused_residual_is_added_before_the_activation(op, case, isa, layout, rng):
    given = problem(op, case, rng, np.float32, layout)
    residual = given.some_grad_y(rng)
    other = helpers.lay_out(residual, "NHWC" if layout == "NCHW" else "NCHW")  # is converted
    checks.check_activations(given, ["relu", "relu6", "silu"], residual)
    np.testing.assert_array_equal(given.forward(residual=other), given.forward(residual=residual))


def test_float64_fuses_too(layout, rng):
    given = problem("conv2d", cases.CONV2D["batch_5"], rng, np.float64, layout)
    checks.check_activations(given)
    checks.check_activations(given, residual=given.some_grad_y(rng))


def test_a_residual_alone_is_added(isa, layout, dtype, rng):
    given = problem("conv2d", cases.CONV2D["batch_5"], rng, dtype, layout)
    residual = given.some_grad_y(rng)
    np.testing.assert_array_equal(given.forward(residual=residual), given.forward() + residual)


def test_direct_is_within_the_documented_bound(isa, layout, rng):
    given = problem("conv2d", cases.CONV2D["resnet_3x3"], rng, np.float32, layout)
    checks.check_forward(given, algorithm="direct")


def test_one_dimension_is_an_image_of_height_one(isa, rng):
    x, weight = helpers.normal(rng, (2, 5, 23)), helpers.normal(rng, (7, 5, 4))
    y = ops.conv1d(x, weight, stride=2, padding=3, dilation=2)
    flat = ops.conv2d(x[:, :, None], weight[:, :, None], stride=(1, 2), padding=(0, 3), dilation=(1, 2))
    np.testing.assert_array_equal(y, flat[:, :, 0])


# Rejections

X, W = np.ones((2, 6, 5, 5), np.float32), np.ones((4, 6, 3, 3), np.float32)
Y = (2, 4, 3, 3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.ones((5, 5), np.float32)}, ValueError, r"`x` has 2 axes, shape \(5, 5\); it must have 4"),
        ({"x": X[None]}, ValueError, "`x` has 5 axes"),
        ({"weight": W[0]}, ValueError, r"`weight` has 3 axes, shape \(6, 3, 3\); it must have 4"),
        ({"weight": W[:, :0]}, ValueError, r"`weight` has shape \(4, 0, 3, 3\); no axis of it may be empty"),
        (
            {"weight": W[:, :5]},
            ValueError,
            r"`x` has 6 channels in 1 groups, but `weight` .* takes 5 per group",
        ),
        (
            {"weight": np.ones((4, 6, 6, 3), np.float32)},
            ValueError,
            "kernel's height 6 .* exceeds the padded height 5",
        ),
        (
            {"dilation": (1, 3)},
            ValueError,
            r"width 3 \(dilation 3: 7 pixels\) exceeds the padded width 5 of `x`",
        ),
        ({"groups": 4}, ValueError, "`groups` is 4; it must divide the 6 channels of `x` and the 4"),
        ({"groups": 3}, ValueError, "`groups` is 3; it must divide"),
        ({"groups": 2}, ValueError, r"6 channels in 2 groups, but .* takes 6 per group; .* \(out, 3"),
        ({"groups": 0}, ValueError, "`groups` is 0; it must be at least 1"),
        ({"groups": -1}, ValueError, "`groups` is -1; it must be at least 1"),
        ({"groups": 1.0}, TypeError, "`groups` is 1.0; it must be an int"),
        ({"stride": 0}, ValueError, "`stride` is 0; it must be at least 1"),
        ({"stride": (1, -2)}, ValueError, "`stride` is -2; it must be at least 1"),
        ({"stride": (1, 2, 3)}, ValueError, r"`stride` is \(1, 2, 3\); it must be an int or have 2 entries"),
        ({"stride": "2"}, TypeError, "`stride` is '2'; it must be an int"),
        ({"stride": True}, TypeError, "`stride` is True; it must be an int"),
        ({"stride": 2**40}, ValueError, "`stride` is 1099511627776; it must be at most"),
        ({"dilation": 0}, ValueError, "`dilation` is 0; it must be at least 1"),
        ({"dilation": 1.5}, TypeError, "`dilation` is 1.5; it must be an int"),
        ({"padding": -1}, ValueError, "`padding` is -1; it must be at least 0"),
        ({"padding": ((0, 1), (-2, 0))}, ValueError, "`padding` is -2; it must be at least 0"),
        (
            {"padding": (1, 1, 1)},
            ValueError,
            r"`padding` is \(1, 1, 1\); it must be an int or have 2 entries",
        ),
        ({"padding": "full"}, ValueError, '`padding` is \'full\'; as a string it must be "valid" or "same"'),
        ({"padding": 0.5}, TypeError, "`padding` is 0.5; it must be an int"),
        ({"bias": np.ones(5, np.float32)}, ValueError, r"`bias` has shape \(5,\); it must be \(4,\)"),
        ({"bias": np.ones((4, 1), np.float32)}, ValueError, r"`bias` has shape \(4, 1\)"),
        (
            {"bias": np.ones(4)},
            TypeError,
            r"`bias` has dtype float64, the other arrays float32; .*astype\(np.float32",
        ),
        (
            {"residual": np.ones((2, 4, 5, 5), np.float32)},
            ValueError,
            r"`residual` has shape .* y has \(2, 4, 3, 3\)",
        ),
        ({"residual": np.ones(Y)}, TypeError, "`residual` has dtype float64"),
        ({"activation": "swish"}, ValueError, "`activation` is 'swish'; it must be one of 'relu', 'relu6'"),
        (
            {"algorithm": "winograd2"},
            ValueError,
            "`algorithm` is 'winograd2'; it must be one of 'auto', 'direct'",
        ),
        ({"data_format": "NCL"}, ValueError, "`data_format` is 'NCL'; it must be 'NCHW' or 'NHWC'"),
    ],
)
def test_a_rejection_names_the_argument_its_value_and_the_repair(changes, error, message):
    with pytest.raises(error, match=message):
        ops.conv2d(**({"x": X, "weight": W} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.ones((2, 6, 5, 5), np.float32)}, ValueError, "`x` has 4 axes, shape .*; it must have 3"),
        (
            {"weight": W},
            ValueError,
            r"`weight` has 4 axes, shape .*; it must have 3: \(out, in/groups, length\)",
        ),
        (
            {"weight": np.ones((4, 6, 9), np.float32)},
            ValueError,
            "9 pixels.* exceeds the padded width 5 of `x`",
        ),
        ({"padding": (1, 1)}, ValueError, r"`padding` is \(1, 1\); it must be an int or have 1 entries"),
        ({"data_format": "NCHW"}, ValueError, "`data_format` is 'NCHW'; it must be 'NCL' or 'NLC'"),
    ],
)
def test_one_dimension_rejects_what_is_two_dimensional(changes, error, message):
    with pytest.raises(error, match=message):
        ops.conv1d(**({"x": X[:, :, 0], "weight": W[:, :, 0]} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"grad_y": np.ones((2, 4, 3, 4), np.float32)},
            ValueError,
            r"`grad_y` has shape .* y has \(2, 4, 3, 3\)",
        ),
        ({"grad_y": np.ones((2, 5, 3, 3), np.float32)}, ValueError, "`grad_y` has shape"),
        ({"grad_y": np.ones((3, 3), np.float32)}, ValueError, "`grad_y` has 2 axes"),
        ({"grad_y": np.ones(Y)}, TypeError, "`grad_y` has dtype float64, the other arrays float32"),
        ({"output_mask": (True, True)}, ValueError, r"`output_mask` is \(True, True\); it must be 3 bools"),
        ({"output_mask": (1, 0, 1)}, ValueError, r"`output_mask` is \(1, 0, 1\); it must be 3 bools"),
        ({"output_mask": True}, (TypeError, ValueError), "`output_mask` is True; it must be 3 bools"),
        ({"weight": W[:, :5]}, ValueError, "`x` has 6 channels in 1 groups, but `weight`"),
        ({"stride": 0}, ValueError, "`stride` is 0"),
    ],
)
def test_backward_rejects_by_the_same_rules(changes, error, message):
    with pytest.raises(error, match=message):
        ops.conv2d_backward(**({"grad_y": np.ones(Y, np.float32), "x": X, "weight": W} | changes))


@pytest.mark.parametrize(
    ("channels", "weight", "groups", "kernel"),
    [
        (64, (64, 64, 3, 3), 1, None),
        (24, (3, 24, 3, 3), 1, "direct, vectors of pixels"),
        (64, (64, 1, 3, 3), 64, "depthwise"),
        (512, (512, 2, 3, 3), 256, "direct, several groups to a vector"),
    ],
)
def test_the_kernel_has_a_name(channels, weight, groups, kernel):
    w = np.zeros(weight, np.float32)
    expected = kernel or helpers.direct_kernel()
    assert _core.conv_kernel((1, channels, 56, 56), w, (1, 1), (1, 1, 1, 1), (1, 1), groups) == expected
    with pytest.raises(ValueError, match="do not agree"):
        _core.conv_kernel((1, channels + 1, 56, 56), w, (1, 1), (1, 1, 1, 1), (1, 1), groups)


def test_many_channels_to_few_have_a_kernel_of_their_own(isa):
    w = np.zeros((3, 64, 3, 3), np.float32)
    expected = "direct, vectors of pixels" if isa == "scalar" else "direct, columns added up"
    assert _core.conv_kernel((1, 64, 56, 56), w, (1, 1), (1, 1, 1, 1), (1, 1), 1) == expected


def test_a_small_image_has_a_kernel_of_its_own():
    w = np.zeros((64, 64, 3, 3), np.float32)
    assert _core.conv_kernel((1, 64, 4, 4), w, (1, 1), (1, 1, 1, 1), (1, 1), 1) == "direct, few pixels"
    assert _core.conv_kernel((1, 64, 6, 6), w, (1, 1), (1, 1, 1, 1), (1, 1), 1) != "direct, few pixels"
