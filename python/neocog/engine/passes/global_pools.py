"""Means and maxima over all pixels are global pools, which have kernels of their own. Exact: the same sums."""

from __future__ import annotations

from neocog.engine.graph import Graph, Node
from neocog.engine.passes.editing import Editor, looks_for
from neocog.engine.passes.shapes_arrays import axes_of

_POOLS = {"mean": "adaptive_avg_pool", "max": "adaptive_max_pool"}


@looks_for(*_POOLS)
def global_pools(graph: Graph) -> Graph:
    """Put adaptive pools of one output in the place of reductions over the spatial axes of images.

    Images are floats of three or four axes. Without `keepdims` a `flatten` follows the pool.

    Returns:
        A new graph, or the very same one if there is no such reduction.
    """
    editor = Editor(graph)
    for node in editor:
        x, name = node.inputs[0], node.outputs[0]
        if node.op not in _POOLS:
            continue
        rank = editor.shapes.rank(x)
        if rank not in (3, 4) or not editor.shapes.floats(x) or name is None:
            continue
        if axes_of(node["axes"], rank) != list(range(2, rank)):
            continue
        attributes = {"output_size": [1] * (rank - 2)}
        if node["keepdims"]:
            editor.replace(node, Node(_POOLS[node.op], (x,), node.outputs, attributes, node.name))
        else:
            pooled = editor.new_name(f"{name}_pooled")
            editor.replace(
                node,
                Node(_POOLS[node.op], (x,), (pooled,), attributes, node.name),
                Node("flatten", (pooled,), node.outputs, {}, node.name),
            )
    return editor.graph()
