"""aten::convolution, transposed too, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neocog.torch.kernels.tensors import Unsupported, refusal
from neocog.torch.library.conv import conv_kernel
from neocog.torch.library.conv_plan import Plan, checked_plan, conv_plan, conv_transpose_plan
from neocog.torch.library.conv_transpose import conv_transpose_kernel
from neocog.torch.library.convolutions import gradients, has_last
from neocog.torch.library.images import Ints


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Tensor:
    """aten::convolution in one or two dimensions; transposed too."""
    _check_padding(x, padding)
    try:
        if transposed:
            return conv_transpose_kernel(  # type: ignore[no-any-return]
                x, weight, bias, stride, padding, output_padding, groups, dilation
            )
        return conv_kernel(x, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise refusal(error, x, weight, bias) from None


def convolution_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Ints | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """aten::convolution_backward in one or two dimensions."""
    _check_padding(x, padding)
    plan: Plan
    try:
        if transposed:
            numbers = (stride, padding, output_padding, groups, dilation)
            plan = checked_plan(conv_transpose_plan, x, weight, None, *numbers, grad_y=grad_y)
        else:
            plan = checked_plan(conv_plan, x, weight, None, stride, padding, dilation, groups, grad_y=grad_y)
        if x.numel() == 0:
            raise Unsupported("an empty tensor")
        # In float64 torch leaves the strides of axes of one element as they are.
        like_images = x.dtype is torch.float32 or has_last(weight)
        grad_x, grad_weight, grad_bias, last = gradients(
            transposed, plan, grad_y, x, weight, output_mask, like_images=like_images
        )
    except (TypeError, ValueError) as error:
        raise refusal(error, x, weight, grad_y) from None
    if last and grad_weight is not None and not like_images:
        grad_weight = grad_weight.contiguous(memory_format=torch.channels_last)
    return grad_x, grad_weight, grad_bias


def _check_padding(x: Tensor, padding: Ints) -> None:
    # Both ends of every axis are for neocog's operators; torch has an error for them.
    if len(padding) > x.dim() - 2:
        raise Unsupported("more paddings than spatial axes")
