"""PyTorch's functions, spelled by their own arguments, in terms of `neocog.ops`.

Each adapter takes NumPy arrays where the torch function takes tensors and returns (result, backward):
backward(grad_y) gives one gradient for each floating-point array among the arguments, in the order of the
signature, and None where there is no derivative (running statistics).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from neocog import ops

Array = np.ndarray
Result = tuple[Any, Callable[[Array], Sequence[Array | None]]]


def _present(*gradients: Array | None) -> list[Array]:
    return [g for g in gradients if g is not None]


def _conv(axes: int) -> Callable[..., Result]:
    forward, backward = getattr(ops, f"conv{axes}d"), getattr(ops, f"conv{axes}d_backward")

    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Result:
        steps = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        mask = (True, True, bias is not None)
        y = forward(input, weight, bias, **steps)
        return y, lambda grad_y: _present(*backward(grad_y, input, weight, output_mask=mask, **steps))

    return conv


def _conv_transpose(axes: int) -> Callable[..., Result]:
    forward = getattr(ops, f"conv_transpose{axes}d")
    backward = getattr(ops, f"conv_transpose{axes}d_backward")

    def conv_transpose(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> Result:
        steps = {"stride": stride, "padding": padding, "output_padding": output_padding}
        steps |= {"groups": groups, "dilation": dilation}
        mask = (True, True, bias is not None)
        y = forward(input, weight, bias, **steps)
        return y, lambda grad_y: _present(*backward(grad_y, input, weight, output_mask=mask, **steps))

    return conv_transpose


def _max_pool(axes: int) -> Callable[..., Result]:
    forward, backward = getattr(ops, f"max_pool{axes}d"), getattr(ops, f"max_pool{axes}d_backward")

    def max_pool(
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    ) -> Result:
        steps = (kernel_size, stride, padding, dilation, ceil_mode)
        y = forward(input, *steps, return_indices=return_indices)
        _, indices = forward(input, *steps, return_indices=True)
        return y, lambda grad_y: [backward(grad_y, indices, input.shape[-axes:])]

    return max_pool


def _avg_pool(axes: int) -> Callable[..., Result]:
    forward, backward = getattr(ops, f"avg_pool{axes}d"), getattr(ops, f"avg_pool{axes}d_backward")

    def avg_pool(
        input,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ) -> Result:
        steps = {"stride": stride or None, "padding": padding, "ceil_mode": ceil_mode}
        steps |= {"count_include_pad": count_include_pad}
        if divisor_override is not None:
            steps["divisor_override"] = divisor_override
        y = forward(input, kernel_size, **steps)
        return y, lambda grad_y: [backward(grad_y, input.shape[-axes:], kernel_size, **steps)]

    return avg_pool


def _adaptive_avg_pool(axes: int) -> Callable[..., Result]:
    forward = getattr(ops, f"adaptive_avg_pool{axes}d")
    backward = getattr(ops, f"adaptive_avg_pool{axes}d_backward")

    def adaptive_avg_pool(input, output_size) -> Result:
        return forward(input, output_size), lambda grad_y: [backward(grad_y, input.shape[-axes:])]

    return adaptive_avg_pool


def _adaptive_max_pool(axes: int) -> Callable[..., Result]:
    forward, backward = getattr(ops, f"adaptive_max_pool{axes}d"), getattr(ops, f"max_pool{axes}d_backward")

    def adaptive_max_pool(input, output_size, return_indices=False) -> Result:
        y = forward(input, output_size, return_indices)
        _, indices = forward(input, output_size, return_indices=True)
        return y, lambda grad_y: [backward(grad_y, indices, input.shape[-axes:])]

    return adaptive_max_pool


def _max_unpool(axes: int) -> Callable[..., Result]:
    forward, backward = getattr(ops, f"max_unpool{axes}d"), getattr(ops, f"max_unpool{axes}d_backward")

    def max_unpool(input, indices, kernel_size, stride=None, padding=0, output_size=None) -> Result:
        spatial = None if output_size is None else tuple(output_size)[-axes:]
        y = forward(input, indices, kernel_size, stride, padding, spatial)
        return y, lambda grad_y: [backward(grad_y, indices)]

    return max_unpool


def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,  # moves the running statistics, which is not our op's business
    eps=1e-5,
) -> Result:
    if training:
        y, mean, var = ops.batch_norm(input, weight, bias, training=True, eps=eps)
    else:
        mean, var = running_mean, running_var
        y = ops.batch_norm(input, weight, bias, mean=mean, var=var, eps=eps)
    mask = (True, weight is not None, bias is not None)
    constants = [None for statistic in (running_mean, running_var) if statistic is not None]

    def backward(grad_y: Array) -> list[Array | None]:
        grad_x, *rest = ops.batch_norm_backward(
            grad_y, input, weight, mean=mean, var=var, training=training, eps=eps, output_mask=mask
        )
        return [grad_x, *constants, *_present(*rest)]

    return y, backward


def linear(input, weight, bias=None) -> Result:
    mask = (True, True, bias is not None)
    y = ops.linear(input, weight, bias)
    return y, lambda grad_y: _present(*ops.linear_backward(grad_y, input, weight, output_mask=mask))


def _activation(name: str, *, from_result: bool = False) -> Callable[..., Result]:
    """from_result: the derivative is written in terms of y, as aten has it for sigmoid and tanh."""
    forward, backward = getattr(ops, name), getattr(ops, f"{name}_backward")

    def activation(input, **arguments) -> Result:
        y = forward(input, **arguments)
        return y, lambda grad_y: [backward(grad_y, y if from_result else input, **arguments)]

    return activation


def prelu(input, weight) -> Result:
    return ops.prelu(input, weight), lambda grad_y: ops.prelu_backward(grad_y, input, weight)


def softmax(input, dim) -> Result:
    y = ops.softmax(input, axis=dim)
    return y, lambda grad_y: [ops.softmax_backward(grad_y, y, axis=dim)]


def add(input, other) -> Result:
    return ops.add(input, other), lambda grad_y: ops.add_backward(grad_y, input.shape, other.shape)


def cat(tensors, dim=0) -> Result:
    y = ops.concat(tensors, axis=dim)
    return y, lambda grad_y: ops.concat_backward(grad_y, [t.shape[dim] for t in tensors], axis=dim)


def pad(input, pad, mode="constant", value=None) -> Result:
    y = ops.pad(input, pad, value=0.0 if value is None else value, mode=mode)
    return y, lambda grad_y: [ops.pad_backward(grad_y, input.shape, pad, mode=mode)]


def pixel_shuffle(input, upscale_factor) -> Result:
    y = ops.pixel_shuffle(input, upscale_factor)
    return y, lambda grad_y: [ops.pixel_shuffle_backward(grad_y, upscale_factor)]


def pixel_unshuffle(input, downscale_factor) -> Result:
    y = ops.pixel_unshuffle(input, downscale_factor)
    return y, lambda grad_y: [ops.pixel_unshuffle_backward(grad_y, downscale_factor)]


def interpolate(
    input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None
) -> Result:
    how = {
        "mode": mode,
        "align_corners": bool(align_corners),  # torch's None is its way of saying "not given"
        "recompute_scale_factor": recompute_scale_factor,
    }
    y = ops.interpolate(input, size, scale_factor, **how)
    return y, lambda grad_y: [ops.interpolate_backward(grad_y, input.shape[2:], scale_factor, **how)]


def upsample_nearest(input, size=None, scale_factor=None) -> Result:
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input, size=None, scale_factor=None) -> Result:
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


ADAPTERS: dict[str, Callable[..., Result]] = {  # by the name of the OpInfo
    "nn.functional.conv1d": _conv(1),
    "nn.functional.conv2d": _conv(2),
    "nn.functional.conv_transpose1d": _conv_transpose(1),
    "nn.functional.conv_transpose2d": _conv_transpose(2),
    "nn.functional.max_pool1d": _max_pool(1),
    "nn.functional.max_pool2d": _max_pool(2),
    "nn.functional.avg_pool1d": _avg_pool(1),
    "nn.functional.avg_pool2d": _avg_pool(2),
    "nn.functional.adaptive_avg_pool1d": _adaptive_avg_pool(1),
    "nn.functional.adaptive_avg_pool2d": _adaptive_avg_pool(2),
    "nn.functional.adaptive_max_pool1d": _adaptive_max_pool(1),
    "nn.functional.adaptive_max_pool2d": _adaptive_max_pool(2),
    "nn.functional.max_unpool1d": _max_unpool(1),
    "nn.functional.max_unpool2d": _max_unpool(2),
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.linear": linear,
    "nn.functional.relu": _activation("relu"),
    "nn.functional.relu6": _activation("relu6"),
    "nn.functional.leaky_relu": _activation("leaky_relu"),
    "nn.functional.prelu": prelu,
    "nn.functional.elu": _activation("elu"),
    "nn.functional.gelu": _activation("gelu"),
    "nn.functional.silu": _activation("silu"),
    "nn.functional.hardswish": _activation("hardswish"),
    "sigmoid": _activation("sigmoid", from_result=True),
    "tanh": _activation("tanh", from_result=True),
    "softmax": softmax,
    "add": add,
    "cat": cat,
    "nn.functional.pad": pad,
    "nn.functional.pixel_shuffle": pixel_shuffle,
    "nn.functional.pixel_unshuffle": pixel_unshuffle,
    "nn.functional.interpolate": interpolate,
    "nn.functional.upsample_nearest": upsample_nearest,
    "nn.functional.upsample_bilinear": upsample_bilinear,
}
