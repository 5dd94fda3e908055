"""ops.batch_norm against the float64 oracle in both layouts, on every instruction set this CPU runs.

Results are held to the bounds of the docstrings; the backward pass is the derivative of the forward pass.
"""

from __future__ import annotations

import cases
import helpers
import numpy as np
import pytest
import reference
from neocog import ops

CASES = cases.BATCH_NORM | {  # shapes of x
    "planes_longer_than_a_chunk": (2, 3, 70, 61),
    "channels_in_one_long_run": (3, 1, 90, 91),
    "fewer_values_than_a_joined_row": (3, 5, 2, 2),
    "many_joined_rows": (40, 3, 23, 21),
    "many_rows_of_features": (3001, 40),
    "channels_past_a_tile": (5, 1100, 2, 3),
    "item_after_item": (2, 64, 50, 47),
}


def parameters(rng, x, dtype):
    """weight, bias, mean, var of usual sizes."""
    channels = x.shape[1]
    weight, bias, mean = (helpers.normal(rng, (channels,), dtype) for _ in range(3))
    return weight, bias, mean, rng.uniform(0.5, 2, channels).astype(dtype)


def per_channel(v, x):
    return np.asarray(v, np.float64).reshape(-1, *[1] * (x.ndim - 2))


def all_but_channels(x):
    return (0, *range(2, x.ndim))


def assert_forward_within_bound(y, x, weight, bias, mean, var, eps, statistics=0):
    """4 * eps * (|(x - mean) / std * weight| + |bias|), and the statistics' error in units of eps * std."""
    unit = (x.astype(np.float64) - per_channel(mean, x)) / np.sqrt(per_channel(var, x) + eps)
    scaled = unit * per_channel(weight, x)
    exact = scaled + per_channel(bias, x)
    bound = 4 * (abs(scaled) + abs(per_channel(bias, x))) + statistics * (abs(scaled) + abs(per_channel(weight, x)))
    assert np.all(abs(y - exact) <= np.finfo(y.dtype).eps * bound)


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
def test_inference_is_within_the_documented_bound(shape, layout, dtype, isa, rng):
    x = helpers.normal(rng, shape, dtype)
    weight, bias, mean, var = parameters(rng, x, dtype)
    y = ops.batch_norm(helpers.lay_out(x, layout), weight, bias, mean=mean, var=var)
    assert y.dtype == dtype
    assert y.shape == shape
    helpers.assert_laid_out(y, layout)
    assert_forward_within_bound(y, x, weight, bias, mean, var, 1e-5)


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
def test_training_is_within_the_documented_bound(shape, layout, dtype, isa, rng):
    x = (helpers.normal(rng, shape) * 3 + 5).astype(dtype)
    weight, bias, _, _ = parameters(rng, x, dtype)
    y, mean, var = ops.batch_norm(helpers.lay_out(x, layout), weight, bias, training=True)
    wide, over = x.astype(np.float64), all_but_channels(x)
    exact_mean, exact_var = wide.mean(over), wide.var(over)
    eps = np.finfo(dtype).eps
    assert mean.dtype == var.dtype == y.dtype == dtype
    assert np.all(abs(mean - exact_mean) <= eps * abs(exact_mean) + 80 * eps * np.sqrt(exact_var))
    assert np.all(abs(var - exact_var) <= 80 * eps * exact_var)
    helpers.assert_laid_out(y, layout)
    assert_forward_within_bound(y, x, weight, bias, exact_mean, exact_var, 1e-5, statistics=80)


@pytest.mark.parametrize("shape", [(8, 17, 30, 31), (64, 40), (3, 2, 100, 100)])
def test_a_mean_of_10000_costs_no_digit(shape, layout, dtype, isa, rng):
    x = (10_000 + rng.standard_normal(shape)).astype(dtype)
    y, mean, var = ops.batch_norm(helpers.lay_out(x, layout), training=True)
    shifted, over = x.astype(np.float64) - 10_000, all_but_channels(x)  # exact; NumPy's own mean of x is not
    tolerance = 80 * np.finfo(dtype).eps
    np.testing.assert_allclose(mean, 10_000 + shifted.mean(over), rtol=np.finfo(dtype).eps)
    np.testing.assert_allclose(var, shifted.var(over), rtol=tolerance)
    expected = reference.batch_norm(shifted, training=True)[0]
    if dtype == np.float32:
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    else:  # the mean itself is rounded to 1e-12
        np.testing.assert_allclose(y, expected, rtol=0, atol=4e-12)


def test_an_outlier_as_the_first_value_spoils_no_statistic(layout, isa, rng):
    x = helpers.normal(rng, (4, 20, 40, 40))
    x[0, :, 0, 0] = 1e6
    _, mean, var = ops.batch_norm(helpers.lay_out(x, layout), training=True)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(var, wide.var((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=1e-5)


def test_a_trend_across_the_batch_spoils_no_statistic(layout, isa, rng):
    x = helpers.normal(rng, (16, 20, 20, 20)) + np.linspace(-1e4, 1e4, 16, dtype=np.float32)[:, None, None, None]
    _, mean, var = ops.batch_norm(helpers.lay_out(x, layout), training=True)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(var, wide.var((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=0, atol=1e-5 * wide.std())


def test_a_constant_channel_has_variance_0_and_gives_the_bias(layout, dtype, isa):
    x = np.full((3, 20, 5, 5), 0.1, dtype)
    bias = np.linspace(-1, 1, 20).astype(dtype)
    y, mean, var = ops.batch_norm(helpers.lay_out(x, layout), None, bias, training=True)
    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(mean, x[0, :, 0, 0])
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], x.shape))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
def test_backward_is_within_the_documented_bound(shape, training, layout, dtype, isa, rng):
    x, grad_y = helpers.normal(rng, shape, dtype), helpers.normal(rng, shape, dtype)
    weight, _, mean, var = parameters(rng, x, dtype)
    if training:
        _, mean, var = ops.batch_norm(x, training=True)
    statistics = {"mean": mean, "var": var, "training": training}
    got = ops.batch_norm_backward(helpers.lay_out(grad_y, layout), helpers.lay_out(x, layout), weight, **statistics)
    expected = reference.batch_norm_backward(grad_y, x, weight, **statistics)
    helpers.assert_laid_out(got[0], layout)
    assert all(g.dtype == dtype for g in got)
    eps, over = np.finfo(dtype).eps, all_but_channels(x)
    std = np.sqrt(per_channel(var, x) + 1e-5)
    unit, size = abs(x - per_channel(mean, x)) / std, abs(grad_y).astype(np.float64)
    products, sums = (size * unit).sum(over), size.sum(over)
    assert np.all(abs(got[1] - expected[1]) <= 80 * eps * products)
    assert np.all(abs(got[2] - expected[2]) <= 80 * eps * sums)
    moved = 10 * (per_channel(sums, x) + unit * per_channel(products, x)) / (x.size / x.shape[1])
    bound = 8 * eps * abs(per_channel(weight, x) / std) * (size + training * moved)
    assert np.all(abs(got[0] - expected[0]) <= bound)


@pytest.mark.parametrize("training", [True, False])
def test_backward_is_the_derivative_of_forward(training, layout, rng):
    shape, step = (3, 4, 5, 2), 1e-6
    x, grad_y = helpers.lay_out(rng.standard_normal(shape), layout), rng.standard_normal(shape)
    weight, bias, mean, var = parameters(rng, x, np.float64)

    def loss(x, weight, bias):
        if training:
            return (ops.batch_norm(x, weight, bias, training=True)[0] * grad_y).sum()
        return (ops.batch_norm(x, weight, bias, mean=mean, var=var) * grad_y).sum()

    if training:
        _, mean, var = ops.batch_norm(x, training=True)
    gradients = ops.batch_norm_backward(grad_y, x, weight, mean=mean, var=var, training=training)
    for i, gradient in enumerate(gradients):
        arrays = [x, weight, bias]
        direction = rng.standard_normal(arrays[i].shape)
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[i] = arrays[i] + sign * step * direction
            ends.append(loss(*moved))
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
def test_the_activation_is_the_op_of_that_name(activation, layout, isa, rng):
    x = helpers.lay_out(helpers.normal(rng, (4, 17, 5, 6)), layout)
    weight, bias, mean, var = parameters(rng, x, np.float32)

    def apply(y):
        return ops.gelu(y, "tanh") if activation == "gelu_tanh" else getattr(ops, activation)(y)

    given = {"mean": mean, "var": var}
    plain, fused = (ops.batch_norm(x, weight, bias, activation=f, **given) for f in (None, activation))
    np.testing.assert_array_equal(fused, apply(plain))
    plain, fused = (ops.batch_norm(x, weight, bias, training=True, activation=f) for f in (None, activation))
    for result, expected in zip(fused, (apply(plain[0]), *plain[1:]), strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
def test_backward_goes_through_the_activation(activation, training, layout, dtype, isa, rng):
    x, grad_y = (helpers.normal(rng, (4, 37, 5, 7), dtype) for _ in range(2))
    weight, bias, mean, var = parameters(rng, x, dtype)
    if training:
        _, mean, var = ops.batch_norm(x, training=True)
    given = {"mean": mean, "var": var, "training": training}
    # Away from the kinks, at 0, 3 and 6, where rounding would take sides.
    z = reference.batch_norm(x, weight, bias, mean=mean, var=var)
    grad_y[np.min([abs(z - kink) for kink in (-3, 0, 3, 6)], axis=0) < 1e-4] = 0
    grad_z = reference.through(activation, grad_y, z).astype(dtype)
    got = ops.batch_norm_backward(
        helpers.lay_out(grad_y, layout), helpers.lay_out(x, layout), weight, bias, activation=activation, **given
    )
    helpers.assert_laid_out(got[0], layout)
    for gradient, expected in zip(got, reference.batch_norm_backward(grad_z, x, weight, **given), strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=300 * np.finfo(dtype).eps * abs(expected).max())
    alone = ops.batch_norm_backward(
        grad_y, x, weight, bias, activation=activation, output_mask=(False, False, True), **given
    )
    assert alone[:2] == (None, None)
    np.testing.assert_allclose(alone[2], got[2], rtol=0, atol=300 * np.finfo(dtype).eps * abs(got[2]).max())


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 9), (4, 6, 3, 5), (2, 6, 3, 2, 4)])
def test_data_format_names_the_order_of_the_shape(shape, layout, rng):
    x, grad_y = helpers.lay_out(helpers.normal(rng, shape), layout), helpers.normal(rng, shape)
    weight, bias, _, _ = parameters(rng, x, np.float32)
    y, mean, var = ops.batch_norm(x, weight, bias, training=True)
    grads = ops.batch_norm_backward(grad_y, x, weight, mean=mean, var=var)
    last, grad_last = helpers.channels_last(x), helpers.channels_last(grad_y)
    formats = {"data_format": {3: "NLC", 5: "NDHWC"}.get(len(shape), "NHWC")}
    got, *statistics = ops.batch_norm(last, weight, bias, training=True, **formats)
    np.testing.assert_array_equal(helpers.channels_first(got), y)
    np.testing.assert_array_equal(statistics, (mean, var))
    got, *rest = ops.batch_norm_backward(grad_last, last, weight, mean=mean, var=var, **formats)
    np.testing.assert_array_equal(helpers.channels_first(got), grads[0])
    np.testing.assert_array_equal(rest, grads[1:])


def test_other_memory_is_copied_and_left_alone(rng):
    x = helpers.normal(rng, (3, 5, 4, 6))
    expected = ops.batch_norm(x, training=True)
    holes = np.zeros((3, 5, 4, 12), np.float32)[..., ::2]
    holes[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    odd_order = np.ascontiguousarray(x.transpose(3, 0, 2, 1)).transpose(1, 3, 2, 0)
    for array in (holes, frozen, odd_order, np.ascontiguousarray(x[::-1])[::-1]):
        for got, result in zip(ops.batch_norm(array, training=True), expected, strict=True):
            np.testing.assert_allclose(got, result, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(array, x)


def test_backward_gives_what_the_mask_asks_for(layout, rng):
    x, grad_y = (helpers.lay_out(helpers.normal(rng, (3, 5, 4, 6)), layout) for _ in range(2))
    _, mean, var = ops.batch_norm(x, training=True)
    for training in (True, False):
        given = {"mean": mean, "var": var, "training": training}
        full = ops.batch_norm_backward(grad_y, x, **given)
        for mask in np.ndindex(2, 2, 2):
            wanted = tuple(map(bool, mask))
            got = ops.batch_norm_backward(grad_y, x, output_mask=wanted, **given)
            for want, gradient, expected in zip(wanted, got, full, strict=True):
                assert (gradient is None) != want
                if want:
                    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("shape", [(6, 70, 33, 31), (3, 2, 150, 200), (5000, 40), (4, 700, 5, 5)])
def test_the_same_bits_for_any_number_of_threads(shape, layout, threads, rng):
    import neocog

    x, grad_y = (helpers.lay_out(helpers.normal(rng, shape), layout) for _ in range(2))

    def run():
        y, mean, var = ops.batch_norm(x, training=True)
        return (y, mean, var, *ops.batch_norm_backward(grad_y, x, mean=mean, var=var))

    results = run()
    neocog.set_num_threads(1)
    for got, expected in zip(results, run(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_result_that_goes_past_the_caches_is_whole(layout, isa, rng):
    x = helpers.lay_out(helpers.normal(rng, (8, 32, 160, 160)), layout)
    y, mean, var = ops.batch_norm(x, training=True, activation="relu")
    scale = 1 / np.sqrt(var + 1e-5)
    expected = (x - mean[:, None, None]) * scale[:, None, None]
    np.testing.assert_allclose(y, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)
    grad_x, *_ = ops.batch_norm_backward(x, x, mean=mean, var=var)
    # With dy = x the gradient is what eps leaves of it.
    np.testing.assert_allclose(grad_x, expected * (1e-5 / (var + 1e-5))[:, None, None], rtol=0, atol=1e-5)


def test_nan_stays_in_its_channel(layout, dtype, isa):
    x = np.linspace(-1, 1, 3 * 18 * 4 * 5).astype(dtype).reshape(3, 18, 4, 5)
    x[1, 5, 2, 3] = np.nan
    x[2, 7, 0, 0] = np.inf
    y, mean, var = ops.batch_norm(helpers.lay_out(x, layout), training=True, activation="relu")
    assert np.isnan(y[:, [5, 7]]).all()
    assert np.isnan(mean[5])
    assert mean[7] == np.inf
    assert np.isnan(var[[5, 7]]).all()
    others = [c for c in range(18) if c not in (5, 7)]
    assert np.isfinite(y[:, others]).all()
    given = {"mean": np.zeros(18, dtype), "var": np.ones(18, dtype)}
    y = ops.batch_norm(helpers.lay_out(x, layout), **given, activation="relu")
    assert np.isnan(y[1, 5, 2, 3])
    assert y[2, 7, 0, 0] == np.inf
    assert np.isfinite(y).sum() == y.size - 2


def test_an_empty_batch_gives_empty_results(layout, dtype):
    x, ones = np.zeros((0, 3, 4, 5), dtype), np.ones(3, dtype)
    assert ops.batch_norm(x, mean=ones, var=ones).shape == x.shape
    y, mean, var = ops.batch_norm(x, training=True)
    assert y.shape == x.shape
    assert np.isnan([mean, var]).all()
    grad_x, grad_weight, grad_bias = ops.batch_norm_backward(x, x, mean=ones, var=ones)
    assert grad_x.shape == x.shape
    np.testing.assert_array_equal([grad_weight, grad_bias], 0)
    assert ops.batch_norm(np.zeros((2, 0, 3), dtype), training=True)[1].shape == (0,)


X = np.ones((2, 3, 4), np.float32)
C = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ops.batch_norm(X),
            ValueError,
            r"`mean` is None; training=False needs `mean` and `var` of shape \(3,\)",
        ),
        (lambda: ops.batch_norm(X, mean=C), ValueError, "`var` is None"),
        (
            lambda: ops.batch_norm(X, mean=C, var=C, training=True),
            ValueError,
            "`mean` and `var` are given, but training=True",
        ),
        (
            lambda: ops.batch_norm(X[0, 0], training=True),
            ValueError,
            r"`x` has 1 axes, shape \(4,\); it must have 2 or more",
        ),
        (lambda: ops.batch_norm(X[:1, :, :1], training=True), ValueError, "one value per channel"),
        (
            lambda: ops.batch_norm(X, C[:2], training=True),
            ValueError,
            r"`weight` has shape \(2,\); it must be \(3,\)",
        ),
        (lambda: ops.batch_norm(X, C, X, training=True), ValueError, r"`bias` has shape \(2, 3, 4\)"),
        (
            lambda: ops.batch_norm(X, C.astype(np.float64), training=True),
            TypeError,
            "`weight` has dtype float64",
        ),
        (lambda: ops.batch_norm(X.astype(np.int32), training=True), TypeError, "`x` has dtype int32"),
        (lambda: ops.batch_norm(X, training=True, eps=0), ValueError, "`eps` is 0.0; it must be positive"),
        (lambda: ops.batch_norm(X, mean=C, var=C, eps=-1), ValueError, "`eps` is -1.0"),
        (lambda: ops.batch_norm(X, training=True, eps="small"), TypeError, "`eps` is 'small'"),
        (lambda: ops.batch_norm(X, training=True, data_format="CNHW"), ValueError, "`data_format` is 'CNHW'"),
        (lambda: ops.batch_norm(X, training=True, activation="prelu"), ValueError, "`activation` is 'prelu'"),
        (
            lambda: ops.batch_norm_backward(X[:1], X, mean=C, var=C),
            ValueError,
            r"`grad_y` has shape \(1, 3, 4\), `x` \(2, 3, 4\)",
        ),
        (
            lambda: ops.batch_norm_backward(X, X, mean=C, var=None),
            ValueError,
            "`var` is None; pass the statistics",
        ),
        (
            lambda: ops.batch_norm_backward(X, X, mean=C, var=C, output_mask=(True,)),
            ValueError,
            "`output_mask` is",
        ),
    ],
)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()
