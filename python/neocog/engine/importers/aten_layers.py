"""aten's convolutions, matrix products and poolings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from neocog.engine.importers.aten_importer import Importer
from neocog.engine.importers.aten_registry import Result, Unsupported, Value, converts, static, static_values

Ints = Sequence[int]


def _spatial_axes(x: Value, axes: int | None = None) -> int:
    """How many axes of x are spatial: one or two, and as many as asked for, if that is said."""
    spatial = x.rank - 2 if axes is None else axes
    if spatial not in (1, 2):
        raise Unsupported(f"{spatial} spatial axes; the engine has one and two")
    return spatial


def _pairs(padding: Ints, axes: int) -> list[list[int]]:
    return [[size, size] for size in static_values(padding, "the padding", axes)]


def _batched(importer: Importer, x: Value, axes: int, make: Callable[[str], str]) -> str:
    """What `make` makes of images; one without a batch axis gets one, and loses it again."""
    if x.rank == axes + 2:
        return make(x.name)
    y = make(importer.emit("unsqueeze", x, axes=[0]))
    return importer.emit("squeeze", y, axes=[0])


@converts("convolution")
def convolution(
    importer: Importer,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Result:
    axes = _spatial_axes(x)
    window: dict[str, Any] = {
        "stride": static_values(stride, "the stride", axes),
        "padding": _pairs(padding, axes),
        "dilation": static_values(dilation, "the dilation", axes),
        "groups": static(groups, "the number of groups"),
    }
    inputs = (x, weight) if bias is None else (x, weight, bias)
    if transposed:
        extra = static_values(output_padding, "the output padding", axes)
        return importer.emit("conv_transpose", *inputs, **window, output_padding=extra)
    return importer.emit("conv", *inputs, **window)


def _convolution_with_word(axes: int) -> Callable[..., Result]:
    """conv1d.padding and conv2d.padding; "same" needs a stride of 1 in torch."""

    def convert(
        importer: Importer,
        x: Value,
        weight: Value,
        bias: Value | None = None,
        stride: Ints = (1,),
        padding: str = "valid",
        dilation: Ints = (1,),
        groups: int = 1,
    ) -> Result:
        steps = static_values(dilation, "the dilation", axes)
        surplus = [0] * axes
        if padding == "same":
            kernel = static_values(weight.shape[2:], "the kernel")
            surplus = [step * (size - 1) for step, size in zip(steps, kernel, strict=True)]
        window: dict[str, Any] = {
            "stride": static_values(stride, "the stride", axes),
            "padding": [[total // 2, total - total // 2] for total in surplus],
            "dilation": steps,
            "groups": groups,
        }
        more = (weight,) if bias is None else (weight, bias)
        return _batched(importer, x, axes, lambda images: importer.emit("conv", images, *more, **window))

    return convert


converts("conv1d.padding")(_convolution_with_word(1))
converts("conv2d.padding")(_convolution_with_word(2))


# Matrix products


@converts("linear")
def linear(importer: Importer, x: Value, weight: Value, bias: Value | None = None) -> Result:
    if importer.is_known(weight) and weight.rank == 2:
        return importer.emit("linear", x, weight) if bias is None else importer.emit("linear", x, weight, bias)
    if weight.rank != 2:
        raise Unsupported(f"a weight of {weight.rank} axes")
    y = importer.emit("matmul", x, importer.emit("transpose", weight, permutation=[1, 0]))
    return y if bias is None else importer.emit("add", y, bias)


@converts("mm", "bmm", "matmul")
def matmul(importer: Importer, x: Value, y: Value) -> Result:
    return _product(importer, x, y, None)


@converts("addmm")
def addmm(importer: Importer, bias: Value, x: Value, y: Value, *, beta: float = 1, alpha: float = 1) -> Result:
    if beta == 1 and alpha == 1 and bias.rank == 1 and importer.is_known(bias):
        return _product(importer, x, y, bias)
    product = _scaled(importer, _product(importer, x, y, None), alpha)
    return importer.emit("add", product, _scaled(importer, bias.name, beta))


@converts("baddbmm")
def baddbmm(importer: Importer, added: Value, x: Value, y: Value, *, beta: float = 1, alpha: float = 1) -> Result:
    product = _scaled(importer, _product(importer, x, y, None), alpha)
    return importer.emit("add", product, _scaled(importer, added.name, beta))


def _product(importer: Importer, x: Value, y: Value, bias: Value | None) -> str:
    """x y + bias; a linear layer if y is a known matrix."""
    if y.rank == 2 and importer.is_known(y) and not importer.is_known(x):
        weight = importer.transposed.get(y.name)
        if weight is None:
            weight = importer.emit("transpose", y, permutation=[1, 0])
        return importer.emit("linear", x, weight) if bias is None else importer.emit("linear", x, weight, bias)
    product = importer.emit("matmul", x, y)
    return product if bias is None else importer.emit("add", product, bias)


def _scaled(importer: Importer, name: str, factor: float) -> str:
    return name if factor == 1 else importer.emit("mul", name, importer.scalar(factor))


@converts("scaled_dot_product_attention")
def attention(
    importer: Importer,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Result:
    if dropout_p or is_causal or enable_gqa:
        raise Unsupported("attention with dropout, a causal mask or grouped queries")
    if attn_mask is not None and not attn_mask.like.is_floating_point():
        raise Unsupported("attention with a mask of truth values")
    if key.rank < 2:
        raise Unsupported(f"keys of {key.rank} axes")
    factor = static(query.shape[-1], "the size of a head") ** -0.5 if scale is None else scale
    axes = list(range(key.rank))
    turned = importer.emit("transpose", key, permutation=[*axes[:-2], axes[-1], axes[-2]])
    scores = importer.emit("matmul", _scaled(importer, query.name, factor), turned)
    if attn_mask is not None:
        scores = importer.emit("add", scores, attn_mask)
    return importer.emit("matmul", importer.emit("softmax", scores, axis=-1), value)


# Poolings


def _max_pool(axes: int, with_indices: bool) -> Callable[..., Result]:
    def convert(
        importer: Importer,
        x: Value,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = (0,),
        dilation: Ints = (1,),
        ceil_mode: bool = False,
    ) -> Result:
        kernel = static_values(kernel_size, "the kernel", axes)
        window: dict[str, Any] = {
            "kernel": kernel,
            "stride": static_values(stride, "the stride", axes) or kernel,
            "padding": _pairs(padding, axes),
            "dilation": static_values(dilation, "the dilation", axes),
            "ceil_mode": ceil_mode,
        }
        if with_indices and x.rank == axes + 2:
            return importer.emit_many(2, "max_pool", x, **window)
        y = _batched(importer, x, axes, lambda images: importer.emit("max_pool", images, **window))
        return [y, None] if with_indices else y

    return convert


converts("max_pool1d")(_max_pool(1, False))
converts("max_pool2d")(_max_pool(2, False))
converts("max_pool2d_with_indices")(_max_pool(2, True))


def _avg_pool(axes: int) -> Callable[..., Result]:
    def convert(
        importer: Importer,
        x: Value,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Result:
        kernel = static_values(kernel_size, "the kernel", axes)
        window: dict[str, Any] = {
            "kernel": kernel,
            "stride": static_values(stride, "the stride", axes) or kernel,
            "padding": _pairs(padding, axes),
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
        }
        if divisor_override is not None:
            window["divisor"] = static(divisor_override, "the divisor")
        return _batched(importer, x, axes, lambda images: importer.emit("avg_pool", images, **window))

    return convert


converts("avg_pool1d")(_avg_pool(1))
converts("avg_pool2d")(_avg_pool(2))


@converts("avg_pool3d")
def avg_pool3d(
    importer: Importer,
    x: Value,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Result:
    """Along one axis, as F.local_response_norm has it; no other."""
    kernel = static_values(kernel_size, "the kernel", 3)
    steps = static_values(stride, "the stride", 3) or kernel
    pads = static_values(padding, "the padding", 3)
    if x.rank != 5 or [*kernel[1:], *steps[1:], *pads[1:]] != [1, 1, 1, 1, 0, 0]:
        raise Unsupported("3 spatial axes; the engine has one and two")
    flat = importer.emit("flatten", x, start=3, end=4)
    window: dict[str, Any] = {
        "kernel": [kernel[0], 1],
        "stride": [steps[0], 1],
        "padding": [[pads[0], pads[0]], [0, 0]],
        "ceil_mode": ceil_mode,
        "count_include_pad": count_include_pad,
    }
    if divisor_override is not None:
        window["divisor"] = static(divisor_override, "the divisor")
    pooled = importer.emit("avg_pool", flat, **window)
    return importer.emit("reshape", pooled, importer.sizes.vector((0, 0, -1, *x.shape[3:])))


def _adaptive(op: str, axes: int, with_indices: bool) -> Callable[..., Result]:
    def convert(importer: Importer, x: Value, output_size: Ints) -> Result:
        size = static_values(output_size, "the output size", axes)
        y = _batched(importer, x, axes, lambda images: importer.emit(op, images, output_size=size))
        return [y, None] if with_indices else y

    return convert


for _axes in (1, 2):
    converts(f"adaptive_avg_pool{_axes}d")(_adaptive("adaptive_avg_pool", _axes, False))
    converts(f"adaptive_max_pool{_axes}d")(_adaptive("adaptive_max_pool", _axes, True))
converts("_adaptive_avg_pool2d")(_adaptive("adaptive_avg_pool", 2, False))
