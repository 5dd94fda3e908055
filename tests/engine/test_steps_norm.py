"""Steps that normalise, against the float64 oracle: both layouts, in place, bad operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neocog import _core
from neocog._activations import activation_code
from one_step import LAST, in_order, oracle, place, run_in_place, run_step

Array = np.ndarray
ORDERS = {"first": (0, 1, 2, 3), "last": LAST}


def values(rng: np.random.Generator, channels: int, count: int) -> list[Array]:
    return [(rng.random(channels) + 0.5).astype(np.float32) for _ in range(count)]


def assert_close(y: Array, expected: Array, bound: float = 3e-6) -> None:
    assert np.abs(y - expected).max(initial=0.0) <= bound * max(1.0, np.abs(expected).max(initial=0.0))


@pytest.mark.parametrize("layout", ORDERS)
@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "silu"])
def test_batch_norm(activation, layout, rng, isa):
    x = rng.standard_normal((2, 37, 9, 11)).astype(np.float32)
    weight, bias, mean, var = values(rng, 37, 4)
    code, alpha = activation_code(activation)
    y = run_step(
        "batch_norm", place(x, ORDERS[layout]), mean, var, weight, bias, ..., 1e-3, code, 0.2 if alpha else alpha,
        y=in_order(x.shape, ORDERS[layout]),
    )  # fmt: skip
    expected = oracle(
        "batch_norm", x, weight, bias, mean, var, eps=1e-3, activation=activation, alpha=0.2 if alpha else alpha
    )
    assert_close(y, expected)


@pytest.mark.parametrize("shape", [(5, 7), (3, 7, 11), (2, 7, 3, 4), (2, 7, 2, 3, 4)], ids=str)
def test_batch_norm_of_any_rank(shape, rng, isa):
    x = rng.standard_normal(shape).astype(np.float32)
    mean, var = values(rng, 7, 2)
    one, zero = np.ones(7, np.float32), np.zeros(7, np.float32)
    expected = oracle("batch_norm", x, one, zero, mean, var)
    for order in (None, (0, *range(2, len(shape)), 1)):
        y = run_step("batch_norm", place(x, order), mean, var, None, None, ..., 1e-5, y=in_order(shape, order))
        assert_close(y, expected)


SIZES = {
    "a few": (2, 12, 5, 7),
    "one image": (1, 32, 14, 14),
    "many channels": (2, 256, 3, 3),
    "a group larger than what is kept": (1, 8, 200, 100),
    "one pixel": (3, 16, 1, 1),
    "long rows": (2, 8, 1, 9000),
}


@pytest.mark.parametrize("layout", ORDERS)
@pytest.mark.parametrize("affine", ["", "weight", "bias", "weight bias"])
@pytest.mark.parametrize("size", SIZES)
def test_group_norm(size, affine, layout, rng, isa):
    x = (rng.standard_normal(SIZES[size]) + 3).astype(np.float32)
    channels = x.shape[1]
    weight, bias = values(rng, channels, 2)
    weight, bias = (weight if "weight" in affine else None), (bias if "bias" in affine else None)
    for groups in {1, 4, channels}:
        expected = group_norm(x, groups, weight, bias)
        results = [
            run_step(
                "group_norm", place(x, ORDERS[layout]), weight, bias, ..., groups, 1e-5,
                y=in_order(x.shape, ORDERS[layout]), threads=threads,
            )
            for threads in (1, 2)
        ]  # fmt: skip
        assert_close(results[0], expected, 1e-5)
        np.testing.assert_array_equal(*results)


def group_norm(x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float = 1e-5) -> Array:
    parts = np.float64(x).reshape(len(x), groups, -1)
    y = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + eps)
    y = y.reshape(x.shape)
    y = y if weight is None else y * weight[:, None, None]
    return y if bias is None else y + bias[:, None, None]


@pytest.mark.parametrize("layout", ORDERS)
def test_a_mean_far_from_zero_costs_no_digits(layout, rng, isa):
    x = (rng.standard_normal((2, 8, 20, 30)) + 3e4).astype(np.float32)
    expected = group_norm(x, 2, None, None)
    y = run_step("group_norm", place(x, ORDERS[layout]), None, None, ..., 2, 1e-5, y=in_order(x.shape, ORDERS[layout]))
    assert_close(y, expected, 1e-5)
    rows = x.reshape(-1, 600)
    y = run_step("layer_norm", rows, None, None, ..., 1, 1e-5, y=in_order(rows.shape))
    assert_close(y, oracle("layer_norm", rows), 1e-5)


@pytest.mark.parametrize("affine", ["", "weight", "bias", "weight bias"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 5, 96), -1), ((40, 7), -1), ((2, 9001), 1), ((3, 4, 5, 6), 1), ((700,), 0)], ids=str
)
def test_layer_norm(shape, axis, affine, rng, isa):
    x = rng.standard_normal(shape).astype(np.float32)
    tail = shape[axis % len(shape) :]
    parameters = {word: rng.random(tail).astype(np.float32) for word in ("weight", "bias") if word in affine}
    weight, bias = parameters.get("weight"), parameters.get("bias")
    expected = oracle("layer_norm", x, axis=axis)
    expected = expected * (1 if weight is None else weight) + (0 if bias is None else bias)
    results = [
        run_step("layer_norm", x, weight, bias, ..., len(tail), 1e-5, y=in_order(shape), threads=threads)
        for threads in (1, 2)
    ]
    assert_close(results[0], expected)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("layout", ORDERS)
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.6])
@pytest.mark.parametrize("size", [1, 2, 5, 8, 40])
def test_lrn(size, beta, layout, rng, isa):
    x = (3 * rng.standard_normal((2, 19, 5, 7))).astype(np.float32)
    y = run_step("lrn", place(x, ORDERS[layout]), ..., size, 0.3, beta, 1.5, y=in_order(x.shape, ORDERS[layout]))
    expected = oracle("lrn", x, size=size, alpha=0.3, beta=beta, bias=1.5)
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=1e-30)


def test_in_place(rng, isa):
    x = rng.standard_normal((2, 16, 50, 60)).astype(np.float32)
    mean, var, weight, bias = values(rng, 16, 4)
    for order in ORDERS.values():
        at = place(x, order)
        expected = oracle("batch_norm", x, weight, bias, mean, var)
        others = (mean, var, weight, bias)
        assert_close(run_in_place("batch_norm", lambda v, m, s, w, b: (v, m, s, w, b, v, 1e-5), at, *others), expected)
        for groups in (1, 16):
            y = run_in_place("group_norm", lambda v, g=groups: (v, None, None, v, g, 1e-5), at)
            assert_close(y, group_norm(x, groups, None, None), 1e-5)
    rows = place(x.reshape(-1, 60))
    assert_close(run_in_place("layer_norm", lambda v: (v, None, None, v, 1, 1e-5), rows), oracle("layer_norm", rows))


GOOD = (0, 0, (2, 6, 4), (24, 4, 1))
SIX, FIVE = (0, 0, (6,), (1,)), (0, 0, (5,), (1,))
OTHER = (0, 0, (2, 6, 4), (24, 1, 6))
STRIDED = (0, 0, (2, 6, 4), (48, 8, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.batch_norm(GOOD, SIX, FIVE, None, None, GOOD, 1e-5), "another size"),
        (lambda p: p.batch_norm(GOOD, SIX, SIX, FIVE, None, GOOD, 1e-5), "another size"),
        (lambda p: p.batch_norm(GOOD, SIX, SIX, None, FIVE, GOOD, 1e-5), "another size"),
        (lambda p: p.batch_norm(GOOD, SIX, SIX, None, None, OTHER, 1e-5), "dense"),
        (lambda p: p.batch_norm(STRIDED, SIX, SIX, None, None, GOOD, 1e-5), "dense"),
        (lambda p: p.batch_norm(SIX, SIX, SIX, None, None, SIX, 1e-5), "batch axis"),
        (lambda p: p.batch_norm(GOOD, SIX, SIX, None, None, GOOD, 1e-5, 77), "unknown activation"),
        (lambda p: p.group_norm(GOOD, None, None, GOOD, 4, 1e-5), "divide"),
        (lambda p: p.group_norm(GOOD, None, None, GOOD, 0, 1e-5), "divide"),
        (lambda p: p.group_norm(GOOD, FIVE, None, GOOD, 2, 1e-5), "another size"),
        (lambda p: p.group_norm(GOOD, None, None, FIVE, 2, 1e-5), "shapes of x and y"),
        (lambda p: p.layer_norm(OTHER, None, None, OTHER, 1, 1e-5), "dense rows"),
        (lambda p: p.layer_norm(GOOD, FIVE, None, GOOD, 1, 1e-5), "another size"),
        (lambda p: p.layer_norm(GOOD, None, None, GOOD, 0, 1e-5), "axes of x"),
        (lambda p: p.layer_norm(GOOD, None, None, GOOD, 4, 1e-5), "axes of x"),
        (lambda p: p.lrn(GOOD, GOOD, 0, 1.0, 0.75, 1.0), "size"),
        (lambda p: p.lrn(GOOD, GOOD, 2**40, 1.0, 0.75, 1.0), "size"),
        (lambda p: p.lrn(GOOD, OTHER, 5, 1.0, 0.75, 1.0), "dense"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(_core.Program(200))
