"""The float64 oracle of pooling: max with indices, average in both conventions, adaptive, global, unpool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from reference_windows import Array, Padding, Steps, Windows, pair, signed_pad


def max_pool2d(
    x: Array,
    kernel_size: Steps,
    stride: Steps = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window, and where it lies (h * W + w); NaN wins, ties go to the first."""
    x = np.asarray(x, np.float64)
    w = Windows(x.shape[2:], kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)
    places = w.pad(np.arange(np.prod(w.sizes), dtype=np.int64).reshape(w.sizes), -1)
    covered = w.pad(x, -np.inf)
    y = np.full((*x.shape[:2], *w.out), -np.inf)
    indices = np.full(y.shape, -1, np.int64)  # -1 stays where a dilated window meets no pixel at all
    for _, _, rows, cols in w.taps():
        place, value = places[rows, cols], covered[..., rows, cols]
        better = (place >= 0) & ((value > y) | np.isnan(value) | (indices < 0))
        y, indices = np.where(better, value, y), np.where(better, place, indices)
    return (y, indices) if return_indices else y


def max_pool2d_backward(grad_y: Array, indices: Array, input_size: Sequence[int]) -> Array:
    n, c, p, q = grad_y.shape
    grad_x = np.zeros((n * c, int(np.prod(input_size))))
    for plane, grad, index in zip(grad_x, grad_y.reshape(n * c, p * q), indices.reshape(n * c, p * q), strict=True):
        np.add.at(plane, index, grad)
    return grad_x.reshape(n, c, *input_size)


def _average_divisor(w: Windows, count_include_pad: bool, divisor_override: int | None) -> Any:
    if divisor_override is not None:
        return divisor_override
    counted = signed_pad(np.ones(w.sizes), w.padding, value=float(count_include_pad))
    # Beyond the padding asked for, where only ceil_mode's windows reach, nothing is ever counted.
    counted = signed_pad(counted, [(0, end - hi) for (_, end), (_, hi) in zip(w.extent, w.padding, strict=True)])
    divisor = sum(counted[rows, cols] for _, _, rows, cols in w.taps())
    return np.where(divisor > 0, divisor, 1)  # a window that meets no pixel has the sum 0, and in PyTorch the mean 0


def avg_pool2d(
    x: Array,
    kernel_size: Steps,
    stride: Steps = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    w = Windows(x.shape[2:], kernel_size, kernel_size if stride is None else stride, padding, 1, ceil_mode)
    covered = w.pad(np.asarray(x, np.float64))
    total = sum(covered[..., rows, cols] for _, _, rows, cols in w.taps())
    return total / _average_divisor(w, count_include_pad and padding != "same", divisor_override)


def avg_pool2d_backward(
    grad_y: Array,
    input_size: Sequence[int],
    kernel_size: Steps,
    stride: Steps = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    w = Windows(input_size, kernel_size, kernel_size if stride is None else stride, padding, 1, ceil_mode)
    share = grad_y / _average_divisor(w, count_include_pad and padding != "same", divisor_override)
    covered = np.zeros((*grad_y.shape[:2], *(n + lo + hi for n, (lo, hi) in zip(w.sizes, w.extent, strict=True))))
    for _, _, rows, cols in w.taps():
        covered[..., rows, cols] += share
    return w.crop(covered)


def _adaptive(sizes: Sequence[int], output_size: Any) -> Iterator[tuple[int, int, slice, slice]]:
    """Output row and column, and the input that they average: floor(i n / out) to ceil((i + 1) n / out)."""
    outs = [n if out is None else out for n, out in zip(sizes, pair(output_size), strict=True)]
    for at in np.ndindex(*outs):
        rows, cols = (slice(i * n // o, -(-(i + 1) * n // o)) for i, n, o in zip(at, sizes, outs, strict=True))
        yield (*at, rows, cols)


def _adaptive_like(x: Array, output_size: Any, dtype: Any = np.float64) -> Array:
    outs = [n if out is None else out for n, out in zip(x.shape[2:], pair(output_size), strict=True)]
    return np.zeros((*x.shape[:2], *outs), dtype)


def adaptive_avg_pool2d(x: Array, output_size: Any) -> Array:
    x, y = np.asarray(x, np.float64), _adaptive_like(x, output_size)
    for i, j, rows, cols in _adaptive(x.shape[2:], output_size):
        y[..., i, j] = x[..., rows, cols].mean((2, 3))
    return y


def adaptive_avg_pool2d_backward(grad_y: Array, input_size: Sequence[int]) -> Array:
    grad_x = np.zeros((*grad_y.shape[:2], *input_size))
    for i, j, rows, cols in _adaptive(input_size, grad_y.shape[2:]):
        area = (rows.stop - rows.start) * (cols.stop - cols.start)
        grad_x[..., rows, cols] += grad_y[..., i, j, None, None] / area
    return grad_x


def adaptive_max_pool2d(x: Array, output_size: Any, return_indices: bool = False) -> Any:
    y, indices = _adaptive_like(x, output_size), _adaptive_like(x, output_size, np.int64)
    places = np.arange(np.prod(x.shape[2:])).reshape(x.shape[2:])
    for i, j, rows, cols in _adaptive(x.shape[2:], output_size):
        place = places[rows, cols]
        value, index = max_pool2d(x[..., rows, cols], place.shape, return_indices=True)
        y[..., i, j], indices[..., i, j] = value[..., 0, 0], place.ravel()[index[..., 0, 0]]
    return (y, indices) if return_indices else y


def global_avg_pool2d(x: Array, keepdims: bool = True) -> Array:
    return np.asarray(x, np.float64).mean((2, 3), keepdims=keepdims)


def global_avg_pool2d_backward(grad_y: Array, input_size: Sequence[int]) -> Array:
    return np.broadcast_to(grad_y / np.prod(input_size), (*grad_y.shape[:2], *input_size)).copy()


def global_max_pool2d(x: Array, keepdims: bool = True) -> Array:
    return np.asarray(x, np.float64).max((2, 3), keepdims=keepdims)


def max_unpool2d(
    x: Array,
    indices: Array,
    kernel_size: Steps,
    stride: Steps = None,
    padding: Steps = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    """Zeros, with each x put where `indices` (h * W + w of the result) says."""
    if output_size is None:
        steps = zip(x.shape[2:], pair(kernel_size), pair(stride or kernel_size), pair(padding), strict=True)
        output_size = [(n - 1) * s - 2 * p + k for n, k, s, p in steps]
    n, c, h, w = x.shape
    y = np.zeros((n, c, int(np.prod(output_size[-2:]))))
    np.put_along_axis(y, indices.reshape(n, c, h * w), np.asarray(x, np.float64).reshape(n, c, h * w), axis=2)
    return y.reshape(n, c, *output_size[-2:])


def max_unpool2d_backward(grad_y: Array, indices: Array) -> Array:
    n, c, h, w = indices.shape
    planes = np.asarray(grad_y, np.float64).reshape(n, c, grad_y.shape[2] * grad_y.shape[3])
    return np.take_along_axis(planes, indices.reshape(n, c, h * w), axis=2).reshape(indices.shape)
