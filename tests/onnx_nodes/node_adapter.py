"""ONNX operators, by node attributes and input arrays, in terms of `neocog.ops`; only here do both meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from neocog import ops

Array = np.ndarray
Attributes = dict[str, Any]
Pads = tuple[tuple[int, int], ...]


def run(op_type: str, attributes: Attributes, inputs: Sequence[Array | None], outputs: int) -> list[Array]:
    """The first `outputs` results of a node."""
    return list(NODES[op_type](attributes, *inputs))[:outputs]


def _one_or_two_d(name: str, x: Array) -> Callable[..., Any]:
    return getattr(ops, f"{name}{x.ndim - 2}d")


def _pads(attributes: Attributes, sizes: Sequence[int], kernel: Sequence[int]) -> Pads:
    """ONNX lists the low sides, then the high sides; auto_pad puts the odd pixel at the end or the start."""
    axes = len(sizes)
    auto = attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = attributes.get("pads", [0] * (2 * axes)) if auto == "NOTSET" else [0] * (2 * axes)
        return tuple(zip(pads[:axes], pads[axes:], strict=True))
    strides = attributes.get("strides", [1] * axes)
    spans = [d * (k - 1) + 1 for d, k in zip(attributes.get("dilations", [1] * axes), kernel, strict=True)]
    steps = zip(sizes, strides, spans, strict=True)
    totals = [max((-(-n // s) - 1) * s + span - n, 0) for n, s, span in steps]
    return tuple(_halves(total, auto == "SAME_UPPER") for total in totals)


def _halves(total: int, odd_one_at_the_end: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (small, large) if odd_one_at_the_end else (large, small)


def _conv(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> list[Array]:
    axes = x.ndim - 2
    steps = {
        "stride": attributes.get("strides", [1] * axes),
        "dilation": attributes.get("dilations", [1] * axes),
        "groups": attributes.get("group", 1),
        "padding": _pads(attributes, x.shape[2:], weight.shape[2:]),
    }
    return [_one_or_two_d("conv", x)(x, weight, bias, **steps)]


def _conv_transpose(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> list[Array]:
    axes = x.ndim - 2
    strides = attributes.get("strides", [1] * axes)
    dilations = attributes.get("dilations", [1] * axes)
    extra = list(attributes.get("output_padding", [0] * axes))
    auto, wanted = attributes.get("auto_pad", "NOTSET"), attributes.get("output_shape")
    if auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is None:
        pads = _pads(attributes, x.shape[2:], weight.shape[2:])
    else:
        steps = zip(x.shape[2:], strides, dilations, weight.shape[2:], extra, wanted, strict=True)
        excess = [(n - 1) * s + d * (k - 1) + 1 + e - out for n, s, d, k, e, out in steps]
        pads = tuple(_halves(max(e, 0), auto == "SAME_UPPER") for e in excess)
        extra = [e + max(-too_much, 0) for e, too_much in zip(extra, excess, strict=True)]
    steps = {"stride": strides, "dilation": dilations, "padding": pads, "output_padding": tuple(extra)}
    steps["groups"] = attributes.get("group", 1)
    return [_one_or_two_d("conv_transpose", x)(x, weight, bias, **steps)]


def _pool_steps(attributes: Attributes, x: Array) -> Attributes:
    kernel = attributes["kernel_shape"]
    return {
        "kernel_size": kernel,
        "stride": attributes.get("strides", [1] * len(kernel)),
        "padding": _pads(attributes, x.shape[2:], kernel),
        "ceil_mode": bool(attributes.get("ceil_mode", 0)),
    }


def _max_pool(attributes: Attributes, x: Array) -> list[Array]:
    steps = _pool_steps(attributes, x)
    steps["dilation"] = attributes.get("dilations", [1] * (x.ndim - 2))
    y, indices = _one_or_two_d("max_pool", x)(x, **steps, return_indices=True)
    if attributes.get("storage_order", 0):  # places counted column by column
        indices = indices % x.shape[3] * x.shape[2] + indices // x.shape[3]
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    return [y, indices + planes * np.prod(x.shape[2:])]  # ONNX counts through the whole tensor


def _average_pool(attributes: Attributes, x: Array) -> list[Array]:
    counted = bool(attributes.get("count_include_pad", 0))
    return [_one_or_two_d("avg_pool", x)(x, **_pool_steps(attributes, x), count_include_pad=counted)]


def _batch_normalization(
    attributes: Attributes, x: Array, weight: Array, bias: Array, mean: Array, var: Array
) -> list[Array]:
    eps = attributes.get("epsilon", 1e-5)
    if not attributes.get("training_mode", 0):
        return [ops.batch_norm(x, weight, bias, mean=mean, var=var, eps=eps)]
    keep = attributes.get("momentum", 0.9)
    y, batch_mean, batch_var = ops.batch_norm(x, weight, bias, training=True, eps=eps)
    return [y, mean * keep + batch_mean * (1 - keep), var * keep + batch_var * (1 - keep)]


def _gemm(attributes: Attributes, a: Array, b: Array, c: Array | None = None) -> list[Array]:
    x = a.T if attributes.get("transA") else a
    weight = b if attributes.get("transB") else b.T
    x = x * np.float32(attributes.get("alpha", 1))
    if c is None:
        return [ops.linear(x, weight)]
    c = c * np.float32(attributes.get("beta", 1))
    if c.ndim < 2 or len(c) == 1:
        return [ops.linear(x, weight, np.broadcast_to(c.reshape(-1), weight.shape[:1]))]
    return [ops.add(ops.linear(x, weight), c)]


def _depth_to_space(attributes: Attributes, x: Array) -> list[Array]:
    r = attributes["blocksize"]
    if attributes.get("mode", "DCR") == "DCR":  # the channel varies fastest; pixel_shuffle has it slowest
        n, c, h, w = x.shape
        x = x.reshape(n, r * r, c // (r * r), h, w).swapaxes(1, 2).reshape(n, c, h, w)
    return [ops.pixel_shuffle(x, r)]


def _resize(
    attributes: Attributes,
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
) -> list[Array]:
    corners = attributes.get("coordinate_transformation_mode", "half_pixel") == "align_corners"
    linear = {3: "linear", 4: "bilinear"}[x.ndim]
    mode = linear if attributes["mode"] == "linear" else "nearest-exact"
    axes = attributes.get("axes", list(range(x.ndim)))
    given = dict(zip(axes, (sizes if scales is None else scales).tolist(), strict=True))
    wanted = [given.get(axis, x.shape[axis] if scales is None else 1.0) for axis in range(2, x.ndim)]
    if scales is not None:
        return [ops.interpolate(x, scale_factor=wanted, mode=mode, align_corners=corners)]
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        ratios = [size / n for size, n in zip(wanted, x.shape[2:], strict=True)]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        wanted = [int(ratio * n + 0.5) for n in x.shape[2:]]
    return [ops.interpolate(x, size=wanted, mode=mode, align_corners=corners)]


NODES: dict[str, Callable[..., list[Array]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda attributes, x: [ops.global_avg_pool2d(x)],
    "GlobalMaxPool": lambda attributes, x: [ops.global_max_pool2d(x)],
    "BatchNormalization": _batch_normalization,
    "Gemm": _gemm,
    "DepthToSpace": _depth_to_space,
    "Resize": _resize,
}
