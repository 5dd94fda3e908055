"""torch.ops.neocog.batch_norm_act_backward: gradients of batch norm and the activation after it, in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neocog._activations import activation_code
from neocog.torch.library.batch_norm import (
    Mask,
    backward_fake,
    batch_norm_backward,
    batch_norm_inference,
    check_batch_norm,
    gradients,
)
from neocog.torch.library.registration import Gradients, define

_aten: Any = torch.ops.aten
# Gradients of z, from those of activation(z) and z; torch differentiates them again.
_BACKWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda grad, z: _aten.threshold_backward(grad, z, 0),
    "relu6": lambda grad, z: _aten.hardtanh_backward(grad, z, 0, 6),
    "leaky_relu": lambda grad, z: _aten.leaky_relu_backward(grad, z, 0.01, False),
    "elu": lambda grad, z: _aten.elu_backward(grad, 1, 1, 1, False, z),
    "gelu": lambda grad, z: _aten.gelu_backward(grad, z, approximate="none"),
    "gelu_tanh": lambda grad, z: _aten.gelu_backward(grad, z, approximate="tanh"),
    "silu": lambda grad, z: _silu_backward(grad, z),
    "sigmoid": lambda grad, z: _aten.sigmoid_backward(grad, z.sigmoid()),
    "tanh": lambda grad, z: _aten.tanh_backward(grad, z.tanh()),
    "hardswish": lambda grad, z: _aten.hardswish_backward(grad, z),
}


def _silu_backward(grad: Tensor, z: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return _aten.silu_backward(grad, z)  # type: ignore[no-any-return]
    s = z.sigmoid()  # aten's operator has no derivative of its own
    return grad * s * (1 + z * (1 - s))


def gradients_through(
    grad_y: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    training: bool,
    activation: str | None,
    mask: Mask,
) -> Sequence[Tensor]:
    """Gradients of x, weight and bias, by the operator of this module or by those that can be differentiated again."""
    if activation is not None:
        if not torch.is_grad_enabled():
            return batch_norm_act_backward(  # type: ignore[no-any-return]
                grad_y, x, mean, var, weight, bias, eps, training, activation, mask
            )
        grad_y = _BACKWARD[activation](grad_y, batch_norm_inference(x, mean, var, weight, bias, eps))
    return batch_norm_backward(grad_y, x, mean, var, weight, eps, training, mask)  # type: ignore[no-any-return]


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    grad_y, x, mean, var, weight, bias, eps, training, activation, mask = arguments
    found = gradients(grad_y, x, mean, var, weight, eps, training, mask, bias, activation)
    return tuple(x.new_empty(0) if grad is None else grad for grad in found)


def _backward_fake(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    grad_y, x, mean, var, weight, bias, eps, training, activation, mask = arguments
    activation_code(activation)
    check_batch_norm(x, False, bias=bias)
    return backward_fake(grad_y, x, mean, var, weight, eps, training, mask)


def _save(ctx: Any, arguments: tuple[Any, ...], result: Any) -> None:
    ctx.save_for_backward(*arguments[:6])
    ctx.rest, mask = arguments[6:], arguments[-1]
    ctx.mark_non_differentiable(*(grad for grad, wanted in zip(result, mask, strict=True) if not wanted))


def _second_gradients(ctx: Any, needed: Any, *grads: Tensor | None) -> Gradients:
    given = ctx.saved_tensors
    with torch.enable_grad():
        results = gradients_through(*given, *ctx.rest)
    pairs = [(result, grad) for result, grad in zip(results, grads, strict=True) if grad is not None]
    if not pairs:
        return ()
    inputs = [tensor for tensor, wanted in zip(given, needed, strict=False) if wanted]
    again = torch.is_grad_enabled()
    outputs, of_outputs = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, inputs, of_outputs, allow_unused=True, create_graph=again))
    return [next(found) if wanted else None for wanted in needed[:6]]


batch_norm_act_backward = define(
    "batch_norm_act_backward(Tensor grad_y, Tensor x, Tensor mean, Tensor var, Tensor? weight, Tensor? bias, "
    "float eps, bool training, str activation, bool[3] output_mask) "
    "-> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias)",
    _backward,
    _backward_fake,
    save=_save,
    backward=_second_gradients,
    folds=lambda *_: (),
)
