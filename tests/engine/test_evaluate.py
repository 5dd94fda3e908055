"""`evaluate` against the float64 oracle of graphs: values, dtypes, untouched inputs, rejections; the rules of sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neocog.engine.evaluate import can_evaluate, evaluate, normalise_axes, resolve_shape, resolve_slices
from neocog.engine.graph import Graph, GraphError, Input, Node
from neocog.engine.operators import BINARY, OPERATORS, REDUCTIONS, UNARY
from reference_graph import run

IMAGE_OPERATORS = {
    *("conv", "conv_transpose", "separable_conv", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"),
    *("batch_norm", "group_norm", "instance_norm", "layer_norm", "lrn", "resize"),
}


def make(op: str, *values: Any, **attributes: Any) -> tuple[Node, list[np.ndarray | None]]:
    arrays = [None if value is None else np.asarray(value) for value in values]
    return Node(op, tuple(None if a is None else f"x{i}" for i, a in enumerate(arrays)), ("y",), attributes), arrays


def check(op: str, *values: Any, **attributes: Any) -> np.ndarray:
    """The result, once it is found to be the oracle's in float64 and the inputs to be as they were."""
    node, arrays = make(op, *values, **attributes)
    before = [None if a is None else a.copy() for a in arrays]
    (y,) = evaluate(node, arrays)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)
    given = [(name, a) for name, a in zip(node.inputs, arrays, strict=True) if name is not None]
    graph = Graph([Input(name, a.shape, a.dtype.name) for name, a in given], ["y"], [node], {})
    (expected,) = run(graph, [a for _, a in given])
    assert type(y) is np.ndarray
    assert y.shape == expected.shape
    assert (y.dtype.kind == "f") == (expected.dtype.kind == "f")
    if y.dtype.kind == "f":
        # The result is rounded once; float64 may take another way to it.
        np.testing.assert_allclose(y, expected, rtol={4: 1e-7, 8: 1e-12}[y.itemsize], atol=np.finfo(y.dtype).tiny)
    else:
        np.testing.assert_array_equal(y, expected)
    return y


def test_what_can_be_evaluated_is_all_but_the_operators_on_images():
    assert {op for op in OPERATORS if not can_evaluate(op)} == IMAGE_OPERATORS
    assert not can_evaluate("no_such_operator")


DOMAINS = {
    **dict.fromkeys(("sqrt", "rsqrt", "reciprocal", "log"), (0.1, 4)),
    **dict.fromkeys(("asin", "acos", "atanh"), (-0.9, 0.9)),
    "acosh": (1.1, 4),
}


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("shape", [(), (3, 7), (0, 2)], ids=["scalar", "matrix", "empty"])
def test_unary(op, shape, dtype, rng):
    x = rng.uniform(*DOMAINS.get(op, (-4, 4)), shape).astype(dtype)
    attributes = {"clip": {"min": -0.5, "max": 2}, "celu": {"alpha": 0.5}}.get(op, {})
    assert check(op, x, **attributes).dtype == dtype


@pytest.mark.parametrize(
    "op", ["abs", "neg", "sign", "square", "relu", "relu6", "clip", "threshold", "floor", "ceil", "round"]
)
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_unary_on_integers(op, kind):
    x = np.array([-7, -1, 0, 1, 7], kind)
    assert check(op, x, **({"min": -2, "max": 3} if op == "clip" else {})).dtype == kind


def test_a_function_of_real_numbers_makes_float32_of_integers():
    assert check("sqrt", np.array([1, 4, 5])).dtype == np.float32


def test_clip_of_large_integers_is_exact():
    large = 2**62 + 1
    np.testing.assert_array_equal(
        evaluate(*make("clip", np.array([large, -5]), min=-3.4e38, max=3.4e38))[0], [large, -5]
    )
    np.testing.assert_array_equal(evaluate(*make("clip", np.array([large, -5]), min=0.0, max=None))[0], [large, 0])


def test_infinities_and_nan_are_results_and_no_warnings(dtype):
    x = np.array([0, -1, np.inf, np.nan, 1e4], dtype)
    for op in UNARY:
        assert evaluate(*make(op, x))[0].dtype == dtype
    np.testing.assert_array_equal(evaluate(*make("log", x))[0][:4], [-np.inf, np.nan, np.inf, np.nan])
    np.testing.assert_array_equal(evaluate(*make("relu", x))[0], np.array([0, 0, np.inf, np.nan, 1e4], dtype))
    np.testing.assert_array_equal(evaluate(*make("div", x, np.zeros_like(x)))[0][1:3], [-np.inf, np.inf])


@pytest.mark.parametrize("op", BINARY)
def test_binary(op, dtype, rng):
    x, y = rng.uniform(0.5, 3, (2, 1, 4)).astype(dtype), rng.uniform(0.5, 3, (3, 1)).astype(dtype)
    assert check(op, x, y).dtype == dtype
    assert check(op, x, np.array(1.5, dtype)).dtype == dtype
    if op != "pow":
        assert check(op, -x, y).dtype == dtype


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_binary_on_integers(op, kind):
    x = np.array([[7], [-7], [6], [0]], kind)
    y = np.array([1, 2, 3], kind) if op == "pow" else np.array([2, -2, 3, -3], kind)
    assert check(op, x, y).dtype == kind
    assert check(op, kind(5), kind(3)).shape == ()


@pytest.mark.parametrize("op", BINARY)
def test_integers_take_the_dtype_of_floats_that_they_meet(op):
    x, y = np.array([1.5, 2.5], np.float32), np.array([2, 3])
    assert check(op, x, y).dtype == np.float32
    assert check(op, y, x).dtype == np.float32
    assert check(op, y.astype(np.int32), y).dtype == np.int64


def test_add_and_linear_apply_their_activation(dtype, rng):
    x, weight = rng.standard_normal((3, 5)).astype(dtype), rng.standard_normal((4, 5)).astype(dtype)
    assert check("add", x, -2 * x, activation="leaky_relu", alpha=0.25).dtype == dtype
    assert check("linear", x[0], weight, np.ones(4, dtype), activation="tanh").dtype == dtype
    check("linear", x, weight)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op, keepdims, dtype, rng):
    x = rng.uniform(0.5, 3, (2, 3, 4)).astype(dtype)
    for axes in (None, [], [1], [-1, 0]):
        assert check(op, x, axes=axes, keepdims=keepdims).dtype == dtype


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_of_integers_truncate(op):
    x = np.array([[1, 2, 4], [3, 5, 8]])
    assert check(op, x, axes=[1]).dtype == np.int64
    assert check("mean", -x, axes=[1]).tolist() == [-2, -5]


def test_a_long_sum_of_float32_is_rounded_once():
    x = np.full((100_000, 2), 0.1, np.float32)
    expected = np.float32(100_000 * float(np.float32(0.1)))
    np.testing.assert_array_equal(evaluate(*make("sum", x, axes=[0]))[0], [expected, expected])


def test_truth_values_are_counted():
    assert evaluate(*make("sum", np.array([True, False, True])))[0] == 2
    assert evaluate(*make("max", np.array([True, False])))[0].dtype == bool


def test_softmax_matmul_prelu(dtype, rng):
    x = (rng.standard_normal((2, 3, 4)) * 100).astype(dtype)
    for axis in (0, -1):
        assert check("softmax", x, axis=axis).dtype == dtype
        assert check("log_softmax", x, axis=axis).dtype == dtype
    assert check("matmul", np.abs(x), np.abs(x[0].T)).dtype == dtype
    assert check("matmul", np.arange(4), np.arange(4)).dtype == np.int64
    assert check("prelu", x, np.array([[0.5], [2], [-1]], dtype)).dtype == dtype


SHAPES = {
    "shape": ("shape", [np.zeros((2, 3, 4))], {"start": 1, "end": -1}),
    "shape_beyond": ("shape", [np.zeros((2, 3, 4))], {"start": -9, "end": 9}),
    "size": ("size", [np.zeros((2, 3))], {}),
    "cast_truncates": ("cast", [np.array([-1.7, 0.2, 3.9], np.float32)], {"dtype": "int64"}),
    "cast_to_truth": ("cast", [np.array([0.0, 0.5])], {"dtype": "bool"}),
    "range": ("range", [2, 9, 3], {}),
    "range_backwards": ("range", [2, -4, -2], {}),
    "range_empty": ("range", [2, -4, 1], {}),
    "range_of_floats": ("range", [np.float64(0.5), np.float64(2), np.float64(0.25)], {}),
    "full": ("full", [np.array([2, 3])], {"value": 1.5, "dtype": "float64"}),
    "full_of_no_axes": ("full", [np.array([], np.int64)], {"value": 3, "dtype": "int64"}),
    "equal": ("equal", [np.arange(3), np.array([0, 2, 2])], {}),
    "less": ("less", [np.arange(3), np.array(1)], {}),
    "greater": ("greater", [np.arange(3.0), np.array(1.0)], {}),
    "and": ("logical_and", [np.array([True, True]), np.array([True, False])], {}),
    "or": ("logical_or", [np.array([False, True]), np.array([False])], {}),
    "not": ("logical_not", [np.array([False, True])], {}),
    "where": ("where", [np.array([True, False]), np.array([[1], [2]]), np.array([7, 8])], {}),
    "nonzero": ("nonzero", [np.array([[0, 2], [3, 0]])], {}),
    "nonzero_scalar": ("nonzero", [np.array(5)], {}),
    "gather_scalar": ("gather", [np.array([2, 3, 5]), np.array(-1)], {}),
    "gather_axis": ("gather", [np.arange(12).reshape(3, 4), np.array([[0, -1]])], {"axis": 1}),
    "concat": ("concat", [np.array([1, 2]), np.array([3]), np.array([], np.int64)], {"axis": 0}),
    "slice": ("slice", [np.arange(10), np.array([-3]), np.array([100])], {}),
    "slice_all_backwards": ("slice", [np.arange(5), [-1], [-100], [0], [-2]], {}),
    "slice_backwards_of_nothing": ("slice", [np.arange(5), [-100], [3], [0], [-1]], {}),
    "slice_last_axis": ("slice", [np.arange(6).reshape(2, 3), [1], [3], [-1]], {}),
    "transpose": ("transpose", [np.arange(6).reshape(1, 2, 3)], {"permutation": [2, 0, 1]}),
    "reshape": ("reshape", [np.arange(12).reshape(3, 4), np.array([0, -1, 2])], {}),
    "reshape_keeps_zero": ("reshape", [np.zeros((0, 3)), np.array([5, 0])], {"keep_zero": True}),
    "reshape_to_scalar": ("reshape", [np.array([3]), np.array([], np.int64)], {}),
    "flatten": ("flatten", [np.zeros((2, 3, 4, 5))], {"start": 1, "end": -2}),
    "flatten_scalar": ("flatten", [np.array(3)], {"start": 0}),
    "squeeze_all": ("squeeze", [np.zeros((1, 3, 1))], {}),
    "squeeze": ("squeeze", [np.zeros((1, 3, 1))], {"axes": [-1]}),
    "unsqueeze": ("unsqueeze", [np.array([2, 3])], {"axes": [0, -1]}),
    "expand": ("expand", [np.array([[1], [2]]), np.array([3, 1, 2])], {}),
    "tile": ("tile", [np.array([[1, 2]]), np.array([2, 3])], {}),
    "identity": ("identity", [np.array([1, 2])], {}),
}


@pytest.mark.parametrize(("op", "values", "attributes"), SHAPES.values(), ids=SHAPES)
def test_numbers_and_shapes(op, values, attributes):
    y = check(op, *values, **attributes)
    if op not in ("cast", "full", "equal", "less", "greater", "shape", "size", "where", "nonzero"):
        assert y.dtype == np.asarray(values[0]).dtype


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.bool_])
@pytest.mark.parametrize("op", ["transpose", "gather", "concat", "slice", "pad", "expand", "tile", "where"])
def test_moving_elements_keeps_their_dtype(op, kind):
    x = np.array([[0, 1], [1, 1]], kind)
    numbers, attributes = {
        "transpose": ([], {"permutation": [1, 0]}),
        "gather": ([np.array([1])], {}),
        "concat": ([x], {"axis": 0}),
        "slice": ([np.array([1]), np.array([2])], {}),
        "pad": ([np.array([1, 0, 0, 1])], {"value": 1.0}),
        "expand": ([np.array([2, 2, 2])], {}),
        "tile": ([np.array([2, 1])], {}),
        "where": ([x, x], {}),
    }[op]
    assert check(op, x, *numbers, **attributes).dtype == kind


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("pads", [[1, 0, 2, 3], [-1, 2, 2, -1], [-2, -3, 0, 0], [0, 0, -3, 3]])
def test_pad(mode, pads, dtype, rng):
    x = rng.standard_normal((4, 5)).astype(dtype)
    assert check("pad", x, np.array(pads), mode=mode, value=0.5).dtype == dtype


def test_pad_that_crops_more_than_there_is_leaves_the_constant():
    y = check("pad", np.array([1, 2, 3]), np.array([-4, 6]), value=9)
    assert y.tolist() == [9] * 5


@pytest.mark.parametrize("op", ["pixel_shuffle", "depth_to_space", "pixel_unshuffle", "space_to_depth"])
def test_pixels_change_places(op, dtype, rng):
    assert check(op, rng.standard_normal((2, 8, 4, 6)).astype(dtype), factor=2).dtype == dtype


REJECTED = {
    "image_operator": ("conv", [np.zeros(1), np.zeros(1)], {}, "cannot be evaluated while planning"),
    "shapes_do_not_broadcast": ("add", [np.zeros((2, 3)), np.zeros(4)], {}, r"float64\[2, 3\], float64\[4\]"),
    "division_by_zero": ("div", [np.array([4]), np.array([0])], {}, "divided by 0"),
    "remainder_by_zero": ("mod", [np.array([4]), np.array([0])], {}, "divided by 0"),
    "negative_power": ("pow", [np.array([4]), np.array([-1])], {}, "negative integer powers"),
    "slope_enlarges": ("prelu", [np.zeros(3), np.zeros((2, 3))], {}, r"float64\[2, 3\]"),
    "index_beyond": ("gather", [np.array([1, 2]), np.array(2)], {}, "out of bounds"),
    "index_is_no_integer": ("gather", [np.array([1, 2]), np.array(0.5)], {}, "float64"),
    "no_such_axis": ("gather", [np.array([1, 2]), np.array(0)], {"axis": 1}, "axis 1 is not one of 1 axes"),
    "concat": ("concat", [np.zeros((2, 3)), np.zeros((3, 2))], {"axis": 0}, r"float64\[2, 3\], float64\[3, 2\]"),
    "reshape": ("reshape", [np.zeros((2, 3)), np.array([4, -1])], {}, r"6 elements .* do not divide into \[4, -1\]"),
    "squeeze": ("squeeze", [np.zeros((2, 3))], {"axes": [0]}, "axis 0 has 2 elements"),
    "flatten": ("flatten", [np.zeros((2, 3))], {"start": 1, "end": 0}, "must not be before"),
    "expand": ("expand", [np.zeros((2, 3)), np.array([2, 2])], {}, r"float64\[2, 3\]"),
    "shape_is_no_list": ("expand", [np.zeros((2, 3)), np.array(2)], {}, "integers in one axis"),
    "shape_is_no_integer": ("reshape", [np.zeros(3), np.array([3.0])], {}, r"not float64\[1\]"),
    "negative_size": ("full", [np.array([2, -1])], {"value": 0, "dtype": "int64"}, "negative dimensions"),
    "range_without_step": ("range", [np.array(0), np.array(3), np.array(0)], {}, "step of a range is 0"),
    "pads_of_other_axes": ("pad", [np.zeros((2, 3)), np.array([1, 1])], {}, "a begin for each of 2 axes"),
    "pads_take_too_much": ("pad", [np.zeros(3), np.array([-2, -2])], {}, "take more from axis 0 than its 3"),
    "pads_reflect_too_much": ("pad", [np.zeros(3), np.array([3, 0])], {"mode": "reflect"}, "reflect more than the 3"),
    "channels": ("pixel_shuffle", [np.zeros((1, 6, 2, 2))], {"factor": 2}, "6 channels do not divide"),
    "pixels": ("space_to_depth", [np.zeros((1, 1, 3, 2))], {"factor": 2}, "3 x 2 pixels do not divide"),
    "largest_of_nothing": ("max", [np.zeros((0, 2))], {"axes": [0]}, r"float64\[0, 2\]"),
}


@pytest.mark.parametrize(("op", "values", "attributes", "message"), REJECTED.values(), ids=REJECTED)
def test_errors_name_the_node_and_the_sizes(op, values, attributes, message):
    node, arrays = make(op, *values, **attributes)
    node.name = "head/numbers"
    with pytest.raises(GraphError, match=message) as caught:
        evaluate(node, arrays)
    assert str(caught.value).startswith(f"{op} (head/numbers)")


def test_normalise_axes():
    assert normalise_axes(None, 3) == (0, 1, 2)
    assert normalise_axes([-1, 0], 3) == (2, 0)
    with pytest.raises(GraphError, match="axis 3 is not one of 3 axes; it must be -3 to 2"):
        normalise_axes([3], 3)
    with pytest.raises(GraphError, match=r"\[0, -3\] name axis 0 twice"):
        normalise_axes([0, -3], 3)


@pytest.mark.parametrize(
    ("shape", "new_shape", "keep_zero", "expected"),
    [
        ((2, 3, 4), [0, -1], False, (2, 12)),
        ((2, 3, 4), [-1], False, (24,)),
        ((0, 3), [-1, 3], False, (0, 3)),
        ((0, 3), [0, 3], True, (0, 3)),
        ((5, 0), [0, 7], True, (0, 7)),
        ((), [1, 1], False, (1, 1)),
    ],
)
def test_resolve_shape(shape, new_shape, keep_zero, expected):
    assert resolve_shape(shape, new_shape, keep_zero) == expected
    assert resolve_shape(shape, np.array(new_shape), keep_zero) == expected


@pytest.mark.parametrize(
    ("shape", "new_shape", "keep_zero", "message"),
    [
        ((4,), [-1, -1], False, "more than one -1"),
        ((4,), [-2, -2], False, "has the size -2"),
        ((4,), [4, 0], False, "copies the size of axis 1 by its 0"),
        ((0, 4), [0, -1], True, "its -1 could be any size"),
        ((5,), [2, -1], False, "do not divide"),
        ((5,), [2, 3], False, "which has 6"),
        ((5,), [5, 0], True, "which has 0"),
    ],
)
def test_resolve_shape_rejects(shape, new_shape, keep_zero, message):
    with pytest.raises(GraphError, match=message):
        resolve_shape(shape, new_shape, keep_zero)


def test_resolve_slices_lists_the_indices_that_python_takes():
    for size in (0, 1, 4):
        numbers = range(-6, 7)
        for start in numbers:
            for end in numbers:
                for step in (-3, -1, 1, 2):
                    ((first, stop, by),) = resolve_slices([size], [start], [end], None, [step])
                    assert list(range(first, stop, by)) == list(range(size))[start:end:step]


def test_resolve_slices_takes_other_axes_whole():
    assert resolve_slices((2, 3, 4), [1], [2**63 - 1], [-2]) == [(0, 2, 1), (1, 3, 1), (0, 4, 1)]
    with pytest.raises(GraphError, match="step of axis 1 is 0"):
        resolve_slices((2, 3), [0], [1], [1], [0])
    with pytest.raises(GraphError, match="1 starts, 2 ends, 1 axes and 1 steps"):
        resolve_slices((2, 3), [0], [1, 2])
    with pytest.raises(GraphError, match="axis 2 is not one of 2"):
        resolve_slices((2, 3), [0], [1], [2])
