"""ONNX' layers: convolutions, pooling, normalisation, products of matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neocog.engine.importers.onnx_call import Call, Unsupported, imports
from neocog.engine.importers.onnx_read import Dims

Pairs = list[list[int]]


def _spatial(call: Call, x: str, kernel: list[int] | None = None, weight: str | None = None) -> int:
    """How many spatial axes a window has, which must be 1 or 2."""
    if kernel:
        axes = len(kernel)
    else:
        by = weight if weight is not None and call.shape(weight) is not None else x
        axes = call.rank(by, "its spatial axes must be counted") - 2
    if axes not in (1, 2):
        raise Unsupported(f"it has {axes} spatial axes; there can be 1 or 2")
    return axes


def _padding(call: Call, axes: int) -> str | Pairs:
    auto = call.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return str(auto).lower()
    pads = [0] * (2 * axes) if auto == "VALID" else call.attribute("pads", [0] * (2 * axes))
    if auto not in ("VALID", "NOTSET", "") or len(pads) != 2 * axes:
        raise Unsupported(f"auto_pad={auto!r} and pads={pads} are no padding of {axes} spatial axes")
    return [[low, high] for low, high in zip(pads[:axes], pads[axes:], strict=True)]


def _window(call: Call, axes: int) -> dict[str, Any]:
    return {
        "stride": call.attribute("strides", [1] * axes),
        "padding": _padding(call, axes),
        "dilation": call.attribute("dilations", [1] * axes),
    }


@imports("Conv")
def _conv(call: Call) -> None:
    x, weight = call.input(0), call.input(1)
    axes = _spatial(call, x, call.attribute("kernel_shape"), weight)
    call.finish("conv", x, weight, call.optional(2), **_window(call, axes), groups=call.attribute("group", 1))


@imports("ConvTranspose")
def _conv_transpose(call: Call) -> None:
    x, weight = call.input(0), call.input(1)
    axes = _spatial(call, x, call.attribute("kernel_shape"), weight)
    window = _window(call, axes)
    extra, size = call.attribute("output_padding", [0] * axes), call.attribute("output_shape")
    if size is not None:
        size = size[-axes:]
        # ONNX pads for an output shape as for SAME_LOWER unless the node says SAME_UPPER; its pads count for nothing.
        if window["padding"] != "same_upper":
            window["padding"] = "same_lower"
    if isinstance(window["padding"], str) and any(extra):
        window["padding"], size = _explicit_crop(call, window, extra, size)
        extra = [0] * axes
    call.finish(
        "conv_transpose",
        x,
        weight,
        call.optional(2),
        **window,
        output_padding=extra,
        output_size=size,
        groups=call.attribute("group", 1),
    )


def _explicit_crop(
    call: Call, window: dict[str, Any], extra: list[int], size: list[int] | None
) -> tuple[Pairs, list[int]]:
    """The padding and output size of a transposed convolution that is both "same" and padded at the output."""
    x, weight = call.shape(call.input(0)), call.shape(call.input(1))
    sizes = [] if x is None or weight is None else [*x[2:], *weight[2:]]
    known = [n for n in sizes if n is not None]
    if not known or len(known) != len(sizes):
        raise Unsupported(f"output_padding={extra} with output_shape or auto_pad needs fixed sizes of x and weight")
    images, kernel = known[: len(extra)], known[len(extra) :]
    if size is None:
        size = [n * step for n, step in zip(images, window["stride"], strict=True)]
    padding = []
    axes = zip(images, kernel, window["stride"], window["dilation"], extra, size, strict=True)
    for n, taps, step, dilation, more, wanted in axes:
        total = max((n - 1) * step + (taps - 1) * dilation + 1 + more - wanted, 0)
        small, large = total // 2, total - total // 2
        padding.append([small, large] if window["padding"] == "same_upper" else [large, small])
    return padding, size


@imports("MaxPool")
def _max_pool(call: Call) -> None:
    if call.want(1):
        raise Unsupported("its indices are wanted; only its values can be")
    kernel = call.attribute("kernel_shape", [])
    axes = _spatial(call, call.input(0), kernel)
    ceil_mode = bool(call.attribute("ceil_mode", 0))
    call.finish("max_pool", call.input(0), kernel=kernel, **_window(call, axes), ceil_mode=ceil_mode)


def _average(call: Call, x: str, kernel: list[int]) -> dict[str, Any]:
    window = _window(call, _spatial(call, x, kernel))
    dilation = window.pop("dilation")
    if any(step != 1 for step in dilation):
        raise Unsupported(f"dilations={dilation}; windows that are averaged have no dilation but 1")
    return {"kernel": kernel, **window, "ceil_mode": bool(call.attribute("ceil_mode", 0))}


@imports("AveragePool")
def _average_pool(call: Call) -> None:
    kernel = call.attribute("kernel_shape", [])
    counted = bool(call.attribute("count_include_pad", 0))
    call.finish("avg_pool", call.input(0), **_average(call, call.input(0), kernel), count_include_pad=counted)


@imports("LpPool")
def _lp_pool(call: Call) -> None:
    x, p = call.input(0), call.attribute("p", 2)
    kernel = call.attribute("kernel_shape", [])
    window = {**_average(call, x, kernel), "count_include_pad": True, "divisor": 1}  # a sum
    powers = call.emit("square", x) if p == 2 else call.emit("abs", x)
    if p == 1:
        call.finish("avg_pool", powers, **window)
        return
    if p != 2:
        powers = call.emit("pow", powers, call.constant(p, np.float32))
    total = call.emit("avg_pool", powers, **window)
    if p == 2:
        call.finish("sqrt", total)
    else:
        call.finish("pow", total, call.constant(1 / p, np.float32))


@imports("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(call: Call) -> None:
    x = call.input(0)
    if call.shape(x) is not None:
        _spatial(call, x)
    call.finish("adaptive_avg_pool" if call.type == "GlobalAveragePool" else "adaptive_max_pool", x, output_size=[1])


@imports("GlobalLpPool")
def _global_lp_pool(call: Call) -> None:
    x, p = call.input(0), call.attribute("p", 2)
    over = {"axes": list(range(2, 2 + _spatial(call, x))), "keepdims": True}
    if p in (1, 2):
        call.finish(f"norm{p}", x, **over)
    else:
        powers = call.emit("pow", call.emit("abs", x), call.constant(p, np.float32))
        call.finish("pow", call.emit("sum", powers, **over), call.constant(1 / p, np.float32))


@imports("BatchNormalization")
def _batch_normalization(call: Call) -> None:
    # Before opset 14 the outputs say it, before 7 an attribute.
    training = call.attribute("training_mode", 0) or sum(1 for name in call.proto.output if name) > 1
    if training or (call.opset < 7 and not call.attribute("is_test", 0)):
        raise Unsupported("it is in training mode; export the model for inference")
    if call.opset < 9 and not call.attribute("spatial", 1):
        raise Unsupported("spatial=0: statistics of every pixel; there can be those of channels")
    call.finish("batch_norm", *(call.input(place) for place in range(5)), eps=call.attribute("epsilon", 1e-5))


@imports("InstanceNormalization")
def _instance_normalization(call: Call) -> None:
    eps = call.attribute("epsilon", 1e-5)
    call.finish("instance_norm", call.input(0), call.input(1), call.input(2), eps=eps)


@imports("GroupNormalization", since=21)
def _group_normalization(call: Call) -> None:
    settings = {"groups": call.attribute("num_groups"), "eps": call.attribute("epsilon", 1e-5)}
    call.finish("group_norm", call.input(0), call.input(1), call.input(2), **settings)


@imports("LayerNormalization")
def _layer_normalization(call: Call) -> None:
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    axis, eps = call.attribute("axis", -1), call.attribute("epsilon", 1e-5)
    if axis >= 0:
        axis -= call.rank(x, "its axis counts from the first")
    if _covers(call.shape(weight), call.shape(x), axis) and (bias is None or call.shape(bias) == call.shape(weight)):
        call.finish("layer_norm", x, weight, bias, axis=axis, eps=eps)
    else:  # ONNX lets them broadcast
        y = call.emit("mul", call.emit("layer_norm", x, axis=axis, eps=eps), weight)
        call.finish("identity", y) if bias is None else call.finish("add", y, bias)
    axes = list(range(axis, 0))
    if call.want(1):
        call.put(1, "mean", x, axes=axes, keepdims=True)
    if call.want(2):
        centred = call.emit("sub", x, call.emit("mean", x, axes=axes, keepdims=True))
        variance = call.emit("mean", call.emit("square", centred), axes=axes, keepdims=True)
        call.put(2, "rsqrt", call.emit("add", variance, call.constant(eps, np.float32)))


def _covers(weight: Dims | None, x: Dims | None, axis: int) -> bool:
    """Whether weight has the shape of x from this axis on, and need not broadcast."""
    if weight is None or x is None or len(weight) != -axis:
        return False
    return all(w is not None and (w == n or (n is None and w != 1)) for w, n in zip(weight, x[axis:], strict=True))


@imports("RMSNormalization")
def _rms_normalization(call: Call) -> None:
    x, axis = call.input(0), call.attribute("axis", -1)
    if axis >= 0:
        axis -= call.rank(x, "its axis counts from the first")
    mean = call.emit("mean", call.emit("square", x), axes=list(range(axis, 0)), keepdims=True)
    scale = call.emit("rsqrt", call.emit("add", mean, call.constant(call.attribute("epsilon", 1e-5), np.float32)))
    call.finish("mul", call.emit("mul", x, scale), call.input(1))


@imports("MeanVarianceNormalization")
def _mean_variance_normalization(call: Call) -> None:
    over = {"axes": call.attribute("axes", [0, 2, 3]), "keepdims": True}
    centred = call.emit("sub", call.input(0), call.emit("mean", call.input(0), **over))
    deviation = call.emit("sqrt", call.emit("mean", call.emit("square", centred), **over))
    call.finish("div", centred, call.emit("add", deviation, call.constant(1e-9, np.float32)))


@imports("LpNormalization")
def _lp_normalization(call: Call) -> None:
    x, p = call.input(0), call.attribute("p", 2)
    norm = call.emit(f"norm{p}", x, axes=[call.attribute("axis", -1)], keepdims=True)
    # Where the norm is zero, so is x: what it is divided by does not matter.
    call.finish("div", x, call.emit("maximum", norm, call.constant(np.finfo(np.float32).tiny, np.float32)))


@imports("LRN")
def _lrn(call: Call) -> None:
    call.finish(
        "lrn",
        call.input(0),
        size=call.attribute("size"),
        alpha=call.attribute("alpha", 1e-4),
        beta=call.attribute("beta", 0.75),
        bias=call.attribute("bias", 1.0),
    )


def _scaled(call: Call, x: str, factor: float) -> str:
    return x if factor == 1 else call.emit("mul", x, call.constant(factor, np.float32))


@imports("Gemm")
def _gemm(call: Call) -> None:
    x, weight, bias = call.input(0), call.input(1), call.optional(2)
    if call.attribute("transA", 0):
        x = call.emit("transpose", x, permutation=[1, 0])
    weight = _scaled(call, weight, call.attribute("alpha", 1.0))
    # The graph's weights are (O, I), which is what transB says.
    constant, turned = call.is_constant(weight), bool(call.attribute("transB", 0))
    if constant != turned:
        weight = call.emit("transpose", weight, permutation=[1, 0])
    op = "linear" if constant else "matmul"
    if bias is None:
        call.finish(op, x, weight)
        return
    of_columns = _is_vector(call, bias)
    bias = _scaled(call, bias, call.attribute("beta", 1.0))
    if constant and of_columns:
        call.finish("linear", x, weight, bias)
    else:
        call.finish("add", call.emit(op, x, weight), bias)


def _is_vector(call: Call, bias: str) -> bool:
    """Whether the addend of Gemm has one value for each column."""
    shape, y = call.shape(bias), call.shape(call.proto.output[0])
    return shape is not None and len(shape) == 1 and y is not None and shape[0] == y[-1] and shape[0] is not None


@imports("MatMul")
def _mat_mul(call: Call) -> None:
    x, y = call.input(0), call.input(1)
    shape = call.shape(y)
    if call.is_data(x) and call.is_constant(y) and shape is not None and len(shape) == 2:
        call.finish("linear", x, call.emit("transpose", y, permutation=[1, 0]))
    else:
        call.finish("matmul", x, y)


@imports("Softmax", "LogSoftmax")
def _softmax(call: Call) -> None:
    op, x = "softmax" if call.type == "Softmax" else "log_softmax", call.input(0)
    if call.opset >= 13:
        call.finish(op, x, axis=call.attribute("axis", -1))
        return
    # Until opset 12 the axes from `axis` on are one, which is the same where those behind it have one element.
    axis, shape = call.attribute("axis", 1), call.shape(x)
    if shape is not None and math.prod(size or 0 for size in shape[axis:][1:]) == 1:
        call.finish(op, x, axis=axis)
        return
    y = call.emit(op, call.emit("flatten", x, start=axis, end=-1), axis=-1)
    call.finish("reshape", y, call.emit("shape", x))
