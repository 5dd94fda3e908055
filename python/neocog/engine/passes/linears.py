"""A product with a known matrix is a linear layer: `x @ matrix` is `x weight^T`. Exact: the same sums."""

from __future__ import annotations

import numpy as np

from neocog.engine.graph import Graph, Node
from neocog.engine.passes.editing import Editor, looks_for


@looks_for("matmul")
def linears(graph: Graph) -> Graph:
    """Put `linear` in the place of `matmul` by a constant matrix, so that biases and activations can be fused into it.

    Returns:
        A new graph, or the very same one if there is no such product.
    """
    editor = Editor(graph)
    for node in editor:
        matrix = editor.constant(node.inputs[1]) if node.op == "matmul" else None
        if matrix is None or matrix.ndim != 2 or matrix.dtype.kind != "f" or not editor.shapes.rank(node.inputs[0]):
            continue
        weight = editor.new_constant(f"{node.inputs[1]}_transposed", np.ascontiguousarray(matrix.T))
        editor.replace(node, Node("linear", (node.inputs[0], weight), node.outputs, {}, node.name))
    return editor.graph()
