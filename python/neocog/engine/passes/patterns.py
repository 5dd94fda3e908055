"""Recognise activations that exporters write out in arithmetic: relu, relu6, silu, hardswish, gelu, mish.

The results are those of the arithmetic up to its own rounding: an activation computes the same function with no more
error. Constants such as 1/sqrt(2) are recognised within float32's rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from neocog.engine.graph import Graph, Node
from neocog.engine.passes.editing import Editor, looks_for

_TOLERANCE = 1e-6  # relative: some roundings of float32
_MOST_FACTORS = 8


@looks_for("relu", "relu6", "clip", "maximum", "minimum", "mul", "div", "celu", "prelu")
def patterns(graph: Graph) -> Graph:
    """Put activations in the place of the arithmetic that computes them; the graph given stays as it is.

    Returns:
        A new graph, or the very same one if there is nothing to recognise.
    """
    editor = Editor(graph)
    for node in editor:
        found = _clamped(node, editor) or _product_pattern(node, editor) or _special_case(node, editor)
        if found is not None:
            op, x, attributes = found
            editor.replace(node, Node(op, (x,), node.outputs, attributes, node.name))
    return editor.graph()


Found = tuple[str, str, dict[str, Any]]  # the operator, its input, its attributes


def scalar(name: str | None, like: str | None, editor: Editor) -> float | None:
    """The value of a floating-point constant of one element that does not broadcast `like` to more axes."""
    constant, rank = editor.constant(name), editor.shapes.rank(like)
    if constant is None or constant.size != 1 or constant.dtype.kind != "f":
        return None
    return float(constant.reshape(-1)[0]) if constant.ndim <= (rank or 0) else None


def _near(value: float, expected: float) -> bool:
    return abs(value - expected) <= _TOLERANCE * abs(expected)


# Clamps


def _bounds(node: Node | None, editor: Editor) -> tuple[float, float, str] | None:
    """Lower and upper bound of a clamp, and what is clamped."""
    if node is None or node.inputs[0] is None:
        return None
    x = node.inputs[0]
    if node.op in ("relu", "relu6"):
        return 0.0, 6.0 if node.op == "relu6" else math.inf, x
    if node.op == "clip":
        low, high = node["min"], node["max"]
        return -math.inf if low is None else float(low), math.inf if high is None else float(high), x
    if node.op in ("maximum", "minimum"):
        for value, other in (node.inputs, node.inputs[::-1]):
            bound = scalar(other, value, editor)
            if bound is not None and value is not None:
                return (bound, math.inf, value) if node.op == "maximum" else (-math.inf, bound, value)
    return None


def _clamped(node: Node, editor: Editor) -> Found | None:
    """Clamps of floats: relu and relu6 by their names, and one in place of two."""
    own = _bounds(node, editor)
    if own is None:
        return None
    low, high, x = own
    inner = _bounds(editor.maker(x), editor) if editor.only_user(x) is node else None
    if inner is not None and max(low, inner[0]) <= min(high, inner[1]) and low <= high and inner[0] <= inner[1]:
        low, high, x = max(low, inner[0]), min(high, inner[1]), inner[2]
    else:
        inner = None
    if (inner is None and node.op in ("relu", "relu6")) or not editor.shapes.floats(x):
        return None
    if low == 0 and high in (6.0, math.inf):
        return "relu" if high == math.inf else "relu6", x, {}
    if inner is None:
        return None
    limits = {"min": None if low == -math.inf else low, "max": None if high == math.inf else high}
    return "clip", x, limits


# Products


def _product(name: str, editor: Editor) -> tuple[float, list[str]]:
    """A value as a coefficient times factors; factors that something else needs too are not taken apart."""
    coefficient = 1.0
    factors: list[str] = []
    open_values = [name]
    while open_values:
        value = open_values.pop()
        parts = _parts(value, editor) if value == name or editor.only_user(value) else None
        if parts is None or len(factors) + len(open_values) + len(parts[1]) > _MOST_FACTORS:
            factors.append(value)
        else:
            coefficient *= parts[0]
            open_values.extend(parts[1])
    return coefficient, factors


def _parts(value: str, editor: Editor) -> tuple[float, Sequence[str]] | None:
    """One step of `_product`: the coefficient and the factors that the maker of a value multiplies."""
    node = editor.maker(value)
    if node is None or node.op not in ("mul", "div", "square", "pow") or not editor.shapes.floats(value):
        return None
    inputs = list(node.used())
    if node.op == "square":
        return 1.0, inputs * 2
    x, y = inputs
    if node.op == "mul":
        for one, other in ((x, y), (y, x)):
            factor = scalar(other, one, editor)
            if factor is not None:
                return factor, [one]
        return 1.0, inputs
    number = scalar(y, x, editor)
    if node.op == "div":
        return (1 / number, [x]) if number else None
    return (1.0, [x] * int(number)) if number in (2.0, 3.0) else None


def _sum(name: str, editor: Editor) -> tuple[str, float] | None:
    """A value as another one plus a number."""
    node = editor.maker(name)
    if node is None or node.op != "add" or node["activation"] is not None:
        return None
    for value, other in (node.inputs, node.inputs[::-1]):
        number = scalar(other, value, editor)
        if number is not None and value is not None:
            return value, number
    return None


def _product_pattern(node: Node, editor: Editor) -> Found | None:
    name = node.outputs[0]
    if node.op not in ("mul", "div") or name is None:
        return None
    coefficient, factors = _product(name, editor)
    if len(factors) == 1 and _near(coefficient, 1 / 6):  # relu6(x + 3) / 6
        x = _plus_three(factors[0], editor)
        return None if x is None else ("hardsigmoid", x, {"alpha": 1 / 6, "beta": 0.5})
    if len(factors) != 2:
        return None
    for x, gate in (factors, factors[::-1]):
        op = _gated(coefficient, x, gate, editor)
        if op is not None:
            return op, x, {}
    return None


def _gated(coefficient: float, x: str, gate: str, editor: Editor) -> str | None:
    """The activation that is coefficient * x * gate, where gate is computed from x."""
    node = editor.maker(gate)
    if node is None:
        return None
    if coefficient == 1:
        if node.op == "sigmoid" and node.inputs == (x,):
            return "silu"
        if node.op == "hardsigmoid" and node.inputs == (x,):
            return "hardswish" if _near(node["alpha"], 1 / 6) and _near(node["beta"], 0.5) else None
        inner = editor.maker(node.inputs[0])
        if node.op == "tanh" and inner is not None and inner.op == "softplus" and inner.inputs == (x,):
            return "mish"
    if _near(coefficient, 1 / 6) and _plus_three(gate, editor) == x:
        return "hardswish"
    if _near(coefficient, 0.5):
        plus = _sum(gate, editor)
        inner = editor.maker(plus[0]) if plus is not None and plus[1] == 1 else None
        if inner is not None and inner.op in ("erf", "tanh") and inner.inputs[0] is not None:
            argument = _product(inner.inputs[0], editor)
            if inner.op == "erf":
                return "gelu" if argument[1] == [x] and _near(argument[0], math.sqrt(0.5)) else None
            return "gelu_tanh" if _is_cubic(*argument, x, editor) else None
    return None


def _plus_three(name: str, editor: Editor) -> str | None:
    """x, if a value is relu6(x + 3)."""
    bounds = _bounds(editor.maker(name), editor)
    if bounds is None or bounds[:2] != (0.0, 6.0):
        return None
    plus = _sum(bounds[2], editor)
    return plus[0] if plus is not None and plus[1] == 3 else None


def _is_cubic(coefficient: float, factors: list[str], x: str, editor: Editor) -> bool:
    """Whether this product is sqrt(2 / pi) * (x + 0.044715 x^3), also with x taken out of the bracket."""
    if not _near(coefficient, math.sqrt(2 / math.pi)):
        return False
    if len(factors) == 2 and x in factors:  # x * (1 + 0.044715 x^2)
        plus = _sum(factors[1 - factors.index(x)], editor)
        return plus is not None and plus[1] == 1 and _is_power(plus[0], x, 2, editor)
    node = editor.maker(factors[0]) if len(factors) == 1 else None
    if node is None or node.op != "add" or node["activation"] is not None or x not in node.inputs:
        return False
    other = node.inputs[1 - node.inputs.index(x)]
    return other is not None and _is_power(other, x, 3, editor)


def _is_power(name: str, x: str, power: int, editor: Editor) -> bool:
    coefficient, factors = _product(name, editor)
    return factors == [x] * power and _near(coefficient, 0.044715)


# Single nodes that are special cases of others


def _special_case(node: Node, editor: Editor) -> Found | None:
    x = node.inputs[0]
    if x is None:
        return None
    if node.op == "celu" and node["alpha"] == 1:
        return "elu", x, {"alpha": 1.0}
    if node.op == "prelu":
        slope = editor.constant(node.inputs[1])  # broadcasts to x by contract
        if slope is not None and slope.size and (slope == slope.reshape(-1)[0]).all():
            return "leaky_relu", x, {"alpha": float(slope.reshape(-1)[0])}
    return None
