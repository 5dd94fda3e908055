"""Tensors as the kernels take them: checks, memory formats, dense copies, and results without data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neocog import _core as _typed_core

core: Any = _typed_core  # its stub speaks of NumPy arrays
DTYPES = (torch.float32, torch.float64)
FORMATS = (torch.contiguous_format, torch.channels_last)

Ints = Sequence[int]


def check_dtypes(x: Tensor, name: str = "x", **others: Tensor | None) -> None:
    """float32 or float64, and all of them the same."""
    dtype = x.dtype
    if dtype not in DTYPES:
        raise TypeError(
            f"`{name}` has dtype {dtype}; the kernels compute float32 and float64: convert it with {name}.float()."
        )
    for other, tensor in others.items():
        if tensor is not None and tensor.dtype is not dtype:
            raise TypeError(
                f"`{other}` has dtype {tensor.dtype}, `{name}` {dtype}; convert one of them, for example with "
                f"{other}.to({dtype})."
            )


def check_images(x: Tensor, name: str = "x") -> int:
    """(N, C, L) or (N, C, H, W) with at least one channel and pixel; the number of spatial axes."""
    return check_shape_of_images(x.shape, name)


def check_shape_of_images(shape: Sequence[Any], name: str = "x") -> int:
    """`check_images`, of the shape alone."""
    if len(shape) not in (3, 4):
        raise ValueError(f"`{name}` has shape {tuple(shape)}; it must be (N, C, L) or (N, C, H, W).")
    if 0 in shape[1:]:
        raise ValueError(f"`{name}` has shape {tuple(shape)}; only its batch axis may be empty.")
    return len(shape) - 2


def check_shape(name: str, tensor: Tensor | None, shape: tuple[Any, ...], of: str) -> None:
    """The error that `name` does not have the shape that `of` asks for."""
    if tensor is not None and tuple(tensor.shape) != shape:
        raise ValueError(f"`{name}` has shape {tuple(tensor.shape)}; {of} needs {shape}.")


def is_channels_last(x: Tensor) -> bool:
    """What torch makes of the strides: `_core.memory_layout` for tensors that have no data."""
    if x.dim() != 4:
        return False
    strides, shape = x.stride(), x.shape
    if strides[1] == 0:
        return False
    least = 0
    for axis in (1, 3, 2, 0):
        if shape[axis] == 0 or strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * shape[axis] if shape[axis] > 1 else strides[axis]
    return True


def dense(x: Tensor, other: Tensor | None = None) -> tuple[Tensor, bool]:
    """x dense in its own memory format, or channels-last where `other` is; and whether channels come last."""
    layout = core.memory_layout(x)
    last = layout % 2 == 1 or (other is not None and x.dim() == 4 and core.memory_layout(other) % 2 == 1)
    return (x if layout == last else x.contiguous(memory_format=FORMATS[last])), last


def empty(like: Tensor, shape: Sequence[Any], channels_last: bool, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor as the kernels make them."""
    return torch.empty(
        shape, dtype=dtype or like.dtype, device=like.device, memory_format=FORMATS[channels_last and len(shape) == 4]
    )


def plane_of(shape: Sequence[Any]) -> tuple[Any, Any]:
    """(height, width) of images of this shape; one-dimensional ones have the height 1."""
    return (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])


def pixels_of(plane: tuple[Any, Any], spatial: int) -> tuple[Any, ...]:
    """(height, width) as that many spatial axes."""
    return plane if spatial == 2 else plane[1:]


def as_planes(x: Tensor) -> Tensor:
    """(N, C, L) as (N, C, 1, L)."""
    return x.unsqueeze(2) if x.dim() == 3 else x


def ends_of(padding: Ints, spatial: int) -> Any:
    """A padding list as `neocog._checks` takes it: one value per axis, or both ends of every axis."""
    if len(padding) == 2 * spatial:
        return tuple((padding[i], padding[i + 1]) for i in range(0, 2 * spatial, 2))
    if len(padding) not in (1, spatial):
        raise ValueError(
            f"`padding` is {list(padding)}; give one value per spatial axis, {spatial}, or both ends of every axis."
        )
    return tuple(padding)
