"""The float64 oracle of a graph: every operator, one after the other, as operators.py says it.

Floating-point values are float64 whatever they were, integers int64, truth values bool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import reference_elementwise as elementwise
import reference_graph_windows as windows
import reference_images as images
from neocog.engine.graph import Graph, Node
from reference_resize import resize
from reference_windows import Array

_INTERPRETERS: dict[str, Callable[..., Any]] = {"resize": resize}
_DTYPES: dict[str, type] = {"float32": np.float64, "float64": np.float64, "int32": np.int64, "int64": np.int64}


def run(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The results of a graph for these inputs, which are in the order of `graph.inputs`."""
    graph.validate()
    values = {i.name: _widened(x) for i, x in zip(graph.inputs, inputs, strict=True)}
    values |= {name: _widened(x) for name, x in graph.constants.items()}
    for node in graph.nodes:
        arguments = [None if name is None else values[name] for name in node.inputs]
        with np.errstate(all="ignore"):
            results = _INTERPRETERS[node.op](node, *arguments)
        results = results if isinstance(results, tuple) else (results,)
        for name, result in zip(node.outputs, results, strict=False):  # a node can want fewer
            if name is not None:
                values[name] = np.asarray(result)
    return [values[name] for name in graph.outputs]


def _widened(x: Any) -> Array:
    x = np.asarray(x)
    if x.dtype == bool:
        return x
    return x.astype(np.int64 if np.issubdtype(x.dtype, np.integer) else np.float64)


def interprets(*ops: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _INTERPRETERS.update(dict.fromkeys(ops, function))
        return function

    return register


def _sigmoid(x: Array) -> Array:
    return elementwise.sigmoid(x)


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, 0)


def _clip(node: Node, x: Array) -> Array:
    low, high = node["min"], node["max"]
    y = x if low is None else np.maximum(x, low)
    return (y if high is None else np.minimum(y, high)).astype(x.dtype)


def _shrink(node: Node, x: Array) -> Array:
    lambd, bias = node["lambd"], node["bias"]
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, np.where(np.isnan(x), x, 0.0)))


_UNARY: dict[str, Callable[[Node, Array], Array]] = {
    "relu": lambda node, x: np.where(x <= 0, 0, x).astype(x.dtype),
    "relu6": lambda node, x: np.clip(x, 0, 6),
    "gelu": lambda node, x: elementwise.gelu(x),
    "gelu_tanh": lambda node, x: elementwise.gelu(x, "tanh"),
    "silu": lambda node, x: x * _sigmoid(x),
    "sigmoid": lambda node, x: _sigmoid(x),
    "hardswish": lambda node, x: elementwise.hardswish(x),
    "leaky_relu": lambda node, x: np.where(x > 0, x, node["alpha"] * x),
    "elu": lambda node, x: _elu(x, node["alpha"]),
    "celu": lambda node, x: np.where(x > 0, x, node["alpha"] * np.expm1(np.minimum(x, 0) / node["alpha"])),
    "selu": lambda node, x: node["gamma"] * _elu(x, node["alpha"]),
    "hardsigmoid": lambda node, x: np.clip(node["alpha"] * x + node["beta"], 0, 1),
    "clip": _clip,
    "threshold": lambda node, x: np.where(x > node["threshold"], x, node["value"]).astype(x.dtype),
    "shrink": _shrink,
    "softplus": lambda node, x: _softplus(x),
    "softsign": lambda node, x: x / (1 + abs(x)),
    "mish": lambda node, x: x * np.tanh(_softplus(x)),
    "neg": lambda node, x: -x,
    "rsqrt": lambda node, x: 1 / np.sqrt(x),
    "reciprocal": lambda node, x: 1 / np.asarray(x, np.float64),
    "erf": lambda node, x: np.vectorize(math.erf, otypes=[np.float64])(x),
    "asin": lambda node, x: np.arcsin(x),
    "acos": lambda node, x: np.arccos(x),
    "atan": lambda node, x: np.arctan(x),
    "asinh": lambda node, x: np.arcsinh(x),
    "acosh": lambda node, x: np.arccosh(x),
    "atanh": lambda node, x: np.arctanh(x),
    "identity": lambda node, x: x,
    "logical_not": lambda node, x: np.logical_not(x),
}
for _name in ("floor", "ceil", "round"):
    _UNARY[_name] = lambda node, x: getattr(np, node.op)(x).astype(x.dtype)  # NumPy 1 makes floats of integers
for _name in ("abs", "sign", "square", "sqrt", "exp", "log"):
    _UNARY[_name] = lambda node, x: getattr(np, node.op)(x)
for _name in ("sin", "cos", "tan", "sinh", "cosh", "tanh"):
    _UNARY[_name] = lambda node, x: getattr(np, node.op)(x)
_INTERPRETERS.update(_UNARY)


def _activated(node: Node, y: Array, bias: Array | None = None, residual: Array | None = None) -> Array:
    """y + bias + residual, and what the node applies to that; the bias is per channel (axis 1)."""
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * (y.ndim - 2))
    if residual is not None:
        assert residual.shape == y.shape, f"a residual of shape {residual.shape} for a result of {y.shape}"
        y = y + residual
    if node["activation"] is None:
        return y
    return _UNARY[node["activation"]](Node(node["activation"], (), (), {"alpha": node["alpha"]}), y)


@interprets("conv")
def _conv(node: Node, x: Array, weight: Array, bias: Any = None, residual: Any = None) -> Array:
    return _activated(node, windows.conv(node, x, weight, node["groups"]), bias, residual)


@interprets("conv_transpose")
def _conv_transpose(node: Node, x: Array, weight: Array, bias: Any = None, residual: Any = None) -> Array:
    return _activated(node, windows.conv_transpose(node, x, weight), bias, residual)


@interprets("separable_conv")
def _separable_conv(
    node: Node, x: Array, depthwise: Array, pointwise: Array, bias: Any = None, residual: Any = None, *before: Array
) -> Array:
    if before:
        center, scale, shift = (values.reshape(-1, *[1] * (x.ndim - 2)) for values in before)
        fused = {"activation": node["before_activation"], "alpha": node["before_alpha"]}
        x = _activated(replace(node, attributes=fused), (x - center) * scale + shift)
    middle = windows.conv(node, x, depthwise, x.shape[1])
    y = np.moveaxis(np.tensordot(pointwise.reshape(pointwise.shape[:2]), middle, (1, 1)), 0, 1)
    return _activated(node, y, bias, residual)


_INTERPRETERS["max_pool"] = windows.max_pool
_INTERPRETERS["avg_pool"] = windows.avg_pool
_INTERPRETERS["adaptive_avg_pool"] = lambda node, x: windows.adaptive_pool(node, x, np.mean)
_INTERPRETERS["adaptive_max_pool"] = lambda node, x: windows.adaptive_pool(node, x, np.max)


@interprets("batch_norm")
def _batch_norm(node: Node, x: Array, *parameters: Array) -> Array:
    weight, bias, mean, var = (p.reshape(-1, *[1] * (x.ndim - 2)) for p in parameters)
    return _activated(node, (x - mean) / np.sqrt(var + node["eps"]) * weight + bias)


def _normalised(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


@interprets("group_norm", "instance_norm")
def _group_norm(node: Node, x: Array, weight: Any = None, bias: Any = None) -> Array:
    groups = x.shape[1] if node.op == "instance_norm" else node["groups"]
    y = _normalised(x.reshape(len(x), groups, -1), (2,), node["eps"]).reshape(x.shape)
    per_channel = (-1, *[1] * (x.ndim - 2))
    y = y if weight is None else y * weight.reshape(per_channel)
    return y if bias is None else y + bias.reshape(per_channel)


@interprets("layer_norm")
def _layer_norm(node: Node, x: Array, weight: Any = None, bias: Any = None) -> Array:
    y = _normalised(x, tuple(range(node["axis"] % x.ndim, x.ndim)), node["eps"])
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@interprets("lrn")
def _lrn(node: Node, x: Array) -> Array:
    before = (node["size"] - 1) // 2
    channels, total = x.shape[1], np.zeros(x.shape)
    for c in range(channels):
        total[:, c] = np.square(x[:, max(c - before, 0) : c - before + node["size"]]).sum(1)
    return x / (node["bias"] + node["alpha"] / node["size"] * total) ** node["beta"]


@interprets("linear")
def _linear(node: Node, x: Array, weight: Array, bias: Any = None) -> Array:
    y = x @ weight.T
    return _activated(node, y if bias is None else y + bias)


@interprets("softmax", "log_softmax")
def _softmax(node: Node, x: Array) -> Array:
    shifted = x - x.max(node["axis"], keepdims=True)
    total = np.exp(shifted).sum(node["axis"], keepdims=True)
    return np.exp(shifted) / total if node.op == "softmax" else shifted - np.log(total)


@interprets("div")
def _div(node: Node, x: Array, y: Array) -> Array:
    if x.dtype.kind == y.dtype.kind == "i":
        return np.sign(x) * np.sign(y) * (abs(x) // abs(y))
    return x / y


@interprets("add", "sub", "mul", "pow", "maximum", "minimum", "mod", "matmul")
def _binary(node: Node, x: Array, y: Array) -> Array:
    names = {"sub": "subtract", "mul": "multiply", "pow": "power"}
    result = getattr(np, names.get(node.op, node.op))(x, y)
    return _activated(node, result) if node.op == "add" else result


@interprets("prelu")
def _prelu(node: Node, x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, np.broadcast_to(slope, x.shape) * x)


def _log_sum_exp(x: Array, **over: Any) -> Array:
    largest = x.max(axis=over["axis"], keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.exp(x - largest).sum(axis=over["axis"], keepdims=True)) + largest
    return total if over["keepdims"] else total.squeeze(over["axis"])


_REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum_square": lambda x, **over: np.sum(x * x, **over),
    "norm1": lambda x, **over: np.sum(abs(x), **over),
    "norm2": lambda x, **over: np.sqrt(np.sum(x * x, **over)),
    "log_sum": lambda x, **over: np.log(np.sum(x, **over)),
    "log_sum_exp": _log_sum_exp,
}


@interprets("mean", "sum", "max", "min", "prod", *_REDUCTIONS)
def _reduce(node: Node, x: Array) -> Array:
    axes = tuple(range(x.ndim)) if node["axes"] is None else tuple(node["axes"])
    reduce = _REDUCTIONS.get(node.op) or getattr(np, node.op)
    y = reduce(x, axis=axes, keepdims=node["keepdims"])
    return np.trunc(y).astype(np.int64) if x.dtype == np.int64 else y  # a mean of integers truncates, as div does


@interprets("pad")
def _pad(node: Node, x: Array, pads: Array) -> Array:
    begin, end = pads.reshape(2, x.ndim).tolist()
    if node["mode"] == "reflect":
        within = all(max(lo, hi) < n or max(lo, hi) <= 0 for lo, hi, n in zip(begin, end, x.shape, strict=True))
        assert within, f"{pads} reflects more than there is of {x.shape}"
    torch_order = [width for pair in zip(begin[::-1], end[::-1], strict=True) for width in pair]
    return images.pad(x, torch_order, value=node["value"], mode=node["mode"]).astype(x.dtype)


@interprets("concat")
def _concat(node: Node, *arrays: Array) -> Array:
    return np.concatenate(arrays, node["axis"])


@interprets("slice")
def _slice(node: Node, x: Array, starts: Array, ends: Array, axes: Any = None, steps: Any = None) -> Array:
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    where = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        where[axis] = slice(int(start), int(end), int(step))
    return x[tuple(where)]


@interprets("reshape")
def _reshape(node: Node, x: Array, shape: Array) -> Array:
    sizes = [int(size) for size in shape]
    if not node["keep_zero"]:
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


@interprets("flatten")
def _flatten(node: Node, x: Array) -> Array:
    if x.ndim == 0:
        return x.reshape(1)
    start, end = node["start"] % x.ndim, node["end"] % x.ndim
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


@interprets("squeeze")
def _squeeze(node: Node, x: Array) -> Array:
    return x.squeeze() if node["axes"] is None else x.squeeze(tuple(node["axes"]))


@interprets("expand")
def _expand(node: Node, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(map(int, shape))))


_INTERPRETERS |= {
    "transpose": lambda node, x: x.transpose(node["permutation"]),
    "unsqueeze": lambda node, x: np.expand_dims(x, tuple(node["axes"])),
    "tile": lambda node, x, repeats: np.tile(x, repeats),
    "gather": lambda node, x, indices: np.take(x, indices, node["axis"]),
    "pixel_shuffle": lambda node, x: images.pixel_shuffle(x, node["factor"]),
    "pixel_unshuffle": lambda node, x: images.pixel_unshuffle(x, node["factor"]),
}


@interprets("depth_to_space")
def _depth_to_space(node: Node, x: Array) -> Array:
    (n, c, h, w), r = x.shape, node["factor"]
    blocks = x.reshape(n, r, r, c // r**2, h, w)  # (row, column, channel) within the channels
    return blocks.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // r**2, h * r, w * r)


@interprets("space_to_depth")
def _space_to_depth(node: Node, x: Array) -> Array:
    (n, c, h, w), r = x.shape, node["factor"]
    return x.reshape(n, c, h // r, r, w // r, r).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * r**2, h // r, w // r)


@interprets("range")
def _range(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    return np.arange(start.item(), limit.item(), delta.item())


_INTERPRETERS |= {
    "shape": lambda node, x: np.array(x.shape[node["start"] : node["end"]], np.int64),
    "size": lambda node, x: np.array(x.size, np.int64),
    "cast": lambda node, x: x.astype(_DTYPES.get(node["dtype"], bool)),
    "full": lambda node, shape: np.full(tuple(shape), node["value"], _DTYPES.get(node["dtype"], bool)),
    "where": lambda node, condition, x, y: np.where(condition, x, y),
    "nonzero": lambda node, x: np.stack(np.nonzero(np.atleast_1d(x))),  # (axes, count), as ONNX and NumPy list them
}


@interprets("equal", "less", "greater", "logical_and", "logical_or")
def _compare(node: Node, x: Array, y: Array) -> Array:
    return getattr(np, node.op)(x, y)
