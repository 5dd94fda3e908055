"""ONNX' arithmetic: functions of elements, pairs of tensors and numbers, reductions, types."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from neocog.engine.graph import Array
from neocog.engine.importers.onnx_call import DTYPES, FLOAT, Call, Unsupported, element_name, imports

# ONNX name: (operator, {its attribute: (ONNX attribute, ONNX default)})
_FUNCTIONS: dict[str, tuple[str, dict[str, tuple[str, float]]]] = {
    "Relu": ("relu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "HardSwish": ("hardswish", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": ("alpha", 0.01)}),
    "Elu": ("elu", {"alpha": ("alpha", 1.0)}),
    "Celu": ("celu", {"alpha": ("alpha", 1.0)}),
    "Selu": ("selu", {"alpha": ("alpha", 1.67326319217681884765625), "gamma": ("gamma", 1.05070102214813232421875)}),
    "HardSigmoid": ("hardsigmoid", {"alpha": ("alpha", 0.2), "beta": ("beta", 0.5)}),
    "ThresholdedRelu": ("threshold", {"threshold": ("alpha", 1.0)}),
    "Shrink": ("shrink", {"lambd": ("lambd", 0.5), "bias": ("bias", 0.0)}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Mish": ("mish", {}),
}
_NUMERIC = {
    **{name: name.lower() for name in ("Abs", "Neg", "Sign", "Sqrt", "Exp", "Log", "Erf", "Floor", "Ceil", "Round")},
    **{name: name.lower() for name in ("Reciprocal", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh")},
    **{name: name.lower() for name in ("Asinh", "Acosh", "Atanh", "Identity")},
}
_BINARY = {name: name.lower() for name in ("Add", "Sub", "Mul", "Div")}
_OF_NUMBERS = {
    **{name: name.lower() for name in ("Equal", "Less", "Greater", "Where", "NonZero")},
    "And": "logical_and",
    "Or": "logical_or",
    "Not": "logical_not",
}


def _legacy_operand(call: Call, x: str, y: str) -> str:
    """Until opset 6, y's axes stand for those of x from `axis` on; since then they do for the last ones."""
    if call.opset >= 7 or not call.attribute("broadcast", 0) or call.attribute("axis") is None:
        return y
    why = "that is where the second operand belongs"
    behind = call.rank(x, why) - call.attribute("axis") % call.rank(x, why) - call.rank(y, why)
    return call.emit("unsqueeze", y, axes=list(range(-behind, 0))) if behind > 0 else y


def _function(call: Call) -> None:
    op, attributes = _FUNCTIONS[call.type]
    settings = {mine: call.attribute(theirs, default) for mine, (theirs, default) in attributes.items()}
    call.finish(op, call.input(0), **settings)


def _numeric(call: Call) -> None:
    call.finish(_NUMERIC[call.type], call.input(0))


def _binary(call: Call) -> None:
    x = call.input(0)
    call.finish(_BINARY[call.type], x, _legacy_operand(call, x, call.input(1)))


def _of_numbers(call: Call) -> None:
    call.finish(_OF_NUMBERS[call.type], *call.inputs)


imports(*_FUNCTIONS)(_function)
imports(*_NUMERIC, takes="any")(_numeric)
imports(*_BINARY, takes="any")(_binary)
imports(*_OF_NUMBERS, takes="numbers")(_of_numbers)


@imports("Xor", takes="numbers")
def _xor(call: Call) -> None:
    call.finish("logical_not", call.emit("equal", call.input(0), call.input(1)))


@imports("LessOrEqual", "GreaterOrEqual", takes="numbers")
def _or_equal(call: Call) -> None:
    opposite = "greater" if call.type == "LessOrEqual" else "less"
    call.finish("logical_not", call.emit(opposite, call.input(0), call.input(1)))


@imports("Gelu")
def _gelu(call: Call) -> None:
    call.finish(call.choose("approximate", "none", {"none": "gelu", "tanh": "gelu_tanh"}), call.input(0))


@imports("Swish")
def _swish(call: Call) -> None:
    x, alpha = call.input(0), call.attribute("alpha", 1.0)
    if alpha == 1:
        call.finish("silu", x)
    else:
        gate = call.emit("sigmoid", call.emit("mul", x, call.constant(alpha, np.float32)))
        call.finish("mul", x, gate)


@imports("PRelu")
def _prelu(call: Call) -> None:
    x, slope = call.input(0), call.input(1)
    shape = call.shape(slope)
    if call.opset < 7 and (shape is None or (len(shape) == 1 and shape[0] != 1)):  # of channels, not of the last axis
        slope = call.emit("unsqueeze", slope, axes=list(range(1, call.rank(x, "its channels must be found") - 1)))
    call.finish("prelu", x, slope)


@imports("Pow", takes="any")
def _pow(call: Call) -> None:
    x = call.input(0)
    y = _legacy_operand(call, x, call.input(1))
    base, exponent = call.element(x), call.known(y)
    if call.is_data(x) and exponent is not None and exponent.ndim == 0 and exponent in (2, 0.5):
        call.finish("square" if exponent == 2 else "sqrt", x)
        return
    if base is not None and call.element(y) != base:  # the result is of the type of x
        if base not in DTYPES:
            raise Unsupported(f"{x!r} is {element_name(base)}")
        if call.is_data(y) and base != FLOAT:
            raise Unsupported(f"{x!r} is {element_name(base)}, and so is the result, but {y!r} is data", y)
        if base == FLOAT:
            y = call.emit("cast", y, dtype="float32")
        else:
            call.finish("cast", call.emit("pow", x, y), dtype=DTYPES[base])
            return
    call.finish("pow", x, y)


@imports("Mod", takes="any")
def _mod(call: Call) -> None:
    x, y = call.input(0), call.input(1)
    if not call.attribute("fmod", 0):
        call.finish("mod", x, y)
        return
    size = call.emit("mod", call.emit("abs", x), call.emit("abs", y))
    call.finish("mul", size, call.emit("sign", x))


@imports("Sum", "Mean", "Max", "Min", takes="any")
def _variadic(call: Call) -> None:
    op = {"Sum": "add", "Mean": "add", "Max": "maximum", "Min": "minimum"}[call.type]
    total, *rest = (call.input(place) for place in range(len(call.inputs)))
    means = call.type == "Mean"
    if not rest:
        call.finish("identity", total)
        return
    for name in rest if means else rest[:-1]:
        total = call.emit(op, total, name)
    if means:
        call.finish("div", total, call.constant(len(call.inputs), np.float32))
    else:
        call.finish(op, total, rest[-1])


def _bounds(call: Call) -> tuple[str | None, str | None]:
    """The limits of Clip as values."""
    if call.opset >= 11:
        return call.optional(1), call.optional(2)
    limits = (call.attribute("min"), call.attribute("max"))
    low, high = (None if limit is None else call.constant(limit, np.float32) for limit in limits)
    return low, high


@imports("Clip", takes="any")
def _clip(call: Call) -> None:
    x = call.input(0)
    low, high = _bounds(call)
    values: list[Array | None] = [call.known(name) for name in (low, high)]
    fixed = all(value is not None or name is None for value, name in zip(values, (low, high), strict=True))
    if call.is_data(x) and fixed:
        least, most = (None if value is None else float(value.reshape(-1)[0]) for value in values)
        if least is not None and most is not None:
            least = min(least, most)  # ONNX: where they cross, the upper one holds
        call.finish("clip", x, min=least, max=most)
        return
    if low is not None and high is not None:
        call.finish("minimum", call.emit("maximum", x, low), high)
    elif low is not None or high is not None:
        call.finish("minimum" if low is None else "maximum", x, low or high)
    else:
        call.finish("identity", x)


_REDUCTIONS = {
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceL1": "norm1",
    "ReduceL2": "norm2",
    "ReduceSumSquare": "sum_square",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
}


@imports(*_REDUCTIONS, takes="any")
def _reduce(call: Call) -> None:
    x, given = call.input(0), call.optional(1)
    axes: list[int] | None = call.attribute("axes") if given is None else call.integers(given, "`axes`")
    if not axes:  # none are all, unless the node says that they are none
        axes = [] if call.attribute("noop_with_empty_axes", 0) else None
    call.finish(_REDUCTIONS[call.type], x, axes=axes, keepdims=bool(call.attribute("keepdims", 1)))


def _cast_to(call: Call, element: int | None) -> None:
    x = call.input(0)
    if element is None:
        raise Unsupported("the type to cast to is not known")
    if call.is_data(x):
        if element != FLOAT:
            raise Unsupported(f"data cannot become {element_name(element)}; the engine computes in float32")
        call.finish("identity", x)
        return
    from_number = call.element(x) in DTYPES
    if element in DTYPES and from_number:
        call.finish("cast", x, dtype=DTYPES[element])
        return
    value = call.known(x)  # weights in half precision, mostly
    if value is None or value.dtype == object or element == onnx.TensorProto.STRING:
        raise Unsupported(f"{element_name(call.element(x))} cannot become {element_name(element)}", x)
    dtype: Any = onnx.helper.tensor_dtype_to_np_dtype(element)
    call.finish_constant(value.astype(dtype))


@imports("Cast", takes="any")
def _cast(call: Call) -> None:
    _cast_to(call, call.attribute("to"))


@imports("CastLike", takes="any")
def _cast_like(call: Call) -> None:
    _cast_to(call, call.element(call.input(1)))
