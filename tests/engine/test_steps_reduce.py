"""Steps along axes, reductions and softmax, against the float64 oracle: any strides, cut and joined."""

from __future__ import annotations

import numpy as np
import pytest
from neocog.engine.operators import REDUCTIONS
from one_step import EPS, LAST, in_order, oracle, place, run_step, strided


@pytest.mark.parametrize("axes", [(), (0,), (1,), (3,), (2, 3), (1, 2), (0, 3), (0, 1, 2, 3), (1, 3), (-1, 0)], ids=str)
@pytest.mark.parametrize("how", ["rows", "last", "narrow", "backwards"])
def test_a_reduction_over_any_axes(how, axes, rng, isa):
    x = rng.standard_normal((3, 35, 6, 17)).astype(np.float32)
    view = strided(x)[how]
    for keepdims in (False, True):
        expected = oracle("sum", x, axes=list(axes), keepdims=keepdims)
        y = run_step("reduce", "sum", view, axes, ..., y=in_order(expected.shape))
        magnitude = oracle("norm1", x, axes=list(axes), keepdims=keepdims)
        assert (np.abs(y - expected) <= 4 * EPS * magnitude).all()


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction(name, layout, rng, isa):
    x = rng.standard_normal((70, 901)).astype(np.float32)
    if name == "log_sum":
        x = abs(x)
    if name == "prod":
        x = 1 + x / 50
    order, axis = (None, 1) if layout == "rows" else ((1, 0), 1)
    y = run_step("reduce", name, place(x, order), [axis], ..., y=in_order((70,)))
    expected = oracle(name, x, axes=[axis])
    scale = np.abs(x).mean(axis) if name == "mean" else np.abs(x).sum(axis) if name == "sum" else np.abs(expected)
    assert (np.abs(y - expected) <= 4 * EPS * scale).all()


@pytest.mark.parametrize("shape", [(2, 300000), (300000, 2), (1, 513, 1000), (40000,), (3, 1, 1, 70000)], ids=str)
@pytest.mark.parametrize("name", ["mean", "max", "log_sum_exp", "norm2"])
def test_a_long_reduction_is_cut_and_joined(name, shape, rng, isa):
    x = rng.standard_normal(shape).astype(np.float32)
    for axis in range(len(shape)):
        results = []
        expected = oracle(name, x, axes=[axis])
        for threads in (1, 2):
            y = run_step("reduce", name, x, [axis], ..., y=in_order(expected.shape), threads=threads)
            assert np.abs(y - expected).max(initial=0) <= 4 * EPS * max(1.0, np.abs(expected).max(initial=0))
            results.append(y)
        np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", ["max", "min", "sum", "log_sum_exp"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_reduction_of_what_is_no_number(name, axis, isa):
    x = np.zeros((40, 40), np.float32)
    x[3, 3], x[7, 7], x[9, 9] = np.nan, np.inf, -np.inf
    x[11, :], x[:, 12] = -np.inf, -np.inf
    y = run_step("reduce", name, x, [axis], ..., y=in_order((40,)))
    np.testing.assert_array_equal(y, oracle(name, x, axes=[axis]).astype(np.float32))


def test_a_reduction_of_nothing(isa):
    x = np.empty((3, 0), np.float32)
    for name, value in (("sum", 0), ("prod", 1), ("norm2", 0), ("mean", np.nan)):
        np.testing.assert_array_equal(run_step("reduce", name, x, [1], ..., y=in_order((3,))), np.float32([value] * 3))
    with pytest.raises(ValueError, match="nothing"):
        run_step("reduce", "max", x, [1], ..., y=in_order((3,)))


@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log_softmax"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), LAST, (3, 1, 0, 2)], ids=str)
def test_softmax(log, order, rng, isa):
    x = (5 * rng.standard_normal((2, 33, 5, 7))).astype(np.float32)
    x[0, 3] = -300  # vanishes, but not its logarithm
    for axis in range(-4, 4):
        y = run_step("softmax", place(x, order), ..., axis, log, y=in_order(x.shape, order))
        expected = oracle("log_softmax" if log else "softmax", x, axis=axis)
        np.testing.assert_allclose(y, expected, rtol=20 * EPS, atol=1e-6 if log else 1e-40)


@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log_softmax"])
def test_a_long_softmax(log, rng, isa):
    x = rng.standard_normal((3, 5001)).astype(np.float32)
    for order in ((0, 1), (1, 0)):
        y = run_step("softmax", place(x, order), ..., 1, log, y=in_order(x.shape, order))
        np.testing.assert_allclose(y, oracle("log_softmax" if log else "softmax", x, axis=1), rtol=1e-6)
