"""Convolution with the statistics of its own result, and batch norm with them, on every instruction set.

`_core.conv_batch_norm_training` is what `torch.ops.neocog.conv_bn_act_training` runs; it is held to the convolution and
to the float64 oracle of batch norm. tests/cpp/test_moments.cc holds the statistics of every kernel, used here or not.
"""

from __future__ import annotations

import contextlib

import helpers
import neocog
import numpy as np
import pytest
import reference
from cases import Conv
from neocog import _core
from neocog._activations import activation_code


@pytest.fixture(autouse=True, params=["auto", "strict"])
def _method(request):
    """Winograd's kernels hand over their tiles, and the direct ones of the same geometries."""
    with neocog.strict() if request.param == "strict" else contextlib.nullcontext():
        yield


CASES = {
    "resnet_3x3": Conv((2, 32, 28, 30), (70, 32, 3, 3), padding=1),
    "pointwise": Conv((3, 40, 14, 14), (33, 40, 1, 1)),
    "strided_stem": Conv((2, 3, 61, 63), (20, 3, 7, 7), stride=2, padding=3),
    "last_tiles_of_three_rows_of_a_small_image": Conv((5, 42, 7, 7), (40, 42, 3, 3), padding=1),
    "rows_longer_than_a_block": Conv((1, 16, 6, 410), (16, 16, 3, 3), padding=1),
    "dilated": Conv((2, 17, 20, 21), (19, 17, 3, 3), padding=2, dilation=2),
    "taps_far_apart": Conv((2, 20, 30, 33), (40, 20, 3, 3), padding=12, dilation=12),
    "one_dimension": Conv((2, 48, 1, 700), (50, 48, 1, 3), padding=(0, 1)),
    "one_dimension_dilated": Conv((2, 48, 1, 700), (50, 48, 1, 3), padding=(0, 9), dilation=(1, 9)),
    "five_by_five": Conv((2, 33, 20, 21), (50, 33, 5, 5), padding=2),
    "few_tiles": Conv((2, 256, 7, 7), (260, 256, 3, 3), padding=1),
    "grouped": Conv((2, 64, 19, 17), (64, 32, 3, 3), padding=1, groups=2),
    "groups_of_few_output_channels": Conv((2, 12, 23, 29), (6, 4, 3, 3), padding=1, groups=3),
    "groups_of_8": Conv((2, 72, 23, 29), (72, 8, 3, 3), padding=1, groups=9),
    "few_output_channels": Conv((2, 17, 40, 41), (3, 17, 3, 3), padding=1),
    "few_pixels": Conv((2, 20, 4, 4), (40, 20, 3, 3), padding=1),
    "depthwise": Conv((2, 35, 37, 21), (35, 1, 3, 3), padding=1, groups=35),
    "depthwise_of_few_channels": Conv((2, 5, 37, 21), (5, 1, 3, 3), padding=1, groups=5),
    "row_wider_than_every_tile": Conv((1, 3, 3, 1031), (24, 3, 3, 3), padding=1),
    "image_one_wide": Conv((2, 5, 190, 1), (18, 5, 3, 1), padding=(1, 0)),
}


def run(case, x, weight, bias, scale, shift, activation=None):
    """(y, middle, mean, var), and what the convolution alone gives."""
    window = [pair if isinstance(pair, tuple) else (pair, pair) for pair in (case.stride, case.padding, case.dilation)]
    last = x.flags.c_contiguous is False
    code, alpha = activation_code(activation)
    results = _core.conv_batch_norm_training(
        x, weight, bias, scale, shift, *window, case.groups, 1e-5, code, alpha, last
    )
    return results, _core.conv_forward(x, weight, bias, None, *window, case.groups, 0, 0.0, last)


def arrays(case, layout, dtype, rng, offset=0.0):
    x, weight = helpers.lay_out(helpers.normal(rng, case.x, dtype), layout), helpers.normal(rng, case.weight, dtype)
    bias, scale, shift = (helpers.normal(rng, case.weight[:1], dtype) for _ in range(3))
    return x, weight, (bias + dtype(offset)).astype(dtype), scale, shift


def assert_statistics(mean, var, middle, dtype):
    """As exact as those of `ops.batch_norm`."""
    wide = middle.astype(np.longdouble)  # NumPy's own float64 sums are no finer than the ones they check
    exact_mean = wide.mean((0, 2, 3))
    exact_var = ((wide - exact_mean[:, None, None]) ** 2).mean((0, 2, 3))
    eps = np.finfo(dtype).eps
    assert mean.dtype == var.dtype == dtype
    assert np.all(abs(mean - exact_mean) <= eps * abs(exact_mean) + 80 * eps * np.sqrt(exact_var))
    assert np.all(abs(var - exact_var) <= 80 * eps * exact_var)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_batch_norm_of_the_convolution(case, layout, dtype, isa, rng):
    x, weight, bias, scale, shift = arrays(case, layout, dtype, rng)
    (y, middle, mean, var), alone = run(case, x, weight, bias, scale, shift)
    np.testing.assert_array_equal(middle, alone)
    assert_statistics(mean, var, middle, dtype)
    wide = middle.astype(np.float64)
    expected = reference.batch_norm(wide, scale, shift, training=True)[0]
    size = abs(expected - shift[:, None, None]) + abs(scale)[:, None, None] + abs(shift)[:, None, None]
    assert np.all(abs(y - expected) <= 100 * np.finfo(dtype).eps * size)
    helpers.assert_same_layout(y, x)
    helpers.assert_same_layout(middle, x)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_mean_of_10000_costs_no_digit(case, layout, dtype, isa, rng):
    x, weight, bias, *_ = arrays(case, layout, dtype, rng, 10_000)
    (y, middle, mean, var), _ = run(case, x, weight, bias, None, None)
    assert_statistics(mean, var, middle, dtype)
    expected = reference.batch_norm(middle.astype(np.float64) - 10_000, training=True)[0]
    # The mean that goes into y is not rounded to float32; in float64 it is, to 1e-12.
    atol = 80 * np.finfo(np.float32).eps if dtype == np.float32 else 4e-12
    np.testing.assert_allclose(y, expected, rtol=80 * np.finfo(dtype).eps, atol=atol)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_same_bits_for_any_number_of_threads(case, layout, isa, rng):
    given = arrays(case, layout, np.float32, rng)
    before = neocog.get_num_threads()
    try:
        neocog.set_num_threads(1)
        expected, _ = run(case, *given)
        for threads in (2, 3, 7):  # tiles are lower where there are many threads
            neocog.set_num_threads(threads)
            for result, first in zip(run(case, *given)[0], expected, strict=True):
                np.testing.assert_array_equal(result, first)
    finally:
        neocog.set_num_threads(before)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("name", ["resnet_3x3", "depthwise", "few_output_channels"])
def test_the_activation_is_applied_last(name, activation, layout, isa, rng):
    given = arrays(CASES[name], layout, np.float32, rng)
    (plain, *rest), _ = run(CASES[name], *given)
    (y, *others), _ = run(CASES[name], *given, activation)
    np.testing.assert_array_equal(y, getattr(neocog.ops, activation)(plain))
    for result, expected in zip(others, rest, strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ["resnet_3x3", "depthwise", "few_output_channels", "few_pixels"])
def test_an_empty_batch_has_nan_statistics(name, layout, dtype, rng):
    case = CASES[name]
    _, weight, *parameters = arrays(case, layout, dtype, rng)
    x = helpers.lay_out(np.zeros((0, *case.x[1:]), dtype), layout)
    (y, middle, mean, var), _ = run(case, x, weight, *parameters)
    assert y.shape == middle.shape == (0, case.weight[0], *middle.shape[2:])
    assert mean.shape == var.shape == case.weight[:1]
    assert np.isnan([mean, var]).all()


def test_nan_stays_in_its_channel(layout, isa, rng):
    case = CASES["resnet_3x3"]
    x, weight, bias, scale, shift = arrays(case, layout, np.float32, rng)
    bias[5], bias[67] = np.nan, np.inf
    (y, _, mean, var), _ = run(case, x, weight, bias, scale, shift)
    assert np.isnan(mean[5])
    assert mean[67] == np.inf
    assert np.isnan(var[[5, 67]]).all()
    others = [c for c in range(70) if c not in (5, 67)]
    assert np.isfinite([mean[others], var[others]]).all()
    assert np.isfinite(y[:, others]).all()
    assert np.isnan(y[:, [5, 67]]).all()


def test_what_does_not_agree_is_rejected(rng):
    case = CASES["pointwise"]
    x, weight, bias, scale, shift = arrays(case, "NCHW", np.float32, rng)
    with pytest.raises(ValueError, match="wrong number of elements"):
        run(case, x, weight, bias, scale[:-1], shift)
    with pytest.raises(ValueError, match="share one dtype"):
        run(case, x, weight, bias, scale, shift.astype(np.float64))
    with pytest.raises(ValueError, match="do not agree"):
        run(case, x[:, :-1].copy(), weight, bias, scale, shift)
