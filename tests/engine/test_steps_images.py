"""Steps that pool and resample, against the float64 oracle: both layouts, one and two spatial axes, bad operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neocog import _core
from neocog.engine.graph import Graph, Input, Node
from one_step import EPS, in_order, oracle, place, run_step
from reference_graph import run as run_graph

Array = np.ndarray


def order_of(layout: str, ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim)) if layout == "first" else (0, *range(2, ndim), 1)


LAYOUTS = pytest.mark.parametrize("layout", ["first", "last"])
# kernel, stride, padding (begin, end of every axis), dilation, ceil_mode, shape
WINDOWS: dict[str, tuple[Any, ...]] = {
    "halves": ([2, 2], [2, 2], [[0, 0], [0, 0]], [1, 1], False, (2, 5, 8, 9)),
    "padded": ([3, 3], [2, 2], [[1, 1], [1, 1]], [1, 1], False, (2, 16, 9, 12)),
    "overlapping": ([3, 2], [1, 1], [[1, 0], [0, 1]], [1, 1], False, (1, 33, 7, 6)),
    "ceil": ([3, 3], [2, 2], [[0, 0], [0, 0]], [1, 1], True, (2, 4, 8, 10)),
    "one row": ([1, 5], [1, 4], [[0, 0], [2, 2]], [1, 1], False, (3, 3, 1, 50)),
    "signal": ([4], [3], [[1, 2]], [1], False, (2, 6, 31)),
}


def two(values: list[int], missing: int) -> tuple[int, int]:
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def four(pads: list[list[int]]) -> tuple[int, ...]:
    return tuple(end for pair in ([[0, 0], *pads] if len(pads) == 1 else pads) for end in pair)


@LAYOUTS
@pytest.mark.parametrize("case", WINDOWS)
def test_pools(case, layout, rng, isa):
    kernel, stride, padding, dilation, ceil_mode, shape = WINDOWS[case]
    x, order = rng.standard_normal(shape).astype(np.float32), order_of(layout, len(shape))
    common = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    numbers = (two(kernel, 1), two(stride, 1), four(padding))
    expected = oracle("max_pool", x, **common, dilation=dilation)
    y = run_step("max_pool", place(x, order), ..., *numbers, two(dilation, 1), y=in_order(expected.shape, order))
    np.testing.assert_array_equal(y, expected.astype(np.float32))
    for count in (False, True):
        for divisor in (None, 7):
            expected = oracle("avg_pool", x, **common, count_include_pad=count, divisor=divisor)
            place_of_y = in_order(expected.shape, order)
            y = run_step("avg_pool", place(x, order), ..., *numbers, count, divisor, y=place_of_y)
            np.testing.assert_allclose(y, expected, rtol=8 * EPS, atol=1e-6)


@LAYOUTS
def test_a_dilated_maximum(layout, rng, isa):
    x, order = rng.standard_normal((2, 9, 12, 13)).astype(np.float32), order_of(layout, 4)
    window = {"kernel": [2, 3], "stride": [2, 1], "padding": [[0, 0], [1, 1]], "dilation": [3, 2]}
    expected = oracle("max_pool", x, **window)
    y = run_step(
        "max_pool", place(x, order), ..., (2, 3), (2, 1), (0, 0, 1, 1), (3, 2), y=in_order(expected.shape, order)
    )
    np.testing.assert_array_equal(y, expected.astype(np.float32))


@LAYOUTS
@pytest.mark.parametrize(("shape", "size"), [((2, 5, 9, 13), [4, 6]), ((2, 40, 7, 7), [1, 1]), ((2, 5, 30), [7])])
def test_adaptive_pools(shape, size, layout, rng, isa):
    x, order = rng.standard_normal(shape).astype(np.float32), order_of(layout, len(shape))
    for name in ("adaptive_avg_pool", "adaptive_max_pool"):
        expected = oracle(name, x, output_size=size)
        y = run_step(name, place(x, order), ..., y=in_order(expected.shape, order))
        np.testing.assert_allclose(y, expected, rtol=8 * EPS, atol=1e-6)


RESIZES = {"up": ((2, 3, 5, 7), (10, 14)), "down": ((2, 20, 12, 9), (5, 4)), "mixed": ((1, 1, 6, 6), (6, 11))}


@LAYOUTS
@pytest.mark.parametrize("corners", [None, False, True], ids=["nearest", "half pixels", "corners"])
@pytest.mark.parametrize("case", RESIZES)
def test_resize(case, corners, layout, rng, isa):
    shape, size = RESIZES[case]
    x, order = rng.standard_normal(shape).astype(np.float32), order_of(layout, 4)
    attributes = (
        {"mode": "nearest", "coordinates": "asymmetric", "nearest": "floor"}
        if corners is None
        else {"mode": "linear", "coordinates": "align_corners" if corners else "half_pixel"}
    )
    expected = resized(x, size, attributes)
    y = run_step(
        "resize", place(x, order), ..., int(corners is not None), bool(corners), y=in_order(expected.shape, order)
    )
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=2e-6)


def resized(x: Array, size: tuple[int, ...], attributes: dict[str, Any]) -> Array:
    sizes = np.array((*x.shape[:2], *size), np.int64)
    node = Node("resize", ("x", "sizes"), ("y",), attributes)
    return run_graph(Graph([Input("x", x.shape)], ["y"], [node], {"sizes": sizes}), [x])[0]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 2, 0)], ids=str)
@pytest.mark.parametrize("taps", [1, 2, 5])
def test_interpolation_along_one_axis(taps, order, rng, isa):
    x = rng.standard_normal((2, 6, 19, 9)).astype(np.float32)
    for axis in range(-4, 4):
        n = x.shape[axis]
        for out in (1, 3, 40):
            index = rng.integers(0, n, (out, taps))
            weight = rng.standard_normal((out, taps)).astype(np.float32)
            moved = np.moveaxis(x, axis, -1).astype(np.float64)
            expected = np.moveaxis((moved[..., index] * weight).sum(-1), -1, axis)
            magnitude = np.moveaxis((abs(moved[..., index]) * abs(weight)).sum(-1), -1, axis)
            results = [
                run_step(
                    "interpolate", place(x, order), ..., axis, taps, index.ravel().tolist(), weight.ravel().tolist(),
                    y=in_order(expected.shape, order), threads=threads,
                )
                for threads in (1, 2)
            ]  # fmt: skip
            assert (abs(results[0] - expected) <= (taps + 1) * EPS * magnitude).all()
            np.testing.assert_array_equal(*results)


def test_one_tap_of_weight_one_copies_every_bit(isa):
    x = np.float32([[1e-42, -0.0, np.inf, -np.inf, 3, 1e38]])
    y = run_step("interpolate", x, ..., 1, 1, [5, 4, 3, 2, 1, 0, 0], [1.0] * 7, y=in_order((1, 7)))
    np.testing.assert_array_equal(y.view(np.int32), x[:, [5, 4, 3, 2, 1, 0, 0]].view(np.int32))


def test_long_rows_are_cut(rng, isa):
    x = rng.standard_normal((3, 40001)).astype(np.float32)
    y = run_step("interpolate", x, ..., 0, 2, [0, 1, 1, 2], [0.5, 0.5, 0.25, 0.75], y=in_order((2, 40001)))
    expected = np.stack([x[0] * 0.5 + x[1] * 0.5, x[1] * 0.25 + x[2] * 0.75])
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def image(*shape: int, last: bool = True) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    _, c, h, w = shape
    return 0, 0, shape, (c * h * w, 1, w * c, c) if last else (c * h * w, h * w, w, 1)


X, HALF = image(1, 3, 8, 8), image(1, 3, 4, 4)
TWO, ONE, NONE = (2, 2), (1, 1), (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.max_pool(X, HALF, (0, 2), TWO, NONE, ONE), "window parameter"),
        (lambda p: p.max_pool(X, HALF, TWO, (0, 2), NONE, ONE), "window parameter"),
        (lambda p: p.max_pool(X, HALF, TWO, TWO, NONE, (0, 1)), "window parameter"),
        (lambda p: p.max_pool(X, HALF, (2**40, 2), TWO, NONE, ONE), "window parameter"),
        (lambda p: p.max_pool(X, HALF, TWO, TWO, (-1, 0, 0, 0), ONE), "negative"),
        (lambda p: p.max_pool(X, image(1, 3, 90, 4), TWO, TWO, NONE, ONE), "outside"),
        (lambda p: p.max_pool(X, image(1, 2, 4, 4), TWO, TWO, NONE, ONE), "channels"),
        (lambda p: p.max_pool(X, image(1, 3, 4, 4, last=False), TWO, TWO, NONE, ONE), "layout"),
        (lambda p: p.max_pool(X, (0, 0, (1, 3, 16), (48, 1, 3)), TWO, TWO, NONE, ONE), "axes"),
        (lambda p: p.avg_pool(X, HALF, TWO, TWO, NONE, False, 0), "divisor"),
        (lambda p: p.avg_pool((0, 0, (1, 3, 8, 8), (400, 1, 49, 6)), HALF, TWO, TWO, NONE, False, None), "dense"),
        (lambda p: p.adaptive_avg_pool(X, image(2, 3, 4, 4)), "batch"),
        (lambda p: p.adaptive_max_pool(image(1, 3, 0, 8), HALF), "empty"),
        (lambda p: p.adaptive_max_pool((0, 0, (3, 8), (8, 1)), (0, 0, (3, 8), (8, 1))), "three or four"),
        (lambda p: p.resize(X, HALF, 2, False), "mode"),
        (lambda p: p.resize(X, image(1, 3, 4, 4, last=False), 0, False), "layout"),
        (lambda p: p.resize(X, image(1, 2, 4, 4), 0, False), "channels"),
        (lambda p: p.resize(X, image(1, 3, 0, 4), 0, False), "positive"),
        (lambda p: p.resize((0, 0, (1, 3, 8), (24, 1)), HALF, 0, False), "stride"),
        (lambda p: p.interpolate(X, X, 4, 1, [0] * 8, [1.0] * 8), "axis"),
        (lambda p: p.interpolate(X, X, 2, 1, [0] * 7, [1.0] * 7), "every output"),
        (lambda p: p.interpolate(X, X, 2, 1, [0] * 8, [1.0] * 7), "every output"),
        (lambda p: p.interpolate(X, X, 2, 0, [], []), "every output"),
        (lambda p: p.interpolate(X, X, 2, -1, [0] * 8, [1.0] * 8), "every output"),
        (lambda p: p.interpolate(X, X, 2, 1, [0] * 7 + [8], [1.0] * 8), "does not exist"),
        (lambda p: p.interpolate(X, X, 2, 1, [0] * 7 + [-1], [1.0] * 8), "does not exist"),
        (lambda p: p.interpolate(X, image(1, 3, 4, 4), 2, 1, [0] * 4, [1.0] * 4), "one axis only"),
        (lambda p: p.interpolate(X, image(1, 3, 8, 8, last=False), 2, 1, [0] * 8, [1.0] * 8), "dense"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(_core.Program(2000))
