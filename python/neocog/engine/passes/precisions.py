"""Choose the precision of products; the only pass that changes what a graph computes, and only where it is asked to."""

from __future__ import annotations

from neocog.engine.graph import Graph, Node

_CHOOSE = ("conv", "linear")  # those that have the attribute


def precisions(graph: Graph, precision: str) -> Graph:
    """Give every convolution and linear layer this precision; the graph given stays as it is.

    Args:
        precision: One of `operators.PRECISIONS`.
    """

    def chosen(node: Node) -> Node:
        if node.op not in _CHOOSE or node["precision"] == precision:
            return node
        attributes = {key: value for key, value in node.attributes.items() if key != "precision"}
        if precision != "fp32":  # the default is not written down
            attributes["precision"] = precision
        return Node(node.op, node.inputs, node.outputs, attributes, node.name)

    return Graph(graph.inputs, graph.outputs, [chosen(node) for node in graph.nodes], graph.constants)
