"""Let a separable convolution apply the batch norm before it to the rows it reads: one pass over memory less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neocog.engine.graph import Graph
from neocog.engine.passes.editing import Editor, looks_for


@looks_for("batch_norm")
def prologues(graph: Graph) -> Graph:
    """Fuse batch norms with known parameters into separable convolutions that alone take their results.

    Such a batch norm stands where folding cannot take it: others need its input, or an activation comes between.

    Accuracy: scale is made in float64 and rounded once, as the batch norm itself does.

    Returns:
        A new graph, or the very same one if there is nothing to fuse.
    """
    editor = Editor(graph)
    for node in editor:
        norm = editor.maker(node.inputs[0]) if node.op == "separable_conv" else None
        if norm is None or norm.op != "batch_norm" or len(node.inputs) > 5:
            continue
        if editor.only_user(norm.outputs[0] or "") is not node:
            continue
        given = [editor.constant(name) for name in norm.inputs[1:]]
        weight, shift, center, var = (None if p is None else p.reshape(-1) for p in given)
        if weight is None or shift is None or center is None or var is None:
            continue
        with np.errstate(all="ignore"):  # what is not finite stays a batch norm
            scale = (weight / np.sqrt(var.astype(np.float64) + norm["eps"])).astype(weight.dtype)
        if not np.isfinite(scale).all():
            continue
        name = norm.outputs[0] or ""
        made = [editor.new_constant(f"{name}_{what}", v) for what, v in (("center", center), ("scale", scale))]
        made.append(editor.new_constant(f"{name}_shift", shift))
        inputs = (norm.inputs[0], *node.inputs[1:], *(None,) * (5 - len(node.inputs)), *made)
        before = {"before_activation": norm["activation"], "before_alpha": norm["alpha"]}
        editor.replace(node, replace(node, inputs=inputs, attributes={**node.attributes, **before}))
    return editor.graph()
