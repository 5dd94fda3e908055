"""ops.linear against the float64 oracle, on every instruction set this CPU runs."""

from __future__ import annotations

from math import prod

import cases
import convolution_checks as checks
import helpers
import neocog
import numpy as np
import pytest
from convolution_checks import Problem
from neocog import ops

# Few rows are multiplied where the weights lie, more go through packed panels: both sides, and cuts of each.
CUT = {
    "most_rows_without_packing": ((12, 65), 70),
    "fewest_rows_with_packing": ((13, 65), 70),
    "many_rows": ((200, 40), 130),
    "many_outputs_few_rows": ((3, 50), 300),
    "depth_728": ((30, 728), 17),
}
NAMED = cases.LINEAR | CUT
named = pytest.mark.parametrize(("shape", "features"), NAMED.values(), ids=NAMED)


def problem(shape: tuple[int, ...], features: int, rng, dtype=np.float32) -> Problem:
    x, weight = helpers.normal(rng, shape, dtype), helpers.normal(rng, (features, shape[-1]), dtype)
    bias = helpers.normal(rng, (features,), dtype)
    return Problem("linear", (x, weight), bias, {}, (shape[-1], features, prod(shape[:-1])))


@named
def test_forward_is_within_the_documented_bound(shape, features, isa, dtype, rng):
    checks.check_forward(problem(shape, features, rng, dtype))


@named
def test_backward_is_within_the_documented_bound(shape, features, isa, dtype, rng):
    checks.check_backward(problem(shape, features, rng, dtype), rng)


@named
def test_backward_is_the_adjoint(shape, features, isa, rng):
    checks.check_adjoint(problem(shape, features, rng), rng)


@pytest.mark.parametrize("shape", [(5, 7), (20, 6)])
def test_gradients_are_those_of_finite_differences(shape, rng):
    checks.check_finite_differences(problem(shape, 9, rng, np.float64), rng)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@pytest.mark.parametrize(("shape", "features"), CUT.values(), ids=CUT)
def test_any_number_of_threads_gives_the_same_bits(shape, features, threads, isa, rng):
    checks.check_same_bits(problem(shape, features, rng), rng, neocog.set_num_threads)


@pytest.mark.parametrize("inputs", [1, 3, 17, 728])
@pytest.mark.parametrize("outputs", [1, 3, 17, 728])
def test_every_count_of_features_meets_every_other(inputs, outputs, isa, rng):
    for rows in (1, 5, 13):
        given = problem((rows, inputs), outputs, rng)
        checks.check_forward(given)
        checks.check_backward(given, rng)


def test_one_row_has_the_bits_that_it_has_among_others(isa, rng):
    """Which rows share a register tile must not show in the result."""
    for rows in (11, 40):
        x, weight = helpers.normal(rng, (rows, 37)), helpers.normal(rng, (23, 37))
        y = ops.linear(x, weight)
        fewer = ops.linear(x[: rows - 1], weight)
        np.testing.assert_array_equal(y[: rows - 1], fewer)


def test_no_features_leave_the_bias(rng):
    bias = helpers.normal(rng, (3,))
    for rows in (2, 20):
        y = ops.linear(np.empty((rows, 0), np.float32), np.empty((3, 0), np.float32), bias)
        np.testing.assert_array_equal(y, np.broadcast_to(bias, (rows, 3)))


def test_no_outputs_give_an_empty_result_and_no_gradient():
    x, weight = np.ones((4, 5), np.float32), np.empty((0, 5), np.float32)
    y = ops.linear(x, weight)
    assert y.shape == (4, 0)
    grad_x, grad_weight, grad_bias = ops.linear_backward(y, x, weight)
    np.testing.assert_array_equal(grad_x, np.zeros((4, 5)))
    assert grad_weight.shape == (0, 5)
    assert grad_bias.shape == (0,)


def test_no_rows_give_zero_gradients():
    x, weight = np.empty((0, 5), np.float32), np.ones((3, 5), np.float32)
    grad_x, grad_weight, grad_bias = ops.linear_backward(ops.linear(x, weight), x, weight)
    assert grad_x.shape == (0, 5)
    np.testing.assert_array_equal(grad_weight, np.zeros((3, 5)))
    np.testing.assert_array_equal(grad_bias, np.zeros(3))


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6)])
def test_a_weight_of_one_axis_gives_one_output_without_an_axis(shape, isa, rng):
    x, weight, bias = helpers.normal(rng, shape), helpers.normal(rng, (6,)), helpers.normal(rng, ())
    y = ops.linear(x, weight, bias)
    assert y.shape == shape[:-1]
    np.testing.assert_array_equal(y, ops.linear(x, weight[None], bias[None])[..., 0])
    grad_y = np.ones_like(y)
    grads = ops.linear_backward(grad_y, x, weight)
    expected = ops.linear_backward(grad_y[..., None], x, weight[None])
    assert [g.shape for g in grads] == [x.shape, weight.shape, ()]
    for ours, theirs in zip(grads, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))


def test_output_mask_skips_what_it_says_and_changes_nothing_else(rng):
    checks.check_output_mask(problem((2, 3, 9), 8, rng), rng)


@pytest.mark.parametrize("rows", [3, 20])
def test_a_fused_activation_is_the_activation_afterwards(rows, isa, dtype, rng):
    checks.check_activations(problem((rows, 17), 33, rng, dtype))


X, W = np.ones((2, 3, 5), np.float32), np.ones((4, 5), np.float32)
REJECTED = [
    ({"x": np.ones((), np.float32)}, ValueError, "`x` has no axes; its last axis must hold the features"),
    (
        {"weight": W[:, :4]},
        ValueError,
        r"`x` has shape \(2, 3, 5\), but `weight` has \(4, 4\); .* shape \(out, 5\)",
    ),
    ({"weight": W[None]}, ValueError, r"`weight` has \(1, 4, 5\)"),
    ({"weight": W.astype(np.float64)}, TypeError, "`weight` has dtype float64, the other arrays float32"),
]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        *REJECTED,
        ({"bias": np.ones(3, np.float32)}, ValueError, r"`bias` has shape \(3,\); it must be \(4,\)"),
        ({"bias": np.ones(4)}, TypeError, "`bias` has dtype float64, the other arrays float32"),
        ({"activation": "identity"}, ValueError, "`activation` is 'identity'; it must be one of"),
    ],
)
def test_a_rejection_names_the_argument_its_value_and_the_repair(changes, error, message):
    with pytest.raises(error, match=message):
        ops.linear(**({"x": X, "weight": W} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        *REJECTED,
        ({"grad_y": np.ones((2, 3, 5), np.float32)}, ValueError, r"`grad_y` has shape .* y has \(2, 3, 4\)"),
        ({"grad_y": np.ones((2, 3, 4))}, TypeError, "`grad_y` has dtype float64"),
        ({"output_mask": (True, False)}, ValueError, "`output_mask` is .* it must be 3 bools"),
    ],
)
def test_backward_rejects_by_the_same_rules(changes, error, message):
    with pytest.raises(error, match=message):
        ops.linear_backward(**({"grad_y": np.ones((2, 3, 4), np.float32), "x": X, "weight": W} | changes))
