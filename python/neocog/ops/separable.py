"""Depthwise-separable convolution: depthwise and pointwise in one pass."""

from __future__ import annotations

from typing import Any

from neocog import _core
from neocog._activations import activation_code
from neocog._arrays import Array, deliver, images
from neocog._checks import output_mask as mask_of
from neocog.ops.conv import bias_of, conv2d_backward, kernels_of
from neocog.ops.depthwise import depthwise_conv2d, depthwise_conv2d_backward, depthwise_geometry

__all__ = ["separable_conv2d", "separable_conv2d_backward"]


def separable_conv2d(
    x: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    activation: str | None = None,
    data_format: str = "NCHW",
) -> Array:
    """Filter every channel on its own, then mix the channels of every pixel.

    Equal to `conv2d(depthwise_conv2d(x, depthwise_weight, ...), pointwise_weight, bias)`; the depthwise results
    stay in the cache and are never written out.

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64.
        depthwise_weight: M kernels per channel, shape (C*M, 1, R, S).
        pointwise_weight: Shape (O, C*M, 1, 1).
        bias: Added per output channel, shape (O,); None adds nothing.
        stride, padding, dilation: Of the depthwise part, as in `conv2d`.
        activation: Applied last; None or a name in `neocog.ops.ACTIVATIONS`.
        data_format: Order of the axes of the shapes of x and y.
    Returns:
        A new array of x's dtype and memory layout, shape (N, O, P, Q) in `data_format` order.
    Raises:
        TypeError: An array is not float32 or float64, or dtypes differ; nothing is converted silently.
        ValueError: Ranks or channel counts disagree, or the kernel exceeds the padded image.
    Accuracy: |error| <= (R*S + C*M + 4) * eps * (|b| + sum |x*w_depthwise*w_pointwise|) before the activation.
    Source: Chollet, "Xception", 2017, section 1, https://arxiv.org/abs/1610.02357
    """
    code, alpha = activation_code(activation)
    inputs = images("x", x, data_format)
    dtype = inputs.array.dtype
    filters = kernels_of("depthwise_weight", depthwise_weight, dtype, 2)
    mixing = _pointwise(pointwise_weight, dtype, filters.shape[0])
    steps, pads, gaps, _ = depthwise_geometry(
        "depthwise_weight", inputs.array.shape, filters.shape, stride, padding, dilation
    )
    addend = bias_of("bias", bias, dtype, mixing.shape[0])
    y = _core.separable_forward(
        inputs.array, filters, mixing, addend, steps, pads, gaps, code, alpha, inputs.channels_last
    )
    return deliver(y, data_format, batched=inputs.batched)


def separable_conv2d_backward(
    grad_y: Any,
    x: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    output_mask: tuple[bool, bool, bool, bool] = (True, True, True, True),
    data_format: str = "NCHW",
) -> tuple[Array | None, Array | None, Array | None, Array | None]:
    """Gradients of `separable_conv2d` without activation.

    Args:
        grad_y: Gradient of the loss for y, shape (N, O, P, Q) in `data_format` order.
        x, depthwise_weight, pointwise_weight, stride, padding, dilation, data_format: As in the forward pass.
        output_mask: Which of the four gradients are wanted; the others are None and cost nothing.
    Returns:
        (grad_x, grad_depthwise_weight, grad_pointwise_weight, grad_bias).
    Raises:
        TypeError, ValueError: As `separable_conv2d`; also where `grad_y` does not have the shape of y.
    Accuracy: As `conv2d_backward`, applied twice. The depthwise results are computed again for
        grad_pointwise_weight, so nothing needs to be kept between the passes.
    """
    wanted = mask_of(output_mask, 4)
    inputs = images("x", x, data_format)
    dtype = inputs.array.dtype
    filters = kernels_of("depthwise_weight", depthwise_weight, dtype, 2)
    mixing = _pointwise(pointwise_weight, dtype, filters.shape[0])
    depthwise_geometry("depthwise_weight", inputs.array.shape, filters.shape, stride, padding, dilation)
    steps = {"stride": stride, "padding": padding, "dilation": dilation, "data_format": data_format}
    middle = depthwise_conv2d(x, filters, **steps)
    through = wanted[0] or wanted[1]
    grad_middle, grad_mixing, grad_bias = conv2d_backward(
        grad_y, middle, mixing, output_mask=(through, wanted[2], wanted[3]), data_format=data_format
    )
    grad_x = grad_filters = None
    if through:
        grad_x, grad_filters, _ = depthwise_conv2d_backward(
            grad_middle, x, filters, output_mask=(wanted[0], wanted[1], False), **steps
        )
    return grad_x, grad_filters, grad_mixing, grad_bias


def _pointwise(weight: Any, dtype: Any, channels: int) -> Array:
    mixing = kernels_of("pointwise_weight", weight, dtype, 2)
    if mixing.shape[1:] != (channels, 1, 1):
        raise ValueError(
            f"`pointwise_weight` has shape {mixing.shape}, but the depthwise part makes {channels} channels; "
            f"give it the shape (out, {channels}, 1, 1)."
        )
    return mixing
