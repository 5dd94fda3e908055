"""torch.ops.neocog.conv and conv_backward, and what the family of convolutions shares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from neocog._checks import Padding, Pair, integer, window_size
from neocog.torch.library.images import (
    FORMATS,
    Ints,
    check_dtypes,
    check_images,
    check_shape,
    core,
    dense,
    empty,
    is_channels_last,
    pixels,
    size_of,
    window_steps,
)
from neocog.torch.library.registration import Gradients, define

Mask = Any  # bools, one per gradient
Geometry = tuple[Pair, Padding, Pair, Any]  # stride, padding, dilation, y's (height, width)


def check_operands(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> int:
    check_dtypes(x, weight=weight, bias=bias)
    spatial = check_images(x)
    if weight.dim() != x.dim():
        raise ValueError(
            f"`weight` has shape {tuple(weight.shape)}; for `x` of shape {tuple(x.shape)} it needs {x.dim()} axes."
        )
    if 0 in weight.shape:
        raise ValueError(f"`weight` has shape {tuple(weight.shape)}; none of its axes may be empty.")
    integer("groups", groups, 1)
    return spatial


def conv_geometry(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Geometry:
    """Check the arguments of `conv`."""
    spatial = check_operands(x, weight, bias, groups)
    if x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"`x` has {x.shape[1]} channels, but `weight` of shape {tuple(weight.shape)} with groups={groups} takes "
            f"{weight.shape[1] * groups}; give them the same number."
        )
    if weight.shape[0] % groups:
        raise ValueError(f"`groups` is {groups}; it must divide the {weight.shape[0]} kernels of `weight`.")
    check_shape("bias", bias, (weight.shape[0],), f"`weight` of shape {tuple(weight.shape)}")
    steps, pads, gaps = window_steps(stride, padding, dilation, spatial)
    return steps, pads, gaps, window_size("x", size_of(x), size_of(weight), steps, pads, gaps)


def contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def either_last(x: Tensor, *weights: Tensor) -> bool:
    return any(is_channels_last(tensor) for tensor in (x, *weights))


def _masked(x: Tensor, shape: tuple[Any, ...], channels_last: bool, wanted: bool) -> Tensor:
    return empty(x, shape, channels_last) if wanted else x.new_empty(0)


def like_weight(grad: Tensor, weight: Tensor, channels_last: bool) -> Tensor:
    """The gradient of a parameter in the parameter's memory format, so that nothing has to turn it later."""
    if not channels_last or weight.dim() != 4:
        return grad
    _, c, h, w = grad.shape
    # The format's own strides also where axes of one element allow others, as torch has them.
    return grad.contiguous(memory_format=torch.channels_last).as_strided(grad.shape, (c * h * w, 1, w * c, c))


def is_planar(stride: Ints, padding: Ints, dilation: Ints) -> bool:
    """Whether the lists can go to `_core` as they are: two axes, and no negative padding, which would crop."""
    return len(stride) == 2 == len(dilation) and len(padding) in (2, 4) and min(padding) >= 0


def conv_kernel(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Any:
    if x.dim() == 4 == weight.dim() and is_planar(stride, padding, dilation):
        try:  # what is dense and right takes this way; what is not has time for the other
            return core.conv_forward(x, weight, bias, None, stride, padding, dilation, groups, 0, 0.0, None)
        except ValueError:
            pass
    steps, pads, gaps, _ = conv_geometry(x, weight, bias, stride, padding, dilation, groups)
    x, last = dense(x, weight)
    weight, bias = weight.contiguous(), contiguous(bias)
    return core.conv_forward(x, weight, bias, None, steps, pads, gaps, groups, 0, 0.0, last)


def conv_fake(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    size = conv_geometry(x, weight, bias, *rest)[3]
    return empty(x, (x.shape[0], weight.shape[0], *pixels(x, size)), either_last(x, weight))


def save_operands(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    ctx.save_for_backward(arguments[0], arguments[1])
    ctx.rest = arguments[3:]


def _conv_gradients(ctx: Any, needed: Any, grad_y: Tensor | None) -> Gradients:
    if grad_y is None:
        return ()
    mask = list(needed[:3])
    x, weight = ctx.saved_tensors
    return wanted_of(conv_backward(grad_y, x, weight, *ctx.rest, mask), mask)


def wanted_of(grads: Gradients, mask: Mask) -> Gradients:
    return [grad if wanted else None for grad, wanted in zip(grads, mask, strict=True)]


def _conv_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    output_mask: Mask,
) -> Any:
    steps, pads, gaps, size = conv_geometry(x, weight, None, stride, padding, dilation, groups)
    check_grad(grad_y, x, (x.shape[0], weight.shape[0], *pixels(x, size)))
    x, last = dense(x, weight)
    weight_last = core.memory_layout(weight) % 2 == 1
    weight = weight.contiguous()
    grad_y = grad_y.contiguous(memory_format=FORMATS[last])
    grad_x = grad_weight = grad_bias = None
    if output_mask[0]:
        grad_x = core.conv_backward_x(grad_y, weight, size_of(x), steps, pads, gaps, groups, last)
    if output_mask[1]:
        grad_weight = core.conv_backward_weight(x, grad_y, size_of(weight), steps, pads, gaps, groups, last)
        grad_weight = like_weight(grad_weight, weight, weight_last)
    if output_mask[2]:
        grad_bias = core.conv_backward_bias(grad_y, last)
    return or_empty(x, grad_x, grad_weight, grad_bias)


def or_empty(x: Tensor, *grads: Tensor | None) -> Any:
    return tuple(x.new_empty(0) if grad is None else grad for grad in grads)


def check_grad(grad_y: Tensor, x: Tensor, shape: tuple[Any, ...]) -> None:
    check_dtypes(x, grad_y=grad_y)
    check_shape("grad_y", grad_y, shape, "y")


def backward_fake(x: Tensor, weight: Tensor, channels: Any, output_mask: Mask) -> tuple[Tensor, Tensor, Tensor]:
    grad_weight = _masked(x, tuple(weight.shape), False, output_mask[1])
    if output_mask[1]:
        grad_weight = like_weight(grad_weight, weight, is_channels_last(weight))
    return (
        _masked(x, tuple(x.shape), either_last(x, weight), output_mask[0]),
        grad_weight,
        _masked(x, (channels,), False, output_mask[2]),
    )


def _conv_backward_fake(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    output_mask: Mask,
) -> tuple[Tensor, Tensor, Tensor]:
    size = conv_geometry(x, weight, None, stride, padding, dilation, groups)[3]
    check_grad(grad_y, x, (x.shape[0], weight.shape[0], *pixels(x, size)))
    return backward_fake(x, weight, weight.shape[0], output_mask)


def save_backward(ctx: Any, arguments: tuple[Any, ...], result: Any) -> None:
    ctx.save_for_backward(*arguments[:3])
    ctx.rest, ctx.mask = arguments[3:-1], arguments[-1]
    ctx.mark_non_differentiable(*(grad for grad, wanted in zip(result, ctx.mask, strict=True) if not wanted))


def second_gradients(forward: Any, backward: Any) -> Any:
    """Gradients of `backward`: grad_x is linear in weight, grad_weight in x, and all three are in grad_y."""

    def gradients(ctx: Any, needed: Any, *grads: Tensor | None) -> Gradients:
        grad_y, x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = (g if wanted else None for g, wanted in zip(grads, ctx.mask, strict=True))
        of_grad_y = of_operand = of_kernel = None
        if needed[0]:
            if of_weight is not None:
                of_grad_y = forward(x, of_weight, of_bias, *ctx.rest)
            elif of_bias is not None:
                of_grad_y = of_bias.view(1, -1, *(1,) * (x.dim() - 2)).expand_as(grad_y)
            if of_x is not None:
                through = forward(of_x, weight, None, *ctx.rest)
                of_grad_y = through if of_grad_y is None else of_grad_y + through
        if needed[1] and of_weight is not None:
            of_operand = backward(grad_y, x, of_weight, *ctx.rest, [True, False, False])[0]
        if needed[2] and of_x is not None:
            of_kernel = backward(grad_y, of_x, weight, *ctx.rest, [False, True, False])[1]
        return of_grad_y, of_operand, of_kernel

    return gradients


def folds_backward(*arguments: Any) -> tuple[int, ...]:
    mask = arguments[-1]
    return (0, 1) if not (mask[1] or mask[2]) else ()


conv: OpOverload = define(
    "conv(Tensor x, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, int groups) -> Tensor",
    conv_kernel,
    conv_fake,
    save=save_operands,
    backward=_conv_gradients,
    folds=lambda *_: (0,),
)
conv_backward: OpOverload = define(
    "conv_backward(Tensor grad_y, Tensor x, Tensor weight, int[] stride, int[] padding, int[] dilation, int groups, "
    "bool[3] output_mask) -> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias)",
    _conv_backward,
    _conv_backward_fake,
    save=save_backward,
    backward=second_gradients(conv, lambda *arguments: conv_backward(*arguments)),
    folds=folds_backward,
)
