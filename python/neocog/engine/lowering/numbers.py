"""Numbers of the plan: values that follow from shapes and constants are computed here, and never again."""

from __future__ import annotations

import math
from functools import wraps

import numpy as np

from neocog.engine.builder import Builder
from neocog.engine.evaluate import can_evaluate, evaluate
from neocog.engine.graph import Node
from neocog.engine.lowering import Lowering, lowers


def unless_known(lowering: Lowering) -> Lowering:
    """A lowering for data; where all inputs are known, and NumPy can do it, the results are numbers of the plan."""

    @wraps(lowering)
    def lower(node: Node, build: Builder) -> None:
        if can_evaluate(node.op) and all(map(build.is_known, node.used())):
            bind_evaluated(node, build)
        else:
            lowering(node, build)

    return lower


@lowers("range", "full", "equal", "less", "greater", "logical_and", "logical_or", "logical_not", "nonzero")
def bind_evaluated(node: Node, build: Builder) -> None:
    """Compute the results now, from inputs that must be known."""
    values = [None if name is None else build.known(name) for name in node.inputs]
    for name, value in zip(node.outputs, evaluate(node, values), strict=False):  # a node can want fewer
        build.bind_number(name, value)


@lowers("shape")
def _shape(node: Node, build: Builder) -> None:
    sizes = build.shape(_only(node))[node["start"] : node["end"]]
    build.bind_number(node.outputs[0], np.array(sizes, np.int64))


@lowers("size")
def _size(node: Node, build: Builder) -> None:
    build.bind_number(node.outputs[0], np.array(math.prod(build.shape(_only(node))), np.int64))


@lowers("cast")
@unless_known
def _cast(node: Node, build: Builder) -> None:
    if node["dtype"] != "float32":
        raise build.error(
            f"`dtype` is {node['dtype']!r}, but {_only(node)!r} depends on the data of an input, and data are float32; "
            "only numbers that the plan knows, such as shapes, have another dtype."
        )
    build.bind(node.outputs[0], build.view(_only(node)))


def _only(node: Node) -> str:
    return next(node.used())
