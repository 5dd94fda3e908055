"""Take the padding of images into the window of the convolution or pool that follows, where that is the same."""

from __future__ import annotations

from neocog.engine.graph import Graph, Node
from neocog.engine.passes.editing import Editor, looks_for

# Results of these are at least 0 whatever they are given (or NaN, which stays NaN).
_NONNEGATIVE = ("relu", "relu6", "sigmoid", "hardsigmoid", "softplus", "softmax", "square", "abs", "exp", "sqrt")
# Results of these are at least 0 if what they are given is.
_KEEP_SIGN = (
    *("max_pool", "adaptive_avg_pool", "adaptive_max_pool", "concat", "transpose", "reshape", "flatten", "squeeze"),
    *("unsqueeze", "slice", "expand", "tile", "identity", "gather", "pixel_shuffle", "depth_to_space"),
    *("space_to_depth", "pixel_unshuffle", "maximum", "minimum", "add", "mul"),
)
_OF_FIRST = ("gather", "slice", "reshape", "expand", "tile", "pad")  # their further inputs are numbers, not data


@looks_for("pad")
def paddings(graph: Graph) -> Graph:
    """Merge constant padding of spatial axes into windows; the graph given stays as it is.

    A convolution takes zeros. An average pool takes zeros that it counts. A maximum pool's own padding never wins, so
    it takes minus infinity, or zeros where every window holds a pixel and no pixel is negative.

    Returns:
        A new graph, or the very same one if nothing could be merged.
    """
    editor = Editor(graph)
    for node in editor:
        before = editor.maker(node.inputs[0])
        if before is None or before.op != "pad" or before["mode"] != "constant":
            continue
        merged = _merged(node, before, editor)
        if merged is not None:
            inputs = (before.inputs[0], *node.inputs[1:])
            editor.replace(node, Node(node.op, inputs, node.outputs, {**node.attributes, **merged}, node.name))
    return editor.graph()


def _merged(node: Node, pad: Node, editor: Editor) -> dict[str, object] | None:
    """The attributes of a window that does the padding itself."""
    if node.op not in ("conv", "avg_pool", "max_pool"):
        return None
    own, more = node["padding"], _spatial(pad, editor)
    if isinstance(own, str) or more is None or len(more) != len(own):
        return None
    # A crop and a border do not cancel: the border hides pixels that the crop has lost.
    if any(number < 0 for pair in (*own, *more) for number in pair):
        return None
    padding = [[begin + b, end + e] for (begin, end), (b, e) in zip(own, more, strict=True)]
    value = pad["value"]
    if node.op == "conv":
        return {"padding": padding} if value == 0 else None
    if node["ceil_mode"] or len(node.outputs) > 1:
        return None  # windows beyond the padding are others then; indices count pixels of the padded plane
    if node.op == "avg_pool":
        counted = node["count_include_pad"] or not any(map(any, own))
        return {"padding": padding, "count_include_pad": True} if value == 0 and counted else None
    if value == float("-inf"):
        return {"padding": padding}
    covered = all(
        gap == 1 and begin < taps and end < taps
        for gap, taps, (begin, end) in zip(node["dilation"], node["kernel"], padding, strict=True)
    )
    return {"padding": padding} if value == 0 and covered and nonnegative(pad.inputs[0], editor) else None


def _spatial(pad: Node, editor: Editor) -> list[tuple[int, int]] | None:
    """Begin and end for every spatial axis, if only those are padded."""
    pads = editor.constant(pad.inputs[1])
    if pads is None or pads.size % 2 or pads.size < 6:
        return None
    begin, end = pads.reshape(2, -1).tolist()
    return None if any((*begin[:2], *end[:2])) else list(zip(begin[2:], end[2:], strict=True))


def nonnegative(name: str | None, editor: Editor) -> bool:
    """Whether no element of a value can be less than 0."""
    seen: set[str] = set()
    values = [name]
    while values:
        value = values.pop()
        if value in seen:
            continue
        node, constant = editor.maker(value), editor.constant(value)
        if constant is not None and (constant >= 0).all():
            continue
        if node is None or value is None or value != node.outputs[0]:
            return False
        seen.add(value)
        activation = node.attributes.get("activation")
        if node.op in _NONNEGATIVE or activation in _NONNEGATIVE:
            continue
        if node.op == "clip" and node["min"] is not None and node["min"] >= 0:
            continue
        border = node.op == "pad" and node["value"] >= 0
        if activation is not None or not (border or node.op in _KEEP_SIGN):
            return False
        values.extend(node.inputs[:1] if node.op in _OF_FIRST else node.inputs)
    return True
