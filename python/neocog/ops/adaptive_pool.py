"""Adaptive and global pooling: windows that follow from the size of the output, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neocog import _core
from neocog._arrays import Array, deliver, images
from neocog._checks import Pair, integer, remembered
from neocog.ops._pool_windows import flag, pooled, spatial_size

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "global_avg_pool1d",
    "global_avg_pool1d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool1d",
    "global_max_pool2d",
]


def adaptive_avg_pool2d(x: Any, output_size: Any, *, data_format: str = "NCHW") -> Array:
    """Average over windows that cut an image into `output_size` parts, which may overlap by a pixel.

    Output row i averages the input rows floor(i * H / P) to ceil((i + 1) * H / P), columns likewise.

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64. The batch
            axis may be missing. Dense arrays of either memory layout are read in place, others are copied.
        output_size: (P, Q) or an int for both; None keeps the size of that axis.
        data_format: Order of the axes of the shapes of x and y.
    Returns:
        A new array of x's dtype and memory layout, shape (N, C, P, Q) in `data_format` order.
    Raises:
        TypeError: x is not float32 or float64; nothing is converted silently.
        ValueError: The rank is wrong, images are empty, or a size is negative.
    Accuracy: |error| <= (pixels of the window + 2) * eps * mean |x|.
    Source: He et al., "Spatial pyramid pooling in deep convolutional networks", 2014, section 2.2.
    """
    return _adaptive_avg_pool(x, output_size, data_format, 2)


def adaptive_avg_pool1d(x: Any, output_size: Any, *, data_format: str = "NCL") -> Array:
    """Average over windows that cut a signal into `output_size` parts; see `adaptive_avg_pool2d`.

    Args:
        x: Signals, shape (N, C, L), or (N, L, C) with `data_format="NLC"`; float32 or float64.
        output_size: Q, an int or (Q,).
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, C, Q) in `data_format` order.
    Raises:
        TypeError, ValueError: As `adaptive_avg_pool2d`.
    Accuracy: As `adaptive_avg_pool2d`.
    """
    return _adaptive_avg_pool(x, output_size, data_format, 1)


def adaptive_max_pool2d(
    x: Any, output_size: Any, return_indices: bool = False, *, data_format: str = "NCHW"
) -> Array | tuple[Array, Array]:
    """Take the largest pixel of the windows of `adaptive_avg_pool2d`; its gradient is `max_pool2d_backward`.

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64.
        output_size: (P, Q) or an int for both; None keeps the size of that axis.
        return_indices: Return the positions of the maxima too, as `max_pool2d` does.
        data_format: Order of the axes of the shapes of x, y and the indices.
    Returns:
        A new array of x's dtype and memory layout, shape (N, C, P, Q) in `data_format` order; with `return_indices`
        also an int64 array of that shape.
    Raises:
        TypeError, ValueError: As `adaptive_avg_pool2d`.
    Accuracy: Exact.
    Source: He et al., "Spatial pyramid pooling in deep convolutional networks", 2014, section 2.2.
    """
    return _adaptive_max_pool(x, output_size, return_indices, data_format, 2)


def adaptive_max_pool1d(
    x: Any, output_size: Any, return_indices: bool = False, *, data_format: str = "NCL"
) -> Array | tuple[Array, Array]:
    """Take the largest sample of the windows of `adaptive_avg_pool1d`; its gradient is `max_pool1d_backward`.

    Args:
        x: Signals, shape (N, C, L), or (N, L, C) with `data_format="NLC"`; float32 or float64.
        output_size: Q, an int or (Q,).
        return_indices: Return the positions of the maxima too.
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, C, Q) in `data_format` order; with `return_indices` also an int64 array of that shape.
    Raises:
        TypeError, ValueError: As `adaptive_avg_pool2d`.
    Accuracy: Exact.
    """
    return _adaptive_max_pool(x, output_size, return_indices, data_format, 1)


def adaptive_avg_pool2d_backward(grad_y: Any, input_size: Any, *, data_format: str = "NCHW") -> Array:
    """Gradient of `adaptive_avg_pool2d` for x: every pixel gets its share of the windows that cover it.

    Args:
        grad_y: Gradient of the loss for y, shape (N, C, P, Q) in `data_format` order; float32 or float64.
        input_size: (H, W) of x.
        data_format: As in the forward pass.
    Returns:
        A new array of grad_y's dtype and memory layout, shape (N, C, H, W) in `data_format` order.
    Raises:
        TypeError: grad_y is not float32 or float64.
        ValueError: The rank is wrong, or a size is not positive.
    Accuracy: |error| <= (windows that cover the pixel + 2) * eps * sum |grad_y| / d.
    """
    return _avg_backward(grad_y, input_size, data_format, 2)


def adaptive_avg_pool1d_backward(grad_y: Any, input_size: Any, *, data_format: str = "NCL") -> Array:
    """Gradient of `adaptive_avg_pool1d` for x; see `adaptive_avg_pool2d_backward`.

    Args:
        grad_y: Shape (N, C, Q) in `data_format` order.
        input_size: L of x, an int or (L,).
        data_format: As in the forward pass.
    Returns:
        A new array, shape (N, C, L) in `data_format` order.
    Raises:
        TypeError, ValueError: As `adaptive_avg_pool2d_backward`.
    Accuracy: As `adaptive_avg_pool2d_backward`.
    """
    return _avg_backward(grad_y, input_size, data_format, 1)


def global_avg_pool2d(x: Any, *, keepdims: bool = True, data_format: str = "NCHW") -> Array:
    """Average every channel over the whole image.

    Args:
        x: Images, shape (N, C, H, W), or (N, H, W, C) with `data_format="NHWC"`; float32 or float64. The batch
            axis may be missing.
        keepdims: Keep the two spatial axes with size 1.
        data_format: Order of the axes of the shapes of x and y.
    Returns:
        A new array of x's dtype, shape (N, C, 1, 1) in `data_format` order, or (N, C).
    Raises:
        TypeError: x is not float32 or float64; nothing is converted silently.
        ValueError: The rank is wrong, or images are empty.
    Accuracy: |error| <= (H*W + 2) * eps * mean |x|, in practice far below: sums are added up in two levels.
    Source: Lin, Chen and Yan, "Network in network", 2013, section 3.2, https://arxiv.org/abs/1312.4400
    """
    return _global(_adaptive_avg_pool(x, 1, data_format, 2), keepdims, data_format, 2)


def global_avg_pool1d(x: Any, *, keepdims: bool = True, data_format: str = "NCL") -> Array:
    """Average every channel over the whole signal; see `global_avg_pool2d`.

    Args:
        x: Signals, shape (N, C, L), or (N, L, C) with `data_format="NLC"`; float32 or float64.
        keepdims: Keep the spatial axis with size 1.
        data_format: "NCL" or "NLC".
    Returns:
        A new array, shape (N, C, 1) in `data_format` order, or (N, C).
    Raises:
        TypeError, ValueError: As `global_avg_pool2d`.
    Accuracy: As `global_avg_pool2d`.
    """
    return _global(_adaptive_avg_pool(x, 1, data_format, 1), keepdims, data_format, 1)


def global_max_pool2d(x: Any, *, keepdims: bool = True, data_format: str = "NCHW") -> Array:
    """Take the largest pixel of every channel; NaN where there is one.

    Args:
        x, keepdims, data_format: As in `global_avg_pool2d`.
    Returns:
        A new array of x's dtype, shape (N, C, 1, 1) in `data_format` order, or (N, C).
    Raises:
        TypeError, ValueError: As `global_avg_pool2d`.
    Accuracy: Exact.
    Source: Oquab et al., "Is object localization for free?", 2015, section 3.1.
    """
    return _global(_adaptive_max_pool(x, 1, False, data_format, 2), keepdims, data_format, 2)


def global_max_pool1d(x: Any, *, keepdims: bool = True, data_format: str = "NCL") -> Array:
    """Take the largest sample of every channel; NaN where there is one.

    Args:
        x, keepdims, data_format: As in `global_avg_pool1d`.
    Returns:
        A new array, shape (N, C, 1) in `data_format` order, or (N, C).
    Raises:
        TypeError, ValueError: As `global_avg_pool2d`.
    Accuracy: Exact.
    """
    return _global(_adaptive_max_pool(x, 1, False, data_format, 1), keepdims, data_format, 1)


def global_avg_pool2d_backward(grad_y: Any, input_size: Any, *, data_format: str = "NCHW") -> Array:
    """Gradient of `global_avg_pool2d` for x: grad_y / (H * W) at every pixel.

    Args:
        grad_y: Gradient of the loss for y, shape (N, C, 1, 1) or (1, 1, C) and the like in `data_format` order, as
            the forward pass gives it with `keepdims=True`; float32 or float64.
        input_size: (H, W) of x.
        data_format: As in the forward pass.
    Returns:
        A new array of grad_y's dtype, shape (N, C, H, W) in `data_format` order, in the memory layout of that order.
    Raises:
        TypeError: grad_y is not float32 or float64.
        ValueError: grad_y has not one pixel, or a size is not positive.
    Accuracy: |error| <= 3 * eps * |grad_y| / (H * W).
    """
    return _global_backward(grad_y, input_size, data_format, 2)


def global_avg_pool1d_backward(grad_y: Any, input_size: Any, *, data_format: str = "NCL") -> Array:
    """Gradient of `global_avg_pool1d` for x: grad_y / L at every sample.

    Args:
        grad_y: Shape (N, C, 1) in `data_format` order.
        input_size: L of x, an int or (L,).
        data_format: As in the forward pass.
    Returns:
        A new array, shape (N, C, L) in `data_format` order.
    Raises:
        TypeError, ValueError: As `global_avg_pool2d_backward`.
    Accuracy: As `global_avg_pool2d_backward`.
    """
    return _global_backward(grad_y, input_size, data_format, 1)


@remembered
def _output_size(value: Any, size: Pair, spatial: int) -> Pair:
    """(P, Q) of an adaptive pooling; None keeps the input's."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * spatial
    if len(values) == 1:
        values *= spatial
    if len(values) != spatial:
        raise ValueError(
            f"`output_size` is {value!r}; it must be an int or have {spatial} entries, each an int or None."
        )
    kept = size if spatial == 2 else size[1:]
    outs = [own if v is None else integer("output_size", v, 0) for v, own in zip(values, kept, strict=True)]
    return (outs[0], outs[1]) if spatial == 2 else (1, outs[0])


def _adaptive_avg_pool(x: Any, output_size: Any, data_format: str, spatial: int) -> Array:
    inputs = pooled("x", x, data_format, spatial)
    out = _output_size(output_size, inputs.array.shape[2:], spatial)
    y = _core.adaptive_avg_pool_forward(inputs.array, out, inputs.channels_last)
    return deliver(y, data_format, spatial, batched=inputs.batched)


def _adaptive_max_pool(
    x: Any, output_size: Any, return_indices: bool, data_format: str, spatial: int
) -> Array | tuple[Array, Array]:
    inputs = pooled("x", x, data_format, spatial)
    out = _output_size(output_size, inputs.array.shape[2:], spatial)
    indexed = flag("return_indices", return_indices)
    result = _core.adaptive_max_pool_forward(inputs.array, out, indexed, inputs.channels_last)
    if indexed:
        y, indices = (deliver(a, data_format, spatial, batched=inputs.batched) for a in result)
        return y, indices
    return deliver(result, data_format, spatial, batched=inputs.batched)


def _avg_backward(grad_y: Any, input_size: Any, data_format: str, spatial: int) -> Array:
    grads = images("grad_y", grad_y, data_format, spatial)
    size = spatial_size("input_size", input_size, spatial)
    grad_x = _core.adaptive_avg_pool_backward(grads.array, size, grads.channels_last)
    return deliver(grad_x, data_format, spatial, batched=grads.batched)


def _global_backward(grad_y: Any, input_size: Any, data_format: str, spatial: int) -> Array:
    grads = images("grad_y", grad_y, data_format, spatial)
    if grads.array.shape[2:] != (1, 1):
        raise ValueError(
            f"`grad_y` has shape {grads.array.shape} as (N, C, H, W), but a global pooling leaves one pixel; "
            "give it the spatial axes of size 1 that the forward pass has with keepdims=True."
        )
    return _avg_backward(grad_y, input_size, data_format, spatial)


def _global(y: Any, keepdims: bool, data_format: str, spatial: int) -> Array:
    pixels = tuple(range(-spatial, 0)) if data_format in ("NCHW", "NCL") else tuple(range(-spatial - 1, -1))
    result: Array = y if flag("keepdims", keepdims) else y.squeeze(pixels)
    return result
