"""Adaptive and global pooling with their gradients against the float64 oracle, on every ISA, in both layouts."""

from __future__ import annotations

from math import prod

import cases
import numpy as np
import pytest
import reference
from helpers import assert_same_layout, assert_within, channels_last, lay_out, normal
from neocog import ops

# Beside the oracle's cases, those that this implementation treats in its own way.
CASES2D = cases.ADAPTIVE2D | {
    "irregular_rows_share_a_line": ((2, 30, 16, 16), (7, 7)),
    "irregular_strips": ((1, 2, 2, 1500), (1, 600)),
    "regular_columns_of_irregular_rows": ((1, 4, 11, 60), (4, 20)),
    "one_column": ((2, 5, 10, 9), (3, 1)),
    "one_row": ((2, 5, 10, 9), (1, 4)),
    "large_windows_many_channels": ((1, 600, 11, 9), (2, 2)),
    "more_outputs_than_inputs": ((1, 18, 3, 4), (10, 50)),
    "one_pixel_to_many": ((1, 3, 1, 1), (3, 20)),
}
GLOBAL = {
    "resnet_head": (2, 40, 7, 7),
    "one_pixel": (2, 5, 1, 1),
    "less_than_a_vector": (2, 5, 1, 3),
    "one_channel": (3, 1, 9, 13),
    "more_channels_than_a_block": (1, 1100, 3, 5),
    "plane_of_several_sums": (1, 2, 70, 71),
    "one_image_one_window": (1, 70, 60, 40),
    "no_images": (0, 3, 4, 4),
    "no_channels": (2, 0, 4, 4),
}


def most_taps(size: tuple[int, ...], outs: tuple[int, ...]) -> int:
    return prod(-(-n // o) + 1 for n, o in zip(size, outs, strict=True))


def check(shape, output_size, layout, dtype, rng):
    x = lay_out(normal(rng, shape, dtype), layout)
    expected, expected_indices = reference.adaptive_max_pool2d(x, output_size, return_indices=True)
    y, indices = ops.adaptive_max_pool2d(x, output_size, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, output_size), expected)
    assert y.dtype == dtype

    average = ops.adaptive_avg_pool2d(x, output_size)
    magnitude = reference.adaptive_avg_pool2d(abs(x), output_size)
    outs = y.shape[2:]
    assert_within(average, reference.adaptive_avg_pool2d(x, output_size), magnitude, most_taps(shape[2:], outs))
    for result in (y, indices, average):
        assert_same_layout(result, x)

    grad_y = lay_out(normal(rng, y.shape, dtype), layout)
    grad_x = ops.adaptive_avg_pool2d_backward(grad_y, shape[2:])
    magnitude = reference.adaptive_avg_pool2d_backward(abs(grad_y), shape[2:])
    expected = reference.adaptive_avg_pool2d_backward(grad_y, shape[2:])
    assert_within(grad_x, expected, magnitude, most_taps(outs, shape[2:]))
    assert_same_layout(grad_x, grad_y)
    grad_x = ops.max_pool2d_backward(grad_y, indices, shape[2:])
    magnitude = reference.max_pool2d_backward(abs(grad_y), indices, shape[2:])
    expected = reference.max_pool2d_backward(grad_y, indices, shape[2:])
    assert_within(grad_x, expected, magnitude, most_taps(outs, shape[2:]))


@pytest.mark.parametrize(("shape", "output_size"), CASES2D.values(), ids=CASES2D)
def test_float32(shape, output_size, layout, isa, rng):
    check(shape, output_size, layout, np.float32, rng)


@pytest.mark.parametrize(("shape", "output_size"), CASES2D.values(), ids=CASES2D)
def test_float64_runs_the_portable_body(shape, output_size, layout, rng):
    check(shape, output_size, layout, np.float64, rng)


def test_random_sizes(rng):
    for _ in range(40):
        size, outs = rng.integers(1, 40, 2), rng.integers(1, 20, 2)
        shape = (2, int(rng.integers(1, 20)), *map(int, size))
        layout, dtype = rng.choice(["NCHW", "NHWC"]), rng.choice([np.float32, np.float64])
        check(shape, tuple(map(int, outs)), layout, dtype, rng)


@pytest.mark.parametrize(("shape", "output_size"), cases.ADAPTIVE1D.values(), ids=cases.ADAPTIVE1D)
def test_one_dimension(shape, output_size, layout, dtype, isa, rng):
    x = lay_out(normal(rng, shape, dtype), layout)
    expected, expected_indices = reference.adaptive_max_pool1d(x, output_size, return_indices=True)
    y, indices = ops.adaptive_max_pool1d(x, output_size, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    terms = most_taps(shape[2:], (output_size,))
    magnitude = reference.adaptive_avg_pool1d(abs(x), output_size)
    assert_within(
        ops.adaptive_avg_pool1d(x, output_size), reference.adaptive_avg_pool1d(x, output_size), magnitude, terms
    )
    grad_y = lay_out(normal(rng, y.shape, dtype), layout)
    size = (1, shape[2])
    expected = reference.adaptive_avg_pool1d_backward(grad_y, size)
    magnitude = reference.adaptive_avg_pool1d_backward(abs(grad_y), size)
    terms = most_taps((output_size,), shape[2:])
    assert_within(ops.adaptive_avg_pool1d_backward(grad_y, shape[2:]), expected, magnitude, terms)


@pytest.mark.parametrize("shape", GLOBAL.values(), ids=GLOBAL)
def test_global(shape, layout, dtype, isa, rng):
    x = lay_out(normal(rng, shape, dtype), layout)
    average = ops.global_avg_pool2d(x)
    assert_within(average, reference.global_avg_pool2d(x), reference.global_avg_pool2d(abs(x)), prod(shape[2:]))
    np.testing.assert_array_equal(ops.global_max_pool2d(x), reference.global_max_pool2d(x))
    y, indices = ops.adaptive_max_pool2d(x, 1, return_indices=True)
    expected, expected_indices = reference.adaptive_max_pool2d(x, 1, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    for op in (ops.global_avg_pool2d, ops.global_max_pool2d):
        np.testing.assert_array_equal(op(x, keepdims=False), op(x)[:, :, 0, 0])
        np.testing.assert_array_equal(op(channels_last(x), data_format="NHWC"), channels_last(op(x)))
        np.testing.assert_array_equal(op(channels_last(x), keepdims=False, data_format="NHWC"), op(x)[:, :, 0, 0])
    grad_y = normal(rng, (*shape[:2], 1, 1), dtype)
    expected, magnitude = (reference.global_avg_pool2d_backward(g, shape[2:]) for g in (grad_y, abs(grad_y)))
    assert_within(ops.global_avg_pool2d_backward(grad_y, shape[2:]), expected, magnitude, 1)
    last = ops.global_avg_pool2d_backward(channels_last(grad_y), shape[2:], data_format="NHWC")
    assert_within(last, channels_last(expected), channels_last(magnitude), 1)
    assert last.flags.c_contiguous


def test_global_sums_do_not_drift(layout, isa):
    """In one running float32 sum the last of these numbers would lose three digits."""
    x = lay_out(np.full((1, 2, 1000, 1000), 0.1, np.float32), layout)
    np.testing.assert_allclose(ops.global_avg_pool2d(x), np.float32(0.1), rtol=2e-5)


@pytest.mark.parametrize("value", [np.nan, -np.inf], ids=["nan", "minus_infinity"])
def test_global_max_of_non_finite_numbers(value, layout, isa, rng):
    for pixels in (5, 100):
        x = lay_out(np.full((2, 20, 3, pixels), -np.inf, np.float32), layout)
        if np.isnan(value):
            x = np.where(rng.random(x.shape) < 0.05, np.float32(np.nan), normal(rng, x.shape))
            x = lay_out(x, layout)
        expected, expected_indices = reference.adaptive_max_pool2d(x, 1, return_indices=True)
        y, indices = ops.adaptive_max_pool2d(x, 1, return_indices=True)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)
        np.testing.assert_array_equal(ops.global_max_pool2d(x), expected)


def test_global_one_dimension(layout, dtype, rng):
    x = lay_out(normal(rng, (2, 7, 33), dtype), layout)
    assert_within(ops.global_avg_pool1d(x), reference.global_avg_pool1d(x), reference.global_avg_pool1d(abs(x)), 33)
    np.testing.assert_array_equal(ops.global_max_pool1d(x, keepdims=False), x.max(2))
    assert ops.global_avg_pool1d(channels_last(x), data_format="NLC").shape == (2, 1, 7)
    assert ops.global_avg_pool1d(x[0], keepdims=False).shape == (7,)
    grad_x = ops.global_avg_pool1d_backward(np.ones((2, 7, 1), dtype), 4)
    np.testing.assert_array_equal(grad_x, np.full((2, 7, 4), 0.25))


def test_sizes():
    x = np.zeros((2, 3, 5, 7), np.float32)
    assert ops.adaptive_avg_pool2d(x, None).shape == (2, 3, 5, 7)
    assert ops.adaptive_avg_pool2d(x, (None, 2)).shape == (2, 3, 5, 2)
    assert ops.adaptive_max_pool2d(x[0], (4, None)).shape == (3, 4, 7)
    assert ops.adaptive_avg_pool2d(x, (0, 3)).shape == (2, 3, 0, 3)
    assert ops.adaptive_avg_pool2d_backward(np.zeros((2, 3, 0, 3), np.float32), (5, 7)).shape == x.shape


X = np.zeros((2, 3, 5, 7), np.float32)
REJECTIONS = {
    "size_negative": (lambda: ops.adaptive_avg_pool2d(X, -1), ValueError, "`output_size` is -1"),
    "size_float": (lambda: ops.adaptive_max_pool2d(X, 2.5), TypeError, "`output_size` is 2.5"),
    "size_entries": (lambda: ops.adaptive_max_pool2d(X, (1, 2, 3)), ValueError, "`output_size` is .* 2 entries"),
    "size_text": (lambda: ops.adaptive_max_pool2d(X, "1"), TypeError, "`output_size` is '1'"),
    "empty_image": (lambda: ops.adaptive_avg_pool2d(X[:, :, :0], 1), ValueError, "at least one pixel"),
    "empty_global": (lambda: ops.global_max_pool2d(X[..., :0]), ValueError, "at least one pixel"),
    "integers": (lambda: ops.global_avg_pool2d(X.astype(int)), TypeError, "`x` has dtype int64"),
    "rank": (lambda: ops.global_avg_pool2d(X[0, 0]), ValueError, "`x` has 2 axes"),
    "keepdims": (lambda: ops.global_avg_pool2d(X, keepdims=1), TypeError, "`keepdims` is 1"),
    "grad_of_global": (
        lambda: ops.global_avg_pool2d_backward(X, (9, 9)),
        ValueError,
        "`grad_y` has shape .* one pixel",
    ),
    "input_size": (lambda: ops.adaptive_avg_pool2d_backward(X, (0, 3)), ValueError, "`input_size` is 0"),
}


@pytest.mark.parametrize(("call", "error", "message"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()
