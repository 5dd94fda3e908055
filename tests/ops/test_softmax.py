"""ops.softmax against the float64 oracle along every axis, in both layouts, on every instruction set."""

from __future__ import annotations

import helpers
import numpy as np
import pytest
import reference
from neocog import ops

CASES = {  # shape, axis
    "classes": ((9, 10), -1),
    "exactly_a_vector": ((3, 16), 1),
    "rows_of_one": ((5, 1), 1),
    "eight_vectors_and_a_half": ((4, 136), 1),
    "long_rows": ((2, 5003), 1),
    "segmentation": ((2, 21, 9, 13), 1),
    "planes_wider_than_a_tile": ((2, 3, 40, 60), 1),
    "many_classes_over_few_columns": ((2, 200, 3), 1),
    "first_axis": ((130, 70), 0),
    "attention": ((2, 2, 7, 33), 3),
    "one_number": ((), 0),
    "batch_0": ((0, 5), 1),
    "nothing_along_the_axis": ((4, 0), 1),
}


def bound(x, expected, axis, dtype):
    """The docstring's, for n values along the axis."""
    n = x.shape[axis] if x.ndim else 1
    spread = x.max(axis, keepdims=True) - x if x.size else x
    return (spread.astype(np.float64) + n / 64 + 40) * np.finfo(dtype).eps * expected + 1e-42


@pytest.mark.parametrize(("shape", "axis"), CASES.values(), ids=CASES)
def test_forward_and_backward_are_within_the_documented_bounds(shape, axis, dtype, isa, rng):
    x, grad_y = np.asarray(10 * helpers.normal(rng, shape, dtype), dtype), helpers.normal(rng, shape, dtype)
    y = ops.softmax(x, axis)
    expected = reference.softmax(x, axis) if x.size else x
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert np.all(abs(y - expected) <= bound(x, expected, axis, dtype))
    got = ops.softmax_backward(grad_y, y, axis)
    expected = reference.softmax_backward(grad_y, y, axis)
    n = x.shape[axis] if x.ndim else 1
    sums = (abs(grad_y) * y).astype(np.float64).sum(axis, keepdims=True)
    allowed = (n / 64 + 40) * np.finfo(dtype).eps * y * (abs(grad_y) + sums)
    assert np.all(abs(got - expected) <= allowed + 1e-42)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_the_layout_changes_nothing_and_is_kept(axis, layout, rng):
    x, grad_y = helpers.normal(rng, (3, 20, 5, 7)), helpers.normal(rng, (3, 20, 5, 7))
    y = ops.softmax(helpers.lay_out(x, layout), axis)
    helpers.assert_laid_out(y, layout)
    np.testing.assert_allclose(y, reference.softmax(x, axis), rtol=1e-5)
    got = ops.softmax_backward(grad_y, y, axis)
    helpers.assert_laid_out(got, layout)
    np.testing.assert_allclose(got, reference.softmax_backward(grad_y, y, axis), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 7), (3, 140), (7, 3, 5), (70, 3)])
def test_infinities_and_nan(shape, dtype, isa):
    axis = 0 if shape == (70, 3) else 1
    x = np.zeros(shape, dtype)
    lines = np.moveaxis(x, axis, 0)
    lines[1:, 0] = -np.inf  # a mask that leaves one
    lines[:, 1] = -np.inf  # a mask that leaves none
    lines[2, 2] = np.inf
    got = np.moveaxis(ops.softmax(x, axis), axis, 0)
    np.testing.assert_array_equal(got[0, 0], 1)
    np.testing.assert_array_equal(got[1:, 0], 0)
    assert np.isnan(got[:, 1]).all()
    assert np.isnan(got[:, 2]).all()
    lines[2, 2] = np.nan
    assert np.isnan(np.moveaxis(ops.softmax(x, axis), axis, 0)[:, 2]).all()


def test_large_scores_do_not_overflow(dtype):
    x = np.array([[1e30, 1e30, -1e30]], dtype)
    np.testing.assert_array_equal(ops.softmax(x), [[0.5, 0.5, 0]])


@pytest.mark.parametrize(("shape", "axis"), [((700, 50), 1), ((3, 40, 3000), 1)])
def test_the_same_bits_for_any_number_of_threads(shape, axis, threads, rng):
    import neocog

    x = helpers.normal(rng, shape)
    y, grad_x = ops.softmax(x, axis), ops.softmax_backward(x, x, axis)
    neocog.set_num_threads(1)
    np.testing.assert_array_equal(y, ops.softmax(x, axis))
    np.testing.assert_array_equal(grad_x, ops.softmax_backward(x, x, axis))


X = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.softmax(X, 2), ValueError, "`axis` is 2, but `x` has 2 axes; use -2 to 1"),
        (lambda: ops.softmax(X, -3), ValueError, "`axis` is -3"),
        (lambda: ops.softmax(X, 0.5), TypeError, "`axis` is 0.5; it must be an int"),
        (lambda: ops.softmax(X.astype(np.float16)), TypeError, "`x` has dtype float16"),
        (lambda: ops.softmax_backward(X[:1], X), ValueError, r"`grad_y` has shape \(1, 3\), `y` \(2, 3\)"),
        (lambda: ops.softmax_backward(X.astype(np.float64), X), TypeError, "`grad_y` has dtype float64"),
    ],
)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()
