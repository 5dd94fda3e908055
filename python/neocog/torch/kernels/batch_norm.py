"""aten::native_batch_norm and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neocog.torch.kernels.tensors import FORMATS, Unsupported, check_dtypes, core, dense_values


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
    if not training and running_mean is not None and running_var is not None:
        try:  # what is dense and right takes this way; what is not has time for the other
            y = core.batch_norm_inference(x, running_mean, running_var, weight, bias, eps, 0, 0.0, None)
            return y, x.new_empty(0), x.new_empty(0)
        except ValueError:
            pass
    check_dtypes(x, weight, bias, running_mean, running_var)
    x, last = dense_values(x)
    try:
        if not training:
            if running_mean is None or running_var is None:
                raise Unsupported("no running statistics")
            y = core.batch_norm_inference(x, running_mean, running_var, weight, bias, eps, 0, 0.0, last)
            return y, x.new_empty(0), x.new_empty(0)
        count = x.numel() // max(1, x.shape[1])
        if count < 2:
            raise Unsupported("one value per channel")
        y, mean, var = core.batch_norm_training(x, weight, bias, eps, 0, 0.0, last)
    except ValueError as error:
        raise Unsupported(str(error)) from None
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
    mean, var = running_mean, running_var
    if train:
        if save_mean is None or save_invstd is None:
            raise Unsupported("no saved statistics")
        mean, var, eps = save_mean, save_invstd.pow(-2), 0.0
    if mean is None or var is None:
        raise Unsupported("no running statistics")
    check_dtypes(x, weight, mean, var, grad_y)
    x, last = dense_values(x)
    grad_y = grad_y.contiguous(memory_format=FORMATS[last])
    try:
        return core.batch_norm_backward(  # type: ignore[no-any-return]
            grad_y, x, mean, var, weight, eps, train, tuple(output_mask), last
        )
    except ValueError as error:
        raise Unsupported(str(error)) from None
