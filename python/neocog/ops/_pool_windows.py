"""What the pooling operators share: their windows, and the checks of PyTorch that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from neocog._arrays import Array, Images, as_indices, images
from neocog._checks import Padding, Pair, padding_of, pair, remembered

_AXES = ("height", "width")


class Windows(NamedTuple):
    """Sliding windows over an image, resolved and checked."""

    out: Pair
    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair


def flag(name: str, value: Any) -> bool:
    """A bool, not merely something true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` is {value!r}; it must be True or False.")
    return bool(value)


def pooled(name: str, value: Any, data_format: str, spatial: int) -> Images:
    """An argument of a pooling: images with at least one pixel each; batch and channels may be 0."""
    inputs = images(name, value, data_format, spatial)
    not_empty(name, inputs.array)
    if not inputs.batched and inputs.array.shape[1] == 0:
        raise ValueError(f"`{name}` has no channels; only the batch axis may be empty, so give it one.")
    return inputs


def not_empty(name: str, array: Array) -> None:
    """The error that an image without pixels has no windows."""
    if 0 in array.shape[2:]:
        raise ValueError(
            f"`{name}` has shape {array.shape} as (N, C, H, W); its images must have at least one pixel to pool."
        )


@remembered
def windows(
    size: Pair, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, spatial: int
) -> Windows:
    """Check the arguments of a sliding pooling over images of `size`."""
    kernel = pair("kernel_size", kernel_size, spatial, 1)
    steps = kernel if stride is None else pair("stride", stride, spatial, 1)
    gaps = pair("dilation", dilation, spatial, 1)
    pads = padding_of(padding, size, kernel, steps, gaps, spatial)
    if not isinstance(padding, str) and not _is_nested(padding):
        for axis in range(2):
            if pads[2 * axis] > kernel[axis] // 2:
                raise ValueError(
                    f"`padding` is {padding!r}, more than half of `kernel_size`, {kernel_size!r}; use less, or give "
                    "both ends of every axis, ((lo, hi), ...), where windows of padding alone are wanted."
                )
    ceil = flag("ceil_mode", ceil_mode)
    outs = [_outputs(axis, size, kernel, steps, pads, gaps, ceil) for axis in range(2)]
    return Windows((outs[0], outs[1]), kernel, steps, pads, gaps)


def _is_nested(padding: Any) -> bool:
    return isinstance(padding, Sequence) and any(isinstance(entry, Sequence) for entry in padding)


def _outputs(axis: int, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil: bool) -> int:
    """How many windows fit; in ceil mode one that starts inside may reach past the end, as in PyTorch."""
    padded = size[axis] + padding[2 * axis] + padding[2 * axis + 1]
    reach = dilation[axis] * (kernel[axis] - 1) + 1
    step = stride[axis]
    out = (padded - reach + (step - 1 if ceil else 0)) // step + 1
    if ceil and (out - 1) * step >= size[axis] + padding[2 * axis]:
        out -= 1
    if out < 1:
        raise ValueError(
            f"`kernel_size` is {kernel[axis]} (dilation {dilation[axis]}: {reach} pixels), which exceeds the padded "
            f"{_AXES[axis]} {padded} of `x`; enlarge `padding` or the image, or use a smaller kernel."
        )
    return out


@remembered
def spatial_size(name: str, value: Any, spatial: int, minimum: int = 1) -> Pair:
    """(height, width) of an int or of one int per spatial axis; 1-D gets the height 1."""
    values = pair(name, value, spatial, minimum)
    return values if spatial == 2 else (1, values[1])


def check_grad(grads: Array, size: Pair) -> None:
    """The error that a gradient does not have the shape of y."""
    if grads.shape[2:] != size:
        raise ValueError(
            f"`grad_y` has shape {grads.shape} as (N, C, H, W), but y has {size[0]} x {size[1]} pixels per channel; "
            "they must agree."
        )


def index_images(
    like: Images, value: Any, data_format: str, spatial: int, *, of: str, same_pixels: bool = True
) -> Array:
    """`indices` as int64 images in the memory layout of `like`, the argument called `of`, whose shape they must have.

    With `same_pixels=False` only batch and channels must agree.
    """
    array = value if isinstance(value, np.ndarray) and value.dtype == np.int64 else as_indices("indices", value)
    # Viewed as float64, which is as wide, indices pass through the checks and layouts of images, bit by bit.
    bits = images("indices", array.view(np.float64), data_format, spatial, channels_last=like.channels_last)
    axes = 4 if same_pixels else 2
    if bits.array.shape[:axes] != like.array.shape[:axes] or bits.batched != like.batched:
        raise ValueError(
            f"`indices` has shape {bits.array.shape}, `{of}` {like.array.shape} as (N, C, H, W); "
            f"{'they' if same_pixels else 'batch and channels'} must agree."
        )
    return bits.array.view(np.int64)
