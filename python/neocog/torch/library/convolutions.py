"""What conv and conv_transpose share: each is the adjoint of the other, and their gradients are made of one another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torch._ops import OpOverload

from neocog.torch.library.conv_plan import Plan, checked_plan
from neocog.torch.library.images import FORMATS, core, dense, empty, is_channels_last
from neocog.torch.library.registration import Gradients, define

Mask = Any  # bools, one per gradient


def contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def either_last(x: Tensor, *weights: Tensor) -> bool:
    return any(is_channels_last(tensor) for tensor in (x, *weights))


def has_last(x: Tensor) -> bool:
    """`is_channels_last`, of a tensor with data."""
    return core.memory_layout(x) % 2 == 1  # type: ignore[no-any-return]


def wanted_of(grads: Gradients, mask: Mask) -> Gradients:
    return [grad if wanted else None for grad, wanted in zip(grads, mask, strict=True)]


def gradients(
    transposed: bool, plan: Plan, grad_y: Tensor, x: Tensor, weight: Tensor, mask: Mask, *, like_images: bool = False
) -> tuple[Tensor | None, Tensor | None, Tensor | None, bool]:
    """Of x, weight and bias, those that the mask wants, and whether the channels of x's come last.

    That of the weight is in the weight's memory format, or in that of the images.
    """
    x, last = dense(x, weight)
    weight, weight_last = dense(weight)
    grad_y = grad_y.contiguous(memory_format=FORMATS[last])
    window = plan[:4]
    weight_last = last if like_images else weight_last
    backward = core.conv_transpose_backward if transposed else core.conv_backward
    return (*backward(grad_y, x, weight, *window, list(mask), last, weight_last), last)


def define_both(
    name: str,
    numbers: str,
    kernel: Callable[..., Any],
    new_plan: Callable[..., Plan],
    plan: Callable[..., Plan],
    *,
    transposed: bool,
) -> tuple[OpOverload, OpOverload]:
    """Register `name`(x, weight, bias, numbers...) and its `_backward`.

    Args:
        numbers: The schema of the arguments that are no tensors.
        kernel: The forward operator's.
        new_plan: From two shapes and the numbers; `plan` is the same with a memory.
    """
    forward: OpOverload = define(
        f"{name}(Tensor x, Tensor weight, Tensor? bias, {numbers}) -> Tensor",
        kernel,
        partial(forward_fake, new_plan),
        save=_save_operands,
        backward=lambda ctx, needed, grad_y: _first_gradients(backward, ctx, needed, grad_y),
        folds=lambda *_: (0,),
    )
    backward: OpOverload = define(
        f"{name}_backward(Tensor grad_y, Tensor x, Tensor weight, {numbers}, bool[3] output_mask) "
        "-> (Tensor grad_x, Tensor grad_weight, Tensor grad_bias)",
        partial(_backward, transposed, plan),
        partial(_backward_fake, new_plan),
        save=_save_backward,
        backward=lambda *arguments: _second_gradients(forward, backward, *arguments),
        folds=lambda *arguments: () if arguments[-1][1] or arguments[-1][2] else (0, 1),
    )
    return forward, backward


def forward_fake(
    new_plan: Callable[..., Plan], x: Tensor, weight: Tensor, bias: Tensor | None, *numbers: Any
) -> Tensor:
    shape = checked_plan(new_plan, x, weight, bias, *numbers).shape
    return empty(x, shape, either_last(x, weight))


def _save_operands(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    ctx.save_for_backward(arguments[0], arguments[1])
    ctx.numbers = arguments[3:]


def _first_gradients(backward: OpOverload, ctx: Any, needed: Any, grad_y: Tensor | None) -> Gradients:
    if grad_y is None:
        return ()
    mask = list(needed[:3])
    x, weight = ctx.saved_tensors
    return wanted_of(backward(grad_y, x, weight, *ctx.numbers, mask), mask)


def _backward(
    transposed: bool, plan: Callable[..., Plan], grad_y: Tensor, x: Tensor, weight: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    *numbers, mask = rest
    found = checked_plan(plan, x, weight, None, *numbers, grad_y=grad_y)
    grad_x, grad_weight, grad_bias, _ = gradients(transposed, found, grad_y, x, weight, mask)
    return (
        x.new_empty(0) if grad_x is None else grad_x,
        x.new_empty(0) if grad_weight is None else grad_weight,
        x.new_empty(0) if grad_bias is None else grad_bias,
    )


def _backward_fake(
    new_plan: Callable[..., Plan], grad_y: Tensor, x: Tensor, weight: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    *numbers, mask = rest
    channels = checked_plan(new_plan, x, weight, None, *numbers, grad_y=grad_y).shape[1]
    grad_weight = x.new_empty(0)
    if mask[1]:
        grad_weight = empty(x, tuple(weight.shape), is_channels_last(weight))
    return (
        empty(x, tuple(x.shape), either_last(x, weight)) if mask[0] else x.new_empty(0),
        grad_weight,
        x.new_empty(channels if mask[2] else 0),
    )


def _save_backward(ctx: Any, arguments: tuple[Any, ...], result: Any) -> None:
    ctx.save_for_backward(*arguments[:3])
    ctx.numbers, ctx.mask = arguments[3:-1], arguments[-1]
    ctx.mark_non_differentiable(*(grad for grad, wanted in zip(result, ctx.mask, strict=True) if not wanted))


def _second_gradients(
    forward: OpOverload, backward: OpOverload, ctx: Any, needed: Any, *grads: Tensor | None
) -> Gradients:
    """Gradients of `backward`: grad_x is linear in weight, grad_weight in x, and all three are in grad_y."""
    grad_y, x, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = (g if wanted else None for g, wanted in zip(grads, ctx.mask, strict=True))
    of_grad_y = of_operand = of_kernel = None
    if needed[0]:
        if of_weight is not None:
            of_grad_y = forward(x, of_weight, of_bias, *ctx.numbers)
        elif of_bias is not None:
            of_grad_y = of_bias.view(1, -1, *(1,) * (x.dim() - 2)).expand_as(grad_y)
        if of_x is not None:
            through = forward(of_x, weight, None, *ctx.numbers)
            of_grad_y = through if of_grad_y is None else of_grad_y + through
    if needed[1] and of_weight is not None:
        of_operand = backward(grad_y, x, of_weight, *ctx.numbers, [True, False, False])[0]
    if needed[2] and of_x is not None:
        of_kernel = backward(grad_y, of_x, weight, *ctx.numbers, [False, True, False])[1]
    return of_grad_y, of_operand, of_kernel
