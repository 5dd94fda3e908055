"""The arithmetic of `evaluate`: operators element by element, reductions and products, on NumPy arrays.

Results have the dtype of the operands; float32 is computed in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from neocog.engine.graph import Array, GraphError, Node
from neocog.engine.sizes import normalise_axes

Function = Callable[..., Any]

FUNCTIONS: dict[str, Function] = {}


def evaluates(*ops: str) -> Callable[[Function], Function]:
    """Makes a function of the node and its inputs' values evaluate these operators."""

    def register(function: Function) -> Function:
        FUNCTIONS.update(dict.fromkeys(ops, function))
        return function

    return register


def common_dtype(*arrays: Array) -> np.dtype[Any]:
    """The dtype of a result of these: NumPy's, but integers take the dtype of floats that they meet, as in PyTorch."""
    dtype = arrays[0].dtype
    for array in arrays[1:]:
        if array.dtype != dtype:
            if (array.dtype.kind == "f") != (dtype.kind == "f"):
                dtype = array.dtype if array.dtype.kind == "f" else dtype
            else:
                dtype = np.promote_types(dtype, array.dtype)
    return dtype


def _wide(x: Array) -> Array:
    return x.astype(np.float64)


def _erf(x: Array) -> Array:
    y: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return y


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # never overflows
    y: Array = np.where(x >= 0, 1.0, small) / (1 + small)
    return y


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, 0.0)


def _gelu_tanh(node: Node, x: Array) -> Array:
    y: Array = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return y


def _bound(limit: float, x: Array, rounding: Callable[[float], int]) -> Any:
    """A bound of integers as one of them, so that large ones stay exact."""
    if x.dtype.kind == "f" or not math.isfinite(limit):
        return limit
    kinds = np.iinfo(x.dtype)
    return min(max(rounding(limit), kinds.min), kinds.max)


def _clip(node: Node, x: Array) -> Array:
    low, high = node["min"], node["max"]
    if low is not None and low != -math.inf:
        x = np.maximum(x, _bound(low, x, math.ceil))
    if high is not None and high != math.inf:
        x = np.minimum(x, _bound(high, x, math.floor))
    return x


def _shrink(node: Node, x: Array) -> Array:
    lambd, bias = node["lambd"], node["bias"]
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, np.where(np.isnan(x), x, 0.0)))


# On integers these give integers.
_OF_ANY_NUMBERS: dict[str, Callable[[Node, Array], Any]] = {
    "relu": lambda node, x: np.maximum(x, 0),
    "relu6": lambda node, x: np.minimum(np.maximum(x, 0), 6),
    "clip": _clip,
    "threshold": lambda node, x: np.where(x > node["threshold"], x, np.asarray(node["value"], x.dtype)),
    "abs": lambda node, x: np.abs(x),
    "neg": lambda node, x: np.negative(x),
    "sign": lambda node, x: np.sign(x),
    "square": lambda node, x: np.square(x),
    "floor": lambda node, x: np.floor(x) if x.dtype.kind == "f" else x,
    "ceil": lambda node, x: np.ceil(x) if x.dtype.kind == "f" else x,
    "round": lambda node, x: np.rint(x) if x.dtype.kind == "f" else x,
}
# These see float64 and give it.
_OF_FLOATS: dict[str, Callable[[Node, Array], Any]] = {
    "gelu": lambda node, x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "silu": lambda node, x: x * _sigmoid(x),
    "sigmoid": lambda node, x: _sigmoid(x),
    "tanh": lambda node, x: np.tanh(x),
    "hardswish": lambda node, x: x * np.clip(x + 3, 0, 6) / 6,
    "leaky_relu": lambda node, x: np.where(x > 0, x, node["alpha"] * x),
    "elu": lambda node, x: _elu(x, node["alpha"]),
    "celu": lambda node, x: np.where(x > 0, x, node["alpha"] * np.expm1(np.minimum(x, 0) / node["alpha"])),
    "selu": lambda node, x: node["gamma"] * _elu(x, node["alpha"]),
    "hardsigmoid": lambda node, x: np.clip(node["alpha"] * x + node["beta"], 0, 1),
    "shrink": _shrink,
    "softplus": lambda node, x: _softplus(x),
    "softsign": lambda node, x: x / (1 + np.abs(x)),
    "mish": lambda node, x: x * np.tanh(_softplus(x)),
    "sqrt": lambda node, x: np.sqrt(x),
    "rsqrt": lambda node, x: 1 / np.sqrt(x),
    "reciprocal": lambda node, x: 1 / x,
    "exp": lambda node, x: np.exp(x),
    "log": lambda node, x: np.log(x),
    "erf": lambda node, x: _erf(x),
    "sin": lambda node, x: np.sin(x),
    "cos": lambda node, x: np.cos(x),
    "tan": lambda node, x: np.tan(x),
    "asin": lambda node, x: np.arcsin(x),
    "acos": lambda node, x: np.arccos(x),
    "atan": lambda node, x: np.arctan(x),
    "sinh": lambda node, x: np.sinh(x),
    "cosh": lambda node, x: np.cosh(x),
    "asinh": lambda node, x: np.arcsinh(x),
    "acosh": lambda node, x: np.arccosh(x),
    "atanh": lambda node, x: np.arctanh(x),
}


@evaluates(*_OF_ANY_NUMBERS)
def _any_numbers(node: Node, x: Array) -> Array:
    return np.asarray(_OF_ANY_NUMBERS[node.op](node, x), x.dtype)


@evaluates(*_OF_FLOATS)
def _floats(node: Node, x: Array) -> Array:
    # Integers under a function of real numbers become float32, as in PyTorch.
    return np.asarray(_OF_FLOATS[node.op](node, _wide(x)), x.dtype if x.dtype.kind == "f" else np.float32)


def _activated(node: Node, y: Array) -> Array:
    name = node["activation"]
    return y if name is None else FUNCTIONS[name](Node(name, (), (), {"alpha": node["alpha"]}), y)


def _truncated_div(x: Array, y: Array) -> Any:
    return np.floor_divide(x - np.fmod(x, y), y)  # fmod has the sign of x, so that nothing is left to round


_BINARY: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "matmul": np.matmul,
}


@evaluates("div", *_BINARY)
def _binary(node: Node, x: Array, y: Array) -> Array:
    op, dtype = node.op, common_dtype(x, y)
    if x.dtype != y.dtype:
        x, y = x.astype(dtype), y.astype(dtype)
    if op in ("div", "mod") and dtype.kind != "f" and not y.all():
        raise GraphError("integers are divided by 0.")
    if op == "div":
        return np.asarray(np.divide(x, y) if dtype.kind == "f" else _truncated_div(x, y), dtype)
    if op in ("pow", "matmul") and dtype.kind == "f":
        x, y = _wide(x), _wide(y)
    result = np.asarray(_BINARY[op](x, y), dtype)
    return _activated(node, result) if op == "add" else result


@evaluates("linear")
def _linear(node: Node, x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.matmul(_wide(x), _wide(weight).T)
    return _activated(node, np.asarray(y if bias is None else y + bias, common_dtype(x, weight)))


@evaluates("prelu")
def _prelu(node: Node, x: Array, slope: Array) -> Array:
    negative = np.broadcast_to(slope, x.shape) * x  # the slope must not enlarge x
    return np.asarray(np.where(x > 0, x, negative), x.dtype)


@evaluates("softmax", "log_softmax")
def _softmax(node: Node, x: Array) -> Array:
    (axis,) = normalise_axes([node["axis"]], x.ndim)
    shifted = _wide(x)
    shifted -= shifted.max(axis, keepdims=True)
    exponential = np.exp(shifted)
    total = exponential.sum(axis, keepdims=True)
    y: Array = exponential / total if node.op == "softmax" else shifted - np.log(total)
    return y.astype(x.dtype)


def _log_sum_exp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    largest = x.max(axes, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    total: Array = np.log(np.exp(x - largest).sum(axes, keepdims=True)) + largest
    return total if keepdims else total.squeeze(axes)


_REDUCTIONS: dict[str, Callable[[Array, tuple[int, ...], bool], Any]] = {
    "mean": lambda x, axes, keep: np.mean(x, axes, keepdims=keep),
    "sum": lambda x, axes, keep: np.sum(x, axes, keepdims=keep),
    "max": lambda x, axes, keep: np.max(x, axes, keepdims=keep),
    "min": lambda x, axes, keep: np.min(x, axes, keepdims=keep),
    "prod": lambda x, axes, keep: np.prod(x, axes, keepdims=keep),
    "sum_square": lambda x, axes, keep: np.sum(x * x, axes, keepdims=keep),
    "norm1": lambda x, axes, keep: np.sum(np.abs(x), axes, keepdims=keep),
    "norm2": lambda x, axes, keep: np.sqrt(np.sum(x * x, axes, keepdims=keep)),
    "log_sum": lambda x, axes, keep: np.log(np.sum(x, axes, keepdims=keep)),
    "log_sum_exp": _log_sum_exp,
}


@evaluates(*_REDUCTIONS)
def _reduce(node: Node, x: Array) -> Array:
    axes, extreme = normalise_axes(node["axes"], x.ndim), node.op in ("max", "min")
    if x.dtype.kind == "b" and not extreme:
        x = x.astype(np.int64)
    operand = _wide(x) if x.dtype.kind == "f" and not extreme else x
    # The integers' means and norms truncate, as their division does.
    return np.asarray(_REDUCTIONS[node.op](operand, axes, node["keepdims"])).astype(x.dtype)
