"""ONNX' If, where the network's inputs do not decide: the nodes of the branch that is taken."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from neocog.engine.importers.onnx_read import ValueType, types_of


def branch(node: onnx.NodeProto, condition: bool) -> tuple[onnx.GraphProto, dict[str, ValueType]]:
    """The graph that an If takes, and the types of its values.

    What the graph makes gets names that begin with the If's: those of two branches may be equal.
    """
    wanted = "then_branch" if condition else "else_branch"
    graph = onnx.GraphProto()
    graph.CopyFrom(next(attribute.g for attribute in node.attribute if attribute.name == wanted))
    own = {name for inner in graph.node for name in inner.output if name} | {t.name for t in graph.initializer}
    prefix = node.name or node.output[0]
    names = {name: f"{prefix}/{name}" for name in own}
    types = {names[name]: known for name, known in types_of(graph) if name in own}
    _rename(graph, names)
    return graph, types


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for value in (*graph.initializer, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g, names)
