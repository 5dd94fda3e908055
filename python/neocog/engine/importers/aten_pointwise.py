"""aten's activations and arithmetic, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import Result, Unsupported, Value, converts, is_one

Operand = Any  # a Value, or a Python or symbolic number

# Activations and functions that the graph has under the same name, or another one.
_SAME = "relu relu6 sigmoid tanh silu hardswish mish abs neg sign sqrt rsqrt reciprocal exp log erf"
_SAME += " floor ceil round sin cos tan asin acos atan sinh cosh asinh acosh atanh square"
for _name in _SAME.split():

    def _convert(importer: Importer, x: Value, *, _op: str = _name) -> Result:
        return importer.emit(_op, x)

    converts(_name)(_convert)


@converts("hardsigmoid")
def hardsigmoid(importer: Importer, x: Value) -> Result:
    return importer.emit("hardsigmoid", x)


@converts("gelu")
def gelu(importer: Importer, x: Value, *, approximate: str = "none") -> Result:
    return importer.emit("gelu_tanh" if approximate == "tanh" else "gelu", x)


@converts("hardtanh")
def hardtanh(importer: Importer, x: Value, min_val: float = -1, max_val: float = 1) -> Result:
    if (min_val, max_val) == (0, 6):
        return importer.emit("relu6", x)
    return importer.emit("clip", x, min=min_val, max=max_val)


@converts("leaky_relu")
def leaky_relu(importer: Importer, x: Value, negative_slope: float = 0.01) -> Result:
    return importer.emit("leaky_relu", x, alpha=negative_slope)


@converts("rrelu")
def rrelu(
    importer: Importer,
    x: Value,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Result:
    if training:
        raise Unsupported("rrelu in training mode; call model.eval()")
    return importer.emit("leaky_relu", x, alpha=(lower + upper) / 2)


@converts("elu")
def elu(importer: Importer, x: Value, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Result:
    """scale (x if x > 0 else alpha (exp(input_scale x) - 1))"""
    if scale == 1 and input_scale == 1:
        return importer.emit("elu", x, alpha=alpha)
    if scale == 1 and input_scale == 1 / alpha:
        return importer.emit("celu", x, alpha=alpha)
    if input_scale != 1:
        raise Unsupported(f"an input scale of {input_scale}")
    return importer.emit("selu", x, alpha=alpha, gamma=scale)


@converts("celu")
def celu(importer: Importer, x: Value, alpha: float = 1.0) -> Result:
    return importer.emit("celu", x, alpha=alpha)


@converts("selu")
def selu(importer: Importer, x: Value) -> Result:
    return importer.emit("selu", x)


@converts("softplus")
def softplus(importer: Importer, x: Value, beta: float = 1, threshold: float = 20) -> Result:
    # Above the threshold torch returns x, from which softplus differs there by less than float32 can say.
    if threshold < 15:
        raise Unsupported(f"a softplus that is linear from {threshold} on")
    if beta == 1:
        return importer.emit("softplus", x)
    scaled = importer.emit("mul", x, importer.scalar(beta))
    return importer.emit("div", importer.emit("softplus", scaled), importer.scalar(beta))


@converts("log_sigmoid_forward")
def log_sigmoid_forward(importer: Importer, x: Value) -> Result:
    y = importer.emit("neg", importer.emit("softplus", importer.emit("neg", x)))
    return [y, None]


@converts("glu")
def glu(importer: Importer, x: Value, dim: int = -1) -> Result:
    axis = importer.integers([x.axis(dim)])
    size = x.shape[x.axis(dim)]
    half = importer.sizes.vector([size // 2])
    first = importer.emit("slice", x, importer.integers([0]), half, axis)
    gate = importer.emit("slice", x, half, importer.sizes.vector([size]), axis)
    return importer.emit("mul", first, importer.emit("sigmoid", gate))


@converts("hardshrink")
def hardshrink(importer: Importer, x: Value, lambd: float = 0.5) -> Result:
    return importer.emit("shrink", x, lambd=lambd, bias=0.0)


@converts("softshrink")
def softshrink(importer: Importer, x: Value, lambd: float = 0.5) -> Result:
    return importer.emit("shrink", x, lambd=lambd, bias=lambd)


@converts("threshold")
def threshold(importer: Importer, x: Value, threshold: float, value: float) -> Result:
    return importer.emit("threshold", x, threshold=threshold, value=value)


@converts("prelu", "_prelu_kernel")
def prelu(importer: Importer, x: Value, weight: Value) -> Result:
    slope = weight.name
    if weight.rank == 1 and x.rank > 1 and not is_one(weight.shape[0]):
        slope = importer.emit("reshape", weight, importer.integers([-1, *[1] * (x.rank - 2)]))
    return importer.emit("prelu", x, slope)


@converts("clamp", "clip")
def clamp(importer: Importer, x: Value, min: float | None = None, max: float | None = None) -> Result:
    if not all(bound is None or isinstance(bound, (int, float)) for bound in (min, max)):
        name = x.name
        name = name if min is None else importer.emit("maximum", name, _operand(importer, min, x.like.dtype))
        return name if max is None else importer.emit("minimum", name, _operand(importer, max, x.like.dtype))
    return importer.emit("clip", x, min=min, max=max)


@converts("clamp.Tensor")
def clamp_tensor(importer: Importer, x: Value, min: Value | None = None, max: Value | None = None) -> Result:
    name = x.name
    name = name if min is None else importer.emit("maximum", name, min)
    return name if max is None else importer.emit("minimum", name, max)


@converts("clamp_min")
def clamp_min(importer: Importer, x: Value, min: float) -> Result:
    return clamp(importer, x, min)


@converts("clamp_max")
def clamp_max(importer: Importer, x: Value, max: float) -> Result:
    return clamp(importer, x, None, max)


# Arithmetic


def _operand(importer: Importer, value: Operand, dtype: torch.dtype) -> str:
    """The name of an operand of an operator that computes in this dtype."""
    if isinstance(value, Value):
        if value.like.dtype != dtype and dtype.is_floating_point:
            return importer.emit("cast", value, dtype="float32")
        return value.name
    if dtype.is_floating_point:
        return importer.scalar(value)
    if isinstance(value, (int, float)):
        return importer.constant(np.array(value, np.int64), "number")
    return importer.sizes.number(value)


def _binary(importer: Importer, op: str, x: Operand, y: Operand, *, floats: bool = False) -> str:
    """An operator on two operands, in float32 if one of them is, or if it must be."""
    kinds = [value.like.dtype for value in (x, y) if isinstance(value, Value)]
    if floats or any(kind.is_floating_point for kind in kinds) or any(map(_is_float, (x, y))):
        dtype = torch.float32
    else:
        dtype = torch.int64
    return importer.emit(op, _operand(importer, x, dtype), _operand(importer, y, dtype))


def _is_float(value: Operand) -> bool:
    return isinstance(value, (float, torch.SymFloat))


def _times(importer: Importer, value: Operand, factor: float) -> Operand:
    if factor == 1:
        return value
    if not isinstance(value, Value):
        return value * factor
    return Value(_binary(importer, "mul", value, factor), value.like)


@converts("add.Tensor", "add.Scalar")
def add(importer: Importer, x: Value, y: Operand, alpha: float = 1) -> Result:
    return _binary(importer, "add", x, _times(importer, y, alpha))


@converts("sub.Tensor", "sub.Scalar")
def sub(importer: Importer, x: Value, y: Operand, alpha: float = 1) -> Result:
    return _binary(importer, "sub", x, _times(importer, y, alpha))


@converts("rsub.Tensor", "rsub.Scalar")
def rsub(importer: Importer, x: Value, y: Operand, alpha: float = 1) -> Result:
    return _binary(importer, "sub", y, _times(importer, x, alpha))


@converts("mul.Tensor", "mul.Scalar")
def mul(importer: Importer, x: Value, y: Operand) -> Result:
    return _binary(importer, "mul", x, y)


@converts("div.Tensor", "div.Scalar", "true_divide.Tensor")
def div(importer: Importer, x: Value, y: Operand) -> Result:
    return _binary(importer, "div", x, y, floats=True)


@converts("div.Tensor_mode", "div.Scalar_mode")
def div_mode(importer: Importer, x: Value, y: Operand, *, rounding_mode: str | None = None) -> Result:
    if rounding_mode is None:
        return div(importer, x, y)
    integers = not x.like.is_floating_point() and not _is_float(y)
    if rounding_mode == "trunc":
        if not integers:
            raise Unsupported("a division that truncates")
        return _binary(importer, "div", x, y)
    if not integers:
        return importer.emit("floor", _binary(importer, "div", x, y))
    # Down to a multiple of the divisor first, for division of integers truncates.
    name = importer.emit("sub", x, _binary(importer, "mod", x, y))
    return importer.emit("div", name, _operand(importer, y, torch.int64))


@converts("floor_divide")
def floor_divide(importer: Importer, x: Value, y: Operand) -> Result:
    return div_mode(importer, x, y, rounding_mode="floor")


@converts("remainder.Tensor", "remainder.Scalar")
def remainder(importer: Importer, x: Value, y: Operand) -> Result:
    return _binary(importer, "mod", x, y)


@converts("pow.Tensor_Scalar")
def power(importer: Importer, x: Value, exponent: float) -> Result:
    named = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
    if exponent in named and x.like.is_floating_point():
        return importer.emit(named[exponent], x)
    return _binary(importer, "pow", x, exponent)


@converts("pow.Tensor_Tensor", "pow.Scalar")
def power_of(importer: Importer, x: Operand, exponent: Value) -> Result:
    return _binary(importer, "pow", x, exponent)


@converts("maximum")
def maximum(importer: Importer, x: Value, y: Value) -> Result:
    return _binary(importer, "maximum", x, y)


@converts("minimum")
def minimum(importer: Importer, x: Value, y: Value) -> Result:
    return _binary(importer, "minimum", x, y)


@converts("addcmul")
def addcmul(importer: Importer, x: Value, one: Value, other: Value, *, value: float = 1) -> Result:
    product = importer.emit("mul", one, other)
    return importer.emit("add", x, importer.emit("mul", product, importer.scalar(value)) if value != 1 else product)


@converts("addcdiv")
def addcdiv(importer: Importer, x: Value, one: Value, other: Value, *, value: float = 1) -> Result:
    ratio = importer.emit("div", one, other)
    return importer.emit("add", x, importer.emit("mul", ratio, importer.scalar(value)) if value != 1 else ratio)


@converts("lerp.Scalar", "lerp.Tensor")
def lerp(importer: Importer, start: Value, end: Value, weight: Operand) -> Result:
    step = importer.emit("mul", importer.emit("sub", end, start), _operand(importer, weight, torch.float32))
    return importer.emit("add", start, step)


# Comparisons and choices, of numbers of the plan


def _comparison(op: str, negated: bool) -> Callable[..., Result]:
    def convert(importer: Importer, x: Value, y: Operand) -> Result:
        result = _binary(importer, op, x, y)
        return importer.emit("logical_not", result) if negated else result

    return convert


for _name, _op, _negated in (
    ("eq", "equal", False),
    ("ne", "equal", True),
    ("lt", "less", False),
    ("ge", "less", True),
    ("gt", "greater", False),
    ("le", "greater", True),
):
    converts(f"{_name}.Tensor", f"{_name}.Scalar")(_comparison(_op, _negated))


def _logic(op: str) -> Callable[..., Result]:
    def convert(importer: Importer, x: Value, y: Value) -> Result:
        if x.like.dtype != torch.bool or y.like.dtype != torch.bool:
            raise Unsupported("logic of numbers that are no truth values")
        return importer.emit(op, x, y)

    return convert


converts("logical_and", "bitwise_and.Tensor")(_logic("logical_and"))
converts("logical_or", "bitwise_or.Tensor")(_logic("logical_or"))


@converts("logical_not", "bitwise_not")
def logical_not(importer: Importer, x: Value) -> Result:
    if x.like.dtype != torch.bool:
        raise Unsupported("logic of numbers that are no truth values")
    return importer.emit("logical_not", x)


@converts("where.self", "where.Scalar", "where.ScalarSelf", "where.ScalarOther")
def where(importer: Importer, condition: Value, x: Operand, y: Operand) -> Result:
    floats = any(value.like.is_floating_point() if isinstance(value, Value) else _is_float(value) for value in (x, y))
    dtype = torch.float32 if floats else torch.int64
    return importer.emit("where", condition, _operand(importer, x, dtype), _operand(importer, y, dtype))


@converts("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(importer: Importer, x: Value, mask: Value, value: Operand) -> Result:
    return importer.emit("where", mask, _operand(importer, value, x.like.dtype), x)
