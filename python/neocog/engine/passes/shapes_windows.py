"""The shapes that convolutions, pools and resizing give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from neocog.engine.graph import Node
from neocog.engine.passes import dimensions as dim
from neocog.engine.passes.dimensions import Dim

if TYPE_CHECKING:
    from neocog.engine.passes.shapes import Rule, Shape, Shapes


def _outputs(size: Dim, kernel: int, stride: int, dilation: int, pads: Sequence[int], ceil_mode: bool) -> Dim:
    begin, end = pads
    span = dilation * (kernel - 1) + 1
    room = dim.add(size, begin + end - span)
    if not ceil_mode:
        return dim.add(dim.floor_divide(room, stride), 1)
    # A last window that starts beyond the image is left out; there is none if the padding and the step are short.
    if stride <= span - end:
        return dim.add(dim.ceil_divide(room, stride), 1)
    if isinstance(size, int) and isinstance(room, int):
        count = -(-room // stride) + 1
        return count - 1 if (count - 1) * stride >= size + begin else count
    return dim.formula("windows", size, kernel, stride, dilation, begin, end)


def _windows(node: Node, sizes: Sequence[Dim], kernel: Sequence[Dim], dilation: Sequence[int]) -> list[Dim] | None:
    """Outputs per axis; None where the kernel's size is not known, or the number of axes is wrong."""
    stride, padding = node["stride"], node["padding"]
    if isinstance(padding, str):
        if len(stride) != len(sizes):
            return None
        return [dim.ceil_divide(size, step) for size, step in zip(sizes, stride, strict=True)]
    if not len(sizes) == len(kernel) == len(stride) == len(dilation) == len(padding):
        return None
    ceil_mode = bool(node.attributes.get("ceil_mode", False))
    outputs: list[Dim] = []
    for size, span, step, gap, pads in zip(sizes, kernel, stride, dilation, padding, strict=True):
        if not isinstance(span, int):
            return None
        outputs.append(_outputs(size, span, step, gap, pads, ceil_mode))
    return outputs


def _images(node: Node, shapes: Shapes, rank: int, channels: Dim, sizes: Sequence[Dim] | None) -> Shape:
    """Images of a batch as large as x's, with what is known of the rest."""
    x = shapes.shape(node.inputs[0])
    batch = x[0] if x else shapes.unknown_size(node, 0)
    return (batch, channels, *(shapes.unknown(node, rank)[2:] if sizes is None else sizes))


def _conv(node: Node, shapes: Shapes) -> Shape | None:
    x, weight = shapes.shape(node.inputs[0]), shapes.shape(node.inputs[1])
    if weight is None:
        return None
    channels = weight
    if node.op == "separable_conv":
        pointwise = shapes.shape(node.inputs[2])
        if pointwise is None:
            return None
        channels = pointwise
    known = x is not None and len(x) == len(weight)
    sizes = _windows(node, x[2:], weight[2:], node["dilation"]) if known and x is not None else None
    return _images(node, shapes, len(weight), channels[0], sizes)


def _conv_transpose(node: Node, shapes: Shapes) -> Shape | None:
    x, weight = shapes.shape(node.inputs[0]), shapes.shape(node.inputs[1])
    if weight is None or len(weight) < 2:
        return None
    channels = dim.multiply(weight[1], node["groups"])
    sizes: list[Dim] | None = None
    if node["output_size"] is not None:
        sizes = list(node["output_size"])
    elif x is not None and len(x) == len(weight):
        sizes = _transposed(node, x[2:], weight[2:])
    return _images(node, shapes, len(weight), channels, sizes)


def _transposed(node: Node, sizes: Sequence[Dim], kernel: Sequence[Dim]) -> list[Dim] | None:
    stride, padding = node["stride"], node["padding"]
    if isinstance(padding, str):
        return [dim.multiply(size, step) for size, step in zip(sizes, stride, strict=True)]
    outputs: list[Dim] = []
    axes = zip(sizes, kernel, stride, node["dilation"], padding, node["output_padding"], strict=True)
    for size, taps, step, gap, (begin, end), more in axes:
        if not isinstance(taps, int):
            return None
        outputs.append(dim.add(dim.multiply(size, step), gap * (taps - 1) + 1 + more - step - begin - end))
    return outputs


def _pool(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    if x is None:
        return None
    dilation = node["dilation"] if node.op == "max_pool" else [1] * (len(x) - 2)
    return _images(node, shapes, len(x), x[1], _windows(node, x[2:], node["kernel"], dilation))


def _adaptive_pool(node: Node, shapes: Shapes) -> Shape | None:
    x, sizes = shapes.shape(node.inputs[0]), list(node["output_size"])
    if x is None:
        return None
    return (*x[:2], *([1] * (len(x) - 2) if sizes == [1] else sizes))


def _resize(node: Node, shapes: Shapes) -> Shape | None:
    x = shapes.shape(node.inputs[0])
    sizes, scales = (*node.inputs[1:], None, None)[:2]
    if sizes is not None:
        return shapes.numbers(sizes) or (None if x is None else shapes.unknown(node, len(x)))
    factors = shapes.scales(scales)
    if x is None or factors is None or len(factors) != len(x):
        return None if x is None else shapes.unknown(node, len(x))
    return tuple(_scaled(size, factor) for size, factor in zip(x, factors, strict=True))


def _scaled(size: Dim, factor: float) -> Dim:
    if factor == int(factor):
        return dim.multiply(size, int(factor))
    if isinstance(size, int):
        return math.floor(size * factor)
    if factor > 0 and 1 / factor == int(1 / factor):  # exact only for powers of two, and only then it is a division
        exact = math.frexp(factor)[0] == 0.5
        return dim.floor_divide(size, int(1 / factor)) if exact else dim.formula("scaled", size, factor)
    return dim.formula("scaled", size, factor)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv", "separable_conv"), _conv),
    "conv_transpose": _conv_transpose,
    **dict.fromkeys(("max_pool", "avg_pool"), _pool),
    **dict.fromkeys(("adaptive_avg_pool", "adaptive_max_pool"), _adaptive_pool),
    "resize": _resize,
}
