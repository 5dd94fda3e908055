"""Compute what is known before the graph runs, once, and keep one of what is there twice."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from neocog.engine.evaluate import can_evaluate, evaluate
from neocog.engine.graph import Graph, Node
from neocog.engine.operators import OPERATORS
from neocog.engine.passes.editing import Editor
from neocog.engine.passes.shapes import Shape

_SMALL = 4096  # bytes: of equal constants up to this size one is kept; larger ones are weights, seldom equal
_LARGE = 1 << 24  # bytes: results may be that large, or as large as what they are made of, and no larger
_LEAST_SIZE = 4  # bytes of an element, at least, in all that is large
_COMMUTES = ("add", "mul", "maximum", "minimum", "equal", "logical_and", "logical_or")


def constants(graph: Graph) -> Graph:
    """Fold nodes whose inputs are constants, merge equal small constants and equal nodes; the graph stays as it is.

    Numbers made of sizes that are fixed, such as the number of channels, are constants too. A node whose result is
    large and made of little (an expansion, say) is not folded.

    Returns:
        A new graph, or the very same one if there is nothing to compute or merge.
    """
    editor = Editor(graph)
    _merge_constants(graph, editor)
    first: dict[Hashable, list[Node]] = {}
    sizes = any(node.op in ("shape", "size") for node in graph.nodes)
    for node in editor:
        if (sizes and _fold_sizes(node, editor)) or _fold(node, editor):
            continue
        alike = first.setdefault(_key(node), [])
        same = next((other for other in alike if _attributes(other) == _attributes(node)), None)
        if same is None:
            alike.append(node)
        else:
            editor.drop(node, *same.made())
    return editor.graph()


def _merge_constants(graph: Graph, editor: Editor) -> None:
    first: dict[Hashable, str] = {}
    for name, value in graph.constants.items():
        if value.nbytes <= _SMALL and editor.has_users(name):
            same = first.setdefault((value.dtype.str, value.shape, value.tobytes()), name)
            if same != name:
                editor.substitute(name, same)


def _fold_sizes(node: Node, editor: Editor) -> bool:
    """Whether the result of a node was whole numbers that the sizes known to the graph decide."""
    name, shapes = node.outputs[0], editor.shapes
    numbers, shape, dtype = shapes.numbers(name), shapes.shape(name), shapes.dtype(name)
    if numbers is None or shape is None or dtype not in ("int32", "int64"):
        return False
    known = [number for number in numbers if isinstance(number, int)]
    if len(known) < len(numbers):
        return False
    sizes = [size for size in shape if isinstance(size, int)]
    editor.make_constant(node, [np.array(known, dtype).reshape(sizes)])
    return True


def _fold(node: Node, editor: Editor) -> bool:
    values = [editor.constant(name) for name in node.inputs]
    missing = any(value is None and name is not None for value, name in zip(values, node.inputs, strict=True))
    if missing or not can_evaluate(node.op) or len(node.outputs) > 1:
        return False
    most = max(_LARGE, sum(value.nbytes for value in values if value is not None))
    shape = editor.shapes.shape(node.outputs[0])
    if shape is not None and _elements(shape) * _LEAST_SIZE > most:
        return False  # not even tried
    results = evaluate(node, values)
    if sum(result.nbytes for result in results) > most:
        return False
    editor.make_constant(node, results)
    return True


def _elements(shape: Shape) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def _key(node: Node) -> Hashable:
    """Equal for nodes that compute the same, if their attributes are equal too."""
    inputs = tuple(sorted(node.used())) if node.op in _COMMUTES else node.inputs
    return node.op, inputs, tuple(name is None for name in node.outputs)


def _attributes(node: Node) -> Hashable:
    return tuple(_frozen(node[key]) for key in OPERATORS[node.op].attributes)


def _frozen(value: Any) -> Hashable:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
