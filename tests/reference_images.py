"""The float64 oracle of the ops that move pixels: concat, pad, pixel_shuffle and its inverse, interpolate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from reference_windows import Array, signed_pad


def concat(arrays: Sequence[Array], axis: int = 1) -> Array:
    return np.concatenate(arrays, axis, dtype=np.float64)


def concat_backward(grad_y: Array, sizes: Sequence[int], axis: int = 1) -> tuple[Array, ...]:
    return tuple(np.split(np.asarray(grad_y, np.float64), np.cumsum(sizes)[:-1], axis))


def _pad_axis(n: int, lo: int, hi: int, mode: str) -> Array:
    """Which of n pixels each of the lo + n + hi shows."""
    at = np.arange(-lo, n + hi)
    if mode == "replicate":
        return np.clip(at, 0, n - 1)
    if mode == "reflect":
        return n - 1 - abs(n - 1 - abs(at))
    first, kept = (
        max(-lo, 0),
        n + min(lo, 0) + min(hi, 0),
    )  # circular: what a negative width leaves goes round
    return (at - first) % kept + first


def _pad_sources(shape: Sequence[int], padding: Sequence[int], mode: str) -> Array:
    """For each element of the padded array, its place in the flat input; -1 stands for the constant."""
    places = np.arange(np.prod(shape)).reshape(shape)
    widths = list(zip(padding[::2], padding[1::2], strict=True))[::-1]  # torch lists the last axis first
    if mode == "constant":
        return signed_pad(places, widths, -1)
    widths = [(0, 0)] * (len(shape) - len(widths)) + widths
    return places[np.ix_(*(_pad_axis(n, lo, hi, mode) for n, (lo, hi) in zip(shape, widths, strict=True)))]


def pad(x: Array, padding: Sequence[int], *, value: float = 0.0, mode: str = "constant") -> Array:
    sources = _pad_sources(x.shape, padding, mode)
    y = np.full(sources.shape, value, np.float64)
    y[sources >= 0] = x.ravel()[sources[sources >= 0]]
    return y


def pad_backward(grad_y: Array, input_shape: Sequence[int], padding: Sequence[int], *, mode: str = "constant") -> Array:
    sources = _pad_sources(input_shape, padding, mode)
    grad_x = np.zeros(int(np.prod(input_shape)))
    np.add.at(grad_x, sources[sources >= 0], grad_y[sources >= 0])
    return grad_x.reshape(input_shape)


def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    r, (*lead, c, h, w) = upscale_factor, x.shape
    blocks = np.asarray(x, np.float64).reshape(*lead, c // r**2, r, r, h, w)
    return np.moveaxis(blocks, (-4, -3), (-3, -1)).reshape(*lead, c // r**2, h * r, w * r)


def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    r, (*lead, c, h, w) = downscale_factor, x.shape
    blocks = np.asarray(x, np.float64).reshape(*lead, c, h // r, r, w // r, r)
    return np.moveaxis(blocks, (-3, -1), (-4, -3)).reshape(*lead, c * r**2, h // r, w // r)


pixel_shuffle_backward, pixel_unshuffle_backward = (
    pixel_unshuffle,
    pixel_shuffle,
)  # permutations: transpose = inverse


# Resampling: one small matrix per axis, (output size, input size), applied along that axis.


def _resample_matrix(size: int, out: int, scale: float | None, mode: str, align_corners: bool) -> Array:
    i, step = np.arange(out), size / out if scale is None else 1 / scale
    matrix = np.zeros((out, size))
    if mode == "nearest":
        # PyTorch computes these two positions in float32 for every dtype.
        source = np.floor(i.astype(np.float32) * np.float32(step))
        matrix[i, np.minimum(source, size - 1).astype(int)] = 1
    elif mode == "nearest-exact":
        source = np.floor((i.astype(np.float32) + np.float32(0.5)) * np.float32(step))
        matrix[i, np.minimum(source, size - 1).astype(int)] = 1
    else:
        if align_corners:
            source = i * ((size - 1) / max(out - 1, 1))
        else:
            source = np.maximum((i + 0.5) * step - 0.5, 0)
        lower = np.minimum(np.floor(source).astype(int), size - 1)
        fraction = np.clip(source - lower, 0, 1)
        np.add.at(matrix, (i, lower), 1 - fraction)
        np.add.at(matrix, (i, np.minimum(lower + 1, size - 1)), fraction)
    return matrix


def _per_axis(value: Any, axes: int) -> list[Any]:
    return [value] * axes if value is None or np.isscalar(value) else list(value)


def _resample_matrices(
    sizes: Sequence[int],
    outs: Sequence[int],
    scale_factor: Any,
    mode: str,
    align_corners: bool,
    recompute: bool | None,
) -> list[Array]:
    scales = _per_axis(None if recompute else scale_factor, len(sizes))
    axes = zip(sizes, outs, scales, strict=True)
    return [_resample_matrix(*axis, mode, bool(align_corners)) for axis in axes]


def interpolate(
    x: Array,
    size: Any = None,
    scale_factor: Any = None,
    *,
    mode: str = "nearest",
    align_corners: bool = False,
    recompute_scale_factor: bool | None = None,
) -> Array:
    y, sizes = np.asarray(x, np.float64), x.shape[2:]
    if size is None:
        outs = [int(n * s) for n, s in zip(sizes, _per_axis(scale_factor, len(sizes)), strict=True)]
    else:
        outs = _per_axis(size, len(sizes))
    matrices = _resample_matrices(sizes, outs, scale_factor, mode, align_corners, recompute_scale_factor)
    for axis, matrix in enumerate(matrices, start=2):
        y = np.moveaxis(np.tensordot(matrix, y, (1, axis)), 0, axis)
    return y


def interpolate_backward(
    grad_y: Array,
    input_size: Sequence[int],
    scale_factor: Any = None,
    *,
    mode: str = "nearest",
    align_corners: bool = False,
    recompute_scale_factor: bool | None = None,
) -> Array:
    grad, outs = np.asarray(grad_y, np.float64), grad_y.shape[2:]
    matrices = _resample_matrices(input_size, outs, scale_factor, mode, align_corners, recompute_scale_factor)
    for axis, matrix in enumerate(matrices, start=2):
        grad = np.moveaxis(np.tensordot(matrix, grad, (0, axis)), 0, axis)
    return grad
