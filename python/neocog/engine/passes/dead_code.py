"""Remove what no result of the graph needs."""

from __future__ import annotations

from dataclasses import replace

from neocog.engine.graph import Graph, Node
from neocog.engine.passes.editing import carry_shapes


def dead_code(graph: Graph) -> Graph:
    """Remove nodes and constants that nobody needs, and results of nodes that nobody takes; inputs stay.

    Returns:
        A new graph, or the very same one if all of it is needed.
    """
    needed = set(graph.outputs)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        wanted = [name if name in needed else None for name in node.outputs]
        while wanted and wanted[-1] is None:
            wanted.pop()
        if wanted:
            nodes.append(node if tuple(wanted) == tuple(node.outputs) else replace(node, outputs=tuple(wanted)))
            needed.update(node.used())
    constants = {name: value for name, value in graph.constants.items() if name in needed}
    nodes.reverse()
    same = len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes, strict=True))
    if same and len(constants) == len(graph.constants):
        return graph
    return carry_shapes(graph, Graph(list(graph.inputs), list(graph.outputs), nodes, constants))
