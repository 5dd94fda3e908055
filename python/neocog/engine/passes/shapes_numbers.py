"""Whole numbers that a graph computes from sizes: `y.shape[2] * 2` is an expression too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from neocog.engine.graph import Node
from neocog.engine.passes import dimensions as dim
from neocog.engine.passes.dimensions import Dim

if TYPE_CHECKING:
    from neocog.engine.passes.shapes import Numbers, NumbersRule, Shapes


def _same(node: Node, shapes: Shapes) -> Numbers | None:
    return shapes.numbers(node.inputs[0])


def _cast(node: Node, shapes: Shapes) -> Numbers | None:
    x = shapes.numbers(node.inputs[0])
    if x is None or node["dtype"] == "bool":
        return None
    least, most = (-(2**31), 2**31 - 1) if node["dtype"] == "int32" else (-(2**63), 2**63 - 1)
    return x if all(least <= value <= most for value in x if isinstance(value, int)) else None


def _shape(node: Node, shapes: Shapes) -> Numbers | None:
    x = shapes.shape(node.inputs[0])
    return None if x is None else x[node["start"] : node["end"]]


def _size(node: Node, shapes: Shapes) -> Numbers | None:
    x = shapes.shape(node.inputs[0])
    return None if x is None else (dim.product(x),)


def _gather(node: Node, shapes: Shapes) -> Numbers | None:
    x, indices = shapes.numbers(node.inputs[0]), shapes.numbers(node.inputs[1])
    if x is None or indices is None or shapes.rank(node.inputs[0]) != 1:
        return None
    places = [place for place in indices if isinstance(place, int) and -len(x) <= place < len(x)]
    return tuple(x[place] for place in places) if len(places) == len(indices) else None


def _slice(node: Node, shapes: Shapes) -> Numbers | None:
    x, *limits = (shapes.numbers(name) for name in (*node.inputs, None, None)[:5])
    bounds: list[int | None] = []
    for name, limit, default in zip((*node.inputs[1:], None, None), limits, (None, None, 0, 1), strict=False):
        if name is None and default is not None:
            bounds.append(default)
        elif limit is not None and len(limit) == 1 and isinstance(limit[0], int):
            bounds.append(limit[0])
        else:
            return None
    start, end, axis, step = bounds
    return x[start:end:step] if x is not None and axis in (0, -1) and step else None


def _concat(node: Node, shapes: Shapes) -> Numbers | None:
    joined: list[Dim] = []
    for name in node.inputs:
        part = shapes.numbers(name)
        if part is None or shapes.rank(name) != 1:
            return None
        joined.extend(part)
    return tuple(joined)


def _arithmetic(node: Node, shapes: Shapes) -> Numbers | None:
    a, b = shapes.numbers(node.inputs[0]), shapes.numbers(node.inputs[1])
    if a is None or b is None or not a or not b or (len(a) != len(b) and 1 not in (len(a), len(b))):
        return None
    if node.op == "add" and node["activation"] is not None:
        return None
    length = max(len(a), len(b))
    a, b = a * (length // len(a)), b * (length // len(b))
    return tuple(_combine(node.op, x, y) for x, y in zip(a, b, strict=True))


def _combine(op: str, a: Dim, b: Dim) -> Dim:
    if op == "add":
        return dim.add(a, b)
    if op == "sub":
        return dim.add(a, dim.multiply(b, -1))
    if op in ("maximum", "minimum"):
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b) if op == "maximum" else min(a, b)
        return dim.formula(op, *sorted((f"({a})", f"({b})")))
    return dim.multiply(a, b)


_TRUTHS: dict[str, Callable[[int, int], bool]] = {
    "equal": lambda a, b: a == b,
    "less": lambda a, b: a < b,
    "greater": lambda a, b: a > b,
    "logical_and": lambda a, b: bool(a and b),
    "logical_or": lambda a, b: bool(a or b),
}


def _truth(node: Node, shapes: Shapes) -> Numbers | None:
    """0 or 1, where both sides are known."""
    a, b = shapes.numbers(node.inputs[0]), shapes.numbers(node.inputs[1])
    if a is None or b is None or len(a) != 1 or len(b) != 1:
        return None
    (x,), (y,) = a, b
    return (int(_TRUTHS[node.op](x, y)),) if isinstance(x, int) and isinstance(y, int) else None


def _div(node: Node, shapes: Shapes) -> Numbers | None:
    """Of integers, which truncates: the same as rounding down only where nothing is negative."""
    given = _by_one(node, shapes)
    if given is None:
        return None
    numbers, by = given
    return tuple(
        (abs(x) // by) * (1 if x >= 0 else -1) if isinstance(x, int) else dim.formula("truncated", f"({x}) / {by}")
        for x in numbers
    )


def _mod(node: Node, shapes: Shapes) -> Numbers | None:
    given = _by_one(node, shapes)
    if given is None:
        return None
    numbers, by = given
    return tuple(dim.add(x, dim.multiply(dim.floor_divide(x, by), -by)) for x in numbers)


def _by_one(node: Node, shapes: Shapes) -> tuple[Numbers, int] | None:
    """Integers, and the one positive number that divides them."""
    a, b = shapes.numbers(node.inputs[0]), shapes.numbers(node.inputs[1])
    integers = all(shapes.dtype(name) in ("int32", "int64") for name in node.inputs)
    if a is None or b is None or not integers or len(b) != 1 or not isinstance(b[0], int) or b[0] <= 0:
        return None
    return a, b[0]


NUMBERS: dict[str, NumbersRule] = {
    **dict.fromkeys(("identity", "squeeze", "unsqueeze", "floor", "ceil", "round", "reshape", "flatten"), _same),
    "cast": _cast,
    "shape": _shape,
    "size": _size,
    "gather": _gather,
    "slice": _slice,
    "concat": _concat,
    **dict.fromkeys(("add", "sub", "mul", "maximum", "minimum"), _arithmetic),
    "div": _div,
    "mod": _mod,
    **dict.fromkeys(_TRUTHS, _truth),
}
