"""Apply an activation before a result is stored, not in a pass over memory of its own. Exact."""

from __future__ import annotations

from neocog.engine.graph import Graph, Node
from neocog.engine.operators import ACTIVATIONS
from neocog.engine.passes.editing import Editor, looks_for

_TAKERS = ("conv", "conv_transpose", "separable_conv", "batch_norm", "linear", "add")


@looks_for(*ACTIVATIONS)
def activations(graph: Graph) -> Graph:
    """Fuse activations into the node before them, where nothing else needs what lies between.

    Returns:
        A new graph, or the very same one if there is nothing to fuse.
    """
    editor = Editor(graph)
    for node in editor:
        before = editor.maker(node.inputs[0])
        if node.op not in ACTIVATIONS or before is None or before.op not in _TAKERS:
            continue
        if before["activation"] is not None or editor.only_taker(before.outputs[0] or "") is not node:
            continue
        if before.op == "add" and not editor.shapes.floats(node.inputs[0]):
            continue  # sums of integers are numbers of the plan
        fused = {**before.attributes, "activation": node.op}
        if node.op in ("leaky_relu", "elu"):
            fused["alpha"] = node["alpha"]
        editor.fuse(before, node, Node(before.op, before.inputs, node.outputs, fused, before.name or node.name))
    return editor.graph()
