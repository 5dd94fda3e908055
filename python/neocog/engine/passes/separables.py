"""Make one operator of a depthwise convolution and the 1x1 convolution that follows: its result stays in the cache."""

from __future__ import annotations

import numpy as np

from neocog.engine.graph import Array, Graph, Node
from neocog.engine.passes.editing import Editor, looks_for


@looks_for("conv")
def separables(graph: Graph) -> Graph:
    """Fuse depthwise and pointwise convolutions with known weights; the graph given stays as it is.

    Both are of images with two spatial axes, the pointwise one without steps, padding and groups; nothing else takes
    the depthwise result. A bias in between goes through the pointwise weights into the bias, in float64
    rounded once: |error| <= eps * |bias|.

    Returns:
        A new graph, or the very same one if there is nothing to fuse.
    """
    editor = Editor(graph)
    for node in editor:
        depthwise = editor.maker(node.inputs[0])
        if depthwise is None or not _is_pointwise(node, editor) or not _is_depthwise(depthwise, editor):
            continue
        if editor.only_user(depthwise.outputs[0] or "") is not node:
            continue
        bias = _bias(node, depthwise, editor)
        if bias is None:
            continue
        x, filters = depthwise.inputs[:2]
        residual = _residual(node)
        inputs = (x, filters, node.inputs[1], *bias, *((None,) * (1 - len(bias)) + (residual,) if residual else ()))
        attributes = {key: depthwise[key] for key in ("stride", "padding", "dilation")}
        attributes |= {key: node.attributes[key] for key in ("activation", "alpha") if key in node.attributes}
        editor.replace(node, Node("separable_conv", inputs, node.outputs, attributes, node.name or depthwise.name))
    return editor.graph()


def _residual(node: Node) -> str | None:
    return (*node.inputs, None, None)[3]


def _weight(node: Node, editor: Editor) -> Array | None:
    """The weight of a convolution of images with two axes, if it is known."""
    weight = editor.constant(node.inputs[1]) if node.op == "conv" else None
    return weight if weight is not None and weight.ndim == 4 else None


def _is_depthwise(node: Node, editor: Editor) -> bool:
    weight = _weight(node, editor)
    if weight is None or _residual(node) is not None:
        return False
    return weight.shape[1] == 1 and node["groups"] > 1 and node["activation"] is None


def _is_pointwise(node: Node, editor: Editor) -> bool:
    weight = _weight(node, editor)
    if weight is None or weight.shape[2:] != (1, 1) or node["groups"] != 1:
        return False
    if node["precision"] != "fp32":  # of its own kernel, which costs less than the fusion saves
        return False
    # "Same" paddings of a kernel of one pixel are none.
    padded = not isinstance(node["padding"], str) and any(map(any, node["padding"]))
    return not padded and all(step == 1 for step in node["stride"])


def _bias(pointwise: Node, depthwise: Node, editor: Editor) -> tuple[str, ...] | None:
    """The input that is the bias of both together, or no input at all; None if it cannot be made."""
    before, after = ((*node.inputs, None)[2] for node in (depthwise, pointwise))
    if before is None:
        return () if after is None else (after,)
    inner, weight, outer = editor.constant(before), editor.constant(pointwise.inputs[1]), editor.constant(after)
    if inner is None or weight is None or (outer is None and after is not None):
        return None
    with np.errstate(all="ignore"):  # what is not finite in the end is not folded
        total = weight.reshape(weight.shape[:2]).astype(np.float64) @ inner.astype(np.float64)
        total = (total if outer is None else total + outer).astype(weight.dtype)
    return (editor.new_constant(f"{before}_mixed", total),) if np.isfinite(total).all() else None
