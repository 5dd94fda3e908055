"""Depthwise convolution: one kernel, or several, for every channel."""

from __future__ import annotations

from typing import Any

from neocog import _core
from neocog._activations import activation_code
from neocog._arrays import Array, deliver, images
from neocog._checks import Padding, Pair, remembered
from neocog.ops.conv import bias_of, conv2d_backward, conv_geometry, kernels_of

__all__ = ["depthwise_conv2d", "depthwise_conv2d_backward"]


def depthwise_conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    activation: str | None = None,
    data_format: str = "NCHW",
) -> Array:
    r"""Filter every channel of a batch of images with its own kernels.

    .. math:: y_{noij} = f\Big(b_o + \sum_{rs} x_{n,\;\lfloor o/M \rfloor,\;iS+rD-P,\;jS+sD-P}\; w_{o0rs}\Big)

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64.
        weight: M kernels per channel, shape (C*M, 1, R, S), as torch.nn.Conv2d(C, C*M, ..., groups=C) has it.
        bias: Added per output channel, shape (C*M,); None adds nothing.
        stride, padding, dilation, activation, data_format: As in `conv2d`.
    Returns:
        A new array of x's dtype and memory layout, shape (N, C*M, P, Q) in `data_format` order.
    Raises:
        TypeError, ValueError: As `conv2d`.
    Accuracy: |error| <= (R*S + 2) * eps * (|b| + sum |x*w|) per output before the activation.
    Source: Howard et al., "MobileNets", 2017, section 3.1, https://arxiv.org/abs/1704.04861
    """
    code, alpha = activation_code(activation)
    inputs = images("x", x, data_format)
    kernels = kernels_of("weight", weight, inputs.array.dtype, 2)
    steps, pads, gaps, _ = depthwise_geometry("weight", inputs.array.shape, kernels.shape, stride, padding, dilation)
    addend = bias_of("bias", bias, inputs.array.dtype, kernels.shape[0])
    y = _core.depthwise_forward(inputs.array, kernels, addend, steps, pads, gaps, code, alpha, inputs.channels_last)
    return deliver(y, data_format, batched=inputs.batched)


def depthwise_conv2d_backward(
    grad_y: Any,
    x: Any,
    weight: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    data_format: str = "NCHW",
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `depthwise_conv2d` without activation for its input, weight and bias.

    Args:
        grad_y: Gradient of the loss for y, shape (N, C*M, P, Q) in `data_format` order.
        x, weight, stride, padding, dilation, data_format: As in the forward pass.
        output_mask: Which of the three gradients are wanted; the others are None and cost nothing.
    Returns:
        (grad_x, grad_weight, grad_bias) with the shapes of x, weight and (C*M,).
    Raises:
        TypeError, ValueError: As `depthwise_conv2d`; also where `grad_y` does not have the shape of y.
    Accuracy: As `conv2d_backward`.
    """
    inputs = images("x", x, data_format)
    kernels = kernels_of("weight", weight, inputs.array.dtype, 2)
    depthwise_geometry("weight", inputs.array.shape, kernels.shape, stride, padding, dilation)
    return conv2d_backward(
        grad_y,
        x,
        kernels,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=inputs.array.shape[1],
        output_mask=output_mask,
        data_format=data_format,
    )


@remembered
def depthwise_geometry(
    name: str, x: tuple[int, ...], weight: tuple[int, ...], stride: Any, padding: Any, dilation: Any
) -> tuple[Pair, Padding, Pair, Pair]:
    """As `conv_geometry`, of a depthwise convolution whose weight the caller calls `name`."""
    channels = x[1]
    if channels == 0 or weight[1] != 1 or weight[0] % channels:
        raise ValueError(
            f"`x` has {channels} channels, but `{name}` has shape {weight}; it must be "
            f"({channels} * multiplier, 1, height, width)."
        )
    return conv_geometry(x, weight, stride, padding, dilation, channels, 2)
