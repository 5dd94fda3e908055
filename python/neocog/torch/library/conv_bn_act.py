"""torch.ops.neocog.conv_bn_act_training and conv_bn_act_inference: convolution, batch norm and activation in one.

Both keep x, what the convolution gives (training only) and the statistics; the normalised image and the mask of the
activation are computed again in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neocog._activations import activation_code
from neocog.torch.library.batch_norm import (
    check_batch_norm,
    contiguous_all,
    fixed_statistics_gradients,
    statistics_gradient,
)
from neocog.torch.library.batch_norm_act import gradients_through
from neocog.torch.library.conv import conv, conv_backward, conv_fake
from neocog.torch.library.conv_plan import checked_plan, conv_plan
from neocog.torch.library.images import Ints, core, dense
from neocog.torch.library.registration import Gradients, define


def _training(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    bn_weight: Tensor | None,
    bn_bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    eps: float,
    activation: str | None,
) -> Any:
    code, alpha = activation_code(activation)
    rest = (eps, code, alpha)
    try:  # what is dense and right takes this way; what is not has time for the other
        plan = conv_plan(x.shape, weight.shape, tuple(stride), tuple(padding), tuple(dilation), groups)
        return core.conv_batch_norm_training(x, weight, bias, bn_weight, bn_bias, *plan[:4], *rest, None)
    except ValueError:
        pass
    plan = checked_plan(conv_plan, x, weight, bias, stride, padding, dilation, groups)
    like = x.new_empty(plan.shape, device="meta")  # what the convolution gives
    check_batch_norm(like, counted=True, bn_weight=bn_weight, bn_bias=bn_bias)
    x, last = dense(x, weight)
    parameters = contiguous_all(weight, bias, bn_weight, bn_bias)
    return core.conv_batch_norm_training(x, *parameters, *plan[:4], *rest, last)


def _training_fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    bn_weight: Tensor | None,
    bn_bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    _: float,
    activation: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    activation_code(activation)
    middle = conv_fake(x, weight, bias, stride, padding, dilation, groups)
    check_batch_norm(middle, counted=True, bn_weight=bn_weight, bn_bias=bn_bias)
    channels = weight.shape[0]
    return torch.empty_like(middle), middle, x.new_empty(channels), x.new_empty(channels)


def _save_training(ctx: Any, arguments: tuple[Any, ...], result: Any) -> None:
    x, weight, _, bn_weight, bn_bias, *ctx.rest, ctx.eps, ctx.activation = arguments
    ctx.save_for_backward(x, weight, bn_weight, bn_bias, *result[1:])


def _training_gradients(
    ctx: Any,
    needed: Any,
    grad_y: Tensor | None,
    grad_middle: Tensor | None,
    grad_mean: Tensor | None,
    grad_var: Tensor | None,
) -> Gradients:
    x, weight, bn_weight, bn_bias, middle, mean, var = ctx.saved_tensors
    grad_bn_weight = grad_bn_bias = None
    of_middle = grad_middle
    if grad_y is not None:
        mask = [True, needed[3], needed[4]]
        through, grad_bn_weight, grad_bn_bias = gradients_through(
            grad_y, middle, mean, var, bn_weight, bn_bias, ctx.eps, True, ctx.activation, mask
        )
        of_middle = through if of_middle is None else of_middle + through
    if grad_mean is not None or grad_var is not None:
        through = statistics_gradient(middle, mean, grad_mean, grad_var)
        of_middle = through if of_middle is None else of_middle + through
    if of_middle is None:
        return ()
    grads = conv_backward(of_middle, x, weight, *ctx.rest, list(needed[:3]))
    return [
        grad if wanted else None
        for grad, wanted in zip((*grads, grad_bn_weight, grad_bn_bias), needed[:5], strict=True)
    ]


def _inference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    bn_weight: Tensor | None,
    bn_bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    eps: float,
    activation: str | None,
) -> Any:
    code, alpha = activation_code(activation)
    plan = checked_plan(conv_plan, x, weight, bias, stride, padding, dilation, groups)
    _check_statistics(x, weight, mean, var, bn_weight, bn_bias)
    scale = (var + eps).rsqrt_()
    if bn_weight is not None:
        scale.mul_(bn_weight)
    shift = mean.neg() if bias is None else bias - mean
    shift.mul_(scale)
    if bn_bias is not None:
        shift.add_(bn_bias)
    x, last = dense(x, weight)
    folded = (weight * scale.view(-1, *(1,) * (weight.dim() - 1))).contiguous()
    return core.conv_forward(x, folded, shift, None, *plan[:4], code, alpha, last)


def _check_statistics(
    x: Tensor, weight: Tensor, mean: Tensor, var: Tensor, bn_weight: Tensor | None, bn_bias: Tensor | None
) -> None:
    channels, dtype = weight.shape[:1], weight.dtype
    for tensor in (mean, var, bn_weight, bn_bias):
        if tensor is not None and (tensor.shape != channels or tensor.dtype is not dtype):
            break
    else:
        return
    # What the convolution gives has the channels of the kernels.
    like = weight.detach().transpose(0, 1)
    check_batch_norm(like, counted=False, mean=mean, var=var, bn_weight=bn_weight, bn_bias=bn_bias)


def _inference_fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    bn_weight: Tensor | None,
    bn_bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    _: float,
    activation: str | None,
) -> Tensor:
    activation_code(activation)
    y = conv_fake(x, weight, bias, stride, padding, dilation, groups)
    _check_statistics(x, weight, mean, var, bn_weight, bn_bias)
    return y


def _save_inference(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    *tensors, stride, padding, dilation, groups, ctx.eps, ctx.activation = arguments
    ctx.rest = (stride, padding, dilation, groups)
    ctx.save_for_backward(*tensors)


def _inference_gradients(ctx: Any, needed: Any, grad_y: Tensor | None) -> Gradients:
    if grad_y is None:
        return ()
    x, weight, bias, mean, var, bn_weight, bn_bias = ctx.saved_tensors
    middle = conv(x, weight, bias, *ctx.rest)
    of_mean, of_var = needed[3:5]
    mask = [True, needed[5] or of_var, needed[6] or of_mean]
    of_middle, grad_bn_weight, grad_bn_bias = gradients_through(
        grad_y, middle, mean, var, bn_weight, bn_bias, ctx.eps, False, ctx.activation, mask
    )
    grads = conv_backward(of_middle, x, weight, *ctx.rest, list(needed[:3]))
    grad_mean, grad_var = fixed_statistics_gradients(grad_bn_weight, grad_bn_bias, var, bn_weight, ctx.eps, needed[3:5])
    found = (*grads, grad_mean, grad_var, grad_bn_weight, grad_bn_bias)
    return [grad if wanted else None for grad, wanted in zip(found, needed[:7], strict=True)]


conv_bn_act_training = define(
    "conv_bn_act_training(Tensor x, Tensor weight, Tensor? bias, Tensor? bn_weight, Tensor? bn_bias, int[] stride, "
    "int[] padding, int[] dilation, int groups, float eps, str? activation) "
    "-> (Tensor y, Tensor middle, Tensor mean, Tensor var)",
    _training,
    _training_fake,
    save=_save_training,
    backward=_training_gradients,
    folds=lambda *_: (),
)
conv_bn_act_inference = define(
    "conv_bn_act_inference(Tensor x, Tensor weight, Tensor? bias, Tensor mean, Tensor var, Tensor? bn_weight, "
    "Tensor? bn_bias, int[] stride, int[] padding, int[] dilation, int groups, float eps, str? activation) -> Tensor",
    _inference,
    _inference_fake,
    save=_save_inference,
    backward=_inference_gradients,
    folds=lambda *_: (0,),
)
