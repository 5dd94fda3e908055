"""The float64 oracle of a graph's windowed operators: convolutions and pools over any number of spatial axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from neocog.engine.graph import Node
from reference_windows import Array, signed_pad

Pads = list[tuple[int, int]]


def split(total: int, padding: str) -> tuple[int, int]:
    """Begin and end of a "same" padding or crop: the odd pixel is at the end for same_upper."""
    small, large = total // 2, total - total // 2
    return (small, large) if padding == "same_upper" else (large, small)


class Grid:
    """Where the windows of a node lie on images of these sizes: outputs per axis, and the pixels under each tap."""

    def __init__(self, node: Node, sizes: Sequence[int], kernel: Sequence[int], dilation: Sequence[int] | None = None):
        self.sizes, self.kernel, self.stride = tuple(sizes), tuple(kernel), tuple(node["stride"])
        self.dilation = tuple(node["dilation"] if dilation is None else dilation)
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        axes = list(zip(self.sizes, spans, self.stride, strict=True))
        if isinstance(node["padding"], str):
            totals = [max((-(-size // step) - 1) * step + span - size, 0) for size, span, step in axes]
            self.pads: Pads = [split(total, node["padding"]) for total in totals]
        else:
            self.pads = [(lo, hi) for lo, hi in node["padding"]]
        ceil_mode = "ceil_mode" in node.attributes and node["ceil_mode"]
        counts = [self._outputs(*axis, *pad, ceil_mode) for axis, pad in zip(axes, self.pads, strict=True)]
        self.out = tuple(counts)
        # The windows may end before the padding does, or after it (ceil_mode): this is where they end.
        self.reach: Pads = [
            (lo, (count - 1) * step + span - size - lo)
            for count, (size, span, step), (lo, _) in zip(counts, axes, self.pads, strict=True)
        ]

    @staticmethod
    def _outputs(size: int, span: int, step: int, lo: int, hi: int, ceil_mode: bool) -> int:
        room = size + lo + hi - span
        if room < 0:
            raise ValueError(f"a kernel spanning {span} exceeds the padded image of {size + lo + hi}")
        count = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (count - 1) * step >= size + lo:  # a window starts inside the image or the padding before it
            count -= 1
        return count

    def cover(self, x: Array, value: float = 0) -> Array:
        """x, padded or cropped to where the windows reach."""
        return signed_pad(x, self.reach, value)

    def taps(self) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Indices of a tap in the kernel, and of the covered pixels that it meets, one per output."""
        for tap in np.ndindex(*self.kernel):
            first = [t * d for t, d in zip(tap, self.dilation, strict=True)]
            met = (slice(f, f + s * (n - 1) + 1, s) for f, s, n in zip(first, self.stride, self.out, strict=True))
            yield (..., *tap), (..., *met)


def _mix(weight: Array, x: Array) -> Array:
    """weight (groups, O, I) applied to the channels of x (N, groups, I, ...)."""
    if weight.shape[2] == 1:
        return weight.reshape(*weight.shape, *[1] * (x.ndim - 4)) * x
    flat = x.reshape(*x.shape[:3], -1)
    return (weight @ flat).reshape(len(x), len(weight), weight.shape[1], *x.shape[3:])


def _grouped(x: Array, groups: int) -> Array:
    return x.reshape(len(x), groups, x.shape[1] // groups, *x.shape[2:])


def conv(node: Node, x: Array, weight: Array, groups: int) -> Array:
    """Without bias and activation."""
    grid = Grid(node, x.shape[2:], weight.shape[2:])
    x, weight = _grouped(grid.cover(x), groups), weight.reshape(groups, -1, *weight.shape[1:])
    y = np.zeros((len(x), groups, weight.shape[1], *grid.out))
    for tap, met in grid.taps():
        y += _mix(weight[tap], x[met])
    return y.reshape(len(x), -1, *grid.out)


def conv_transpose(node: Node, x: Array, weight: Array) -> Array:
    """Without bias and activation."""
    groups, sizes, kernel = node["groups"], x.shape[2:], weight.shape[2:]
    spans = [d * (k - 1) + 1 for d, k in zip(node["dilation"], kernel, strict=True)]
    full = tuple((n - 1) * s + span for n, s, span in zip(sizes, node["stride"], spans, strict=True))
    uncropped = Node("conv", (), (), {**node.attributes, "padding": [(0, 0)] * len(full)})
    x = _grouped(x, groups)
    weight = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    y = np.zeros((len(x), groups, weight.shape[1], *full))
    for tap, met in Grid(uncropped, full, kernel).taps():
        y[met] += _mix(weight[tap], x)
    crops = _crops(node, sizes, full, spans)
    return signed_pad(y.reshape(len(x), -1, *full), [(-begin, -end) for begin, end in crops])


def _crops(node: Node, sizes: Sequence[int], full: Sequence[int], spans: Sequence[int]) -> Pads:
    """What is cut off the full result at the begin and the end of each axis; negative where zeros are appended."""
    padding, wanted, crops = node["padding"], node["output_size"], []
    for axis, (size, count, span, step) in enumerate(zip(sizes, full, spans, node["stride"], strict=True)):
        if isinstance(padding, str):
            outputs = size * step if wanted is None else wanted[axis]
            total = count - outputs if wanted is not None else span - step
            begin = split(max(total, 0), padding)[0]
        else:
            begin, end = padding[axis]
            outputs = count - begin - end + node["output_padding"][axis] if wanted is None else wanted[axis]
        crops.append((begin, count - begin - outputs))
    return crops


def max_pool(node: Node, x: Array) -> tuple[Array, Array]:
    """The largest value of each window and its place in the plane; NaN wins, ties go to the first."""
    grid = Grid(node, x.shape[2:], node["kernel"])
    places = grid.cover(np.arange(np.prod(grid.sizes, dtype=np.int64)).reshape(grid.sizes), -1)
    covered = grid.cover(x, -np.inf)
    y = np.full((*x.shape[:2], *grid.out), -np.inf)
    indices = np.full(y.shape, -1, np.int64)  # stays where a dilated window meets no pixel at all
    for _, met in grid.taps():
        place, value = places[met], covered[met]
        better = (place >= 0) & ((value > y) | (np.isnan(value) & ~np.isnan(y)) | (indices < 0))
        y, indices = np.where(better, value, y), np.where(better, place, indices)
    return y, indices


def avg_pool(node: Node, x: Array) -> Array:
    grid = Grid(node, x.shape[2:], node["kernel"], dilation=[1] * (x.ndim - 2))
    covered = grid.cover(x)
    # Beyond the padding asked for, where only ceil_mode's windows reach, nothing is ever counted.
    counted = signed_pad(np.ones(grid.sizes), grid.pads, value=float(node["count_include_pad"]))
    beyond = [(0, end - hi) for (_, end), (_, hi) in zip(grid.reach, grid.pads, strict=True)]
    counted = signed_pad(counted, beyond)
    total, divisor = np.zeros((*x.shape[:2], *grid.out)), np.zeros(grid.out)
    for _, met in grid.taps():
        total += covered[met]
        divisor += counted[met]
    if node["divisor"] is not None:
        return total / node["divisor"]
    return total / np.maximum(divisor, 1)  # a window that meets no pixel has the mean 0


def adaptive_pool(node: Node, x: Array, reduce: Any) -> Array:
    """Output i covers the pixels from floor(i n / outputs) to ceil((i + 1) n / outputs), axis after axis."""
    outs = node["output_size"]
    outs = [1] * (x.ndim - 2) if list(outs) == [1] else outs
    for axis, (n, out) in enumerate(zip(x.shape[2:], outs, strict=True), start=2):
        parts = [range(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]
        x = np.concatenate([reduce(np.take(x, part, axis), axis, keepdims=True) for part in parts], axis)
    return x
