"""Which pixels each output of a resized axis reads, and their weights: ONNX's rules for Resize.

Position o of an axis, start + slope * o in pixels of x, is a fraction of integers, so that no rounding decides between
two pixels. Weights are float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from neocog.engine.graph import Array, Node

_HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Axis:
    """One axis to be resized: its sizes, and outputs per pixel, which need not be their ratio."""

    index: int
    size: int
    outputs: int
    scale: Fraction


@dataclass(frozen=True)
class Taps:
    """What each output reads: indices and weights, of shape (outputs, taps); places lie inside the axis."""

    indices: Array
    weights: Array

    @property
    def count(self) -> int:
        return int(self.indices.shape[1])


def positions(axis: Axis, coordinates: str) -> tuple[Fraction, Fraction]:
    """Where outputs lie: the first one, and the step to the next."""
    length = axis.size * axis.scale  # before it is rounded down
    if coordinates == "align_corners":
        if axis.outputs == 1 or length == 1:
            return Fraction(0), Fraction(0)
        return Fraction(0), (axis.size - 1) / (length - 1)
    if coordinates == "pytorch_half_pixel" and axis.outputs == 1:
        return Fraction(0), Fraction(0)
    slope = 1 / axis.scale
    if coordinates == "asymmetric":
        return Fraction(0), slope
    # What rounding took from the length is left out on both sides.
    shift = Fraction(axis.size, 2) * (1 - axis.outputs / length) if coordinates == "half_pixel_symmetric" else 0
    return shift + slope / 2 - _HALF, slope


def taps(node: Node, axis: Axis) -> Taps:
    """The taps of a `resize` along one axis."""
    start, slope = positions(axis, node["coordinates"])
    if node["mode"] == "nearest":
        places = np.array(_nearest(start, slope, axis.outputs, node["nearest"]))[:, None]
        return Taps(places.clip(0, axis.size - 1), np.ones(places.shape))
    return _filter(node, axis, start, slope)


def _floors(start: Fraction, slope: Fraction, outputs: int) -> tuple[list[int], list[float]]:
    """The positions as pixels and fractions of one."""
    whole = math.lcm(start.denominator, slope.denominator)
    first, step = int(start * whole), int(slope * whole)
    pairs = [divmod(first + step * o, whole) for o in range(outputs)]
    return [pixel for pixel, _ in pairs], [rest / whole for _, rest in pairs]


def _nearest(start: Fraction, slope: Fraction, outputs: int, rounding: str) -> list[int]:
    # Rounding up is rounding down the other way round.
    if rounding == "floor":
        return _floors(start, slope, outputs)[0]
    if rounding == "round_prefer_ceil":
        return _floors(start + _HALF, slope, outputs)[0]
    backwards = _floors(-start if rounding == "ceil" else _HALF - start, -slope, outputs)[0]
    return [-pixel for pixel in backwards]


def _filter(node: Node, axis: Axis, start: Fraction, slope: Fraction) -> Taps:
    floors, fractions = _floors(start, slope, axis.outputs)
    reach = 2 if node["mode"] == "cubic" else 1
    # Antialiasing widens the kernel by as much as the image shrinks.
    narrow = min(axis.scale, Fraction(1)) if node["antialias"] else Fraction(1)
    wide = math.ceil(reach / narrow)
    offsets = np.arange(1 - wide, wide + 1)
    distances = abs(offsets - np.array(fractions)[:, None]) * float(narrow)
    weights = _cubic(distances, node["cubic_coeff"]) if node["mode"] == "cubic" else np.maximum(1 - distances, 0)
    places = np.array(floors)[:, None] + offsets
    if node["exclude_outside"]:
        weights = np.where((places >= 0) & (places < axis.size), weights, 0.0)
    if node["exclude_outside"] or node["antialias"]:
        weights = weights / weights.sum(1, keepdims=True)
    used = np.flatnonzero(weights.any(0))
    kept = slice(used[0], used[-1] + 1)
    return Taps(places.clip(0, axis.size - 1)[:, kept], weights[:, kept])


def _cubic(t: Array, a: float) -> Array:
    """Keys' kernel at distances t >= 0."""
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))
