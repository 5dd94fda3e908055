"""Do not compute what is cut off: a slice of a convolution's result becomes less padding, or more of it taken off."""

from __future__ import annotations

from neocog.engine.graph import Graph, Node
from neocog.engine.passes import dimensions as dim
from neocog.engine.passes.dimensions import Dim
from neocog.engine.passes.editing import Editor, looks_for

_END = 2**31 - 1  # exporters write this, or more, for "to the end"
Pairs = list[tuple[int, int]]


@looks_for("slice")
def crops(graph: Graph) -> Graph:
    """Merge slices that cut pixels off the ends of a convolution's result into its padding. Exact.

    Causal convolutions cut off the end of what symmetric padding gave; transposed ones are cut to a multiple of their
    input. Only where something is left of the smallest image, and a convolution pads no less than nothing.

    Returns:
        A new graph, or the very same one if there is nothing to merge.
    """
    editor = Editor(graph)
    for node in editor:
        layer = editor.maker(node.inputs[0]) if node.op == "slice" else None
        if layer is None or layer.op not in ("conv", "conv_transpose") or isinstance(layer["padding"], str):
            continue
        if (*layer.inputs, None, None)[3] is not None or editor.only_user(layer.outputs[0] or "") is not node:
            continue
        cut = _cut(node, editor)
        padding = None if cut is None or len(cut) != len(layer["padding"]) else _padding(layer, cut, editor)
        if padding is not None:
            attributes = {**layer.attributes, "padding": padding}
            editor.replace(node, Node(layer.op, layer.inputs, node.outputs, attributes, layer.name or node.name))
    return editor.graph()


def _cut(node: Node, editor: Editor) -> Pairs | None:
    """How many pixels a slice cuts off the begin and the end of each spatial axis, if it does nothing else."""
    shape = editor.shapes.shape(node.inputs[0])
    starts, ends, axes, steps = (editor.shapes.numbers(name) for name in (*node.inputs[1:], None, None)[:4])
    names = (*node.inputs, None, None)
    if shape is None or starts is None or ends is None or (names[3] and axes is None) or (names[4] and steps is None):
        return None
    if any(step != 1 for step in steps or ()):
        return None
    cut = [(0, 0)] * len(shape)
    for axis, start, end in zip(axes if axes is not None else range(len(starts)), starts, ends, strict=True):
        ends_cut = _ends(shape[axis], start, end) if isinstance(axis, int) else None
        if ends_cut is None or not isinstance(axis, int):
            return None
        cut[axis] = ends_cut
    return None if any(map(any, cut[:2])) else cut[2:]


def _ends(size: Dim, start: Dim, end: Dim) -> tuple[int, int] | None:
    """Elements cut off both ends of an axis of this size, if they are as many for all sizes."""
    if not isinstance(start, int):
        return None
    if isinstance(size, int) and isinstance(end, int):
        first, last, _ = slice(start, end).indices(size)
        return first, size - max(first, last)
    if start < 0:
        return None
    if isinstance(end, int):
        return (start, 0) if end >= _END else (start, -end) if end < 0 else None
    left = dim.add(size, dim.multiply(end, -1))
    return (start, max(left, 0)) if isinstance(left, int) else None


def _padding(layer: Node, cut: Pairs, editor: Editor) -> list[list[int]] | None:
    """The padding with which a layer makes what is left; None if there is none."""
    weight = editor.shapes.shape(layer.inputs[1])
    if weight is None or (layer.op == "conv_transpose" and layer["output_size"] is not None):
        return None
    padding = []
    axes = zip(weight[2:], layer["stride"], layer["dilation"], layer["padding"], cut, strict=True)
    for taps, step, gap, (begin, end), (first, last) in axes:
        if not isinstance(taps, int):
            return None
        span = gap * (taps - 1) + 1
        if layer.op == "conv_transpose":
            begin, end = begin + first, end + last
            if begin + end >= span:  # nothing may be left of one pixel
                return None
        else:
            begin, end = begin - first * step, end - last * step
            if min(begin, end) < 0 or begin + end + 1 < span:
                return None
        padding.append([begin, end])
    return padding
