"""torch.ops.neocog.separable_conv and separable_conv_backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from neocog.torch.library.conv import conv, conv_backward
from neocog.torch.library.conv_plan import Plan, checked_plan, conv_plan, new_conv_plan
from neocog.torch.library.convolutions import Mask, contiguous, either_last, has_last, wanted_of
from neocog.torch.library.images import FORMATS, Ints, as_planes, check_dtypes, check_shape, core, dense, empty
from neocog.torch.library.registration import Gradients, define, define_composite


def _checked_plan(
    plan: Callable[..., Plan],
    x: Tensor,
    depthwise_weight: Tensor,
    pointwise_weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Plan:
    """That of the depthwise part, once all arguments are checked."""
    check_dtypes(x, depthwise_weight=depthwise_weight, pointwise_weight=pointwise_weight, bias=bias)
    shape = tuple(depthwise_weight.shape)
    if x.dim() in (3, 4) and len(shape) == x.dim() and (shape[1] != 1 or shape[0] % x.shape[1]):
        raise ValueError(
            f"`depthwise_weight` has shape {shape}; for the {x.shape[1]} channels of `x` it must be "
            f"({x.shape[1]} * depth_multiplier, 1, ...)."
        )
    found = checked_plan(plan, x, depthwise_weight, None, stride, padding, dilation, x.shape[1])
    if pointwise_weight.dim() != x.dim() or pointwise_weight.shape[0] == 0:
        raise ValueError(
            f"`pointwise_weight` has shape {tuple(pointwise_weight.shape)}; give it {x.dim()} axes, none of them empty."
        )
    out = pointwise_weight.shape[0]
    check_shape(
        "pointwise_weight",
        pointwise_weight,
        (out, shape[0], *(1,) * (x.dim() - 2)),
        f"`depthwise_weight` of shape {shape}",
    )
    check_shape("bias", bias, (out,), f"`pointwise_weight` of shape {tuple(pointwise_weight.shape)}")
    return found


def _separable_conv(
    x: Tensor,
    depthwise_weight: Tensor,
    pointwise_weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Any:
    planes = x.dim() == 4
    if (
        planes
        and depthwise_weight.dim() == 4
        and len(stride) == len(padding) == len(dilation) == 2
        and padding[0] >= 0 <= padding[1]
    ):
        layout = core.memory_layout(x)
        if layout < 2 and pointwise_weight.shape[1:2] == depthwise_weight.shape[:1]:
            last = layout == 1 or has_last(depthwise_weight) or has_last(pointwise_weight)
            try:  # what is dense and right takes this way; what is not has time for the other
                weights = (depthwise_weight, pointwise_weight, bias)
                y = core.separable_forward(x, *weights, stride, padding, dilation, 0, 0.0, last)
            except ValueError:
                pass
            else:
                if y.numel():
                    return y
    plan = _checked_plan(conv_plan, x, depthwise_weight, pointwise_weight, bias, stride, padding, dilation)
    x, last = dense(x, depthwise_weight)
    if not last and planes and has_last(pointwise_weight):
        x, last = x.contiguous(memory_format=FORMATS[True]), True
    y = core.separable_forward(
        as_planes(x),
        as_planes(depthwise_weight).contiguous(),
        as_planes(pointwise_weight).contiguous(),
        contiguous(bias),
        *plan[:3],
        0,
        0.0,
        last,
    )
    return y if planes else y.squeeze(2)


def _fake(x: Tensor, depthwise_weight: Tensor, pointwise_weight: Tensor, *rest: Any) -> Tensor:
    plan = _checked_plan(new_conv_plan, x, depthwise_weight, pointwise_weight, *rest)
    shape = (x.shape[0], pointwise_weight.shape[0], *plan.shape[2:])
    return empty(x, shape, either_last(x, depthwise_weight, pointwise_weight))


def _save(ctx: Any, arguments: tuple[Any, ...], _: Any) -> None:
    ctx.save_for_backward(*arguments[:3])
    ctx.rest = arguments[4:]


def _gradients(ctx: Any, needed: Any, grad_y: Tensor | None) -> Gradients:
    if grad_y is None:
        return ()
    mask = list(needed[:4])
    arguments = (grad_y, *ctx.saved_tensors, *ctx.rest, mask)
    grads = separable_conv_backward(*arguments)
    return wanted_of(grads, mask)


def separable_conv_backward(
    grad_y: Tensor,
    x: Tensor,
    depthwise_weight: Tensor,
    pointwise_weight: Tensor,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    output_mask: Mask,
) -> Any:
    """The depthwise result is computed again, so that nothing needs to be kept between the passes."""
    channels = x.shape[1]
    one, zero = [1] * (x.dim() - 2), [0] * (x.dim() - 2)
    through = output_mask[0] or output_mask[1]
    middle = conv(x, depthwise_weight, None, stride, padding, dilation, channels)
    grad_middle, grad_pointwise, grad_bias = conv_backward(
        grad_y, middle, pointwise_weight, one, zero, one, 1, [through, output_mask[2], output_mask[3]]
    )
    del middle
    if not through:
        return x.new_empty(0), x.new_empty(0), grad_pointwise, grad_bias
    grad_x, grad_depthwise, _ = conv_backward(
        grad_middle,
        x,
        depthwise_weight,
        stride,
        padding,
        dilation,
        channels,
        [output_mask[0], output_mask[1], False],
    )
    return grad_x, grad_depthwise, grad_pointwise, grad_bias


separable_conv = define(
    "separable_conv(Tensor x, Tensor depthwise_weight, Tensor pointwise_weight, Tensor? bias, int[] stride, "
    "int[] padding, int[] dilation) -> Tensor",
    _separable_conv,
    _fake,
    save=_save,
    backward=_gradients,
    folds=lambda *_: (0,),
)
define_composite(
    "separable_conv_backward(Tensor grad_y, Tensor x, Tensor depthwise_weight, Tensor pointwise_weight, int[] stride, "
    "int[] padding, int[] dilation, bool[4] output_mask) "
    "-> (Tensor grad_x, Tensor grad_depthwise_weight, Tensor grad_pointwise_weight, Tensor grad_bias)",
    separable_conv_backward,
)
