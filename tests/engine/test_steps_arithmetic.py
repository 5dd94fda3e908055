"""Steps element by element, and copies, against the float64 oracle: any strides, in place, bad operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from neocog import _core
from neocog._activations import ACTIVATIONS, activation_code
from neocog.engine.operators import BINARY, UNARY
from one_step import EPS, LAST, in_order, oracle, place, run_in_place, run_step, strided

Array = np.ndarray

FUNCTIONS = [name for name in UNARY if name not in ACTIVATIONS]
PARAMETERS: dict[str, dict[str, float]] = {
    "celu": {"alpha": 0.7},
    "selu": {"alpha": 1.5, "gamma": 1.25},
    "hardsigmoid": {"alpha": 0.25, "beta": 0.5},
    "clip": {"min": -0.5, "max": 1.5},
    "threshold": {"threshold": 0.25, "value": -3.0},
    "shrink": {"lambd": 0.5, "bias": 0.25},
}
# In ulp of the value; what is written as a difference errs by ulp of its terms.
ULP = {"erf": 6, "mish": 8, "celu": 6, "selu": 6, "hardsigmoid": 4, "softplus": 4, "rsqrt": 3, "tan": 3, "sinh": 4}


def assert_ulp(y: Array, expected: Array, ulp: float) -> None:
    """Within so many ulp of the value; NaN and infinities, and what overflows to them, as expected."""
    with np.errstate(over="ignore"):
        rounded = expected.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    error = np.abs(y[finite].astype(np.float64) - expected[finite])
    assert (error <= ulp * EPS * np.abs(expected[finite]) + 2e-42).all(), error.max()


def numbers(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Of both signs and of many sizes."""
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 2, shape)
    return x.astype(np.float32)


# One operand


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_numbers(name, rng, isa):
    x = np.concatenate([numbers(rng, (999,)), np.float32([0, -0.0, 1, -1, 2.5, -2.5, 0.5, -0.5, 30, -30])])
    if name in ("asin", "acos", "atanh"):
        x = np.tanh(x)
    if name == "acosh":
        x = 1 + abs(x)
    given = PARAMETERS.get(name, {})
    y = run_step("unary", name, x, ..., *given.values(), y=in_order(x.shape))
    assert_ulp(y, oracle(name, x, **given), ULP.get(name, 2))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_what_is_no_number(name, isa):
    """NaN stays NaN; infinities, and what has no value, are NumPy's."""
    x = np.float32([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-42, -1e-42] * 3)
    given = PARAMETERS.get(name, {})
    y = run_step("unary", name, x, ..., *given.values(), y=in_order(x.shape))
    expected = oracle(name, x, **given)
    if name in ("mish", "softsign"):  # at infinity the formula is NaN, in the oracle and in PyTorch or here alone
        keep = np.isfinite(x) | np.isnan(x)
        y, expected = y[keep], expected[keep]
    if name in ("sin", "cos", "tan"):  # float32's 1e38 is the argument, and the oracle sees that one too
        assert_ulp(y, expected, 3)
    else:
        assert_ulp(y, expected, ULP.get(name, 2))


def test_logarithms_around_one_and_of_the_smallest_numbers(isa):
    x = np.concatenate([np.linspace(0.4, 2.5, 5000), 1 + 2.0 ** np.arange(-23, -1), 2.0 ** np.arange(-149, 128)])
    x = x.astype(np.float32)
    assert_ulp(run_step("unary", "log", x, ..., y=in_order(x.shape)), np.log(np.float64(x)), 2)


def test_half_to_even(isa):
    x = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 8388609, 2147483648.0])
    y = run_step("unary", "round", x, ..., y=in_order(x.shape))
    np.testing.assert_array_equal(y, np.rint(x))


@pytest.mark.parametrize("bounds", [(None, 1.0), (0.0, None), (None, None), (1.0, -1.0)])
def test_bounds_that_are_absent_or_crossed(bounds, rng, isa):
    x = numbers(rng, (50,))
    low, high = (-np.inf if bounds[0] is None else bounds[0], np.inf if bounds[1] is None else bounds[1])
    y = run_step("unary", "clip", x, ..., low, high, y=in_order(x.shape))
    np.testing.assert_array_equal(y, oracle("clip", x, min=bounds[0], max=bounds[1]))


@pytest.mark.parametrize("how", ["rows", "last", "turned", "narrow", "backwards"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), LAST, (1, 3, 0, 2)])
def test_one_operand_of_any_strides(how, order, rng, isa):
    x = rng.standard_normal((2, 5, 7, 19)).astype(np.float32)
    view = strided(x)[how]
    y = run_step("unary", "square", view, ..., y=in_order(x.shape, order))
    np.testing.assert_array_equal(y, x * x)
    y = run_step("activation", view, ..., *activation_code("relu"), y=in_order(x.shape, order))
    np.testing.assert_array_equal(y, np.maximum(x, 0))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation(name, rng, isa):
    x = rng.standard_normal((3, 4, 5, 6)).astype(np.float32)
    code, alpha = activation_code(name)
    given = {"alpha": 0.3} if name in ("leaky_relu", "elu") else {}
    y = run_step("activation", place(x, LAST), ..., code, given.get("alpha", alpha), y=in_order(x.shape, LAST))
    assert np.abs(y - oracle(name, x, **given)).max() < 1e-6


def test_a_result_between_other_elements(rng, isa):
    """As a part of a concatenation is written."""
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    y = in_order((2, 9, 4, 5), LAST)[:, 3:6]
    np.testing.assert_array_equal(run_step("unary", "neg", place(x, LAST), ..., y=y), -x)
    np.testing.assert_array_equal(run_step("copy", place(x), ..., y=y), x)
    np.testing.assert_array_equal(run_step("binary", "add", place(x), place(x, LAST), ..., y=y), x + x)
    total = run_step("reduce", "sum", place(x), [1], ..., y=in_order((2, 3, 4, 5))[:, 1])
    np.testing.assert_allclose(total, x.sum(1), rtol=1e-6, atol=1e-6)


def test_in_place(rng, isa):
    x = rng.standard_normal((3, 5, 7, 9)).astype(np.float32)
    other, slope = rng.standard_normal((3, 5, 7, 9)).astype(np.float32), rng.random((5, 1, 1)).astype(np.float32)
    for order in ((0, 1, 2, 3), LAST):
        at = place(x, order)
        steps = {
            "activation": (lambda v: (v, v, *activation_code("relu")), (), np.maximum(x, 0)),
            "unary": (lambda v: ("abs", v, v), (), abs(x)),
            "binary": (lambda v, o: ("mul", v, o, v), (place(other),), x * other),
            "prelu": (lambda v, s: (v, s, v), (place(slope),), np.where(x > 0, x, slope * x)),
        }
        for method, (arguments, others, expected) in steps.items():
            np.testing.assert_array_equal(run_in_place(method, arguments, at, *others), expected)
        y = run_in_place("binary", lambda v, o: ("sub", o, v, v), at, place(other, LAST))
        np.testing.assert_array_equal(y, other - x)
        for axis in range(4):
            y = run_in_place("softmax", lambda v, axis=axis: (v, v, axis, False), at)
            np.testing.assert_allclose(y, oracle("softmax", x, axis=axis), rtol=1e-6, atol=1e-7)


# Two operands


@pytest.mark.parametrize("name", BINARY)
def test_a_function_of_two_numbers(name, rng, isa):
    a, b = numbers(rng, (4099,)), numbers(rng, (4099,))
    if name == "pow":
        a = abs(a)
    y = run_step("binary", name, a, b, ..., y=in_order(a.shape))
    if name == "mod":  # fmod is exact; the oracle divides in float64, which is not where b is small
        expected = np.float64(np.mod(a, b))
    else:
        expected = oracle(name, a, b)
    assert_ulp(y, expected, 1 if name != "pow" else 2)


@pytest.mark.parametrize("name", BINARY)
def test_two_numbers_of_which_one_is_none(name, isa):
    values = np.float32([np.nan, np.inf, -np.inf, 0, -0.0, 1, -1, 2.5, -3])
    a, b = (np.ascontiguousarray(x.ravel()) for x in np.meshgrid(values, values))
    y = run_step("binary", name, a, b, ..., y=in_order(a.shape))
    with np.errstate(all="ignore"):
        expected = np.mod(a, b) if name == "mod" else oracle(name, a, b)
    np.testing.assert_array_equal(y, expected.astype(np.float32))


SHAPES = {
    "equal": ((2, 5, 6, 7), (2, 5, 6, 7)),
    "channel": ((2, 5, 6, 7), (5, 1, 1)),
    "channel of each image": ((2, 5, 6, 7), (2, 5, 1, 1)),
    "pixel of each image": ((2, 5, 6, 7), (2, 1, 6, 7)),
    "row": ((2, 5, 6, 7), (7,)),
    "column": ((2, 5, 6, 7), (6, 1)),
    "scalar": ((2, 5, 6, 7), ()),
    "both": ((2, 1, 6, 1), (5, 1, 7)),
    "long rows": ((3, 700), (700,)),
    "long columns": ((700, 3), (700, 1)),
    "one long row": ((40000,), (1,)),
    "nothing": ((2, 0, 3), (1, 3)),
    "five axes": ((2, 3, 1, 4, 5), (3, 6, 1, 5)),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("case", SHAPES)
def test_broadcasting(case, swapped, rng, isa):
    shapes = SHAPES[case][:: -1 if swapped else 1]
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    shape = np.broadcast_shapes(*shapes)
    for order in (None, LAST) if len(shape) == 4 else (None,):
        places = [place(x, order if x.ndim == 4 else None) for x in (a, b)]
        for name, expected in (("sub", a - b), ("div", a / b)):
            y = run_step("binary", name, *places, ..., y=in_order(shape, order))
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("first", ["rows", "last", "turned", "narrow", "backwards"])
@pytest.mark.parametrize("second", ["rows", "last", "narrow"])
def test_two_operands_of_any_strides(first, second, rng, isa):
    a, b = (rng.standard_normal((2, 5, 7, 19)).astype(np.float32) for _ in range(2))
    for order in ((0, 1, 2, 3), LAST):
        y = run_step("binary", "sub", strided(a)[first], strided(b)[second], ..., y=in_order(a.shape, order))
        np.testing.assert_array_equal(y, a - b)


@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (5, 1, 1)], ids=["equal", "channel"])
def test_a_sum_with_an_activation(name, shape, rng, isa):
    a, b = rng.standard_normal((2, 5, 6, 7)).astype(np.float32), rng.standard_normal(shape).astype(np.float32)
    code, alpha = activation_code(name)
    alpha = 0.2 if name in ("leaky_relu", "elu") else alpha
    y = run_step("binary", "add", place(a, LAST), place(b), ..., code, alpha, y=in_order(a.shape, LAST))
    assert np.abs(y - oracle("add", a, b, activation=name, alpha=alpha)).max() < 1e-6


@pytest.mark.parametrize("shape", [(5, 1, 1), (2, 5, 6, 7), (1,), (1, 1, 6, 7)])
def test_prelu(shape, rng, isa):
    x, slope = rng.standard_normal((2, 5, 6, 7)).astype(np.float32), rng.standard_normal(shape).astype(np.float32)
    x[0, 0, 0, :2] = np.nan, -np.inf
    y = run_step("prelu", place(x, LAST), place(slope), ..., y=in_order(x.shape, LAST))
    np.testing.assert_array_equal(y, oracle("prelu", x, slope).astype(np.float32))


# Copies


@pytest.mark.parametrize("how", ["rows", "last", "turned", "narrow", "backwards"])
def test_a_copy(how, rng):
    x = rng.standard_normal((2, 5, 7, 19)).astype(np.float32)
    for order in ((0, 1, 2, 3), LAST):
        np.testing.assert_array_equal(run_step("copy", strided(x)[how], ..., y=in_order(x.shape, order)), x)
    repeated = np.broadcast_to(place(x[:, :1]), x.shape)
    np.testing.assert_array_equal(run_step("copy", repeated, ..., y=in_order(x.shape, LAST)), repeated)


# What every step refuses


def test_the_same_bits_for_any_number_of_threads(rng, isa):
    x, b = rng.standard_normal((4, 64, 40, 40)).astype(np.float32), rng.random((64, 1, 1)).astype(np.float32)
    calls: list[tuple[Any, ...]] = [
        ("unary", "mish", place(x), ...),
        ("activation", place(x), ..., *activation_code("gelu")),
        ("binary", "mul", place(x), b, ...),
        ("prelu", place(x), b, ...),
        ("softmax", place(x), ..., 1, True),
        ("copy", place(x, LAST), ...),
    ]
    for call in calls:
        one, two = (run_step(*call, y=in_order(x.shape), threads=threads) for threads in (1, 2))
        np.testing.assert_array_equal(one, two, err_msg=call[0])


GOOD = (0, 0, (2, 3), (3, 1))
BAD = {
    "no stride for an axis": (0, 0, (2, 3), (3,)),
    "a stride too many": (0, 0, (2, 3), (3, 1, 1)),
    "a negative size": (0, 0, (2, -3), (3, 1)),
    "a size beyond all memory": (0, 0, (2**40, 2**40), (0, 0)),
    "a size that overflows": (0, 0, (2**62, 8), (1, 1)),
    "a stride that overflows": (0, 0, (2, 3), (2**62, 1)),
    "beyond the buffer": (0, 0, (2, 3), (300, 1)),
    "before the buffer": (0, 0, (2, 3), (-3, 1)),
    "an offset beyond the buffer": (0, 2**62, (2, 3), (3, 1)),
    "a negative offset": (0, -1, (2, 3), (3, 1)),
    "no such buffer": (7, 0, (2, 3), (3, 1)),
    "another shape": (0, 0, (5, 7), (7, 1)),
    "too many axes": (0, 0, (1,) * 64 + (2, 3), (1,) * 66),
}
CALLS: dict[str, Any] = {
    "activation": lambda p, x, y: p.activation(x, y, 1, 0.0),
    "unary": lambda p, x, y: p.unary("abs", x, y),
    "binary first": lambda p, x, y: p.binary("add", x, GOOD, y),
    "binary second": lambda p, x, y: p.binary("add", GOOD, x, y),
    "prelu": lambda p, x, y: p.prelu(x, GOOD, y),
    "slope": lambda p, x, y: p.prelu(GOOD, x, y),
    "reduce": lambda p, x, y: p.reduce("sum", x, [], y),
    "softmax": lambda p, x, y: p.softmax(x, y, 0, False),
    "copy": lambda p, x, y: p.copy(x, y),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", BAD)
def test_bad_operands(call, bad):
    program = _core.Program(100)
    CALLS[call](program, GOOD, GOOD)
    for x, y in ((BAD[bad], GOOD), (GOOD, BAD[bad])):
        if call == "copy" and bad == "before the buffer" and x is not GOOD:
            continue  # with room before it, a copy reads backwards; the buffer itself is checked below
        with pytest.raises((ValueError, TypeError)):
            CALLS[call](program, x, y)
    assert len(program.kernels) == 1


def test_results_must_not_overlap_or_be_read_only():
    program = _core.Program(100)
    constant = program.add_constant(np.zeros(6, np.float32))
    for y in ((0, 0, (2, 3), (0, 1)), (0, 0, (2, 3), (2, 1)), (0, 0, (2, 3), (1, 1)), (constant, 0, (2, 3), (3, 1))):
        for call in CALLS.values():
            with pytest.raises(ValueError, match=r"overlap|write"):
                call(program, GOOD, y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.activation(GOOD, GOOD, 99, 0.0), "unknown activation"),
        (lambda p: p.activation(GOOD, GOOD, -1, 0.0), "unknown activation"),
        (lambda p: p.unary("cube", GOOD, GOOD), "no function 'cube'"),
        (lambda p: p.binary("xor", GOOD, GOOD, GOOD), "no function 'xor'"),
        (lambda p: p.binary("prelu", GOOD, GOOD, GOOD), "no function 'prelu'"),
        (lambda p: p.binary("mul", GOOD, GOOD, GOOD, 1, 0.0), "only a sum"),
        (lambda p: p.reduce("median", GOOD, [0], GOOD), "no function 'median'"),
        (lambda p: p.reduce("sum", GOOD, [2], (0, 0, (2,), (1,))), "axis does not exist"),
        (lambda p: p.reduce("sum", GOOD, [0, 0], (0, 0, (), ())), "reduced twice"),
        (lambda p: p.reduce("sum", GOOD, [0, -2], (0, 0, (), ())), "reduced twice"),
        (lambda p: p.reduce("sum", GOOD, [0], (0, 0, (2,), (1,))), "another shape"),
        (lambda p: p.reduce("sum", GOOD, [0], (0, 0, (), ())), "other axes"),
        (lambda p: p.softmax(GOOD, GOOD, 2, False), "axis does not exist"),
        (lambda p: p.softmax((0, 0, (2, 3), (6, 2)), GOOD, 1, False), "dense"),
        (lambda p: p.softmax((0, 0, (2, 3), (1, 2)), GOOD, 1, False), "dense"),
        (lambda p: p.softmax((0, 0, (), ()), (0, 0, (), ()), 0, False), "axis does not exist"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(_core.Program(100))
