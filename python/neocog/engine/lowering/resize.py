"""`resize` as one step where it is the resampling of `ops/resample`, else axis by axis with a table of taps."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from neocog.engine.builder import Builder, View, last_order
from neocog.engine.graph import Array, Node
from neocog.engine.lowering import lowers
from neocog.engine.lowering.taps import Axis, Taps, taps
from neocog.engine.lowering.views import memory_order

# What positions of a linear axis may differ by and be the same: less than float32's weights can say.
_SAME_POSITION = 1e-9
_KERNEL_MODES = {"nearest": 0, "linear": 1}


@lowers("resize")
def _resize(node: Node, build: Builder) -> None:
    x = build.view(next(node.used()))
    axes = _axes(node, build, x)
    shape = list(x.shape)
    for axis in axes:
        shape[axis.index] = axis.outputs
    if not axes:
        return build.bind(node.outputs[0], x)
    if 0 in shape:
        build.result(node.outputs[0], shape)
        return
    # Axes that shrink most come first: the others then have less to do.
    passes = [(axis, taps(node, axis)) for axis in sorted(axes, key=lambda axis: axis.outputs / axis.size)]
    order, rows = memory_order(x), tuple(range(len(shape)))
    if len(shape) in (3, 4) and order != rows:
        order = last_order(len(shape))
    if node.outputs[0] in build.row_major and math.prod(shape) > x.size:
        order = rows  # what is small is turned, not the result
    view = build.ordered_view(x, order)
    if _is_resampling(node, x, passes):
        return _resample(node, build, view, shape, order)
    for axis, found in passes:
        sizes = [*view.shape[: axis.index], axis.outputs, *view.shape[axis.index + 1 :]]
        last = axis is passes[-1][0]
        y = build.result(node.outputs[0], sizes, order) if last else build.temporary(sizes, order)
        build.step(
            "interpolate",
            view,
            y,
            axis.index,
            found.count,
            found.indices.ravel().tolist(),
            found.weights.ravel().tolist(),
            reads=(view,),
            writes=(y,),
            operations=2 * found.count * y.size,
        )
        view = y


def _axes(node: Node, build: Builder, x: View) -> list[Axis]:
    """The axes whose scale is not 1."""
    sizes, scales = (*node.inputs[1:], None, None)[:2]
    if (sizes is None) == (scales is None):
        raise build.error(f"it has {'no' if sizes is None else 'both'} sizes and scales; it must have one of the two.")
    what, name = ("sizes", sizes) if sizes is not None else ("scales", scales)
    values = np.atleast_1d(build.known(name or "")).tolist()
    if len(values) != len(x.shape):
        raise build.error(f"the {what} are {values}, but shape {x.shape} has {len(x.shape)} axes; give one for each.")
    axes = []
    for index, (size, value) in enumerate(zip(x.shape, values, strict=True)):
        if size == 0 and value == (0 if sizes is not None else 1):
            continue
        if not (math.isfinite(value) and value > 0):
            raise build.error(f"the {what} are {values}; they must be positive.")
        if size == 0:
            raise build.error(f"axis {index} of shape {x.shape} has no element to read; give it at least one.")
        if sizes is not None:
            axis = Axis(index, size, int(value), Fraction(int(value), size))
        else:
            # ONNX' scales are float32, and so is the product: 10 pixels times 0.7 are 7.
            axis = Axis(index, size, math.floor(np.float32(size * value)), Fraction(value))
        if axis.outputs < 1:
            raise build.error(f"the scales are {values}, which leaves nothing of axis {index} of shape {x.shape}.")
        if axis.scale != 1:
            axes.append(axis)
    return axes


# The kernels of ops/resample


def _is_resampling(node: Node, x: View, passes: list[tuple[Axis, Taps]]) -> bool:
    """Whether the kernels of ops/resample, which know sizes alone, read the same pixels with the same weights."""
    if len(x.shape) not in (3, 4) or any(axis.index < 2 for axis, _ in passes) or node["mode"] not in _KERNEL_MODES:
        return False
    if node["mode"] == "nearest":
        planar = len(x.shape) == 4
        return all(np.array_equal(found.indices[:, 0], _kernel_pixels(axis, planar)) for axis, found in passes)
    # Between two neighbours, or at the border, the mean place of the taps says all.
    return all(
        found.count <= 2
        and np.abs((found.weights * found.indices).sum(1) - _kernel_positions(node, axis)).max() <= _SAME_POSITION
        for axis, found in passes
    )


def _kernel_pixels(axis: Axis, planar: bool) -> Array:
    """Nearest pixels as cpp/ops/resample/axis.h has them, rounded in float32."""
    outputs = np.arange(axis.outputs)
    if planar and axis.outputs in (axis.size, 2 * axis.size):
        return outputs * axis.size // axis.outputs
    place = outputs.astype(np.float32) * (np.float32(axis.size) / np.float32(axis.outputs))
    return np.asarray(np.minimum(place.astype(np.int64), axis.size - 1))


def _kernel_positions(node: Node, axis: Axis) -> Array:
    """Linear positions as cpp/ops/resample/axis.h has them."""
    outputs = np.arange(axis.outputs)
    if axis.outputs == axis.size:
        return outputs.astype(np.float64)
    if _aligned(node):
        return np.asarray(outputs * ((axis.size - 1) / max(axis.outputs - 1, 1)))
    return np.asarray(np.clip((outputs + 0.5) * (axis.size / axis.outputs) - 0.5, 0, axis.size - 1))


def _aligned(node: Node) -> bool:
    return bool(node["mode"] == "linear" and node["coordinates"] == "align_corners")


def _resample(node: Node, build: Builder, x: View, shape: list[int], order: tuple[int, ...]) -> None:
    y = build.result(node.outputs[0], shape, order)
    build.step("resize", x, y, _KERNEL_MODES[node["mode"]], _aligned(node), reads=(x,), writes=(y,))
