"""Convolutions and poolings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from neocog._activations import ACTIVATIONS, activation_code
from neocog.engine.builder import Builder, View, last_order
from neocog.engine.graph import Node
from neocog.engine.lowering import lowers

Pairs = list[tuple[int, int]]


@lowers("conv")
def conv(node: Node, build: Builder) -> None:
    x, shape, window = _image_and_window(node, build)
    weight_shape = build.shape(_name(node, 1))
    kernel, spatial = weight_shape[2:], shape[2:]
    pads = _padding(node, build, spatial, kernel, window["stride"], window["dilation"])
    out = [
        _outputs(size + sum(pad), k, stride, dilation)
        for size, pad, k, stride, dilation in zip(
            spatial, pads, kernel, window["stride"], window["dilation"], strict=True
        )
    ]
    if min(out) < 1:
        raise build.error(f"the kernel {tuple(kernel)} exceeds the padded image, {spatial} with padding {pads}.")
    if weight_shape[1] * node["groups"] != shape[1] or weight_shape[0] % node["groups"]:
        raise build.error(
            f"x has {shape[1]} channels and the weight the shape {weight_shape} with {node['groups']} groups; "
            "the weight must be (O, C/groups, ...), O a multiple of groups."
        )
    y, epilogue = _result(node, build, (shape[0], weight_shape[0], *out), 2)
    operations = 2 * y.size * math.prod(weight_shape[1:])
    _window_step(node, build, "conv", x, y, [build.layer_weights(_name(node, 1))], pads, window, epilogue, operations)


@lowers("conv_transpose")
def conv_transpose(node: Node, build: Builder) -> None:
    x, shape, window = _image_and_window(node, build)
    weight_shape = build.shape(_name(node, 1))
    kernel, spatial = weight_shape[2:], shape[2:]
    padding, size = node["padding"], node["output_size"]
    pads: Pairs = []
    out: list[int] = []
    for axis, n in enumerate(spatial):
        stride, reach = window["stride"][axis], window["dilation"][axis] * (kernel[axis] - 1) + 1
        whole = (n - 1) * stride + reach
        if isinstance(padding, str):
            wanted = n * stride if size is None else size[axis]
            crop = max(0, whole - wanted)
            small, large = crop // 2, crop - crop // 2
            begin = small if padding == "same_upper" else large
        else:
            begin = padding[axis][0]
            wanted = whole - sum(padding[axis]) + node["output_padding"][axis] if size is None else size[axis]
        if wanted < 1:
            raise build.error(f"axis {axis} would have {wanted} outputs; its padding crops all of {whole}.")
        # Seen from y: the window that maps `wanted` outputs to n inputs.
        pads.append((begin, whole - begin - wanted))
        out.append(wanted)
    if weight_shape[0] != shape[1]:
        raise build.error(f"x has {shape[1]} channels, the weight {weight_shape}; it must be (C, O/groups, ...).")
    y, epilogue = _result(node, build, (shape[0], weight_shape[1] * node["groups"], *out), 2)
    operations = 2 * x.size * math.prod(weight_shape[1:])
    weights = [build.layer_weights(_name(node, 1))]
    _window_step(node, build, "conv_transpose", x, y, weights, pads, window, epilogue, operations)


@lowers("separable_conv")
def separable_conv(node: Node, build: Builder) -> None:
    x, shape, window = _image_and_window(node, build)
    depthwise, pointwise = build.shape(_name(node, 1)), build.shape(_name(node, 2))
    kernel, spatial = depthwise[2:], shape[2:]
    pads = _padding(node, build, spatial, kernel, window["stride"], window["dilation"])
    out = [
        _outputs(size + sum(pad), k, stride, dilation)
        for size, pad, k, stride, dilation in zip(
            spatial, pads, kernel, window["stride"], window["dilation"], strict=True
        )
    ]
    if min(out) < 1:
        raise build.error(f"the kernel {tuple(kernel)} exceeds the padded image, {spatial} with padding {pads}.")
    y, epilogue = _result(node, build, (shape[0], pointwise[0], *out), 3)
    pixels = shape[0] * math.prod(out)
    operations = 2 * pixels * depthwise[0] * (math.prod(kernel) + pointwise[0])
    weights = [build.layer_weights(_name(node, 1)), build.layer_weights(_name(node, 2))]
    bias, residual, *activation = epilogue
    numbers = (_two(window["stride"], 1), _four(pads), _two(window["dilation"], 1), *activation)
    before = _before(node, build, shape[1])
    operands = (x, *weights, bias, residual, *before)
    code, alpha = activation_code(node["before_activation"])
    if node["before_activation"] in ("leaky_relu", "elu"):
        alpha = node["before_alpha"]
    reads = tuple(view for view in operands if isinstance(view, View))
    build.step("separable_conv", *operands, y, *numbers, code, alpha, reads=reads, writes=(y,), operations=operations)


def _before(node: Node, build: Builder, channels: int) -> list[View | None]:
    """Center, scale and shift of what x goes through first; all None if there is no such thing."""
    names = [_optional(node, place) for place in (5, 6, 7)]
    views = [None if name is None else build.ordered(name) for name in names]
    for view in views:
        if (view is None) != (views[0] is None):
            raise build.error("center, scale and shift must all be given, or none of them.")
        if view is not None and view.size != channels:
            raise build.error(f"center, scale and shift need {channels} values each, one per channel of x.")
    return views


@lowers("max_pool")
def max_pool(node: Node, build: Builder) -> None:
    if len(node.outputs) > 1 and node.outputs[1] is not None:
        raise build.error("the indices of a max pooling cannot be had in a compiled model; use its values alone.")
    x, shape, window = _image_and_window(node, build)
    pads, out = _pool_window(node, build, shape[2:], window["stride"], window["dilation"])
    y = build.result(node.outputs[0], (*shape[:2], *out))
    x, y = _alike(build, x, y)
    numbers = (_two(node["kernel"], 1), _two(window["stride"], 1), _four(pads), _two(window["dilation"], 1))
    build.step("max_pool", x, y, *numbers, reads=(x,), writes=(y,))


@lowers("avg_pool")
def avg_pool(node: Node, build: Builder) -> None:
    x, shape, window = _image_and_window(node, build)
    pads, out = _pool_window(node, build, shape[2:], window["stride"], [1] * len(shape[2:]))
    y = build.result(node.outputs[0], (*shape[:2], *out))
    x, y = _alike(build, x, y)
    numbers = (_two(node["kernel"], 1), _two(window["stride"], 1), _four(pads))
    divisor = node["divisor"]
    if divisor == 0:
        raise build.error("the divisor must not be 0.")
    build.step("avg_pool", x, y, *numbers, node["count_include_pad"], divisor, reads=(x,), writes=(y,))


@lowers("adaptive_avg_pool", "adaptive_max_pool")
def adaptive_pool(node: Node, build: Builder) -> None:
    shape = build.shape(_name(node, 0))
    spatial, size = shape[2:], list(node["output_size"])
    if len(size) == 1:
        size *= len(spatial)
    if len(size) != len(spatial) or min(size, default=0) < 0 or 0 in spatial:
        raise build.error(f"output_size {node['output_size']} does not fit images {shape}.")
    x = build.image(_name(node, 0))
    y = build.result(node.outputs[0], (*shape[:2], *size))
    x, y = _alike(build, x, y)
    build.step(node.op, x, y, reads=(x,), writes=(y,))


def _name(node: Node, place: int) -> str:
    name = node.inputs[place]
    assert name is not None  # by validate()
    return name


def _optional(node: Node, place: int) -> str | None:
    return node.inputs[place] if place < len(node.inputs) else None


def _image_and_window(node: Node, build: Builder) -> tuple[View, tuple[int, ...], dict[str, list[int]]]:
    """x, its shape, and the numbers of the window with one entry per spatial axis."""
    x = build.image(_name(node, 0))
    spatial = len(x.shape) - 2
    window = {}
    for key in ("stride", "dilation", "kernel", "output_padding"):
        try:
            value = node[key]
        except KeyError:
            continue
        if len(value) != spatial:
            raise build.error(f"`{key}` is {value}, but images {x.shape} have {spatial} spatial axes.")
        window[key] = list(value)
    return x, x.shape, window


def _outputs(padded: int, kernel: int, stride: int, dilation: int, ceil_mode: bool = False) -> int:
    room = padded - dilation * (kernel - 1) - 1
    if ceil_mode:  # the last window may be larger than what is left, and the first one too
        return -(-room // stride) + 1
    return 0 if room < 0 else room // stride + 1


def _padding(
    node: Node, build: Builder, spatial: Sequence[int], kernel: Sequence[int], stride: list[int], dilation: list[int]
) -> Pairs:
    padding = node["padding"]
    if not isinstance(padding, str):
        if len(padding) != len(spatial):
            raise build.error(f"`padding` is {padding}; it must have a pair for each of {len(spatial)} spatial axes.")
        return [(int(begin), int(end)) for begin, end in padding]
    pairs = []
    for size, k, step, dilate in zip(spatial, kernel, stride, dilation, strict=True):
        total = max(0, (-(-size // step) - 1) * step + dilate * (k - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if padding == "same_upper" else (large, small))
    return pairs


def _pool_window(
    node: Node, build: Builder, spatial: Sequence[int], stride: list[int], dilation: list[int]
) -> tuple[Pairs, list[int]]:
    kernel = node["kernel"]
    pads = _padding(node, build, spatial, kernel, stride, dilation)
    out = []
    for size, (begin, end), k, step, dilate in zip(spatial, pads, kernel, stride, dilation, strict=True):
        if begin < 0 or end < 0 or size < 1:
            raise build.error(f"padding {pads} or the image {tuple(spatial)} is no pooling's; pad or crop before.")
        count = _outputs(size + begin + end, k, step, dilate, node["ceil_mode"])
        # A window that would start behind the image and its first padding is not there, in ceil mode.
        if node["ceil_mode"] and (count - 1) * step >= size + begin:
            count -= 1
        if count < 1:
            raise build.error(f"the kernel {kernel} exceeds the padded image, {tuple(spatial)} with padding {pads}.")
        out.append(count)
    return pads, out


def _alike(build: Builder, x: View, y: View) -> tuple[View, View]:
    """x in the layout of y, for kernels that take one layout; a y of one pixel or channel lies in both."""
    last = last_order(len(y.shape))
    if y.is_dense() and y.is_dense(last) and x.is_dense(last):
        return x, y
    order = None if y.is_dense() else last
    return build.ordered_view(x, order), y


def _result(
    node: Node, build: Builder, shape: tuple[int, ...], bias: int
) -> tuple[View, tuple[View | None, View | None, int, float]]:
    """A place for y, and (bias, residual, activation, alpha); the bias is input `bias`, the residual the next."""
    y = build.result(node.outputs[0], shape)
    bias_name, residual_name = _optional(node, bias), _optional(node, bias + 1)
    bias_view = None if bias_name is None else build.ordered(bias_name)
    if bias_view is not None and bias_view.size != shape[1]:
        raise build.error(f"the bias has {bias_view.size} values for {shape[1]} channels of y.")
    residual = None
    if residual_name is not None:
        residual = build.view(residual_name)
        if residual.shape != y.shape:
            raise build.error(f"the residual has the shape {residual.shape}, the result {y.shape}; they must agree.")
        residual = build.ordered_view(residual, None if y.is_dense() else last_order(len(shape)))
    activation = node["activation"]
    code, default = activation_code(activation)
    assert activation is None or activation in ACTIVATIONS
    return y, (bias_view, residual, code, node["alpha"] if activation in ("leaky_relu", "elu") else default)


def _window_step(
    node: Node,
    build: Builder,
    method: str,
    x: View,
    y: View,
    weights: list[Any],
    pads: Pairs,
    window: dict[str, list[int]],
    epilogue: tuple[View | None, View | None, int, float],
    operations: int,
) -> None:
    bias, residual, code, alpha = epilogue
    numbers = [_two(window["stride"], 1), _four(pads), _two(window["dilation"], 1), node["groups"]]
    operands = [x, *weights, bias, residual]
    reads = tuple(view for view in (x, *weights, bias, residual) if isinstance(view, View))
    last = [code, alpha, node["precision"] == "bf16"] if method == "conv" else [code, alpha]
    build.step(method, *operands, y, *numbers, *last, reads=reads, writes=(y,), operations=operations)


def _two(values: Sequence[int], missing: int) -> tuple[int, int]:
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def _four(pads: Pairs) -> tuple[int, int, int, int]:
    (top, bottom), (left, right) = pads if len(pads) == 2 else [(0, 0), *pads]
    return (top, bottom, left, right)
