"""Resampling of images and signals to another size, forward and backward."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from neocog import _core
from neocog._arrays import FORMATS, Array, Images, as_array, deliver, images
from neocog._checks import integer, one_of

__all__ = ["interpolate", "interpolate_backward"]

# Codes of `ResampleMode` in cpp/ops/resample/axis.h.
CODES = {"nearest": 0, "nearest-exact": 1, "linear": 2, "bilinear": 2}
MODES = tuple(CODES)

_LARGEST = 2**31 - 1  # the kernels' indices within a row are 32 bits long

Scales = tuple[float, float]  # height, width; 0 where the ratio of the sizes counts


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    *,
    mode: str = "nearest",
    align_corners: bool = False,
    recompute_scale_factor: bool | None = None,
    data_format: str | None = None,
) -> Array:
    r"""Resample a batch of images or signals to another size.

    Output o of an axis reads the input at :math:`p(o)`. "linear" and "bilinear" weight the two inputs around

    .. math:: p(o) = \max\big(s\,(o + \tfrac12) - \tfrac12,\; 0\big), \quad s = \text{in} / \text{out}

    or, with `align_corners`, :math:`p(o) = o\,(\text{in} - 1) / (\text{out} - 1)`: corner pixels then keep
    their places. "nearest" reads input :math:`\lfloor s\,o \rfloor` and "nearest-exact"
    :math:`\lfloor s\,(o + \tfrac12) \rfloor`, both computed in float32, as in PyTorch, whatever the dtype.

    Args:
        x: Images, shape (N, C, H, W), or signals, shape (N, C, L); or as `data_format` says. float32 or
            float64.
        size: Size of the result in pixels: an int, or one per axis.
        scale_factor: Or its ratio to the size of x: a number, or one per axis; the result has
            floor(H * scale) rows, and s is 1 / scale. Exactly one of `size` and `scale_factor` must be given.
        mode: "nearest", "nearest-exact", "bilinear" (images) or "linear" (signals).
        align_corners: For "linear" and "bilinear"; see above.
        recompute_scale_factor: True: s is the ratio of the sizes even when `scale_factor` is given.
        data_format: Order of the axes of the shapes: "NCHW" or "NHWC", for signals "NCL" or "NLC"; None is
            the first of the two. Memory layout is read from the strides.
    Returns:
        A new array of x's dtype and memory layout, shape (N, C, P, Q) or (N, C, Q) in `data_format` order.
        As in PyTorch, a linear axis that keeps its size is copied, and "nearest" copies or doubles an axis of
        an image that keeps or doubles its size, whatever `scale_factor` says.
    Raises:
        TypeError: x is not float32 or float64, or an argument is not a number.
        ValueError: x has the wrong rank or no pixel, a size is below 1, both or none of `size` and
            `scale_factor` are given, or arguments do not go with the mode.
    Accuracy: Nearest copies, bit by bit. Linear: |error| <= 6 * eps * sum |weight * x|; positions are
        float64.
    Source: PyTorch, torch.nn.functional.interpolate, https://docs.pytorch.org/docs/stable/
    """
    _check_mode(mode, align_corners, recompute_scale_factor, size)
    inputs, data_format, spatial = _images("x", x, mode, data_format)
    in_size = _spatial(inputs.array, spatial)
    if 0 in in_size:
        raise ValueError(f"`x` has spatial size {in_size}: no pixel to read; give it at least one per axis.")
    if (size is None) == (scale_factor is None):
        what = "neither is" if size is None else "both are"
        raise ValueError(f"give either `size` or `scale_factor`: {what} given ({size!r}, {scale_factor!r}).")
    if size is not None:
        out_size = tuple(integer("size", n, 1) for n in _per_axis("size", size, spatial))
        scales: tuple[float, ...] = (0.0,) * spatial
    else:
        scales = _scales(scale_factor, spatial)
        out_size = _scaled(in_size, scales, scale_factor)
        if recompute_scale_factor:
            scales = (0.0,) * spatial
    shape = (*inputs.array.shape[:2], *out_size)
    if math.prod(shape) * inputs.array.itemsize > sys.maxsize:
        raise ValueError(
            f"`size` is {size!r} and `scale_factor` {scale_factor!r}, which makes a result of shape {shape}: "
            "more than memory can address; ask for less."
        )
    y: Array = _core.resample_forward(
        inputs.array,
        _pair(out_size, 1),
        _pair(scales, 0.0),
        CODES[mode],
        bool(align_corners),
        spatial == 2,
        inputs.channels_last,
    )
    return deliver(y, data_format, spatial)


def interpolate_backward(
    grad_y: Any,
    input_size: Any,
    scale_factor: Any = None,
    *,
    mode: str = "nearest",
    align_corners: bool = False,
    recompute_scale_factor: bool | None = None,
    data_format: str | None = None,
) -> Array:
    """Gradient of `interpolate` for its input.

    Args:
        grad_y: Gradient of the loss for y, shape (N, C, P, Q) or (N, C, Q) in `data_format` order.
        input_size: Spatial size of x: (H, W) or (L,).
        scale_factor: What the forward pass was given; None if it was given `size`.
        mode, align_corners, recompute_scale_factor, data_format: As in the forward pass.
    Returns:
        grad_x, shape (N, C, H, W) or (N, C, L) in `data_format` order, in the memory layout of grad_y.
    Raises:
        TypeError, ValueError: As `interpolate`; also where `grad_y` does not have the size that
            `scale_factor` makes.
    Accuracy: |error| <= (terms + 4) * eps * sum |weight * grad_y|, where terms counts the outputs that read
        the pixel; sums run in an order that does not depend on the number of threads.
    """
    _check_mode(mode, align_corners, recompute_scale_factor if scale_factor is not None else None, None)
    grads, data_format, spatial = _images("grad_y", grad_y, mode, data_format)
    out_size = _spatial(grads.array, spatial)
    in_size = tuple(integer("input_size", n, 1) for n in _per_axis("input_size", input_size, spatial))
    if 0 in out_size:
        raise ValueError(f"`grad_y` has spatial size {out_size}; y has at least one pixel per axis.")
    scales: tuple[float, ...] = (0.0,) * spatial
    if scale_factor is not None:
        scales = _scales(scale_factor, spatial)
        expected = _scaled(in_size, scales, scale_factor)
        if out_size != expected:
            raise ValueError(
                f"`grad_y` has spatial size {out_size}, but `input_size` {in_size} times `scale_factor` "
                f"{scale_factor!r} is {expected}: they must agree."
            )
        if recompute_scale_factor:
            scales = (0.0,) * spatial
    grad_x: Array = _core.resample_backward(
        grads.array,
        _pair(in_size, 1),
        _pair(scales, 0.0),
        CODES[mode],
        bool(align_corners),
        spatial == 2,
        grads.channels_last,
    )
    return deliver(grad_x, data_format, spatial)


def _check_mode(mode: str, align_corners: bool, recompute: bool | None, size: Any) -> None:
    one_of("mode", mode, MODES)
    if align_corners and CODES[mode] != CODES["linear"]:
        raise ValueError(f"`align_corners` is {align_corners!r}, but mode {mode!r} has none; leave it out.")
    if recompute and size is not None:
        raise ValueError(
            f"`recompute_scale_factor` is {recompute!r}, but `size` is given, no scale factor; leave it out."
        )


def _images(name: str, value: Any, mode: str, data_format: str | None) -> tuple[Images, str, int]:
    """The array as images, its format and its number of spatial axes."""
    array = as_array(name, value)
    spatial = array.ndim - 2
    if spatial not in FORMATS:
        raise ValueError(
            f"`{name}` has {array.ndim} axes, shape {array.shape}; it must have four (images) or three (signals)."
        )
    needed = {"linear": 1, "bilinear": 2}.get(mode, spatial)
    if spatial != needed:
        fitting = "linear" if spatial == 1 else "bilinear"
        raise ValueError(
            f"`mode` is {mode!r}, but `{name}` has {array.ndim} axes, shape {array.shape}; use {fitting!r}."
        )
    if data_format is None:
        data_format = FORMATS[spatial][0]
    return images(name, array, data_format, spatial), data_format, spatial


def _spatial(array: Array, spatial: int) -> tuple[int, ...]:
    return tuple(array.shape[4 - spatial :])


def _pair(values: Sequence[Any], neutral: Any) -> Any:
    return (neutral, *values) if len(values) == 1 else tuple(values)


def _per_axis(name: str, value: Any, spatial: int) -> list[Any]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value] * spatial
    values = list(value)
    if len(values) != spatial:
        raise ValueError(f"`{name}` is {value!r}; it must be one number, or {spatial}: one per spatial axis.")
    return values


def _scales(scale_factor: Any, spatial: int) -> tuple[float, ...]:
    values = _per_axis("scale_factor", scale_factor, spatial)
    try:
        scales = tuple(float(scale) for scale in values if not isinstance(scale, str))
    except (TypeError, ValueError):
        scales = ()
    if len(scales) != spatial:
        raise TypeError(f"`scale_factor` is {scale_factor!r}; it must be a number, or one per axis.") from None
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise ValueError(f"`scale_factor` is {scale_factor!r}; it must be positive and finite.")
    return scales


def _scaled(size: tuple[int, ...], scales: tuple[float, ...], scale_factor: Any) -> tuple[int, ...]:
    scaled = tuple(int(n * scale) for n, scale in zip(size, scales, strict=True))
    if min(scaled) < 1:
        raise ValueError(f"`scale_factor` is {scale_factor!r}, which makes {scaled} of {size}; use a larger one.")
    if max(scaled) > _LARGEST:
        raise ValueError(f"`scale_factor` is {scale_factor!r}, which makes {scaled} of {size}; use a smaller one.")
    return scaled
