"""Steps that multiply matrices, against NumPy in float64: weights kept or computed, batches, strides, bad operands."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from neocog import _core
from neocog._activations import ACTIVATIONS, activation_code
from one_step import EPS, in_order, oracle, place, run_step

Array = np.ndarray


def assert_product(y: Array, expected: Array, magnitude: Array, terms: int) -> None:
    assert y.shape == expected.shape
    assert (np.abs(y - expected) <= (terms + 4) * EPS * magnitude + 1e-37).all()


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "computed"])
@pytest.mark.parametrize("rows", [(), (1,), (5,), (12,), (13,), (3, 50), (500,), (0,)], ids=str)
@pytest.mark.parametrize(("features", "outputs"), [(64, 10), (7, 33), (100, 129), (1, 1), (0, 5)])
def test_linear(features, outputs, rows, kept, rng, isa):
    x, weight = rng.standard_normal((*rows, features)), rng.standard_normal((outputs, features))
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    held = _core.LayerWeights(weight) if kept else weight
    magnitude = np.abs(x).astype(np.float64) @ np.abs(weight).T + abs(bias)
    for given in (None, bias):
        y = run_step("linear", x, held, given, ..., y=in_order((*rows, outputs)))
        expected = np.float64(x) @ np.float64(weight).T + (0 if given is None else given)
        assert_product(y, expected, magnitude, features)


@pytest.mark.parametrize("rows", [3, 100])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_linear_with_an_activation(name, rows, rng, isa):
    x, weight = rng.standard_normal((rows, 20)), rng.standard_normal((50, 20)) / 4
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    code, alpha = activation_code(name)
    alpha = 0.2 if name in ("leaky_relu", "elu") else alpha
    y = run_step("linear", x, _core.LayerWeights(weight), None, ..., code, alpha, y=in_order((rows, 50)))
    assert np.abs(y - oracle("linear", x, weight, activation=name, alpha=alpha)).max() < 1e-5


def test_weights_are_packed_once_and_live_as_long_as_the_program(rng):
    x = rng.standard_normal((40, 30)).astype(np.float32)
    weight = rng.standard_normal((20, 30)).astype(np.float32)
    weights = _core.LayerWeights(weight.copy())
    program = _core.Program(0)
    buffer = program.add_input(x.size)
    out = program.add_output((40, 20))
    program.linear((buffer, 0, (40, 30), (30, 1)), weights, None, (out, 0, (40, 20), (20, 1)))
    (first,) = program.run([x])
    kept = weights.kept_bytes
    assert kept >= weight.nbytes
    (second,) = program.run([x])
    assert weights.kept_bytes == kept
    np.testing.assert_array_equal(first, second)
    del weights
    gc.collect()
    (third,) = program.run([x])
    np.testing.assert_array_equal(first, third)


@pytest.mark.parametrize(("outputs", "copied"), [(64, True), (63, False)])  # of 16 KB, and of less
def test_few_rows_read_a_copy_of_weights_that_are_kept(outputs, copied, rng):
    x = rng.standard_normal((12, 64)).astype(np.float32)
    weight = rng.standard_normal((outputs, 64)).astype(np.float32)
    weights = _core.LayerWeights(weight)
    for rows in (1, 12):
        y = run_step("linear", x[:rows], weights, None, ..., y=in_order((rows, outputs)))
        assert weights.kept_bytes == (weight.nbytes if copied else 0)
        np.testing.assert_array_equal(y, run_step("linear", x[:rows], weight, None, ..., y=in_order((rows, outputs))))


CASES = {
    "one": ((9, 20), (20, 33)),
    "a batch": ((3, 4, 9, 20), (3, 4, 20, 33)),
    "one matrix for all": ((3, 4, 9, 20), (20, 33)),
    "a batch broadcast": ((3, 1, 9, 20), (4, 20, 33)),
    "many rows": ((2, 1000, 16), (2, 16, 70)),
    "one row": ((5, 1, 64), (5, 64, 100)),
    "one column": ((5, 17, 64), (5, 64, 1)),
    "depth of one": ((2, 5, 1), (2, 1, 6)),
    "depth of none": ((2, 5, 0), (2, 0, 6)),
    "no rows": ((2, 0, 4), (2, 4, 6)),
    "no matrices": ((0, 3, 4), (0, 4, 6)),
}


@pytest.mark.parametrize("turned", [False, True], ids=["b by rows", "b by columns"])
@pytest.mark.parametrize("case", CASES)
def test_matmul(case, turned, rng, isa):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in CASES[case])
    axes = range(b.ndim)
    order = (*axes[:-2], axes[-1], axes[-2]) if turned else None
    expected = np.float64(a) @ np.float64(b)
    results = [
        run_step("matmul", a, place(b, order), ..., y=in_order(expected.shape), threads=threads) for threads in (1, 2)
    ]
    assert_product(results[0], expected, np.float64(abs(a)) @ np.float64(abs(b)), a.shape[-1])
    np.testing.assert_array_equal(*results)


def test_heads_of_attention_need_no_copy(rng, isa):
    """(batch, tokens, heads, features) seen as (batch, heads, tokens, features), and keys turned."""
    q, k, v = (rng.standard_normal((2, 19, 3, 8)).astype(np.float32) for _ in range(3))
    scores = run_step("matmul", q.transpose(0, 2, 1, 3), k.transpose(0, 2, 3, 1), ..., y=in_order((2, 3, 19, 19)))
    np.testing.assert_allclose(scores, np.einsum("bthf,bshf->bhts", q, k), atol=1e-5)
    y = run_step("matmul", place(scores), v.transpose(0, 2, 1, 3), ..., y=in_order((2, 3, 19, 8), (0, 2, 1, 3)))
    np.testing.assert_allclose(y, np.einsum("bhts,bshf->bhtf", scores, v), atol=1e-4)


X = (0, 0, (4, 6), (6, 1))
Y = (0, 0, (4, 5), (5, 1))
FIVE, SIX = (0, 0, (5,), (1,)), (0, 0, (6,), (1,))
WEIGHTS = _core.LayerWeights(np.zeros((5, 6), np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.linear(X, WEIGHTS, SIX, Y), "bias"),
        (lambda p: p.linear(Y, WEIGHTS, None, Y), "features"),
        (lambda p: p.linear(X, WEIGHTS, None, X), "features"),
        (lambda p: p.linear((0, 0, (3, 6), (6, 1)), WEIGHTS, None, Y), "rows"),
        (lambda p: p.linear((0, 0, (4, 6), (1, 4)), WEIGHTS, None, Y), "dense"),
        (lambda p: p.linear(X, WEIGHTS, None, (0, 0, (4, 5), (8, 1))), "dense"),
        (lambda p: p.linear((0, 0, (), ()), WEIGHTS, None, (0, 0, (), ())), "dense"),
        (lambda p: p.linear(X, _core.LayerWeights(np.zeros((5, 6, 3), np.float32)), None, Y), "two axes"),
        (lambda p: p.linear(X, (0, 0, (5, 6), (6,)), None, Y), "stride"),
        (lambda p: p.linear(X, (0, 0, (5, 6), (1, 5)), None, Y), "dense"),
        (lambda p: p.linear(X, (0, 190, (5, 6), (6, 1)), None, Y), "beyond"),
        (lambda p: p.linear(X, WEIGHTS, None, Y, -1), "unknown activation"),
        (lambda p: p.matmul(X, Y, Y), "sizes"),
        (lambda p: p.matmul(X, (0, 0, (6, 5), (5, 1)), X), "sizes"),
        (lambda p: p.matmul(X, SIX, (0, 0, (4,), (1,))), "two axes"),
        (lambda p: p.matmul((0, 0, (4, 6), (1, 4)), (0, 0, (6, 5), (5, 1)), Y), "contiguous"),
        (lambda p: p.matmul(X, (0, 0, (6, 5), (10, 2)), Y), "contiguous"),
        (lambda p: p.matmul(X, (0, 0, (6, 5), (5, 1)), (0, 0, (4, 5), (10, 2))), "contiguous"),
        (
            lambda p: p.matmul(
                (0, 0, (2, 4, 6), (24, 6, 1)), (0, 0, (3, 6, 5), (30, 5, 1)), (0, 0, (2, 4, 5), (20, 5, 1))
            ),
            "broadcast",
        ),
        (lambda p: p.matmul((0, 0, (2, 4, 6), (24, 6, 1)), (0, 0, (6, 5), (5, 1)), Y), "two axes"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(_core.Program(200))
