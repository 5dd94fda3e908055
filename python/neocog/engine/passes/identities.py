"""Remove what changes nothing, merge rearrangements of rearrangements, write subtraction and division as their likes.

Everything here is exact, to the bit but for the sign of a zero: a division becomes a multiplication only by powers of
two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neocog.engine.graph import Array, Graph, Node
from neocog.engine.passes.editing import Editor


def identities(graph: Graph) -> Graph:
    """Drop nodes that do nothing and merge those that do one thing twice; the graph given stays as it is.

    Returns:
        A new graph, or the very same one if there is nothing to do.
    """
    editor = Editor(graph)
    for node in editor:
        value = _unchanged(node, editor)
        if value is not None:
            editor.drop(node, value)
        elif node.op in _MERGES:
            _MERGES[node.op](node, editor)
    return editor.graph()


def _unchanged(node: Node, editor: Editor) -> str | None:
    """The value that a node gives unchanged, if it does."""
    value = node.inputs[0]
    if value is None or len(list(node.made())) != 1 or node.outputs[0] is None:
        return None
    op = node.op
    if op == "identity" or (op == "concat" and len(node.inputs) == 1):
        return value
    if op == "cast":
        return value if editor.shapes.dtype(value) == node["dtype"] else None
    if op == "transpose":
        return value if list(node["permutation"]) == list(range(len(node["permutation"]))) else None
    if op in ("reshape", "flatten", "squeeze", "unsqueeze", "expand", "tile", "pad"):
        shapes = editor.shapes
        if op == "pad" and any(number != 0 for number in shapes.numbers(node.inputs[1]) or (1,)):
            return None  # a crop at one end and a border at the other keep the shape too
        shape = shapes.shape(value)
        return value if shape is not None and shape == shapes.shape(node.outputs[0]) else None
    if op == "slice":
        steps = (*node.inputs, None, None)[4]
        forward = steps is None or all(step == 1 for step in editor.shapes.numbers(steps) or (0,))
        shape = editor.shapes.shape(value) if forward else None  # backwards it keeps the shape too
        return value if shape is not None and shape == editor.shapes.shape(node.outputs[0]) else None
    if op in _NEUTRAL:
        return _without_neutral(node, editor)
    return None


# The operand that does nothing, and whether it may come first.
_NEUTRAL = {"add": (0, True), "sub": (0, False), "mul": (1, True), "div": (1, False), "pow": (1, False)}


def _without_neutral(node: Node, editor: Editor) -> str | None:
    neutral, commutes = _NEUTRAL[node.op]
    if node.op == "add" and node["activation"] is not None:
        return None
    x, y = node.inputs
    for value, other in ((x, y), (y, x)) if commutes else ((x, y),):
        constant = editor.constant(other)
        if constant is None or constant.size != 1 or constant.reshape(-1)[0] != neutral:
            continue
        # With axes of size 1 alone, no more of them, it does not broadcast the value to anything larger.
        rank = editor.shapes.rank(value)
        if rank is not None and constant.ndim <= rank and constant.dtype.name == editor.shapes.dtype(value):
            return value
    return None


def _merge_transposes(node: Node, editor: Editor) -> None:
    before = editor.maker(node.inputs[0])
    if before is None or before.op != "transpose":
        return
    first = before["permutation"]
    merged = [first[axis] for axis in node["permutation"]]
    editor.replace(node, Node("transpose", before.inputs, node.outputs, {"permutation": merged}, node.name))


def _merge_reshapes(node: Node, editor: Editor) -> None:
    """Of two changes of the shape the last one decides, unless it copies sizes (0) of what lies between."""
    before, shape = editor.maker(node.inputs[0]), editor.constant(node.inputs[1])
    if before is None or before.op not in ("reshape", "flatten", "squeeze", "unsqueeze") or shape is None:
        return
    sizes = [int(size) for size in shape]
    between = editor.shapes.shape(node.inputs[0])
    if not node["keep_zero"]:
        for axis, size in enumerate(sizes):
            if size == 0:
                copied = None if between is None or axis >= len(between) else between[axis]
                if not isinstance(copied, int) or copied == 0:
                    return
                sizes[axis] = copied
    target = node.inputs[1]
    if sizes != shape.tolist():
        target = editor.new_constant(f"{node.inputs[1]}_sizes", np.array(sizes, np.int64))
    editor.replace(node, Node("reshape", (before.inputs[0], target), node.outputs, node.attributes, node.name))


def _as_addition(node: Node, editor: Editor) -> None:
    """x - c is x + -c, which batch-norm folding and fusion know."""
    constant = _floats(node.inputs[1], editor)
    if constant is not None:
        negative = editor.new_constant(f"{node.inputs[1]}_negative", np.asarray(-constant))
        editor.replace(node, Node("add", (node.inputs[0], negative), node.outputs, {}, node.name))


def _as_multiplication(node: Node, editor: Editor) -> None:
    """x / c is x * (1 / c) to the bit where c is a power of two, and 1 / c has all its digits."""
    constant = _floats(node.inputs[1], editor)
    if constant is None or not (abs(np.frexp(constant)[0]) == 0.5).all():
        return
    exponents, limits = np.frexp(constant)[1], np.finfo(constant.dtype)
    if ((exponents < limits.minexp) | (exponents >= limits.maxexp)).any():
        return
    inverse = editor.new_constant(f"{node.inputs[1]}_inverse", np.asarray(1 / constant, constant.dtype))
    editor.replace(node, Node("mul", (node.inputs[0], inverse), node.outputs, {}, node.name))


def _floats(name: str | None, editor: Editor) -> Array | None:
    """A constant of floating-point numbers."""
    constant = editor.constant(name)
    return constant if constant is not None and constant.dtype.kind == "f" and constant.size else None


_MERGES: dict[str, Callable[[Node, Editor], None]] = {
    "transpose": _merge_transposes,
    "reshape": _merge_reshapes,
    "sub": _as_addition,
    "div": _as_multiplication,
}
