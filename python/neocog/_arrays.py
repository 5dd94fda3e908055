"""Arrays at the border: anything that can be an array becomes one, and memory layout is read from strides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_ARRAY = np.ndarray
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC")}


def as_array(name: str, value: Any, dtype: np.dtype[Any] | None = None) -> Array:
    """Take a NumPy array or any object with `__dlpack__`, without a copy, as float32 or float64.

    Args:
        name: The argument's name, for messages.
        value: The array.
        dtype: The dtype that the other arrays of the call have; None accepts both.
    Raises:
        TypeError: Not an array, not on the CPU, or not of the dtype.
    """
    if value.__class__ is _ARRAY:  # what most calls bring, in as few steps as can be
        own = value.dtype
        if (own is _FLOAT32 or own is _FLOAT64) and (dtype is None or dtype is own) and value.flags.aligned:
            ready: Array = value
            return ready
    array = _take(name, value)
    if array.dtype.kind == "f" and not (array.dtype.isnative and array.flags.aligned):
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype != np.float32 and array.dtype != np.float64:
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, but the kernels take float32 or float64; "
            f"convert it with {name}.astype(np.float32)."
        )
    if dtype is not None and array.dtype != dtype:
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, the other arrays {dtype}; convert it with {name}.astype(np.{dtype})."
        )
    return array


def row_major(array: Array) -> Array:
    """The array itself, or a copy if it is not C-contiguous; unlike np.ascontiguousarray it keeps rank 0."""
    return array if array.flags.c_contiguous else array.copy(order="C")


def as_indices(name: str, value: Any) -> Array:
    """Take an integer array as contiguous int64."""
    array = _take(name, value)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"`{name}` has dtype {array.dtype}, but indices are integers; take them from a pooling op.")
    return np.ascontiguousarray(array, dtype=np.int64)


def _take(name: str, value: Any) -> Array:
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "__dlpack__"):
        raise TypeError(
            f"`{name}` is a {type(value).__name__}, not an array; pass a NumPy array or an object with `__dlpack__`."
        )
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` is a {type(value).__name__} that NumPy cannot read ({error}); "
            "move it to the CPU, detach it from any gradient, and make it float32 or float64."
        ) from error


class Images(NamedTuple):
    """A batch of images as the kernels see it: logical axes (N, C, H, W), dense in one of two layouts."""

    array: Array
    channels_last: bool
    batched: bool  # False: the caller's array had no batch axis


def images(
    name: str,
    value: Any,
    data_format: str,
    spatial: int = 2,
    *,
    dtype: np.dtype[Any] | None = None,
    channels_last: bool | None = None,
) -> Images:
    """View an argument as images; a copy is made only of an array that is dense in neither layout.

    Args:
        name: The argument's name, for messages.
        value: Shape (N, C, H, W) or (N, H, W, C), 1-D (N, C, L) or (N, L, C), as `data_format` says; the batch
            axis may be missing.
        data_format: The order of the axes of the *shape*; memory layout is read from the strides.
        spatial: 1 or 2 spatial axes; one becomes (1, L).
        dtype: The dtype to insist on.
        channels_last: The memory layout to convert to; None keeps the array's own.
    """
    array = as_array(name, value, dtype)
    try:
        view = _view(name, array.shape, array.strides, array.itemsize, data_format, spatial, channels_last)
    except TypeError:  # a `data_format` that no cache takes
        view = _view.__wrapped__(name, array.shape, array.strides, array.itemsize, data_format, spatial, channels_last)
    if view.added is not None:
        array = array[view.added]
    if view.turned:
        array = array.transpose(0, 3, 1, 2)
    if view.copied:
        array = row_major(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if view.channels_last else row_major(array)
    return Images(array, view.channels_last, view.batched)


class _View(NamedTuple):
    """How an array becomes images."""

    added: tuple[Any, ...] | None  # an index that adds the axes that are missing
    turned: bool  # its channels come last
    copied: bool
    channels_last: bool  # the images' memory layout
    batched: bool


@lru_cache(maxsize=1024)
def _view(
    name: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    itemsize: int,
    data_format: str,
    spatial: int,
    channels_last: bool | None,
) -> _View:
    first, last = FORMATS[spatial]
    if data_format not in (first, last):
        raise ValueError(f"`data_format` is {data_format!r}; it must be {first!r} or {last!r}.")
    if len(shape) not in (spatial + 1, spatial + 2):
        raise ValueError(
            f"`{name}` has {len(shape)} axes, shape {shape}; it must have {spatial + 2} ({data_format}), "
            f"or {spatial + 1} for one image without a batch axis."
        )
    batched = len(shape) == spatial + 2
    prefer_last = data_format == last
    every = slice(None)
    index = [every if batched else None, every, every]
    if spatial == 2:
        index.append(every)
    else:
        index.insert(1 if prefer_last else 2, None)
    # Sizes and steps of all four axes; a step of a new axis does not matter.
    sizes, steps = iter(shape), iter(strides)
    axes = [(1, 0) if entry is None else (next(sizes), next(steps)) for entry in index]
    if prefer_last:
        axes = [axes[0], axes[3], axes[1], axes[2]]
    dense_first = _is_dense(axes, itemsize)
    dense_last = _is_dense([axes[0], axes[2], axes[3], axes[1]], itemsize)
    if channels_last is None:
        # One channel or one pixel is dense both ways: then the shape's own order decides, and so where neither is.
        channels_last = prefer_last if dense_first == dense_last else dense_last
    copied = not (dense_last if channels_last else dense_first)
    return _View(tuple(index) if None in index else None, prefer_last, copied, channels_last, batched)


def _is_dense(axes: Sequence[tuple[int, int]], itemsize: int) -> bool:
    """Whether an array with axes of these sizes and steps is C-contiguous, by NumPy's rule."""
    expected = itemsize
    gap = False
    for size, step in reversed(axes):
        if size == 0:
            return True
        gap = gap or (size != 1 and step != expected)
        expected *= size
    return not gap


def with_gradients(inputs: Images, grad_y: Any, data_format: str, spatial: int = 2) -> tuple[Images, Images]:
    """View `inputs` and the gradient of their result in one memory layout: that of the inputs.

    One channel or one pixel is dense both ways: then the gradient's own layout, so that nothing is copied.
    """
    array = inputs.array
    either = array.flags.c_contiguous and array.transpose(0, 2, 3, 1).flags.c_contiguous
    layout = None if either else inputs.channels_last
    grads = images("grad_y", grad_y, data_format, spatial, dtype=array.dtype, channels_last=layout)
    return inputs._replace(channels_last=grads.channels_last), grads


def deliver(y: Array, data_format: str, spatial: int = 2, *, batched: bool = True) -> Array:
    """Turn the kernels' (N, C, H, W) result into the shape the caller's format asks for; no copy."""
    if data_format == FORMATS[spatial][1]:
        y = y.transpose(0, 2, 3, 1)
        if spatial == 1:
            y = y[:, 0]
    elif spatial == 1:
        y = y[:, :, 0]
    return y if batched else y[0]
