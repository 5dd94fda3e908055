"""aten::native_batch_norm and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neocog.torch.kernels.tensors import Unsupported, refusal
from neocog.torch.library.batch_norm import gradients, inference_kernel, training_kernel
from neocog.torch.library.images import core


def native_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """aten::native_batch_norm; updates the running statistics in training."""
    if training or x.dim() > 4:
        _check_layout(x)
    try:
        if not training:
            if running_mean is None or running_var is None:
                raise Unsupported("no running statistics")
            y = inference_kernel(x, running_mean, running_var, weight, bias, eps)
            return y, x.new_empty(0), x.new_empty(0)
        count = x.numel() // max(1, x.shape[1])
        if count < 2:
            raise Unsupported("one value per channel")
        for statistic in (running_mean, running_var):
            if statistic is not None and statistic.dtype is not x.dtype:
                raise refusal(ValueError(), x, statistic)
        y, mean, var = training_kernel(x, weight, bias, eps)
    except (TypeError, ValueError) as error:
        raise refusal(error, x, weight, bias, running_mean, running_var) from None
    if running_mean is not None:
        running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
    if running_var is not None:
        running_var.mul_(1 - momentum).add_(var, alpha=momentum * count / (count - 1))
    return y, mean, var.add_(eps).rsqrt_()


def native_batch_norm_backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_invstd: Tensor | None,
    train: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """aten::native_batch_norm_backward."""
    _check_layout(x)
    mean, var = running_mean, running_var
    if train:
        if save_mean is None or save_invstd is None:
            raise Unsupported("no saved statistics")
        mean, var, eps = save_mean, save_invstd.pow(-2), 0.0
    if mean is None or var is None:
        raise Unsupported("no running statistics")
    try:
        return gradients(grad_y, x, mean, var, weight, eps, train, output_mask)
    except (TypeError, ValueError) as error:
        raise refusal(error, x, weight, mean, var, grad_y) from None


def _check_layout(x: Tensor) -> None:
    if x.numel() == 0:
        raise Unsupported("an empty tensor")
    if x.dim() > 4 and core.memory_layout(x):
        raise Unsupported("a strided tensor of more than four axes")
