"""max_pool and avg_pool with their gradients against the float64 oracle, on every ISA, in both layouts."""

from __future__ import annotations

from math import prod
from typing import Any

import cases
import neocog
import numpy as np
import pytest
import reference
from cases import Pool
from helpers import assert_same_layout, assert_within, lay_out, normal
from neocog import ops

# Beside the oracle's cases, those that this implementation treats in its own way.
ALL = {
    "two_by_two_rows_of_less_than_a_vector": Pool((3, 7, 14, 14), 2),
    "two_by_two_rows_of_a_vector_and_a_rest": Pool((2, 3, 6, 50), 2),
    "two_by_two_leaves_a_column": Pool((2, 3, 6, 37), 2),
    "two_by_two_padded": Pool((1, 3, 7, 38), 2, 2, 1),
    "two_columns_and_three_overlapping_rows": Pool((2, 3, 9, 20), (3, 2), (1, 2), (1, 0)),
    "small_planes_share_a_line": Pool((2, 40, 5, 6), 3, 2, 1),
    "rows_of_three_vectors": Pool((1, 2, 8, 41), 3, 1, 1),
    "rows_of_four_vectors": Pool((1, 3, 8, 60), 3, 1, 1),
    "a_strip_of_part_of_the_columns": Pool((1, 2, 5, 1700), 3, 2, 1),
    "a_strip_of_part_of_the_columns_stride_1": Pool((1, 1, 4, 1500), (3, 5), 1, (1, 2)),
    "stride_3_phases": Pool((2, 5, 10, 35), 3, 3, 1),
    "stride_5_phases": Pool((1, 4, 11, 47), (4, 7), 5, (2, 3)),
    "stride_exceeds_vector": Pool((1, 3, 9, 75), 2, (3, 20)),
    "few_channels_stride_1": Pool((2, 3, 9, 8), 3, 1, 1),
    "large_kernel_stride_1": Pool((1, 20, 12, 11), 7, 1, 3),
    "large_kernel_stride_2_many_channels": Pool((1, 530, 7, 6), 5, 2, 2),
    "one_column_of_windows": Pool((2, 6, 12, 5), (3, 5), (2, 1)),
    "kernel_far_beyond_the_image": Pool((1, 3, 3, 4), (5, 99), (2, 40), ((2, 2), (98, 99))),
    "many_pixels_per_image": Pool((1, 5, 70, 60), 3, 2, 1),
    "one_image_in_bands": Pool((1, 1, 170, 400), (2, 3), (2, 1), (0, 1)),
}
MAX2D = cases.MAX_POOL2D | ALL
AVG2D = cases.POOL2D | ALL | {"windows_in_the_padding_alone": Pool((1, 3, 5, 6), 2, 2, ((4, 0), (1, 3)))}
NON_FINITE = {"infinities": (np.inf, -np.inf), "nan_and_infinities": (np.nan, np.inf, -np.inf)}


def windows_per_pixel(case: Pool) -> int:
    """No more windows than this cover one pixel."""
    stride = case.kernel_size if case.stride is None else case.stride
    pairs = zip(*np.broadcast_arrays(case.kernel_size, stride, [0, 0])[:2], strict=True)
    return prod(-(-int(k) // int(s)) for k, s in pairs)


def check_max(case: Pool, layout: str, x: np.ndarray, rng: np.random.Generator) -> None:
    x = lay_out(x, layout)
    y, indices = ops.max_pool2d(x, **case.max_steps, return_indices=True)
    expected, expected_indices = reference.max_pool2d(x, **case.max_steps, return_indices=True)
    assert y.dtype == x.dtype
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(ops.max_pool2d(x, **case.max_steps), expected)
    assert_same_layout(y, x)
    assert_same_layout(indices, x)

    grad_y = lay_out(normal(rng, y.shape, x.dtype), layout)
    grad_x = ops.max_pool2d_backward(grad_y, indices, x.shape[2:])
    chosen = np.where(expected_indices < 0, 0, grad_y), np.maximum(expected_indices, 0)
    magnitude = reference.max_pool2d_backward(abs(chosen[0]), chosen[1], x.shape[2:])
    terms = windows_per_pixel(case)
    assert_within(grad_x, reference.max_pool2d_backward(*chosen, x.shape[2:]), magnitude, terms)
    assert grad_x.dtype == x.dtype
    assert_same_layout(grad_x, grad_y)


@pytest.mark.parametrize("case", MAX2D.values(), ids=MAX2D)
def test_max_float32(case, layout, isa, rng):
    check_max(case, layout, normal(rng, case.x), rng)


@pytest.mark.parametrize("case", MAX2D.values(), ids=MAX2D)
def test_max_float64_runs_the_portable_body(case, layout, rng):
    check_max(case, layout, normal(rng, case.x, np.float64), rng)


@pytest.mark.parametrize("case", MAX2D.values(), ids=MAX2D)
def test_max_of_equals_is_the_first(case, layout, isa, rng):
    check_max(case, layout, rng.integers(-1, 2, case.x).astype(np.float32), rng)


@pytest.mark.parametrize("values", NON_FINITE.values(), ids=NON_FINITE)
@pytest.mark.parametrize("case", MAX2D.values(), ids=MAX2D)
def test_max_of_non_finite_numbers(case, values, layout, isa, rng):
    x = normal(rng, case.x)
    check_max(case, layout, np.where(rng.random(case.x) < 0.2, rng.choice(values, case.x), x).astype(np.float32), rng)


@pytest.mark.parametrize("case", MAX2D.values(), ids=MAX2D)
def test_max_of_minus_infinity_alone_is_the_first_pixel(case, layout, isa, rng):
    check_max(case, layout, np.full(case.x, -np.inf, np.float32), rng)


def check_avg(case: Pool, layout: str, x: np.ndarray, rng: np.random.Generator, **how: Any) -> None:
    x = lay_out(x, layout)
    y = ops.avg_pool2d(x, **case.avg_steps, **how)
    expected = reference.avg_pool2d(x, **case.avg_steps, **how)
    magnitude = reference.magnitude(reference.avg_pool2d, x, **case.avg_steps, **how)
    assert_within(y, expected, abs(magnitude), prod(np.broadcast_to(case.kernel_size, 2)))
    assert y.dtype == x.dtype
    assert_same_layout(y, x)

    grad_y = lay_out(normal(rng, y.shape, x.dtype), layout)
    grad_x = ops.avg_pool2d_backward(grad_y, x.shape[2:], **case.avg_steps, **how)
    expected = reference.avg_pool2d_backward(grad_y, x.shape[2:], **case.avg_steps, **how)
    magnitude = abs(reference.avg_pool2d_backward(abs(grad_y), x.shape[2:], **case.avg_steps, **how))
    assert_within(grad_x, expected, magnitude, windows_per_pixel(case))
    assert grad_x.dtype == x.dtype
    assert_same_layout(grad_x, grad_y)


HOW = {
    "padding_counts": {"count_include_pad": True},
    "padding_does_not_count": {"count_include_pad": False},
    "divisor_given": {"divisor_override": -3},
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize("case", AVG2D.values(), ids=AVG2D)
def test_avg_float32(case, how, layout, isa, rng):
    check_avg(case, layout, normal(rng, case.x), rng, **how)


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize("case", AVG2D.values(), ids=AVG2D)
def test_avg_float64_runs_the_portable_body(case, how, layout, rng):
    check_avg(case, layout, normal(rng, case.x, np.float64), rng, **how)


@pytest.mark.parametrize("case", cases.POOL1D.values(), ids=cases.POOL1D)
def test_one_dimension(case, layout, dtype, isa, rng):
    x = lay_out(normal(rng, case.x, dtype), layout)
    y, indices = ops.max_pool1d(x, **case.max_steps, return_indices=True)
    expected, expected_indices = reference.max_pool1d(x, **case.max_steps, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    grad_y, length = lay_out(normal(rng, y.shape, dtype), layout), case.x[2]
    expected = reference.max_pool1d_backward(grad_y, indices, (1, length))
    magnitude = reference.max_pool1d_backward(abs(grad_y), indices, (1, length))
    assert_within(ops.max_pool1d_backward(grad_y, indices, length), expected, magnitude, case.kernel_size)

    average = ops.avg_pool1d(x, **case.avg_steps, count_include_pad=False)
    expected = reference.avg_pool1d(x, **case.avg_steps, count_include_pad=False)
    magnitude = reference.avg_pool1d(abs(x), **case.avg_steps, count_include_pad=False)
    assert_within(average, expected, magnitude, case.kernel_size)
    grad_x = ops.avg_pool1d_backward(grad_y, (length,), **case.avg_steps, count_include_pad=False)
    expected = reference.avg_pool1d_backward(grad_y, (1, length), **case.avg_steps, count_include_pad=False)
    magnitude = reference.avg_pool1d_backward(abs(grad_y), (1, length), **case.avg_steps, count_include_pad=False)
    assert_within(grad_x, expected, magnitude, case.kernel_size)


def test_long_signal_is_cut_into_strips(layout, isa, rng):
    check_max(Pool((1, 1, 1, 9001), (1, 5), (1, 3), (0, 2)), layout, normal(rng, (1, 1, 1, 9001)), rng)
    check_avg(Pool((1, 2, 1, 9001), (1, 5), (1, 1), (0, 2)), layout, normal(rng, (1, 2, 1, 9001)), rng)


def test_random_geometry(rng):
    for _ in range(150):
        kernel, stride, dilation = rng.integers(1, 6, 2), rng.integers(1, 6, 2), rng.integers(1, 4, 2)
        reach = dilation * (kernel - 1) + 1
        pad = [tuple(map(int, rng.integers(0, 5, 2))) for _ in range(2)]
        size = [int(rng.integers(max(1, r - sum(p)), 40)) for r, p in zip(reach, pad, strict=True)]
        shape = (2, int(rng.integers(1, 20)), *size)
        steps = [tuple(map(int, v)) for v in (kernel, stride, dilation)]
        layout, dtype = rng.choice(["NCHW", "NHWC"]), rng.choice([np.float32, np.float64])
        case = Pool(shape, steps[0], steps[1], tuple(pad), steps[2], bool(rng.integers(2)))
        check_max(case, layout, normal(rng, shape, dtype), rng)
        if all(k > max(p) for k, p in zip(kernel, pad, strict=True)):  # where every window has a pixel
            size = [max(s, k) for s, k in zip(size, kernel, strict=True)]
            shape = (2, shape[1], *map(int, size))
            case = Pool(shape, steps[0], steps[1], tuple(pad), 1, case.ceil_mode)
            check_avg(case, layout, normal(rng, shape, dtype), rng, count_include_pad=bool(rng.integers(2)))


def test_averages_of_equal_numbers_are_that_number(layout, isa):
    x = lay_out(np.full((1, 17, 9, 37), 0.1, np.float32), layout)
    assert (ops.avg_pool2d(x, 2) == np.float32(0.1)).all()  # a sum of two or four of them is exact
    x = lay_out(np.full((1, 17, 9, 37), 3, np.float32), layout)
    for kernel in (3, 5, (2, 7)):
        assert (ops.avg_pool2d(x, kernel, 1) == 3).all()
    assert (ops.avg_pool2d(x, 3, 2, 1, count_include_pad=False) == 3).all()


@pytest.mark.parametrize("name", ["resnet_stem", "halving", "large_kernel_stride_1", "many_pixels_per_image"])
def test_same_bits_for_any_number_of_threads(name, layout, rng):
    case = MAX2D[name]
    x = lay_out(normal(rng, (2, *case.x[1:])), layout)
    results = []
    for threads in (1, 2, 3):
        before = neocog.get_num_threads()
        neocog.set_num_threads(threads)
        y, indices = ops.max_pool2d(x, **case.max_steps, return_indices=True)
        average = ops.avg_pool2d(x, **case.avg_steps)
        grad_x = ops.max_pool2d_backward(average, indices, x.shape[2:])
        spread = ops.avg_pool2d_backward(y, x.shape[2:], **case.avg_steps)
        neocog.set_num_threads(before)
        results.append((y, indices, average, grad_x, spread))
    for one, many in zip(results[0] * 2, results[1] + results[2], strict=True):
        np.testing.assert_array_equal(one, many)
