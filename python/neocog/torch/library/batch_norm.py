"""torch.ops.neocog.batch_norm_training, batch_norm_inference and batch_norm_backward."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neocog._activations import activation_code
from neocog.torch.library.images import FORMATS, check_dtypes, check_shape, core, dense, empty, is_channels_last
from neocog.torch.library.registration import Gradients, define

Mask = Any  # bools, one per gradient


def check_batch_norm(x: Tensor, counted: bool, **per_channel: Tensor | None) -> None:
    """Check x, which must have values if they are to be counted, and the tensors with one value per channel."""
    check_dtypes(x, "x", **per_channel)
    if x.dim() < 2 or 0 in x.shape[1:]:
        raise ValueError(f"`x` has shape {tuple(x.shape)}; it must be (N, C, ...), and only N may be 0.")
    if counted and x.shape[0] == 0:
        raise ValueError(f"`x` has shape {tuple(x.shape)}: there is nothing to take statistics of; give it a batch.")
    for name, tensor in per_channel.items():
        check_shape(name, tensor, (x.shape[1],), f"`x` with {x.shape[1]} channels")


def contiguous_all(*tensors: Tensor | None) -> list[Tensor | None]:
    """Parameters and statistics as the kernels take them."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def training_kernel(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
    layout = core.memory_layout(x)
    if layout < 2 and x.numel():
        try:  # what is dense and right takes this way; what is not has time for the other
            return core.batch_norm_training(x, weight, bias, eps, 0, 0.0, layout == 1)
        except ValueError:
            pass
    check_batch_norm(x, True, weight=weight, bias=bias)
    images, last = dense(x)
    return core.batch_norm_training(images, *contiguous_all(weight, bias), eps, 0, 0.0, last)


def _training_fake(x: Tensor, weight: Tensor | None, bias: Tensor | None, _: float) -> tuple[Tensor, Tensor, Tensor]:
    check_batch_norm(x, True, weight=weight, bias=bias)
    y = empty(x, tuple(x.shape), is_channels_last(x))
    return y, x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


def _save_training(ctx: Any, arguments: tuple[Any, ...], result: Any) -> None:
    x, weight, _, ctx.eps = arguments
    ctx.save_for_backward(x, weight, result[1], result[2])


def _training_gradients(
    ctx: Any, needed: Any, grad_y: Tensor | None, grad_mean: Tensor | None, grad_var: Tensor | None
) -> Gradients:
    x, weight, mean, var = ctx.saved_tensors
    grad_x = grad_weight = grad_bias = None
    if grad_y is not None:
        mask = list(needed[:3])
        grads = batch_norm_backward(grad_y, x, mean, var, weight, ctx.eps, True, mask)
        grad_x, grad_weight, grad_bias = (grad if m else None for grad, m in zip(grads, mask, strict=True))
    if needed[0] and (grad_mean is not None or grad_var is not None):
        through = statistics_gradient(x, mean, grad_mean, grad_var)
        grad_x = through if grad_x is None else grad_x + through
    return grad_x, grad_weight, grad_bias


def statistics_gradient(x: Tensor, mean: Tensor, grad_mean: Tensor | None, grad_var: Tensor | None) -> Tensor:
    """The gradient of x through its mean and its biased variance."""
    through: Any = 0
    count = x.numel() // x.shape[1]
    if grad_mean is not None:
        through = _along(x, grad_mean) / count
    if grad_var is not None:
        through = through + (x - _along(x, mean)) * _along(x, 2 * grad_var) / count
    return through.expand_as(x)  # type: ignore[no-any-return]


def _along(x: Tensor, values: Tensor) -> Tensor:
    return values.view(1, -1, *(1,) * (x.dim() - 2))


def inference_kernel(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Any:
    if x.numel():
        try:
            return core.batch_norm_inference(x, mean, var, weight, bias, eps, 0, 0.0, None)
        except ValueError:
            pass
    check_batch_norm(x, False, mean=mean, var=var, weight=weight, bias=bias)
    images, last = dense(x)
    return core.batch_norm_inference(images, *contiguous_all(mean, var, weight, bias), eps, 0, 0.0, last)


def _inference_fake(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, _: float
) -> Tensor:
    check_batch_norm(x, False, mean=mean, var=var, weight=weight, bias=bias)
    return empty(x, tuple(x.shape), is_channels_last(x))


def _save_inference(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    x, mean, var, weight, _, ctx.eps = arguments
    ctx.save_for_backward(x, mean, var, weight)


def _inference_gradients(ctx: Any, needed: Any, grad_y: Tensor | None) -> Gradients:
    if grad_y is None:
        return ()
    x, mean, var, weight = ctx.saved_tensors
    # The gradients of the statistics are multiples of those of bias and weight.
    mask = [needed[0], needed[2] or needed[3], needed[1] or needed[4]]
    grad_x, grad_weight, grad_bias = batch_norm_backward(grad_y, x, mean, var, weight, ctx.eps, False, mask)
    grad_mean, grad_var = fixed_statistics_gradients(grad_weight, grad_bias, var, weight, ctx.eps, needed[1:3])
    return (
        grad_x if needed[0] else None,
        grad_mean,
        grad_var,
        grad_weight if needed[3] else None,
        grad_bias if needed[4] else None,
    )


def fixed_statistics_gradients(
    grad_weight: Tensor, grad_bias: Tensor, var: Tensor, weight: Tensor | None, eps: float, needed: Any
) -> tuple[Tensor | None, Tensor | None]:
    """Of mean and variance in inference, from the gradients of weight and bias."""
    grad_mean = grad_var = None
    if needed[0]:
        grad_mean = -grad_bias * (var + eps).rsqrt()
        grad_mean = grad_mean if weight is None else grad_mean * weight
    if needed[1]:
        grad_var = grad_weight / (var + eps) * -0.5
        grad_var = grad_var if weight is None else grad_var * weight
    return grad_mean, grad_var


def _check_backward(grad_y: Tensor, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None) -> None:
    check_batch_norm(x, False, mean=mean, var=var, weight=weight)
    check_dtypes(x, grad_y=grad_y)
    check_shape("grad_y", grad_y, tuple(x.shape), "y")


def gradients(
    grad_y: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    eps: float,
    training: bool,
    mask: Mask,
    bias: Tensor | None = None,
    activation: str | None = None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of x, weight and bias, those that the mask wants."""
    rest = (eps, *activation_code(activation), training, mask)
    layout = core.memory_layout(x)
    if layout == core.memory_layout(grad_y) < 2 and grad_y.shape == x.shape and x.numel():
        try:  # what is dense and right takes this way; what is not has time for the other
            return core.batch_norm_backward(  # type: ignore[no-any-return]
                grad_y, x, mean, var, weight, bias, *rest, layout == 1
            )
        except ValueError:
            pass
    _check_backward(grad_y, x, mean, var, weight)
    check_batch_norm(x, False, bias=bias)
    images, last = dense(x)
    grads = grad_y.contiguous(memory_format=FORMATS[last])
    parameters = contiguous_all(mean, var, weight, bias)
    return core.batch_norm_backward(grads, images, *parameters, *rest, last)  # type: ignore[no-any-return]


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    x = arguments[1]
    return tuple(x.new_empty(0) if grad is None else grad for grad in gradients(*arguments))


def backward_fake(
    grad_y: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    eps: float,
    training: bool,
    output_mask: Mask,
) -> tuple[Tensor, Tensor, Tensor]:
    _check_backward(grad_y, x, mean, var, weight)
    grad_x = empty(x, tuple(x.shape), is_channels_last(x)) if output_mask[0] else x.new_empty(0)
    grad_weight, grad_bias = (x.new_empty(x.shape[1] if wanted else 0) for wanted in output_mask[1:])
    return grad_x, grad_weight, grad_bias


def _save_backward(ctx: Any, arguments: tuple[Any, ...], result: Any) -> None:
    ctx.save_for_backward(*arguments[:5])
    ctx.eps, ctx.training, ctx.mask = arguments[5:]
    ctx.mark_non_differentiable(*(grad for grad, wanted in zip(result, ctx.mask, strict=True) if not wanted))


def _second_gradients(ctx: Any, needed: Any, *grads: Tensor | None) -> Gradients:
    """Gradients of `batch_norm_backward`, with mean and variance as arguments of their own.

    With r = 1 / sqrt(var + eps), n = (x - mean) r and sums over all but the channels: grad_bias = sum(g),
    grad_weight = sum(g n) and grad_x = w r (g - grad_bias/M - n grad_weight/M), the last two terms in training only.
    """
    grad_y, x, mean, var, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = (g if wanted else None for g, wanted in zip(grads, ctx.mask, strict=True))
    axes = [axis for axis in range(x.dim()) if axis != 1]
    count = x.numel() // x.shape[1]
    r = (var + ctx.eps).rsqrt()
    centred = x - _along(x, mean)
    n = centred * _along(x, r)
    scale = r if weight is None else weight * r
    of_grad_y: Any = 0
    of_n: Any = 0
    of_scale: Any = 0
    if of_x is not None:
        of_grad_y = of_x
        of_scale = (of_x * grad_y).sum(axes)
        if ctx.training:
            grad_bias, grad_weight = grad_y.sum(axes), (grad_y * n).sum(axes)
            b, c = of_x.sum(axes), (of_x * n).sum(axes)
            of_grad_y = of_x - _along(x, b) / count - n * _along(x, c) / count
            of_n = (of_x * _along(x, grad_weight) + grad_y * _along(x, c)) * _along(x, -scale) / count
            of_scale = of_scale - (b * grad_bias + c * grad_weight) / count
        of_grad_y = of_grad_y * _along(x, scale)
    if of_weight is not None:
        of_grad_y = of_grad_y + n * _along(x, of_weight)
        of_n = of_n + grad_y * _along(x, of_weight)
    if of_bias is not None:
        of_grad_y = (of_grad_y + _along(x, of_bias)).expand_as(x)
    found: list[Any] = [of_grad_y, None, None, None, None]
    if isinstance(of_n, Tensor):
        found[1] = of_n * _along(x, r)
        found[2] = -found[1].sum(axes)
        of_scale_of_r = of_scale if weight is None else of_scale * weight
        of_r = of_scale_of_r + (of_n * centred).sum(axes)
    else:
        of_r = of_scale if weight is None else of_scale * weight
    if isinstance(of_r, Tensor):
        found[3] = of_r * r.pow(3) * -0.5
    if weight is not None and isinstance(of_scale, Tensor):
        found[4] = of_scale * r
    return [
        grad if wanted and isinstance(grad, Tensor) else None for grad, wanted in zip(found, needed[:5], strict=True)
    ]


batch_norm_training = define(
    "batch_norm_training(Tensor x, Tensor? weight, Tensor? bias, float eps) -> (Tensor y, Tensor mean, Tensor var)",
    training_kernel,
    _training_fake,
    save=_save_training,
    backward=_training_gradients,
    folds=lambda *_: (),
)
batch_norm_inference = define(
    "batch_norm_inference(Tensor x, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, float eps) -> Tensor",
    inference_kernel,
    _inference_fake,
    save=_save_inference,
    backward=_inference_gradients,
    folds=lambda *_: (0,),
)
batch_norm_backward = define(
    "batch_norm_backward(Tensor grad_y, Tensor x, Tensor mean, Tensor var, Tensor? weight, float eps, bool training, "
    "bool[3] output_mask) -> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias)",
    _backward,
    backward_fake,
    save=_save_backward,
    backward=_second_gradients,
    folds=lambda *_: (),
)
