"""ops.conv_transpose1d and conv_transpose2d against the float64 oracle, on every instruction set."""

from __future__ import annotations

from math import ceil, gcd, prod

import cases
import convolution_checks as checks
import helpers
import neocog
import numpy as np
import pytest
from cases import ConvTranspose
from convolution_checks import Problem
from neocog import ops


@pytest.fixture(autouse=True)
def _directly():
    """The plain sum of products; Winograd's method has a file of its own."""
    with neocog.strict():
        yield


# Large enough that the work is cut: into tiles of every phase, panels of output channels, and partial sums.
CUT2D = {
    "many_tiles_and_panels": ConvTranspose((1, 12, 21, 23), (12, 70, 4, 4), stride=2, padding=1),
    "many_tiles_of_nine_phases": ConvTranspose((1, 8, 17, 19), (8, 5, 5, 4), stride=3, padding=2),
    "many_tiles_grouped": ConvTranspose((2, 12, 20, 21), (12, 5, 3, 3), stride=2, groups=3),
    "groups_of_8_share_vectors": ConvTranspose((2, 40, 20, 21), (40, 8, 4, 4), stride=2, padding=1, groups=5),
    "groups_of_4_share_vectors": ConvTranspose((1, 32, 17, 23), (32, 4, 3, 3), stride=2, padding=1, groups=8),
    "taps_far_apart": ConvTranspose((2, 20, 30, 33), (20, 70, 3, 3), padding=12, dilation=12),
    "many_rows_depthwise": ConvTranspose((1, 24, 20, 35), (24, 1, 4, 4), stride=2, padding=1, groups=24),
    "many_rows_depthwise_stride_1": ConvTranspose((1, 20, 19, 33), (20, 1, 3, 3), padding=1, groups=20),
    "several_inputs_to_one_output": ConvTranspose((2, 24, 9, 17), (24, 1, 3, 3), stride=2, groups=8),
    # Few outputs of many inputs: products of a pixel with all taps, added up where taps meet.
    "few_outputs_9x9": ConvTranspose((2, 35, 13, 17), (35, 3, 9, 9), stride=4, padding=3, output_padding=1),
    "few_outputs_rows_cut": ConvTranspose((1, 33, 61, 9), (33, 2, 5, 5), stride=2, padding=2),
    "few_outputs_columns_cut": ConvTranspose((1, 40, 3, 431), (40, 3, 3, 7), stride=(1, 2), padding=(1, 3)),
    "few_outputs_grouped": ConvTranspose((2, 70, 12, 15), (70, 3, 7, 7), stride=2, padding=3, groups=2),
    "few_outputs_gaps": ConvTranspose((1, 40, 10, 11), (40, 4, 3, 2), stride=(3, 4), output_padding=(2, 3)),
    "few_outputs_padding_of_all_but_a_tap": ConvTranspose((1, 36, 10, 12), (36, 3, 7, 7), stride=2, padding=6),
    "few_outputs_dilated": ConvTranspose((1, 32, 10, 11), (32, 3, 3, 3), stride=2, dilation=(1, 3)),
    "few_outputs_patches": ConvTranspose((3, 24, 6, 7), (24, 3, 4, 4), stride=4),
    "one_output": ConvTranspose((1, 17, 15, 14), (17, 1, 4, 4), stride=2, padding=1),
}
EDGES2D = {
    "depthwise_stride_along_rows_only": ConvTranspose((2, 8, 9, 11), (8, 1, 3, 3), stride=(2, 1), padding=1, groups=8),
    "depthwise_stride_along_columns_only": ConvTranspose((2, 8, 9, 11), (8, 1, 3, 3), stride=(1, 2), groups=8),
    "depthwise_gaps": ConvTranspose((1, 6, 4, 5), (6, 1, 2, 1), stride=(3, 4), output_padding=(2, 3), groups=6),
    "depthwise_dilated": ConvTranspose((1, 6, 5, 6), (6, 1, 3, 2), stride=2, dilation=(3, 2), groups=6),
    "several_inputs_to_one_output_stride_1": ConvTranspose((1, 12, 7, 6), (12, 1, 3, 3), padding=1, groups=4),
    "channel_to_several": ConvTranspose((1, 5, 6, 5), (5, 3, 3, 3), stride=2, groups=5),
    "stride_exceeds_the_result": ConvTranspose((1, 3, 1, 1), (3, 4, 2, 2), stride=9),
    "nothing_but_bias_between": ConvTranspose((1, 4, 3, 3), (4, 18, 1, 1), stride=4, output_padding=3),
    "long_stride": ConvTranspose((2, 5, 3, 4), (5, 3, 16, 16), stride=16),
    "long_stride_of_uneven_taps": ConvTranspose((2, 6, 3, 5), (6, 2, 5, 41), stride=(2, 17), padding=(1, 30), groups=2),
    "long_stride_crops_all_of_a_phase": ConvTranspose((1, 4, 2, 3), (4, 3, 3, 20), stride=(1, 18), padding=(0, 19)),
    "long_stride_ends_with_bias": ConvTranspose((1, 4, 1, 3), (4, 2, 1, 40), stride=(1, 20), output_padding=(0, 19)),
}
CUT1D = {
    "long": ConvTranspose((1, 6, 900), (6, 9, 4), stride=2, padding=1),
    "few_outputs_cut": ConvTranspose((1, 40, 901), (40, 2, 20), stride=4, padding=8, output_padding=2),
    "one_output_k80_cut": ConvTranspose((2, 40, 700), (40, 1, 80), stride=4, padding=38),
    "vocoder_k64_stride_16": ConvTranspose((1, 24, 31), (24, 1, 64), stride=16, padding=24),
}


def named(tables: dict[int, dict[str, ConvTranspose]]) -> list:
    return [
        pytest.param(f"conv_transpose{axes}d", case, id=f"{axes}d-{name}")
        for axes, table in tables.items()
        for name, case in table.items()
    ]


NAMED = named({2: cases.CONV_TRANSPOSE2D | CUT2D | EDGES2D, 1: cases.CONV_TRANSPOSE1D | CUT1D})
CUT = named({2: CUT2D, 1: CUT1D})


def most_taps(kernel: int, stride: int, dilation: int) -> int:
    """Taps that any one output sees: those whose reach has one residue modulo the stride."""
    return ceil(kernel / (stride // gcd(stride, dilation)))


def problem(op: str, case: ConvTranspose, rng, dtype=np.float32, layout: str = "NCHW") -> Problem:
    x = helpers.lay_out(helpers.normal(rng, case.x, dtype), layout)
    weight = helpers.normal(rng, case.weight, dtype)
    bias = helpers.normal(rng, (case.out_channels,), dtype)
    steps = (
        (s[-1 - axis] if np.ndim(s) else s for s in (case.stride, case.dilation)) for axis in range(len(case.x) - 2)
    )
    taps = prod(most_taps(case.weight[-1 - axis], *step) for axis, step in enumerate(steps))
    terms = case.x[1] // case.groups * taps, prod(case.weight[1:]), case.x[0] * prod(case.x[2:])
    return Problem(op, (x, weight), bias, case.steps, terms)


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
        ("conv_transpose2d", cases.CONV_TRANSPOSE2D["fsrcnn_k9_stride_4"]),
        ("conv_transpose2d", cases.CONV_TRANSPOSE2D["dilation_and_stride_coprime"]),
        ("conv_transpose2d", cases.CONV_TRANSPOSE2D["groups"]),
        ("conv_transpose2d", cases.CONV_TRANSPOSE2D["same_k3_stride_2_crops_the_end"]),
        ("conv_transpose1d", cases.CONV_TRANSPOSE1D["k3_stride_2"]),
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
    """On an image one wide and one high too."""
    kernel = (1, 1) if channels == out_channels == 728 else (3, 2)  # more would take the oracle a second
    for size in ((3, 5), (4, 1), (1, 3)):
        case = ConvTranspose((1, channels, *size), (channels, out_channels, *kernel), stride=(1, 2))
        given = problem("conv_transpose2d", case, rng, np.float32, layout)
        checks.check_forward(given)
        checks.check_backward(given, rng)


def test_output_mask_skips_what_it_says_and_changes_nothing_else(layout, rng):
    for name in ("dcgan_k4_stride_2", "depthwise"):
        case = cases.CONV_TRANSPOSE2D[name]
        checks.check_output_mask(problem("conv_transpose2d", case, rng, np.float32, layout), rng)
    case = cases.CONV_TRANSPOSE1D["dilated"]
    checks.check_output_mask(problem("conv_transpose1d", case, rng, np.float32, layout), rng)


UNAMBIGUOUS = [p for p in NAMED if p.values[1].x[0] and p.values[1].x[1] > 1 and prod(p.values[1].x[2:]) > 1]


@pytest.mark.parametrize(("op", "case"), UNAMBIGUOUS)
def test_data_format_orders_the_axes_and_nothing_else(op, case, layout, rng):
    checks.check_data_format(problem(op, case, rng, np.float32, layout), rng)


@pytest.mark.parametrize(
    ("op", "case"),
    [
        ("conv_transpose2d", cases.CONV_TRANSPOSE2D["asymmetric_padding"]),
        ("conv_transpose1d", cases.CONV_TRANSPOSE1D["vocoder_k16_stride_8"]),
    ],
)
def test_one_image_needs_no_batch_axis(op, case, layout, rng):
    checks.check_unbatched(problem(op, case, rng, np.float32, layout), rng)


ENDS = [
    "unet_k2_stride_2",
    "stride_exceeds_kernel_leaves_gaps",
    "k3_stride_2_taps_overlap_unevenly",
    "depthwise",
]
FUSED = [*(pytest.param("conv_transpose2d", cases.CONV_TRANSPOSE2D[name], id=name) for name in ENDS), *CUT]


@pytest.mark.parametrize(("op", "case"), FUSED)
def test_a_fused_activation_is_the_activation_afterwards(op, case, isa, layout, rng):
    """Once for every output, those that no input reaches and those of every phase included."""
    checks.check_activations(problem(op, case, rng, np.float32, layout))


# The adjoint of convolution, and the crops of Keras


# Other crops are spelled otherwise by convolution, and have their own tests.
CROPPED_ALIKE = [p for p in NAMED if not isinstance(p.values[1].padding, str) and p.values[1].output_padding == 0]


@pytest.mark.parametrize(("op", "case"), CROPPED_ALIKE)
def test_it_is_the_gradient_of_convolution(op, case, layout, rng):
    """conv_transpose(x, weight) is what conv, from y to x with the same weight, gives back for its input."""
    given = problem(op, case, rng, np.float32, layout)
    x, weight = given.arrays
    y = given._replace(bias=None).forward()
    steps = {name: case.steps[name] for name in ("stride", "padding", "dilation", "groups")}
    backward = getattr(ops, f"{op.replace('_transpose', '')}_backward")
    grad, *_ = backward(x, np.zeros_like(y), weight, output_mask=(True, False, False), **steps)
    np.testing.assert_array_equal(grad, y)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_same_is_the_adjoint_of_same_convolution(stride, dilation, rng):
    """Keras' crop: stride times the size, placed as the convolution that made x out of y would have it."""
    for size in range(1, 6):
        for kernel in range(1, 7):
            x, weight = helpers.normal(rng, (1, 2, size)), helpers.normal(rng, (2, 3, kernel))
            steps = {"stride": stride, "dilation": dilation, "padding": "same"}
            y = ops.conv_transpose1d(x, weight, **steps)
            assert y.shape == (1, 3, size * stride)
            grad, *_ = ops.conv1d_backward(x, np.zeros_like(y), weight, **steps)
            np.testing.assert_array_equal(y, grad)


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_valid_keeps_everything_and_reaches_the_end_of_the_last_stride(stride, dilation, rng):
    for kernel in range(1, 5):
        x, weight = helpers.normal(rng, (1, 2, 4)), helpers.normal(rng, (2, 3, kernel))
        bias = helpers.normal(rng, (3,))
        y = ops.conv_transpose1d(x, weight, bias, stride=stride, dilation=dilation, padding="valid")
        full = ops.conv_transpose1d(x, weight, bias, stride=stride, dilation=dilation)
        reach = dilation * (kernel - 1) + 1
        assert y.shape == (1, 3, 4 * stride + max(reach - stride, 0))
        np.testing.assert_array_equal(y[..., : full.shape[-1]], full)
        assert np.all(y[..., full.shape[-1] :] == bias[:, None])


def test_output_padding_adds_pixels_at_the_end_only(isa, layout, rng):
    x, weight = helpers.lay_out(helpers.normal(rng, (2, 5, 4, 6)), layout), helpers.normal(rng, (5, 4, 3, 3))
    y = ops.conv_transpose2d(x, weight, stride=3, padding=1)
    more = ops.conv_transpose2d(x, weight, stride=3, padding=1, output_padding=(2, 1))
    assert more.shape == (2, 4, y.shape[2] + 2, y.shape[3] + 1)
    np.testing.assert_array_equal(more[:, :, : y.shape[2], : y.shape[3]], y)


# Rejections

X, W = np.ones((2, 6, 5, 5), np.float32), np.ones((6, 2, 3, 3), np.float32)
Y = (2, 2, 7, 7)
REJECTED = [
    ({"x": X[0, 0]}, ValueError, r"`x` has 2 axes, shape \(5, 5\); it must have 4"),
    ({"x": X[:, :, :0]}, ValueError, r"`x` has the spatial size \(0, 5\); no axis of it may be empty"),
    (
        {"weight": W[:5]},
        ValueError,
        r"`x` has 6 channels, but `weight` .* takes 5; .* the shape \(6, out/groups",
    ),
    ({"weight": W[0]}, ValueError, "`weight` has 3 axes"),
    ({"weight": W[:, :0]}, ValueError, r"`weight` has shape \(6, 0, 3, 3\); no axis of it may be empty"),
    ({"weight": W.astype(np.float64)}, TypeError, "`weight` has dtype float64, the other arrays float32"),
    ({"groups": 4}, ValueError, "`groups` is 4; it must divide the 6 channels of `x`"),
    ({"groups": 0}, ValueError, "`groups` is 0; it must be at least 1"),
    ({"stride": 0}, ValueError, "`stride` is 0; it must be at least 1"),
    ({"dilation": (1, 0)}, ValueError, "`dilation` is 0; it must be at least 1"),
    ({"padding": -1}, ValueError, "`padding` is -1; it must be at least 0"),
    (
        {"padding": 4},
        ValueError,
        r"`padding` is 4: it leaves an output of \(-1, -1\) pixels; use less padding",
    ),
    ({"padding": "causal"}, ValueError, "`padding` is 'causal'"),
    ({"output_padding": -1}, ValueError, "`output_padding` is -1; it must be at least 0"),
    (
        {"output_padding": 1},
        ValueError,
        "`output_padding` is 1 along the height; .* less than the stride 1 or the dil",
    ),
    (
        {"output_padding": (1, 3), "stride": 2, "dilation": 3},
        ValueError,
        "`output_padding` is 3 along the width",
    ),
    (
        {"output_padding": 1, "stride": 2, "padding": "same"},
        ValueError,
        "`output_padding` is 1; with `padding='same'`",
    ),
    ({"data_format": "NLC"}, ValueError, "`data_format` is 'NLC'; it must be 'NCHW' or 'NHWC'"),
]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        *REJECTED,
        ({"bias": np.ones(6, np.float32)}, ValueError, r"`bias` has shape \(6,\); it must be \(2,\)"),
        ({"activation": "Relu"}, ValueError, "`activation` is 'Relu'; it must be one of"),
    ],
)
def test_a_rejection_names_the_argument_its_value_and_the_repair(changes, error, message):
    with pytest.raises(error, match=message):
        ops.conv_transpose2d(**({"x": X, "weight": W} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        *REJECTED,
        (
            {"grad_y": np.ones((2, 2, 5, 5), np.float32)},
            ValueError,
            r"`grad_y` has shape .* y has \(2, 2, 7, 7\)",
        ),
        ({"grad_y": np.ones(Y)}, TypeError, "`grad_y` has dtype float64"),
        ({"output_mask": (True,)}, ValueError, r"`output_mask` is \(True,\); it must be 3 bools"),
    ],
)
def test_backward_rejects_by_the_same_rules(changes, error, message):
    with pytest.raises(error, match=message):
        ops.conv_transpose2d_backward(**({"grad_y": np.ones(Y, np.float32), "x": X, "weight": W} | changes))


def test_one_dimension_rejects_what_is_two_dimensional():
    with pytest.raises(ValueError, match=r"`x` has 4 axes, shape .*; it must have 3"):
        ops.conv_transpose1d(X, W[:, :, 0])
    with pytest.raises(ValueError, match=r"`output_padding` is \(1, 1\); it must be an int or have 1 entries"):
        ops.conv_transpose1d(X[:, :, 0], W[:, :, 0], output_padding=(1, 1), stride=2)


def test_a_long_stride_keeps_nan_to_the_outputs_it_reaches(layout, rng):
    """23 taps of stride 16: seven phases have two taps, the others one, and no tap of zeros."""
    x, weight = helpers.normal(rng, (1, 3, 1, 5)), helpers.normal(rng, (3, 2, 1, 23))
    x[0, 1, 0, 2] = np.nan
    y = ops.conv_transpose2d(helpers.lay_out(x, layout), weight, stride=(1, 16))
    assert np.isnan(y[..., 32 : 32 + 23]).all()
    assert np.isfinite(y[..., :32]).all()
    assert np.isfinite(y[..., 32 + 23 :]).all()
