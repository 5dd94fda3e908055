"""ops.add against NumPy, which it follows bit for bit, and its backward pass against the float64 oracle."""

from __future__ import annotations

import helpers
import hypothesis
import hypothesis.extra.numpy as shapes
import hypothesis.strategies as st
import numpy as np
import pytest
import reference
from neocog import ops

CASES = {  # x, y
    "equal": ((2, 5, 4, 3), (2, 5, 4, 3)),
    "bias_per_channel": ((2, 17, 5, 3), (17, 1, 1)),
    "bias_per_column": ((3, 33), (33,)),
    "scale_per_row": ((40, 33), (40, 1)),
    "number": ((7, 5), ()),
    "both_are_broadcast": ((7, 1, 9), (4, 1)),
    "alternating_axes": ((4, 1, 5, 1, 6), (1, 3, 1, 2, 6)),
    "rows_longer_than_a_chunk": ((2, 3, 20011), (3, 1)),
    "many_rows": ((3000, 33), (1, 33)),
    "columns_in_blocks": ((7, 9000), (9000,)),
    "tall_columns": ((9000, 70), (70,)),
    "one_long_row": ((150_000,), (1,)),
    "second_is_larger": ((1, 5), (4, 5)),
    "batch_0": ((0, 3), (3,)),
    "broadcast_to_nothing": ((1, 3), (0, 3)),
}


@pytest.mark.parametrize(("x_shape", "y_shape"), CASES.values(), ids=CASES)
def test_add_is_numpys_sum_bit_for_bit(x_shape, y_shape, dtype, isa, rng):
    x, y = helpers.normal(rng, x_shape, dtype), helpers.normal(rng, y_shape, dtype)
    z = ops.add(x, y)
    assert z.dtype == dtype
    np.testing.assert_array_equal(z, x + y)
    assert z.shape == (x + y).shape


@pytest.mark.parametrize(("x_shape", "y_shape"), CASES.values(), ids=CASES)
def test_backward_sums_over_what_was_broadcast(x_shape, y_shape, dtype, isa, rng):
    grad_y = helpers.normal(rng, np.broadcast_shapes(x_shape, y_shape), dtype)
    expected = reference.add_backward(grad_y, x_shape, y_shape)
    magnitude = reference.add_backward(abs(grad_y), x_shape, y_shape)
    for grad, exact, terms in zip(ops.add_backward(grad_y, x_shape, y_shape), expected, magnitude, strict=True):
        assert grad.dtype == dtype
        assert grad.shape == exact.shape
        assert not np.shares_memory(grad, grad_y)
        groups = max(1, grad_y.ndim)
        assert np.all(abs(grad - exact) <= (groups + 1e-4) * np.finfo(dtype).eps * terms)


@hypothesis.given(data=st.data(), pair=shapes.mutually_broadcastable_shapes(num_shapes=2, max_dims=5, max_side=6))
@hypothesis.settings(max_examples=200, deadline=None)
def test_any_shapes_in_any_order_of_axes(data, pair):
    arrays = []
    for shape in pair.input_shapes:
        order = data.draw(st.permutations(range(len(shape))))
        x = np.arange(1, 1 + np.prod(shape, dtype=int), dtype=np.float64).reshape([shape[i] for i in order])
        arrays.append(x.transpose(np.argsort(order)) if shape else x)
    x, y = arrays
    z = ops.add(x, y)
    np.testing.assert_array_equal(z, x + y)
    # Sums of small integers are exact.
    for grad, exact in zip(
        ops.add_backward(z, x.shape, y.shape), reference.add_backward(z, x.shape, y.shape), strict=True
    ):
        np.testing.assert_array_equal(grad, exact)
        assert grad.shape == exact.shape


@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
def test_the_activation_is_the_op_of_that_name(activation, isa, rng):
    x, y, bias = (
        helpers.normal(rng, (2, 5, 4, 3)),
        helpers.normal(rng, (2, 5, 4, 3)),
        helpers.normal(rng, (5, 1, 1)),
    )

    def apply(z):
        return ops.gelu(z, "tanh") if activation == "gelu_tanh" else getattr(ops, activation)(z)

    np.testing.assert_array_equal(ops.add(x, y, activation=activation), apply(x + y))
    np.testing.assert_array_equal(ops.add(x, bias, activation=activation), apply(x + bias))


def test_the_result_lies_as_the_first_full_operand_does(layout, rng):
    x, y = helpers.normal(rng, (2, 5, 4, 3)), helpers.normal(rng, (2, 5, 4, 3))
    bias = helpers.normal(rng, (5, 1, 1))
    laid_out = helpers.lay_out(x, layout)
    for z, expected in (
        (ops.add(laid_out, y), x + y),
        (ops.add(laid_out, bias), x + bias),
        (ops.add(bias, laid_out), x + bias),
    ):
        helpers.assert_laid_out(z, layout)
        np.testing.assert_array_equal(z, expected)
    for grad in ops.add_backward(laid_out, x.shape, x.shape):
        helpers.assert_laid_out(grad, layout)
        np.testing.assert_array_equal(grad, x)


@pytest.mark.parametrize(("shape", "kept"), [((64, 40, 900), (40, 1)), ((20000, 50), (50,)), ((3, 100_000), (3, 1))])
def test_sums_have_the_same_bits_for_any_number_of_threads(shape, kept, threads, rng):
    import neocog

    grad_y = helpers.normal(rng, shape)
    got = ops.add_backward(grad_y, shape, kept)[1]
    neocog.set_num_threads(1)
    np.testing.assert_array_equal(got, ops.add_backward(grad_y, shape, kept)[1])


def test_nan_and_infinity_propagate(isa):
    x = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(ops.add(x, x[::-1].copy()), x + x[::-1])
        np.testing.assert_array_equal(ops.add(x, np.float32(np.inf).reshape(1)), x + np.float32(np.inf))


X = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.add(X, X.T), ValueError, r"`x` has shape \(2, 3\), `y` \(3, 2\): they do not broadcast"),
        (
            lambda: ops.add(X, X.astype(np.float64)),
            TypeError,
            "`y` has dtype float64, the other arrays float32",
        ),
        (lambda: ops.add(X, 1.0), TypeError, "`y` is a float, not an array"),
        (lambda: ops.add(X, X, activation="swish"), ValueError, "`activation` is 'swish'; it must be one of"),
        (lambda: ops.add_backward(X, (2, 3), (4,)), ValueError, r"`x` has shape \(2, 3\), `y` \(4,\)"),
        (
            lambda: ops.add_backward(X, (2, 1), (1,)),
            ValueError,
            r"`grad_y` has shape \(2, 3\).*broadcast to \(2, 1\)",
        ),
        (lambda: ops.add_backward(X, (2.0, 3), (3,)), TypeError, "`x_shape` is 2.0; it must be an int"),
    ],
)
def test_a_rejection_names_its_reason(call, error, message):
    with pytest.raises(error, match=message):
        call()
