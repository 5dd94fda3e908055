"""Transposed convolution in one and two dimensions, forward and backward."""

from __future__ import annotations

from typing import Any

from neocog import _core
from neocog._activations import activation_code
from neocog._arrays import Array, deliver, images, with_gradients
from neocog._checks import Padding, Pair, integer, output_mask, padding_of, pair, remembered, same_padding
from neocog.ops.conv import bias_of, kernels_of

__all__ = ["conv_transpose1d", "conv_transpose1d_backward", "conv_transpose2d", "conv_transpose2d_backward"]


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    activation: str | None = None,
    data_format: str = "NCHW",
) -> Array:
    r"""Apply the adjoint of a convolution: every input pixel adds its kernel to the output.

    .. math:: y_{nopq} = f\Big(b_o + \sum_{cijrs:\; iS+rD-P=p,\; jS+sD-P=q} x_{ncij}\; w_{cors}\Big)

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64. The batch
            axis may be missing. Dense arrays of either memory layout are read in place, others are copied.
        weight: Kernels, shape (C, O/groups, R, S), in any `data_format`.
        bias: Added per output channel, shape (O,); None adds nothing.
        stride: Output pixels between neighbouring input pixels, at least 1; an int or (height, width).
        padding: Output pixels cut off: an int, (height, width), ((top, bottom), (left, right)), "same" (Keras'
            crop: H * stride rows) or "valid" (Keras': (H - 1) * stride + kernel rows, at least H * stride).
        output_padding: Extra output pixels at the bottom and right, less than stride or dilation; only with a
            numeric padding.
        groups: Divides C and O; each group sees its own channels only.
        dilation: Output pixels between neighbouring taps, at least 1.
        activation: Applied last; None or a name in `neocog.ops.ACTIVATIONS`.
        data_format: Order of the axes of the shapes of x and y.
    Returns:
        A new array of x's dtype and memory layout, shape (N, O, P, Q) in `data_format` order, with
        P = (H - 1) * stride - top - bottom + dilation * (R - 1) + 1 + output_padding.
    Raises:
        TypeError: An array is not float32 or float64, or dtypes differ; nothing is converted silently.
        ValueError: Ranks, channel counts, `groups` or paddings disagree, or nothing of the output is left.
    Accuracy: |error| <= (terms + 2) * eps * (|b| + sum |x*w|) per output before the activation, where terms =
        ceil(R/step) * ceil(S/step) * C/groups, step = stride / gcd(stride, dilation), is all that any output adds up.
        Kernels of 2, 3 or 5 taps or 4x4 at stride 1 and of 3x3 to 8x8 at stride 2 may take Winograd's method in
        float32, as `conv2d` does: an RMS error of 1.1 to 2.7 times that, and what is not finite shows in up to 10
        pixels around it.
        `neocog.strict` switches it off.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4.
    """
    return _forward(x, weight, bias, stride, padding, output_padding, groups, dilation, activation, data_format, 2)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    activation: str | None = None,
    data_format: str = "NCL",
) -> Array:
    """Apply the adjoint of a one-dimensional convolution; as `conv_transpose2d` with one spatial axis.

    Args:
        x: Signals, shape (N, C, L), or (N, L, C) with `data_format="NLC"`; float32 or float64.
        weight: Kernels, shape (C, O/groups, S).
        bias, stride, padding, output_padding, groups, dilation, activation: As in `conv_transpose2d`.
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, O, Q) in `data_format` order.
    Raises:
        TypeError, ValueError: As `conv_transpose2d`.
    Accuracy: As `conv_transpose2d`.
    """
    return _forward(x, weight, bias, stride, padding, output_padding, groups, dilation, activation, data_format, 1)


def conv_transpose2d_backward(
    grad_y: Any,
    x: Any,
    weight: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    data_format: str = "NCHW",
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `conv_transpose2d` without activation for its input, weight and bias.

    Args:
        grad_y: Gradient of the loss for y, shape (N, O, P, Q) in `data_format` order.
        x, weight: What the forward pass was given.
        stride, padding, output_padding, groups, dilation, data_format: As in the forward pass.
        output_mask: Which of the three gradients are wanted; the others are None and cost nothing.
    Returns:
        (grad_x, grad_weight, grad_bias) with the shapes of x, weight and (O,).
    Raises:
        TypeError, ValueError: As `conv_transpose2d`; also where `grad_y` does not have the shape of y.
    Accuracy: |error| <= (terms + 2) * eps * sum |products| per entry; grad_weight sums N*H*W terms, in an order
        that does not depend on the number of threads. grad_bias is summed in float64.
    """
    return _backward(grad_y, x, weight, stride, padding, output_padding, groups, dilation, output_mask, data_format, 2)


def conv_transpose1d_backward(
    grad_y: Any,
    x: Any,
    weight: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
    data_format: str = "NCL",
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `conv_transpose1d`; see `conv_transpose2d_backward`.

    Args:
        grad_y: Shape (N, O, Q) in `data_format` order.
        x, weight, stride, padding, output_padding, groups, dilation, output_mask, data_format: As in
            `conv_transpose2d_backward`.
    Returns:
        (grad_x, grad_weight, grad_bias); None where `output_mask` is False.
    Raises:
        TypeError, ValueError: As `conv_transpose1d`.
    Accuracy: As `conv_transpose2d_backward`.
    """
    return _backward(grad_y, x, weight, stride, padding, output_padding, groups, dilation, output_mask, data_format, 1)


@remembered
def _geometry(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Any,
    padding: Any,
    extra: Any,
    groups: int,
    dilation: Any,
    spatial: int,
) -> tuple[Pair, Padding, Pair, Pair]:
    """Check the arguments; returns stride, padding, dilation and y's (height, width).

    The padding at the end is what makes the convolution from y back to x have exactly x's size, so output
    padding is negative padding.
    """
    channels, *size = x[1:]
    groups = integer("groups", groups, 1)
    if channels % groups:
        raise ValueError(f"`groups` is {groups}; it must divide the {channels} channels of `x`.")
    if weight[0] != channels:
        raise ValueError(
            f"`x` has {channels} channels, but `weight` of shape {weight} takes {weight[0]}; "
            f"give `weight` the shape ({channels}, out/groups, ...)."
        )
    if 0 in size:
        raise ValueError(f"`x` has the spatial size {tuple(size)}; no axis of it may be empty.")
    steps, gaps = pair("stride", stride, spatial, 1), pair("dilation", dilation, spatial, 1)
    added = pair("output_padding", extra, spatial, 0)
    reach = [gaps[axis] * (weight[2 + axis] - 1) + 1 for axis in range(2)]
    full = [(size[axis] - 1) * steps[axis] + reach[axis] for axis in range(2)]
    if isinstance(padding, str):
        if any(added):
            raise ValueError(f"`output_padding` is {extra!r}; with `padding={padding!r}` it must be 0.")
        padding_of(padding, (1, 1), (1, 1), steps, gaps, spatial)  # rejects other words
        out = [size[a] * steps[a] if padding == "same" else max(full[a], size[a] * steps[a]) for a in range(2)]
        low = [same_padding(out[a], weight[2 + a], steps[a], gaps[a])[0] for a in range(2)]
        if padding == "valid":
            low = [0, 0]
    else:
        pads = padding_of(padding, (1, 1), (1, 1), steps, gaps, spatial)
        for axis, what in enumerate(("height", "width")):
            if added[axis] and added[axis] >= max(steps[axis], gaps[axis]):
                raise ValueError(
                    f"`output_padding` is {added[axis]} along the {what}; it must be less than the stride "
                    f"{steps[axis]} or the dilation {gaps[axis]}."
                )
        out = [full[a] - pads[2 * a] - pads[2 * a + 1] + added[a] for a in range(2)]
        low = [pads[0], pads[2]]
    if min(out) < 1:
        raise ValueError(f"`padding` is {padding!r}: it leaves an output of {tuple(out)} pixels; use less padding.")
    high = [full[a] - out[a] - low[a] for a in range(2)]
    return steps, (low[0], high[0], low[1], high[1]), gaps, (out[0], out[1])


def _forward(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    activation: str | None,
    data_format: str,
    spatial: int,
) -> Array:
    code, alpha = activation_code(activation)
    inputs = images("x", x, data_format, spatial)
    kernels = kernels_of("weight", weight, inputs.array.dtype, spatial)
    steps, pads, gaps, size = _geometry(
        inputs.array.shape, kernels.shape, stride, padding, output_padding, groups, dilation, spatial
    )
    addend = bias_of("bias", bias, inputs.array.dtype, kernels.shape[1] * groups)
    y = _core.conv_transpose_forward(
        inputs.array, kernels, addend, size, steps, pads, gaps, groups, code, alpha, inputs.channels_last
    )
    return deliver(y, data_format, spatial, batched=inputs.batched)


def _backward(
    grad_y: Any,
    x: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    mask: Any,
    data_format: str,
    spatial: int,
) -> tuple[Array | None, Array | None, Array | None]:
    wanted = output_mask(mask, 3)
    inputs = images("x", x, data_format, spatial)
    kernels = kernels_of("weight", weight, inputs.array.dtype, spatial)
    steps, pads, gaps, size = _geometry(
        inputs.array.shape, kernels.shape, stride, padding, output_padding, groups, dilation, spatial
    )
    inputs, grads = with_gradients(inputs, grad_y, data_format, spatial)
    shape = (inputs.array.shape[0], kernels.shape[1] * groups, *size)
    if grads.array.shape != shape:
        raise ValueError(f"`grad_y` has shape {grads.array.shape} as (N, C, H, W); y has {shape}: they must agree.")
    grad_x, grad_weight, grad_bias = _core.conv_transpose_backward(
        grads.array, inputs.array, kernels, steps, pads, gaps, groups, wanted, inputs.channels_last
    )
    if grad_x is not None:
        grad_x = deliver(grad_x, data_format, spatial, batched=inputs.batched)
    if grad_weight is not None and spatial == 1:
        grad_weight = grad_weight[:, :, 0]
    return grad_x, grad_weight, grad_bias
