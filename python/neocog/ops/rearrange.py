"""Moving elements: padding, joining and splitting arrays, pixels from channels and back."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from neocog import _core
from neocog._arrays import FORMATS, Array, as_array
from neocog._checks import integer, one_of

__all__ = [
    "concat",
    "concat_backward",
    "pad",
    "pad_backward",
    "pixel_shuffle",
    "pixel_shuffle_backward",
    "pixel_unshuffle",
    "pixel_unshuffle_backward",
]

# In the order of `PadMode` in cpp/ops/rearrange/rearrange.h.
PAD_MODES = ("constant", "reflect", "replicate", "circular")

Order = tuple[int, ...]  # axes as they lie in memory, outermost first


def pad(x: Any, padding: Any, *, value: float = 0.0, mode: str = "constant") -> Array:
    """Enlarge or crop the last axes of an array.

    Args:
        x: Any shape, float32 or float64. "constant" pads any number of axes; the other modes pad the last
            1, 2 or 3 axes of an array that has one or two more (channels, batch), as PyTorch has it.
        padding: Elements added before and after, the last axis first: (left, right, top, bottom, ...).
            Negative amounts crop; modes other than "constant" leave at least one element.
        value: What "constant" fills with.
        mode: "constant"; "reflect" (mirrored at the edge element, which is not repeated; less padding than
            the axis is long); "replicate" (the edge element repeated); "circular" (at most one turn).
    Returns:
        A new array of x's dtype and memory layout; each padded axis is left + right longer.
    Raises:
        TypeError: x is not float32 or float64.
        ValueError: `padding` has an odd or too large number of entries, crops more than there is, or does
            not suit the mode; or `value` is given to a mode that fills with x itself.
    Accuracy: Elements are copied, bit by bit.
    """
    array = as_array("x", x)
    one_of("mode", mode, PAD_MODES)
    fill = _fill_value(value, mode)
    amounts = _amounts(padding, "x", array.shape, mode)
    order = _memory_order([array])
    _check_size("padding", padding, _padded(array.shape, amounts), array)
    lo, hi = ([amounts[axis][end] for axis in order] for end in (0, 1))
    y: Array = _core.pad_forward(_dense(array, order), lo, hi, PAD_MODES.index(mode), fill)
    return _transposed(y, _inverse(order))


def pad_backward(grad_y: Any, input_shape: Sequence[int], padding: Any, *, mode: str = "constant") -> Array:
    """Gradient of `pad` for its input.

    Args:
        grad_y: Gradient of the loss for y, of y's shape.
        input_shape: The shape of x.
        padding, mode: As in the forward pass.
    Returns:
        grad_x of shape `input_shape`, in the memory layout of grad_y: each element is the sum of the
        gradients of its copies, 0 if it was cropped away.
    Raises:
        TypeError, ValueError: As `pad`; also where `grad_y` does not have the shape of y.
    Accuracy: |error| <= copies * eps * sum |grad_y|, summed in an order that no number of threads changes.
    """
    grad = as_array("grad_y", grad_y)
    one_of("mode", mode, PAD_MODES)
    shape = _sizes("input_shape", input_shape)
    amounts = _amounts(padding, "input_shape", shape, mode)
    expected = _padded(shape, amounts)
    if grad.shape != expected:
        raise ValueError(f"`grad_y` has shape {grad.shape}; y has {expected}: they must agree.")
    order = _memory_order([grad])
    lo, hi = ([amounts[axis][end] for axis in order] for end in (0, 1))
    sizes = [shape[axis] for axis in order]
    grad_x: Array = _core.pad_backward(_dense(grad, order), sizes, lo, hi, PAD_MODES.index(mode))
    return _transposed(grad_x, _inverse(order))


def concat(arrays: Sequence[Any], *, axis: int = 1) -> Array:
    """Join arrays along an axis.

    Args:
        arrays: One or more arrays of one dtype and rank, float32 or float64; sizes agree but for `axis`.
        axis: Where to join; 1 joins the channels of (N, C, H, W). Negative axes count from the end.
    Returns:
        A new array. It is channels-last in memory if all the arrays are, and row-major otherwise.
    Raises:
        TypeError: Something is not a float32 or float64 array, or dtypes differ.
        ValueError: There is no array, ranks or sizes disagree, or `axis` is out of range.
    Accuracy: Elements are copied, bit by bit.
    """
    if not isinstance(arrays, Sequence) or isinstance(arrays, str):
        raise TypeError(f"`arrays` is a {type(arrays).__name__}; it must be a list or tuple of arrays.")
    if len(arrays) == 0:
        raise ValueError("`arrays` is empty; give at least one array.")
    first = as_array("arrays[0]", arrays[0])
    parts = [first, *(as_array(f"arrays[{i}]", a, first.dtype) for i, a in enumerate(arrays[1:], start=1))]
    along = _axis(axis, first.ndim, "arrays")
    for i, part in enumerate(parts):
        if part.shape == first.shape:
            continue
        if part.ndim != first.ndim:
            raise ValueError(
                f"`arrays[{i}]` has {part.ndim} axes, shape {part.shape}, but `arrays[0]` has {first.ndim}, "
                f"shape {first.shape}; all must have the same number."
            )
        if any(d != along and n != m for d, (n, m) in enumerate(zip(part.shape, first.shape, strict=True))):
            raise ValueError(
                f"`arrays[{i}]` has shape {part.shape}, `arrays[0]` {first.shape}; they may differ in axis "
                f"{along} only."
            )
    shape = list(first.shape)
    shape[along] = sum(part.shape[along] for part in parts)
    _check_size("arrays", f"{len(parts)} arrays", shape, first)
    y: Array = _core.concat_forward(parts, along, _memory_order(parts))
    return y


def concat_backward(grad_y: Any, sizes: Sequence[int], *, axis: int = 1) -> tuple[Array, ...]:
    """Gradients of `concat` for its arrays: grad_y cut along the axis.

    Args:
        grad_y: Gradient of the loss for y, of y's shape.
        sizes: The sizes of the joined arrays along `axis`; they add up to grad_y's.
        axis: As in the forward pass.
    Returns:
        One new array for each entry of `sizes`, in the memory layout of grad_y.
    Raises:
        TypeError: grad_y is not float32 or float64.
        ValueError: `sizes` do not add up, or `axis` is out of range.
    Accuracy: Elements are copied, bit by bit.
    """
    grad = as_array("grad_y", grad_y)
    along = _axis(axis, grad.ndim, "grad_y")
    lengths = _sizes("sizes", sizes)
    if sum(lengths) != grad.shape[along]:
        raise ValueError(
            f"`sizes` is {lengths}, which adds up to {sum(lengths)}; it must add up to {grad.shape[along]}, "
            f"the size of axis {along} of `grad_y`."
        )
    return tuple(_core.concat_backward(grad, lengths, along, _memory_order([grad])))


def pixel_shuffle(x: Any, upscale_factor: int, *, data_format: str = "NCHW") -> Array:
    r"""Turn channels into pixels: every r*r channels become one channel of an image r times as large.

    .. math:: y_{n,\;c,\;hr+i,\;wr+j} = x_{n,\;(cr+i)r+j,\;h,\;w}

    Args:
        x: Images, shape (..., C*r*r, H, W), or (..., H, W, C*r*r) with `data_format="NHWC"`, with any number
            of batch axes; float32 or float64.
        upscale_factor: r, at least 1.
        data_format: Order of the last three axes of the shapes; memory layout is read from the strides.
    Returns:
        A new array of x's dtype and memory layout, shape (..., C, H*r, W*r) in `data_format` order.
    Raises:
        TypeError: x is not float32 or float64, or `upscale_factor` no int.
        ValueError: x has fewer than three axes, or r*r does not divide its channels.
    Accuracy: Elements are copied, bit by bit.
    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
        convolutional neural network", 2016, section 3.2, https://arxiv.org/abs/1609.05158
    """
    return _shuffle("x", x, "upscale_factor", upscale_factor, data_format)


def pixel_unshuffle(x: Any, downscale_factor: int, *, data_format: str = "NCHW") -> Array:
    """Turn pixels into channels: the inverse of `pixel_shuffle`.

    Args:
        x: Images, shape (..., C, H*r, W*r), or (..., H*r, W*r, C) with `data_format="NHWC"`, with any number
            of batch axes; float32 or float64.
        downscale_factor: r, at least 1.
        data_format: Order of the last three axes of the shapes.
    Returns:
        A new array of x's dtype and memory layout, shape (..., C*r*r, H, W) in `data_format` order.
    Raises:
        TypeError: x is not float32 or float64, or `downscale_factor` no int.
        ValueError: x has fewer than three axes, or r does not divide its height and width.
    Accuracy: Elements are copied, bit by bit.
    """
    return _unshuffle("x", x, "downscale_factor", downscale_factor, data_format)


def pixel_shuffle_backward(grad_y: Any, upscale_factor: int, *, data_format: str = "NCHW") -> Array:
    """Gradient of `pixel_shuffle` for its input: grad_y unshuffled.

    Args:
        grad_y: Gradient of the loss for y, shape (..., C, H*r, W*r) in `data_format` order.
        upscale_factor, data_format: As in the forward pass.
    Returns:
        grad_x, shape (..., C*r*r, H, W) in `data_format` order.
    Raises:
        TypeError, ValueError: As `pixel_unshuffle`.
    """
    return _unshuffle("grad_y", grad_y, "upscale_factor", upscale_factor, data_format)


def pixel_unshuffle_backward(grad_y: Any, downscale_factor: int, *, data_format: str = "NCHW") -> Array:
    """Gradient of `pixel_unshuffle` for its input: grad_y shuffled.

    Args:
        grad_y: Gradient of the loss for y, shape (..., C*r*r, H, W) in `data_format` order.
        downscale_factor, data_format: As in the forward pass.
    Returns:
        grad_x, shape (..., C, H*r, W*r) in `data_format` order.
    Raises:
        TypeError, ValueError: As `pixel_shuffle`.
    """
    return _shuffle("grad_y", grad_y, "downscale_factor", downscale_factor, data_format)


def _shuffle(name: str, x: Any, factor_name: str, factor: int, data_format: str) -> Array:
    array, r = _channels_third(name, x, data_format), integer(factor_name, factor, 1)
    channels, height, width = array.shape[-3:]
    if channels % (r * r):
        raise ValueError(
            f"`{name}` has {channels} channels, which {factor_name}**2 = {r * r} does not divide; give it a "
            f"multiple of {r * r} channels or another `{factor_name}`."
        )
    _check_size(factor_name, r, (*array.shape[:-3], channels // (r * r), height * r, width * r), array)
    return _deliver(_core.pixel_shuffle(array, r, _shuffle_order(array, data_format)), data_format)


def _unshuffle(name: str, x: Any, factor_name: str, factor: int, data_format: str) -> Array:
    array, r = _channels_third(name, x, data_format), integer(factor_name, factor, 1)
    height, width = array.shape[-2:]
    if height % r or width % r:
        raise ValueError(
            f"`{name}` is {height} pixels high and {width} wide, which {factor_name} = {r} does not divide; "
            f"crop or `pad` it to multiples of {r}."
        )
    return _deliver(_core.pixel_unshuffle(array, r, _shuffle_order(array, data_format)), data_format)


def _channels_third(name: str, x: Any, data_format: str) -> Array:
    """View x as (..., C, H, W)."""
    one_of("data_format", data_format, FORMATS[2])
    array = as_array(name, x)
    if array.ndim < 3:
        raise ValueError(
            f"`{name}` has {array.ndim} axes, shape {array.shape}; it must have at least three, the last "
            f"being {', '.join(data_format[1:])}."
        )
    if data_format == FORMATS[2][0]:
        return array
    *batch, height, width, channels = range(array.ndim)
    return _transposed(array, (*batch, channels, height, width))


def _deliver(y: Array, data_format: str) -> Array:
    """View (..., C, H, W) in the order of the format."""
    if data_format == FORMATS[2][0]:
        return y
    *batch, channels, height, width = range(y.ndim)
    return _transposed(y, (*batch, height, width, channels))


def _shuffle_order(array: Array, data_format: str) -> Order:
    return _memory_order([array], (array.ndim - 3,), prefer_last=data_format == FORMATS[2][1])


def _memory_order(
    arrays: Sequence[Array], channels: Sequence[int] | None = None, *, prefer_last: bool = False
) -> Order:
    """The order in which the axes of all the arrays lie in memory: as they are counted, or channels last.

    Args:
        channels: Axes that may be the channels; None takes those of (N, C, ...) and of (C, H, W).
        prefer_last: What to take where both orders fit, or neither.
    """
    ndim = arrays[0].ndim
    if not prefer_last and all(array.flags.c_contiguous for array in arrays):
        return tuple(range(ndim))
    if channels is None:
        channels = () if ndim < 3 else (1, 0) if ndim == 3 else (1,)
    plain = tuple(range(ndim))
    orders = [plain, *((*(d for d in plain if d != c), c) for c in channels)]
    if prefer_last:
        orders.reverse()
    return next((order for order in orders if all(_lies_in(array, order) for array in arrays)), orders[0])


def _lies_in(array: Array, order: Order) -> bool:
    strides = [abs(array.strides[axis]) for axis in order if array.shape[axis] > 1]
    return all(outer >= inner for outer, inner in pairwise(strides))


def _transposed(array: Array, order: Order) -> Array:
    view: Array = array.transpose(order)
    return view


def _dense(array: Array, order: Order) -> Array:
    """The array with its axes in this order, row-major; a copy only if it is not that already."""
    # np.ascontiguousarray would make an array without axes one-dimensional.
    return np.asarray(_transposed(array, order), order="C")


def _inverse(order: Order) -> Order:
    return tuple(order.index(axis) for axis in range(len(order)))


def _fill_value(value: Any, mode: str) -> float:
    try:
        fill = None if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        fill = None
    if fill is None:
        raise TypeError(f"`value` is {value!r}; it must be a number.")
    if mode != "constant" and fill != 0:
        raise ValueError(f"`value` is {value!r}, but mode {mode!r} fills with `x` itself; leave `value` out.")
    return fill


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"`{name}` is {value!r}; it must be a sequence of ints.")
    return tuple(integer(name, size, 0) for size in value)


def _axis(value: Any, ndim: int, name: str) -> int:
    axis = integer("axis", value)
    if not -ndim <= axis < ndim:
        raise ValueError(f"`axis` is {axis}; `{name}` has {ndim} axes: it must be in [{-ndim}, {ndim}).")
    return axis % ndim


def _check_size(name: str, value: Any, shape: Sequence[int], like: Array) -> None:
    if math.prod(shape) * like.itemsize > sys.maxsize:
        raise ValueError(
            f"`{name}` is {value!r}, which makes an array of shape {tuple(shape)}: more than memory can "
            "address; ask for less."
        )


def _padded(shape: tuple[int, ...], amounts: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(size + lo + hi for size, (lo, hi) in zip(shape, amounts, strict=True))


def _amounts(padding: Any, name: str, shape: tuple[int, ...], mode: str) -> list[tuple[int, int]]:
    """(lo, hi) of every axis, checked against the sizes."""
    if isinstance(padding, str) or not hasattr(padding, "__iter__"):
        raise TypeError(f"`padding` is {padding!r}; it must be a sequence of ints, the last axis first.")
    flat = [integer("padding", amount) for amount in padding]
    shown, padded = tuple(flat), len(flat) // 2
    if len(flat) % 2:
        raise ValueError(f"`padding` is {shown}; it must have two entries (before, after) for each padded axis.")
    if padded > len(shape):
        raise ValueError(
            f"`padding` is {shown}, which pads {padded} axes, but `{name}` has {len(shape)}, shape {shape}."
        )
    if mode != "constant" and (padded not in (1, 2, 3) or len(shape) not in (padded + 1, padded + 2)):
        raise ValueError(
            f"`padding` is {shown}, which pads {padded} of the {len(shape)} axes of `{name}` {shape}; "
            f"mode {mode!r} pads the last 1, 2 or 3 axes of an array with one or two more (channels, batch): "
            'add entries of 0, or reshape, or use mode "constant".'
        )
    amounts = [(0, 0)] * (len(shape) - padded) + list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    for axis, (size, (lo, hi)) in enumerate(zip(shape, amounts, strict=True)):
        problem = _problem(size, lo, hi, mode) if axis >= len(shape) - padded else None
        if problem:
            raise ValueError(f"`padding` is {shown}: axis {axis} of `{name}`, shape {shape}, {problem}")
    return amounts


def _problem(size: int, lo: int, hi: int, mode: str) -> str | None:
    """What is wrong with padding an axis of this size, if anything is."""
    left = size + min(lo, 0) + min(hi, 0)
    if mode == "constant":
        return None if left >= 0 else f"has {size} elements, fewer than are cropped; crop less."
    if size == 0:
        return f'is empty, and mode {mode!r} has nothing to fill with; use mode "constant".'
    if size + lo + hi < 1:
        return f"has {size} elements and would have {size + lo + hi}; crop less."
    if mode == "reflect" and max(lo, hi) >= size:
        return f"has {size} elements, and reflection reaches at most {size - 1} past an edge; pad less."
    if mode == "circular" and max(lo, hi) > max(left, 0):
        return f"keeps {max(left, 0)} elements, and circular padding takes at most one turn; pad less."
    return None
