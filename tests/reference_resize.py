"""The float64 oracle of `resize`: one small matrix per axis, (output size, input size), applied along that axis.

Semantics are those of ONNX's Resize. Positions for given sizes are exact fractions; for given scales they are as exact
as the scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from neocog.engine.graph import Node
from reference_windows import Array


def _position(i: int, n: int, outputs: int, scale: Fraction, coordinates: str) -> Fraction:
    """Where output i lies among n pixels, in pixels."""
    half, length = Fraction(1, 2), n * scale  # the outputs' length before it was rounded down
    if coordinates == "asymmetric":
        return i / scale
    if coordinates == "align_corners":
        return Fraction(0) if outputs == 1 or length == 1 else i * (n - 1) / (length - 1)
    if coordinates == "pytorch_half_pixel" and outputs == 1:
        return Fraction(0)
    shift = Fraction(n, 2) * (1 - outputs / length) if coordinates == "half_pixel_symmetric" else 0
    return shift + (i + half) / scale - half


def _cubic(a: float) -> Callable[[float], float]:
    def weight(t: float) -> float:
        t = abs(t)
        if t <= 1:
            return ((a + 2) * t - (a + 3)) * t * t + 1
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0

    return weight


def _linear(t: float) -> float:
    return max(1 - abs(t), 0.0)


def _nearest(position: Fraction, rounding: str) -> int:
    if rounding == "floor":
        return math.floor(position)
    if rounding == "ceil":
        return math.ceil(position)
    half = Fraction(1, 2)
    return math.ceil(position - half) if rounding == "round_prefer_floor" else math.floor(position + half)


def _matrix(node: Node, n: int, outputs: int, scale: Fraction) -> Array:
    matrix = np.zeros((outputs, n))
    kernel, reach = (_cubic(node["cubic_coeff"]), 2) if node["mode"] == "cubic" else (_linear, 1)
    # Antialiasing widens the kernel by as much as the image shrinks.
    narrow = min(scale, Fraction(1)) if node["antialias"] else Fraction(1)
    for i in range(outputs):
        position = _position(i, n, outputs, scale, node["coordinates"])
        if node["mode"] == "nearest":
            matrix[i, min(max(_nearest(position, node["nearest"]), 0), n - 1)] = 1
            continue
        pixels = range(math.ceil(position - reach / narrow), math.floor(position + reach / narrow) + 1)
        weights = {pixel: kernel(float((pixel - position) * narrow)) for pixel in pixels}
        if node["exclude_outside"]:
            weights = {pixel: weight for pixel, weight in weights.items() if 0 <= pixel < n}
        total = sum(weights.values()) if node["exclude_outside"] or node["antialias"] else 1.0
        for pixel, weight in weights.items():
            matrix[i, min(max(pixel, 0), n - 1)] += weight / total
    return matrix


def resize(node: Node, x: Array, sizes: Array | None = None, scales: Array | None = None) -> Array:
    if (sizes is None) == (scales is None):
        raise ValueError("resize takes sizes or scales: one of the two")
    if scales is None:
        outs = [int(size) for size in np.asarray(sizes)]
        factors = [Fraction(out, n) for out, n in zip(outs, x.shape, strict=True)]
    else:
        factors = [Fraction(float(scale)) for scale in scales]
        # ONNX' scales are float32, and so is the product: 10 pixels times 0.7 are 7.
        outs = [math.floor(np.float32(float(n * f))) for n, f in zip(x.shape, factors, strict=True)]
    y = np.asarray(x, np.float64)
    for axis, (out, factor) in enumerate(zip(outs, factors, strict=True)):
        if factor != 1:
            matrix = _matrix(node, x.shape[axis], out, factor)
            y = np.moveaxis(np.tensordot(matrix, y, (1, axis)), 0, axis)
    return y
