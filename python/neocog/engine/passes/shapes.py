"""What is known of the values of a graph before it runs: shapes with open sizes, dtypes, and integers made of sizes.

Sizes are expressions (`dimensions.py`): two values whose shapes compare equal have equal shapes for all images. What
is not known is an unknown of its own, equal to itself alone, or None where not even the number of axes is known.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any

import numpy as np

from neocog.engine.graph import Array, Graph, Node
from neocog.engine.operators import BINARY, UNARY
from neocog.engine.passes import dimensions as dim
from neocog.engine.passes import shapes_arrays, shapes_windows
from neocog.engine.passes.dimensions import Dim
from neocog.engine.passes.shapes_numbers import NUMBERS

Shape = tuple[Dim, ...]
Numbers = tuple[Dim, ...]
Rule = Callable[[Node, "Shapes"], "Shape | None"]
NumbersRule = Callable[[Node, "Shapes"], "Numbers | None"]

_RULES = {**shapes_arrays.RULES, **shapes_windows.RULES}
_COMPARISONS = ("equal", "less", "greater", "logical_and", "logical_or", "logical_not")
# Integers stay integers under these; what others make of integers is theirs.
_INTEGER_OPS = ("abs", "neg", "sign", "square", "relu", "relu6", "clip", "threshold", "floor", "ceil", "round")
_MOST_NUMBERS = 64  # integers of longer arrays are indices or data, not sizes


class Shapes:
    """Shape, dtype and numbers of each value, as far as they are known.

    Args:
        graph: A valid graph; later changes of it are not seen.
        before: Of a graph in which values have the same names, but for those in `new`: what is wholly known is kept.
    """

    def __init__(self, graph: Graph, before: Shapes | None = None, new: AbstractSet[str] = frozenset()) -> None:
        self._constants = graph.constants
        self._shapes: dict[str, Shape | None] = {}
        self._dtypes: dict[str, str | None] = {}
        self._numbers: dict[str, Numbers] = {}
        for given in graph.inputs:
            self._shapes[given.name] = tuple(size if isinstance(size, int) else dim.named(size) for size in given.shape)
            self._dtypes[given.name] = given.dtype
        for name, value in graph.constants.items():
            if before is not None and name not in new and self._keep(before, name):
                continue
            self._shapes[name] = value.shape
            self._dtypes[name] = _dtype_name(value.dtype)
            numbers = whole_numbers(value)
            if numbers is not None:
                self._numbers[name] = numbers
        for node in graph.nodes:
            if before is None or not all(name not in new and self._keep(before, name) for name in node.made()):
                self._infer(node)

    def _keep(self, before: Shapes, name: str) -> bool:
        """Whether all of a value was known before, numbers of which the constants of today could not tell more."""
        shape, dtype, numbers = before._shapes.get(name), before._dtypes.get(name), before._numbers.get(name)
        if shape is None or dtype is None or not all(isinstance(size, int) for size in shape):
            return False
        if numbers is not None:
            if not all(isinstance(number, int) for number in numbers):
                return False
            self._numbers[name] = numbers
        elif len(shape) < 2 and name not in before._constants:
            return False
        self._shapes[name], self._dtypes[name] = shape, dtype
        return True

    def shape(self, name: str | None) -> Shape | None:
        """One size per axis; None if not even the number of axes is known."""
        return None if name is None else self._shapes.get(name)

    def rank(self, name: str | None) -> int | None:
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def dtype(self, name: str | None) -> str | None:
        return None if name is None else self._dtypes.get(name)

    def floats(self, name: str | None) -> bool:
        """Whether a value is known to be of floating-point numbers."""
        return self.dtype(name) in ("float32", "float64")

    def numbers(self, name: str | None) -> Numbers | None:
        """The elements of an array of at most one axis that holds whole numbers, where each has an expression."""
        return None if name is None else self._numbers.get(name)

    def scales(self, name: str | None) -> tuple[float, ...] | None:
        """The elements of a constant."""
        value = None if name is None else self._constants.get(name)
        return None if value is None else tuple(float(element) for element in value.reshape(-1))

    def unknown(self, node: Node, rank: int) -> Shape:
        """One unknown per axis of a result."""
        return tuple(self.unknown_size(node, axis) for axis in range(rank))

    def unknown_size(self, node: Node, axis: int) -> Dim:
        return dim.formula("size", repr(next(node.made(), "")), axis)

    def _infer(self, node: Node) -> None:
        rule = _RULES.get(node.op)
        shape = rule(node, self) if rule is not None else None
        for place, name in enumerate(node.outputs):
            if name is None:
                continue
            self._shapes[name] = shape  # both results of a max_pool have the same shape
            self._dtypes[name] = "int64" if place else self._result_dtype(node)
        name, numbers = node.outputs[0], NUMBERS.get(node.op)
        if name is not None and numbers is not None and shape is not None and len(shape) < 2:
            found = numbers(node, self)
            if found is not None and len(found) <= _MOST_NUMBERS:
                self._numbers[name] = found

    def _result_dtype(self, node: Node) -> str | None:
        if node.op in ("cast", "full"):
            return str(node["dtype"])
        if node.op in ("shape", "size", "nonzero"):
            return "int64"
        if node.op in _COMPARISONS:
            return "bool"
        if node.op == "where":
            return self._common(node.inputs[1:])
        if node.op in (*BINARY, "concat", "matmul"):
            return self._common(node.inputs)
        first = self.dtype(node.inputs[0])
        if node.op in UNARY and node.op not in _INTEGER_OPS and not self.floats(node.inputs[0]):
            return None
        return first

    def _common(self, names: tuple[str | None, ...]) -> str | None:
        """The dtype of a result of these; integers take the dtype of floats that they meet."""
        dtypes = {self.dtype(name) for name in names}
        if len(dtypes) > 1 and None not in dtypes:
            dtypes -= {"int32", "int64"}
        return dtypes.pop() if len(dtypes) == 1 else None


@cache
def _dtype_name(dtype: np.dtype[Any]) -> str:
    """NumPy makes the name anew each time."""
    return str(dtype.name)


def whole_numbers(value: Array) -> tuple[int, ...] | None:
    """The elements of a short array of whole numbers, be they integers or floats."""
    if value.ndim > 1 or value.size > _MOST_NUMBERS or value.dtype.kind not in "if":
        return None
    if value.dtype.kind == "f" and not (np.isfinite(value).all() and (value == np.round(value)).all()):
        return None
    return tuple(int(element) for element in value.reshape(-1))
