"""Convolution in one and two dimensions, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from neocog import _core
from neocog._activations import activation_code
from neocog._arrays import Array, as_array, deliver, images, row_major, with_gradients
from neocog._checks import Padding, Pair, integer, one_of, output_mask, padding_of, pair, remembered, window_size

__all__ = ["conv1d", "conv1d_backward", "conv2d", "conv2d_backward"]

ALGORITHMS = ("auto", "direct")
PRECISIONS = ("fp32", "bf16")


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
    residual: Any = None,
    algorithm: str = "auto",
    precision: str = "fp32",
    data_format: str = "NCHW",
) -> Array:
    r"""Convolve a batch of images (cross-correlation, as every framework has it).

    .. math:: y_{noij} = f\Big(b_o + \sum_{crs} x_{n,\;c,\;iS+rD-P,\;jS+sD-P}\; w_{ocrs} + res_{noij}\Big)

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64. The batch
            axis may be missing. Dense arrays of either memory layout are read in place, others are copied.
        weight: Kernels, shape (O, C/groups, R, S), in any `data_format`.
        bias: Added per output channel, shape (O,); None adds nothing.
        stride, dilation: Steps in input pixels, at least 1; an int or (height, width).
        padding: Zero pixels: an int, (height, width), ((top, bottom), (left, right)), "valid" (none) or "same"
            (Keras' rule: ceil(H / stride) rows for any stride, the odd pixel at the end).
        groups: Divides C and O; each group sees its own channels only.
        activation: Applied last; None or a name in `neocog.ops.ACTIVATIONS`.
        residual: Added before the activation; same shape as y.
        algorithm: "direct" sums the products one by one; "auto" takes Winograd's method for kernels of 2, 3 or 5
            taps (along one axis or both) or 4x4 and stride 1, and of 3x3 to 8x8 and stride 2, in float32 where that is
            faster. `neocog.strict` switches it off everywhere.
        precision: "bf16" rounds x and weight to bfloat16 (nearest, ties to even), multiplies these and sums the
            products in float32; bias, residual, activation and all arrays are float32. What gains nothing stays in
            float32: depthwise convolutions and other groups of fewer than 16 channels, fewer than 4 output channels,
            sums of fewer than 16 products. Only float32 arrays. `neocog.strict` does not overrule it.
        data_format: Order of the axes of the shapes of x, residual and y.
    Returns:
        A new array of x's dtype and memory layout, shape (N, O, P, Q) in `data_format` order, with
        P = (H + top + bottom - dilation*(R-1) - 1) // stride + 1.
    Raises:
        TypeError: An array is not float32 or float64, or dtypes differ; nothing is converted silently.
        ValueError: Ranks, channel counts or `groups` disagree, or the kernel exceeds the padded image.
    Accuracy: direct: |error| <= (R*S*C/groups + 2) * eps * (|b| + sum |x*w|) per output before the activation.
        Winograd's method rounds within tiles of 6x6 pixels: what is not finite, or much larger than its neighbours,
        shows in up to 5 pixels around it, and sums of small whole numbers need not be whole. Its RMS error is 1.1 to
        2.7 times direct's on random data, in groups of 5 to 15 channels up to 3.5 times (at most 4 times in the tests);
        the bound is in cpp/ops/conv/winograd.h.
        "bf16": that of direct for the rounded x and weight, so at most 2**-7 * sum |x*w| more than that for those
        given; denormal x, weight and products may count as zero.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II; Lavin & Gray,
        "Fast algorithms for convolutional neural networks", 2015, arXiv:1509.09308.
    """
    return _forward(
        x, weight, bias, stride, padding, dilation, groups, activation, residual, algorithm, precision, data_format, 2
    )


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
    residual: Any = None,
    algorithm: str = "auto",
    precision: str = "fp32",
    data_format: str = "NCL",
) -> Array:
    """Convolve a batch of signals; as `conv2d` with one spatial axis.

    Args:
        x: Signals, shape (N, C, L), or (N, L, C) with `data_format="NLC"`; float32 or float64.
        weight: Kernels, shape (O, C/groups, S).
        bias, stride, padding, dilation, groups, activation, residual, algorithm, precision: As in `conv2d`; padding
            may be ((left, right),).
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, O, Q) in `data_format` order, Q = (L + left + right - dilation*(S-1) - 1) // stride + 1.
    Raises:
        TypeError, ValueError: As `conv2d`.
    Accuracy: |error| <= (S*C/groups + 2) * eps * (|b| + sum |x*w|) per output before the activation; "bf16" as in
        `conv2d`.
    """
    return _forward(
        x, weight, bias, stride, padding, dilation, groups, activation, residual, algorithm, precision, data_format, 1
    )


def conv2d_backward(
    grad_y: Any,
    x: Any,
    weight: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    data_format: str = "NCHW",
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `conv2d` without activation for its input, weight and bias.

    Args:
        grad_y: Gradient of the loss for y, shape (N, O, P, Q) in `data_format` order.
        x, weight: What the forward pass was given.
        stride, padding, dilation, groups, data_format: As in the forward pass.
        output_mask: Which of the three gradients are wanted; the others are None and cost nothing.
    Returns:
        (grad_x, grad_weight, grad_bias) with the shapes of x, weight and (O,).
    Raises:
        TypeError, ValueError: As `conv2d`; also where `grad_y` does not have the shape of y.
    Accuracy: |error| <= (terms + 2) * eps * sum |products| per entry; grad_weight sums N*P*Q terms, in an order
        that does not depend on the number of threads. grad_bias is summed in float64. grad_x and grad_weight
        may take Winograd's method as `conv2d` does, grad_weight with an RMS error of about a millionth of its RMS;
        `neocog.strict` switches it off.
    """
    return _backward(grad_y, x, weight, stride, padding, dilation, groups, output_mask, data_format, 2)


def conv1d_backward(
    grad_y: Any,
    x: Any,
    weight: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    data_format: str = "NCL",
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `conv1d`; see `conv2d_backward`.

    Args:
        grad_y: Shape (N, O, Q) in `data_format` order.
        x, weight, stride, padding, dilation, groups, output_mask, data_format: As in `conv2d_backward`.
    Returns:
        (grad_x, grad_weight, grad_bias); None where `output_mask` is False.
    Raises:
        TypeError, ValueError: As `conv1d`.
    Accuracy: As `conv2d_backward`.
    """
    return _backward(grad_y, x, weight, stride, padding, dilation, groups, output_mask, data_format, 1)


def kernels_of(name: str, weight: Any, dtype: np.dtype[Any], spatial: int) -> Array:
    """A weight array as contiguous (O, I, R, S)."""
    array = as_array(name, weight, dtype)
    if array.ndim != spatial + 2:
        raise ValueError(
            f"`{name}` has {array.ndim} axes, shape {array.shape}; it must have {spatial + 2}: (out, in/groups, "
            f"{'height, width' if spatial == 2 else 'length'})."
        )
    if 0 in array.shape:
        raise ValueError(f"`{name}` has shape {array.shape}; no axis of it may be empty.")
    return row_major(array if spatial == 2 else array[:, :, None, :])


def is_bf16(precision: str, dtype: np.dtype[Any]) -> bool:
    """Whether bfloat16 is asked for, of arrays that may be computed so."""
    if one_of("precision", precision, PRECISIONS) == "fp32":
        return False
    if dtype != np.float32:
        raise TypeError(f"`precision` is 'bf16' and `x` has dtype {dtype}; it takes float32 arrays, which it rounds.")
    return True


def bias_of(name: str, bias: Any, dtype: np.dtype[Any], channels: int) -> Array | None:
    """A bias of one value per channel, or None."""
    if bias is None:
        return None
    array = as_array(name, bias, dtype)
    if array.shape != (channels,):
        raise ValueError(f"`{name}` has shape {array.shape}; it must be ({channels},), one value per output channel.")
    return row_major(array)


@remembered
def conv_geometry(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    spatial: int,
) -> tuple[Pair, Padding, Pair, Pair]:
    """Check a convolution's arguments against the shapes; returns stride, padding, dilation and y's (height, width)."""
    channels, height, width = x[1:]
    groups = integer("groups", groups, 1)
    if channels % groups or weight[0] % groups:
        raise ValueError(
            f"`groups` is {groups}; it must divide the {channels} channels of `x` and the {weight[0]} "
            "output channels of `weight`."
        )
    if weight[1] != channels // groups:
        raise ValueError(
            f"`x` has {channels} channels in {groups} groups, but `weight` of shape {weight} takes "
            f"{weight[1]} per group; give `weight` the shape (out, {channels // groups}, ...)."
        )
    size, kernel = (height, width), (weight[2], weight[3])
    steps, gaps = pair("stride", stride, spatial, 1), pair("dilation", dilation, spatial, 1)
    pads = padding_of(padding, size, kernel, steps, gaps, spatial)
    return steps, pads, gaps, window_size("x", size, kernel, steps, pads, gaps)


def _forward(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: str | None,
    residual: Any,
    algorithm: str,
    precision: str,
    data_format: str,
    spatial: int,
) -> Array:
    one_of("algorithm", algorithm, ALGORITHMS)
    code, alpha = activation_code(activation)
    inputs = images("x", x, data_format, spatial)
    dtype = inputs.array.dtype
    bf16 = is_bf16(precision, dtype)
    kernels = kernels_of("weight", weight, dtype, spatial)
    steps, pads, gaps, size = conv_geometry(
        inputs.array.shape, kernels.shape, stride, padding, dilation, groups, spatial
    )
    addend = None
    if residual is not None:
        shape = (inputs.array.shape[0], kernels.shape[0], *size)
        last = inputs.channels_last
        addend = images("residual", residual, data_format, spatial, dtype=dtype, channels_last=last).array
        if addend.shape != shape:
            raise ValueError(f"`residual` has shape {addend.shape} as (N, C, H, W); y has {shape}: they must agree.")
    y = _core.conv_forward(
        inputs.array,
        kernels,
        bias_of("bias", bias, dtype, kernels.shape[0]),
        addend,
        steps,
        pads,
        gaps,
        groups,
        code,
        alpha,
        inputs.channels_last,
        algorithm == "direct",
        bf16,
    )
    return deliver(y, data_format, spatial, batched=inputs.batched)


def _backward(
    grad_y: Any,
    x: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    mask: Any,
    data_format: str,
    spatial: int,
) -> tuple[Array | None, Array | None, Array | None]:
    wanted = output_mask(mask, 3)
    inputs = images("x", x, data_format, spatial)
    kernels = kernels_of("weight", weight, inputs.array.dtype, spatial)
    steps, pads, gaps, size = conv_geometry(
        inputs.array.shape, kernels.shape, stride, padding, dilation, groups, spatial
    )
    inputs, grads = with_gradients(inputs, grad_y, data_format, spatial)
    shape = (inputs.array.shape[0], kernels.shape[0], *size)
    if grads.array.shape != shape:
        raise ValueError(f"`grad_y` has shape {grads.array.shape} as (N, C, H, W); y has {shape}: they must agree.")
    grad_x, grad_weight, grad_bias = _core.conv_backward(
        grads.array, inputs.array, kernels, steps, pads, gaps, groups, wanted, inputs.channels_last
    )
    if grad_x is not None:
        grad_x = deliver(grad_x, data_format, spatial, batched=inputs.batched)
    if grad_weight is not None and spatial == 1:
        grad_weight = grad_weight[:, :, 0]
    return grad_x, grad_weight, grad_bias
