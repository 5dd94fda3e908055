"""Sizes that are open: torch's expressions of them as numbers of the plan, int64 vectors of one element.

An expression is read from the first value with an axis of that size, else it is computed from others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from neocog.engine.importers.aten_registry import Size, Unsupported

if TYPE_CHECKING:
    from neocog.engine.importers.aten_importer import Importer

# torch's functions of sizes by the name of their class, for those that are one operator of the graph.
_FOLDED = {"Add": "add", "Mul": "mul", "Max": "maximum", "Min": "minimum"}
_FOLDED |= {"PowByNatural": "pow", "Pow": "pow", "PythonMod": "mod", "Mod": "mod"}
# Of numbers and of truth values: the operator, and whether its result is negated.
_COMPARED = {"Equality": ("equal", False), "Unequality": ("equal", True), "And": ("logical_and", False)}
_COMPARED |= {"StrictLessThan": ("less", False), "GreaterThan": ("less", True), "Or": ("logical_or", False)}
_COMPARED |= {"StrictGreaterThan": ("greater", False), "LessThan": ("greater", True)}
_ROUNDED = {"CeilToInt": "ceil", "FloorToInt": "floor", "RoundToInt": "round", "TruncToInt": None}


class Sizes:
    """Numbers for the sizes of one graph."""

    def __init__(self, importer: Importer) -> None:
        self._importer = importer
        self._places: dict[Any, tuple[str, int]] = {}  # expression -> the first value with an axis of that size
        self._numbers: dict[Any, str] = {}

    def learn(self, name: str, shape: Sequence[Size]) -> None:
        """A value and its shape, from which sizes can be read."""
        for axis, size in enumerate(shape):
            if not isinstance(size, int):
                self._places.setdefault(size.node.expr, (name, axis))

    def learn_number(self, symbol: Any, name: str) -> None:
        """A size that is an input itself: a vector of one."""
        self._numbers.setdefault(symbol, name)

    def solve(self) -> None:
        """Make symbols known that the inputs have only within expressions: s for an axis of 2 s + 1."""
        for expression, (name, axis) in list(self._places.items()):
            symbols = list(expression.free_symbols)
            if expression.is_Symbol or len(symbols) != 1 or self.knows(symbols[0]):
                continue
            factor = expression.coeff(symbols[0])
            rest = expression - factor * symbols[0]
            if factor.is_Integer and rest.is_Integer and factor > 0:
                size = self._at(name, axis)
                shifted = self._apply("sub", size, self._integer(int(rest))) if rest else size
                self._numbers[symbols[0]] = self._apply("div", shifted, self._integer(int(factor)))

    def knows(self, expression: Any) -> bool:
        """Whether it can be read, or computed from what can be."""
        found = expression in self._places or expression in self._numbers
        return found or (not expression.is_Symbol and all(map(self.knows, expression.free_symbols)))

    def number(self, size: Any) -> str:
        """The name of a number (an int, torch.SymInt or torch.SymFloat): a vector of one."""
        if isinstance(size, int):
            return self._integer(size)
        return self._expression(size.node.expr)

    def factor_if(self, conditions: Sequence[Any]) -> str:
        """A number that is 1 where all of torch's conditions on sizes hold, and 2 elsewhere."""
        held = reduce(lambda a, b: self._apply("logical_and", a, b), map(self._expression, conditions))
        return self._apply("sub", self._integer(2), self._apply("cast", held, dtype="int64"))

    def vector(self, sizes: Sequence[Size]) -> str:
        """The name of a vector of sizes: a constant if it can be, else neighbours are read and joined together."""
        pieces: list[list[int] | tuple[str, int, int] | str] = []
        for size in sizes:
            last = pieces[-1] if pieces else None
            if isinstance(size, int):
                if isinstance(last, list):
                    last.append(size)
                else:
                    pieces.append([size])
                continue
            name, axis = self._places.get(size.node.expr, ("", -1))
            if not name:
                pieces.append(self.number(size))
            elif isinstance(last, tuple) and last[0] == name and last[2] == axis:
                pieces[-1] = (name, last[1], axis + 1)
            else:
                pieces.append((name, axis, axis + 1))
        names = [self._piece(piece) for piece in pieces or [[]]]
        if len(names) == 1:
            return names[0]
        return self._importer.number("concat", *names, like="sizes", axis=0)

    def _piece(self, piece: Any) -> str:
        if isinstance(piece, list):
            return self._importer.integers(piece)
        return piece if isinstance(piece, str) else self._at(*piece)

    def _at(self, name: str, start: int, end: int | None = None) -> str:
        end = start + 1 if end is None else end
        key = (name, start, end)
        if key not in self._numbers:
            self._numbers[key] = self._importer.number("shape", name, like=f"{name}.shape", start=start, end=end)
        return self._numbers[key]

    def _integer(self, value: int) -> str:
        return self._importer.integers([value])

    def _apply(self, op: str, *names: str, **attributes: Any) -> str:
        return self._importer.number(op, *names, like="size", **attributes)

    def _expression(self, expression: Any) -> str:
        if expression in self._numbers:
            return self._numbers[expression]
        if expression in self._places:
            return self._at(*self._places[expression])
        name = self._computed(expression)
        self._numbers[expression] = name
        return name

    def _computed(self, expression: Any) -> str:
        kind, arguments = type(expression).__name__, expression.args
        if expression.is_Integer:
            return self._integer(int(expression))
        if expression.is_Number:
            return self._importer.constant(np.array([float(expression)]), "number")
        if expression.is_Symbol:
            raise Unsupported(f"the size {expression} depends on data")
        if kind in _COMPARED:
            op, negated = _COMPARED[kind]
            compared = reduce(lambda one, other: self._apply(op, one, other), map(self._expression, arguments))
            return self._apply("logical_not", compared) if negated else compared
        if kind == "Not":
            return self._apply("logical_not", self._expression(arguments[0]))
        if kind in ("FloorDiv", "CleanDiv"):
            return self._floor_divided(expression)
        if kind in ("IntTrueDiv", "FloatTrueDiv"):
            return self._apply("div", *(self._float(a) for a in arguments))
        if kind == "ToFloat":
            return self._float(arguments[0])
        if kind == "ModularIndexing":
            x, divisor, modulus = map(self._expression, arguments)
            return self._apply("mod", self._apply("div", x, divisor), modulus)
        if kind in _ROUNDED:
            name, rounding = self._float(arguments[0]), _ROUNDED[kind]
            return self._apply("cast", name if rounding is None else self._apply(rounding, name), dtype="int64")
        if kind in _FOLDED:
            floats = not expression.is_integer
            names = [self._float(a) if floats else self._expression(a) for a in arguments]
            return reduce(lambda one, other: self._apply(_FOLDED[kind], one, other), names)
        raise Unsupported(f"the size {expression}")

    def _float(self, expression: Any) -> str:
        name = self._expression(expression)
        return self._apply("cast", name, dtype="float64") if expression.is_integer else name

    def _floor_divided(self, expression: Any) -> str:
        # A graph's division truncates; Python's, which this is, rounds down.
        x, divisor = map(self._expression, expression.args)
        if not expression.args[0].is_nonnegative:
            x = self._apply("sub", x, self._apply("mod", x, divisor))
        return self._apply("div", x, divisor)
