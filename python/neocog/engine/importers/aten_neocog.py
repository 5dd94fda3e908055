"""The operators `torch.ops.neocog`, called by the layers of `neocog.nn`; paddings may differ at the ends of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_norms import Parameter, batch_norm
from neocog.engine.importers.aten_registry import Result, Unsupported, Value, converts, static_values

Ints = Sequence[int]


def _pairs(padding: Ints, axes: int) -> list[list[int]]:
    """One for all axes, one for each, or begin and end of each."""
    sizes = static_values(padding, "the padding", axes)
    if len(sizes) == axes:
        return [[size, size] for size in sizes]
    return [sizes[2 * axis : 2 * axis + 2] for axis in range(axes)]


def _window(x: Value, stride: Ints, padding: Ints, dilation: Ints | None) -> dict[str, Any]:
    axes = x.rank - 2
    window: dict[str, Any] = {"stride": static_values(stride, "the stride", axes), "padding": _pairs(padding, axes)}
    return window if dilation is None else {**window, "dilation": static_values(dilation, "the dilation", axes)}


def _given(*inputs: Value | None) -> list[Value]:
    return [value for value in inputs if value is not None]


@converts("neocog::conv")
def conv(
    importer: Importer,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Result:
    return importer.emit("conv", *_given(x, weight, bias), **_window(x, stride, padding, dilation), groups=groups)


@converts("neocog::conv_transpose")
def conv_transpose(
    importer: Importer,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
) -> Result:
    extra = static_values(output_padding, "the output padding", x.rank - 2)
    window = _window(x, stride, padding, dilation)
    return importer.emit("conv_transpose", *_given(x, weight, bias), **window, output_padding=extra, groups=groups)


@converts("neocog::separable_conv")
def separable_conv(
    importer: Importer,
    x: Value,
    depthwise_weight: Value,
    pointwise_weight: Value,
    bias: Value | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Result:
    inputs = _given(x, depthwise_weight, pointwise_weight, bias)
    return importer.emit("separable_conv", *inputs, **_window(x, stride, padding, dilation))


@converts("neocog::conv_bn_act_inference")
def conv_bn_act(
    importer: Importer,
    x: Value,
    weight: Value,
    bias: Value | None,
    mean: Value,
    var: Value,
    bn_weight: Parameter,
    bn_bias: Parameter,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    eps: float,
    activation: str | None,
) -> Result:
    window = _window(x, stride, padding, dilation)
    middle = importer.emit("conv", *_given(x, weight, bias), **window, groups=groups)
    # Of the convolution's result batch norm needs the number of channels alone, which the statistics have too.
    parameters = (importer.with_default(bn_weight, 1.0, mean), importer.with_default(bn_bias, 0.0, mean))
    y = importer.emit("batch_norm", middle, *parameters, mean, var, eps=eps)
    return y if activation is None else importer.emit(activation, y)


@converts("neocog::batch_norm_inference")
def batch_norm_inference(
    importer: Importer, x: Value, mean: Value, var: Value, weight: Parameter, bias: Parameter, eps: float
) -> Result:
    return batch_norm(importer, x, weight, bias, mean, var, False, 0.0, eps)


@converts("neocog::batch_norm_training")
def batch_norm_training(importer: Importer, x: Value, weight: Parameter, bias: Parameter, eps: float) -> Result:
    y = batch_norm(importer, x, weight, bias, None, None, True, 0.0, eps)
    return [y if isinstance(y, str) else None, None, None]


@converts("neocog::max_pool")
def max_pool(
    importer: Importer,
    x: Value,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
) -> Result:
    kernel = static_values(kernel_size, "the kernel", x.rank - 2)
    window = _window(x, stride or kernel, padding, dilation)
    return importer.emit_many(2, "max_pool", x, kernel=kernel, **window, ceil_mode=ceil_mode)


@converts("neocog::avg_pool")
def avg_pool(
    importer: Importer,
    x: Value,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Result:
    kernel = static_values(kernel_size, "the kernel", x.rank - 2)
    window = _window(x, stride or kernel, padding, None)
    return importer.emit(
        "avg_pool",
        x,
        kernel=kernel,
        **window,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor=divisor_override,
    )


@converts("neocog::adaptive_avg_pool")
def adaptive_avg_pool(importer: Importer, x: Value, output_size: Ints) -> Result:
    return importer.emit("adaptive_avg_pool", x, output_size=_size(x, output_size))


@converts("neocog::adaptive_max_pool")
def adaptive_max_pool(importer: Importer, x: Value, output_size: Ints) -> Result:
    return [importer.emit("adaptive_max_pool", x, output_size=_size(x, output_size)), None]


def _size(x: Value, output_size: Ints) -> list[int]:
    if x.rank not in (3, 4):
        raise Unsupported(f"{x.rank - 2} spatial axes; the engine has one and two")
    return static_values(output_size, "the output size", x.rank - 2)
