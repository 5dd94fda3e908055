"""Maximum and average pooling over sliding windows, forward and backward."""

from __future__ import annotations

from typing import Any

from neocog import _core
from neocog._arrays import Array, deliver, images
from neocog._checks import integer
from neocog.ops._pool_windows import (
    check_grad,
    flag,
    index_images,
    pooled,
    spatial_size,
    windows,
)

__all__ = [
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "NCHW",
) -> Array | tuple[Array, Array]:
    r"""Take the largest pixel of every window, per channel.

    .. math:: y_{ncij} = \max_{rs} x_{n,\;c,\;iS+rD-P,\;jS+sD-P}

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64. The batch
            axis may be missing. Dense arrays of either memory layout are read in place, others are copied.
        kernel_size: Pixels of a window; an int or (height, width).
        stride: Step between windows in input pixels, at least 1; an int or (height, width); None: `kernel_size`.
        padding: Pixels of -inf around the image: an int or (height, width), at most half of the span of a window;
            ((top, bottom), (left, right)), any; "valid" (none) or "same" (Keras' rule: ceil(H / stride) rows for any
            stride, the odd pixel at the end).
        dilation: Step between the pixels of a window, at least 1; an int or (height, width).
        ceil_mode: Add the last window that starts inside the image or its leading padding but reaches past the end.
        return_indices: Return the positions of the maxima too; they cost nothing when not asked for.
        data_format: Order of the axes of the shapes of x, y and the indices.
    Returns:
        A new array of x's dtype and memory layout, shape (N, C, P, Q) in `data_format` order, with
        P = (H + top + bottom - dilation*(kernel - 1) - 1) // stride + 1, rounded up in ceil mode. With
        `return_indices` also an int64 array of that shape: row * W + column of the maximum in its plane of x. Equal
        values: the first in row-major order. NaN is larger than everything, the last one counts. A window of padding
        alone, which only explicit ends allow, gives -inf with index -1.
    Raises:
        TypeError: x is not float32 or float64; nothing is converted silently.
        ValueError: The rank is wrong, images are empty, or the kernel exceeds the padded image.
    Accuracy: Exact.
    Source: Scherer, Mueller and Behnke, "Evaluation of pooling operations in convolutional architectures", 2010.
    """
    return _max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, data_format, 2)


def max_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "NCL",
) -> Array | tuple[Array, Array]:
    """Take the largest sample of every window, per channel; as `max_pool2d` with one spatial axis.

    Args:
        x: Signals, shape (N, C, L), or (N, L, C) with `data_format="NLC"`; float32 or float64.
        kernel_size, stride, padding, dilation, ceil_mode, return_indices: As in `max_pool2d`; padding may be
            ((left, right),).
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, C, Q) in `data_format` order; with `return_indices` also the positions along L, int64.
    Raises:
        TypeError, ValueError: As `max_pool2d`.
    Accuracy: Exact.
    """
    return _max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, data_format, 1)


def max_pool2d_backward(grad_y: Any, indices: Any, input_size: Any, *, data_format: str = "NCHW") -> Array:
    """Gradient of `max_pool2d` and `adaptive_max_pool2d` for x: every gradient goes to the pixel that was chosen.

    Args:
        grad_y: Gradient of the loss for y, shape (N, C, P, Q) in `data_format` order; float32 or float64.
        indices: What the forward pass returned with `return_indices=True`, any integer dtype; -1 adds nothing.
        input_size: (H, W) of x.
        data_format: As in the forward pass.
    Returns:
        A new array of grad_y's dtype and memory layout, shape (N, C, H, W) in `data_format` order. Gradients that meet
        in one pixel are added in row-major order of y, whatever the number of threads.
    Raises:
        TypeError: grad_y is not float32 or float64, or `indices` are not integers.
        ValueError: Shapes disagree, or an index is not in [-1, H * W).
    Accuracy: |error| <= (windows that chose the pixel) * eps * sum |grad_y|.
    """
    return _max_pool_backward(grad_y, indices, input_size, data_format, 2)


def max_pool1d_backward(grad_y: Any, indices: Any, input_size: Any, *, data_format: str = "NCL") -> Array:
    """Gradient of `max_pool1d` and `adaptive_max_pool1d` for x; see `max_pool2d_backward`.

    Args:
        grad_y: Shape (N, C, Q) in `data_format` order.
        indices: What the forward pass returned with `return_indices=True`.
        input_size: L of x, an int or (L,).
        data_format: As in the forward pass.
    Returns:
        A new array, shape (N, C, L) in `data_format` order.
    Raises:
        TypeError, ValueError: As `max_pool2d_backward`.
    Accuracy: As `max_pool2d_backward`.
    """
    return _max_pool_backward(grad_y, indices, input_size, data_format, 1)


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    data_format: str = "NCHW",
) -> Array:
    r"""Average the pixels of every window, per channel.

    .. math:: y_{ncij} = \frac{1}{d_{ij}} \sum_{rs} x_{n,\;c,\;iS+r-P,\;jS+s-P}

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64. The batch
            axis may be missing. Dense arrays of either memory layout are read in place, others are copied.
        kernel_size: Pixels of a window; an int or (height, width).
        stride: Step between windows in input pixels, at least 1; an int or (height, width); None: `kernel_size`.
        padding: Zeros around the image: an int or (height, width), at most half of a window; ((top, bottom),
            (left, right)), any; "valid" (none) or "same" (Keras' rule, whose padding is never counted).
        ceil_mode: Add the last window that starts inside the image or its leading padding but reaches past the end.
        count_include_pad: Divide by all pixels of a window that lie in the image or in `padding`, not only by those
            in the image. What lies beyond, in ceil mode, never counts.
        divisor_override: Divide by this int instead; not 0.
        data_format: Order of the axes of the shapes of x and y.
    Returns:
        A new array of x's dtype and memory layout, shape (N, C, P, Q) in `data_format` order, P and Q as in
        `max_pool2d`. A window without pixels, which only explicit ends allow, gives 0.
    Raises:
        TypeError: x is not float32 or float64; nothing is converted silently.
        ValueError: The rank is wrong, images are empty, or the kernel exceeds the padded image.
    Accuracy: |error| <= (kernel height * width + 2) * eps * sum |x| / d.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.B.
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(x, *args, data_format, 2)


def avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    data_format: str = "NCL",
) -> Array:
    """Average the samples of every window, per channel; as `avg_pool2d` with one spatial axis.

    Args:
        x: Signals, shape (N, C, L), or (N, L, C) with `data_format="NLC"`; float32 or float64.
        kernel_size, stride, padding, ceil_mode, count_include_pad: As in `avg_pool2d`; padding may be
            ((left, right),).
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, C, Q) in `data_format` order.
    Raises:
        TypeError, ValueError: As `avg_pool2d`.
    Accuracy: |error| <= (kernel_size + 2) * eps * sum |x| / d.
    """
    return _avg_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, None, data_format, 1)


def avg_pool2d_backward(
    grad_y: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    data_format: str = "NCHW",
) -> Array:
    """Gradient of `avg_pool2d` for x: every pixel gets its share of the windows that cover it.

    Args:
        grad_y: Gradient of the loss for y, shape (N, C, P, Q) in `data_format` order; float32 or float64.
        input_size: (H, W) of x.
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, data_format: As in the forward
            pass.
    Returns:
        A new array of grad_y's dtype and memory layout, shape (N, C, H, W) in `data_format` order.
    Raises:
        TypeError, ValueError: As `avg_pool2d`; also where `grad_y` does not have the shape of y.
    Accuracy: |error| <= (windows that cover the pixel + 2) * eps * sum |grad_y| / d.
    """
    args = (input_size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool_backward(grad_y, *args, data_format, 2)


def avg_pool1d_backward(
    grad_y: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    data_format: str = "NCL",
) -> Array:
    """Gradient of `avg_pool1d` for x; see `avg_pool2d_backward`.

    Args:
        grad_y: Shape (N, C, Q) in `data_format` order.
        input_size: L of x, an int or (L,).
        kernel_size, stride, padding, ceil_mode, count_include_pad, data_format: As in the forward pass.
    Returns:
        A new array, shape (N, C, L) in `data_format` order.
    Raises:
        TypeError, ValueError: As `avg_pool2d_backward`.
    Accuracy: As `avg_pool2d_backward`.
    """
    args = (input_size, kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    return _avg_pool_backward(grad_y, *args, data_format, 1)


def _max_pool(
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
    data_format: str,
    spatial: int,
) -> Array | tuple[Array, Array]:
    inputs = pooled("x", x, data_format, spatial)
    w = windows(inputs.array.shape[2:], kernel_size, stride, padding, dilation, ceil_mode, spatial)
    indexed = flag("return_indices", return_indices)
    result = _core.max_pool_forward(
        inputs.array, w.out, w.kernel, w.stride, w.padding, w.dilation, indexed, inputs.channels_last
    )
    if indexed:
        y, indices = (deliver(a, data_format, spatial, batched=inputs.batched) for a in result)
        return y, indices
    return deliver(result, data_format, spatial, batched=inputs.batched)


def _max_pool_backward(grad_y: Any, indices: Any, input_size: Any, data_format: str, spatial: int) -> Array:
    grads = images("grad_y", grad_y, data_format, spatial)
    places = index_images(grads, indices, data_format, spatial, of="grad_y")
    size = spatial_size("input_size", input_size, spatial)
    grad_x = _core.max_pool_backward(grads.array, places, size, grads.channels_last)
    return deliver(grad_x, data_format, spatial, batched=grads.batched)


def _divisor(value: Any) -> int | None:
    if value is None:
        return None
    divisor = integer("divisor_override", value)
    if divisor == 0:
        raise ValueError("`divisor_override` is 0; it must be another int, or None to count the pixels.")
    return divisor


def _avg_pool(
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    data_format: str,
    spatial: int,
) -> Array:
    inputs = pooled("x", x, data_format, spatial)
    w = windows(inputs.array.shape[2:], kernel_size, stride, padding, 1, ceil_mode, spatial)
    counted = flag("count_include_pad", count_include_pad) and not isinstance(padding, str)
    y = _core.avg_pool_forward(
        inputs.array,
        w.out,
        w.kernel,
        w.stride,
        w.padding,
        counted,
        _divisor(divisor_override),
        inputs.channels_last,
    )
    return deliver(y, data_format, spatial, batched=inputs.batched)


def _avg_pool_backward(
    grad_y: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    data_format: str,
    spatial: int,
) -> Array:
    grads = images("grad_y", grad_y, data_format, spatial)
    size = spatial_size("input_size", input_size, spatial)
    w = windows(size, kernel_size, stride, padding, 1, ceil_mode, spatial)
    check_grad(grads.array, w.out)
    counted = flag("count_include_pad", count_include_pad) and not isinstance(padding, str)
    divisor = _divisor(divisor_override)
    grad_x = _core.avg_pool_backward(
        grads.array, size, w.kernel, w.stride, w.padding, counted, divisor, grads.channels_last
    )
    return deliver(grad_x, data_format, spatial, batched=grads.batched)
