"""torch.ops.neocog.conv_transpose and conv_transpose_backward."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch._ops import OpOverload

from neocog._checks import pair
from neocog.torch.library.conv import (
    Geometry,
    Mask,
    backward_fake,
    check_grad,
    check_operands,
    contiguous,
    either_last,
    folds_backward,
    like_weight,
    or_empty,
    save_backward,
    save_operands,
    second_gradients,
    wanted_of,
)
from neocog.torch.library.images import (
    FORMATS,
    Ints,
    check_shape,
    core,
    dense,
    empty,
    pixels,
    size_of,
    window_steps,
)
from neocog.torch.library.registration import Gradients, define


def _geometry(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
) -> Geometry:
    """Check the arguments; output padding is negative padding of the way back to x."""
    spatial = check_operands(x, weight, bias, groups)
    if x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"`x` has {x.shape[1]} channels, but `weight` of shape {tuple(weight.shape)} takes {weight.shape[0]}; "
            "give them the same number."
        )
    if x.shape[1] % groups:
        raise ValueError(f"`groups` is {groups}; it must divide the {x.shape[1]} channels of `x`.")
    channels = weight.shape[1] * groups
    check_shape("bias", bias, (channels,), f"`weight` of shape {tuple(weight.shape)} with groups={groups}")
    steps, (top, bottom, left, right), gaps = window_steps(stride, padding, dilation, spatial)
    added = pair("output_padding", tuple(output_padding), spatial, 0)
    if any(added[a] and added[a] >= max(steps[a], gaps[a]) for a in (0, 1)):
        raise ValueError(
            f"`output_padding` is {list(output_padding)}; it must be less than the stride {list(stride)} or the "
            f"dilation {list(dilation)}."
        )
    pads = (top, bottom - added[0], left, right - added[1])
    size, kernel = size_of(x), size_of(weight)
    out = [(size[a] - 1) * steps[a] + gaps[a] * (kernel[a] - 1) + 1 - pads[2 * a] - pads[2 * a + 1] for a in (0, 1)]
    if min(out) < 1:
        raise ValueError(f"`padding` is {list(padding)}: it leaves an output of {tuple(out)} pixels; use less padding.")
    return steps, pads, gaps, (out[0], out[1])


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
) -> Any:
    steps, pads, gaps, size = _geometry(x, weight, bias, stride, padding, output_padding, groups, dilation)
    x, last = dense(x, weight)
    weight, bias = weight.contiguous(), contiguous(bias)
    return core.conv_transpose_forward(x, weight, bias, size, steps, pads, gaps, groups, 0, 0.0, last)


def _conv_transpose_fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
) -> Tensor:
    size = _geometry(x, weight, bias, stride, padding, output_padding, groups, dilation)[3]
    return empty(x, (x.shape[0], weight.shape[1] * groups, *pixels(x, size)), either_last(x, weight))


def _conv_transpose_gradients(ctx: Any, needed: Any, grad_y: Tensor | None) -> Gradients:
    if grad_y is None:
        return ()
    mask = list(needed[:3])
    x, weight = ctx.saved_tensors
    return wanted_of(conv_transpose_backward(grad_y, x, weight, *ctx.rest, mask), mask)


def _conv_transpose_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
    output_mask: Mask,
) -> Any:
    steps, pads, gaps, size = _geometry(x, weight, None, stride, padding, output_padding, groups, dilation)
    check_grad(grad_y, x, (x.shape[0], weight.shape[1] * groups, *pixels(x, size)))
    x, last = dense(x, weight)
    weight_last = core.memory_layout(weight) % 2 == 1
    weight = weight.contiguous()
    grad_y = grad_y.contiguous(memory_format=FORMATS[last])
    grad_x = grad_weight = grad_bias = None
    if output_mask[0]:  # the adjoint of the adjoint
        grad_x = core.conv_forward(grad_y, weight, None, None, steps, pads, gaps, groups, 0, 0.0, last)
    if output_mask[1]:
        grad_weight = core.conv_backward_weight(grad_y, x, size_of(weight), steps, pads, gaps, groups, last)
        grad_weight = like_weight(grad_weight, weight, weight_last)
    if output_mask[2]:
        grad_bias = core.conv_backward_bias(grad_y, last)
    return or_empty(x, grad_x, grad_weight, grad_bias)


def _conv_transpose_backward_fake(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
    output_mask: Mask,
) -> tuple[Tensor, Tensor, Tensor]:
    size = _geometry(x, weight, None, stride, padding, output_padding, groups, dilation)[3]
    check_grad(grad_y, x, (x.shape[0], weight.shape[1] * groups, *pixels(x, size)))
    return backward_fake(x, weight, weight.shape[1] * groups, output_mask)


conv_transpose: OpOverload = define(
    "conv_transpose(Tensor x, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] output_padding, "
    "int groups, int[] dilation) -> Tensor",
    _conv_transpose,
    _conv_transpose_fake,
    save=save_operands,
    backward=_conv_transpose_gradients,
    folds=lambda *_: (0,),
)
conv_transpose_backward: OpOverload = define(
    "conv_transpose_backward(Tensor grad_y, Tensor x, Tensor weight, int[] stride, int[] padding, "
    "int[] output_padding, int groups, int[] dilation, bool[3] output_mask) "
    "-> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias)",
    _conv_transpose_backward,
    _conv_transpose_backward_fake,
    save=save_backward,
    backward=second_gradients(conv_transpose, lambda *arguments: conv_transpose_backward(*arguments)),
    folds=folds_backward,
)
