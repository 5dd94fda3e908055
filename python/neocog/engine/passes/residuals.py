"""Add the other branch of a residual block where the convolution stores its result."""

from __future__ import annotations

from neocog.engine.graph import Graph, Node
from neocog.engine.passes.editing import Editor, looks_for


@looks_for("add")
def residuals(graph: Graph) -> Graph:
    """Fuse additions into the convolution before them; the graph given stays as it is.

    Only additions of equal shapes, for all images that the graph takes: what broadcasts, or may, stays an addition. Of
    two convolutions the later one adds the result of the earlier. Accuracy: the sum is rounded once less.

    Returns:
        A new graph, or the very same one if there is nothing to fuse.
    """
    editor = Editor(graph)
    for node in editor:
        if node.op != "add":
            continue
        by_place = sorted(node.used(), key=editor.place, reverse=True)
        for name in by_place:
            conv = editor.maker(name)
            other = node.inputs[1] if name == node.inputs[0] else node.inputs[0]
            if conv is not None and other is not None and _fuses(conv, node, name, other, editor):
                weight, *bias = conv.inputs[1:3]
                inputs = (conv.inputs[0], weight, *(bias or [None]), other)
                editor.ask_instead(name, other)
                attributes = {**conv.attributes, **node.attributes}  # an addition has no others than an activation's
                editor.replace(node, Node("conv", inputs, node.outputs, attributes, conv.name or node.name))
                break
    return editor.graph()


def _fuses(conv: Node, add: Node, name: str, other: str, editor: Editor) -> bool:
    if conv.op != "conv" or conv["activation"] is not None or (*conv.inputs, None, None)[3] is not None:
        return False
    if editor.only_taker(name) is not add:
        return False
    shape = editor.shapes.shape(name)
    same_dtype = editor.shapes.dtype(other) == editor.shapes.dtype(name)
    if shape is None or shape != editor.shapes.shape(other) or not same_dtype:
        return False
    # What asks for the shape of the convolution's result can ask for that of the other one, if that is there by then.
    asking = [user for user in editor.users(name) if user is not add]
    return all(editor.place(user.outputs[0] or "") > editor.place(other) for user in asking)
