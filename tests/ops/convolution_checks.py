"""What every operator of the convolution family is held to. The op's own test file says for which cases.

An op is linear in each of its arrays: x, one or two weights, and a bias. So one problem is those arrays with
the arguments of the call and the lengths of the sums, and every check below takes a problem.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import helpers
import numpy as np
import reference
from neocog import ops

Array = np.ndarray


class Problem(NamedTuple):
    op: str  # its name in `ops` and in `reference`
    arrays: tuple[Array, ...]  # x, then its weights
    bias: Array
    steps: dict[str, Any]
    terms: tuple[int, ...]  # of the longest sum in y, then in the gradient of each array

    def forward(self, **changes: Any) -> Array:
        return getattr(ops, self.op)(*self.arrays, self.bias, **{**self.steps, **changes})

    def backward(self, grad_y: Array, **changes: Any) -> tuple[Array | None, ...]:
        return getattr(ops, f"{self.op}_backward")(grad_y, *self.arrays, **{**self.steps, **changes})

    def some_grad_y(self, rng: np.random.Generator) -> Array:
        """A gradient of the shape, dtype and memory layout of y."""
        y = self.forward()
        grad_y = np.empty_like(y)
        grad_y[...] = rng.standard_normal(y.shape)
        return grad_y


def check_forward(problem: Problem, **changes: Any) -> None:
    """`changes` are arguments that leave the result as it is."""
    y, oracle = problem.forward(**changes), getattr(reference, problem.op)
    assert y.dtype == problem.arrays[0].dtype
    magnitude = reference.magnitude(oracle, *problem.arrays, problem.bias, **problem.steps)
    expected = oracle(*problem.arrays, problem.bias, **problem.steps)
    helpers.assert_within(y, expected, magnitude, problem.terms[0])
    if y.ndim > 2 and problem.op != "linear":
        helpers.assert_same_layout(y, problem.arrays[0])


def check_backward(problem: Problem, rng: np.random.Generator) -> None:
    grad_y, oracle = problem.some_grad_y(rng), getattr(reference, f"{problem.op}_backward")
    *grads, grad_bias = problem.backward(grad_y)
    magnitudes = reference.magnitude(oracle, grad_y, *problem.arrays, **problem.steps)
    expected = oracle(grad_y, *problem.arrays, **problem.steps)
    for i, (grad, array) in enumerate(zip(grads, problem.arrays, strict=True)):
        assert grad.dtype == array.dtype
        helpers.assert_within(grad, expected[i], magnitudes[i], problem.terms[1 + i])
    if problem.op != "linear":
        helpers.assert_same_layout(grads[0], problem.arrays[0])
    # Summed in float64, then rounded once.
    assert grad_bias.dtype == grad_y.dtype
    count = grad_y.size // max(1, grad_bias.size)
    in_double = count * np.finfo(np.float64).eps / np.finfo(grad_y.dtype).eps * magnitudes[-1]
    helpers.assert_within(grad_bias, expected[-1], abs(expected[-1]) + in_double, terms=0)


def check_adjoint(problem: Problem, rng: np.random.Generator) -> None:
    """<f(a), g> = <a, f*(g)> for each array a."""
    grad_y = problem.some_grad_y(rng)
    without_bias = problem._replace(bias=None)
    y = without_bias.forward()
    *grads, grad_bias = problem.backward(grad_y)
    magnitude = reference.magnitude(getattr(reference, problem.op), *problem.arrays, **problem.steps)
    eps = np.finfo(y.dtype).eps
    for i, (grad, array) in enumerate(zip(grads, problem.arrays, strict=True)):
        bound = (problem.terms[0] + problem.terms[1 + i] + 4) * eps * inner(magnitude, abs(grad_y))
        assert abs(inner(y, grad_y) - inner(array, grad)) <= bound, f"array {i} of {problem.op}"
    of_bias = inner(problem.forward().astype(np.float64) - y, grad_y)
    largest = magnitude + abs(y) + (abs(problem.bias).max() if problem.bias.size else 0)
    bound = 2 * (problem.terms[0] + 4) * eps * inner(largest, abs(grad_y))
    assert abs(of_bias - inner(problem.bias, grad_bias)) <= bound


def check_finite_differences(problem: Problem, rng: np.random.Generator, entries: int = 4) -> None:
    """Of the loss |y|^2 / 2, whose gradient for y is y. It is quadratic in each array alone, and for such a
    function the central difference has no error but rounding, however wide the step."""
    assert problem.arrays[0].dtype == np.float64, "float32 is too coarse for this"
    grads = problem.backward(problem.forward())
    everything = (*problem.arrays, problem.bias)

    def loss(i: int, step: Array) -> float:
        moved = [a + step if j == i else a for j, a in enumerate(everything)]
        y = problem._replace(arrays=tuple(moved[:-1]), bias=moved[-1]).forward()
        return 0.5 * inner(y, y)

    for i, array in enumerate(everything):
        steps = [rng.standard_normal(array.shape)]  # all entries at once, then single ones
        for _ in range(entries):
            steps.append(np.zeros(array.shape))
            steps[-1].flat[rng.integers(array.size)] = 1.0
        for step in steps:
            up, down = loss(i, step), loss(i, -step)
            assert abs((up - down) / 2 - inner(grads[i], step)) <= 1e-12 * (up + down), f"array {i}"


def check_same_bits(problem: Problem, rng: np.random.Generator, set_num_threads: Any) -> None:
    """The number of threads in force gives the bits that one gives."""
    grad_y = problem.some_grad_y(rng)
    many = [problem.forward(), *problem.backward(grad_y)]
    set_num_threads(1)
    for ours, theirs in zip(many, [problem.forward(), *problem.backward(grad_y)], strict=True):
        assert ours.tobytes() == theirs.tobytes()


def check_output_mask(problem: Problem, rng: np.random.Generator) -> None:
    """Every mask: None where it is False, elsewhere what the full mask gives."""
    grad_y = problem.some_grad_y(rng)
    full = problem.backward(grad_y)
    for mask in np.ndindex(*[2] * len(full)):
        wanted = tuple(map(bool, mask))
        for grad, expected, want in zip(problem.backward(grad_y, output_mask=wanted), full, wanted, strict=True):
            assert (grad is not None) == want, f"{wanted}"
            if want:
                np.testing.assert_array_equal(grad, expected)


def check_data_format(problem: Problem, rng: np.random.Generator) -> None:
    """Channels-last shapes give channels-last shapes of the same numbers; nothing in memory moves."""
    x, *weights = problem.arrays
    assert x.shape[1] > 1, "one channel is dense in both layouts: then the shape decides"
    grad_y = problem.some_grad_y(rng)
    y, (grad_x, *rest) = problem.forward(), problem.backward(grad_y)
    last = {"data_format": "NHWC" if x.ndim == 4 else "NLC"}
    turned = problem._replace(arrays=(helpers.channels_last(x), *weights), steps=problem.steps | last)
    y_last = turned.forward()
    grad_x_last, *rest_last = turned.backward(helpers.channels_last(grad_y))
    for ours, theirs in ((y_last, y), (grad_x_last, grad_x)):
        np.testing.assert_array_equal(helpers.channels_first(ours), theirs)
        assert helpers.channels_first(ours).strides == theirs.strides
    for ours, theirs in zip(rest_last, rest, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def check_unbatched(problem: Problem, rng: np.random.Generator) -> None:
    """One image without a batch axis gives the results of a batch of one, without that axis."""
    x, *weights = problem.arrays
    assert len(x) == 1
    grad_y = problem.some_grad_y(rng)
    alone = problem._replace(arrays=(x[0], *weights))
    np.testing.assert_array_equal(alone.forward(), problem.forward()[0])
    (grad_x, *rest), (batch_grad_x, *batch_rest) = alone.backward(grad_y[0]), problem.backward(grad_y)
    np.testing.assert_array_equal(grad_x, batch_grad_x[0])
    for ours, theirs in zip(rest, batch_rest, strict=True):
        np.testing.assert_array_equal(ours, theirs)


FUSED_ACTIVATIONS = tuple(name for name in ops.ACTIVATIONS if name in reference.ACTIVATIONS)


def check_activations(
    problem: Problem, names: Iterable[str] = FUSED_ACTIVATIONS, residual: Array | None = None
) -> None:
    """Fused into the op, an activation (and a residual before it) gives what it gives afterwards.

    relu and relu6 only choose among values, so their bits agree; the others may err by a few units in the
    last place of their argument, which each of them passes on by a factor below 2.
    """
    plain = problem.forward()
    extra = {} if residual is None else {"residual": residual}
    before = plain if residual is None else plain + residual
    slack = 16 * np.finfo(plain.dtype).eps * (1 + abs(before))
    for name in names:
        fused = problem.forward(activation=name, **extra)
        assert fused.dtype == plain.dtype, name
        helpers.assert_same_layout(fused, plain)
        expected = reference.ACTIVATIONS[name](before)
        if name in ("relu", "relu6"):
            np.testing.assert_array_equal(fused, expected.astype(plain.dtype), err_msg=name)
        else:
            assert np.all(abs(fused - expected) <= slack), name


def inner(a: Array, b: Array) -> float:
    return float(np.sum(np.asarray(a, np.float64) * b))
