"""Unpooling: maxima put back where max pooling found them, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neocog import _core
from neocog._arrays import Array, deliver
from neocog._checks import Pair, pair
from neocog.ops._pool_windows import index_images, pooled, spatial_size

__all__ = ["max_unpool1d", "max_unpool1d_backward", "max_unpool2d", "max_unpool2d_backward"]


def max_unpool2d(
    x: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    data_format: str = "NCHW",
) -> Array:
    """Put pooled maxima back at their positions, zeros elsewhere.

    Args:
        x: Maxima, shape (N, C, P, Q), or (N, P, Q, C) with `data_format="NHWC"`; float32 or float64. The batch axis
            may be missing.
        indices: Position row * W + column of each in its plane of y, same shape, any integer dtype: what `max_pool2d`
            returns with `return_indices=True`. Of equal indices the last in row-major order stays.
        kernel_size, stride, padding: As in the pooling that is undone; ints or (height, width).
        output_size: (H, W) of y, or the whole shape of y; None: H = (P - 1) * stride - 2 * padding + kernel.
            Sizes less than one stride away from that are possible.
        data_format: Order of the axes of the shapes of x, indices and y.
    Returns:
        A new array of x's dtype and memory layout, shape (N, C, H, W) in `data_format` order.
    Raises:
        TypeError: x is not float32 or float64, or `indices` are not integers.
        ValueError: Shapes disagree, `output_size` is not possible, or an index is not in [0, H * W).
    Accuracy: Exact.
    Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014, section 2.1.
    """
    return _unpool(x, indices, kernel_size, stride, padding, output_size, data_format, 2)


def max_unpool1d(
    x: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    data_format: str = "NCL",
) -> Array:
    """Put pooled maxima back at their positions along a signal; see `max_unpool2d`.

    Args:
        x: Maxima, shape (N, C, Q), or (N, Q, C) with `data_format="NLC"`; float32 or float64.
        indices: Position of each along L, same shape.
        kernel_size, stride, padding: As in the pooling that is undone.
        output_size: L of y as an int or (L,), or the whole shape of y.
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, C, L) in `data_format` order.
    Raises:
        TypeError, ValueError: As `max_unpool2d`.
    Accuracy: Exact.
    """
    return _unpool(x, indices, kernel_size, stride, padding, output_size, data_format, 1)


def max_unpool2d_backward(grad_y: Any, indices: Any, *, data_format: str = "NCHW") -> Array:
    """Gradient of `max_unpool2d` for x: grad_y at every index.

    Args:
        grad_y: Gradient of the loss for y, shape (N, C, H, W) in `data_format` order; float32 or float64.
        indices: As in the forward pass, shape (N, C, P, Q) in `data_format` order.
        data_format: As in the forward pass.
    Returns:
        A new array of grad_y's dtype and memory layout, shape (N, C, P, Q) in `data_format` order. Entries that lost
        their place to an equal index get its gradient as well.
    Raises:
        TypeError: grad_y is not float32 or float64, or `indices` are not integers.
        ValueError: Shapes disagree, or an index is not in [0, H * W).
    Accuracy: Exact.
    """
    return _unpool_backward(grad_y, indices, data_format, 2)


def max_unpool1d_backward(grad_y: Any, indices: Any, *, data_format: str = "NCL") -> Array:
    """Gradient of `max_unpool1d` for x; see `max_unpool2d_backward`.

    Args:
        grad_y: Shape (N, C, L) in `data_format` order.
        indices: As in the forward pass, shape (N, C, Q) in `data_format` order.
        data_format: As in the forward pass.
    Returns:
        A new array, shape (N, C, Q) in `data_format` order.
    Raises:
        TypeError, ValueError: As `max_unpool2d_backward`.
    Accuracy: Exact.
    """
    return _unpool_backward(grad_y, indices, data_format, 1)


def _unpooled_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, asked: Pair | None) -> Pair:
    """(H, W) of y: what the pooling's arithmetic gives, or what was asked for where a pooling could have had it."""
    sizes = []
    for axis, what in enumerate(("height", "width")):
        own = (size[axis] - 1) * stride[axis] - 2 * padding[axis] + kernel[axis]
        if asked is None and own < 1:
            raise ValueError(
                f"`padding` is {padding[axis]}, which leaves the {what} {own}; use a smaller one or give `output_size`."
            )
        if asked is not None and not (own - stride[axis] < asked[axis] < own + stride[axis]):
            least, most = max(own - stride[axis] + 1, 1), own + stride[axis] - 1
            raise ValueError(f"`output_size` has the {what} {asked[axis]}; it must be between {least} and {most}.")
        sizes.append(own if asked is None else asked[axis])
    return sizes[0], sizes[1]


def _asked_size(value: Any, data_format: str, spatial: int, rank: int) -> Pair | None:
    """`output_size` as (H, W); it may be the whole shape of y, with or without the batch axis that x has."""
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > spatial and len(value) == rank:
        value = value[-spatial - 1 : -1] if data_format in ("NHWC", "NLC") else value[-spatial:]
    return spatial_size("output_size", value, spatial)


def _unpool(
    x: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
    data_format: str,
    spatial: int,
) -> Array:
    inputs = pooled("x", x, data_format, spatial)
    places = index_images(inputs, indices, data_format, spatial, of="x")
    kernel = pair("kernel_size", kernel_size, spatial, 1)
    steps = kernel if stride is None else pair("stride", stride, spatial, 1)
    pads = pair("padding", padding, spatial, 0)
    asked = _asked_size(output_size, data_format, spatial, spatial + 1 + inputs.batched)
    size = _unpooled_size(inputs.array.shape[2:], kernel, steps, pads, asked)
    y = _core.max_unpool_forward(inputs.array, places, size, inputs.channels_last)
    return deliver(y, data_format, spatial, batched=inputs.batched)


def _unpool_backward(grad_y: Any, indices: Any, data_format: str, spatial: int) -> Array:
    grads = pooled("grad_y", grad_y, data_format, spatial)
    places = index_images(grads, indices, data_format, spatial, of="grad_y", same_pixels=False)
    grad_x = _core.max_unpool_backward(grads.array, places, grads.channels_last)
    return deliver(grad_x, data_format, spatial, batched=grads.batched)
